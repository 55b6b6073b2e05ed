"""Access tokens in the database: issue, find, revoke, count.

The SQL of the token path stands here and nowhere else. It is written out because one statement must decide
and act at once (`issue`), and because the ORM would compile the same statements anew for every request,
which costs more than the database takes to answer. Moments go in and come out as text, because psycopg takes longer
for a `datetime` than for the rest of a row. `ClientSecret.objects.live()` and `AccessToken.objects.active()` say the
same in the ORM's words; `tests/test_tokens.py` holds them together on both databases.

A secret is found by its digest, whoever's it is: nothing that this does depends on whether a Client ID exists.

The end of a token, and that of a secret which is good for a while after Regenerate, is a moment on the clock of the
server that checks. What somebody ends at once is marked as ended, and no clock is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from .. import credentials, rights
from ..models import AccessProfile, AccessToken, ClientSecret, Company, OAuthApplication, User

# How long after its end a secret is still told from one that never was.
RECOGNISED_FOR = timedelta(days=90)

EndReason = ClientSecret.EndReason


@dataclass(frozen=True, slots=True)
class End:
    """Why something is accepted no more, and since when.

    The reason is one of `ClientSecret.EndReason`, or "expired" for a token, or "" where it concerns nobody who only has
    a token: its owner or its client is switched off.
    """

    reason: str
    at: datetime


# A reason beside those of the model: of a token whose secret was replaced earlier than it stopped.
STOPPED = "stopped"


class SecretEnded(Exception):
    """The secret shown was one of this client's, and is so no more. Only who has it can learn this."""

    def __init__(self, *, secret_id: int, end: End) -> None:
        super().__init__(secret_id)
        self.secret_id = secret_id
        self.end = end


@dataclass(frozen=True, slots=True)
class ProvenClient:
    """Which client has shown which of its secrets, by their numbers."""

    key_id: int
    secret_id: int


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token just made. `token` is the credential, and this the only place that has it."""

    token: str
    expires: datetime
    scope: str
    client: ProvenClient
    fields: Mapping[str, Any]  # of the row

    @property
    def expires_in(self) -> int:
        """Seconds from now, rounded up; the database may have let us wait."""
        return max(0, ceil((self.expires - timezone.now()).total_seconds()))

    @property
    def row(self) -> AccessToken:
        """The row as the model has it, for receivers of the toolkit's signals."""
        return AccessToken(**self.fields)


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """A token that is accepted at this moment, with its key and its owner as they are at this moment."""

    id: int
    client: ProvenClient
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
class AuthenticatedClient:
    """A client whose secret was proven, with what it may do."""

    client: ProvenClient
    client_id: str
    rights: frozenset[str]


_SECRET_IS_LIVE = "NOT s.ended AND (s.ends IS NULL OR s.ends > %(now)s)"  # noqa: S105 - SQL
_CLIENT_IS_ON = "NOT k.disabled AND u.is_active"

# Checks the client, its secret, its owner and writes the token, in one statement: no moment lies between the check and
# the write. If the end of the secret is committed meanwhile, the token is one of an ended secret: it is born dead.
# The last column is null unless the secret ends earlier than the token would. `key_version` is for servers of the
# version before, which may still run during an upgrade, and know no secret that ends; it goes with their columns.
_ISSUE = f"""
INSERT INTO profiles_accesstoken
       (token, token_checksum, application_id, user_id, secret_id, key_version, scope, expires, created, updated)
SELECT '', %(token)s, k.id, u.id, s.id, CASE WHEN s.ends IS NULL THEN u.key_version ELSE 0 END, %(scope)s,
       CASE WHEN s.ends < %(expires)s THEN s.ends ELSE %(expires)s END, %(now)s, %(now)s
  FROM profiles_clientsecret s
  JOIN profiles_oauthapplication k ON k.id = s.application_id
  JOIN profiles_user u ON u.id = k.user_id
 WHERE s.digest = %(secret)s AND s.client_id = %(client_id)s AND {_SECRET_IS_LIVE} AND {_CLIENT_IS_ON}
RETURNING id, application_id, user_id, secret_id, CAST(NULLIF(expires, %(expires)s) AS text)
"""  # noqa: S608 - of constants

_AUTHENTICATE = f"""
SELECT k.id, s.id, p.rights
  FROM profiles_clientsecret s
  JOIN profiles_oauthapplication k ON k.id = s.application_id
  JOIN profiles_user u ON u.id = k.user_id
  LEFT JOIN profiles_accessprofile p ON p.id = u.access_profile_id
 WHERE s.digest = %(secret)s AND s.client_id = %(client_id)s AND {_SECRET_IS_LIVE} AND {_CLIENT_IS_ON}
"""  # noqa: S608 - of constants

