"""Wrong second factors: counted before they are checked, recorded, and after very many in a row the factor is stopped.

Each factor has a row of failures for each user. What limits them in time is `limits.attempts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from ...http.requests import origin_of
from ...limits import attempts, known_browsers
from ...models import AccountEvent, FactorFailures, User
from .. import activity

Action = AccountEvent.Action

# The names of the factors in events and counters, not translated.
EMAIL, TOTP_APP, PASSKEY, RECOVERY = "E-mail", "TOTP", "Passkey", "Recovery code"
# Counted separately, so that nobody else can use up its attempts: see `trying`.
RECOVERY_IN_KNOWN_BROWSER = "Recovery code, known browser"

# In a row, over any time; then that factor no longer signs the user in (NIST SP 800-63B-4 section 3.2.2).
FAILURES_AT_MOST = 100
# How many wrong codes are recorded in a minute, if there are very many.
RECORDED_A_MINUTE = 10


class Stopped(ValidationError):
    """The factor had too many failures in a row. The message is for people."""

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
    """Around the check of a second factor at sign-in: counted before the check, and recorded if it is wrong.

    Recovery codes are what remains when another factor is stopped. So people who only know the password cannot use up
    the attempts of browsers that have signed in before. Raises TooMany, Stopped and whatever the check raises.
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
    forget(user, counted)


@transaction.atomic
def _count_failure(user: User, factor: str) -> int:
    """Add one failure, and return how many there are in a row. Raises Stopped."""
    FactorFailures.objects.get_or_create(user=user, factor=factor)
    row = FactorFailures.objects.select_for_update().get(user=user, factor=factor)
    if row.failures >= FAILURES_AT_MOST:
        raise Stopped(factor)
    row.failures += 1
    row.save(update_fields=["failures"])
    return row.failures


def forget(user: User, *factors: str) -> None:
    """Delete the failures of these factors (one was right, or is new); of all factors if none is named."""
    rows = FactorFailures.objects.filter(user=user)
    (rows.filter(factor__in=factors) if factors else rows).update(failures=0)


def stopped(user: User) -> list[str]:
    """The factors that are stopped, with their names on pages."""
    names = {
        EMAIL: _("Codes by e-mail"),
        TOTP_APP: _("Authenticator app (TOTP)"),
        PASSKEY: _("Passkeys and security keys"),
        RECOVERY: _("Recovery codes"),
        RECOVERY_IN_KNOWN_BROWSER: _("Recovery codes"),
    }
    rows = FactorFailures.objects.filter(user=user, failures__gte=FAILURES_AT_MOST).order_by("pk")
    return list(dict.fromkeys(names[factor] for factor in rows.values_list("factor", flat=True)))


def _record_refused(request: HttpRequest, user: User, factor: str) -> None:
    """Note that the right password was followed by a wrong second factor (ASVS 16.3.1); not each of a great number.

    Whoever does that knows the password, so the owner is mailed: at once, then once an hour at most (ASVS 6.3.5).
    """
    if attempts.times(f"refused:{user.pk}", within=attempts.MINUTE) <= RECORDED_A_MINUTE:
        mail = attempts.times(f"refused-mailed:{user.pk}", within=attempts.HOUR) == 1
        origin = replace(origin_of(request), actor=None)
        activity.record(Action.SIGN_IN_FAILED, owner=user, origin=origin, detail=factor, mailed=mail)
