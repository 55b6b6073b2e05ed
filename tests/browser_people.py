"""People for the browser tests, made in the database of the site they visit: `manage.py shell` runs `make`."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from profiles.account.allauth_internals import reauthenticate_by_password
from profiles.clients import lifecycle
from profiles.management.commands.demodata import COMPANY
from profiles.models import AccessProfile, Company, KeyEvent, OAuthApplication, UsedFrom, UsedOn, User
from profiles.origin import Origin

from .server import DEMO_PASSWORD

LONG_AGO = 24 * 3600  # seconds; longer than a password counts as just given


@transaction.atomic
def make(count: int, profile: str = "Operator", company_name: str = COMPANY) -> None:
    """Print `count` new users: their address, and a session that has just begun and one that began long ago."""
    password = make_password(DEMO_PASSWORD)  # once: it is slow on purpose
    company, _made = Company.objects.get_or_create(name=company_name)
    access_profile = AccessProfile.objects.get(name=profile)
    people = []
    for _ in range(count):
        email = f"{uuid.uuid4().hex[:12]}@demo.example"
        user = User.objects.create(
            email=email,
            name="Petra Person",
            password=password,
            company=company,
            access_profile=access_profile,
        )
        people.append({"email": email, "fresh": _session(user, 0), "stale": _session(user, LONG_AGO)})
    print(json.dumps(people))  # noqa: T201 - this is its answer


def stale(email: str) -> None:
    """Print the key of a session that began long ago, for somebody whose other sessions were ended."""
    print(_session(User.objects.get(email=email), LONG_AGO))  # noqa: T201 - this is its answer


def revoke(email: str, reason: str) -> None:
    """Take somebody's key away as an administrator does."""
    admin = User.objects.get(email="admin@demo.example")
    owner = User.objects.get(email=email)
    lifecycle.revoke(owner=owner, origin=Origin(actor=admin, via=KeyEvent.Via.ADMIN), reason=reason)


def used(email: str) -> None:
    """As if somebody's key had been used for a month, from several addresses, with a token for each call."""
    key, now = OAuthApplication.objects.get(user__email=email), timezone.now()
    addresses = ["203.0.113.7", *(f"2001:db8:ffff:ffff:ffff:ffff:ffff:{number:x}" for number in range(0xFFF0, 0xFFF4))]
    for number, address in enumerate(addresses):
        moment = now - timedelta(days=number)
        UsedFrom.objects.create(application=key, address=address, user_agent="a" * 200, last_used=moment)
    for number in range(30):
        day = (now - timedelta(days=number)).date()
        UsedOn.objects.create(application=key, day=day, tokens=100 * number, calls=100 * number)


def leave(email: str) -> None:
    """Let somebody leave: their account is not active any more."""
    User.objects.filter(email=email).update(is_active=False)


def _session(user: User, age: int) -> str | None:
    """A session as signing in begins one, `age` seconds ago."""
    request = HttpRequest()
    request.user = user
    request.session = SessionStore()
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    reauthenticate_by_password(request)
    request.session[AUTHENTICATION_METHODS_SESSION_KEY][0]["at"] -= age
    request.session.save()
    return request.session.session_key
