"""A server of the version before secrets were rows of their own: the statements that it sends, word for word.

During a rolling deploy such servers run on the schema of this version. `VersionBefore` does with a database what they
do, in the same transactions.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from profiles import credentials

from .server import Server

PREFIX = "sha256_client_secret$$"

# Begins each change: only one that has seen the last one goes on.
NEXT_VERSION = "UPDATE profiles_user SET key_version = key_version + 1 WHERE id = %s AND key_version = %s"

# Each page asks for the key, with all its columns.
KEY = """
SELECT id, redirect_uris, post_logout_redirect_uris, hash_client_secret, name, skip_authorization, created, updated,
       algorithm, allowed_origins, registration_source, cimd_expires_at, user_id, client_id, client_secret, client_type,
       authorization_grant_type, secret_hint, secret_created, last_used, last_used_address, last_used_agent
  FROM profiles_oauthapplication WHERE user_id = %s ORDER BY created DESC LIMIT 1
"""

CREATE = """
INSERT INTO profiles_oauthapplication
       (redirect_uris, post_logout_redirect_uris, hash_client_secret, name, skip_authorization, created, updated,
        algorithm, allowed_origins, registration_source, cimd_expires_at, user_id, client_id, client_secret,
        client_type, authorization_grant_type, secret_hint, secret_created, last_used, last_used_address,
        last_used_agent)
VALUES ('', '', '1', '', '0', %s, %s, '', '', 'manual', NULL, %s, %s, %s, 'confidential', 'client-credentials', %s, %s,
        NULL, NULL, '')
RETURNING id
"""

REGENERATE = """
UPDATE profiles_oauthapplication SET updated = %s, client_secret = %s, secret_hint = %s, secret_created = %s
 WHERE id = %s
"""

EVENT = """
INSERT INTO profiles_keyevent
       (time, owner_uid, actor_id, actor_uid, via, address, user_agent, action, client_id, owner_id, reason)
VALUES (%s, %s, %s, %s, 'page', NULL, '', %s, %s, %s, '') RETURNING id
"""

# What Django's delete of a key does: the toolkit's tables that know of it, and the key.
DELETE_KEY = (
    "DELETE FROM oauth2_provider_grant WHERE application_id IN (%s)",
    "DELETE FROM oauth2_provider_refreshtoken WHERE application_id IN (%s)",
    "DELETE FROM oauth2_provider_idtoken WHERE application_id IN (%s)",
    "DELETE FROM profiles_oauthapplication WHERE id IN (%s)",
)

# What Django's delete of a user does, after that of the key.
DELETE_USER = (
    "DELETE FROM account_emailaddress WHERE user_id IN (%s)",
    "DELETE FROM oauth2_provider_grant WHERE user_id IN (%s)",
    "DELETE FROM oauth2_provider_refreshtoken WHERE user_id IN (%s)",
    "DELETE FROM oauth2_provider_idtoken WHERE user_id IN (%s)",
    "DELETE FROM oauth2_provider_devicegrant WHERE user_id IN (%s)",
    "DELETE FROM profiles_user_groups WHERE user_id IN (%s)",
    "DELETE FROM profiles_user_user_permissions WHERE user_id IN (%s)",
    "DELETE FROM profiles_emailchange WHERE user_id IN (%s)",
    "DELETE FROM profiles_factorfailures WHERE user_id IN (%s)",
    "DELETE FROM django_admin_log WHERE user_id IN (%s)",
    "DELETE FROM mfa_authenticator WHERE user_id IN (%s)",
    "DELETE FROM usersessions_usersession WHERE user_id IN (%s)",
    "UPDATE profiles_keyevent SET actor_id = NULL WHERE actor_id IN (%s)",
    "UPDATE profiles_keyevent SET owner_id = NULL WHERE owner_id IN (%s)",
    "UPDATE profiles_accountevent SET actor_id = NULL WHERE actor_id IN (%s)",
    "UPDATE profiles_accountevent SET owner_id = NULL WHERE owner_id IN (%s)",
    "DELETE FROM profiles_user WHERE id IN (%s)",
)

# A program asks for a token.
ISSUE = """
INSERT INTO profiles_accesstoken
       (token, token_checksum, application_id, user_id, key_version, scope, expires, created, updated)
SELECT '', %s, k.id, u.id, u.key_version, %s, %s, %s, %s
  FROM profiles_oauthapplication k
  JOIN profiles_user u ON u.id = k.user_id
 WHERE k.client_id = %s AND k.client_secret = %s AND u.is_active
RETURNING id, application_id, user_id, key_version
"""

# A program shows its secret to look at a token.
AUTHENTICATE = """
SELECT k.id, p.rights
  FROM profiles_oauthapplication k
  JOIN profiles_user u ON u.id = k.user_id
  LEFT JOIN profiles_accessprofile p ON p.id = u.access_profile_id
 WHERE k.client_id = %s AND k.client_secret = %s AND u.is_active
"""

# A program shows a token.
FIND = """
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

NOTE_USE = """
UPDATE profiles_oauthapplication SET last_used = %s, last_used_address = %s, last_used_agent = %s
 WHERE (last_used IS NULL OR last_used < %s) AND id = %s
"""

