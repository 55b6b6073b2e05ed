"""My Profile: the page, and the three actions on the key that it offers.

Every answer is the same whether htmx asked or the browser did; htmx gets the part of the page that changes, the
browser the page around it. A form carries the version of the key that its reader saw, so a form sent again (refreshed,
gone back to, clicked twice, from another window) changes nothing and is answered by the section as it is now, with 409.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import reswap, retarget

from .. import rights
from ..clients import lifecycle, tokens
from ..http.requests import UserRequest, origin_of
from ..models import KeyEvent, OAuthApplication, User
from ..templatetags.moments import absolute, clock
from . import reauthentication
from .base import page, wants_part
from .forms import KeyActionForm

EVENTS_SHOWN = 10
# Tokens are counted up to here, then there are "more than" so many.
TOKENS_COUNTED = 1000
KEY_CHANGES = (KeyEvent.Action.CREATED, KeyEvent.Action.REGENERATED, KeyEvent.Action.DELETED, KeyEvent.Action.REVOKED)


@page("GET", "HEAD")
def profile(request: UserRequest) -> HttpResponse:
    return _profile(request)


@page("GET", "HEAD", "POST")
def key_create(request: UserRequest) -> HttpResponse:
    if request.method != "POST":
        # Nothing to confirm. Whoever asks stands on the page that answered Create, and reloads it by its address.
        return HttpResponseRedirect(section_url())
    return _change(request, "create")


@page("GET", "HEAD", "POST")
def key_regenerate(request: UserRequest) -> HttpResponse:
    return _change(request, "regenerate") if request.method == "POST" else _ask(request, "regenerate")


@page("GET", "HEAD", "POST")
def key_delete(request: UserRequest) -> HttpResponse:
    return _change(request, "delete") if request.method == "POST" else _ask(request, "delete")


def section_url() -> str:
    return reverse("profile") + "#api-key"


@sensitive_variables()
def _change(request: UserRequest, action: str) -> HttpResponse:
    """Do what was confirmed, once the password is proven if it has to be; else say why not, or ask."""
    form = KeyActionForm(request.POST, request=request)
    if form.lacks_password:
        return _ask(request, action)
    if not form.is_valid():
        if form.has_error("version"):
            return _refused(request, lifecycle.KeyChanged())
        if form.has_error("password", "incorrect"):
            lifecycle.record_refused_password(owner=request.user, origin=origin_of(request))
        return _ask(request, action, form, status=429 if form.has_error("password", "limited") else 422)
    if "password" in form.cleaned_data:
        reauthentication.accept(request)
    confirmed: dict[str, Any] = {
        "owner": request.user,
        "origin": origin_of(request),
        "version": form.cleaned_data["version"],
    }
    try:
        if action == "delete":
            lifecycle.delete(**confirmed)
            return _deleted(request)
        _key, secret = lifecycle.create(**confirmed) if action == "create" else lifecycle.regenerate(**confirmed)
    except lifecycle.KeyChangeRefused as refusal:
        return _refused(request, refusal)
    # Answered without a redirect, on purpose: this is the one response that has the secret.
    return _profile(request, secret=secret, done=action)


def _deleted(request: UserRequest) -> HttpResponse:
    said = _("Your personal API access key was deleted on %(moment)s. Applications that used it have lost access.") % {
        "moment": absolute(timezone.now())
    }
    if wants_part(request):
        return _profile(request, notices=[("success", said)])
    messages.success(request, said, extra_tags="key")
    return HttpResponseRedirect(section_url())


def _refused(request: UserRequest, refusal: lifecycle.KeyChangeRefused) -> HttpResponse:
    """Nothing was changed: the section as it is now, with the reason."""
    return _profile(request, refusal=refusal, status=409)


@sensitive_variables()
def _profile(
    request: UserRequest,
    *,
    secret: str = "",
    done: str = "",
    refusal: lifecycle.KeyChangeRefused | None = None,
    notices: list[tuple[str, str]] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page, or for htmx its last section, as things are now.

    `secret` is shown if there is one, `done` says which action made it, `notices` are (kind, text) for the section.
    """
    # After a change once more: who you are, your key and its version are to be of one moment, the one after it.
    owner = get_object_or_404(User.objects.with_all(), pk=request.user.pk) if request.method == "POST" else request.user
    key: OAuthApplication | None = getattr(owner, "key", None)
    events = list(owner.key_events.all()[:EVENTS_SHOWN])
    changed = next((event for event in events if event.action in KEY_CHANGES), None)
    notices = list(notices or [])
    if refusal:
        notices.append(("warning", _why_refused(refusal, key, changed)))
    context: dict[str, Any] = {
        "owner": owner,
        "key": key,
        "secret": secret,
        "done": done,
        "events": events,
        "revoked": changed if changed and changed.action == KeyEvent.Action.REVOKED else None,
        "notices": notices,
        "token_url": settings.BASE_URL + reverse("oauth-token"),
        "api_url": settings.BASE_URL + "/api/v1/users/current",
    }
    if wants_part(request):
        response = render(request, "profiles/partials/key_section.html", context, status=status)
        return reswap(retarget(response, "#api-key"), "outerHTML")
    said = list(messages.get_messages(request))
    notices.extend((m.level_tag, str(m.message)) for m in said if "key" in m.tags.split())
    context["messages"] = [m for m in said if "key" not in m.tags.split()]
    context["rights"] = rights.grouped(owner.rights)
    return render(request, "profiles/profile.html", context, status=status)