# Only for a secret that was refused.
_WHAT_BECAME_OF = """
SELECT s.id, CAST(s.ends AS text), s.ended, s.end_reason,
       (SELECT CAST(MIN(n.created) AS text) FROM profiles_clientsecret n
         WHERE n.application_id = s.application_id AND n.id > s.id)
  FROM profiles_clientsecret s
 WHERE s.digest = %(secret)s AND s.client_id = %(client_id)s
"""

_FIND = f"""
SELECT t.expires > %(now)s AND {_SECRET_IS_LIVE} AND {_CLIENT_IS_ON},
       CAST(t.expires AS text), CAST(s.ends AS text), s.ended, s.ends_at_first_use, s.end_reason,
       t.id, t.scope, CAST(t.created AS text), s.id, k.id, k.client_id,
       u.id, u.uid, u.email, u.name, u.phone_number, u.picture, u.company_id, u.access_profile_id,
       c.uid, c.name, p.uid, p.name, p.rights
  FROM profiles_accesstoken t
  LEFT JOIN profiles_clientsecret s ON s.id = t.secret_id
  LEFT JOIN profiles_oauthapplication k ON k.id = t.application_id
  LEFT JOIN profiles_user u ON u.id = k.user_id
  LEFT JOIN profiles_company c ON c.id = u.company_id
  LEFT JOIN profiles_accessprofile p ON p.id = u.access_profile_id
 WHERE t.token_checksum = %(token)s
"""  # noqa: S608 - of constants
_OWNER_FIELDS = ("id", "uid", "email", "name", "phone_number", "picture", "company_id", "access_profile_id")
_COMPANY_FIELDS = ("id", "uid", "name")
_PROFILE_FIELDS = ("id", "uid", "name", "rights")


def issue(*, client_id: str, secret: str, scope: str) -> IssuedToken | None:
    """Authenticate the client and give it an access token (RFC 6749 section 4.4).

    The token lives no longer than the secret. None if the client is unknown, the secret is not its own, or its owner is
    inactive: the caller can not tell which, and neither can whoever asks (RFC 6749 section 5.2, `invalid_client`).
    Raises SecretEnded for a secret of the client's that has ended. `scope` must have been allowed.
    """
    token = credentials.new_token()
    digest, secret_digest = credentials.digest(token), credentials.digest(secret)
    now = timezone.now()
    expires = now + timedelta(seconds=oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS)
    row = _fetch_one(
        _ISSUE,
        {
            "token": digest,
            "scope": scope,
            "expires": expires,
            "now": now,
            "secret": secret_digest,
            "client_id": client_id,
        },
    )
    if row is None:
        _raise_if_ended(client_id, secret_digest, now)
        return None
    pk, key_id, user_id, secret_id, earlier_end = row
    if earlier_end:
        expires = _datetime(earlier_end)
    fields = {
        "id": pk,
        "token_checksum": digest,
        "application_id": key_id,
        "user_id": user_id,
        "secret_id": secret_id,
        "scope": scope,
        "expires": expires,
        "created": now,
        "updated": now,
    }
    return IssuedToken(
        token=token,
        expires=expires,
        scope=scope,
        client=ProvenClient(key_id, secret_id),
        fields=fields,
    )


def authenticate(*, client_id: str, secret: str) -> AuthenticatedClient | None:
    """The client, if the secret is its own and its owner is active. Raises SecretEnded for one that has ended."""
    digest, now = credentials.digest(secret), timezone.now()
    row = _fetch_one(_AUTHENTICATE, {"secret": digest, "client_id": client_id, "now": now})
    if row is None:
        _raise_if_ended(client_id, digest, now)
        return None
    key_id, secret_id, profile_rights = row
    held = rights.ALL_RIGHTS.intersection(_json(profile_rights) or ())
    return AuthenticatedClient(client=ProvenClient(key_id, secret_id), client_id=client_id, rights=held)


def find(token: str) -> ActiveToken | None:
    """The token with its owner, if it is active: not expired, its secret live, its client and its owner switched on."""
    found = look_up(token)
    return found if isinstance(found, ActiveToken) else None


