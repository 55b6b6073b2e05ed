"""The pages of an API Client: what it is, and what can be done to it by whom.

Who may not view API Clients gets none of these pages (403); a client of another company is as one that does not exist
(404); and what somebody may not do is neither offered, asked nor done (403). The rules are those of `reach`, once more
looked at by each change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Self

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables
from django_htmx.http import HttpResponseClientRedirect, replace_url

from .. import reach
from ..account import activity
from ..clients import changes, company
from ..clients.changes import Action, ChangeRefused
from ..http.requests import UserRequest
from ..models import AccountEvent, Company, KeyEvent, OAuthApplication, User
from ..reach import ToClient
from ..templatetags.moments import absolute, clock
from . import prompts, section
from .base import page, wants_part
from .client_forms import IN_FORM, AboutForm, AlreadySo, DisableForm, EditForm, EnableForm, NewForm
from .forms import DeleteForm
from .subject import LOST, Subject, Words

# Each action that is offered on the page of a client, with what it does.
DEEDS = {
    "edit": ToClient.EDIT,
    "regenerate": ToClient.REGENERATE,
    "end_old": ToClient.END_OLD,
    "disable": ToClient.DISABLE,
    "enable": ToClient.ENABLE,
    "delete": ToClient.DELETE,
}
NOTHING_DONE = gettext_lazy("You had been signed out, so nothing was done.")

ClientView = Callable[["ApiClient"], HttpResponse]


def company_of(viewer: User) -> Company:
    """The company whose API Clients this user may view; nobody else has a page here."""
    if viewer.company is None or not reach.may_view_clients(viewer):
        raise PermissionDenied
    return viewer.company


class ApiClient(Subject):
    """An API Client of the viewer's company."""

    words = Words(
        created=gettext_lazy("The API Client has been created"),
        use_again=gettext_lazy("Regenerate it to use this API Client again."),
        how_to_use=gettext_lazy("How to use this API Client"),
        none_works=gettext_lazy(
            "No secret key of this API Client works any more. It gets a new one; the Client ID stays the same."
        ),
        check=gettext_lazy("Paste a secret key that you have found, to learn whether it is one of this API Client’s."),
        is_not_its=gettext_lazy("It is not one of this API Client’s."),
        is_not_whole=gettext_lazy(
            "It is not one of this API Client’s, and not a whole secret key at all. Was it copied in full?"
        ),
        was_ended=gettext_lazy("It was replaced on %(replaced)s, and ended on %(ends)s."),
        delete=gettext_lazy("Delete this API Client?"),
        deleting=gettext_lazy("Deleting the API Client revokes access at once for every application that uses it."),
        after_deleting=gettext_lazy("A new API Client can have the same name; it will have a different Client ID."),
        changed=gettext_lazy("This API Client was changed at %(time)s, in another window or by somebody else."),
        happened={
            Action.CREATED: gettext_lazy("This API Client was created at %(time)s, by an earlier click."),
            Action.REGENERATED: gettext_lazy(
                "The secret key was regenerated at %(time)s, in another window, by an earlier click or by somebody "
                "else."
            ),
            Action.DISABLED: gettext_lazy(
                "This API Client was disabled at %(time)s, in another window or by somebody else."
            ),
            Action.ENABLED: gettext_lazy(
                "This API Client was enabled at %(time)s, in another window or by somebody else."
            ),
            Action.OLD_SECRET_ENDED: gettext_lazy("The old secret key of this API Client stopped at %(time)s."),
            Action.LEAKED: gettext_lazy(
                "The secret key of this API Client was reported as leaked at %(time)s, and ended."
            ),
            Action.OLD_SECRET_LEAKED: gettext_lazy(
                "The old secret key of this API Client was reported as leaked at %(time)s, and ended."
            ),
        },
    )
    via = KeyEvent.Via.CLIENTS
    verbs: ClassVar = company
    section_template = "clients/partials/section.html"
    page_template = "clients/client.html"
    company: Company

    def __init__(self, request: UserRequest, viewer: User, client: OAuthApplication) -> None:
        super().__init__(request, client)
        self.viewer = viewer
        self.company = company_of(viewer)
        self.there = client

    @classmethod
    def of(cls, request: UserRequest, viewer: User, client_id: str) -> Self:
        """The client of this ID, of the viewer's company. Raises what becomes the page 403 or 404."""
        client = company.of(company_of(viewer), client_id)
        if client is None:
            raise Http404
        return cls(request, viewer, client)

    @property
    def tag(self) -> str:
        return self.there.client_id

    @cached_property
    def urls(self) -> Mapping[str, str]:
        address = reverse("client", args=[self.there.client_id])
        actions = {name: f"{address}{name.replace('_', '-')}/" for name in (*DEEDS, "check")}
        return {"show": address, "home": address, **actions}

    @cached_property
    def may(self) -> Mapping[str, bool]:
        return {name: self.may_do(deed) for name, deed in DEEDS.items()}

    def may_do(self, deed: ToClient) -> bool:
        client = self.there
        return reach.may_do(self.viewer, deed, client.access_profile, resource_server=client.may_introspect)

    def as_now(self) -> Self:
        viewer = get_object_or_404(User.objects.with_all(), pk=self.viewer.pk)
        return self.of(self.request, viewer, self.there.client_id)

    def version(self) -> int:
        return company.version(self.there.client_id)

    def last_events(self, number: int) -> Sequence[KeyEvent]:
        return list(KeyEvent.objects.filter(client_id=self.there.client_id).select_related("actor")[:number])

    def change(self) -> dict[str, Any]:
        return {"company": self.company, "client_id": self.there.client_id}

    def record_refused_password(self) -> None:
        company.record_refused_password(self.there, origin=self.origin())

    def why_not(self, refusal: ChangeRefused, changed: KeyEvent | None) -> str:
        if isinstance(refusal, company.NotAllowed):
            raise PermissionDenied
        if isinstance(refusal, AlreadySo):
            if self.there.disabled:
                return _("Nothing was done: this API Client is disabled already.")
            return _("Nothing was done: this API Client is enabled already.")
        return ""

    def context(self) -> dict[str, Any]:
        known_outside = self.there.secrets.live().known_outside().select_related("shown_to")
        return {"company": self.company, "known_outside": list(known_outside)}


