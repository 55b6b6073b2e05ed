"""Whether the person at the browser proved their password a short time ago, and proving it again.

The records are django-allauth's: it writes one at sign-in, and whatever asks for a password here adds to them, so
one proof counts for the whole site.
"""

from __future__ import annotations

import time

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password, suspend_request
from allauth.core import ratelimit
from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse

from .http import UserRequest


def is_due(request: UserRequest) -> bool:
    """Whether a change of the key needs the password first (ASVS 7.5.3)."""
    newest = max((record["at"] for record in get_authentication_records(request, request.user)), default=0)
    return time.time() - newest >= settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def ask_first(request: UserRequest) -> HttpResponse:
    """To the page that asks for the proof, and from there back to what was asked for, a form that was sent included."""
    return suspend_request(request, reverse("account_reauthenticate"))


def may_try(request: UserRequest) -> bool:
    """Count one attempt at the password; False when there have been too many (ASVS 6.3.1).

    Apart from the limit on signing in, so that attempts here never keep the owner from doing that.
    """
    return ratelimit.consume(request, action="reauthenticate")


def accept(request: UserRequest) -> None:
    """Note that the password was proven just now, and begin a new session id with it (ASVS 7.2.4)."""
    reauthenticate_by_password(request)
    request.session.cycle_key()
