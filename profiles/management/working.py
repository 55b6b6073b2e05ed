"""What the commands of upkeep have in common: to say how far they are, and who ran them."""

from __future__ import annotations

import getpass
from time import monotonic

from django.core.management.base import BaseCommand

from ..http import Origin
from ..models import KeyEvent

SAY_EVERY = 2.0  # seconds


class Progress:
    """Says how far long work is: on stderr, now and then, so that neither a terminal nor a log is flooded."""

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
