"""Access tokens in the database: issue, find, revoke, count, and note when a key was used.

The SQL of the token path stands here and nowhere else. It is written out because one statement must decide
and act at once (`issue`), and because the ORM would compile the same two statements anew for every request,
which costs more than the database takes to answer. `AccessToken.objects.live()` says the same in the ORM's
words; `tests/test_tokens.py` holds the two together on both databases.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from .. import credentials, rights
from ..models import AccessProfile, AccessToken, Company, OAuthApplication, User

logger = logging.getLogger(__name__)

# How exact `last used` is. One write a key in this time keeps a busy key from becoming a hot row.
LAST_USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token just made. `token` is the credential, and this the only place that has it."""

    token: str
    expires_in: int
    scope: str
    key_id: int
    fields: Mapping[str, Any]  # of the row

    @property
    def row(self) -> AccessToken:
        """The row as the model has it, for receivers of the toolkit's signals."""
        return AccessToken(**self.fields)


@dataclass(frozen=True, slots=True)
class LiveToken:
    """A token that is accepted at this moment, with its key and its owner as they are at this moment."""

    id: int
    key_id: int
    client_id: str
    scope: str
    issued: datetime
    expires: datetime
    owner: User

    @property
    def rights(self) -> frozenset[str]:
        """What a request with this token may do."""
        return rights.effective(scope=self.scope, owner_rights=self.owner.rights)


@dataclass(frozen=True, slots=True)
class AuthenticatedKey:
    """A key whose secret was proven, with what its owner may do."""

    id: int
    client_id: str
    rights: frozenset[str]


# Checks the client, its owner and writes the token, in one statement: no moment lies between the check and the
# write. A change of the key that commits meanwhile leaves the token with the version before, so it is born dead.
_ISSUE = """
INSERT INTO profiles_accesstoken
       (token, token_checksum, application_id, user_id, key_version, scope, expires, created, updated)
SELECT '', %s, k.id, u.id, u.key_version, %s, %s, %s, %s
  FROM profiles_oauthapplication k
  JOIN profiles_user u ON u.id = k.user_id
 WHERE k.client_id = %s AND k.client_secret = %s AND u.is_active
RETURNING id, application_id, user_id, key_version
"""

_AUTHENTICATE = """
SELECT k.id, p.rights
  FROM profiles_oauthapplication k
  JOIN profiles_user u ON u.id = k.user_id
  LEFT JOIN profiles_accessprofile p ON p.id = u.access_profile_id
 WHERE k.client_id = %s AND k.client_secret = %s AND u.is_active
"""

_FIND = """
SELECT t.id, t.scope, t.created, t.expires, k.id, k.client_id,
       u.id, u.uid, u.email, u.name, u.phone_number, u.picture, u.company_id, u.access_profile_id,
       c.uid, c.name, p.uid, p.name, p.rights
  FROM profiles_accesstoken t
  JOIN profiles_oauthapplication k ON k.id = t.application_id
  JOIN profiles_user u ON u.id = k.user_id
  LEFT JOIN profiles_company c ON c.id = u.company_id
  LEFT JOIN profiles_accessprofile p ON p.id = u.access_profile_id
 WHERE t.token_checksum = %s AND t.expires > %s AND t.key_version = u.key_version AND u.is_active
"""
_OWNER_FIELDS = ("id", "uid", "email", "name", "phone_number", "picture", "company_id", "access_profile_id")


def issue(*, client_id: str, secret: str, scope: str) -> IssuedToken | None:
    """Authenticate the client and give it an access token (RFC 6749 section 4.4).

    None if the client is unknown, the secret is not its own, or its owner is inactive: the caller can not tell
    which, and neither can whoever asks (RFC 6749 section 5.2, `invalid_client`). `scope` must have been allowed.
    """
    token = credentials.new_token()
    digest = credentials.digest(token)
    expires_in: int = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS
    now = timezone.now()
    expires = now + timedelta(seconds=expires_in)
    created_value, expires_value = _value(now), _value(expires)
    row = _fetch_one(
        _ISSUE,
        digest,
        scope,
        expires_value,
        created_value,
        created_value,
        client_id,
        credentials.stored_secret(secret),
    )
    if row is None:
        return None
    pk, key_id, user_id, key_version = row
    fields = {
        "id": pk,
        "token_checksum": digest,
        "application_id": key_id,
        "user_id": user_id,
        "key_version": key_version,
        "scope": scope,
        "expires": expires,
        "created": now,
        "updated": now,
    }
    return IssuedToken(token=token, expires_in=expires_in, scope=scope, key_id=key_id, fields=fields)


