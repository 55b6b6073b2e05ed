"""Sessions in the database, as Django keeps them, found only by a key that Django can have made."""

import re

from django.contrib.sessions.backends import db

_is_key = re.compile("[0-9a-z]{8,40}").fullmatch


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        # A quoted cookie can hold any character, also NUL, which PostgreSQL takes for no text at all.
        return key is not None and _is_key(key) is not None
