"""Only one process at a time prepares a database: hosts that are started at the same time wait for each other.

The second process finds the work done. The lock ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Any number that nothing else locks in this database: "airvkeys" in ASCII.
LOCK = 0x616972766B657973
ASK_AGAIN = 0.2  # seconds


@contextmanager
def one_at_a_time(command: BaseCommand, alias: str) -> Iterator[None]:
    """Hold the lock of the database with this alias. Says on stderr if it has to wait."""
    database = connections[alias]
    take = _postgresql if database.vendor == "postgresql" else _sqlite
    waiting = "Waiting for another process, which prepares the database ..."
    with take(database, lambda: command.stderr.write(waiting, str)):
        yield


@contextmanager
def _postgresql(database: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """An advisory lock that a transaction holds, in a connection of its own.

    A transaction, because a pooler such as pgbouncer may give the next statement of a session to another one. It
    polls: waiting within a statement would block CREATE INDEX CONCURRENTLY, and so the process that holds the lock.
    """
    with closing(database.copy()) as other:
        other.set_autocommit(False)
        while not _try(other):
            say_waiting()
            say_waiting = _nothing
            time.sleep(ASK_AGAIN)
        yield


def _try(database: BaseDatabaseWrapper) -> bool:
    with database.cursor() as cursor:
        # The transaction is idle during the work, and a server may be set to end idle transactions.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        [taken] = cursor.fetchone()
    if not taken:
        database.rollback()
    return bool(taken)


@contextmanager
def _sqlite(database: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """A lock on the folder of the file. Closing a second handle of the file would release SQLite's own locks."""
    file: Any = database.settings_dict["NAME"]
    if database.is_in_memory_db():  # type: ignore[attr-defined]  # only this process has it
        yield
        return
    folder = Path(file).parent
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _nothing() -> None:
    pass
