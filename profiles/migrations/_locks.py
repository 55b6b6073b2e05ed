"""How a migration comes by its tables while servers use them."""

import time

from django.db import OperationalError, transaction

# Shorter than PostgreSQL's deadlock_timeout of a second: so where two wait for each other it is the migration that gives
# way, and never a request.
WAIT = "200ms"


def lock(schema_editor, *tables):
    """Keep everybody else away from these tables until the end of the migration; on SQLite that is so anyway.

    All are locked or none. To lock them one after the other, as the operations of a migration do, is a deadlock with
    each transaction that has the second one and waits for the first.
    """
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    while True:
        try:
            with transaction.atomic(using=connection.alias):
                schema_editor.execute(f"SET LOCAL lock_timeout = '{WAIT}'")
                schema_editor.execute(f"LOCK TABLE {', '.join(tables)}")
                schema_editor.execute("SET LOCAL lock_timeout TO DEFAULT")
            return
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
                raise
        time.sleep(0.1)
