"""Access tokens in the database: issue, find, revoke, count.

The SQL of the token path stands here and nowhere else; `statements` runs it. It is written out because one statement
must decide and act at once (`issue`), and because the ORM would compile the same statements anew for every request,
which costs more than the database takes to answer. Moments come out as text, because psycopg takes longer for a
`datetime` than for the rest of a row. `ClientSecret.objects.live()` and `AccessToken.objects.active()` say the same in
the ORM's words; `tests/test_tokens.py` holds them together on both databases.

A secret is found by its digest, whoever's it is: the same is done whether a Client ID exists or not.

The end of a token, and that of a secret which is good for a while after Regenerate, is a moment on the clock of the
server that checks. What somebody ends at once is marked as ended, and no clock is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple, TypeAlias

from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from .. import credentials, rights
from ..models import AccessToken, ClientSecret, OAuthApplication
from ..policy import Terms, Where
from ..statements import Row, Statement

# How long after its end a secret is still told from one that never was.
RECOGNISED_FOR = timedelta(days=90)

EndReason = ClientSecret.EndReason
Values: TypeAlias = dict[str, Any]
"""Of a statement by which a client proves itself: `client_id`, `secret` (its digest), `now`, and others."""


@dataclass(frozen=True, slots=True)
class End:
    """Why something is accepted no more, and since when.

    The reason is one of `ClientSecret.EndReason`, or "expired" for a token, or one of `policy`, or "" where it concerns
    nobody who only has a token: its owner or its client is switched off.
    """

    reason: str
    at: datetime


# A reason beside those of the model: of a token whose secret was replaced earlier than it stopped.
STOPPED = "stopped"


class Refused(Exception):
    """Client authentication failed. The reason is for whoever runs the site, and for nobody who asks (ASVS 6.3.8)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefusedByPolicy(Refused):
    """The secret is good, and the policy of the client's company refuses it. Only who has it can learn this."""

    def __init__(self, reason: str, terms: Terms) -> None:
        super().__init__(reason)
        self.terms = terms


class SecretEnded(Refused):
    """The secret shown was one of this client's, and is so no more. Only who has it can learn this."""

    def __init__(self, *, secret_id: int, end: End) -> None:
        super().__init__(f"secret_{end.reason}")
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
    made: datetime
    expires: datetime
    scope: str
    client: ProvenClient
    row_id: int
    user_id: int | None
    """The owner's; None for an API Client."""

    @property
    def expires_in(self) -> int:
        """Seconds from now, rounded up; the database may have let us wait."""
        return max(0, ceil((self.expires - timezone.now()).total_seconds()))

    @property
    def row(self) -> AccessToken:
        """The row as the model has it, for receivers of the toolkit's signals."""
        return AccessToken(
            id=self.row_id,
            token_checksum=credentials.digest(self.token),
            application_id=self.client.key_id,
            user_id=self.user_id,
            secret_id=self.client.secret_id,
            scope=self.scope,
            expires=self.expires,
            created=self.made,
            updated=self.made,
        )


class Reference(NamedTuple):
    """A company or an access profile, as far as a user refers to it."""

    uid: str
    name: str


class Owner(NamedTuple):
    """The owner of a token as a row: what a call needs of them, without a model.

    An API Client is its own owner: it acts as nobody else, for its company and with its access profile.
    """

    pk: int | None
    uid: str
    email: str | None
    name: str
    phone_number: str
    picture: str
    company_id: int | None
    company: Reference | None
    access_profile: Reference | None
    rights: frozenset[str]


class ActiveToken:
    """A token that is accepted at this moment, with its key and its owner as they are at this moment."""

    __slots__ = ("_created", "_ends", "_terms", "client", "client_id", "id", "owner", "scope")

    def __init__(self, row: Row) -> None:
        """From the columns of `_TOKEN`."""
        self._ends = row[1:3]
        self.id, self.scope, self._created, secret_id, key_id, self.client_id = row[6:12]
        self.client = ProvenClient(key_id, secret_id)
        company, company_name, profile, profile_name, held, self._terms = row[19:]
        references = (
            Reference(company, company_name) if company else None,
            Reference(profile, profile_name) if profile else None,
        )
        self.owner = Owner._make((*row[12:19], *references, _rights(held)))

    @property
    def issued(self) -> datetime:
        return _datetime(self._created)

    @property
    def expires(self) -> datetime:
        end = Terms.read(self._terms).end if self._terms else None
        expires = _earliest(*self._ends)
        return min(expires, end) if end else expires

    @property
    def rights(self) -> frozenset[str]:
        """What a request with this token may do."""
        return rights.effective(scope=self.scope, owner_rights=self.owner.rights)


