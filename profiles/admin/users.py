"""Users: make, invite, deactivate, delete.

Which users staff reach, and which rights they may give, is decided in `reach`. In addition, three rules keep staff
from giving themselves more than they were given:

1. Only a superuser changes or deletes somebody who is staff or superuser, or makes somebody so.
2. Only a superuser changes the e-mail address of an account that is in use: whoever has the address can have a
   link for a new password sent to it, and so gets the account and its key.
3. Nobody can remove their own access, so that the last superuser cannot lock everybody out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from .. import reach
from ..account import activity, changes, pictures, sessions
from ..account.mfa import factors
from ..clients import lifecycle
from ..http.requests import origin_of
from ..mail import invitations
from ..models import AccessProfile, AccountEvent, KeyEvent, OAuthApplication, User, authenticators
from . import leavers
from .access import permissions_of_staff
from .base import (
    ChoiceFilter,
    ClashesAreErrors,
    CompanyFilter,
    FreeTextModelForm,
    ListAdmin,
    RowsField,
    YesNoFilter,
    actor_of,
    moment,
    pks,
    staff_only,
    users_found_by,
)

# With more companies than this the field is an autocomplete field.
COMPANIES_IN_A_LIST = 200
STAFF_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")
NO_PASSWORD = Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)


# The fields that decide who can use an account, and what it may do.
OPENING_FIELDS = ("email", "company", "access_profile")


class AccessProfileFilter(ChoiceFilter):
    title = gettext_lazy("access profile")
    parameter_name = "access_profile"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        actor = actor_of(request)
        profiles = AccessProfile.objects.values_list("pk", "name")
        if not reach.is_site_wide(actor):
            profiles = profiles.filter(Exists(reach.users(actor).filter(access_profile=OuterRef("pk"))))
        return [*((str(pk), name) for pk, name in profiles), ("none", _("None"))]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(access_profile=None if value == "none" else value)


class ActiveFilter(YesNoFilter):
    title = gettext_lazy("active")
    parameter_name = "active"

    def condition(self) -> Q:
        return Q(is_active=True)


class HasKeyFilter(YesNoFilter):
    title = gettext_lazy("key")
    parameter_name = "has_key"
    yes, no = gettext_lazy("Has a key"), gettext_lazy("Has none")

    def condition(self) -> Q:
        return Q(has_key=True)


class InvitationFilter(YesNoFilter):
    title = gettext_lazy("invitation")
    parameter_name = "invited"
    yes, no = gettext_lazy("Not accepted yet"), gettext_lazy("Accepted")

    def condition(self) -> Q:
        return NO_PASSWORD


class SecondFactorFilter(YesNoFilter):
    title = gettext_lazy("second factor")
    parameter_name = "second_factor"
    yes, no = gettext_lazy("Has one"), gettext_lazy("Has none")

    def condition(self) -> Q:
        return Q(email_codes=True) | Q(has_authenticator=True)


class StaffFilter(YesNoFilter):
    title = gettext_lazy("staff")
    parameter_name = "staff"

    def condition(self) -> Q:
        return Q(is_staff=True) | Q(is_superuser=True)


class UserForm(FreeTextModelForm):
    actor: User  # who fills it in

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.instance == self.actor:
            for field in ("is_active", "is_staff", "is_superuser"):
                if field in self.changed_data:
                    self.add_error(field, _("You cannot take away your own access. Ask another superuser."))
        return data


@admin.register(User)
class UserAdmin(ClashesAreErrors, ListAdmin):
    company_path = "company"
    form = UserForm
    list_display = (
        "email",
        "name",
        "company",
        "access_profile",
        "is_active",
        "has_key",
        "accepted",
        "signed_in",
    )
    list_select_related = ("company", "access_profile")
    list_filter = (
        CompanyFilter,
        AccessProfileFilter,
        ActiveFilter,
        HasKeyFilter,
        InvitationFilter,
        SecondFactorFilter,
        StaffFilter,
    )
    ordering = ("email",)
    sortable_by = ("email",)
    filter_horizontal = ("groups", "user_permissions")
    actions = ("delete_selected", "send_invitation", "deactivate", "reactivate", "reset_second_factors", "end_sessions")
    search_help_text = gettext_lazy("E-mail address or its beginning, name, company, uid.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        has_key = Exists(OAuthApplication.objects.filter(user=OuterRef("pk")))
        has_authenticator = Exists(authenticators().filter(user=OuterRef("pk")))
        return super().get_queryset(request).annotate(has_key=has_key, has_authenticator=has_authenticator)

    def found_by(self, word: str) -> Q:
        return Q(pk__in=pks(users_found_by(word)))

    @admin.display(description=gettext_lazy("key"), boolean=True)
    def has_key(self, obj: Any) -> bool:
        return bool(obj.has_key)

    @admin.display(description=gettext_lazy("last sign-in (UTC)"))
    def signed_in(self, obj: User) -> str:
        return moment(obj.last_login) or _("Never")

    @admin.display(description=gettext_lazy("created (UTC)"))
    def created_time(self, obj: User) -> str:
        return moment(obj.date_joined)

    @admin.display(description=gettext_lazy("invitation accepted"), boolean=True)
    def accepted(self, obj: User) -> bool:
        return not invitations.is_open(obj)

    @admin.display(description=gettext_lazy("multi-factor authentication"), boolean=True)
    def has_second_factor(self, obj: User) -> bool:
        return obj.has_second_factor

    # --- Who may do what ----------------------------------------------------------------------------------

    def _within_reach(self, request: HttpRequest, obj: Model | None) -> bool:
        return not isinstance(obj, User) or reach.may_change(actor_of(request), obj)

    def _may_open(self, request: HttpRequest, user: User) -> bool:
        """Whether they may also invite, reactivate, and the like: see `reach.may_open`."""
        return self.has_change_permission(request, user) and reach.may_open(actor_of(request), user)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        own = obj is not None and obj == request.user
        return super().has_delete_permission(request, obj) and self._within_reach(request, obj) and not own

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("profiles.revoke_oauthapplication")

    # --- The form -----------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        person: tuple[None, dict[str, Any]] = (None, {"fields": ("email", "name", "company", "access_profile")})
        more = (gettext_lazy("More"), {"fields": ("job_title", "phone_number", "country")})
        staff = (
            gettext_lazy("Staff"),
            {
                "classes": ("collapse",),
                "fields": STAFF_FIELDS,
                "description": gettext_lazy("What the user may do in the admin site. Only a superuser can change it."),
            },
        )
        if obj is None:
            person[1]["description"] = gettext_lazy("When you save, the user is mailed a link to choose a password.")
            return (person, more, staff) if request.user.is_superuser else (person, more)
        account = (
            gettext_lazy("Account"),
            {"fields": ("is_active", "accepted", "has_second_factor", "signed_in", "created_time", "uid")},
        )
        return person, more, account, staff

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[Any, ...]:
        fields = ["accepted", "has_second_factor", "signed_in", "created_time", "uid"]
        if not request.user.is_superuser:
            fields += STAFF_FIELDS
            if isinstance(obj, User):
                fields += self._readonly_for_staff(request, obj)
        return tuple(fields)

    def _readonly_for_staff(self, request: HttpRequest, user: User) -> Iterator[str]:
        may_open = self._may_open(request, user)
        if not may_open:
            yield from OPENING_FIELDS
            if not user.is_active:
                yield "is_active"
        elif not reach.is_site_wide(actor_of(request)):
            yield "company"  # there is no other for them to choose
        if may_open and (not invitations.is_open(user) or lifecycle.of(user)):
            yield "email"  # rule 2

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        in_reach = reach.companies(actor_of(request))
        many = len(in_reach.order_by().values("pk")[: COMPANIES_IN_A_LIST + 1]) > COMPANIES_IN_A_LIST
        return ("company",) if many else ()

    def get_form(
        self,
        request: HttpRequest,
        obj: Model | None = None,
        change: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = actor_of(request)  # type: ignore[attr-defined]  # it is a UserForm
        self._offer_what_may_be_chosen(form.base_fields, form.actor, obj)  # type: ignore[attr-defined]
        for name in {"company", "access_profile"}.intersection(form.base_fields):
            # No links to change or delete these rows beside the field: other users have them too.
            widget = form.base_fields[name].widget
            widget.can_change_related = widget.can_delete_related = False
        if "is_active" in form.base_fields:
            form.base_fields["is_active"].help_text = _(
                "Without it the user is signed out and their key is refused at once. Give it back, and the key "
                "works as before. The API Clients of the company go on working."
            )
        return form

    def _offer_what_may_be_chosen(self, fields: dict[str, Any], actor: User, obj: Model | None) -> None:
        if "access_profile" in fields:
            profiles = reach.profiles_to_give(actor)
            fields["access_profile"].queryset = profiles
            fields["access_profile"].error_messages["invalid_choice"] = _(
                "Choose an access profile of this list: you can give only those whose rights you hold."
            )
        if "company" in fields:
            fields["company"].queryset = reach.companies(actor)
            if not reach.is_site_wide(actor):
                # Only staff of the whole site would reach a user without a company.
                fields["company"].required = True
                fields["company"].empty_label = None
                fields["company"].initial = actor.company_id

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            kwargs["queryset"] = permissions_of_staff()
        return super().formfield_for_manytomany(db_field, request, **{"form_class": RowsField, **kwargs})

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001
        origin = origin_of(request, via=KeyEvent.Via.ADMIN)
        if not change:
            obj.set_unusable_password()
            obj.save()
            changes.record_created(owner=obj, origin=origin)
            self._invite_after_commit(request, obj)
            return
        # Save only the changed fields: a password that was changed elsewhere at this moment stays.
        fields = {field.name for field in self.opts.concrete_fields}.intersection(form.changed_data)
        if not fields:
            return
        before = User.objects.select_for_update(of=("self",)).get(pk=obj.pk)
        obj.save(update_fields=fields)
        # The address of an open invitation may be wrong: no notice about this account goes to its reader.
        is_told = not invitations.is_open(obj)
        changes.record_changes(before=before, owner=obj, fields=fields, origin=origin, is_told=is_told)
        if "email" in fields:
            invitations.forget_former_emails(obj)
            if invitations.is_open(obj):
                self._invite_after_commit(request, obj)
        if "email" in fields or ("is_active" in fields and not obj.is_active):
            sessions.end_all(obj, but=request.session)
        if "is_active" in fields:
            self._tell_active(request, 1, is_active=obj.is_active)
        if fields & {"is_active", "company"}:
            leavers.tell(request, [obj])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001
        before = changes.staff_powers(form.instance)
        super().save_related(request, form, formsets, change)
        origin = origin_of(request, via=KeyEvent.Via.ADMIN)
        changes.record_staff_powers(before=before, owner=form.instance, origin=origin, mailed=change)

    # --- Mail ---------------------------------------------------------------------------------------------

    def _invite_after_commit(self, request: HttpRequest, user: User) -> None:
        if user.is_let_in:
            transaction.on_commit(lambda: self._invite(request, user))
        else:
            text = _("%s is not active, so no invitation was sent. Reactivate the user first.")
            if user.is_active:
                text = _("The company of %s is switched off, so no invitation was sent. Switch the company on first.")
            self.message_user(request, text % user.email, messages.WARNING)

    def _invite(self, request: HttpRequest, user: User) -> bool:
        try:
            invitations.send(user)
        except invitations.MailFailed:
            text = _(
                "The invitation to %s could not be sent: the mail server did not take it. The user is saved; send "
                "the invitation again later."
            )
            self.message_user(request, text % user.email, messages.ERROR)
            return False
        activity.record(AccountEvent.Action.INVITED, owner=user, origin=origin_of(request, via=KeyEvent.Via.ADMIN))
        self.log_change(request, user, _("Invitation sent."))
        text = _("An invitation with a link to set a password was sent to %s.")
        self.message_user(request, text % user.email, messages.SUCCESS)
        return True

    def get_urls(self) -> list[URLPattern]:
        buttons = [
            path(
                f"<int:user_id>/{name}/",
                staff_only(require_POST(partial(self._button_view, action=action))),
                name=f"profiles_user_{name}",
            )
            for name, action in (("invite", self.send_invitation), ("sign-out", self.end_sessions))
        ]
        return [*buttons, *super().get_urls()]

    def _button_view(self, request: HttpRequest, user_id: int, *, action: Callable[..., None]) -> HttpResponse:
        """An action on the one user on whose page its button is."""
        user = self.get_object(request, str(user_id))
        if not self.has_change_permission(request) or (user is not None and not self._may_open(request, user)):
            raise PermissionDenied
        if user is None:
            return HttpResponseRedirect(reverse("admin:profiles_user_changelist"))
        action(request, [user])
        return HttpResponseRedirect(reverse("admin:profiles_user_change", args=(user_id,)))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        user = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if user is not None:
            context["can_invite"] = invitations.is_open(user) and user.is_let_in and self._may_open(request, user)
            context["can_end_sessions"] = user != request.user and self._may_open(request, user)
            if request.user.has_perm("profiles.view_oauthapplication"):
                context["key"] = lifecycle.of(user)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    # --- Actions ------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Send invitation again"), permissions=["change"])
    def send_invitation(self, request: HttpRequest, queryset: Any) -> None:
        skipped = 0
        for user in queryset:
            if invitations.is_open(user) and user.is_let_in and self._may_open(request, user):
                if not self._invite(request, user):
                    return  # the mail server is down: do not wait for a time-out for every user
            else:
                skipped += 1
        if skipped:
            text = ngettext(
                "%d user was left out: inactive, has set a password already, or has rights that you do not hold.",
                "%d users were left out: inactive, have set a password already, or have rights that you do not hold.",
                skipped,
            )
            self.message_user(request, text % skipped, messages.WARNING)

    @admin.action(description=gettext_lazy("Deactivate selected users"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=False)

    @admin.action(description=gettext_lazy("Reactivate selected users"), permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, is_active=True)

    def _set_active(self, request: HttpRequest, queryset: QuerySet[User], *, is_active: bool) -> None:
        chosen = list(queryset)
        may = self._may_open if is_active else self.has_change_permission
        allowed = [user for user in chosen if user != request.user and may(request, user)]
        changing = [user for user in allowed if user.is_active != is_active]
        with transaction.atomic():
            User.objects.filter(pk__in=[user.pk for user in changing]).update(is_active=is_active)
            for user in changing:
                user.is_active = is_active
                changes.record_active(owner=user, origin=origin_of(request, via=KeyEvent.Via.ADMIN))
                if not is_active:
                    sessions.end_all(user, but=None)
                self.log_change(request, user, _("Reactivated.") if is_active else _("Deactivated."))
        self._tell_active(request, len(changing), is_active=is_active)
        if not is_active:
            leavers.tell(request, changing)
        self._tell_left_out(request, len(chosen) - len(allowed))

    def _tell_left_out(self, request: HttpRequest, number: int) -> None:
        if number:
            text = ngettext(
                "%d user was left out: yourself, staff, whom only a superuser can change, or somebody with rights that "
                "you do not hold.",
                "%d users were left out: yourself, staff, whom only a superuser can change, or somebody with rights "
                "that you do not hold.",
                number,
            )
            self.message_user(request, text % number, messages.WARNING)

    def _tell_active(self, request: HttpRequest, number: int, *, is_active: bool) -> None:
        if is_active:
            text = ngettext(
                "%d user was reactivated. Their key, if they have one, works again as it was.",
                "%d users were reactivated. Their keys work again as they were.",
                number,
            )
        else:
            text = ngettext(
                "%d user was deactivated. They are signed out, and their key is refused from now on.",
                "%d users were deactivated. They are signed out, and their keys are refused from now on.",
                number,
            )
        self.message_user(request, text % number, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Reset multi-factor authentication"), permissions=["change"])
    def reset_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For users who have lost theirs. Not one's own: for that My Profile asks for the password."""
        chosen = list(queryset)
        allowed = [user for user in chosen if user != request.user and self._may_open(request, user)]
        origin = origin_of(request, via=KeyEvent.Via.ADMIN)
        reset = [user for user in allowed if factors.reset(owner=user, origin=origin)]
        for user in reset:
            self.log_change(request, user, _("Multi-factor authentication reset."))
        text = ngettext(
            "The second factors of %d user were removed. They are mailed about it.",
            "The second factors of %d users were removed. They are mailed about it.",
            len(reset),
        )
        self.message_user(request, text % len(reset), messages.SUCCESS)
        self._tell_left_out(request, len(chosen) - len(allowed))

    @admin.action(description=gettext_lazy("Sign out everywhere"), permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: Any) -> None:
        """For users who lost a device, or whose account somebody else uses. One's own sessions are on My Profile."""
        chosen = list(queryset)
        allowed = [user for user in chosen if user != request.user and self.has_change_permission(request, user)]
        for user in allowed:
            sessions.end_as_administrator(user, origin=origin_of(request, via=KeyEvent.Via.ADMIN))
            self.log_change(request, user, _("Signed out everywhere."))
        if allowed:
            text = ngettext(
                "%d user was signed out in all browsers. They are mailed about it, and can sign in again.",
                "%d users were signed out in all browsers. They are mailed about it, and can sign in again.",
                len(allowed),
            )
            self.message_user(request, text % len(allowed), messages.SUCCESS)
        self._tell_left_out(request, len(chosen) - len(allowed))

    # --- Deleting -----------------------------------------------------------------------------------------

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Keys cannot be deleted in the admin site; with its owner, a key is revoked."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if self.has_revoke_permission(request):
            lacking.discard(self.admin_site.get_model_admin(OAuthApplication).opts.verbose_name)
        return deleted, counts, lacking, protected

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        context["known"] = leavers.told(request, leavers.seen_by([context["object"]], actor_of(request)))
        return super().render_delete_form(request, context)

    @admin.action(description=delete_selected.short_description, permissions=["delete"])  # type: ignore[attr-defined]
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Django's, which asks before."""
        response = delete_selected(self, request, queryset)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            known = leavers.told(request, leavers.seen_by(queryset, actor_of(request)))
            response.context_data["known"] = known
        return response

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        with transaction.atomic():
            # Lock the owner's row first: so no key can be made between the revocation and the deletion of the user.
            if User.objects.select_for_update().filter(pk=obj.pk).exists():
                origin = origin_of(request, via=KeyEvent.Via.ADMIN)
                if lifecycle.of(obj):
                    lifecycle.revoke(owner=obj, origin=origin, reason=_("The user was deleted."))
                sessions.end_all(obj, but=None)
                changes.record_deleted(owner=obj, origin=origin)
                picture = obj.picture.name or ""
                obj.delete()
                transaction.on_commit(partial(pictures.remove_files, picture), robust=True)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        with transaction.atomic():
            for user in queryset:
                self.delete_model(request, user)
