"""Limits on guessing passwords and codes: they stop whoever guesses, and not the owner (ASVS 6.3.1, 6.1.1).

A limit is a number of failed tries in a period. Which counters a try adds to depends on the browser:

- one that has signed in to this account before (`known_browsers`) has counters of its own, which nobody else can fill;
- any other adds to three: those of the account at this address, those of the address, and those of the account. One
  address alone can never fill the last one: it has fewer tries in the same time.

So a flood, from any number of addresses, does not affect the owner's known browsers. In a browser that is new to the
account, the owner waits like everybody else until the flood ends, or sets a new password by a mailed link, which makes
the browser known. No limit lasts longer than a day.

A try is counted before it is checked, and taken back if it was right: of any number at the same moment, no more than
the limit are checked. It is one statement, for all counters of the try, in the database, which all processes share.
Refused tries are not counted, and write nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from ..http.requests import UNKNOWN_ADDRESS, client_address
from ..models import Attempts, User
from . import known_browsers

MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` tries in `seconds`, counted from the first try."""

    amount: int
    seconds: int


# Passwords at sign-in.
KNOWN_BROWSER = (Limit(10, 5 * MINUTE), Limit(50, DAY))
ACCOUNT_AT_ADDRESS = (Limit(5, MINUTE), Limit(20, DAY))
ADDRESS = (Limit(10, MINUTE), Limit(100, HOUR))
ACCOUNT = (Limit(50, 15 * MINUTE), Limit(100, DAY))
# Passwords asked for once more, in a session.
SESSION_AT_ADDRESS = (Limit(10, MINUTE),)
SESSION = (Limit(30, 15 * MINUTE), Limit(100, DAY))
# Secret keys entered under "Check a secret key".
SECRET_CHECKS = (Limit(10, MINUTE), Limit(100, DAY))
# Codes and passkeys after the right password, for each kind of factor.
FACTOR_IN_BROWSER = (Limit(5, 5 * MINUTE),)
FACTOR_AT_ADDRESS = (Limit(5, 5 * MINUTE), Limit(10, DAY))
FACTOR = (Limit(30, DAY),)
# Codes sent by e-mail.
MAILS_IN_BROWSER = MAILS_AT_ADDRESS = (Limit(3, MINUTE),)
MAILS = (Limit(20, HOUR),)


class TooMany(ValidationError):
    """Too many tries. The message is for people; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        if seconds <= MINUTE:
            text = _("Too many attempts. Wait a minute, then try again.")
        elif seconds <= HOUR:
            text = _("Too many attempts. Wait a few minutes, then try again.")
        else:
            text = _("Too many attempts. Wait until tomorrow, then try again.")
        super().__init__(text, code="rate_limited")


def refusal_in(form: Form) -> TooMany | None:
    """Why the form is refused, if that is because of too many attempts."""
    errors = [error for of_field in form.errors.as_data().values() for error in of_field]
    return next((error for error in errors if isinstance(error, TooMany)), None)


def answered(response: HttpResponse, refusal: TooMany | None) -> HttpResponse:
    """The page with the form, with status 429 and Retry-After if there were too many attempts."""
    if refusal:
        response.status_code = 429
        response.headers["Retry-After"] = str(refusal.seconds)
    return response


@dataclass(frozen=True, slots=True)
class _Counted:
    """A counter: which one, and how often it may be counted up."""

    name: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was let through: it counts, unless it was right."""

    counters: Sequence[tuple[str, datetime]] = ()
    own: bool = False

    def was_right(self) -> None:
        """Take this try back; and all earlier ones, if the counters belong to this browser alone."""
        if self.counters:
            _write(_FORGET if self.own else _TAKE_BACK, 0, self.counters)


# --- What is limited ------------------------------------------------------------------------------------------


def sign_in(request: HttpRequest, *, account: str, owner: User | None) -> Attempt:
    """Count a password for this account, which may not exist. Raises TooMany."""
    if browser := known_browsers.id_of(request, owner):
        try:
            return _begin(_counted(f"sign-in:browser:{browser}", KNOWN_BROWSER), own=True)
        except TooMany:
            # Perhaps somebody used a copy of its cookie. Then it is treated like any other browser.
            pass
    network = network_of(request)
    return _begin(
        [
            *_counted(f"sign-in:account-at-address:{account}:{network}", ACCOUNT_AT_ADDRESS),
            *_counted(f"sign-in:address:{network}", ADDRESS),
            *_counted(f"sign-in:account:{account}", ACCOUNT),
        ]
    )


def reauthentication(request: HttpRequest) -> Attempt:
    """Count a password asked for once more. Raises TooMany.

    By session: a person with a stolen session can block neither signing in nor another session. A right password
    gives the session a new id, and so new counters.
    """
    session = request.session.session_key
    return _begin(
        [
            *_counted(f"password:session-at-address:{session}:{network_of(request)}", SESSION_AT_ADDRESS),
            *_counted(f"password:session:{session}", SESSION),
        ]
    )


def secret_check(request: HttpRequest) -> Attempt:
    """Count a secret key that a signed-in user wants to be told about, right or not. Raises TooMany.

    By session, as for passwords that are asked for again.
    """
    return _begin(_counted(f"secret-check:{request.session.session_key}", SECRET_CHECKS))


