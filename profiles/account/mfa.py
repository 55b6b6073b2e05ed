"""Second factors: which a user has, how they come and go, and what is asked for at sign-in.

Codes by e-mail are a flag of the user; the authenticator app, passkeys and recovery codes are rows of allauth.mfa.
Every change takes the user's row first, so that two at a time count the factors right, and leaves an event, which the
owner is mailed. API tokens never come by here: a key is a factor of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.code_verification import AbstractCodeVerificationProcess
from allauth.account.models import Login
from allauth.account.stages import LoginByCodeStage
from allauth.core import ratelimit
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.webauthn.internal.auth import WebAuthn
from django.contrib import messages
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from .. import notices, reauthentication
from ..http import Origin, origin_of
from ..models import AccountEvent, User
from . import activity

logger = logging.getLogger(__name__)

Type = Authenticator.Type
Action = AccountEvent.Action

# What events call them, in no language.
EMAIL, TOTP_APP, PASSKEY = "E-mail", "TOTP", "Passkey"

# Pages for somebody who has yet to set up the second factor that their company requires.
SET_UP_PAGES = {
    "mfa_index",
    "mfa_email",
    "mfa_totp",
    "mfa_passkey_add",
    "account_reauthenticate",
    "account_logout",
}


class Required(Exception):
    """The company requires a second factor, and this is the only one."""


@dataclass
class Factors:
    """What a user has."""

    email: bool
    totp: Authenticator | None = None
    passkeys: list[Authenticator] = field(default_factory=list)
    recovery: Authenticator | None = None

    @property
    def number(self) -> int:
        return self.email + bool(self.totp) + len(self.passkeys)

    @property
    def recovery_version(self) -> str:
        return str(self.recovery.pk) if self.recovery else ""

    @property
    def recovery_codes_left(self) -> int:
        return len(self.recovery.wrap().get_unused_codes()) if self.recovery else 0


def factors_of(user: User) -> Factors:
    found = Factors(email=user.email_codes)
    for authenticator in Authenticator.objects.filter(user=user).order_by("pk"):
        if authenticator.type == Type.TOTP:
            found.totp = authenticator
        elif authenticator.type == Type.WEBAUTHN:
            found.passkeys.append(authenticator)
        else:
            found.recovery = authenticator
    return found


# --- Changes -------------------------------------------------------------------------------------------------


@transaction.atomic
def add_email_codes(*, owner: User, origin: Origin) -> None:
    user = _locked(owner)
    if not user.email_codes:
        _set_email_codes(user, on=True)
        activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=EMAIL)


@transaction.atomic
def add_totp(*, owner: User, secret: str, origin: Origin) -> list[str]:
    """Take an authenticator app into use. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    if factors_of(user).totp:
        return []
    TOTP.activate(user, secret)
    activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=TOTP_APP)
    return _first_recovery_codes(user, origin)


