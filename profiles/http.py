"""What a request tells about the one who sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest

from . import credentials, proxies
from .models import KeyEvent

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django_htmx.middleware import HtmxDetails

    from .models import User

USER_AGENT_LENGTH = 200
UNKNOWN_ADDRESS = "::"  # where a field wants an address and there is none


class UserRequest(HttpRequest):
    """A request of a signed-in user, for type checkers."""

    user: User
    htmx: HtmxDetails


@dataclass(frozen=True, slots=True)
class Origin:
    """Who did something, by which door, and from where: what an event records beside the deed.

    `session` is not recorded: it is the one that is spared when the deed ends the sessions of its owner.
    """

    actor: User | None
    via: KeyEvent.Via
    address: str | None = None
    user_agent: str = ""
    session: SessionBase | None = None


def origin_of(request: HttpRequest, *, via: KeyEvent.Via = KeyEvent.Via.PAGE) -> Origin:
    """The origin of what the signed-in user of this request does."""
    return Origin(
        actor=request.user if request.user.is_authenticated else None,
        via=via,
        address=client_address(request),
        user_agent=user_agent(request),
        session=getattr(request, "session", None),
    )


def client_address(request: HttpRequest) -> str | None:
    """The address of the client, or None where there is none (a Unix socket)."""
    return proxies.client_address(request.META)


def user_agent(request: HttpRequest) -> str:
    """The User-Agent header, made fit to store and to log: one line of printable text, not too long, no credential."""
    text: str = credentials.masked(request.META.get("HTTP_USER_AGENT", ""))[:USER_AGENT_LENGTH]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)