@dataclass(frozen=True, slots=True)
class Introspection:
    """A client whose secret was proven, and the token that it asked about if it may know that, and that is active."""

    client: ProvenClient
    token: ActiveToken | None


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client whose secret was proven, with what it may do."""

    client: ProvenClient
    client_id: str
    rights: frozenset[str]


def _live(secret: str) -> str:
    return f"NOT {secret}.ended AND ({secret}.ends IS NULL OR {secret}.ends > %(now)s)"


def _owner(client: str, user: str, company: str) -> str:
    """Joins whom a client belongs to: a user, who may be of a company, or a company."""
    return f"""
  LEFT JOIN profiles_user {user} ON {user}.id = {client}.user_id
  LEFT JOIN profiles_company {company} ON {company}.id = COALESCE({user}.company_id, {client}.company_id)"""


def _profile(profile: str, client: str, user: str) -> str:
    """Joins the access profile that a client acts with."""
    either = f"COALESCE({user}.access_profile_id, {client}.access_profile_id)"
    return f"""
  LEFT JOIN profiles_accessprofile {profile} ON {profile}.id = {either}"""


def _on(client: str, user: str, company: str) -> str:
    """Whether a client and whom it belongs to are switched on. A user who is gone is not."""
    return (
        f"NOT {client}.disabled AND COALESCE({user}.is_active, {client}.user_id IS NULL)"
        f" AND COALESCE({company}.is_active, true)"
    )


def _terms(client: str, secret: str, company: str) -> str:
    """On which terms a company accepts a secret, as `Terms` reads it; null where it has no policy."""
    kind = f"CASE WHEN {client}.user_id IS NULL THEN 'client|' ELSE 'key|' END"
    terms = f"{kind} || CAST({secret}.created AS text) || '|' || {company}.policy"
    return f"CASE WHEN {company}.policy <> '' THEN {terms} END"


# The client that shows a secret.
_CLIENT = f"""
  FROM profiles_clientsecret s
  JOIN profiles_oauthapplication k ON k.id = s.application_id {_owner("k", "u", "uc")}"""
# With the policy of its company as the caller knows it: `_first_if_proven`, which has asked it.
_IF_PROVEN = f"""
 WHERE s.digest = %(secret)s AND s.client_id = %(client_id)s AND {_live("s")} AND {_on("k", "u", "uc")}
   AND COALESCE(uc.policy, '') = %(policy)s"""

# Checks the client, its secret, its owner and writes the token, in one statement: no moment lies between the check and
# the write. If the end of the secret is committed meanwhile, the token is one of an ended secret: it is born dead.
# The last column is null unless the secret ends earlier than the token would. `key_version` is for servers of the
# version before, which may still run during an upgrade, and know no secret that ends; it goes with their columns.
ISSUE = Statement(
    f"""
INSERT INTO profiles_accesstoken
       (token, token_checksum, application_id, user_id, secret_id, key_version, scope, expires, created, updated)
SELECT '', %(token)s, k.id, u.id, s.id, CASE WHEN s.ends IS NULL THEN COALESCE(u.key_version, 0) ELSE 0 END, %(scope)s,
       CASE WHEN s.ends < %(expires)s THEN s.ends ELSE %(expires)s END, %(now)s, %(now)s
{_CLIENT} {_IF_PROVEN}
RETURNING id, application_id, user_id, secret_id, CAST(NULLIF(expires, %(expires)s) AS text)
""",
    may_be_lost=True,  # a token that is lost opens nothing, and its client asks for another
)

_AUTHENTICATE = Statement(
    f"""
SELECT k.id, s.id, CAST(p.rights AS text)
{_CLIENT} {_profile("p", "k", "u")} {_IF_PROVEN}
"""
)

# Only for a secret that was refused: what became of it, what is switched off, its company's policy, and whether the
# client exists. That is for the log, and all that its answer changes in cost is whether one row of an index is found.
_WHY_REFUSED = Statement(f"""
SELECT s.id, CAST(s.ends AS text), s.ended, s.end_reason,
       (SELECT CAST(MIN(n.created) AS text) FROM profiles_clientsecret n
         WHERE n.application_id = s.application_id AND n.id > s.id),
       k.disabled, COALESCE(u.is_active, k.user_id IS NULL), COALESCE(uc.is_active, true), {_terms("k", "s", "uc")},
       EXISTS (SELECT 1 FROM profiles_oauthapplication a WHERE a.client_id = %(client_id)s)
  FROM (SELECT 1) AS one
  LEFT JOIN profiles_clientsecret s ON s.digest = %(secret)s AND s.client_id = %(client_id)s
  LEFT JOIN profiles_oauthapplication k ON k.id = s.application_id {_owner("k", "u", "uc")}
