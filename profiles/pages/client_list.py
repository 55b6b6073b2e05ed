"""The API Clients of a company, as a list: who may view them sees all."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import policy, reach
from ..http.requests import UserRequest
from ..models import ClientSecret, Company, KeyEvent, OAuthApplication, User
from ..reach import ToClient
from ..text import spelling
from ..text.fields import ByCodePoint
from ..text.free_text import FreeTextForm
from .base import page
from .clients import NOTHING_DONE, company_of
from .section import EVENTS_SHOWN

PAGE = 25


class SearchForm(FreeTextForm, forms.Form):
    """What is sought, by a link. A credential in it is not repeated: see FreeTextForm."""

    q = forms.CharField(
        label=_("Name or Client ID"), max_length=150, required=False, widget=forms.TextInput(attrs={"type": "search"})
    )


@page("GET", "HEAD", as_it_was=NOTHING_DONE)
def client_list(request: UserRequest) -> HttpResponse:
    viewer = request.user
    company = company_of(viewer)
    form = SearchForm(request.GET)
    sought = form.cleaned_data["q"] if form.is_valid() else ""
    clients = reach.clients(viewer)
    paginator = Paginator(_listed(_found(clients, sought), policy.read(company.policy)), PAGE)
    context: dict[str, Any] = {
        "company": company,
        "form": form,
        "sought": sought,
        "clients": paginator.get_page(request.GET.get("page")),
        "may_create": reach.may_do(viewer, ToClient.CREATE),
        "known_outside": _known_outside(viewer),
        "events": _events(company),
        "viewer": viewer,
    }
    return render(request, "clients/list.html", context, status=422 if form.errors else 200)


def _found(clients: QuerySet[OAuthApplication], sought: str) -> QuerySet[OAuthApplication]:
    if not sought:
        return clients
    named = Q(name_folded__contains=spelling.folded(spelling.name(sought)))
    return clients.filter(named | Q(client_id__contains=sought.lower()))


def _listed(clients: QuerySet[OAuthApplication], theirs: policy.Policy) -> QuerySet[OAuthApplication]:
    """With all that a row says."""
    live = ClientSecret.objects.live().filter(application=OuterRef("pk"))
    if theirs.age:
        live = live.filter(created__gt=timezone.now() - theirs.age)
    leaked = ClientSecret.objects.leaked().filter(application=OuterRef("pk"))
    listed = clients.select_related("access_profile", "maker")
    listed = listed.annotate(has_secret=Exists(live), is_leaked=Exists(leaked))
    return listed.order_by(ByCodePoint("name_folded"), "client_id")


def _known_outside(viewer: User) -> list[ClientSecret]:
    """The live secrets that somebody knows who has left, of the clients whose secret the viewer may regenerate."""
    secrets = ClientSecret.objects.live().known_outside().filter(application__in=reach.clients(viewer))
    return [
        secret
        for secret in secrets.select_related("shown_to", "application__access_profile").order_by(
            "application__name_folded"
        )
        if (client := secret.application)
        and reach.may_do(viewer, ToClient.REGENERATE, client.access_profile, resource_server=client.may_introspect)
    ]


def _events(company: Company) -> list[KeyEvent]:
    """What happened last to the company's clients, those that are deleted included."""
    events = KeyEvent.objects.filter(owner_uid=company.uid).exclude(client_name="")
    return list(events.select_related("actor")[:EVENTS_SHOWN])
