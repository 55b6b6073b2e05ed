"""For load balancers and supervisors: is the process alive, can it serve?"""

from django.db import DatabaseError, connection

from ..http import calls, errors
from ..http.access import Access, declares
from ..http.calls import NO_STORE, Answer, Call

# Whether it is read-only. A read, not a write: a probe must not wait for a lock. SQLite cannot tell without a write.
_CHECK = {"postgresql": "SELECT current_setting('transaction_read_only')::boolean", "sqlite": "SELECT 0"}


@declares(Access.ANYONE)
def livez(call: Call) -> Answer:
    """200 as long as the process answers at all."""
    return calls.json({"status": "ok"}, headers=NO_STORE)


@declares(Access.ANYONE)
def readyz(call: Call) -> Answer:
    """200 if the database answers and takes changes, else 503, for example while it is a read-only standby."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_CHECK[connection.vendor])
            (read_only,) = cursor.fetchone()
    except DatabaseError:
        return errors.unavailable(call.path)
    if read_only:
        return errors.unavailable(call.path)
    return calls.json({"status": "ok"}, headers=NO_STORE)
