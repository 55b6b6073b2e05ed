"""manage.py purgetokens: delete the rows of access tokens that can never be active again."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection
from django.utils import timezone

from .. import base
from ..base import Progress

# One part of the table, by primary key. `id` bounds the outer statement too: what PostgreSQL knows about a
# sub-query does not keep it from reading the whole table for each part.
_PART = "id > %s AND id <= %s"
_DEAD = """
SELECT id FROM profiles_accesstoken t
 WHERE {part}
   AND (expires < %s OR NOT EXISTS (SELECT 1 FROM profiles_oauthapplication k WHERE k.id = t.application_id))
"""
_DELETE = "DELETE FROM profiles_accesstoken WHERE {part} AND id IN ({dead} {lock})"
_COUNT = "SELECT COUNT(*) FROM ({dead}) dead"
_END_OF_PART = "SELECT MAX(id) FROM (SELECT id FROM profiles_accesstoken WHERE id > %s ORDER BY id LIMIT %s) part"
_FIRST_AND_LAST = "SELECT MIN(id), MAX(id) FROM profiles_accesstoken"


class Command(base.Command):
    help = (
        "Deletes access tokens that have expired, and those of keys that are gone. Nothing refuses a token later for "
        "it: both kinds are refused already. It goes through the table once, in parts, each with a short transaction "
        "of its own, and needs no more memory for many tokens than for few. It can be stopped and run again at any "
        "time, beside full load and beside itself. Meant to be run every hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=_rows, default=5000, metavar="ROWS", help="rows to look at in one transaction (5000)"
        )
        parser.add_argument(
            "--pause",
            type=_seconds,
            default=0.2,
            metavar="SECONDS",
            help="how long to leave the database to others after each batch (0.2)",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")

    def handle(self, *, batch: int, pause: float, dry_run: bool, **options: Any) -> None:
        progress = Progress(self, "dead access tokens found" if dry_run else "access tokens deleted")
        try:
            self._purge(progress, batch, pause, dry_run=dry_run)
        except (KeyboardInterrupt, DatabaseError) as error:
            why = "Stopped" if isinstance(error, KeyboardInterrupt) else f"The database failed ({error})"
            raise CommandError(f"{why}: {progress}. Run it again for the rest.") from None
        self.stdout.write(f"{progress}.")

    def _purge(self, progress: Progress, batch: int, pause: float, *, dry_run: bool) -> None:
        now = timezone.now()
        # Tokens made meanwhile have larger ids than the last one and are not read, so this ends.
        first, last = _fetch(_FIRST_AND_LAST)
        if first is None:
            return
        after = first - 1
        while after < last:
            [end] = _fetch(_END_OF_PART, after, batch)
            if end is None:
                return
            end = min(end, last)
            progress.add(_count(after, end, now) if dry_run else _delete(after, end, now))
            after = end
            if pause and after < last:
                time.sleep(pause)


def _fetch(sql: str, *params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone() or ()


def _count(after: int, end: int, now: datetime) -> int:
    dead = _DEAD.format(part=_PART)
    [number] = _fetch(_COUNT.format(dead=dead), after, end, _value(now))
    return int(number)


def _delete(after: int, end: int, now: datetime) -> int:
    # Rows that another transaction has locked are skipped, not waited for: no deadlock can arise.
    lock = "ORDER BY id FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    sql = _DELETE.format(part=_PART, dead=_DEAD.format(part=_PART), lock=lock)
    with connection.cursor() as cursor:
        # Autocommit: the statement is a transaction of its own.
        cursor.execute(sql, (after, end, after, end, _value(now)))
        return cursor.rowcount


def _value(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 1000000, please")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds from 0 to 3600, please")
    return seconds
