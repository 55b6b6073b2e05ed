"""My Profile: the page, and what its section on the key offers to do.

Every answer is the same whether htmx asked or the browser did; htmx gets the part of the page that changes, the
browser the page around it. A form carries the version of the key that its reader saw, so a form sent again (refreshed,
gone back to, clicked twice, from another window) changes nothing and is answered by the section as it is now, with 409.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import reswap, retarget

from ..clients import changes, lifecycle, tokens
from ..clients.changes import ChangeRefused
from ..http.requests import UserRequest, origin_of
from ..limits import attempts
from ..templatetags.moments import absolute
from . import reauthentication, section
from .base import page, wants_part
from .forms import CheckForm, CreateForm, DeleteForm, EndOldForm, PromptForm, RegenerateForm

# Tokens are counted up to here, then there are "more than" so many.
TOKENS_COUNTED = 1000


@page("GET", "HEAD")
def profile(request: UserRequest) -> HttpResponse:
    return section.answer(request)


@page("GET", "HEAD", "POST")
@sensitive_variables()
def key_create(request: UserRequest) -> HttpResponse:
    if request.method != "POST":
        # Nothing to confirm. Whoever asks stands on the page that answered Create, and reloads it by its address.
        return HttpResponseRedirect(section.url())
    form = CreateForm(request)
    if unconfirmed := _unless_confirmed(request, form):
        return unconfirmed
    try:
        _key, secret = lifecycle.create(**_change(form))
    except ChangeRefused as refusal:
        return section.refused(request, refusal)
    # Answered without a redirect, on purpose: this is the one response that has the secret.
    return section.answer(request, secret=secret, done="create")


@page("GET", "HEAD", "POST")
@sensitive_variables()
def key_regenerate(request: UserRequest) -> HttpResponse:
    form = RegenerateForm(request)
    if unconfirmed := _unless_confirmed(request, form):
        return unconfirmed
    try:
        _key, secret = lifecycle.regenerate(**_change(form), old_secret=form.cleaned_data["old_secret"])
    except ChangeRefused as refusal:
        return section.refused(request, refusal)
    return section.answer(request, secret=secret, done="regenerate")


@page("GET", "HEAD", "POST")
def key_end_old(request: UserRequest) -> HttpResponse:
    form = EndOldForm(request)
    if unconfirmed := _unless_confirmed(request, form):
        return unconfirmed
    try:
        lifecycle.end_old_secret(**_change(form))
    except ChangeRefused as refusal:
        return section.refused(request, refusal)
    said = _("The old secret key was ended on %(moment)s. It and its access tokens are refused from now on.")
    return section.told(request, said % {"moment": absolute(timezone.now())})


@page("GET", "HEAD", "POST")
def key_delete(request: UserRequest) -> HttpResponse:
    form = DeleteForm(request)
    if unconfirmed := _unless_confirmed(request, form):
        return unconfirmed
    try:
        lifecycle.delete(**_change(form))
    except ChangeRefused as refusal:
        return section.refused(request, refusal)
    said = _("Your personal API access key was deleted on %(moment)s. Applications that used it have lost access.")
    return section.told(request, said % {"moment": absolute(timezone.now())})


@page("GET", "HEAD", "POST")
@sensitive_variables()
def key_check(request: UserRequest) -> HttpResponse:
    """Which secret of the key is this one? It changes nothing, so it asks for no password."""
    key = lifecycle.of(request.user)
    if key is None:
        return section.refused(request, lifecycle.NoKey())
    form = CheckForm(request)
    context: dict[str, Any] = {"form": form, "title": _("Check a secret key")}
    if form.is_valid():
        context["kind"], context["text"] = section.which_secret(key, form.cleaned_data["secret"])
        del form.fields["secret"].widget.attrs["autofocus"]  # the answer has it
    response = _prompt(request, "profiles/partials/check.html", context, status=422 if form.errors else 200)
    return attempts.answered(response, attempts.refusal_in(form))


def _unless_confirmed(request: UserRequest, form: PromptForm) -> HttpResponse | None:
    """Ask, or say why nothing is done; None when it was confirmed, and the password proven if it has to be."""
    if not form.is_bound:
        return _ask(request, form)
    if form.lacks_password or form.only_asks:
        return _ask(request, form.anew())
    if not form.is_valid():
        if form.has_error("version"):
            return section.refused(request, changes.Changed())
        if form.has_error("password", "incorrect"):
            lifecycle.record_refused_password(owner=request.user, origin=origin_of(request))
        return _ask(request, form, status=429 if form.has_error("password", "limited") else 422)
    if "password" in form.cleaned_data:
        reauthentication.accept(request)
    return None


def _change(form: PromptForm) -> dict[str, Any]:
    """What every change of a key is told."""
    request = form.request
    return {"owner": request.user, "origin": origin_of(request), "version": form.cleaned_data["version"]}


def _ask(request: UserRequest, form: PromptForm, *, status: int = 200) -> HttpResponse:
    """The prompt of an action, with the password if it has to be proven."""
    key = lifecycle.of(request.user)
    secrets = section.Secrets.of(key)
    if refusal := form.refusal(key, secrets.old):
        return section.refused(request, refusal)
    # What is focused first: Cancel, unless there is nothing to lose or something to put right.
    to_password = "password" in form.fields and (form.action == "create" or bool(form.errors))
    if to_password:
        form.fields["password"].widget.attrs["autofocus"] = True
    count = tokens.count_active(key, at_most=TOKENS_COUNTED + 1) if key else 0
    context = {
        "form": form,
        "action": form.action,
        "title": form.title,
        "cancel_first": not to_password,
        "version": form.seen_now,
        "key": key,
        "secrets": secrets,
        "active_tokens": min(count, TOKENS_COUNTED),
        "more_tokens": count > TOKENS_COUNTED,
    }
    response = _prompt(request, form.fragment, context, status=status)
    if status == 429:
        response.headers["Retry-After"] = "60"
    return response


def _prompt(request: UserRequest, fragment: str, context: dict[str, Any], *, status: int) -> HttpResponse:
    """A dialog in the page, or a page of its own."""
    context = {**context, "fragment": fragment, "in_dialog": wants_part(request)}
    if not wants_part(request):
        return render(request, "profiles/confirm.html", context, status=status)
    response = render(request, fragment, context, status=status)
    return reswap(retarget(response, "#key-dialog-body"), "innerHTML")
