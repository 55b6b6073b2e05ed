"""An outage of the database in the log: one line when it begins and one when it is over, in each process.

Without this each refused request would log its traceback, a hundred lines that all say the same. `LOG_LEVEL=DEBUG`
shows these, too.
"""

from __future__ import annotations

import logging
import threading
import time

from django.db import Error

from . import errors, impatient

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds, while there is an outage
# It is over when the database has been well for so many seconds, and nothing was refused: a database that is only
# read-only, locked or full answers some requests all the time.
WELL_FOR = 5.0


class Outage:
    """The present outage of the database, if there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._noticed = 0.0
        self._refused = 0

    def refused(self, error: BaseException) -> None:
        """A request was refused because of it."""
        self.notice(" ".join(str(error).split()) or type(error).__name__, refused=1)

    def notice(self, why: str, *, refused: int = 0) -> None:
        """It was seen that the database is away. The first to see it writes the line, and has the end watched for."""
        with self._lock:
            self._noticed = time.monotonic()
            self._refused += refused
            if self._begun is not None:
                return
            self._begun = self._noticed
        logger.error("database unavailable: %s", why)
        threading.Thread(target=self._watch, name="outage", daemon=True).start()

    def _watch(self) -> None:
        well_since: float | None = None
        while well_since is None or time.monotonic() - well_since < WELL_FOR:
            time.sleep(LOOK_EVERY)
            looked = time.monotonic()
            if not _is_well():
                well_since = None
            elif well_since is None or self._noticed > well_since:
                well_since = looked
        with self._lock:
            lasted, refused = well_since - (self._begun or well_since), self._refused
            self._begun, self._refused = None, 0
        logger.warning("database available again, after %.0f s: requests refused=%d", lasted, refused)


def _is_well() -> bool:
    try:
        with impatient.connection() as connection:
            return not impatient.is_read_only(connection)
    except Error:
        return False


database = Outage()


class OneLine(logging.Filter):
    """For a logger of requests: what failed because of the database belongs to its outage."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not errors.is_unavailable(error):
            return True
        database.refused(error)
        return logger.isEnabledFor(logging.DEBUG)
