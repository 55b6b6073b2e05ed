"""The section on a client as things are now, in each of its states, and the page around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import BigAutoField, DateTimeField, Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import reswap, retarget

from .. import credentials
from ..clients import changes
from ..clients.changes import ChangeRefused
from ..compiled import CompiledQuery, Given
from ..http.snippets import snippets
from ..http.urls import absolute_url
from ..models import ClientSecret, KeyEvent, OAuthApplication
from ..policy import Policy
from ..templatetags.moments import absolute, clock
from .base import wants_part
from .subject import LOST, Subject
from .uses import Uses

EVENTS_SHOWN = 10
# How long it is told that an ended secret was tried.
REFUSAL_SHOWN_FOR = timedelta(days=30)

Action = KeyEvent.Action
EndReason = ClientSecret.EndReason


_NUMBER, _MOMENT = BigAutoField(), DateTimeField()
_SECRETS = CompiledQuery(
    lambda: ClientSecret.objects.filter(
        Q(ends=None)
        | Q(ends__gt=Given("now", _MOMENT), ended=False)
        | Q(last_refused__gt=Given("since", _MOMENT))
        | Q(end_reason=EndReason.LEAKED),
        application=Given("client", _NUMBER),
    )
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of all secrets of a client, those that the section tells about."""

    current: ClientSecret | None = None
    old: ClientSecret | None = None
    """The one that was replaced and is still good."""
    refused: ClientSecret | None = None
    """The one that was last tried after its end."""
    leaked: ClientSecret | None = None
    """The newest that was reported as leaked, if the client has had no new one since."""
    too_old: ClientSecret | None = None
    """The current one, if it is older than its company allows; then there is no other that is."""

    @property
    def newest(self) -> ClientSecret | None:
        return self.current or self.too_old or self.leaked

    @classmethod
    def of(cls, client: OAuthApplication | None, policy: Policy) -> Secrets:
        if client is None:
            return cls()
        now = timezone.now()
        since = now - REFUSAL_SHOWN_FOR
        found = _SECRETS.run(client=client.pk, now=now, since=since)  # the newest first
        live = [secret for secret in found if secret.is_live and not _is_too_old(secret, policy)]
        too_old = next((it for it in found if it.ends is None and _is_too_old(it, policy)), None)
        tried = [(it.last_refused, it.pk, it) for it in found if it.last_refused and it.last_refused > since]
        current = next((secret for secret in live if secret.ends is None), None)
        leaked = [secret for secret in found if secret.end_reason == EndReason.LEAKED]
        return cls(
            current=current,
            old=next((secret for secret in live if secret.ends), None),
            refused=max(tried)[2] if tried else None,
            leaked=next(iter(leaked), None) if not (current or too_old) else None,
            too_old=too_old,
        )


def _is_too_old(secret: ClientSecret, policy: Policy) -> bool:
    end = policy.end_of(secret.created)
    return end is not None and end <= timezone.now()