@transaction.atomic
def add_passkey(*, owner: User, name: str, credential: dict[str, Any], origin: Origin) -> list[str]:
    """Take a passkey or security key into use. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    WebAuthn.add(user, name, credential)
    activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=_passkey(name))
    return _first_recovery_codes(user, origin)


@transaction.atomic
def remove_email_codes(*, owner: User, origin: Origin) -> None:
    """Raises Required."""
    user = _locked(owner)
    if user.email_codes:
        _spare_last(user)
        _set_email_codes(user, on=False)
        activity.record(Action.MFA_REMOVED, owner=user, origin=origin, detail=EMAIL)


@transaction.atomic
def remove(*, authenticator: Authenticator, owner: User, origin: Origin) -> None:
    """Remove an authenticator app or a passkey, and with the last of them the recovery codes. Raises Required."""
    user = _locked(owner)
    _spare_last(user)
    detail = TOTP_APP if authenticator.type == Type.TOTP else _passkey(authenticator.wrap().name)
    deleted, _rows = Authenticator.objects.filter(pk=authenticator.pk, user=user).delete()
    if not deleted:
        return
    left = factors_of(user)
    if left.recovery and not left.totp and not left.passkeys:
        left.recovery.delete()
    activity.record(Action.MFA_REMOVED, owner=user, origin=origin, detail=detail)


@transaction.atomic
def make_recovery_codes(*, owner: User, origin: Origin, version: str | None = None) -> list[str]:
    """New recovery codes in place of those of `version`; none if these are not what there is now.

    So a form that is sent again makes no others while the first are being written down.
    """
    user = _locked(owner)
    now = factors_of(user)
    if version not in (None, now.recovery_version) or not (now.totp or now.passkeys):
        return []
    if now.recovery:
        now.recovery.delete()
    return _new_recovery_codes(user, origin)


@transaction.atomic
def reset(*, owner: User, origin: Origin) -> bool:
    """Remove all that an owner has, as staff: they have lost it. Whether there was any."""
    user = _locked(owner)
    deleted, _rows = Authenticator.objects.filter(user=user).delete()
    if not deleted and not user.email_codes:
        return False
    _set_email_codes(user, on=False)
    activity.record(Action.MFA_RESET, owner=user, origin=origin)
    return True


def record_recovery_code_used(request: HttpRequest, user: User) -> None:
    activity.record(Action.RECOVERY_CODE_USED, owner=user, origin=replace(origin_of(request), actor=user))


def record_refused_code(request: HttpRequest, user: User, detail: str) -> None:
    """Note that the right password was followed by a wrong code (ASVS 16.3.1); not each one of a flood."""
    if ratelimit.consume(request, action="refused_code", key=str(user.pk)):
        origin = replace(origin_of(request), actor=None)
        activity.record(Action.SIGN_IN_FAILED, owner=user, origin=origin, detail=detail)


def _locked(owner: User) -> User:
    return User.objects.select_for_update(of=("self",)).select_related("company").get(pk=owner.pk)


def _set_email_codes(user: User, *, on: bool) -> None:
    user.email_codes = on
    user.save(update_fields=["email_codes"])


def _spare_last(user: User) -> None:
    if user.needs_second_factor and factors_of(user).number == 1:
        raise Required


def _first_recovery_codes(user: User, origin: Origin) -> list[str]:
    return [] if factors_of(user).recovery else _new_recovery_codes(user, origin)


def _new_recovery_codes(user: User, origin: Origin) -> list[str]:
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    activity.record(Action.RECOVERY_CODES_MADE, owner=user, origin=origin)
    return codes


def _passkey(name: str) -> str:
    # Whoever sits in a stolen session chooses the name, and the owner is mailed it.
    return f"{PASSKEY} · {notices.without_links(name)}"


# --- Codes ---------------------------------------------------------------------------------------------------


def spend(user: User, code: str) -> bool:
    """Whether this code of the authenticator app is used for the first time; from now on it has been (ASVS 6.5.1).

    allauth remembers a code for one of the three periods in which ours are accepted.
    """
    digits = "".join(filter(str.isdigit, code))
    return cache.add(f"totp:{user.pk}:{digits}", 1, timeout=120)


def may_mail_code(request: HttpRequest, user: User) -> bool:
    """Count one code by e-mail; False when there have been too many."""
    return bool(ratelimit.consume(request, action="request_login_code", key=f"second-factor:{user.pk}"))


class MailboxProof(AbstractCodeVerificationProcess):
    """A code on its way to the owner's address: turning codes by e-mail on takes proof that they arrive."""

    SESSION_KEY = reauthentication.MAILBOX_PROOF

    def __init__(self, request: HttpRequest, user: User, state: dict[str, Any]) -> None:
        self.request = request
        super().__init__(
            max_attempts=app_settings.LOGIN_BY_CODE_MAX_ATTEMPTS,
            timeout=app_settings.LOGIN_BY_CODE_TIMEOUT,
            state=state,
            user=user,
        )

    @classmethod
    def begin(cls, request: HttpRequest, user: User) -> None:
        """Mail a code. Raises OSError when the mail server does not take it."""
        proof = cls(request, user, cls.initial_state(user=user, email=user.email))
        proof.send()
        proof.persist()

    @classmethod
    def under_way(cls, request: HttpRequest, user: User) -> MailboxProof | None:
        state = request.session.get(cls.SESSION_KEY)
        if not state or state["email"] != user.email:
            return None
        proof: MailboxProof | None = cls(request, user, state).abort_if_invalid()
        return proof

    def send(self) -> None:
        adapter = get_adapter()
        self.state["code"] = adapter.generate_login_code()
        adapter.send_mail("account/email/email_codes", self.state["email"], {"code": self.state["code"]})

    def persist(self) -> None:
        self.request.session[self.SESSION_KEY] = self.state

    def abort(self) -> None:
        self.request.session.pop(self.SESSION_KEY, None)


# --- Signing in ----------------------------------------------------------------------------------------------

# In what is remembered of a sign-in: the authenticator is not at hand, and a code by e-mail is asked for instead.
BY_EMAIL = "by_email"


def is_code_mailed(login: Login) -> bool:
    """Whether this sign-in takes a code by e-mail: there is nothing stronger, or it is not at hand."""
    user: User = login.user
    return bool(login.state.get(BY_EMAIL)) or (user.email_codes and not user.has_authenticator)


class EmailCodeStage(LoginByCodeStage):
    """Asks for a code by e-mail, after the right password."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if not is_code_mailed(self.login):
            return None, True
        # To the address on file, not to the one that was typed: allauth knows former ones, too.
        self.login.email = self.login.user.email
        if not may_mail_code(self.request, self.login.user):
            messages.error(self.request, _("We have just mailed you several codes. Wait a minute, then sign in again."))
            return redirect("account_login"), False
        try:
            answer: tuple[HttpResponse | None, bool] = super().handle()
        except OSError:
            logger.exception("could not mail a code")
            messages.error(self.request, _("The code could not be mailed. Try again in a few minutes."))
            return redirect("account_login"), False
        return answer


# --- Required by the company ---------------------------------------------------------------------------------


def required_first(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Lead who has yet to set up a second factor that their company requires to the page for that, from any other."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_view(request: HttpRequest, *_view: Any) -> HttpResponse | None:
        user = request.user
        if not user.is_authenticated or not user.needs_second_factor or user.has_second_factor:
            return None
        match = request.resolver_match
        if match and match.view_name in SET_UP_PAGES:
            return None
        if getattr(request, "htmx", False):
            return HttpResponseClientRedirect(reverse("mfa_index"))
        return redirect("mfa_index")

    middleware.process_view = process_view  # type: ignore[attr-defined]  # where Django looks for it
    return middleware
