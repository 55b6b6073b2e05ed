"""The forms of API Clients: what their people say about one, and the prompts that a key has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from .. import reach
from ..clients import company
from ..clients.changes import ChangeRefused
from ..models import AccessProfile, ClientSecret, OAuthApplication
from ..text.fields import NameFormField, NoteFormField
from ..text.free_text import FreeTextForm
from .forms import PromptForm
from .subject import Subject

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

PROFILE_GONE = _("This access profile is gone, or it holds a right that you lack. Choose another one.")
# What the rules refuse in a form -> the field that it is said of, None for the form as a whole.
IN_FORM: dict[type[ChangeRefused], tuple[str | None, _StrPromise]] = {
    company.NameTaken: ("name", _("Another API Client of your company has this name.")),
    company.NoSuchProfile: ("access_profile", PROFILE_GONE),
    company.TooMany: (
        None,
        _("Your company has %(count)s API Clients, and may have no more. Delete one that is no longer used."),
    ),
}


class AlreadySo(ChangeRefused):
    """Disable or enable: it is so already, so there is nothing to ask."""


class AboutForm(FreeTextForm, PromptForm):
    """What is said about a client. Nothing is lost by it, so Enter in a field sends it, as it does elsewhere."""

    guarded = False
    ABOUT = ("name", "note", "access_profile", "mail_new_address")

    name = NameFormField(
        label=_("Name"),
        max_length=150,
        help_text=_("What it is for, such as “Nightly export”. No other API Client of your company may have it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Enter a name.")},
    )
    access_profile = forms.ModelChoiceField(
        AccessProfile.objects.none(),
        label=_("Access profile"),
        to_field_name="uid",
        empty_label=_("Choose one"),
        help_text=_("What it may do, read at each request. Offered are those of which you hold every right."),
        error_messages={"required": _("Choose an access profile."), "invalid_choice": PROFILE_GONE},
    )
    note = NoteFormField(
        label=_("Note (optional)"),
        max_length=1000,
        required=False,
        help_text=_("Who runs it, where, and whom to ask. Everybody who may view API Clients reads it."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    mail_new_address = forms.BooleanField(
        label=_("Mail those who may edit API Clients when it is used from a new address"), required=False
    )

    def __init__(self, subject: Subject, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(subject, initial=initial)
        self.fields["access_profile"].queryset = reach.profiles_to_give(subject.request.user)  # type: ignore[attr-defined]  # the stubs know Field alone

    @property
    def lacks_password(self) -> bool:
        """Only where nothing else is to be put right: else all of it is said at once."""
        return super().lacks_password and not set(self.errors) - {"password"}

    def anew(self) -> AboutForm:
        return type(self)(self.subject, initial=self.typed())

    def typed(self) -> dict[str, Any]:
        """What was typed, without credentials."""
        self.full_clean()
        return {name: self.data.get(name, "") for name in self.ABOUT}

    @property
    def focused(self) -> str:
        """What is wrong; or, where only the password was missing, that."""
        wrong = [name for name in self.fields if name in self.errors]
        only_password = "password" in self.fields and self.subject.request.method == "POST"
        return wrong[0] if wrong else "password" if only_password else "name"

    def refuse(self, refusal: ChangeRefused) -> None:
        """Say in the form why the rules refuse it."""
        field, said = IN_FORM[type(refusal)]
        self.add_error(field, str(said) % {"count": settings.API_CLIENTS_AT_MOST})

    @property
    def about(self) -> company.About:
        return company.About(**{name: self.cleaned_data[name] for name in self.ABOUT})


class NewForm(AboutForm):
    action = "create_client"
    title = _("Create API Client")

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return None


class EditForm(AboutForm):
    action = "edit"
    title = _("Edit API Client")

    def __init__(self, subject: Subject, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(subject, initial=initial)
        client = subject.client
        if client and client.access_profile and not self.is_bound and initial is None:
            self.initial = {
                "name": client.name,
                "note": client.note,
                "access_profile": client.access_profile.uid,
                "mail_new_address": client.mail_new_address,
            }


class DisableForm(PromptForm):
    action = "disable"
    title = _("Disable this API Client?")

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return AlreadySo() if client and client.disabled else None


class EnableForm(PromptForm):
    action = "enable"
    title = _("Enable this API Client?")

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return None if client and client.disabled else AlreadySo()
