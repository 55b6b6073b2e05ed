"""The section "Personal API access key" as things are now, in each of its states, and My Profile around it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import BigAutoField, DateTimeField, Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import reswap, retarget

from .. import credentials, rights
from ..clients import changes, lifecycle
from ..clients.changes import ChangeRefused
from ..compiled import CompiledQuery, Given
from ..http.requests import UserRequest
from ..http.urls import absolute_url
from ..models import ClientSecret, KeyEvent, OAuthApplication, User
from ..templatetags.moments import absolute, clock
from .base import wants_part

EVENTS_SHOWN = 10
# How long it is told that an ended secret was tried.
REFUSAL_SHOWN_FOR = timedelta(days=30)

Action = KeyEvent.Action
EndReason = ClientSecret.EndReason


def url() -> str:
    return reverse("profile") + "#api-key"


_NUMBER, _MOMENT = BigAutoField(), DateTimeField()
_EVENTS = CompiledQuery(lambda: KeyEvent.objects.filter(owner=Given("owner", _NUMBER))[:EVENTS_SHOWN])
_SECRETS = CompiledQuery(
    lambda: ClientSecret.objects.filter(
        Q(ends=None)
        | Q(ends__gt=Given("now", _MOMENT), ended=False)
        | Q(last_refused__gt=Given("since", _MOMENT))
        | Q(end_reason=EndReason.LEAKED),
        application=Given("key", _NUMBER),
    )
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of all secrets of a key, those that the section tells about."""

    current: ClientSecret | None = None
    old: ClientSecret | None = None
    """The one that was replaced and is still good."""
    refused: ClientSecret | None = None
    """The one that was last tried after its end."""
    leaked: ClientSecret | None = None
    """The newest, if none is live because it was reported as leaked."""

    @classmethod
    def of(cls, key: OAuthApplication | None) -> Secrets:
        if key is None:
            return cls()
        now = timezone.now()
        since = now - REFUSAL_SHOWN_FOR
        found = _SECRETS.run(key=key.pk, now=now, since=since)  # the newest first
        live = [secret for secret in found if secret.is_live]
        tried = [(it.last_refused, it.pk, it) for it in found if it.last_refused and it.last_refused > since]
        return cls(
            current=next((secret for secret in live if secret.ends is None), None),
            old=next((secret for secret in live if secret.ends), None),
            refused=max(tried)[2] if tried else None,
            leaked=next((secret for secret in found if not live and secret.end_reason == EndReason.LEAKED), None),
        )


