"""Statements of the token path: in Django's connection, with its settings and transactions, but without its cursor.

Django's cursor wraps the driver's twice, and translates the placeholders anew for each request; with it a statement
takes the process twice as long. Where Django wants to see statements (in tests, with DEBUG) they take its cursor.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import RawCursor

Row = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class Statement:
    """SQL for both databases. Its parameters are texts and moments, written `%(name)s`.

    `may_be_lost`: what it writes may be lost in a power cut, if it is alone in its transaction. On SQLite it then does
    not wait until the disk has it.
    """

    def __init__(self, sql: str, *, may_be_lost: bool = False) -> None:
        self._may_be_lost = may_be_lost
        self._names = list(dict.fromkeys(_PLACEHOLDER.findall(sql)))
        self.sql = sql
        self._for_postgresql = _PLACEHOLDER.sub(lambda found: f"${self._names.index(found[1]) + 1}", sql).encode()
        self._for_sqlite = _PLACEHOLDER.sub(r":\1", sql)

    def first(self, values: Mapping[str, str | datetime]) -> Row | None:
        """The first row, or None.

        To ask before each statement whether a kept connection still lives (CONN_HEALTH_CHECKS) would double the round
        trips. Here one that proves dead is replaced and the statement tried again: so it must be one that may be
        repeated.
        """
        # Asked for once: Django's `connection` would look for it anew at every access.
        database = connections[DEFAULT_DB_ALIAS]
        kept = database.connection is not None
        database.health_check_done = True  # type: ignore[attr-defined]  # the stubs leave it out
        try:
            return self._first(database, values)
        except (OperationalError, InterfaceError):
            if not kept or database.in_atomic_block or database.is_usable():
                raise
            database.close()
            return self._first(database, values)

    def _first(self, database: BaseDatabaseWrapper, values: Mapping[str, str | datetime]) -> Row | None:
        # psycopg takes longer for a `datetime` than for its text; SQLite has them as texts, in UTC.
        as_text = str if database.vendor == "postgresql" else _in_utc
        texts = {name: value if isinstance(value, str) else as_text(value) for name, value in values.items()}
        if database.queries_logged or database.execute_wrappers:
            with database.cursor() as seen:
                seen.execute(self.sql, texts)
                row: Row | None = seen.fetchone()
                return row
        database.ensure_connection()
        database.validate_no_broken_transaction()
        with database.wrap_database_errors:
            if database.vendor == "postgresql":
                cursor: RawCursor[Row] = RawCursor(database.connection)
                cursor.execute(self._for_postgresql, [texts[name] for name in self._names], prepare=True, binary=True)
                return cursor.fetchone()
            if self._may_be_lost and not database.in_atomic_block:
                with _without_waiting_for_the_disk(database), _in_turn():
                    return self._first_in_sqlite(database.connection, texts)
            return self._first_in_sqlite(database.connection, texts)

    def _first_in_sqlite(self, connection: sqlite3.Connection, texts: Mapping[str, str]) -> Row | None:
        # All rows: only when there are no more is the statement done, and its change committed.
        rows = connection.execute(self._for_sqlite, texts).fetchall()
        return rows[0] if rows else None


# Who waits for SQLite's lock asks for it at intervals that grow to 100 ms, and others pass by meanwhile. The threads of
# a process wait for each other here instead, so that there are few who ask; not for long: one of them may wait for
# somebody who holds the lock for all of SQLite's time-out, and that would be waited for once by each.
_turn = Lock()
_TURN_WITHIN = 1  # seconds


@contextmanager
def _in_turn() -> Iterator[None]:
    taken = _turn.acquire(timeout=_TURN_WITHIN)
    try:
        yield
    finally:
        if taken:
            _turn.release()


@contextmanager
def _without_waiting_for_the_disk(database: BaseDatabaseWrapper) -> Iterator[None]:
    """When a later change has waited for the disk, this one is there too."""
    database.connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        try:
            database.connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            database.close()  # what follows in this connection would not wait
            raise


def _in_utc(moment: datetime) -> str:
    return str(moment.astimezone(UTC).replace(tzinfo=None))
