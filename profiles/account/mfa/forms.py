"""The forms of multi-factor authentication: to set a factor up, to name it, and for the second step of a sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from allauth.account.forms import ConfirmLoginCodeForm
from allauth.core import context
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, LoginWebAuthnForm
from django import forms
from django.utils.translation import gettext_lazy

from ...limits import attempts
from ...text.fields import NameFormField
from ...text.free_text import FreeTextForm
from ..allauth_internals import compare_user_code, normalize_user_code, validate_totp_code
from . import codes, factors, failures, passkeys

CODE = forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"})
NAME = forms.TextInput(attrs={"autocomplete": "off"})


class CodeForm(forms.Form):
    """A code that a signed-in user types on a page of My Profile, with a limit on attempts in the session."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        widget=CODE,
        error_messages={"required": gettext_lazy("Enter the code.")},
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def is_right(self, code: str) -> bool:
        raise NotImplementedError

    def clean_code(self) -> str:
        attempt = attempts.setting_up(context.request)
        code: str = self.cleaned_data["code"]
        if not self.is_right(code):
            raise get_adapter().validation_error("incorrect_code")
        attempt.was_right()
        return code


class MailedCodeForm(CodeForm):
    def __init__(self, *args: Any, expected: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected = expected

    def is_right(self, code: str) -> bool:
        return bool(compare_user_code(actual=code, expected=self.expected))


class TOTPForm(CodeForm):
    def __init__(self, *args: Any, secret: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.secret = secret

    def is_right(self, code: str) -> bool:
        return validate_totp_code(self.secret, code) and codes.spend(self.user, code)


class CredentialField(forms.JSONField):
    """The answer of a passkey, as JSON from our script; other clients can send anything."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


@contextmanager
def malformed_answers_refused() -> Iterator[None]:
    """Refuse malformed answers: allauth does not catch some of the exceptions that they cause."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise get_adapter().validation_error("incorrect_code") from error


class _Answer:
    """A form that answers a challenge, which is for `purpose` and used up by any answer."""

    purpose: ClassVar[passkeys.Purpose]
    user: Any
    is_bound: bool

    def full_clean(self) -> None:
        if not self.is_bound:
            super().full_clean()  # type: ignore[misc]
            return
        with passkeys.only_for(self.purpose, self.user):
            super().full_clean()  # type: ignore[misc]


class PasskeyNameField(NameFormField):
    """A name of several lines is joined to one."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(" ".join(str(value or "").split()))


class PasskeyForm(_Answer, FreeTextForm, AddWebAuthnForm):
    """The new passkey as the browser sends it, and a name for it."""

    name = PasskeyNameField(
        label=gettext_lazy("Name"),
        max_length=50,
        required=False,
        widget=NAME,
        help_text=gettext_lazy("By which you tell it from others, such as “Laptop” or “Blue key”."),
    )
    credential = CredentialField()
    machine_made = ("credential",)
    # Every passkey that verifies its user may sign in without a password; there is nothing to choose.
    passwordless = None
    purpose = passkeys.Purpose.ADD

    def clean(self) -> dict[str, Any]:
        with malformed_answers_refused():
            if "credential" in self.cleaned_data:
                passkeys.check_new(self.cleaned_data["credential"])
            return cast("dict[str, Any]", super().clean())


class PasskeyAnswerForm(_Answer, AuthenticateWebAuthnForm):
    """At sign-in, as the second step: the signed answer of a passkey."""

    credential = CredentialField()
    purpose = passkeys.Purpose.SECOND_STEP

    def clean_credential(self) -> Authenticator:
        with failures.trying(context.request, self.user, failures.PASSKEY), malformed_answers_refused():
            passkeys.check_answer(self.cleaned_data["credential"], self.user)
            return super().clean_credential()


class PasskeyLoginForm(_Answer, LoginWebAuthnForm):
    """At sign-in, instead of a password: the signed answer of a passkey."""

    credential = CredentialField()
    purpose = passkeys.Purpose.ALONE

    def clean_credential(self) -> Authenticator:
        with malformed_answers_refused():
            passkeys.check_answer(self.cleaned_data["credential"], None)
            return super().clean_credential()


class NameForm(FreeTextForm, forms.Form):
    name = PasskeyNameField(label=gettext_lazy("Name"), max_length=50, widget=NAME)


class EmailCodeForm(ConfirmLoginCodeForm):
    """At sign-in: the code that was mailed."""

    code = CodeForm.base_fields["code"]

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_code(self) -> str:
        with failures.trying(context.request, self.user, failures.EMAIL):
            return cast("str", super().clean_code())


class AuthenticatorCodeForm(AuthenticateForm):
    """At sign-in: a code of the authenticator app, or a recovery code."""

    code = CodeForm.base_fields["code"]

    def clean_code(self) -> str:
        # Each kind has limits of its own. They are told apart by length: a code of the app is shorter.
        is_recovery = len(normalize_user_code(self.cleaned_data["code"])) == mfa_settings.RECOVERY_CODE_DIGITS
        with failures.trying(context.request, self.user, failures.RECOVERY if is_recovery else failures.TOTP_APP):
            code: str = super().clean_code()
            if self.authenticator.type == factors.Type.TOTP and not codes.spend(self.user, code):
                raise get_adapter().validation_error("incorrect_code")
        return code

    def save(self) -> None:
        super().save()
        if self.authenticator.type == factors.Type.RECOVERY_CODES:
            factors.record_recovery_code_used(context.request, self.user)
