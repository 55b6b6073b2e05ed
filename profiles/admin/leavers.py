"""Who leaves knows what they were shown: the API Clients whose live secret key somebody knows who has left.

A client of a company lives on when its people go. Whoever takes them away is told in the act what they take along.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import reach
from ..models import ClientSecret, User
from .base import actor_of

# A list of more is one click away.
TOLD_AT_MOST = 10


def seen_by(users: Iterable[User], actor: User) -> QuerySet[ClientSecret]:
    """The live secrets of API Clients in the actor's reach that these users were shown."""
    pks = [user.pk for user in users]
    live = ClientSecret.objects.live().filter(shown_to__in=pks, application__company__isnull=False)
    seen = reach.within(live, actor, "application__company")
    return seen.select_related("application__company", "shown_to").order_by("application__name_folded", "pk")


def shown_to(secret: ClientSecret, *, has_left: bool) -> str:
    """To whom a secret was shown; and what follows, if they have left the company that it belongs to."""
    if not has_left:
        return str(secret.shown_to or "")
    if secret.shown_to is None:
        return _("shown to somebody who has left: regenerate")
    return _("shown to %(name)s, who has left: regenerate") % {"name": secret.shown_to.name}


def told(request: HttpRequest, seen: QuerySet[ClientSecret]) -> SafeString | str:
    """Those secrets, one a line with a link; "" if there are none. Who may not look at clients is told their number."""
    if not request.user.has_perm("profiles.view_oauthapplication"):
        return _number(seen.count())
    found = list(seen[: TOLD_AT_MOST + 1])
    lines: list[str] = [_line(secret) for secret in found[:TOLD_AT_MOST]]
    if len(found) > TOLD_AT_MOST:
        lines.append(_("and more"))
    return format_html_join(SafeString("<br>"), "{}", ((line,) for line in lines))


def tell(request: HttpRequest, users: Iterable[User]) -> None:
    """Those of the users that have left by now, what they know."""
    if lines := told(request, seen_by(users, actor_of(request)).known_outside()):  # type: ignore[attr-defined]
        text = _("These API Clients have a live secret key that somebody knows who has left:")
        messages.warning(request, format_html("{}<br>{}<br>{}", text, lines, _link_to_all(request)))


def _line(secret: ClientSecret) -> SafeString:
    client = secret.application
    assert client is not None  # noqa: S101 - for type checkers: `seen_by` asks for its company
    url = reverse("admin:profiles_oauthapplication_change", args=(client.pk,))
    said = shown_to(secret, has_left=True)
    return format_html('<a href="{}">{}</a> ({}): {}', url, client.name, client.company, said)


def _number(number: int) -> str:
    text = ngettext("%d API Client; ask who looks after it", "%d API Clients; ask who looks after them", number)
    return text % number if number else ""


def _link_to_all(request: HttpRequest) -> SafeString | str:
    if not request.user.has_perm("profiles.view_oauthapplication"):
        return ""
    url = reverse("admin:profiles_oauthapplication_changelist")
    return format_html('<a href="{}?shown=left">{}</a>', url, _("All of them"))
