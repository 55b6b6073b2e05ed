"""The pages of multi-factor authentication: to turn it on, to manage it, and what is asked for at sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import qrcode
from allauth.account.forms import ConfirmLoginCodeForm
from allauth.account.internal.decorators import login_stage_required
from allauth.account.views import ConfirmLoginCodeView
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code, normalize_user_code
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.views import AuthenticateView as AllauthAuthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.stages import AuthenticateStage
from allauth.mfa.totp.internal import auth as totp_auth
from allauth.mfa.utils import decrypt, encrypt
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, LoginWebAuthnForm
from allauth.mfa.webauthn.internal import auth as webauthn_auth
from allauth.mfa.webauthn.views import LoginWebAuthnView
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from ...http.requests import UserRequest, origin_of
from ...limits import attempts
from ...pages import reauthentication
from ...pages.base import page
from ...pages.reauthentication import TOTP_SECRET
from ...text.fields import NameFormField
from ...text.free_text import FreeTextForm
from . import flows, passkeys

CODE = forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"})
NAME = forms.TextInput(attrs={"autocomplete": "off"})


# --- Forms ---------------------------------------------------------------------------------------------------


class CodeForm(forms.Form):
    """A code that somebody types on a page of their own, with a limit on attempts in their session."""

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
        return totp_auth.validate_totp_code(self.secret, code) and flows.spend(self.user, code)


class CredentialField(forms.JSONField):
    """What a passkey answers, as JSON from a script of ours; or anything, from others."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


