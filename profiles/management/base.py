"""What our commands have in common: their output, their progress, and who ran them."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from ..models import KeyEvent
from ..origin import Origin
from ..text.printable import printable

SAY_EVERY = 2.0  # seconds


_breaks_lines = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029]").search


class _LineByLine(OutputWrapper):
    def write(  # type: ignore[override]  # as Django has it
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        super().write(printable(msg.removesuffix("\n")), style_func, ending)


class Command(BaseCommand):
    """A command of ours. Only its result goes to stdout; everything else goes to stderr.

    stderr may be kept with the log, so each message stays in one line, whatever text the command was given: no part of
    it can look like another line (CWE-117).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        said = _LineByLine(options.get("stderr") or sys.stderr)
        said.style_func = self.stderr.style_func
        self.stderr = said

    def run_from_argv(self, argv: list[str]) -> None:
        # Before the parser, which repeats unknown arguments in its message.
        if any(map(_breaks_lines, argv)):
            self.stderr.write(f"{argv[1]}: an argument holds a line break, or another character that is no text.")
            sys.exit(2)
        super().run_from_argv(argv)


class Progress:
    """Reports the progress of long work: on stderr, every two seconds at most."""

    def __init__(self, command: BaseCommand, done: str) -> None:
        self.command, self.done_word = command, done
        self.number = 0
        self._begun = self._said = monotonic()

    def add(self, number: int) -> None:
        self.number += number
        if monotonic() - self._said >= SAY_EVERY:
            self._said = monotonic()
            self.command.stderr.write(f"{self} ...", lambda text: text)

    def __str__(self) -> str:
        seconds = monotonic() - self._begun
        rate = f", {self.number / seconds:,.0f} a second" if seconds >= 1 else ""
        return f"{self.number:,} {self.done_word} in {seconds:.1f} s{rate}"


def origin_of_command(name: str) -> Origin:
    """The origin of what somebody does by `manage.py NAME`."""
    return Origin(actor=None, via=KeyEvent.Via.COMMAND, user_agent=f"manage.py {name}, run by {_who()}")


def _who() -> str:
    """The operating system's name for whoever runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return "somebody without a name"
