"""manage.py purgetokens: delete the rows of access tokens that can never be active again."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from ...clients import purge
from .. import base
from ..base import Progress


class Command(base.Command):
    help = (
        "Deletes access tokens that have expired, and those of keys that are gone. Nothing refuses a token later for "
        "it: both kinds are refused already. It goes through the table once, in parts, each with a short transaction "
        "of its own, and needs no more memory for many tokens than for few. It can be stopped and run again at any "
        "time, beside full load and beside itself. Meant to be run every hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=_rows, default=purge.ROWS, metavar="ROWS", help="rows to look at in one transaction (5000)"
        )
        parser.add_argument(
            "--pause",
            type=_seconds,
            default=purge.PAUSE,
            metavar="SECONDS",
            help="how long to leave the database to others after each batch (0.2)",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")

    def handle(self, *, batch: int, pause: float, dry_run: bool, **options: Any) -> None:
        progress = Progress(self, "dead access tokens found" if dry_run else "access tokens deleted")
        try:
            for number in purge.dead_tokens(rows=batch, pause=pause, dry_run=dry_run):
                progress.add(number)
        except (KeyboardInterrupt, DatabaseError) as error:
            why = "Stopped" if isinstance(error, KeyboardInterrupt) else f"The database failed ({error})"
            raise CommandError(f"{why}: {progress}. Run it again for the rest.") from None
        self.stdout.write(f"{progress}.")


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
