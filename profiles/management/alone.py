"""One process at a time prepares a database: hosts, or clones, that are started at once wait for each other.

Whoever is second finds the work done. A lock ends with the process that has it, however that ends.
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

# Any number does that nobody else takes in this database: "airvkeys" in ASCII.
LOCK = 0x616972766B657973
ASK_AGAIN = 0.2  # seconds


@contextmanager
def alone(command: BaseCommand, alias: str) -> Iterator[None]:
    """Be the only one who does this to the database named by this alias. Says on stderr if it has to wait."""
    database = connections[alias]
    take = _postgresql if database.vendor == "postgresql" else _sqlite
    waiting = "Waiting for another process, which prepares the database ..."
    with take(database, lambda: command.stderr.write(waiting, str)):
        yield


@contextmanager
def _postgresql(database: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """An advisory lock that a transaction holds, in a connection of its own.

    A transaction, because a pooler such as pgbouncer may give the next statement of a session to another one. It is
    asked for again and again: who waits within a statement holds up CREATE INDEX CONCURRENTLY, and with it the holder.
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
        # It does nothing for as long as the work takes, which a server may be told to take for forgotten.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        [taken] = cursor.fetchone()
    if not taken:
        database.rollback()
    return bool(taken)


@contextmanager
def _sqlite(database: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """A lock on the folder of the file. The file has SQLite's own locks, which another handle on it would end."""
    file: Any = database.settings_dict["NAME"]
    if database.is_in_memory_db():  # type: ignore[attr-defined]  # which only this process has
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