@sensitive_variables()
def answer(
    subject: Subject,
    *,
    secret: str = "",
    done: str = "",
    notices: list[tuple[str, str]] | None = None,
    refusal: ChangeRefused | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page, or for htmx its section on the client, as things are now.

    `secret` is shown if there is one, `done` says which action made it, `notices` are (kind, text) for the section,
    `refusal` is why nothing was done.
    """
    request = subject.request
    if request.method == "POST":
        subject = subject.as_now()
    context = {**_state(subject, secret), "secret": secret, "done": done}
    notices = list(notices or [])
    if refusal:
        notices.append(("warning", why_refused(subject, refusal, context["changed"])))
    context["notices"] = notices
    if wants_part(request):
        response = render(request, subject.section_template, context, status=status)
        return reswap(retarget(response, "#api-key"), "outerHTML")
    said = list(messages.get_messages(request))
    notices.extend((m.level_tag, str(m.message)) for m in said if subject.tag in m.tags.split())
    context["messages"] = [m for m in said if subject.tag not in m.tags.split()]
    context.update(subject.context_of_page())
    return render(request, subject.page_template, context, status=status)


def _state(subject: Subject, secret: str) -> dict[str, Any]:
    """What the section says of the client, there or not; beside a secret that is shown it says less."""
    events = subject.last_events(EVENTS_SHOWN)
    changed = last_change(events)
    no_more = len(events) < EVENTS_SHOWN
    secrets = Secrets.of(subject.client, subject.policy)
    newest = secrets.current or secrets.too_old
    return {
        "viewer": subject.request.user,
        "client": subject.client,
        "words": subject.words,
        "urls": subject.urls,
        "may": subject.may,
        "version": changed.pk if changed else 0 if no_more else subject.version(),
        "secrets": secrets,
        "uses": Uses.of(subject.client) if subject.client and not secret else None,
        "policy": subject.policy,
        "too_old_on": subject.policy.end_of(newest.created) if newest else None,
        "events": events,
        "changed": changed,
        "revoked": changed if changed and changed.action == Action.REVOKED else None,
        "snippets": snippets(subject.client.client_id) if subject.client else [],
        "openapi_url": absolute_url("api-openapi"),
        **subject.context(),
    }


def refused(subject: Subject, refusal: ChangeRefused) -> HttpResponse:
    """Nothing was changed: the section as it is now, with the reason."""
    return answer(subject, refusal=refusal, status=409)


def told(subject: Subject, text: str) -> HttpResponse:
    """The section after a change that shows no secret. A browser is sent to it, so that Refresh does nothing."""
    if wants_part(subject.request):
        return answer(subject, notices=[("success", text)])
    messages.success(subject.request, text, extra_tags=subject.tag)
    return HttpResponseRedirect(subject.urls["home"])


@sensitive_variables()
def which_secret(subject: Subject, client: OAuthApplication, shown: str) -> tuple[str, str]:
    """What somebody is told who asks which secret of the client this is, as (kind of notice, text)."""
    words = subject.words
    secret = client.secrets.filter(digest=credentials.digest(shown)).first()
    if secret is None:
        return "info", str(words.is_not_its if credentials.is_secret(shown) else words.is_not_whole)
    if secret.ends and not secret.is_live:
        return "info", _how_it_ended(subject, secret, secret.ends)
    if subject.no_new_secret():
        return "warning", _("It is refused: your company allows no personal API access keys.")
    too_old_on = subject.policy.end_of(secret.created)
    if too_old_on and too_old_on <= timezone.now():
        days = subject.policy.days or 0
        said = ngettext(
            "It is older than your company allows (%(days)s day), and has been refused since %(end)s.",
            "It is older than your company allows (%(days)s days), and has been refused since %(end)s.",
            days,
        )
        return "warning", said % {"days": days, "end": absolute(too_old_on)}
    if secret.ends is None:
        return "success", _("It is the current one.")
    # The new one may have been reported as leaked: then it is never used.
    if secret.ends_at_first_use and client.secrets.filter(ends=None).exists():
        said = _("It is the old one, good until the new one is first used, at the latest until %(ends)s.")
    else:
        said = _("It is the old one, good until %(ends)s.")
    return "warning", said % {"ends": absolute(secret.ends)}


def _how_it_ended(subject: Subject, secret: ClientSecret, ends: datetime) -> str:
    successors = ClientSecret.objects.filter(application=secret.application_id, pk__gt=secret.pk)
    successor = successors.last()  # the newest stands first
    moments = {"replaced": absolute(successor.created if successor else ends), "ends": absolute(ends)}
    if secret.end_reason == EndReason.LEAKED:
        said = _("It was reported as leaked on %(ends)s. It no longer works.")
    elif secret.end_reason == EndReason.ENDED:
        said = str(subject.words.was_ended)
    elif moments["replaced"] == moments["ends"]:
        said = _("It was replaced on %(replaced)s. It no longer works.")
    else:
        said = _("It was replaced on %(replaced)s, and stopped working on %(ends)s.")
    return said % moments


def last_change(events: Iterable[KeyEvent]) -> KeyEvent | None:
    """Of these events, the newest first, the last one that made a new version."""
    return next((event for event in events if event.action in changes.CHANGES), None)


def why_refused(subject: Subject, refusal: ChangeRefused, changed: KeyEvent | None) -> str:
    """Why nothing was done, in words; `changed` is the last change of the client."""
    if said := subject.why_not(refusal, changed):
        return said
    if isinstance(refusal, changes.NoOldSecret):
        return _("Nothing was done: there is no old secret key that still works.")
    if not changed:
        return str(LOST)
    what = subject.words.happened.get(Action(changed.action), subject.words.changed) % {"time": clock(changed.time)}
    said = f"{what} {_('Nothing was done now.')}"
    # Of the last change the viewer may have missed the secret; when the old one has ended, somebody has the new one.
    missed = changed.action in (Action.CREATED, Action.REGENERATED) and subject.client
    return f"{said} {LOST}" if missed and changed.actor_id in (None, subject.request.user.pk) else said
