"""Sessions in the database, as Django keeps them, found only by a key that Django can have made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends import db
from django.http import HttpRequest

if TYPE_CHECKING:
    from profiles.models import User

_is_key = re.compile("[0-9a-z]{8,40}").fullmatch


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        # A quoted cookie can hold any character, also NUL, which PostgreSQL takes for no text at all.
        return key is not None and _is_key(key) is not None


def user_of(request: HttpRequest) -> User | None:
    """The user whose session the cookie of this request names, for an address that no session middleware has passed.

    For what only shows something: the session is not kept up, and no CSRF token is asked for.
    """
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request.session = SessionStore(key)
    user = auth.get_user(request)
    return user if user.is_authenticated else None
