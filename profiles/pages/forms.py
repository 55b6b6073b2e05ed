"""The forms of the section on a client: one for each prompt, and one that checks a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..clients import changes, lifecycle
from ..clients.changes import ChangeRefused
from ..http.requests import UserRequest
from ..limits import attempts
from ..models import ClientSecret, OAuthApplication, OldSecret
from . import reauthentication
from .subject import Subject

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class PromptForm(forms.Form):
    """A confirmation: the version of the client that the person saw, and their password if it has to be proven again.

    A form without a version stands for whatever it is now; one with a version that no page of ours can have had, or
    with one of the past, is out of date.
    """

    action: ClassVar[str]
    title: _StrPromise
    guarded: ClassVar[bool] = True
    """Whether there is something to lose: then nothing but its button confirms, and Cancel has the focus at first."""

    version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": _("Enter your password.")},
    )

    def __init__(self, subject: Subject, *, initial: dict[str, Any] | None = None) -> None:
        request = subject.request
        super().__init__(request.POST if request.method == "POST" and initial is None else None, initial=initial)
        self.subject = subject
        self.seen_now = subject.version()
        if not reauthentication.is_due(request):
            del self.fields["password"]

    @property
    def fragment(self) -> str:
        return f"profiles/partials/confirm_{self.action}.html"

    @property
    def lacks_password(self) -> bool:
        """Whether the password has to be proven and this form did not ask for it yet."""
        return "password" in self.fields and "password" not in self.data and not self.has_error("version")

    @property
    def only_asks(self) -> bool:
        """Whether it was sent by Enter in a choice, which confirms nothing: see confirm_form.html."""
        return "ask" in self.data

    def anew(self) -> Self:
        """The form as it is when it is asked for; a choice that was made stays made."""
        return type(self)(self.subject, initial={})

    @property
    def focused(self) -> str:
        """The field that has the focus at first; "" for Cancel."""
        return "password" if "password" in self.fields and (not self.guarded or self.errors) else ""

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        """Why there is nothing to ask, if there is not."""
        return None if client else lifecycle.NoKey()

    def clean_version(self) -> int | None:
        version: int | None = self.cleaned_data["version"]
        if version not in (None, self.seen_now):
            raise ValidationError(_("It was changed meanwhile."), code="stale")
        return version

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if self.has_error("version"):
            return password  # nothing will be done, so there is nothing to prove
        if not reauthentication.may_try(self.subject.request):
            raise ValidationError(_("Too many attempts. Wait a minute, then try again."), code="limited")
        if not self.subject.request.user.has_password(password):
            raise ValidationError(_("That is not your password. Try again."), code="incorrect")
        return password


class CreateForm(PromptForm):
    action = "create"
    guarded = False
    title = _("Confirm that it is you")

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return lifecycle.KeyExists() if client else self.subject.no_new_secret()


class RegenerateForm(PromptForm):
    action = "regenerate"
    title = _("Regenerate the secret key?")

    # Not sent by a script that knows of no choice: then it is the first one.
    old_secret = forms.ChoiceField(
        label=_("The old secret key"),
        choices=OldSecret.choices,
        initial=OldSecret.NOW,
        required=False,
        # It stands above the form: what it decides is said right before it.
        widget=forms.RadioSelect(attrs={"form": "confirm"}),
    )

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return super().refusal(client, old) or self.subject.no_new_secret()

    def anew(self) -> Self:
        chosen = self.data.get("old_secret")
        return type(self)(self.subject, initial={"old_secret": chosen} if chosen in OldSecret.values else {})

    def clean_old_secret(self) -> OldSecret:
        return OldSecret(self.cleaned_data["old_secret"] or OldSecret.NOW)


class EndOldForm(PromptForm):
    action = "end_old"
    title = _("End the old secret key now?")

    def refusal(self, client: OAuthApplication | None, old: ClientSecret | None) -> ChangeRefused | None:
        return super().refusal(client, old) or (None if old else changes.NoOldSecret())


class DeleteForm(PromptForm):
    action = "delete"

    def __init__(self, subject: Subject, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(subject, initial=initial)
        self.title = subject.words.delete


class CheckForm(forms.Form):
    """A secret that somebody found, to be told which one it is. It is never shown again, not even in its field."""

    secret = forms.CharField(
        label=_("Secret key to check"),
        max_length=200,
        help_text=_("It is only compared: it is neither kept nor shown."),
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none", "autofocus": True}
        ),
        error_messages={"required": _("Paste a secret key."), "max_length": _("That is too long for a secret key.")},
    )

    def __init__(self, request: UserRequest) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        self.request = request

    def clean_secret(self) -> str:
        """Count the attempt (as guesses at passwords are) before anything is told."""
        attempts.secret_check(self.request)
        secret: str = self.cleaned_data["secret"]
        return secret
