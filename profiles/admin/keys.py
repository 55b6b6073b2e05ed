"""Keys, API Clients and access tokens: to look at, and what staff do to them (`deeds`).

Nothing here shows a secret, a digest or a part of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import reach
from ..clients import health, tokens
from ..models import AccessToken, ClientSecret, OAuthApplication
from ..pages.uses import Uses
from . import key_export
from .base import (
    CappedCount,
    ChoiceFilter,
    CompanyFilter,
    ListAdmin,
    ReadOnly,
    actor_of,
    api_clients_found_by,
    as_id,
    at_most,
    moment,
    pks,
    two_lines,
    users_found_by,
)
from .deeds import ACTIVE_TOKENS_COUNTED, Deeds
from .exported import Exported
from .health import HealthFilter
from .leavers import shown_to
from .states import State, clients_in, states_of, with_what_they_need

ACTIVE_TOKENS_IN_LIST = 100


def clients_found_by(word: str) -> Q:
    """Keys and API Clients by Client ID (or its beginning), by owner, name or company."""
    # The API Clients by their numbers: beside the owners, a part of a name would have every key looked at.
    found = Q(user__in=pks(users_found_by(word))) | Q(pk__in=pks(api_clients_found_by(word)))
    client_id = as_id(word)
    return found | Q(client_id__startswith=client_id) if client_id else found


class KindFilter(ChoiceFilter):
    title = gettext_lazy("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("personal", _("Personal keys")), ("company", _("API Clients of companies"))]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(company__isnull=value == "personal")


class StateFilter(ChoiceFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Any:
        return State.choices

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(clients_in(State(value)))


class ShownFilter(ChoiceFilter):
    title = gettext_lazy("secret key shown to")
    parameter_name = "shown"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("left", _("Somebody who has left"))]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(pk__in=ClientSecret.objects.live().known_outside().order_by().values("application"))


class LastUsedFilter(ChoiceFilter):
    title = gettext_lazy("last used")
    parameter_name = "used"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [
            ("never", _("Never used")),
            ("1", _("In the past 24 hours")),
            ("7", _("In the past 7 days")),
            ("30", _("In the past 30 days")),
            ("90", _("In the past 90 days")),
            ("not-90", _("Unused for 90 days")),
        ]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if value == "never":
            return queryset.filter(last_used=None)
        since = timezone.now() - timedelta(days=int(value.removeprefix("not-")))
        if value.startswith("not-"):
            # A key made yesterday has not been left unused for long.
            return queryset.filter(Q(last_used__lt=since) | Q(last_used=None, created__lt=since))
        return queryset.filter(last_used__gte=since)


@admin.register(OAuthApplication)
class KeyAdmin(Exported, Deeds, ReadOnly, ListAdmin):
    list_display = (
        "client_id",
        "whose",
        "profile",
        "state",
        "secret_created_time",
        "last_use",
        "active_tokens",
    )
    list_filter = (HealthFilter, KindFilter, StateFilter, LastUsedFilter, ShownFilter, CompanyFilter)
    extra_lookups = ("access_profile",)
    file_name = "keys"
    actions = ("revoke_selected", "disable_selected", "let_introspect_selected", "end_introspection_selected")  # type: ignore[assignment]
    view_on_site = False
    ordering = ("-id",)
    search_help_text = gettext_lazy(
        "Client ID or its first characters; the owner's e-mail address, uid or name; name of the API Client; company."
    )

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        personal = ("owner", "owners_company", "profile", "state")
        companys = ("name", "company", "profile", "note", "maker", "state", "may_introspect")
        return (
            "client_id",
            *(companys if isinstance(obj, OAuthApplication) and obj.is_companys else personal),
            "health",
            "created_time",
            "secret_created_time",
            "secret_shown_to",
            "old_secret_ends",
            "secret_refused",
            "last_used_time",
            "last_used_address",
            "last_used_agent",
            "used_from",
            "active_tokens_counted",
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        active = AccessToken.objects.active().filter(application=OuterRef("pk")).order_by()
        return (
            with_what_they_need(super().get_queryset(request))
            .select_related("user__company", "user__access_profile", "company", "access_profile")
            # It is not even loaded: so it cannot be shown by mistake.
            .defer("user__password")
            .annotate(active_tokens=CappedCount(active.values("pk")[:ACTIVE_TOKENS_IN_LIST]))
        )

    def of_company(self, company: int | None) -> Q:
        return Q(pk__in=reach.clients_of(company))

    def found_by(self, word: str) -> Q:
        return clients_found_by(word)

    def as_csv(self, rows: QuerySet[Any]) -> Iterator[str]:
        return key_export.as_csv(rows)

    @admin.display(description=gettext_lazy("owner"))
    def owner(self, obj: OAuthApplication) -> str:
        return obj.owner.email

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, obj: OAuthApplication) -> SafeString:
        """The owner, or the name of an API Client; and the company."""
        first, company = (obj.name, obj.company) if obj.is_companys else (obj.owner.email, obj.owner.company)
        return two_lines(first, company or "")

    @admin.display(description=gettext_lazy("company"))
    def owners_company(self, obj: OAuthApplication) -> Any:
        return obj.owner.company

    @admin.display(description=gettext_lazy("access profile"))
    def profile(self, obj: OAuthApplication) -> Any:
        """What it may do: of a key, what its owner may."""
        return obj.access_profile if obj.is_companys else obj.owner.access_profile

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: Any) -> str:
        return ", ".join(str(state.label) for state in states_of(obj))

    @admin.display(description=gettext_lazy("health"))
    def health(self, obj: OAuthApplication) -> str:
        """Why it is risky, if it is."""
        return ", ".join(str(risk.label) for risk in health.risks_of([obj.pk]).get(obj.pk, [])) or _("Nothing to do")

    @admin.display(description=gettext_lazy("created (UTC)"), ordering="id")
    def created_time(self, obj: OAuthApplication) -> str:
        return moment(obj.created)

    @admin.display(description=gettext_lazy("secret created (UTC)"), ordering="secret_created")
    def secret_created_time(self, obj: Any) -> str:
        return moment(obj.secret_created)

    @admin.display(description=gettext_lazy("secret shown to"))
    def secret_shown_to(self, obj: OAuthApplication) -> SafeString | str:
        """Of each secret that is live, the newest first."""
        live = obj.secrets.live()
        left = set(live.known_outside().values_list("pk", flat=True))
        said = [shown_to(secret, has_left=secret.pk in left) for secret in live.select_related("shown_to")]
        return format_html_join(SafeString("<br>"), "{}", ((text,) for text in said if text))

    @admin.display(description=gettext_lazy("old secret ends (UTC)"))
    def old_secret_ends(self, obj: OAuthApplication) -> str:
        old = obj.secrets.live().exclude(ends=None).first()
        return moment(old.ends) if old else ""

    @admin.display(description=gettext_lazy("ended secret last refused (UTC)"))
    def secret_refused(self, obj: OAuthApplication) -> str:
        refused = obj.secrets.exclude(last_refused=None).order_by("-last_refused").first()
        return " · ".join(filter(None, (moment(refused.last_refused), refused.last_refused_address))) if refused else ""

    @admin.display(description=gettext_lazy("last used (UTC)"))
    def last_used_time(self, obj: OAuthApplication) -> str:
        return moment(obj.last_used) or _("Never")

    @admin.display(description=gettext_lazy("used from"))
    def used_from(self, obj: OAuthApplication) -> str:
        found = Uses.of(obj)
        return render_to_string("profiles/partials/uses.html", {"uses": found}) if found else ""

    @admin.display(description=gettext_lazy("last used (UTC)"), ordering="last_used")
    def last_use(self, obj: OAuthApplication) -> SafeString:
        client = Truncator(obj.last_used_agent).chars(40)
        return two_lines(self.last_used_time(obj), " · ".join(filter(None, (obj.last_used_address, client))))

    @admin.display(description=gettext_lazy("active tokens"))
    def active_tokens(self, obj: Any) -> str:
        return at_most(obj.active_tokens, ACTIVE_TOKENS_IN_LIST)

    @admin.display(description=gettext_lazy("active tokens"))
    def active_tokens_counted(self, obj: OAuthApplication) -> str:
        return at_most(tokens.count_active(obj, at_most=ACTIVE_TOKENS_COUNTED), ACTIVE_TOKENS_COUNTED)


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnly, ListAdmin):
    """Ten million rows or more: the list reads one page by primary key, and the clients and owners of that page.

    Staff of one company do not see the tokens of deleted keys: nothing tells whose they were.
    """

    list_display = ("number", "key_or_gone", "whose", "scope", "created_time", "expires_time", "active")
    list_filter = ()
    extra_lookups = ("application",)
    sortable_by = ()
    ordering = ("-id",)
    search_help_text = gettext_lazy(
        "Client ID or its first characters; the owner's e-mail address, uid or name; name of the API Client; company."
    )
    fields = ("key_or_gone", "whose", "scope", "created_time", "expires_time", "active")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Also the tokens of deleted keys, which the model's default and a join (select_related) would hide.
        tokens = self.within_reach(AccessToken.objects.all(), actor_of(request))
        tokens = tokens.order_by(*self.get_ordering(request))
        active = AccessToken.objects.active().filter(pk=OuterRef("pk"))
        tokens = tokens.annotate(is_active=Exists(active))
        return tokens.defer("token", "token_checksum").prefetch_related("application__user", "application__company")

    def of_company(self, company: int | None) -> Q:
        return Q(application__in=reach.clients_of(company))

    def found_by(self, word: str) -> Q:
        return Q(application__in=pks(OAuthApplication.objects.filter(clients_found_by(word))))

    @admin.display(description=gettext_lazy("access token"))
    def number(self, obj: AccessToken) -> str:
        return f"#{obj.pk}"

    @admin.display(description=gettext_lazy("client"))
    def key_or_gone(self, obj: AccessToken) -> Any:
        return self.key(obj) or _("(deleted)")

    def key(self, obj: AccessToken) -> OAuthApplication | None:
        try:
            return obj.application
        except ObjectDoesNotExist:
            return None

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, obj: AccessToken) -> SafeString | str:
        """The owner, or of an API Client its name and the company."""
        client = self.key(obj)
        if client is None:
            return ""
        return two_lines(client.name, client.company) if client.is_companys else client.owner.email

    @admin.display(description=gettext_lazy("created (UTC)"))
    def created_time(self, obj: AccessToken) -> str:
        return moment(obj.created)

    @admin.display(description=gettext_lazy("expires (UTC)"))
    def expires_time(self, obj: AccessToken) -> str:
        return moment(obj.expires)

    @admin.display(description=gettext_lazy("active"), boolean=True)
    def active(self, obj: Any) -> bool:
        return bool(obj.is_active)
