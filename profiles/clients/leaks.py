"""Credentials that somebody has found where they should not be: each that is live ends at once.

Who has a credential can use it, so who has it can end it, too: possession is all the authority there is, and whoever
reports is told nothing. A secret ends with its access tokens, and its client stays, with its Client ID, until it is
regenerated; a token ends alone. What is no more, or never was, changes nothing, so a second report does not either.

A report takes two statements to find what is live, one for secrets and one for tokens, whatever their number, and a
transaction for each client that has some.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from .. import credentials
from ..models import AccessToken, ClientSecret, OAuthApplication
from ..origin import Origin
from ..text.printable import printable
from . import changes
from .changes import Action, EndReason

AT_MOST = 1000  # in one report
# Of what the event repeats: of how many places where something was found, and how much of each of their texts.
PLACES_AT_MOST = 3
TEXT_AT_MOST = {"type": 60, "url": 300, "source": 60}


class NotRead(Exception):
    """A report that cannot be read. The message repeats nothing of it."""


class NotJson(NotRead):
    """It is no JSON in UTF-8, or a name stands in an object more than once."""


class NoList(NotRead):
    """It is JSON, and no list of credentials in one of the two forms."""


class Found(NamedTuple):
    """Text that holds a credential, and what its finder says of it: of which kind it is, and where it was."""

    text: str
    type: str = ""
    url: str = ""
    source: str = ""

    @property
    def said(self) -> str:
        """What is said of it, for the event: one line, without a credential, and no longer than it is worth."""
        told = ((name, _fit(getattr(self, name))[:most]) for name, most in TEXT_AT_MOST.items())
        return "; ".join(f"{name}: {text}" for name, text in told if text)


@dataclass(slots=True)
class Outcome:
    """What a report has changed. Not for who reports without being an administrator."""

    secrets: int = 0
    tokens: int = 0
    credentials: int = 0
    """How many there were that can be one at all."""

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.secrets + other.secrets, self.tokens + other.tokens, self.credentials + other.credentials)


# --- What is reported -------------------------------------------------------------------------------------------


def read(body: bytes, *, at_most: int | None = AT_MOST) -> list[Found]:
    """What a JSON document reports. Raises NotJson or NoList.

    It is `{"credentials": ["..."]}`, or `[{"token": "...", "type": "...", "url": "...", "source": "..."}]`, which is
    what GitHub sends to partners of its secret scanning. Other members are ignored: there may be more some day. So is
    what is said of a credential, if it is no text: that must not keep the credential alive. A byte order mark is taken.
    """
    try:
        document = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_each_name_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotJson("The body must be JSON in UTF-8, in which no object has a name more than once.") from None
    found = list(_entries(document))
    if at_most is not None and len(found) > at_most:
        raise NoList(f"A report has {at_most:,} credentials at most.")
    return found


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_number(_: str) -> None:
    raise ValueError  # NaN and the like, which Python reads and JSON has not


def _entries(document: Any) -> Iterator[Found]:
    match document:
        case {"credentials": [*texts]} if all(isinstance(text, str) for text in texts):
            yield from map(Found, texts)
        case [*objects]:
            yield from map(_entry, objects)
        case _:
            raise _no_list()


def _entry(document: Any) -> Found:
    match document:
        case {"token": str(text)}:
            told = {name: document.get(name) for name in TEXT_AT_MOST}
            return Found(text, **{name: value for name, value in told.items() if isinstance(value, str)})
    raise _no_list()


def _no_list() -> NoList:
    return NoList('The body must be {"credentials": ["..."]}, or a list of objects that have a "token".')


def _fit(text: str) -> str:
    """A stranger's text, fit to be kept: one line, no credential, and no `;`, which stands between our own parts."""
    text = printable(credentials.masked(" ".join(text.split()))).replace(";", ",")
    return "(a credential)" if credentials.holds_credential(text) else text


# --- The change -------------------------------------------------------------------------------------------------


def end(reported: Iterable[Found], *, origin: Origin) -> Outcome:
    """End what is live of these credentials, each client in a transaction of its own, with its event.

    What has the wrong form or CRC never reaches the database.
    """
    places: dict[str, list[Found]] = {}
    secrets: set[str] = set()
    tokens: set[str] = set()
    for found in reported:
        for credential in credentials.found_in(found.text):
            digest = credentials.digest(credential)
            (secrets if credentials.is_secret(credential) else tokens).add(digest)
            places.setdefault(digest, []).append(found)
    live: dict[int, set[str]] = {}
    for number, digest in (
        *_live_secrets(secrets).values_list("application_id", "digest"),
        *_live_tokens(tokens).values_list("application_id", "token_checksum"),
    ):
        live.setdefault(number, set()).add(digest)
    outcome = Outcome(credentials=len(places))
    for number in sorted(live):
        outcome += _end_of(number, {digest: places[digest] for digest in live[number]}, origin)
    return outcome


def _live_secrets(digests: Collection[str]) -> QuerySet[ClientSecret]:
    return ClientSecret.objects.live().filter(digest__in=digests, application__isnull=False).order_by()


def _live_tokens(digests: Collection[str]) -> QuerySet[AccessToken]:
    """Those that are accepted, or would be if what is switched off were switched on again."""
    now = timezone.now()
    good = Q(secret__ends__isnull=True) | Q(secret__ends__gt=now)
    return AccessToken.objects.filter(good, token_checksum__in=digests, expires__gt=now, secret__ended=False)


@transaction.atomic
def _end_of(number: int, places: dict[str, list[Found]], origin: Origin) -> Outcome:
    """End what is live of these credentials, which belong to this client."""
    client = OAuthApplication.objects.select_related("user__company", "company").filter(pk=number).first()
    if client is None or not changes.lock(changes.owner_of(client)):
        return Outcome()  # deleted meanwhile, and all of it is dead
    # Anew: another report, or a change by the owner, may have been before this one.
    ending = list(_live_secrets(places.keys()).filter(application=client))
    if ending:
        changes.end(client, EndReason.LEAKED, timezone.now(), pk__in=[secret.pk for secret in ending])
        # That of an old one says that the new one works. It does not if it leaked before.
        has_new = client.secrets.filter(ends=None).exists()
        action = Action.OLD_SECRET_LEAKED if has_new else Action.LEAKED
        said = _told(places[secret.digest] for secret in ending)
        changes.record_of(client, action, origin, detail=said)
    # After the secrets: the tokens of these have ended with them.
    dying = dict(_live_tokens(places.keys()).filter(application=client).values_list("pk", "token_checksum"))
    if dying:
        AccessToken.objects.filter(pk__in=dying).delete()
        count = f"{len(dying):,} access token{'s' if len(dying) > 1 else ''}"
        said = _told(places[digest] for digest in dying.values())
        said = "; ".join(filter(None, (count, said)))
        # Who holds the secret can take tokens and report each of them: that must not fill anybody's mailbox.
        mailed = changes.mails_left(client, Action.TOKEN_LEAKED) > 0
        changes.record_of(client, Action.TOKEN_LEAKED, origin, detail=said, mailed=mailed)
    return Outcome(secrets=len(ending), tokens=len(dying))


def _told(places: Iterable[list[Found]]) -> str:
    """What is said of several finds, of the first ones in full."""
    # Each text is looked at once, however many credentials stand in it.
    different = list(dict.fromkeys(found.said for found in dict.fromkeys(chain.from_iterable(places))))
    different = [said for said in different if said]
    more = len(different) - PLACES_AT_MOST
    return " / ".join([*different[:PLACES_AT_MOST], *([f"and {more:,} more"] if more > 0 else [])])
