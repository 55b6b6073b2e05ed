"""The pages of multi-factor authentication: to add, rename and remove factors, and to make recovery codes."""

from __future__ import annotations

import logging
from typing import Any

import qrcode
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import decrypt, encrypt
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from ...http.requests import UserRequest, origin_of
from ...pages import reauthentication
from ...pages.base import page
from ...pages.reauthentication import TOTP_SECRET
from ..allauth_internals import begin_passkey, generate_totp_secret
from . import codes, factors, failures, forms, passkeys

logger = logging.getLogger(__name__)


@page("GET", "HEAD")
def index(request: UserRequest) -> HttpResponse:
    """If it is off: what it is, and how to turn it on. If it is on: the factors, to add and remove."""
    held = factors.of(request.user)
    shown = {
        "factors": held,
        "stopped": failures.stopped(request.user),
        "required": request.user.needs_second_factor,
        "can_remove": not request.user.needs_second_factor or held.number > 1,
        "can_use_passkeys": bool(settings.PASSKEY_HOST),
    }
    return render(request, "mfa/index.html", shown)


@page("GET", "HEAD", "POST")
@reauthentication.required(back="mfa_index")
def email_codes(request: UserRequest) -> HttpResponse:
    """Codes by e-mail: a first one proves that they arrive, then they are turned on."""
    user = request.user
    if user.email_codes:
        return redirect("mfa_index")
    if request.method == "POST" and "code" not in request.POST:
        return _mail_proof(request)
    proof = codes.MailboxProof.under_way(request, user)
    if proof is None:
        if request.method == "POST":
            messages.warning(request, _("That code has expired. Have another one sent."))
        return redirect("mfa_index")
    form = forms.MailedCodeForm(request.POST or None, user=user, expected=proof.code)
    if form.is_valid():
        factors.add_email_codes(owner=user, origin=origin_of(request))
        proof.abort()
        _say(request, _("Multi-factor authentication is on: signing in takes a code by e-mail."))
        return _to_profile()
    if form.is_bound and not proof.record_invalid_attempt():
        messages.error(request, _("Too many wrong codes. Have another one sent."))
        return redirect("mfa_index")
    shown = {"form": form, "email": user.email}
    return render(request, "mfa/email.html", shown, status=422 if form.is_bound else 200)


def _mail_proof(request: UserRequest) -> HttpResponse:
    if not codes.may_mail_code(request, request.user):
        messages.error(request, _("We have just mailed you several codes. Wait a minute, then try again."))
        return redirect("mfa_index")
    try:
        codes.MailboxProof.begin(request, request.user)
    except OSError:
        logger.exception("could not mail a code")
        messages.error(request, _("The code could not be mailed. Try again in a few minutes."))
        return redirect("mfa_index")
    return redirect("mfa_email")


@page("GET", "HEAD", "POST")
@reauthentication.required()
def totp(request: UserRequest) -> HttpResponse:
    """The authenticator app: it scans a secret, and a first code proves that the app has it."""
    user = request.user
    if factors.of(user).totp:
        return redirect("mfa_index")
    secret = _totp_secret(request)
    form = forms.TOTPForm(request.POST or None, user=user, secret=secret)
    if form.is_valid():
        made = factors.add_totp(owner=user, secret=secret, origin=origin_of(request))
        del request.session[TOTP_SECRET]
        return _added(
            request, made, _("The authenticator app is set up. From now on, signing in asks for a code of it.")
        )
    url = get_adapter().build_totp_url(user, secret)
    shown = {
        "form": form,
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "url": url,
        "qr": _qr(url),
    }
    return render(request, "mfa/totp.html", shown, status=422 if form.is_bound else 200)


