"""Who did something, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .models import Event

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from .models import User


@dataclass(frozen=True, slots=True)
class Origin:
    """Who did something, by which door, and from where: what an event records beside the deed.

    `session` is not recorded: it is the one that is spared when the deed ends the sessions of its owner.
    """

    actor: User | None
    via: Event.Via
    address: str | None = None
    user_agent: str = ""
    session: SessionBase | None = None
