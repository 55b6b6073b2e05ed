"""Keys and access tokens: to look at, and to revoke. Nothing here shows a secret, a digest or a part of one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import reach
from ..clients import lifecycle, tokens
from ..http.requests import origin_of
from ..models import AccessToken, ClientSecret, KeyEvent, OAuthApplication, User
from ..text.free_text import FreeTextForm
from .base import (
    ACTION_AT_MOST,
    CappedCount,
    ChoiceFilter,
    CompanyFilter,
    ListAdmin,
    ReadOnly,
    actor_of,
    as_id,
    is_pk,
    moment,
    pks,
    staff_only,
    two_lines,
    users_found_by,
)

ACTIVE_TOKENS_IN_LIST = 100
ACTIVE_TOKENS_IN_DETAIL = 1000


def at_most(number: int, limit: int) -> str:
    """A number that was counted up to a limit."""
    return f"{limit}+" if number >= limit else str(number)


def keys_found_by(word: str) -> Q:
    """Keys by Client ID (or its beginning) and by owner."""
    found = Q(user__in=pks(users_found_by(word)))
    client_id = as_id(word)
    return found | Q(client_id__startswith=client_id) if client_id else found


class KeysOfCompany(CompanyFilter):
    path = "user__company"


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


class RevokeForm(FreeTextForm, forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60, "autocomplete": "off", "autofocus": True}),
        help_text=gettext_lazy("It is kept in the key events, where the owner can read it."),
    )

    def clean_reason(self) -> str:
        reason = " ".join(str(self.cleaned_data["reason"]).split())
        if not reason.isprintable():
            raise forms.ValidationError(_("Write the reason in printable characters."))
        return reason


@admin.register(OAuthApplication)
class KeyAdmin(ReadOnly, ListAdmin):
    company_path = "user__company"
    list_display = (
        "client_id",
        "owner_and_company",
        "created_time",
        "secret_created_time",
        "last_use",
        "active_tokens",
    )
    list_select_related = ("user__company",)
    list_filter = (LastUsedFilter, KeysOfCompany)
    view_on_site = False
    ordering = ("-id",)
    actions = ("revoke_selected",)  # type: ignore[assignment]
    search_help_text = gettext_lazy(
        "Client ID or its first characters; the owner's e-mail address, uid or name; company."
    )
    fields = (
        "client_id",
        "owner",
        "owners_company",
        "created_time",
        "secret_created_time",
        "secret_shown_to",
        "old_secret_ends",
        "secret_refused",
        "last_used_time",
        "last_used_address",
        "last_used_agent",
        "active_tokens_counted",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        active = AccessToken.objects.active().filter(application=OuterRef("pk")).order_by()
        newest = ClientSecret.objects.filter(application=OuterRef("pk")).order_by("-id")
        return (
            super()
            .get_queryset(request)
            .select_related("user__company")
            .filter(user__isnull=False)
            # It is not even loaded: so it cannot be shown by mistake.
            .defer("user__password")
            .annotate(
                active_tokens=CappedCount(active.values("pk")[:ACTIVE_TOKENS_IN_LIST]),
                secret_created=Subquery(newest.values("created")[:1]),
            )
        )

    def found_by(self, word: str) -> Q:
        return keys_found_by(word)

    @admin.display(description=gettext_lazy("owner"), ordering="user__email")
    def owner(self, obj: OAuthApplication) -> str:
        return obj.owner.email

    @admin.display(description=gettext_lazy("owner"), ordering="user__email")
    def owner_and_company(self, obj: OAuthApplication) -> SafeString:
        return two_lines(obj.owner.email, obj.owner.company or "")

    @admin.display(description=gettext_lazy("company"))
    def owners_company(self, obj: OAuthApplication) -> Any:
        return obj.owner.company

    @admin.display(description=gettext_lazy("created (UTC)"), ordering="id")
    def created_time(self, obj: OAuthApplication) -> str:
        return moment(obj.created)

    @admin.display(description=gettext_lazy("secret created (UTC)"), ordering="secret_created")
    def secret_created_time(self, obj: Any) -> str:
        return moment(obj.secret_created)

    @admin.display(description=gettext_lazy("secret shown to"))
    def secret_shown_to(self, obj: OAuthApplication) -> str:
        current = obj.secrets.filter(ends=None).select_related("shown_to").first()
        return str(current.shown_to or "") if current else ""

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

    @admin.display(description=gettext_lazy("last used (UTC)"), ordering="last_used")
    def last_use(self, obj: OAuthApplication) -> SafeString:
        client = Truncator(obj.last_used_agent).chars(40)
        return two_lines(self.last_used_time(obj), " · ".join(filter(None, (obj.last_used_address, client))))

    @admin.display(description=gettext_lazy("active tokens"))
    def active_tokens(self, obj: Any) -> str:
        return at_most(obj.active_tokens, ACTIVE_TOKENS_IN_LIST)

    @admin.display(description=gettext_lazy("active tokens"))
    def active_tokens_counted(self, obj: OAuthApplication) -> str:
        return at_most(tokens.count_active(obj, at_most=ACTIVE_TOKENS_IN_DETAIL), ACTIVE_TOKENS_IN_DETAIL)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {"can_revoke": self.has_revoke_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    # --- Revoking -----------------------------------------------------------------------------------------

    def has_revoke_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_view_permission(request, obj) and request.user.has_perm("profiles.revoke_oauthapplication")

    def get_urls(self) -> list[URLPattern]:
        revoke = path("revoke/", staff_only(self.revoke_view), name="profiles_oauthapplication_revoke")
        return [revoke, *super().get_urls()]

    @admin.action(description=gettext_lazy("Revoke selected keys…"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[OAuthApplication]) -> HttpResponse:
        return self._confirm(request, list(queryset), RevokeForm())

    def revoke_view(self, request: HttpRequest) -> HttpResponse:
        """The confirmation (GET) and the revocation (POST): keys by primary key, and a reason."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        chosen = (request.POST if request.method == "POST" else request.GET).getlist("key")[:ACTION_AT_MOST]
        ids = set(map(int, filter(is_pk, chosen)))
        found = list(self.get_queryset(request).filter(pk__in=ids))
        if not found:
            self._tell_gone(request, len(ids))
            return HttpResponseRedirect(reverse("admin:profiles_oauthapplication_changelist"))
        if request.method != "POST":
            return self._confirm(request, found, RevokeForm())
        form = RevokeForm(request.POST)
        if not form.is_valid():
            return self._confirm(request, found, form)
        revoked = sum(self._revoke(request, key, form.cleaned_data["reason"]) for key in found)
        if revoked:
            text = ngettext(
                "%d key was revoked. It and its access tokens are refused from now on.",
                "%d keys were revoked. They and their access tokens are refused from now on.",
                revoked,
            )
            self.message_user(request, text % revoked, messages.SUCCESS)
        if gone := len(ids) - revoked:
            self._tell_gone(request, gone)
        return HttpResponseRedirect(reverse("admin:profiles_oauthapplication_changelist"))

    def _confirm(self, request: HttpRequest, found: list[Any], form: RevokeForm) -> HttpResponse:
        rows = [(key, tokens.count_active(key, at_most=ACTIVE_TOKENS_IN_DETAIL)) for key in found]
        context = {
            **self.admin_site.each_context(request),
            "title": ngettext("Revoke this key?", "Revoke these keys?", len(found)),
            "opts": self.opts,
            "form": form,
            "rows": [(key, at_most(number, ACTIVE_TOKENS_IN_DETAIL)) for key, number in rows],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/profiles/oauthapplication/revoke.html", context)

    def _revoke(self, request: HttpRequest, key: OAuthApplication, reason: str) -> bool:
        """Revoke exactly this key, not one that its owner made in the meantime; False if it no longer exists."""
        with transaction.atomic():
            owner = User.objects.select_for_update(no_key=True).filter(pk=key.owner.pk).first()
            if owner is None or not OAuthApplication.objects.filter(pk=key.pk, user=owner).exists():
                return False
            lifecycle.revoke(owner=owner, origin=origin_of(request, via=KeyEvent.Via.ADMIN), reason=reason)
            LogEntry.objects.log_actions(int(request.user.pk or 0), [key], DELETION, _("Revoked: %s") % reason)
            return True

    def _tell_gone(self, request: HttpRequest, number: int) -> None:
        if number:
            text = ngettext(
                "%d of the chosen keys was gone already.", "%d of the chosen keys were gone already.", number
            )
            self.message_user(request, text % number, messages.WARNING)
        else:
            self.message_user(request, _("No key was chosen."), messages.WARNING)


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnly, ListAdmin):
    """Ten million rows or more: the list reads one page by primary key, and owners and keys of that page.

    Staff of one company do not see the tokens of deleted keys: nothing tells whose they were.
    """

    company_path = "application__user__company"

    list_display = ("number", "key_or_gone", "owner", "scope", "created_time", "expires_time", "active")
    list_filter = ()
    extra_lookups = ("application",)
    sortable_by = ()
    ordering = ("-id",)
    search_help_text = gettext_lazy(
        "Client ID or its first characters; the owner's e-mail address, uid or name; company."
    )
    fields = ("key_or_gone", "owner", "scope", "created_time", "expires_time", "active")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Also the tokens of deleted keys, which the model's default and a join (select_related) would hide.
        tokens = reach.within(AccessToken.objects.all(), actor_of(request), self.company_path)
        tokens = tokens.order_by(*self.get_ordering(request))
        active = AccessToken.objects.active().filter(pk=OuterRef("pk"))
        tokens = tokens.annotate(is_active=Exists(active))
        return tokens.defer("token", "token_checksum").prefetch_related("application__user")

    def found_by(self, word: str) -> Q:
        return Q(application__in=pks(OAuthApplication.objects.filter(keys_found_by(word))))

    @admin.display(description=gettext_lazy("access token"))
    def number(self, obj: AccessToken) -> str:
        return f"#{obj.pk}"

    @admin.display(description=gettext_lazy("key"))
    def key_or_gone(self, obj: AccessToken) -> Any:
        return self.key(obj) or _("(deleted)")

    def key(self, obj: AccessToken) -> OAuthApplication | None:
        try:
            return obj.application
        except ObjectDoesNotExist:
            return None

    @admin.display(description=gettext_lazy("owner"))
    def owner(self, obj: AccessToken) -> User | None:
        key = self.key(obj)
        return key.user if key else None

    @admin.display(description=gettext_lazy("created (UTC)"))
    def created_time(self, obj: AccessToken) -> str:
        return moment(obj.created)

    @admin.display(description=gettext_lazy("expires (UTC)"))
    def expires_time(self, obj: AccessToken) -> str:
        return moment(obj.expires)

    @admin.display(description=gettext_lazy("active"), boolean=True)
    def active(self, obj: Any) -> bool:
        return bool(obj.is_active)
