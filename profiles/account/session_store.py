"""Sessions in the database, as Django keeps them, found only by a key of the form that Django makes.

A session ends when it was not used for a time (`SESSION_COOKIE_AGE`), and a fixed time after its sign-in however much
it is used (`SESSION_LIFETIME`). Both are in its row, as the moment when it ends, so no code finds a session
after that: pages, the admin site, the API's pictures, `clearsessions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import middleware
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import CharField, DateTimeField, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from .. import batches
from ..compiled import CompiledQuery, Given

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser
    from django.contrib.sessions.base_session import AbstractBaseSession

    from profiles.models import User

# In a session: when its user signed in. A new session key (after a reauthentication) does not
# change it.
SIGNED_IN = "signed_in_at"

_is_key = re.compile("[0-9a-z]{8,40}").fullmatch

_LIVE_SESSION = CompiledQuery(
    lambda: Session.objects.filter(session_key=Given("key", CharField()), expire_date__gt=Given("now", DateTimeField()))
)


class SessionStore(db.SessionStore):
    _stays = False

    def _validate_session_key(self, key: str | None) -> bool:
        # A quoted cookie can hold any character, also NUL, which PostgreSQL does not accept in text.
        return key is not None and _is_key(key) is not None

    def load(self) -> dict[str, Any]:
        """What the session keeps; nothing, and from now on no key, if it has ended. As Django's does it."""
        found = _LIVE_SESSION.run(key=self.session_key, now=timezone.now())
        if not found:
            self._session_key = None
            return {}
        return self.decode(found[0].session_data)

    def cycle_key(self) -> None:
        """Go on under another key, unless Django asks for it because SECRET_KEY has changed (see `signed_in`)."""
        if not self._stays:
            super().cycle_key()

    @contextmanager
    def staying(self) -> Iterator[None]:
        """Within this block the session keeps its key."""
        self._stays = True
        try:
            yield
        finally:
            self._stays = False

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """The row to save. Every kind of sign-in passes here first, so the time of the session begins here."""
        if auth.SESSION_KEY not in data:
            return super().create_model_instance(data)
        signed_in = data.setdefault(SIGNED_IN, timezone.now().timestamp())
        row = super().create_model_instance(data)
        end = datetime.fromtimestamp(signed_in, UTC) + timedelta(seconds=settings.SESSION_LIFETIME)
        row.expire_date = min(row.expire_date, end)
        return row

    @classmethod
    def ended(cls) -> tuple[QuerySet[Any], ...]:
        """Rows of which nobody reads anything more: of sessions that have ended, their browsers, expired counters."""
        from profiles.account import sessions  # which need the models
        from profiles.limits import attempts

        return Session.objects.filter(expire_date__lte=timezone.now()), sessions.ended(), attempts.ended()

    @classmethod
    def clear_expired(cls) -> None:
        """What `manage.py clearsessions` does."""
        for rows in cls.ended():
            for _number in batches.delete(rows):
                pass


def signed_in(request: HttpRequest) -> User | AnonymousUser:
    """The user of the session of this request.

    Django gives a session that was signed with one of SECRET_KEY_FALLBACKS another key, and deletes the row of the old
    one at once. Of two requests of a browser at the same moment the second would find no session, and who reads
    without answering with a cookie (`user_of`) would end it. Ours keeps its key, and is signed anew when it is saved.
    """
    with cast("SessionStore", request.session).staying():
        return auth.get_user(request)


class AuthenticationMiddleware(middleware.AuthenticationMiddleware):
    """Django's, with `signed_in`."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = cast("User", SimpleLazyObject(partial(signed_in, request)))


def user_of(request: HttpRequest) -> User | None:
    """The user whose session the cookie of this request names, for a request that passed no session middleware.

    Only for reading: the session is not prolonged, and no CSRF token is checked.
    """
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request.session = SessionStore(key)
    user = signed_in(request)
    return user if user.is_authenticated else None