""")  # noqa: S608 - of constants

# A token with its secret, client and owner. The first columns say whether it is active and, if not, why; then those of
# `ActiveToken`.
_TOKEN = f"""
       t.expires > %(now)s AND {_live("ts")} AND {_on("tk", "tu", "c")},
       CAST(t.expires AS text), CAST(ts.ends AS text), ts.ended, ts.ends_at_first_use, ts.end_reason,
       t.id, t.scope, CAST(t.created AS text), ts.id, tk.id, tk.client_id,
       tu.id, COALESCE(tu.uid, tk.client_id), tu.email, COALESCE(tu.name, tk.name),
       COALESCE(tu.phone_number, ''), COALESCE(tu.picture, ''), c.id,
       c.uid, c.name, p.uid, p.name, CAST(p.rights AS text), {_terms("tk", "ts", "c")}"""
_AND_ALL_OF_IT = f"""
  LEFT JOIN profiles_clientsecret ts ON ts.id = t.secret_id
  LEFT JOIN profiles_oauthapplication tk ON tk.id = t.application_id
  {_owner("tk", "tu", "c")} {_profile("p", "tk", "tu")}"""

FIND = Statement(
    f"""
SELECT {_TOKEN}
  FROM profiles_accesstoken t {_AND_ALL_OF_IT}
 WHERE t.token_checksum = %(token)s
"""  # noqa: S608 - of constants
)

# Both at once: who asks, and what they ask about, if it is their own or they are a resource server.
_INTROSPECT = Statement(
    f"""
