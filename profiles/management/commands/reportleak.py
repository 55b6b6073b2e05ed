"""manage.py reportleak: end credentials that were found, as a report of whoever found them does."""

from __future__ import annotations

import argparse
import codecs
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import translation

from ... import credentials
from ...clients import leaks
from ...text.free_text import REFUSAL
from .. import base
from ..base import origin_of_command


class Command(base.Command):
    help = (
        "Ends the secret keys that stand in a file, with all of their access tokens, and the access tokens that stand "
        "in it, and mails their people. What does not work (any more) is left as it is, so it can be run again at any "
        "time. Prints how many there were of each; no credential is shown."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            metavar="FILE",
            help="one credential a line, or text in which some stand, or JSON as the address for reports takes it; in "
            "UTF-8, or in UTF-16 with a byte order mark; - reads it here",
        )
        parser.add_argument(
            "--source",
            type=_source,
            default="",
            metavar="TEXT",
            help="where they were found: the mails and events say it",
        )

    def handle(self, *, file: Path, source: str, **options: Any) -> None:
        found = [entry if entry.source else entry._replace(source=source) for entry in _read(file)]
        outcome, origin = leaks.Outcome(), origin_of_command("reportleak")
        for start in range(0, len(found), leaks.AT_MOST):
            outcome += leaks.end(found[start : start + leaks.AT_MOST], origin=origin)
        self.stdout.write(f"credentials: {outcome.credentials:,}")
        self.stdout.write(f"secret keys ended: {outcome.secrets:,}")
        self.stdout.write(f"access tokens ended: {outcome.tokens:,}")


def _read(file: Path) -> list[leaks.Found]:
    try:
        text = _decoded(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} could not be read: {error}.") from None
    try:
        return leaks.read(text.encode(), at_most=None)
    except leaks.NotRead:  # a configuration, say, in JSON or INI: what stands in it has leaked all the same
        return [leaks.Found(line) for line in text.splitlines()]


def _decoded(content: bytes) -> str:
    """The text of a file. A credential is ASCII, so what is no text beside it does not matter."""
    in_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if in_utf16 else "utf-8-sig", errors="replace")


def _source(text: str) -> str:
    text = text.strip()
    most = leaks.TEXT_AT_MOST["source"]
    if len(text) > most or not text.isprintable():
        raise argparse.ArgumentTypeError(f"one line of at most {most} characters, please")
    if credentials.holds_credential(text):
        # Not shown again; in English, like all messages of commands.
        with translation.override("en"):
            raise argparse.ArgumentTypeError(str(REFUSAL))
    return text
