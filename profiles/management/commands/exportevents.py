"""manage.py exportevents: key events, or account events, as a file, to keep elsewhere or to search."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from ...events import export
from ...models import AccountEvent, KeyEvent
from .. import base
from ..base import Progress

KINDS: dict[str, type[KeyEvent | AccountEvent]] = {"key": KeyEvent, "account": AccountEvent}
FORMATS = ("csv", "jsonl")


class Command(base.Command):
    help = (
        "Writes the key events, oldest first, as CSV or as JSON lines: what happened to whose key, when (UTC), by whom "
        "and from where. With --kind account, the account events: sign-ins, and changes of accounts, companies, access "
        "profiles and groups. The memory it needs does not depend on their number. Events are personal data: a file it "
        "makes can be read by its owner only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        moment = "2026-01-31, its first moment, or 2026-01-31T12:00:00; UTC unless it says another zone"
        parser.add_argument("--since", type=_moment, metavar="DATE", help=f"from this moment on: {moment}")
        parser.add_argument("--until", type=_moment, metavar="DATE", help="before this moment")
        parser.add_argument("--kind", choices=KINDS, default="key", help="which events (key)")
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="csv",
            help="csv in UTF-8: a FILE begins with a byte order mark, by which Excel knows that; standard output does "
            "not. jsonl: a JSON object a line (csv)",
        )
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="a new file, there when it is complete (standard output)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count the events")

    def handle(
        self,
        *,
        since: datetime | None,
        until: datetime | None,
        output: Path | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        if output and output.exists():
            raise CommandError(f"{output} is there already; choose another name.")
        model = KINDS[options["kind"]]
        events: QuerySet[Any] = model.objects.all()
        if since:
            events = events.filter(time__gte=since)
        if until:
            events = events.filter(time__lt=until)
        if dry_run:
            self.stdout.write(f"{events.count():,} {options['kind']} events would be written.")
            return
        progress = Progress(self, f"{options['kind']} events written")
        parts = _counted(export.in_parts(events), progress)
        if options["format"] == "csv":
            written = export.as_csv(model, parts, is_file=output is not None)
        else:
            written = export.as_json_lines(model, parts)
        if output:
            _write_file(output, written)
            self.stdout.write(f"{progress}.")
        else:
            self._write_out(written)

    def _write_out(self, written: Iterator[str]) -> None:
        try:
            for text in written:
                self.stdout.write(text, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # The reader closed the pipe (`| head`). Python would report it again when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _counted(parts: Iterator[list[Any]], progress: Progress) -> Iterator[list[Any]]:
    for part in parts:
        yield part
        progress.add(len(part))


def _write_file(output: Path, written: Iterator[str]) -> None:
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # newline="": the writer chooses the line endings.
        with open(unfinished, "x", newline="", encoding="utf-8", opener=_private) as file:
            file.writelines(written)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, this fails if the file was created meanwhile.
        os.link(unfinished, output)
    except OSError as error:
        raise CommandError(f"{output} could not be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text if "T" in text or " " in text else f"{text}T00:00")
        if moment is not None:
            # Convert here, so that a year before 1 or after 9999 in UTC is reported as an error of the argument.
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(
        f"{text!r} is no date such as 2026-01-31 or 2026-01-31T12:00:00+01:00, of the years 1 to 9999 in UTC"
    )
