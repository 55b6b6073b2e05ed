"""What a request tells about the one who sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse

from ..models import Event
from ..origin import Origin
from . import proxies
from .calls import Call, fit_to_store

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from ..models import User

UNKNOWN_ADDRESS = "::"  # where a field needs an address and there is none


GetResponse = Callable[[HttpRequest], HttpResponse]  # what a middleware is given, and gives back


class UserRequest(HttpRequest):
    """A request of a signed-in user, for type checkers."""

    user: User
    htmx: HtmxDetails


def origin_of(request: HttpRequest, *, via: Event.Via = Event.Via.PAGE) -> Origin:
    """The origin of what the signed-in user of this request does."""
    return Origin(
        actor=request.user if request.user.is_authenticated else None,
        via=via,
        address=client_address(request),
        user_agent=user_agent(request),
        session=getattr(request, "session", None),
    )


def origin_of_client(call: Call) -> Origin:
    """The origin of what an OAuth client does by its own credentials."""
    return Origin(actor=None, via=Event.Via.OAUTH, address=call.address, user_agent=call.user_agent)


def client_address(request: HttpRequest) -> str | None:
    """The address of the client, or None where there is none (a Unix socket)."""
    return proxies.client_address(request.META)


def user_agent(request: HttpRequest) -> str:
    return fit_to_store(request.META.get("HTTP_USER_AGENT", ""))
