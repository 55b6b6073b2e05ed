"""A connection to the database that does not wait long: to ask how the database is, beside the requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

WAIT = 1  # seconds for one statement
# Of libpq. Two seconds are the least that it takes for `connect_timeout`; with the others, a connection to a machine
# that has gone ends in a few seconds, too. One to a server that was stopped by a signal hangs until that one continues.
_POSTGRESQL = {"connect_timeout": 2, "tcp_user_timeout": 2000, "keepalives_idle": 2, "keepalives_interval": 1}


@contextmanager
def connection() -> Iterator[BaseDatabaseWrapper]:
    """A new connection, open and in a transaction. It can hang as long as the database does.

    Raises OperationalError or another DatabaseError, also in the block, where a statement takes longer than WAIT.
    """
    with closing(connections[DEFAULT_DB_ALIAS].copy()) as database:
        options = database.settings_dict["OPTIONS"]
        if database.vendor == "postgresql":
            options |= _POSTGRESQL
            database.set_autocommit(False)
            with database.cursor() as cursor:
                # In the transaction, not as an option of the connection: a pooler such as pgbouncer refuses that.
                cursor.execute(f"SET LOCAL statement_timeout = '{WAIT}s'")
        else:
            options["timeout"] = WAIT
        yield database


def is_read_only(database: BaseDatabaseWrapper) -> bool:
    """Whether it takes no changes. Asked without a write, which would have to wait for the locks of others."""
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            cursor.execute("SELECT current_setting('transaction_read_only')::boolean")
            [read_only] = cursor.fetchone()
            return bool(read_only)
        cursor.execute("SELECT count(*) FROM sqlite_master")
        # SQLite itself learns it from a write only. It is "" where the database is in memory.
        [_number, _name, file] = cursor.execute("PRAGMA database_list").fetchone()
        return bool(file) and not os.access(file, os.W_OK)