def setting_up(request: HttpRequest) -> Attempt:
    """Count a code that proves a new second factor, before the factor is added. Raises TooMany."""
    return _begin(_counted(f"setting-up:{request.session.session_key}", FACTOR_IN_BROWSER), own=True)


def second_step(request: HttpRequest, *, user: User, factor: str) -> Attempt:
    """Count a second factor of this kind. Raises TooMany."""
    if browser := known_browsers.id_of(request, user):
        return _begin(_counted(f"factor:{factor}:browser:{browser}", FACTOR_IN_BROWSER), own=True)
    return _begin(
        [
            *_counted(f"factor:{factor}:account-at-address:{user.pk}:{network_of(request)}", FACTOR_AT_ADDRESS),
            *_counted(f"factor:{factor}:account:{user.pk}", FACTOR),
        ]
    )


def mailed_code(request: HttpRequest, *, user: User) -> Attempt:
    """Count a code by e-mail. Raises TooMany."""
    if browser := known_browsers.id_of(request, user):
        return _begin(_counted(f"mail:browser:{browser}", MAILS_IN_BROWSER), own=True)
    return _begin(
        [
            *_counted(f"mail:account-at-address:{user.pk}:{network_of(request)}", MAILS_AT_ADDRESS),
            *_counted(f"mail:account:{user.pk}", MAILS),
        ]
    )


def times(what: str, *, within: int) -> int:
    """How often `what` has happened in so many seconds, this time included."""
    ((_same, number, _ends),) = _write(_COUNT, 1, [(_name(what), _after(within))])
    return number


def ended() -> QuerySet[Attempts]:
    """The counters that have expired."""
    return Attempts.objects.filter(ends__lte=timezone.now())


def network_of(request: HttpRequest) -> str:
    """The network that counts as one client: the IPv4 address, or the IPv6 /64, which one subscriber has."""
    address = ipaddress.ip_address(client_address(request) or UNKNOWN_ADDRESS)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)


# --- Counting -------------------------------------------------------------------------------------------------


def _counted(what: str, limits: Iterable[Limit]) -> list[_Counted]:
    return [_Counted(_name(f"{what}:{limit.seconds}"), limit) for limit in limits]


def _name(what: str) -> str:
    return salted_hmac("profiles.account.attempts", what, algorithm="sha256").hexdigest()


def _after(seconds: int) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)


def _begin(counted: Sequence[_Counted], *, own: bool = False) -> Attempt:
    if not settings.RATE_LIMITS:
        return Attempt()
    # Read first: tries that are refused anyway need no write.
    names = [it.name for it in counted]
    live = Attempts.objects.filter(name__in=names, ends__gt=timezone.now()).values_list("name", "tried", "ends")
    full = [ends for name, tried, ends in live for it in counted if it.name == name and tried >= it.limit.amount]
    if full:
        raise _too_many(full)
    tried = _write(_COUNT, 1, [(it.name, _after(it.limit.seconds)) for it in counted])
    attempt = Attempt([(name, ends) for name, _tried, ends in tried], own)
    if over := _is_over(tried, counted):
        _write(_TAKE_BACK, 0, attempt.counters)
        raise _too_many(over)
    return attempt


def _is_over(tried: Iterable[tuple[str, int, datetime]], counted: Iterable[_Counted]) -> list[datetime]:
    """The ends of the counters whose limit this try exceeded."""
    limits = {it.name: it.limit.amount for it in counted}
    return [ends for name, number, ends in tried if number > limits[name]]


def _too_many(ends: Iterable[datetime]) -> TooMany:
    return TooMany(max(1, ceil((max(ends) - timezone.now()).total_seconds())))


# One statement, so that nothing happens between reading a count and writing it; the ORM has no such statement. Rows are
# always locked in the order of their names, so that there is no deadlock.
_INSERT = "INSERT INTO profiles_attempts (name, tried, ends) VALUES {rows} ON CONFLICT (name) DO UPDATE SET "
_RETURNING = " RETURNING name, tried, ends"
_COUNT = (
    _INSERT + "tried = CASE WHEN profiles_attempts.ends > {now} THEN profiles_attempts.tried + 1 ELSE 1 END, "
    "ends = CASE WHEN profiles_attempts.ends > {now} THEN profiles_attempts.ends ELSE excluded.ends END" + _RETURNING
)
# Only in the same period: a new one may have begun since.
_TAKE_BACK = (
    _INSERT + "tried = CASE WHEN profiles_attempts.ends = excluded.ends AND profiles_attempts.tried > 0 "
    "THEN profiles_attempts.tried - 1 ELSE profiles_attempts.tried END" + _RETURNING
)
_FORGET = _INSERT + "tried = 0" + _RETURNING


def _write(statement: str, first: int, counters: Iterable[tuple[str, datetime]]) -> list[tuple[str, int, datetime]]:
    """Run one of the statements; `first` is the count of a counter that is not there yet."""
    rows, values = [], []
    for name, ends in sorted(counters):
        rows.append("(%s, %s, %s)")
        values += [name, first, _value(ends)]
    now = [_value(timezone.now())] * statement.count("{now}")
    sql = statement.format(rows=", ".join(rows), now="%s")
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *now])
        return [(name, tried, _moment(ends)) for name, tried, ends in cursor.fetchall()]


def _value(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _moment(value: Any) -> datetime:
    """A time from the database's driver: SQLite returns text or a naive datetime, always in UTC."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
