"""Companies, access profiles, and the groups of permissions of staff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, transaction
from django.db.models import Count, IntegerField, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .. import policy, reach, rights
from ..account import changes, sessions
from ..clients import ages
from ..http.requests import origin_of
from ..models import AccessProfile, Company, KeyEvent, OAuthApplication, User
from ..text import spelling
from .base import FreeTextModelForm, InUse, ListAdmin, RowsField, YesNoFilter, actor_of
from .policy_form import PolicyForm


def number_of(rows: QuerySet[Any], field: str) -> Coalesce:
    """How many of these rows have this one, counted for the rows of one page only."""
    counted = rows.filter(**{field: OuterRef("pk")}).order_by().values(field).annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0)


class WithUsers(InUse, ListAdmin):
    """A list with the numbers of users and of API Clients, each a link to them. A change affects them all, so it is an
    event."""

    ordering = ("name",)
    record: Callable[..., None]  # one of `changes`

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        actor = actor_of(request)
        clients = reach.within(OAuthApplication.objects.filter(company__isnull=False), actor, "company")
        return (
            super()
            .get_queryset(request)
            .annotate(
                number_of_users=number_of(reach.users(actor), self.user_field),
                number_of_clients=number_of(clients, self.user_field),
            )
        )

    def found_by(self, word: str) -> Q:
        return Q(name_folded__contains=spelling.folded(word)) | Q(uid=word.lower())

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's own
        before = type(obj).objects.select_for_update().get(pk=obj.pk) if change else None
        super().save_model(request, obj, form, change)
        type(self).record(before=before, after=obj, origin=origin_of(request, via=KeyEvent.Via.ADMIN))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        type(self).record(before=obj, after=None, origin=origin_of(request, via=KeyEvent.Via.ADMIN))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for obj in queryset:
                self.delete_model(request, obj)

    @admin.display(description=_("users"), ordering="number_of_users")
    def users(self, obj: Any) -> SafeString:
        url = reverse("admin:profiles_user_changelist")
        return format_html('<a href="{}?{}={}">{}</a>', url, self.user_field, obj.pk, obj.number_of_users)

    @admin.display(description=_("API Clients"), ordering="number_of_clients")
    def api_clients(self, obj: Any) -> SafeString:
        url = reverse("admin:profiles_oauthapplication_changelist")
        query = urlencode({"kind": "company", self.user_field: obj.pk})
        return format_html('<a href="{}?{}">{}</a>', url, query, obj.number_of_clients)


class CompanyForm(FreeTextModelForm):
    class Meta:
        help_texts: ClassVar[dict[str, Any]] = {
            "is_active": _(
                "Without it its users are signed out, and their keys and its API Clients are refused at once. Give it "
                "back, and all work as before. Not for your own company; of one that has staff, for superusers only."
            )
        }


class CompanyAdminForm(CompanyForm, PolicyForm):
    """What a company is, and its policy."""


class ActiveFilter(YesNoFilter):
    title = pgettext_lazy("company", "active")
    parameter_name = "active"

    def condition(self) -> Q:
        return Q(is_active=True)


@admin.register(Company)
class CompanyAdmin(WithUsers):
    company_path = "pk"
    record = changes.record_company
    user_field = "company"
    form = CompanyAdminForm
    list_display = ("name", "uid", "is_active", "require_mfa", "users", "api_clients")
    list_filter = (ActiveFilter,)
    search_help_text = _("Name or uid.")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        # A new one is active.
        about = ("name", "is_active", "require_mfa", "uid") if obj else ("name", "require_mfa", "uid")
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        policy_fields = PolicyForm.FIELDS if may_change else ("policy_in_words",)
        return ((None, {"fields": about}), (_("Policy for the API"), {"fields": policy_fields}))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        if isinstance(obj, Company) and not reach.may_switch(actor_of(request), obj):
            return ("uid", "policy_in_words", "is_active")
        return ("uid", "policy_in_words")

    def get_form(
        self,
        request: HttpRequest,
        obj: Model | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's own
        **kwargs: Any,
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = actor_of(request)  # type: ignore[attr-defined]  # it is a PolicyForm
        return form

    @admin.display(description=_("policy"))
    def policy_in_words(self, obj: Company) -> str:
        return policy.in_words(policy.read(obj.policy))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's own
        # What the form has just been checked against may have been changed since, and is then checked anew.
        if change and Company.objects.select_for_update().get(pk=obj.pk).policy != form.policy_before:
            raise IntegrityError("The policy was changed at this moment.")
        super().save_model(request, obj, form, change)
        if change and policy.read(obj.policy).age != policy.read(form.policy_before).age:
            ages.warn_anew(obj)
        if not obj.is_active:
            sessions.end_of_company(obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Not for staff with a company: they could not even see the new one."""
        return super().has_add_permission(request) and reach.is_site_wide(actor_of(request))


