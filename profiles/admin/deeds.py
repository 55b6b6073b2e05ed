"""What staff do to keys and API Clients: revoke, disable, let one introspect tokens. Each after a page that says what
will happen, for one client or for several; each client is a transaction of its own.

None of it gives anybody a credential. What gives a client more than its company gave it, only superusers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, npgettext

from ..clients import changes, company, lifecycle, tokens
from ..http.requests import origin_of
from ..models import KeyEvent, OAuthApplication, User
from ..origin import Origin
from ..text.free_text import FreeTextForm
from .base import ACTION_AT_MOST, at_most, is_pk, staff_only

ACTIVE_TOKENS_COUNTED = 1000


class ConfirmForm(FreeTextForm, forms.Form):
    """Nothing to fill in."""


class RevokeForm(FreeTextForm, forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60, "autocomplete": "off", "autofocus": True}),
        help_text=gettext_lazy(
            "It is kept in the key events, where the owner, or who may view the API Clients of the company, can read "
            "it."
        ),
    )

    def clean_reason(self) -> str:
        reason = " ".join(str(self.cleaned_data["reason"]).split())
        if not reason.isprintable():
            raise forms.ValidationError(_("Write the reason in printable characters."))
        return reason


class Deed:
    """One kind of it: who may, to which clients, and its words for `number` of them."""

    name: ClassVar[str]  # in addresses
    permission: ClassVar[str]  # the method of the list that says who may: has_…_permission
    form: ClassVar[type[forms.Form]] = ConfirmForm
    flag: ClassVar[int] = CHANGE  # of the entry in the history
    button: Any
    link: Any

    def fits(self, client: OAuthApplication) -> bool:
        """Whether there is something to do to this one: an API Client which is not so yet."""
        raise NotImplementedError

    def title(self, number: int) -> str:
        raise NotImplementedError

    def consequence(self, number: int) -> str:
        raise NotImplementedError

    def done(self, number: int) -> str:
        raise NotImplementedError

    def do(self, client: OAuthApplication, *, origin: Origin, reason: str) -> str:
        """Do it to exactly this client, and tell the history. Raises ChangeRefused if it is no longer there."""
        raise NotImplementedError


class Revoke(Deed):
    name, permission, form, flag = "revoke", "revoke", RevokeForm, DELETION
    button, link = gettext_lazy("Revoke"), gettext_lazy("Revoke…")

    def fits(self, client: OAuthApplication) -> bool:
        return True

    def title(self, number: int) -> str:
        return ngettext("Revoke this client?", "Revoke these clients?", number)

    def consequence(self, number: int) -> str:
        text = ngettext(
            "The client is deleted. It and its access tokens are refused from the next request on, and the programs "
            "that use it stop working. This cannot be undone; an owner can make a new key, unless you deactivate them "
            "first, and a company a new API Client.",
            "The %(number)d clients are deleted. They and their access tokens are refused from the next request on, "
            "and the programs that use them stop working. This cannot be undone; owners can make new keys, unless you "
            "deactivate them first, and companies new API Clients.",
            number,
        )
        return text % {"number": number}

    def done(self, number: int) -> str:
        text = ngettext(
            "%d client was revoked. It and its access tokens are refused from now on.",
            "%d clients were revoked. They and their access tokens are refused from now on.",
            number,
        )
        return text % number

    def do(self, client: OAuthApplication, *, origin: Origin, reason: str) -> str:
        owner = changes.owner_of(client)
        if not isinstance(owner, User):
            company.revoke(client=client, origin=origin, reason=reason)
        # Not one that its owner made in the meantime.
        elif changes.lock(owner) and OAuthApplication.objects.filter(pk=client.pk, user=owner).exists():
            lifecycle.revoke(owner=owner, origin=origin, reason=reason)
        else:
            raise lifecycle.NoKey
        return _("Revoked: %s") % reason


class Disable(Deed):
    name, permission = "disable", "revoke"
    button, link = gettext_lazy("Disable"), gettext_lazy("Disable…")

    def fits(self, client: OAuthApplication) -> bool:
        return client.is_companys and not client.disabled

    def title(self, number: int) -> str:
        # With a context: the company's own page has these words without a plural, which gettext does not allow.
        return npgettext("admin site", "Disable this API Client?", "Disable these API Clients?", number)

    def consequence(self, number: int) -> str:
        text = ngettext(
            "The API Client and its access tokens are refused from the next request on, and the programs that use it "
            "stop working, until somebody of its company who holds its rights enables it again.",
            "The %(number)d API Clients and their access tokens are refused from the next request on, and the programs "
            "that use them stop working, until somebody of their company who holds their rights enables them again.",
            number,
        )
        return text % {"number": number}

    def done(self, number: int) -> str:
        text = ngettext(
            "%d API Client was disabled. It and its access tokens are refused from now on.",
            "%d API Clients were disabled. They and their access tokens are refused from now on.",
            number,
        )
        return text % number

    def do(self, client: OAuthApplication, *, origin: Origin, reason: str) -> str:
        company.disable(client=client, origin=origin)
        return _("Disabled.")


class LetIntrospect(Deed):
    name, permission = "introspect", "introspect"
    button, link = gettext_lazy("Allow"), gettext_lazy("Let it introspect tokens…")

    def fits(self, client: OAuthApplication) -> bool:
        return client.is_companys and not client.may_introspect

    def title(self, number: int) -> str:
        return ngettext("Let this API Client introspect tokens?", "Let these API Clients introspect tokens?", number)

    def consequence(self, number: int) -> str:
        text = ngettext(
            "It may ask about every access token of this site, whoever's it is: its owner, company, scope and end. "
            "That is for a resource server, which takes such tokens from others.",
            "The %(number)d API Clients may ask about every access token of this site, whoever's it is: its owner, "
            "company, scope and end. That is for resource servers, which take such tokens from others.",
            number,
        )
        return text % {"number": number}

    def done(self, number: int) -> str:
        text = ngettext(
            "%d API Client may introspect every token from now on.",
            "%d API Clients may introspect every token from now on.",
            number,
        )
        return text % number

    def do(self, client: OAuthApplication, *, origin: Origin, reason: str) -> str:
        company.let_introspect(client=client, allowed=True, origin=origin)
        return _("May introspect tokens.")


class EndIntrospection(Deed):
    name, permission = "no-introspect", "introspect"
    button, link = gettext_lazy("Take away"), gettext_lazy("No longer let it introspect tokens…")

    def fits(self, client: OAuthApplication) -> bool:
        return client.may_introspect

    def title(self, number: int) -> str:
        return ngettext(
            "No longer let this API Client introspect tokens?",
            "No longer let these API Clients introspect tokens?",
            number,
        )

    def consequence(self, number: int) -> str:
        text = ngettext(
            "From the next request on it may ask about its own access tokens only. A resource server that relies on it "
            "refuses its callers.",
            "From the next request on the %(number)d API Clients may ask about their own access tokens only. Resource "
            "servers that rely on them refuse their callers.",
            number,
        )
        return text % {"number": number}

    def done(self, number: int) -> str:
        text = ngettext(
            "%d API Client may introspect only its own tokens from now on.",
            "%d API Clients may introspect only their own tokens from now on.",
            number,
        )
        return text % number

    def do(self, client: OAuthApplication, *, origin: Origin, reason: str) -> str:
        company.let_introspect(client=client, allowed=False, origin=origin)
        return _("May no longer introspect tokens.")


REVOKE, DISABLE, LET_INTROSPECT, END_INTROSPECTION = DEEDS = (
    Revoke(),
    Disable(),
    LetIntrospect(),
    EndIntrospection(),
)


class Deeds(admin.ModelAdmin):
    """The pages and the actions for them, as a part of the list of clients."""

    def has_revoke_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_view_permission(request, obj) and request.user.has_perm("profiles.revoke_oauthapplication")

    def has_introspect_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_view_permission(request, obj) and request.user.is_superuser

    def _may(self, request: HttpRequest, deed: Deed) -> bool:
        has_permission: Callable[[HttpRequest], bool] = getattr(self, f"has_{deed.permission}_permission")
        return has_permission(request)

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(
                f"{deed.name}/",
                staff_only(partial(self._deed_view, deed=deed)),
                name=f"profiles_oauthapplication_{deed.name}",
            )
            for deed in DEEDS
        ]
        return [*pages, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        client = self.get_object(request, object_id)
        offered = [deed for deed in DEEDS if client and deed.fits(client) and self._may(request, deed)]
        links = [(reverse(f"admin:profiles_oauthapplication_{deed.name}"), deed.link) for deed in offered]
        return super().change_view(request, object_id, form_url, {"deeds": links, **(extra_context or {})})

    # --- Actions ------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Revoke selected clients…"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[OAuthApplication]) -> HttpResponse:
        return self._ask(request, REVOKE, queryset)

    @admin.action(description=gettext_lazy("Disable selected API Clients…"), permissions=["revoke"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[OAuthApplication]) -> HttpResponse:
        return self._ask(request, DISABLE, queryset)

    @admin.action(description=gettext_lazy("Let selected API Clients introspect tokens…"), permissions=["introspect"])
    def let_introspect_selected(self, request: HttpRequest, queryset: QuerySet[OAuthApplication]) -> HttpResponse:
        return self._ask(request, LET_INTROSPECT, queryset)

    @admin.action(
        description=gettext_lazy("No longer let selected API Clients introspect tokens…"), permissions=["introspect"]
    )
    def end_introspection_selected(self, request: HttpRequest, queryset: QuerySet[OAuthApplication]) -> HttpResponse:
        return self._ask(request, END_INTROSPECTION, queryset)

    # --- Pages --------------------------------------------------------------------------------------------

    def _deed_view(self, request: HttpRequest, *, deed: Deed) -> HttpResponse:
        """The confirmation (GET) and the deed (POST): clients by primary key, and perhaps a reason."""
        if not self._may(request, deed):
            raise PermissionDenied
        chosen = (request.POST if request.method == "POST" else request.GET).getlist("key")[:ACTION_AT_MOST]
        ids = set(map(int, filter(is_pk, chosen)))
        found = list(self.get_queryset(request).filter(pk__in=ids))
        if not found:
            self._tell_gone(request, len(ids))
            return self._back_to_list()
        form = deed.form(request.POST) if request.method == "POST" else deed.form()
        if request.method != "POST" or not form.is_valid():
            return self._ask(request, deed, found, form)
        fitting = self._fitting(request, deed, found)
        done = sum(self._do(request, deed, client, form.cleaned_data.get("reason", "")) for client in fitting)
        if done:
            self.message_user(request, deed.done(done), messages.SUCCESS)
        if gone := len(ids) - done - (len(found) - len(fitting)):
            self._tell_gone(request, gone)
        return self._back_to_list()

    def _ask(
        self, request: HttpRequest, deed: Deed, chosen: Iterable[OAuthApplication], form: forms.Form | None = None
    ) -> HttpResponse:
        found = self._fitting(request, deed, list(chosen))
        if not found:
            return self._back_to_list()
        counted = [(client, tokens.count_active(client, at_most=ACTIVE_TOKENS_COUNTED)) for client in found]
        context = {
            **self.admin_site.each_context(request),
            "title": deed.title(len(found)),
            "opts": self.opts,
            "form": deed.form() if form is None else form,
            "deed": deed,
            "action": reverse(f"admin:profiles_oauthapplication_{deed.name}"),
            "consequence": deed.consequence(len(found)),
            "rows": [(client, at_most(number, ACTIVE_TOKENS_COUNTED)) for client, number in counted],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/profiles/oauthapplication/confirm.html", context)

    def _fitting(self, request: HttpRequest, deed: Deed, chosen: list[OAuthApplication]) -> list[OAuthApplication]:
        fitting = [client for client in chosen if deed.fits(client)]
        if left_out := len(chosen) - len(fitting):
            text = ngettext(
                "%d client was left out: it is a personal key, or there is nothing to change about it.",
                "%d clients were left out: they are personal keys, or there is nothing to change about them.",
                left_out,
            )
            self.message_user(request, text % left_out, messages.WARNING)
        return fitting

    def _do(self, request: HttpRequest, deed: Deed, client: OAuthApplication, reason: str) -> bool:
        """False if this very client no longer exists."""
        try:
            with transaction.atomic():
                said = deed.do(client, origin=origin_of(request, via=KeyEvent.Via.ADMIN), reason=reason)
                LogEntry.objects.log_actions(int(request.user.pk or 0), [client], deed.flag, said)
        except changes.ChangeRefused:
            return False
        return True

    def _tell_gone(self, request: HttpRequest, number: int) -> None:
        if number:
            text = ngettext(
                "%d of the chosen clients was gone already.", "%d of the chosen clients were gone already.", number
            )
            self.message_user(request, text % number, messages.WARNING)
        else:
            self.message_user(request, _("No client was chosen."), messages.WARNING)

    def _back_to_list(self) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:profiles_oauthapplication_changelist"))
