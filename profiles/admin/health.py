"""Key health: how many clients in reach are at which risk, first on the index; each number opens the list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy

from ..clients.health import Risk, clients_at, clients_at_each, is_seen_at_once
from ..models import OAuthApplication, Upkeep
from .base import ChoiceFilter, ListAdmin, actor_of, at_most

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.functional import _StrPromise

# So a number is found in the same time however many there are.
COUNTED_AT_MOST = 1000

WHAT_TO_DO: dict[Risk, _StrPromise] = {
    Risk.LEAKED: gettext_lazy("Its programs stand still, or soon will, until it is regenerated."),
    Risk.KNOWN_OUTSIDE: gettext_lazy("Somebody outside can still use it. Have it regenerated, or disable it."),
    Risk.MANY_TOKENS: gettext_lazy("Ask for a program that keeps its token instead of taking one for each call."),
    Risk.OLD_SECRET: gettext_lazy("Whoever has seen it can use it. Have it regenerated, with an overlap."),
    Risk.UNUSED: gettext_lazy("Probably nobody needs it: ask whom it belongs to, who was mailed, then revoke it."),
    Risk.NEVER_USED: gettext_lazy("Not needed, or not needed yet."),
}


class HealthFilter(ChoiceFilter):
    title = gettext_lazy("health")
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Any:
        return Risk.choices

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(clients_at(Risk(value)))


@dataclass(frozen=True, slots=True)
class Line:
    risk: Risk
    number: str
    what_to_do: _StrPromise
    address: str
    found_by_upkeep: bool


def of_reach(request: HttpRequest) -> list[Line]:
    """A line for each risk, about the clients that this administrator reaches."""
    keys = admin.site.get_model_admin(OAuthApplication)
    assert isinstance(keys, ListAdmin)  # noqa: S101 - for type checkers: it is ours
    reached = keys.within_reach(OAuthApplication.objects.order_by(), actor_of(request))
    address = reverse("admin:profiles_oauthapplication_changelist")
    return [
        Line(
            risk,
            _counted(reached.filter(at_risk)),
            WHAT_TO_DO[risk],
            f"{address}?health={risk}",
            not is_seen_at_once(risk),
        )
        for risk, at_risk in clients_at_each().items()
    ]


def _counted(clients: QuerySet[Any]) -> str:
    return at_most(clients.values("pk")[:COUNTED_AT_MOST].count(), COUNTED_AT_MOST)


def looked() -> datetime | None:
    """When the upkeep last looked for what it finds; None if it never has."""
    return Upkeep.objects.filter(name="health").values_list("succeeded", flat=True).first()


_index = admin.site.index


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
    """The index of the admin site, with the health of keys for who may look at keys."""
    if request.user.has_perm("profiles.view_oauthapplication"):
        lines = of_reach(request)
        by_upkeep = any(line.found_by_upkeep for line in lines)
        health = {"health": lines, "is_found_by_upkeep": by_upkeep, "health_looked": by_upkeep and looked()}
        extra_context = {**(extra_context or {}), **health}
    return _index(request, extra_context)