def authenticate(*, client_id: str, secret: str) -> AuthenticatedKey | None:
    """The key, if the secret is its own and its owner is active."""
    row = _fetch_one(_AUTHENTICATE, client_id, credentials.stored_secret(secret))
    if row is None:
        return None
    held = rights.ALL_RIGHTS.intersection(_json(row[1]) or ())
    return AuthenticatedKey(id=row[0], client_id=client_id, rights=held)


def find(token: str) -> LiveToken | None:
    """The token with its owner, if it is live: not expired, its key unchanged, its owner active.

    The owner is a real `User` with its company and access profile, the fields that the API does not need
    deferred.
    """
    if not credentials.is_token(token):
        return None
    row = _fetch_one(_FIND, credentials.digest(token), _value(timezone.now()))
    if row is None:
        return None
    pk, scope, created, expires, key_id, client_id, *rest = row
    user_row, (company_uid, company_name, profile_uid, profile_name, profile_rights) = rest[:8], rest[8:]
    owner = User.from_db(connection.alias, _OWNER_FIELDS, user_row)
    owner.company = Company(id=owner.company_id, uid=company_uid, name=company_name) if owner.company_id else None
    owner.access_profile = (
        AccessProfile(id=owner.access_profile_id, uid=profile_uid, name=profile_name, rights=_json(profile_rights))
        if owner.access_profile_id
        else None
    )
    return LiveToken(
        id=pk,
        key_id=key_id,
        client_id=client_id,
        scope=scope,
        issued=_datetime(created),
        expires=_datetime(expires),
        owner=owner,
    )


def revoke(token: str, *, key_id: int) -> bool:
    """End one token of this key; whether there was one to end (RFC 7009 section 2.1)."""
    if not credentials.is_token(token):
        return False
    own = AccessToken.objects.filter(token_checksum=credentials.digest(token), application_id=key_id)
    deleted, _ = own.delete()
    return bool(deleted)


def count_live(key: OAuthApplication, *, at_most: int = 1000) -> int:
    """How many tokens of this key are live, counted up to `at_most` so that it never takes long."""
    return AccessToken.objects.live().filter(application=key)[:at_most].count()


# When this process last noted the use of a key (key id -> monotonic seconds): saves asking the database for
# every request. Only a cache, emptied when it grows; the UPDATE below decides.
_noted: dict[int, float] = {}
_NOTED_AT_MOST = 50_000


def note_use(*, key_id: int, address: str | None, user_agent: str) -> None:
    """Note that a key was used, at most once in `LAST_USED_EVERY`. A failure to note fails nothing else."""
    clock = monotonic()
    if clock - _noted.get(key_id, -inf) < LAST_USED_EVERY.total_seconds():
        return
    if len(_noted) >= _NOTED_AT_MOST:
        _noted.clear()
    _noted[key_id] = clock
    now = timezone.now()
    due = Q(last_used__isnull=True) | Q(last_used__lt=now - LAST_USED_EVERY)
    try:
        OAuthApplication.objects.filter(due, pk=key_id).update(
            last_used=now, last_used_address=address, last_used_agent=user_agent
        )
    except DatabaseError:
        logger.warning("could not note the use of key %s", key_id, exc_info=True)


def _fetch_one(sql: str, *params: Any) -> tuple[Any, ...] | None:
    """The first row, or None.

    To ask before each statement whether a kept connection still lives (CONN_HEALTH_CHECKS) would double the round
    trips. Here one that proves dead is replaced and the statement tried again: each may be repeated, for at worst
    a token is left that nobody has.
    """
    kept = connection.connection is not None
    connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs leave it out
    try:
        return _execute(sql, params)
    except (OperationalError, InterfaceError):
        if not kept or connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()
        return _execute(sql, params)


def _execute(sql: str, params: tuple[Any, ...]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _value(moment: datetime) -> Any:
    """A moment as the database's driver takes it."""
    return connection.ops.adapt_datetimefield_value(moment)


def _datetime(value: object) -> datetime:
    """A moment as the database's driver gave it; SQLite gives text, always UTC."""
    if isinstance(value, datetime):
        return value
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def _json(value: object) -> list[str] | None:
    """A JSON column as the database's driver gave it: text, unless it was decoded already or is null."""
    return json.loads(value) if isinstance(value, str) else value  # type: ignore[return-value]