class RightsWidget(forms.CheckboxSelectMultiple):
    """The catalogue as checkboxes, each group a fieldset, each right with what it lets its holder do."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return render_to_string("admin/widgets/rights.html", self.get_context(name, value, attrs))


class AccessProfileForm(FreeTextModelForm):
    actor: User  # who fills it in

    rights = forms.MultipleChoiceField(
        label=_("Rights"),
        required=False,
        widget=RightsWidget,
        error_messages={"invalid_choice": _("Choose rights of this list: you can give only those that you hold.")},
    )

    class Meta:
        model = AccessProfile
        fields = ("name", "rights")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "rights" in self.fields:
            offered = rights.grouped(reach.rights_to_give(self.actor))
            self.fields["rights"].choices = list(offered.items())  # type: ignore[attr-defined]  # it is a choice

    def clean_rights(self) -> list[str]:
        return sorted(self.cleaned_data["rights"])


@admin.register(AccessProfile)
class AccessProfileAdmin(WithUsers):
    record = changes.record_profile
    user_field = "access_profile"
    form = AccessProfileForm
    list_display = ("name", "uid", "number_of_rights", "users", "api_clients")
    search_help_text = _("Name or uid.")
    readonly_fields = ("uid", "rights_held")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return ("name", "uid", "rights" if may_change else "rights_held")

    def get_form(
        self,
        request: HttpRequest,
        obj: Model | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's own
        **kwargs: Any,
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = actor_of(request)  # type: ignore[attr-defined]  # it is an AccessProfileForm
        return form

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_change(request, obj)

    def _may_change(self, request: HttpRequest, obj: Model | None) -> bool:
        return not isinstance(obj, AccessProfile) or reach.may_change_profile(actor_of(request), obj)

    @admin.display(description=_("rights"))
    def number_of_rights(self, obj: AccessProfile) -> int:
        return len(rights.ALL_RIGHTS.intersection(obj.rights))

    @admin.display(description=_("rights"))
    def rights_held(self, obj: AccessProfile) -> SafeString:
        return render_to_string("admin/widgets/rights_held.html", {"groups": rights.grouped(obj.rights)})


def permissions_of_staff() -> QuerySet[Permission]:
    """The permissions that have an effect in this admin site."""
    return Permission.objects.filter(content_type__app_label="profiles").select_related("content_type")


admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(ListAdmin, GroupAdmin):
    """Whoever can change a group can give themselves its permissions, so only a superuser may."""

    form = FreeTextModelForm

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Each word is part of the name. Not done in SQLite, which ignores case only in ASCII; groups are few."""
        words = spelling.folded(search_term).split()
        names = Group.objects.values_list("pk", "name") if words else ()
        found = [pk for pk, name in names if all(word in spelling.folded(name) for word in words)]
        return (queryset.filter(pk__in=found) if words else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.is_superuser

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001 - Django's own
        # The new name is saved already; only the form knows the old one.
        _name, powers = changes.group_state(form.instance)
        before = (form.initial["name"], powers) if change else None
        super().save_related(request, form, formsets, change)
        self._record(request, before, changes.group_state(form.instance))

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        self._record(request, changes.group_state(obj), None)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        with transaction.atomic():
            for group in queryset:
                self.delete_model(request, group)

    def _record(self, request: HttpRequest, before: Any, after: Any) -> None:
        changes.record_group(before=before, after=after, origin=origin_of(request, via=KeyEvent.Via.ADMIN))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs |= {"queryset": permissions_of_staff(), "form_class": RowsField}
        return super().formfield_for_manytomany(db_field, request, **kwargs)