class NewClient(Subject):
    """An API Client that is not there yet."""

    words = ApiClient.words
    via = KeyEvent.Via.CLIENTS
    verbs: ClassVar = company
    section_template = ApiClient.section_template
    page_template = ApiClient.page_template
    company: Company

    def __init__(self, request: UserRequest) -> None:
        super().__init__(request, None)
        self.company = company_of(request.user)

    @cached_property
    def urls(self) -> Mapping[str, str]:
        clients = reverse("clients")
        return {"show": clients, "home": clients, "create_client": reverse("client-create")}

    @cached_property
    def may(self) -> Mapping[str, bool]:
        return {"create_client": reach.may_do(self.request.user, ToClient.CREATE)}

    @cached_property
    def last(self) -> KeyEvent | None:
        return company.last_made(self.company, self.request.user)

    def as_now(self) -> Self:
        return type(self)(self.request)

    def version(self) -> int:
        return self.last.pk if self.last else 0

    def last_events(self, number: int) -> Sequence[KeyEvent]:
        return []

    def change(self) -> dict[str, Any]:
        return {"company": self.company}

    def record_refused_password(self) -> None:
        activity.record(AccountEvent.Action.PASSWORD_REFUSED, owner=self.request.user, origin=self.origin())

    def why_not(self, refusal: ChangeRefused, changed: KeyEvent | None) -> str:
        raise PermissionDenied


def client_page(*methods: str, to: ToClient | None = None) -> Callable[[ClientView], Callable[..., HttpResponse]]:
    """What holds for every page of one client: who may view it, and `to` whom an action is open, by any method."""

    def decorate(view: ClientView) -> Callable[..., HttpResponse]:
        @page(*methods, back=_url_of_client, as_it_was=NOTHING_DONE)
        @wraps(view)
        def found(request: UserRequest, client_id: str) -> HttpResponse:
            subject = ApiClient.of(request, request.user, client_id)
            if to and not subject.may_do(to):
                raise PermissionDenied
            try:
                return view(subject)
            except company.NoClient as gone:  # deleted a moment ago
                raise Http404 from gone

        return found

    return decorate


def _url_of_client(client_id: str) -> str:
    return reverse("client", args=[client_id])


def _url_of_form() -> str:
    return reverse("client-create")


@client_page("GET", "HEAD")
def client(subject: ApiClient) -> HttpResponse:
    response = section.answer(subject)
    # The section may be asked for by the page that answered Create, which has another address.
    return replace_url(response, subject.urls["show"]) if wants_part(subject.request) else response


