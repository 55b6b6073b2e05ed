"""My Profile: the page, and what its section on the key offers to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Self

from django.db.models import BigAutoField
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from .. import rights
from ..clients import lifecycle
from ..clients.changes import Action, ChangeRefused
from ..compiled import CompiledQuery, Given
from ..http.requests import UserRequest
from ..models import KeyEvent, User
from ..templatetags.moments import absolute
from . import prompts, section
from .base import page
from .forms import CreateForm, DeleteForm
from .subject import LOST, Subject, Words

ACTIONS = ("create", "regenerate", "end_old", "delete", "check")
_EVERYTHING = dict.fromkeys(ACTIONS, True)
_NO_NEW_SECRET = {**_EVERYTHING, "create": False, "regenerate": False}
_EVENTS = CompiledQuery(lambda: KeyEvent.objects.filter(owner=Given("owner", BigAutoField()))[: section.EVENTS_SHOWN])


@cache
def _urls() -> Mapping[str, str]:
    profile = reverse("profile")
    actions = {action: reverse(f"key-{action.replace('_', '-')}") for action in ACTIONS}
    return {"show": profile, "home": f"{profile}#api-key", **actions}


class PersonalKey(Subject):
    """The key of whoever asks: theirs alone, so they may do everything to it that their company allows."""

    words = Words(
        created=gettext_lazy("Your key has been created"),
        use_again=gettext_lazy("Regenerate it to use this key again."),
        how_to_use=gettext_lazy("How to use this key"),
        none_works=gettext_lazy(
            "No secret key of this key works any more. It gets a new one; the Client ID stays the same."
        ),
        check=gettext_lazy("Paste a secret key that you have found, to learn whether it is one of this key’s."),
        is_not_its=gettext_lazy("It is not one of this key’s."),
        is_not_whole=gettext_lazy(
            "It is not one of this key’s, and not a whole secret key at all. Was it copied in full?"
        ),
        was_ended=gettext_lazy("It was replaced on %(replaced)s, and you ended it on %(ends)s."),
        delete=gettext_lazy("Delete your personal API access key?"),
        deleting=gettext_lazy("Deleting the key revokes access at once for every application that uses it."),
        after_deleting=gettext_lazy("You can create a new key later; it will have a different Client ID."),
        changed=gettext_lazy("This key was changed at %(time)s, in another window or by an earlier click."),
        happened={
            Action.CREATED: gettext_lazy("This key was created at %(time)s, in another window or by an earlier click."),
            Action.DELETED: gettext_lazy("This key was deleted at %(time)s, in another window or by an earlier click."),
            Action.REVOKED: gettext_lazy("This key was revoked by an administrator at %(time)s."),
            Action.OLD_SECRET_ENDED: gettext_lazy("The old secret key of this key stopped at %(time)s."),
            Action.LEAKED: gettext_lazy("The secret key of this key was reported as leaked at %(time)s, and ended."),
            Action.OLD_SECRET_LEAKED: gettext_lazy(
                "The old secret key of this key was reported as leaked at %(time)s, and ended."
            ),
        },
    )
    via = KeyEvent.Via.PAGE
    verbs: ClassVar = lifecycle
    section_template = "profiles/partials/key_section.html"
    page_template = "profiles/profile.html"

    def __init__(self, request: UserRequest, owner: User | None = None) -> None:
        self.owner = owner or request.user
        self.company = self.owner.company
        super().__init__(request, getattr(self.owner, "key", None))

    @property
    def urls(self) -> Mapping[str, str]:
        return _urls()

    @property
    def may(self) -> Mapping[str, bool]:
        return _NO_NEW_SECRET if self.policy.no_keys else _EVERYTHING

    def as_now(self) -> Self:
        owner = get_object_or_404(User.objects.with_all(), pk=self.owner.pk)
        return type(self)(self.request, owner)

    def version(self) -> int:
        return lifecycle.version(self.owner)

    def last_events(self, number: int) -> Sequence[KeyEvent]:
        return _EVENTS.run(owner=self.owner.pk)[:number]

    def change(self) -> dict[str, Any]:
        return {"owner": self.owner}

    def record_refused_password(self) -> None:
        lifecycle.record_refused_password(owner=self.owner, origin=self.origin())

    def why_not(self, refusal: ChangeRefused, changed: KeyEvent | None) -> str:
        if isinstance(refusal, lifecycle.KeysNotAllowed):
            return _("Nothing was done: your company allows no personal API access keys.")
        if isinstance(refusal, lifecycle.KeyExists):
            return _("You already have a personal API access key, and you can have one.") + f" {LOST}"
        if not self.client and (isinstance(refusal, lifecycle.NoKey) or not changed):
            return _("Nothing was done: you don’t have a personal API access key.")
        return ""

    def no_new_secret(self) -> ChangeRefused | None:
        return lifecycle.KeysNotAllowed() if self.policy.no_keys else None

    def context(self) -> dict[str, Any]:
        return {"owner": self.owner}

    def context_of_page(self) -> dict[str, Any]:
        return {"rights": rights.grouped(self.owner.rights)}


@page("GET", "HEAD")
def profile(request: UserRequest) -> HttpResponse:
    return section.answer(PersonalKey(request))


@page("GET", "HEAD", "POST")
@sensitive_variables()
def key_create(request: UserRequest) -> HttpResponse:
    subject = PersonalKey(request)
    if request.method != "POST":
        # Nothing to confirm. Whoever asks stands on the page that answered Create, and reloads it by its address.
        return HttpResponseRedirect(subject.urls["home"])
    form = CreateForm(subject)
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        _key, secret = lifecycle.create(**prompts.change(form))
    except ChangeRefused as refusal:
        return section.refused(subject, refusal)
    # Answered without a redirect, on purpose: this is the one response that has the secret.
    return section.answer(subject, secret=secret, done="create")


@page("GET", "HEAD", "POST")
def key_regenerate(request: UserRequest) -> HttpResponse:
    return prompts.regenerate(PersonalKey(request))


@page("GET", "HEAD", "POST")
def key_end_old(request: UserRequest) -> HttpResponse:
    return prompts.end_old(PersonalKey(request))


@page("GET", "HEAD", "POST")
def key_delete(request: UserRequest) -> HttpResponse:
    subject = PersonalKey(request)
    form = DeleteForm(subject)
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        lifecycle.delete(**prompts.change(form))
    except ChangeRefused as refusal:
        return section.refused(subject, refusal)
    said = _("Your personal API access key was deleted on %(moment)s. Applications that used it have lost access.")
    return section.told(subject, said % {"moment": absolute(timezone.now())})


@page("GET", "HEAD", "POST")
def key_check(request: UserRequest) -> HttpResponse:
    subject = PersonalKey(request)
    if subject.client is None:
        return section.refused(subject, lifecycle.NoKey())
    return prompts.check(subject, subject.client)
