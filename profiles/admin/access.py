"""Companies, access profiles, and the groups of permissions of staff."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission
from django.db.models import Count, IntegerField, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .. import rights, spelling
from ..models import AccessProfile, Company, User
from .base import ListAdmin, UsedByUsers


def number_of_users(field: str) -> Coalesce:
    """How many users have this row, counted for the rows of one page only."""
    counted = User.objects.filter(**{field: OuterRef("pk")}).order_by().values(field).annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0)


class WithUsers(UsedByUsers, ListAdmin):
    """A list with the number of its users, each number a link to them."""

    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(number_of_users=number_of_users(self.user_field))

    def found_by(self, word: str) -> Q:
        return Q(name_folded__contains=spelling.folded(word)) | Q(uid=word.lower())

    @admin.display(description=_("users"), ordering="number_of_users")
    def users(self, obj: Any) -> SafeString:
        url = reverse("admin:profiles_user_changelist")
        return format_html('<a href="{}?{}={}">{}</a>', url, self.user_field, obj.pk, obj.number_of_users)


@admin.register(Company)
class CompanyAdmin(WithUsers):
    user_field = "company"
    list_display = ("name", "uid", "require_mfa", "users")
    fields = ("name", "require_mfa", "uid")
    readonly_fields = ("uid",)
    search_help_text = _("Name or uid.")


class RightsWidget(forms.CheckboxSelectMultiple):
    """The catalogue as checkboxes, each group a fieldset, each right with what it lets its holder do."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return render_to_string("admin/widgets/rights.html", self.get_context(name, value, attrs))


class AccessProfileForm(forms.ModelForm):
    rights = forms.MultipleChoiceField(
        label=_("Rights"),
        required=False,
        choices=lambda: list(rights.grouped(rights.ALL_RIGHTS).items()),
        widget=RightsWidget,
    )

    class Meta:
        model = AccessProfile
        fields = ("name", "rights")

    def clean_rights(self) -> list[str]:
        return sorted(self.cleaned_data["rights"])


@admin.register(AccessProfile)
class AccessProfileAdmin(WithUsers):
    user_field = "access_profile"
    form = AccessProfileForm
    list_display = ("name", "uid", "number_of_rights", "users")
    search_help_text = _("Name or uid.")
    readonly_fields = ("uid", "rights_held")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return ("name", "uid", "rights" if may_change else "rights_held")

    @admin.display(description=_("rights"))
    def number_of_rights(self, obj: AccessProfile) -> int:
        return len(rights.ALL_RIGHTS.intersection(obj.rights))

    @admin.display(description=_("rights"))
    def rights_held(self, obj: AccessProfile) -> SafeString:
        return render_to_string("admin/widgets/rights_held.html", {"groups": rights.grouped(obj.rights)})


def permissions_of_staff() -> QuerySet[Permission]:
    """The permissions that open something here."""
    return Permission.objects.filter(content_type__app_label="profiles").select_related("content_type")


admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin):
    """Who can change a group can give themselves whatever it holds, so that takes a superuser."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Each word is part of the name. SQLite is not asked, as it knows no case beyond ASCII; groups are few."""
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

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs["queryset"] = permissions_of_staff()
        return super().formfield_for_manytomany(db_field, request, **kwargs)
