"""Second factors: which a user has, and how they are added and removed.

Codes by e-mail are a flag of the user; the authenticator app, passkeys and recovery codes are rows of allauth.mfa.
Every change locks the user's row first, so that two changes at the same time count the factors correctly, ends all
sessions of the user except the one that made it, and records an event, which is mailed to the owner. API tokens do not
use these: a key is a factor of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest

from ...http.requests import origin_of
from ...mail import notice_texts
from ...models import AccountEvent, User
from ...origin import Origin
from .. import activity, sessions
from ..allauth_internals import TOTP, RecoveryCodes, WebAuthn
from . import failures
from .failures import EMAIL, PASSKEY, RECOVERY, RECOVERY_IN_KNOWN_BROWSER, TOTP_APP

Type = Authenticator.Type
Action = AccountEvent.Action


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


def of(user: User) -> Factors:
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
        failures.forget(user, EMAIL)
        activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=EMAIL)
        sessions.end_all(user, but=origin.session)


@transaction.atomic
def add_totp(*, owner: User, secret: str, origin: Origin) -> list[str]:
    """Add an authenticator app. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    if of(user).totp:
        return []
    TOTP.activate(user, secret)
    failures.forget(user, TOTP_APP)
    activity.record(Action.MFA_ADDED, owner=user, origin=origin, detail=TOTP_APP)
    sessions.end_all(user, but=origin.session)
    return _first_recovery_codes(user, origin)


@transaction.atomic
def add_passkey(*, owner: User, name: str, credential: dict[str, Any], origin: Origin) -> list[str]:
    """Add a passkey or security key. Returns the recovery codes that were made with it, if any were."""
    user = _locked(owner)
    WebAuthn.add(user, name, credential)
    failures.forget(user, PASSKEY)
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
    left = of(user)
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
    """New recovery codes in place of those of `version`; none if that is not the current version.

    So a form that is sent again does not replace the codes that were just shown.
    """
    user = _locked(owner)
    now = of(user)
    if version not in (None, now.recovery_version) or not (now.totp or now.passkeys):
        return []
    if now.recovery:
        now.recovery.delete()
    sessions.end_all(user, but=origin.session)
    return _new_recovery_codes(user, origin)


@transaction.atomic
def reset(*, owner: User, origin: Origin) -> bool:
    """Remove all second factors of an owner who has lost them, as staff. Returns whether there were any."""
    user = _locked(owner)
    deleted, _rows = Authenticator.objects.filter(user=user).delete()
    if not deleted and not user.email_codes:
        return False
    _set_email_codes(user, on=False)
    failures.forget(user)
    activity.record(Action.MFA_RESET, owner=user, origin=origin)
    sessions.end_all(user, but=None)
    return True


def record_recovery_code_used(request: HttpRequest, user: User) -> None:
    activity.record(Action.RECOVERY_CODE_USED, owner=user, origin=replace(origin_of(request), actor=user))


def _locked(owner: User) -> User:
    return User.objects.select_for_update(of=("self",), no_key=True).select_related("company").get(pk=owner.pk)


def _set_email_codes(user: User, *, on: bool) -> None:
    user.email_codes = on
    user.save(update_fields=["email_codes"])


def _spare_last(user: User) -> None:
    if user.needs_second_factor and of(user).number == 1:
        raise Required


def _first_recovery_codes(user: User, origin: Origin) -> list[str]:
    return [] if of(user).recovery else _new_recovery_codes(user, origin)


def _new_recovery_codes(user: User, origin: Origin) -> list[str]:
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    failures.forget(user, RECOVERY, RECOVERY_IN_KNOWN_BROWSER)
    activity.record(Action.RECOVERY_CODES_MADE, owner=user, origin=origin)
    return codes


def _passkey(name: str) -> str:
    # Somebody with a stolen session can choose the name, and it is in a mail to the owner.
    return f"{PASSKEY} · {notice_texts.without_links(name)}"
