"""Second factors: which a user has, how they come and go, and what is asked for at sign-in.

Codes by e-mail are a flag of the user; the authenticator app, passkeys and recovery codes are rows of allauth.mfa.
Every change takes the user's row first, so that two at a time count the factors right, ends all sessions of the user
but the one that made it, and leaves an event, which the owner is mailed. API tokens never come by here: a key is a
factor of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.code_verification import AbstractCodeVerificationProcess
from allauth.account.models import Login
from allauth.account.stages import LoginByCodeStage
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.webauthn.internal.auth import WebAuthn
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from ...http.requests import origin_of
from ...limits import attempts, known_browsers
from ...mail import notices
from ...models import AccountEvent, FactorFailures, User
from ...origin import Origin
from ...pages import reauthentication
from .. import activity, sessions

logger = logging.getLogger(__name__)

Type = Authenticator.Type
Action = AccountEvent.Action

# What events call them, in no language.
EMAIL, TOTP_APP, PASSKEY, RECOVERY = "E-mail", "TOTP", "Passkey", "Recovery code"
# Counted by itself, so that nobody else can use it up: see `trying`.
RECOVERY_IN_KNOWN_BROWSER = "Recovery code, known browser"

# In a row, over any time; then that factor signs nobody in (NIST SP 800-63B-4 section 3.2.2).
FAILURES_AT_MOST = 100
# Of a flood of wrong codes, how many are recorded in a minute.
RECORDED_A_MINUTE = 10

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
        forget_failures(user, EMAIL)
        activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=EMAIL)
        sessions.end_all(user, but=origin.session)


@transaction.atomic
def add_totp(*, owner: User, secret: str, origin: Origin) -> list[str]:
    """Take an authenticator app into use. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    if factors_of(user).totp:
        return []
    TOTP.activate(user, secret)
    forget_failures(user, TOTP_APP)
    activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=TOTP_APP)
    sessions.end_all(user, but=origin.session)
    return _first_recovery_codes(user, origin)


