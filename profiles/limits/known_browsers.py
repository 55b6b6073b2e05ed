"""Browsers that have signed in to an account before, told apart from others by a cookie ("device cookie").

The cookie authenticates nobody: it only selects the counters of wrong passwords and codes for this browser
(`attempts`). It is valid for one account, for `AGE` from the last sign-in, until the password changes, and reveals
nothing, not even whose it is: its signature is made with data that only the account has. Whoever steals it gets some
guesses of their own. A browser keeps the cookies of a few accounts, for people who share it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from ..models import User

AGE = 180 * 24 * 60 * 60  # seconds
ACCOUNTS = 5
SEPARATOR = "~"  # in no part of a signature


def id_of(request: HttpRequest, user: User | None) -> str | None:
    """The id that this browser got when it signed in to the account of `user`; None if it is new there."""
    # For an account that does not exist the same work is done: the time must not reveal that.
    found = [browser for _cookie, browser in _valid(request, user)]
    return found[0] if found else None


def remember(request: HttpRequest, response: HttpResponseBase, user: User) -> None:
    """Make this browser one that is known to the account of `user`."""
    known = dict(_valid(request, user))
    others = [cookie for cookie in _cookies(request) if cookie not in known]
    new = _signer(user).sign(secrets.token_urlsafe(16))
    response.set_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        SEPARATOR.join([new, *others][:ACCOUNTS]),
        max_age=AGE,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Strict",
    )


def _cookies(request: HttpRequest) -> list[str]:
    found = request.COOKIES.get(settings.KNOWN_BROWSER_COOKIE_NAME, "").split(SEPARATOR)
    return [cookie for cookie in found if cookie][:ACCOUNTS]


def _valid(request: HttpRequest, user: User | None) -> Iterator[tuple[str, str]]:
    signer = _signer(user)
    for cookie in _cookies(request):
        try:
            browser = signer.unsign(cookie, max_age=AGE)
        except signing.BadSignature:
            continue
        if user is not None:
            yield cookie, browser


def _signer(user: User | None) -> signing.TimestampSigner:
    state = f"{user.uid}:{user.password}" if user else ""
    return signing.TimestampSigner(salt=f"profiles.account.known_browsers:{state}")