@sensitive_variables()
def answer(
    request: UserRequest,
    *,
    secret: str = "",
    done: str = "",
    notices: list[tuple[str, str]] | None = None,
    refusal: ChangeRefused | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page, or for htmx its last section, as things are now.

    `secret` is shown if there is one, `done` says which action made it, `notices` are (kind, text) for the section,
    `refusal` is why nothing was done.
    """
    # After a change once more: who you are, your key and its version are to be of one moment, the one after it.
    owner = get_object_or_404(User.objects.with_all(), pk=request.user.pk) if request.method == "POST" else request.user
    context = {**_state(owner), "secret": secret, "done": done}
    notices = list(notices or [])
    if refusal:
        notices.append(("warning", _why_refused(refusal, context["key"], context["changed"])))
    context["notices"] = notices
    if wants_part(request):
        response = render(request, "profiles/partials/key_section.html", context, status=status)
        return reswap(retarget(response, "#api-key"), "outerHTML")
    said = list(messages.get_messages(request))
    notices.extend((m.level_tag, str(m.message)) for m in said if "key" in m.tags.split())
    context["messages"] = [m for m in said if "key" not in m.tags.split()]
    context["rights"] = rights.grouped(owner.rights)
    return render(request, "profiles/profile.html", context, status=status)


def _state(owner: User) -> dict[str, Any]:
    """What the section says of the owner's key, there or not."""
    key: OAuthApplication | None = getattr(owner, "key", None)
    events = _EVENTS.run(owner=owner.pk)
    changed = next((event for event in events if event.action in changes.CHANGES), None)
    no_more = len(events) < EVENTS_SHOWN
    return {
        "owner": owner,
        "key": key,
        "version": changed.pk if changed else 0 if no_more else lifecycle.version(owner),
        "secrets": Secrets.of(key),
        "events": events,
        "changed": changed,
        "revoked": changed if changed and changed.action == Action.REVOKED else None,
        "token_url": absolute_url("oauth-token"),
        "api_url": absolute_url("api-users-current"),
    }


def refused(request: UserRequest, refusal: ChangeRefused) -> HttpResponse:
    """Nothing was changed: the section as it is now, with the reason."""
    return answer(request, refusal=refusal, status=409)


def told(request: UserRequest, text: str) -> HttpResponse:
    """The section after a change that shows no secret. A browser is sent to it, so that Refresh does nothing."""
    if wants_part(request):
        return answer(request, notices=[("success", text)])
    messages.success(request, text, extra_tags="key")
    return HttpResponseRedirect(url())


@sensitive_variables()
def which_secret(key: OAuthApplication, shown: str) -> tuple[str, str]:
    """What somebody is told who asks which secret of their key this is, as (kind of notice, text)."""
    secret = key.secrets.filter(digest=credentials.digest(shown)).first()
    if secret is None:
        said = _("It is not one of this key’s.")
        incomplete = _("It is not one of this key’s, and not a whole secret key at all. Was it copied in full?")
        return "info", said if credentials.is_secret(shown) else incomplete
    if secret.ends is None:
        return "success", _("It is the current one.")
    if not secret.is_live:
        return "info", _how_it_ended(key, secret, secret.ends)
    if secret.ends_at_first_use:
        said = _("It is the old one, good until the new one is first used, at the latest until %(ends)s.")
    else:
        said = _("It is the old one, good until %(ends)s.")
    return "warning", said % {"ends": absolute(secret.ends)}


def _how_it_ended(key: OAuthApplication, secret: ClientSecret, ends: datetime) -> str:
    successor = key.secrets.filter(pk__gt=secret.pk).last()  # the newest stands first
    moments = {"replaced": absolute(successor.created if successor else ends), "ends": absolute(ends)}
    if secret.end_reason == EndReason.LEAKED:
        said = _("It was reported as leaked on %(ends)s. It no longer works.")
    elif secret.end_reason == EndReason.ENDED:
        said = _("It was replaced on %(replaced)s, and you ended it on %(ends)s.")
    elif moments["replaced"] == moments["ends"]:
        said = _("It was replaced on %(replaced)s. It no longer works.")
    else:
        said = _("It was replaced on %(replaced)s, and stopped working on %(ends)s.")
    return said % moments


def _why_refused(refusal: ChangeRefused, key: OAuthApplication | None, changed: KeyEvent | None) -> str:
    lost = _("The secret key can no longer be shown. If you have not stored it, regenerate it.")
    if isinstance(refusal, lifecycle.KeyExists):
        return _("You already have a personal API access key, and you can have one.") + " " + lost
    if isinstance(refusal, changes.NoOldSecret):
        return _("Nothing was done: there is no old secret key that still works.")
    if isinstance(refusal, lifecycle.NoKey) or not changed:
        return _("Nothing was done: you don’t have a personal API access key.") if not key else lost
    said = f"{_what_happened(changed, clock(changed.time))} {_('Nothing was done now.')}"
    # When the old secret has ended, somebody has the new one.
    return f"{said} {lost}" if key and changed.action != Action.OLD_SECRET_ENDED else said


def _what_happened(changed: KeyEvent, time: str) -> str:
    said = {
        Action.CREATED: _("This key was created at %(time)s, in another window or by an earlier click."),
        Action.DELETED: _("This key was deleted at %(time)s, in another window or by an earlier click."),
        Action.REVOKED: _("This key was revoked by an administrator at %(time)s."),
        Action.OLD_SECRET_ENDED: _("The old secret key of this key stopped at %(time)s."),
    }
    other = _("This key was changed at %(time)s, in another window or by an earlier click.")
    return said.get(Action(changed.action), other) % {"time": time}