# The page of a key says how many tokens are live.
COUNT_LIVE = """
SELECT count(*) FROM (
    SELECT t.id AS col1 FROM profiles_accesstoken t
     INNER JOIN profiles_oauthapplication k ON t.application_id = k.id
     INNER JOIN profiles_user u ON k.user_id = u.id
     WHERE u.is_active AND u.key_version = t.key_version AND t.expires > %s AND t.application_id = %s LIMIT 1000
) subquery
"""

Execute = Callable[..., list[tuple[Any, ...]]]


class Refused(Exception):
    """It changes nothing: another change came first."""


class VersionBefore:
    """A server of the version before, on the database of `server`."""

    def __init__(self, server: Server) -> None:
        self.url = server.environment["DATABASE_URL"]
        self._is_sqlite = self.url.startswith("sqlite")

    def version(self, email: str) -> int:
        """What a form of its carries."""
        with self._transaction() as execute:
            ((_, _, version),) = _owner(execute, email)
        return int(version)

    def create(self, email: str) -> tuple[str, str]:
        with self._transaction() as execute:
            owner = self._begin(execute, email)
            client_id, secret, now = uuid4().hex, credentials.new_secret(), self.moment()
            assert execute(KEY, owner[0]) == []
            stored, hint = stored_secret(secret), credentials.hint(secret)
            execute(CREATE, now, now, owner[0], client_id, stored, hint, now)
            self._record(execute, owner, "created", client_id)
        return client_id, secret

    def regenerate(self, email: str, version: int | None = None) -> tuple[str, str]:
        with self._transaction() as execute:
            owner = self._begin(execute, email, version)
            (key,) = execute(KEY, owner[0])
            secret, now = credentials.new_secret(), self.moment()
            execute(REGENERATE, now, stored_secret(secret), credentials.hint(secret), now, key[0])
            self._record(execute, owner, "regenerated", key[13])
        return key[13], secret

    def delete(self, email: str, version: int | None = None) -> None:
        with self._transaction() as execute:
            owner = self._begin(execute, email, version)
            (key,) = execute(KEY, owner[0])
            self._record(execute, owner, "deleted", key[13])
            for statement in DELETE_KEY:
                execute(statement, key[0])

    def delete_user(self, email: str) -> None:
        with self._transaction() as execute:
            ((owner, _, _),) = _owner(execute, email)
            for (key,) in execute("SELECT id FROM profiles_oauthapplication WHERE user_id IN (%s)", owner):
                for statement in DELETE_KEY:
                    execute(statement, key)
            for statement in DELETE_USER:
                execute(statement, owner)

    def issue(self, client_id: str, secret: str) -> str | None:
        """The token, or None if the secret is refused."""
        token, now = credentials.new_token(), self.moment()
        with self._transaction() as execute:
            execute(AUTHENTICATE, client_id, stored_secret(secret))
            issued = execute(
                ISSUE,
                credentials.digest(token),
                "inherit",
                self.moment(timedelta(hours=1)),
                now,
                now,
                client_id,
                stored_secret(secret),
            )
        return token if issued else None

    def accepts(self, token: str) -> bool:
        with self._transaction() as execute:
            return bool(execute(FIND, credentials.digest(token), self.moment()))

    def note_use(self, email: str, address: str) -> None:
        with self._transaction() as execute:
            (key,) = execute(KEY, _owner(execute, email)[0][0])
            execute(NOTE_USE, self.moment(), address, "curl/8", self.moment(-timedelta(minutes=1)), key[0])

    def count_live(self, email: str) -> int:
        with self._transaction() as execute:
            (key,) = execute(KEY, _owner(execute, email)[0][0])
            return int(execute(COUNT_LIVE, self.moment(), key[0])[0][0])

    def moment(self, later: timedelta = timedelta()) -> object:
        """Now, or so much later, as Django gives it to the driver."""
        moment = datetime.now(UTC) + later
        return str(moment.replace(tzinfo=None)) if self._is_sqlite else moment

    def _begin(self, execute: Execute, email: str, version: int | None = None) -> tuple[int, str]:
        ((owner, uid, current),) = _owner(execute, email)
        execute(NEXT_VERSION, owner, current if version is None else version)
        if _owner(execute, email)[0][2] == current:
            raise Refused
        return owner, uid

    def _record(self, execute: Execute, owner: tuple[int, str], action: str, client_id: str) -> None:
        pk, uid = owner
        execute(EVENT, self.moment(), uid, pk, uid, action, client_id, pk)

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        if self._is_sqlite:
            with closing(sqlite3.connect(urlsplit(self.url).path, timeout=60, isolation_level=None)) as database:
                database.execute("PRAGMA foreign_keys = ON")
                database.execute("BEGIN IMMEDIATE")
                yield lambda statement, *values: database.execute(statement.replace("%s", "?"), values).fetchall()
                database.execute("COMMIT")
        else:
            with psycopg.connect(self.url) as connection:

                def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
                    cursor = connection.execute(statement, values)
                    return cursor.fetchall() if cursor.description else []

                yield execute


def stored_secret(secret: str) -> str:
    """A secret as it stands in the column of the key."""
    return PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def _owner(execute: Execute, email: str) -> list[tuple[Any, ...]]:
    return execute("SELECT id, uid, key_version FROM profiles_user WHERE email = %s", email)