def _totp_secret(request: UserRequest) -> str:
    """The secret offered in this session: the same in every window, until a code has confirmed it."""
    if TOTP_SECRET not in request.session:
        request.session[TOTP_SECRET] = encrypt(generate_totp_secret())
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
    """A passkey or security key: the browser makes it (static/js/webauthn.js) and sends what we store."""
    if not settings.PASSKEY_HOST:
        raise Http404
    user = request.user
    form = forms.PasskeyForm(request.POST or None, user=user, initial={"name": ""})  # type: ignore[call-arg]  # allauth's
    if form.is_valid():
        name, credential = form.cleaned_data["name"], form.cleaned_data["credential"]
        made = factors.add_passkey(owner=user, name=name, credential=credential, origin=origin_of(request))
        return _added(request, made, _("The passkey is set up: you can sign in with it."))
    with passkeys.made_for(passkeys.Purpose.ADD, user):
        options = begin_passkey(user, passwordless=False)
    # A discoverable passkey (it stores the account) can also sign in without a password.
    options["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred"
    shown = {"form": form, "options": options}
    return render(request, "mfa/passkey_add.html", shown, status=422 if form.is_bound else 200)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def passkey_rename(request: UserRequest, pk: int) -> HttpResponse:
    passkey = get_object_or_404(Authenticator, pk=pk, user=request.user, type=factors.Type.WEBAUTHN)
    form = forms.NameForm(request.POST or None, initial={"name": passkey.wrap().name})
    if form.is_valid():
        name = form.cleaned_data["name"]
        factors.rename_passkey(passkey=passkey, name=name, owner=request.user, origin=origin_of(request))
        messages.success(request, _("The passkey has its new name."))
        return redirect("mfa_index")
    return render(request, "mfa/passkey_rename.html", {"form": form}, status=422 if form.is_bound else 200)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def remove(request: UserRequest, method: str, pk: int | None = None) -> HttpResponse:
    """Remove a factor, after a confirmation."""
    user, origin = request.user, origin_of(request)
    held = factors.of(user)
    authenticator = held.totp if method == "totp" else next((it for it in held.passkeys if it.pk == pk), None)
    if not (user.email_codes if method == "email" else authenticator):
        return redirect("mfa_index")
    if request.method == "POST":
        try:
            if authenticator:
                factors.remove(authenticator=authenticator, owner=user, origin=origin)
            else:
                factors.remove_email_codes(owner=user, origin=origin)
        except factors.Required:
            messages.error(request, _("Your company requires a second factor. Add another one before you remove this."))
            return redirect("mfa_index")
        _say(request, _("It is removed, and no longer accepted when you sign in."))
        return _to_profile() if held.number == 1 else redirect("mfa_index")
    shown = {
        "method": method,
        "name": authenticator.wrap().name if method == "passkey" and authenticator else "",
        "is_last": held.number == 1,
        # The recovery codes are removed with the last authenticator.
        "ends_recovery_codes": bool(authenticator and held.recovery and held.number - held.email == 1),
    }
    return render(request, "mfa/remove.html", shown)


@page("GET", "HEAD", "POST")
@reauthentication.required()
def recovery_codes(request: UserRequest) -> HttpResponse:
    """New recovery codes in place of the old ones, after a confirmation."""
    held = factors.of(request.user)
    if not (held.totp or held.passkeys):
        return redirect("mfa_index")
    if request.method == "POST":
        version = request.POST.get("version")
        if made := factors.make_recovery_codes(owner=request.user, origin=origin_of(request), version=version):
            return _show(request, made, _("The old codes no longer work."))
        messages.warning(request, _("Recovery codes were made a moment ago, and are shown once. Nothing was done now."))
        return redirect("mfa_index")
    return render(request, "mfa/recovery_codes_make.html", {"factors": held})


def _added(request: UserRequest, made: list[str], said: str) -> HttpResponse:
    if made:
        return _show(request, made, said)
    _say(request, said)
    return redirect("mfa_index")


def _show(request: UserRequest, made: list[str], said: str) -> HttpResponse:
    """Show the recovery codes: this response is the only one that contains them."""
    shown = [f"{code[:4]} {code[4:]}" for code in made]
    return render(request, "mfa/recovery_codes.html", {"codes": shown, "said": _with_signed_out(said)})


def _say(request: UserRequest, said: str) -> None:
    messages.success(request, _with_signed_out(said))


def _with_signed_out(said: str) -> str:
    """The message, with the sentence that all other browsers are signed out."""
    return " ".join((said, _("All other browsers are signed out.")))


def _to_profile() -> HttpResponse:
    return HttpResponseRedirect(reverse("profile") + "#security")