@transaction.atomic
def add_passkey(*, owner: User, name: str, credential: dict[str, Any], origin: Origin) -> list[str]:
    """Take a passkey or security key into use. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    WebAuthn.add(user, name, credential)
    forget_failures(user, PASSKEY)
    activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=_passkey(name))
    sessions.end_all(user, but=origin.session)
    return _first_recovery_codes(user, origin)


@transaction.atomic
def remove_email_codes(*, owner: User, origin: Origin) -> None:
    """Raises Required."""
    user = _locked(owner)
    if user.email_codes:
        _spare_last(user)
        _set_email_codes(user, on=False)
        activity.record(Action.MFA_REMOVED, owner=user, origin=origin, detail=EMAIL)
        sessions.end_all(user, but=origin.session)


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
    sessions.end_all(user, but=origin.session)


@transaction.atomic
def rename_passkey(*, passkey: Authenticator, name: str, owner: User, origin: Origin) -> None:
    user = _locked(owner)
    before = passkey.wrap().name
    if name != before:
        passkey.data["name"] = name
        passkey.save(update_fields=["data"])
        activity.record(Action.PASSKEY_RENAMED, owner=user, origin=origin, detail=f"{before} → {name}")


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
    sessions.end_all(user, but=origin.session)
    return _new_recovery_codes(user, origin)


@transaction.atomic
def reset(*, owner: User, origin: Origin) -> bool:
    """Remove all that an owner has, as staff: they have lost it. Whether there was any."""
    user = _locked(owner)
    deleted, _rows = Authenticator.objects.filter(user=user).delete()
    if not deleted and not user.email_codes:
        return False
    _set_email_codes(user, on=False)
    forget_failures(user)
    activity.record(Action.MFA_RESET, owner=user, origin=origin)
    sessions.end_all(user, but=None)
    return True


def record_recovery_code_used(request: HttpRequest, user: User) -> None:
    activity.record(Action.RECOVERY_CODE_USED, owner=user, origin=replace(origin_of(request), actor=user))


def _record_refused(request: HttpRequest, user: User, factor: str) -> None:
    """Note that the right password was followed by a wrong second factor (ASVS 16.3.1); not each one of a flood.

    Whoever does that knows the password, so its owner is mailed: at once, then once an hour at most (ASVS 6.3.5).
    """
    if attempts.times(f"refused:{user.pk}", within=attempts.MINUTE) <= RECORDED_A_MINUTE:
        mail = attempts.times(f"refused-mailed:{user.pk}", within=attempts.HOUR) == 1
        origin = replace(origin_of(request), actor=None)
        activity.record(Action.SIGN_IN_FAILED, owner=user, origin=origin, detail=factor, mailed=mail)


def _locked(owner: User) -> User:
    return User.objects.select_for_update(of=("self",), no_key=True).select_related("company").get(pk=owner.pk)


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
    forget_failures(user, RECOVERY, RECOVERY_IN_KNOWN_BROWSER)
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
    try:
        attempts.mailed_code(request, user=user)
    except attempts.TooMany:
        return False
    return True


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


class Stopped(ValidationError):
    """The factor was tried in vain too often in a row. Says so to a person."""

    def __init__(self, factor: str) -> None:
        if factor.startswith(RECOVERY):
            text = _(
                "Too many wrong recovery codes: they are no longer accepted here. Use a browser in which you have "
                "signed in before, or set a new password in this one. Else ask an administrator of your company to "
                "reset your multi-factor authentication."
            )
        else:
            text = _(
                "Too many wrong attempts in a row: this is no longer accepted. Use a recovery code, or ask an "
                "administrator of your company to reset your multi-factor authentication."
            )
        super().__init__(text, code="stopped")


@contextmanager
def trying(request: HttpRequest, user: User, factor: str) -> Iterator[None]:
    """A second factor is shown at sign-in, and judged within: counted before that, and recorded if it is wrong.

    Recovery codes are the way out when another factor is stopped. So those who only know the password cannot use up the
    attempts of the browsers that have signed in before. Raises TooMany, Stopped and whatever the judge raises.
    """
    counted = factor
    if factor == RECOVERY and known_browsers.id_of(request, user):
        counted = RECOVERY_IN_KNOWN_BROWSER
    try:
        attempt = attempts.second_step(request, user=user, factor=factor)
        failures = _count_failure(user, counted)
    except ValidationError:
        _record_refused(request, user, factor)
        raise
    try:
        yield
    except ValidationError:
        _record_refused(request, user, factor)
        if failures == FAILURES_AT_MOST:
            origin = replace(origin_of(request), actor=None)
            activity.record(Action.MFA_STOPPED, owner=user, origin=origin, detail=factor)
        raise
    attempt.was_right()
    forget_failures(user, counted)


@transaction.atomic
def _count_failure(user: User, factor: str) -> int:
    """How many there are in a row, if this is one more. Raises Stopped."""
    FactorFailures.objects.get_or_create(user=user, factor=factor)
    row = FactorFailures.objects.select_for_update().get(user=user, factor=factor)
    if row.failures >= FAILURES_AT_MOST:
        raise Stopped(factor)
    row.failures += 1
    row.save(update_fields=["failures"])
    return row.failures


def forget_failures(user: User, *factors: str) -> None:
    """One of these factors was right, or is new; without any, all are gone."""
    rows = FactorFailures.objects.filter(user=user)
    (rows.filter(factor__in=factors) if factors else rows).update(failures=0)


def stopped(user: User) -> list[str]:
    """The factors that sign nobody in any more, as pages call them."""
    names = {
        EMAIL: _("Codes by e-mail"),
        TOTP_APP: _("Authenticator app (TOTP)"),
        PASSKEY: _("Passkeys and security keys"),
        RECOVERY: _("Recovery codes"),
        RECOVERY_IN_KNOWN_BROWSER: _("Recovery codes"),
    }
    rows = FactorFailures.objects.filter(user=user, failures__gte=FAILURES_AT_MOST).order_by("pk")
    return list(dict.fromkeys(names[factor] for factor in rows.values_list("factor", flat=True)))


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