def look_up(token: str) -> ActiveToken | End | None:
    """The token, or why it is dead; None if there is none such (any more).

    The owner is a real `User` with its company and access profile, the fields that the API does not need
    deferred.
    """
    if not credentials.is_token(token):
        return None
    now = timezone.now()
    row = _fetch_one(_FIND, {"token": credentials.digest(token), "now": now})
    if row is None:
        return None
    is_active, expires_value, ends, *end, pk, scope, created, secret_id, key_id, client_id = row[:12]
    expires = min(map(_datetime, filter(None, (expires_value, ends))))
    if not is_active:
        return _why_dead(now, expires, ends, *end)
    rest = row[12:]
    user_row, (company_uid, company_name, profile_uid, profile_name, profile_rights) = rest[:8], rest[8:]
    owner = User.from_db(DEFAULT_DB_ALIAS, _OWNER_FIELDS, user_row)
    company = (owner.company_id, company_uid, company_name)
    owner.company = Company.from_db(DEFAULT_DB_ALIAS, _COMPANY_FIELDS, company) if owner.company_id else None
    profile = (owner.access_profile_id, profile_uid, profile_name, _json(profile_rights))
    owner.access_profile = (
        AccessProfile.from_db(DEFAULT_DB_ALIAS, _PROFILE_FIELDS, profile) if owner.access_profile_id else None
    )
    return ActiveToken(
        id=pk,
        client=ProvenClient(key_id, secret_id),
        client_id=client_id,
        scope=scope,
        issued=_datetime(created),
        expires=expires,
        owner=owner,
    )


def revoke(token: str, *, key_id: int) -> bool:
    """End one token of this key; whether there was one to end (RFC 7009 section 2.1)."""
    if not credentials.is_token(token):
        return False
    own = AccessToken.objects.filter(token_checksum=credentials.digest(token), application_id=key_id)
    deleted, _ = own.delete()
    return bool(deleted)


def count_active(key: OAuthApplication, *, at_most: int = 1000) -> int:
    """How many tokens of this key are active, counted up to `at_most` so that it never takes long."""
    return AccessToken.objects.active().filter(application=key)[:at_most].count()


def _why_dead(  # noqa: PLR0917 - columns, in their order
    now: datetime, expires: datetime, ends: str | None, ended: object, at_first_use: object, reason: str
) -> End:
    """Why a token is dead; `expires` is its own end or that of its secret, whichever comes first."""
    if not ends or _datetime(ends) > expires:
        return End("expired", expires) if expires <= now else End("", now)
    if not ended and expires > now:
        return End("", now)
    later = reason == EndReason.REPLACED and (at_first_use or not ended)
    return End(STOPPED if later else reason, expires)


def _raise_if_ended(client_id: str, digest: str, now: datetime) -> None:
    """Raise SecretEnded if this secret was one of this client's, a time ago that is not too long."""
    row = _fetch_one(_WHAT_BECAME_OF, {"secret": digest, "client_id": client_id})
    if row is None:
        return
    secret_id, ends, ended, reason, successor_made = row
    if not ends:
        return
    at = _datetime(ends)
    if (ended or at <= now) and at > now - RECOGNISED_FOR:
        replaced = reason == EndReason.REPLACED and successor_made
        raise SecretEnded(secret_id=secret_id, end=End(reason, _datetime(successor_made) if replaced else at))


def _fetch_one(sql: str, params: Mapping[str, str | datetime]) -> tuple[Any, ...] | None:
    """The first row, or None.

    To ask before each statement whether a kept connection still lives (CONN_HEALTH_CHECKS) would double the round
    trips. Here one that proves dead is replaced and the statement tried again: each may be repeated, for at worst
    a token is left that nobody has.
    """
    # Asked for once: Django's `connection` would look for it anew at every access.
    database = connections[DEFAULT_DB_ALIAS]
    kept = database.connection is not None
    database.health_check_done = True  # type: ignore[attr-defined]  # the stubs leave it out
    as_taken = database.ops.adapt_datetimefield_value
    values = {name: value if isinstance(value, str) else str(as_taken(value)) for name, value in params.items()}
    try:
        return _execute(database, sql, values)
    except (OperationalError, InterfaceError):
        if not kept or database.in_atomic_block or database.is_usable():
            raise
        database.close()
        return _execute(database, sql, values)


def _execute(database: BaseDatabaseWrapper, sql: str, values: Mapping[str, str]) -> tuple[Any, ...] | None:
    with database.cursor() as cursor:
        cursor.execute(sql, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _datetime(text: str) -> datetime:
    """A moment as the database wrote it; SQLite writes it without a zone, and always UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: object) -> list[str] | None:
    """A JSON column as the database's driver gave it: text, unless it was decoded already or is null."""
    return json.loads(value) if isinstance(value, str) else value  # type: ignore[return-value]
