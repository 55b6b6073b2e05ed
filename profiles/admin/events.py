"""Key events and account events: to read, to search and to export as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from .. import reach
from ..account import activity
from ..events import export
from ..models import AccountEvent, Company, Event, KeyEvent
from ..text import spelling
from .base import (
    CompanyFilter,
    FieldFilter,
    ListAdmin,
    PeriodFilter,
    ReadOnly,
    api_clients_found_by,
    as_address,
    as_id,
    moment,
    pks,
    two_lines,
    users_found_by,
)
from .exported import Exported


class ActionFilter(FieldFilter):
    title = _("what")
    parameter_name = path = "action"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Any:
        return KeyEvent.Action.choices


class ViaFilter(FieldFilter):
    title = _("via")
    parameter_name = path = "via"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Any:
        return KeyEvent.Via.choices


class TimeFilter(PeriodFilter):
    title = _("time")
    path = "time"


class EventAdmin(Exported, ReadOnly, ListAdmin):
    """What both kinds of events have in common.

    Staff of one company see the events of its present users and of its API Clients. An event names its actor even if
    that is somebody of another company: events exist to tell this.
    """

    company_path = "owner__company"

    list_select_related = ("owner", "actor")
    ordering = ("-id",)
    sortable_by = ()

    def found_by(self, word: str) -> Q:
        if address := as_address(word):
            return Q(address=address)
        users = pks(users_found_by(word))
        found = Q(owner__in=users) | Q(actor__in=users)
        part = as_id(word)
        if part and not users:
            # Perhaps the uid of a deleted user: events keep a copy of it.
            found |= Q(owner_uid=part) | Q(actor_uid=part)
        return found

    @admin.display(description=_("time (UTC)"))
    def exact_time(self, obj: Event) -> str:
        return moment(obj.time)

    @admin.display(description=_("owner"))
    def owner_email(self, obj: KeyEvent | AccountEvent) -> str:
        return obj.owner.email if obj.owner else obj.owner_uid

    @admin.display(description=_("by, from"))
    def origin(self, obj: Event) -> SafeString:
        client = Truncator(obj.user_agent).chars(40)
        who = obj.actor.email if obj.actor else obj.actor_uid or "-"
        return two_lines(who, " · ".join(filter(None, (obj.get_via_display(), obj.address, client))))

    # --- Export -------------------------------------------------------------------------------------------

    def as_csv(self, rows: QuerySet[Any]) -> Iterator[str]:
        return export.as_csv(self.model, export.in_parts(rows, newest_first=True), is_file=True)


class AccountActionFilter(ActionFilter):
    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Any:
        return AccountEvent.Action.choices


@admin.register(AccountEvent)
class AccountEventAdmin(EventAdmin):
    list_display = ("exact_time", "what_was_done", "owner_email", "origin")
    file_name = "account-events"
    list_filter = (AccountActionFilter, ViaFilter, TimeFilter, CompanyFilter)
    search_help_text = _("E-mail address, uid or name of the owner or who did it; address.")
    fields = (
        "exact_time",
        "action",
        "detail_in_words",
        "owner",
        "owner_uid",
        "actor",
        "actor_uid",
        "via",
        "address",
        "user_agent",
    )

    @admin.display(description=_("what"))
    def what_was_done(self, obj: AccountEvent) -> SafeString:
        return two_lines(obj.get_action_display(), self.detail_in_words(obj))

    @admin.display(description=_("detail"))
    def detail_in_words(self, obj: AccountEvent) -> str:
        return activity.readable(obj.action, obj.detail)


@admin.register(KeyEvent)
class KeyEventAdmin(EventAdmin):
    list_display = ("exact_time", "what_was_done", "client_id", "whose", "origin")
    file_name = "key-events"
    list_filter = (ActionFilter, ViaFilter, TimeFilter, CompanyFilter)
    search_help_text = _(
        "Client ID or its first characters; e-mail address, uid or name of the owner or who did it; name of the API "
        "Client or its company; address."
    )
    fields = (
        "exact_time",
        "what",
        "client_id",
        "client_name",
        "company",
        "owner",
        "owner_uid",
        "actor",
        "actor_uid",
        "via",
        "address",
        "user_agent",
        "reason",
        "old_secret",
        "difference",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return export.with_company(super().get_queryset(request))

    def of_company(self, company: int | None) -> Q:
        return Q(pk__in=reach.key_events_of(company))

    def found_by(self, word: str) -> Q:
        found = super().found_by(word)
        if as_address(word):
            return found
        if part := as_id(word):
            found |= Q(client_id__startswith=part)
        found |= Q(client_id__in=pks(api_clients_found_by(word), "client_id"))
        companies = Company.objects.filter(name_folded__contains=spelling.folded(word))
        return found | Q(owner_uid__in=pks(companies, "uid"))

    @admin.display(description=_("what"))
    def what(self, obj: KeyEvent) -> str:
        return obj.what

    @admin.display(description=_("what"))
    def what_was_done(self, obj: KeyEvent) -> SafeString:
        return two_lines(obj.what, obj.reason or obj.difference)

    @admin.display(description=_("detail"))
    def difference(self, obj: KeyEvent) -> str:
        return obj.difference

    @admin.display(description=_("company"))
    def company(self, obj: Any) -> str:
        return obj.company_name or ""

    @admin.display(description=_("whose"))
    def whose(self, obj: Any) -> SafeString | str:
        """The owner, or of an API Client its name at that time and the company."""
        if obj.client_name:
            return two_lines(obj.client_name, obj.company_name or obj.owner_uid)
        return self.owner_email(obj)