SELECT k.id, s.id, {_TOKEN}
{_CLIENT}
  LEFT JOIN profiles_accesstoken t ON t.token_checksum = %(token)s AND (t.application_id = k.id OR k.may_introspect)
{_AND_ALL_OF_IT} {_IF_PROVEN}
"""
)


def nowhere() -> None:
    """The address of who is not asked for it: outside of every network that a company names."""


def issue(*, client_id: str, secret: str, scope: str, where: Where = nowhere) -> IssuedToken:
    """Authenticate the client and give it an access token (RFC 6749 section 4.4).

    The token lives no longer than the secret. `where` is the address that is asked from. Raises Refused if the client
    is unknown, the secret is not its own, or it or its owner is switched off: whoever asks must not be told which
    (RFC 6749 section 5.2, `invalid_client`); SecretEnded for a secret of the client's that has ended; and
    RefusedByPolicy for a good one that the policy of its company refuses. `scope` must have been allowed.
    """
    token = credentials.new_token()
    now = timezone.now()
    expires = now + timedelta(seconds=oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS)
    values: Values = {
        "token": credentials.digest(token),
        "scope": scope,
        "expires": expires,
        "now": now,
        "secret": credentials.digest(secret),
        "client_id": client_id,
    }
    row_id, key_id, user_id, secret_id, earlier_end = _first_if_proven(ISSUE, values, where)
    expires = _datetime(earlier_end) if earlier_end else values["expires"]
    return IssuedToken(
        token=token,
        made=now,
        expires=expires,
        scope=scope,
        client=ProvenClient(key_id, secret_id),
        row_id=row_id,
        user_id=user_id,
    )


def authenticate(*, client_id: str, secret: str, where: Where | None = nowhere) -> AuthenticatedClient:
    """The client, if the secret is its own and its owner is active. Raises what `issue` does.

    With None for `where`, from no matter where.
    """
    values: Values = {"secret": credentials.digest(secret), "client_id": client_id, "now": timezone.now()}
    key_id, secret_id, held = _first_if_proven(_AUTHENTICATE, values, where)
    return AuthenticatedClient(client=ProvenClient(key_id, secret_id), client_id=client_id, rights=_rights(held))


def introspect(token: str, *, client_id: str, secret: str, where: Where = nowhere) -> Introspection:
    """Authenticate the client, and look up a token that it may ask about: its own, or for a resource server any.

    In one statement, for this is asked at each request. `where` is the address of who asks; from where the token was
    sent is not known here, so the networks of its company are not looked at. Raises what `issue` does.
    """
    now = timezone.now()
    asked = credentials.digest(token) if credentials.is_token(token) else ""
    values: Values = {"token": asked, "secret": credentials.digest(secret), "client_id": client_id, "now": now}
    row = _first_if_proven(_INTROSPECT, values, where)
    active = row[2] and not (row[-1] and Terms.read(row[-1]).refusal(now))
    return Introspection(client=ProvenClient(*row[:2]), token=ActiveToken(row[2:]) if active else None)


def find(token: str, where: Where = nowhere) -> ActiveToken | None:
    """The token with its owner, if it is active: not expired, its secret live, its client and its owner switched on.

    And if the policy of its company accepts it, at this moment and from this address.
    """
    found = look_up(token, where)
    return found if isinstance(found, ActiveToken) else None


def look_up(token: str, where: Where = nowhere) -> ActiveToken | End | None:
    """The token with its owner, or why it is not accepted; None if there is none such (any more)."""
    if not credentials.is_token(token):
        return None
    now = timezone.now()
    row = FIND.first({"token": credentials.digest(token), "now": now})
    if row is None:
        return None
    if not row[0]:
        return _why_dead(now, *row[1:6])
    if row[-1]:
        terms = Terms.read(row[-1])
        if reason := terms.refusal(now, where):
            return End(reason, terms.end or now)
    return ActiveToken(row)


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
    now: datetime, own_end: str, ends: str | None, ended: object, at_first_use: object, reason: str
) -> End:
    """Why a token is dead; `own_end` is its own, `ends` that of its secret."""
    expires = _earliest(own_end, ends)
    if not ends or _datetime(ends) > expires:
        return End("expired", expires) if expires <= now else End("", now)
    if not ended and expires > now:
        return End("", now)
    later = reason == EndReason.REPLACED and (at_first_use or not ended)
    return End(STOPPED if later else reason, expires)


# On which terms this process last found a secret accepted, by its digest; only those of companies with a policy. It
# saves them two statements a request and decides nothing: a statement goes only by a policy that the row still has.
_terms_found: dict[str, Terms] = {}
_FOUND_AT_MOST = 50_000


def _first_if_proven(statement: Statement, values: Values, where: Where | None) -> Row:
    """The row of a statement that has `_IF_PROVEN`. Raises Refused, as `issue` says.

    The policy of a company is asked before the statement runs, which finds the client only with that policy: so here
    too no moment lies between the check and the write. Where there is an `expires`, it becomes the moment at which the
    secret is too old, if that comes first.
    """
    digest, now = values["secret"], values["now"]
    terms = _terms_found.get(digest)
    for _ in range(2):
        if terms is None or not terms.refusal(now, where):
            values["policy"] = terms.stored if terms else ""
            if terms and terms.end and "expires" in values:
                values["expires"] = min(terms.end, values["expires"])
            if row := statement.first(values):
                return row
        terms = _terms_unless_refused(values["client_id"], digest, now)
        if terms is None:
            _terms_found.pop(digest, None)
        elif reason := terms.refusal(now, where):
            raise RefusedByPolicy(reason, terms)
        else:
            if len(_terms_found) >= _FOUND_AT_MOST:
                _terms_found.clear()
            _terms_found[digest] = terms
    raise Refused("changed_meanwhile")


def _terms_unless_refused(client_id: str, digest: str, now: datetime) -> Terms | None:
    """On which terms this secret is good, if it is and its company has a policy.

    Raises Refused, or SecretEnded if it was one of this client's, a time ago that is not too long.
    """
    row = _WHY_REFUSED.first({"secret": digest, "client_id": client_id})
    assert row is not None  # noqa: S101 - it begins with one row
    secret_id, ends, ended, reason, successor_made, disabled, owner_is_on, company_is_on, terms, client_exists = row
    if not secret_id:
        raise Refused("wrong_secret" if client_exists else "unknown_client")
    if ends and (ended or _datetime(ends) <= now):
        at = _datetime(ends)
        if at <= now - RECOGNISED_FOR:
            raise Refused(f"secret_{reason}")
        replaced = reason == EndReason.REPLACED and successor_made
        raise SecretEnded(secret_id=secret_id, end=End(reason, _datetime(successor_made) if replaced else at))
    if disabled:
        raise Refused("client_disabled")
    if not owner_is_on:
        raise Refused("owner_inactive")
    if not company_is_on:
        raise Refused("company_off")
    return Terms.read(terms) if terms else None


def _earliest(*moments: str | None) -> datetime:
    return min(map(_datetime, filter(None, moments)))


def _datetime(text: str) -> datetime:
    """A moment as the database wrote it; SQLite writes it without a zone, and always UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@lru_cache(maxsize=1024)
def _rights(stored: str | None) -> frozenset[str]:
    """The rights of an access profile, as its column says; there may be no profile. Only the reading is kept."""
    return rights.ALL_RIGHTS.intersection(json.loads(stored or "[]") or ())
