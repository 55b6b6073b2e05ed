"""The prompts of a client's page, and what each does once it is confirmed.

Every answer is the same whether htmx asked or the browser did; htmx gets the part of the page that changes, the
browser the page around it. A form carries the version of the client that its reader saw, so a form sent again
(refreshed, gone back to, clicked twice, from another window) changes nothing and is answered by the section as it is
now, with 409.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import reswap, retarget

from ..clients import changes, tokens
from ..clients.changes import ChangeRefused
from ..http.requests import UserRequest
from ..limits import attempts
from ..models import OAuthApplication
from ..templatetags.moments import absolute
from . import reauthentication, section
from .base import wants_part
from .forms import CheckForm, EndOldForm, PromptForm, RegenerateForm
from .subject import Subject

# Tokens are counted up to here, then there are "more than" so many.
TOKENS_COUNTED = 1000


@sensitive_variables()
def regenerate(subject: Subject) -> HttpResponse:
    form = RegenerateForm(subject)
    if unconfirmed := unless_confirmed(form):
        return unconfirmed
    try:
        _client, secret = subject.verbs.regenerate(**change(form), old_secret=form.cleaned_data["old_secret"])
    except ChangeRefused as refusal:
        return section.refused(subject, refusal)
    # Answered without a redirect, on purpose: this is the one response that has the secret.
    return section.answer(subject, secret=secret, done="regenerate")


def end_old(subject: Subject) -> HttpResponse:
    form = EndOldForm(subject)
    if unconfirmed := unless_confirmed(form):
        return unconfirmed
    try:
        subject.verbs.end_old_secret(**change(form))
    except ChangeRefused as refusal:
        return section.refused(subject, refusal)
    said = _("The old secret key was ended on %(moment)s. It and its access tokens are refused from now on.")
    return section.told(subject, said % {"moment": absolute(timezone.now())})


@sensitive_variables()
def check(subject: Subject, client: OAuthApplication) -> HttpResponse:
    """Which secret of the client is this one? It changes nothing, so it asks for no password."""
    request = subject.request
    form = CheckForm(request)
    context: dict[str, Any] = {
        "form": form,
        "title": _("Check a secret key"),
        "words": subject.words,
        "urls": subject.urls,
    }
    if form.is_valid():
        context["kind"], context["text"] = section.which_secret(subject, client, form.cleaned_data["secret"])
        del form.fields["secret"].widget.attrs["autofocus"]  # the answer has it
    response = _prompt(request, "profiles/partials/check.html", context, status=422 if form.errors else 200)
    return attempts.answered(response, attempts.refusal_in(form))


def unless_confirmed(form: PromptForm) -> HttpResponse | None:
    """Ask, or say why nothing is done; None when it was confirmed, and the password proven if it has to be."""
    subject = form.subject
    if not form.is_bound:
        return ask(form)
    if form.lacks_password or form.only_asks:
        return ask(form.anew())
    if not form.is_valid():
        if form.has_error("version"):
            return section.refused(subject, changes.Changed())
        if form.has_error("password", "incorrect"):
            subject.record_refused_password()
        return ask(form, status=429 if form.has_error("password", "limited") else 422)
    if "password" in form.fields:
        reauthentication.accept(subject.request)
        del form.fields["password"]  # should it be asked once more, then not for that
    return None


def change(form: PromptForm) -> dict[str, Any]:
    """What every change of a client is told."""
    subject = form.subject
    return {**subject.change(), "origin": subject.origin(), "version": form.cleaned_data["version"]}


def ask(form: PromptForm, *, status: int = 200, **more: object) -> HttpResponse:
    """The prompt of an action, with the password if it has to be proven."""
    subject = form.subject
    client = subject.client
    secrets = section.Secrets.of(client, subject.policy)
    if refusal := form.refusal(client, secrets.old):
        return section.refused(subject, refusal)
    focused = form.focused
    if focused:
        form.fields[focused].widget.attrs["autofocus"] = True
    count = tokens.count_active(client, at_most=TOKENS_COUNTED + 1) if client else 0
    context = {
        "form": form,
        "action": form.action,
        "title": form.title,
        "cancel_first": not focused,
        "version": form.seen_now,
        "client": client,
        "secrets": secrets,
        "words": subject.words,
        "urls": subject.urls,
        "url": subject.urls[form.action],
        "active_tokens": min(count, TOKENS_COUNTED),
        "more_tokens": count > TOKENS_COUNTED,
        **more,
    }
    response = _prompt(subject.request, form.fragment, context, status=status)
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