def _why_refused(refusal: lifecycle.KeyChangeRefused, key: OAuthApplication | None, changed: KeyEvent | None) -> str:
    lost = _("The secret key can no longer be shown. If you have not stored it, regenerate it.")
    if isinstance(refusal, lifecycle.KeyExists):
        return _("You already have a personal API access key, and you can have one.") + " " + lost
    if isinstance(refusal, lifecycle.NoKey) or not changed:
        return _("Nothing was done: you don’t have a personal API access key.") if not key else lost
    said = {
        KeyEvent.Action.CREATED: _("This key was created at %(time)s, in another window or by an earlier click."),
        KeyEvent.Action.DELETED: _("This key was deleted at %(time)s, in another window or by an earlier click."),
        KeyEvent.Action.REVOKED: _("This key was revoked by an administrator at %(time)s."),
    }.get(
        KeyEvent.Action(changed.action),
        _("This key was changed at %(time)s, in another window or by an earlier click."),
    ) % {"time": clock(changed.time)}
    return " ".join((said, _("Nothing was done now."), lost if key else "")).strip()


def _ask(request: UserRequest, action: str, form: KeyActionForm | None = None, *, status: int = 200) -> HttpResponse:
    """The confirmation of an action, with the password if it has to be proven: a dialog, or a page of its own."""
    key = lifecycle.of(request.user)
    if key is None and action != "create":
        return _refused(request, lifecycle.NoKey())
    if key and action == "create":
        return _refused(request, lifecycle.KeyExists())
    form = form or KeyActionForm(request=request)
    # What is focused first: Cancel, unless there is nothing to lose or something to put right.
    to_password = "password" in form.fields and (action == "create" or bool(form.errors))
    if to_password:
        form.fields["password"].widget.attrs["autofocus"] = True
    count = tokens.count_live(key, at_most=TOKENS_COUNTED + 1) if key else 0
    fragment = f"profiles/partials/confirm_{action}.html"
    context = {
        "action": action,
        "fragment": fragment,
        "form": form,
        "cancel_first": not to_password,
        "version": request.user.key_version,
        "key": key,
        "live_tokens": min(count, TOKENS_COUNTED),
        "more_tokens": count > TOKENS_COUNTED,
        "in_dialog": wants_part(request),
    }
    if wants_part(request):
        response = render(request, fragment, context, status=status)
        response = reswap(retarget(response, "#key-dialog-body"), "innerHTML")
    else:
        response = render(request, "profiles/confirm.html", context, status=status)
    if status == 429:
        response.headers["Retry-After"] = "60"
    return response