@page("GET", "HEAD", "POST", back=_url_of_form, as_it_was=NOTHING_DONE)
@sensitive_variables()
def client_create(request: UserRequest) -> HttpResponse:
    subject = NewClient(request)
    if not subject.may["create_client"]:
        raise PermissionDenied
    form = NewForm(subject)
    if form.is_bound and form.has_error("version"):
        return _made_meanwhile(form)
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        made, secret = company.create(**prompts.change(form), about=form.about)
    except changes.Changed:
        return _made_meanwhile(form)
    except ChangeRefused as refusal:
        return _refused(form, refusal)
    # Answered without a redirect, on purpose: this is the one response that has the secret.
    return section.answer(ApiClient(request, request.user, made), secret=secret, done="create")


def _made_meanwhile(form: NewForm) -> HttpResponse:
    """A form that was sent again, or another one that was open beside it: nothing is made, nothing typed is lost."""
    subject = NewClient(form.subject.request)
    made = subject.last
    there = company.of(subject.company, made.client_id) if made else None
    said = _("You created “%(name)s” at %(time)s, after this form was opened. Nothing was done now.") % {
        "name": made.client_name if made else "",
        "time": clock(made.time) if made else "",
    }
    again = type(form)(subject, initial=form.typed())
    return prompts.ask(again, status=409, made_meanwhile=said, made_client=there, lost=LOST)


def _refused(form: AboutForm, refusal: ChangeRefused) -> HttpResponse:
    """What the rules refuse is said in the form; or it is not for this person at all."""
    if type(refusal) not in IN_FORM:
        return section.refused(form.subject, refusal)
    form.refuse(refusal)
    return prompts.ask(form, status=422)


@client_page("GET", "HEAD", "POST", to=ToClient.EDIT)
def client_edit(subject: ApiClient) -> HttpResponse:
    form = EditForm(subject)
    if form.is_bound and form.has_error("version"):
        changed = section.last_change(subject.last_events(section.EVENTS_SHOWN))
        said = section.why_refused(subject, changes.Changed(), changed)
        return prompts.ask(form.anew(), status=409, not_done=said)  # nothing typed is lost
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        company.edit(**prompts.change(form), about=form.about)
    except ChangeRefused as refusal:
        return _refused(form, refusal)
    messages.success(subject.request, _("The API Client was saved."), extra_tags=subject.tag)
    return _go(subject.request, subject.urls["show"])


@client_page("GET", "HEAD", "POST", to=ToClient.REGENERATE)
def client_regenerate(subject: ApiClient) -> HttpResponse:
    return prompts.regenerate(subject)


@client_page("GET", "HEAD", "POST", to=ToClient.END_OLD)
def client_end_old(subject: ApiClient) -> HttpResponse:
    return prompts.end_old(subject)


@client_page("GET", "HEAD", "POST", to=ToClient.DISABLE)
def client_disable(subject: ApiClient) -> HttpResponse:
    form = DisableForm(subject)
    said = _("The API Client was disabled on %(moment)s. It and its access tokens are refused from now on.")
    return _switch(form, enabled=False, said=said)


@client_page("GET", "HEAD", "POST", to=ToClient.ENABLE)
def client_enable(subject: ApiClient) -> HttpResponse:
    form = EnableForm(subject)
    said = _("The API Client was enabled on %(moment)s. Its secret key and its access tokens are accepted again.")
    return _switch(form, enabled=True, said=said)


def _switch(form: DisableForm | EnableForm, *, enabled: bool, said: str) -> HttpResponse:
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        company.switch(**prompts.change(form), enabled=enabled)
    except ChangeRefused as refusal:
        return section.refused(form.subject, refusal)
    return section.told(form.subject, said % {"moment": absolute(timezone.now())})


@client_page("GET", "HEAD", "POST", to=ToClient.DELETE)
def client_delete(subject: ApiClient) -> HttpResponse:
    form = DeleteForm(subject)
    if unconfirmed := prompts.unless_confirmed(form):
        return unconfirmed
    try:
        company.delete(**prompts.change(form))
    except ChangeRefused as refusal:
        return section.refused(subject, refusal)
    said = _("The API Client “%(name)s” was deleted on %(moment)s. Applications that used it have lost access.")
    shown = {"name": subject.there.name, "moment": absolute(timezone.now())}
    messages.success(subject.request, said % shown)
    return _go(subject.request, reverse("clients"))


@client_page("GET", "HEAD", "POST")
def client_check(subject: ApiClient) -> HttpResponse:
    return prompts.check(subject, subject.there)


def _go(request: UserRequest, url: str) -> HttpResponse:
    """To another page, as a whole."""
    return HttpResponseClientRedirect(url) if request.htmx else HttpResponseRedirect(url)