@contextmanager
def nonsense_refused() -> Iterator[None]:
    """Answers that are not even of the right form; allauth lets some of their errors through."""
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
    """One line, also where it was several."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(" ".join(str(value or "").split()))


class PasskeyForm(_Answer, FreeTextForm, AddWebAuthnForm):
    """What the browser made of a passkey, and a name for it."""

    name = PasskeyNameField(
        label=gettext_lazy("Name"),
        max_length=50,
        required=False,
        widget=NAME,
        help_text=gettext_lazy("By which you tell it from others, such as “Laptop” or “Blue key”."),
    )
    credential = CredentialField()
    machine_made = ("credential",)
    # Every passkey may sign in alone if it can check who holds it; there is nothing to choose.
    passwordless = None
    purpose = passkeys.Purpose.ADD

    def clean(self) -> dict[str, Any]:
        with nonsense_refused():
            if "credential" in self.cleaned_data:
                passkeys.check_new(self.cleaned_data["credential"])
            return cast("dict[str, Any]", super().clean())


class PasskeyAnswerForm(_Answer, AuthenticateWebAuthnForm):
    """At sign-in, as the second step: what a passkey has signed."""

    credential = CredentialField()
    purpose = passkeys.Purpose.SECOND_STEP

    def clean_credential(self) -> Authenticator:
        with flows.trying(context.request, self.user, flows.PASSKEY), nonsense_refused():
            passkeys.check_answer(self.cleaned_data["credential"], self.user)
            return super().clean_credential()


class PasskeyLoginForm(_Answer, LoginWebAuthnForm):
    """At sign-in, instead of a password: the same."""

    credential = CredentialField()
    purpose = passkeys.Purpose.ALONE

    def clean_credential(self) -> Authenticator:
        with nonsense_refused():
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
        with flows.trying(context.request, self.user, flows.EMAIL):
            return cast("str", super().clean_code())


class AuthenticatorCodeForm(AuthenticateForm):
    """At sign-in: a code of the authenticator app, or a recovery code."""

    code = CodeForm.base_fields["code"]

    def clean_code(self) -> str:
        # Each kind has limits of its own, and its length tells it: a code of the app is shorter.
        is_recovery = len(normalize_user_code(self.cleaned_data["code"])) == mfa_settings.RECOVERY_CODE_DIGITS
        with flows.trying(context.request, self.user, flows.RECOVERY if is_recovery else flows.TOTP_APP):
            code: str = super().clean_code()
            if self.authenticator.type == flows.Type.TOTP and not flows.spend(self.user, code):
                raise get_adapter().validation_error("incorrect_code")
        return code

    def save(self) -> None:
        super().save()
        if self.authenticator.type == flows.Type.RECOVERY_CODES:
            flows.record_recovery_code_used(context.request, self.user)


# --- Turning it on, and managing it ----------------------------------------------------------------------------


@page("GET", "HEAD")
def index(request: UserRequest) -> HttpResponse:
    """Off: what it is, and the way to turn it on. On: what there is, to add and remove."""
    factors = flows.factors_of(request.user)
    shown = {
        "factors": factors,
        "stopped": flows.stopped(request.user),
        "required": request.user.needs_second_factor,
        "can_remove": not request.user.needs_second_factor or factors.number > 1,
        "can_use_passkeys": bool(settings.PASSKEY_HOST),
    }
    return render(request, "mfa/index.html", shown)


@page("GET", "HEAD", "POST")
@reauthentication.required(back="mfa_index")
def email_codes(request: UserRequest) -> HttpResponse:
    """Codes by e-mail: a first one proves that they arrive, then they are on."""
    user = request.user
    if user.email_codes:
        return redirect("mfa_index")
    if request.method == "POST" and "code" not in request.POST:
        return _mail_proof(request)
    proof = flows.MailboxProof.under_way(request, user)
    if proof is None:
        if request.method == "POST":
            messages.warning(request, _("That code has expired. Have another one sent."))
        return redirect("mfa_index")
    form = MailedCodeForm(request.POST or None, user=user, expected=proof.code)
    if form.is_valid():
        flows.add_email_codes(owner=user, origin=origin_of(request))
        proof.abort()
        _say(request, _("Multi-factor authentication is on: signing in takes a code by e-mail."))
        return _to_profile()
    if form.is_bound and not proof.record_invalid_attempt():
        messages.error(request, _("Too many wrong codes. Have another one sent."))
        return redirect("mfa_index")
    return render(
        request, "mfa/email.html", {"form": form, "address": user.email}, status=422 if form.is_bound else 200
    )


def _mail_proof(request: UserRequest) -> HttpResponse:
    if not flows.may_mail_code(request, request.user):
        messages.error(request, _("We have just mailed you several codes. Wait a minute, then try again."))
        return redirect("mfa_index")
    try:
        flows.MailboxProof.begin(request, request.user)
    except OSError:
        flows.logger.exception("could not mail a code")
        messages.error(request, _("The code could not be mailed. Try again in a few minutes."))
        return redirect("mfa_index")
    return redirect("mfa_email")


@page("GET", "HEAD", "POST")
@reauthentication.required()
def totp(request: UserRequest) -> HttpResponse:
    """The authenticator app: it scans a secret, and a first code proves that it has it."""
    user = request.user
    if flows.factors_of(user).totp:
        return redirect("mfa_index")
    secret = _totp_secret(request)
    form = TOTPForm(request.POST or None, user=user, secret=secret)
    if form.is_valid():
        codes = flows.add_totp(owner=user, secret=secret, origin=origin_of(request))
        del request.session[TOTP_SECRET]
        return _added(
            request, codes, _("The authenticator app is set up. From now on, signing in asks for a code of it.")
        )
    address = get_adapter().build_totp_url(user, secret)
    shown = {
        "form": form,
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "address": address,
        "qr": _qr(address),
    }
    return render(request, "mfa/totp.html", shown, status=422 if form.is_bound else 200)


def _totp_secret(request: UserRequest) -> str:
    """The secret offered in this session: the same until a code has confirmed it, in every window."""
    if TOTP_SECRET not in request.session:
        request.session[TOTP_SECRET] = encrypt(totp_auth.generate_totp_secret())
    return decrypt(request.session[TOTP_SECRET])


def _qr(text: str) -> dict[str, Any]:
    """A QR code as one path for an inline SVG, with the quiet zone around it."""
    code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_M)
    code.add_data(text)
    matrix = code.get_matrix()
    dots = ((x, y) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return {"size": len(matrix), "path": "".join(f"M{x} {y}h1v1h-1z" for x, y in dots)}


@page("GET", "HEAD", "POST")
@reauthentication.required()
def passkey_add(request: UserRequest) -> HttpResponse:
    """A passkey or security key: the browser makes it, in static/js/webauthn.js, and sends what we keep of it."""
    if not settings.PASSKEY_HOST:
        raise Http404
    user = request.user
    form = PasskeyForm(request.POST or None, user=user, initial={"name": ""})  # type: ignore[call-arg]  # allauth's
    if form.is_valid():
        name, credential = form.cleaned_data["name"], form.cleaned_data["credential"]
        codes = flows.add_passkey(owner=user, name=name, credential=credential, origin=origin_of(request))
        return _added(request, codes, _("The passkey is set up: you can sign in with it."))
    with passkeys.made_for(passkeys.Purpose.ADD, user):
        options = webauthn_auth.begin_registration(user, passwordless=False)
    # One that can find the account by itself can also sign in without a password.
    options["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred"
    shown = {"form": form, "options": options}
    return render(request, "mfa/passkey_add.html", shown, status=422 if form.is_bound else 200)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def passkey_rename(request: UserRequest, pk: int) -> HttpResponse:
    passkey = get_object_or_404(Authenticator, pk=pk, user=request.user, type=flows.Type.WEBAUTHN)
    form = NameForm(request.POST or None, initial={"name": passkey.wrap().name})
    if form.is_valid():
        name = form.cleaned_data["name"]
        flows.rename_passkey(passkey=passkey, name=name, owner=request.user, origin=origin_of(request))
        messages.success(request, _("The passkey has its new name."))
        return redirect("mfa_index")
    return render(request, "mfa/passkey_rename.html", {"form": form}, status=422 if form.is_bound else 200)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def remove(request: UserRequest, method: str, pk: int | None = None) -> HttpResponse:
    """Remove a factor, after a confirmation."""
    user, origin = request.user, origin_of(request)
    factors = flows.factors_of(user)
    authenticator = factors.totp if method == "totp" else next((it for it in factors.passkeys if it.pk == pk), None)
    if not (user.email_codes if method == "email" else authenticator):
        return redirect("mfa_index")
    if request.method == "POST":
        try:
            if authenticator:
                flows.remove(authenticator=authenticator, owner=user, origin=origin)
            else:
                flows.remove_email_codes(owner=user, origin=origin)
        except flows.Required:
            messages.error(request, _("Your company requires a second factor. Add another one before you remove this."))
            return redirect("mfa_index")
        _say(request, _("It is removed, and no longer accepted when you sign in."))
        return _to_profile() if factors.number == 1 else redirect("mfa_index")
    shown = {
        "method": method,
        "name": authenticator.wrap().name if method == "passkey" and authenticator else "",
        "is_last": factors.number == 1,
        # With the last authenticator its recovery codes go.
        "ends_recovery_codes": bool(authenticator and factors.recovery and factors.number - factors.email == 1),
    }
    return render(request, "mfa/remove.html", shown)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def recovery_codes(request: UserRequest) -> HttpResponse:
    """New recovery codes in place of the old ones, after a confirmation."""
    factors = flows.factors_of(request.user)
    if not (factors.totp or factors.passkeys):
        return redirect("mfa_index")
    if request.method == "POST":
        version = request.POST.get("version")
        if codes := flows.make_recovery_codes(owner=request.user, origin=origin_of(request), version=version):
            return _show(request, codes, _("The old codes no longer work."))
        messages.warning(request, _("Recovery codes were made a moment ago, and are shown once. Nothing was done now."))
        return redirect("mfa_index")
    return render(request, "mfa/recovery_codes_make.html", {"factors": factors})


def _added(request: UserRequest, codes: list[str], said: str) -> HttpResponse:
    if codes:
        return _show(request, codes, said)
    _say(request, said)
    return redirect("mfa_index")


def _show(request: UserRequest, codes: list[str], said: str) -> HttpResponse:
    """The recovery codes, in the one answer that has them."""
    shown = [f"{code[:4]} {code[4:]}" for code in codes]
    return render(request, "mfa/recovery_codes.html", {"codes": shown, "said": _and_the_others(said)})


def _say(request: UserRequest, said: str) -> None:
    messages.success(request, _and_the_others(said))


def _and_the_others(said: str) -> str:
    """What a change of a factor did, and what it ended."""
    return " ".join((said, _("All other browsers are signed out.")))


def _to_profile() -> HttpResponse:
    return HttpResponseRedirect(reverse("profile") + "#security")


# --- Signing in ------------------------------------------------------------------------------------------------


class AuthenticateView(AllauthAuthenticateView):
    """A code of the authenticator app, a passkey or a recovery code."""

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        # The other form stays as it was; this one is shown with what is wrong.
        return attempts.answered(super().form_invalid(form), attempts.refusal_in(form))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.stage.login.user
        with passkeys.made_for(passkeys.Purpose.SECOND_STEP, user):
            shown = super().get_context_data(**kwargs)
        return {**shown, "factors": flows.factors_of(user)}


authenticate = AuthenticateView.as_view()


@require_POST
@login_stage_required(stage=AuthenticateStage.key, redirect_urlname="account_login")
def authenticate_by_email(request: HttpRequest) -> HttpResponse:
    """The authenticator is not at hand: a code by e-mail instead, for who has these turned on."""
    stage = request._login_stage  # type: ignore[attr-defined]  # noqa: SLF001 - allauth hands it over like this
    if not stage.login.user.email_codes:
        return redirect("mfa_authenticate")
    stage.login.state[flows.BY_EMAIL] = True
    return cast("HttpResponse", stage.exit())


class EmailCodeView(ConfirmLoginCodeView):
    """The code that was mailed."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = super().dispatch(request, *args, **kwargs)
        if getattr(self, "_process", self) is None:
            messages.warning(request, _("That code has expired. Sign in again, and we mail you another one."))
        return cast("HttpResponse", answer)

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        if "code" in kwargs:
            kwargs["user"] = self.stage.login.user
        return kwargs

    def _resend_form_valid(self, form: forms.Form) -> HttpResponse:
        try:
            return cast("HttpResponse", super()._resend_form_valid(form))
        except OSError:
            flows.logger.exception("could not mail a code")
            messages.error(self.request, _("The code could not be mailed. Try again in a few minutes."))
            return redirect("account_confirm_login_code")

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        answer: HttpResponse = super().form_invalid(form)
        # The last wrong code ends the sign-in, by a redirect.
        return attempts.answered(answer, attempts.refusal_in(form)) if answer.status_code == 200 else answer


email_code = EmailCodeView.as_view()


class PasskeyLoginView(LoginWebAuthnView):
    """A passkey that has checked who holds it, in place of password and second factor."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with passkeys.made_for(passkeys.Purpose.ALONE):
            return cast("HttpResponse", super().get(request, *args, **kwargs))

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        messages.error(self.request, _("That passkey was not accepted. Sign in with your password."))
        return redirect("account_login")


passkey_login = PasskeyLoginView.as_view()
