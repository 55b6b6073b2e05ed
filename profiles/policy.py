"""What a company may lay down for the API: no personal keys, a maximum age of secrets, networks to be asked from.

A policy is one text of the company's row, "" where there is none, so that a request reads one text more and looks no
further where it is "". It says what is refused, and changes no key, secret or token: with the policy lifted all are as
they were. It concerns the API alone: whatever it says, people get to the pages that undo it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

# Why something is refused: for the log and the metrics.
NO_KEYS, TOO_OLD, ELSEWHERE = "policy_no_keys", "policy_secret_too_old", "policy_network"

DAYS_AT_MOST = 3650
NETWORKS_AT_MOST = 50

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Where = Callable[[], str | None]
"""Asked for the address of a client only where there are networks; None where it has none (a Unix socket)."""


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policy of a company; with nothing said, that of most."""

    no_keys: bool = False
    days: int | None = None
    """The maximum age of a secret, of keys and API Clients alike."""
    networks: tuple[str, ...] = ()
    """From where tokens are asked for and used, as `network` writes them; from anywhere if there are none."""

    def __str__(self) -> str:
        """As it is stored."""
        return "" if self == NONE else msgspec.json.encode(self).decode()

    @property
    def age(self) -> timedelta | None:
        return timedelta(days=self.days) if self.days else None

    def end_of(self, made: datetime) -> datetime | None:
        """From when on a secret that was made then is too old."""
        return made + self.age if self.age else None

    def admits(self, address: str | None) -> bool:
        """Whether tokens may be asked for and used from this address, a plain one as `http.proxies` makes it."""
        return not self.networks or (address is not None and _is_within(address, self.networks))

    def widens(self, before: Policy) -> bool:
        """Whether it lets anything in that was refused before."""
        older = before.days is not None and (self.days is None or self.days > before.days)
        inside = self.networks and all(_is_part(each, before.networks) for each in self.networks)
        return (before.no_keys and not self.no_keys) or older or bool(before.networks and not inside)


NONE = Policy()


@lru_cache(maxsize=1024)
def read(stored: str) -> Policy:
    """A policy as its company's row has it. What a later version has written beside is not looked at."""
    return msgspec.json.decode(stored, type=Policy) if stored else NONE


def in_words(it: Policy) -> str:
    """A policy for people."""
    said = []
    if it.no_keys:
        said.append(_("no personal API access keys"))
    if it.days:
        said.append(ngettext("secret keys of at most %d day", "secret keys of at most %d days", it.days) % it.days)
    if it.networks:
        said.append(_("networks: %s") % " ".join(it.networks))
    return "; ".join(said) or pgettext("policy", "None")


# As an event has them, from what to what.
_stored = re.compile(r'(?:(?<=policy: )|(?<= → ))\{"[^{}]+\}')


def with_words(text: str) -> str:
    """A text in which policies stand as they are stored, with their words in place of them."""
    return _stored.sub(lambda found: _words_of(found[0]), text)


def _words_of(stored: str) -> str:
    try:
        return in_words(read(stored))
    except msgspec.MsgspecError:  # it is something else, such as a part of a name
        return stored


class Terms(NamedTuple):
    """A policy and the secret that it is asked about."""

    stored: str
    is_key: bool
    made: datetime
    """When the secret was."""

    @classmethod
    def read(cls, column: str) -> Self:
        """From the column that `clients.tokens` makes: a kind, a moment as the database writes it, the policy."""
        kind, made, stored = column.split("|", 2)
        moment = datetime.fromisoformat(made)
        return cls(stored, kind == "key", moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    @property
    def policy(self) -> Policy:
        return read(self.stored)

    @property
    def end(self) -> datetime | None:
        """From when on the secret is too old."""
        return self.policy.end_of(self.made)

    def refusal(self, now: datetime, where: Where | None = None) -> str:
        """Why this is refused at this moment, and from there; "" if it is not. Without `where` from no matter where."""
        policy = self.policy
        if self.is_key and policy.no_keys:
            return NO_KEYS
        if policy.age and self.made + policy.age <= now:
            return TOO_OLD
        return "" if where is None or not policy.networks or policy.admits(where()) else ELSEWHERE


def networks(texts: Iterable[str]) -> tuple[str, ...]:
    """These networks in their one form, each once. Raises ValueError with the first that is none."""
    return tuple(dict.fromkeys(map(network, texts)))


def network(text: str) -> str:
    """A network or an address in the one form of it: `10.1.2.3/8` is `10.0.0.0/8`, `::ffff:10.0.0.0/104` too."""
    try:
        # A zone, behind `%`, means something on one machine only.
        found = ipaddress.ip_interface("" if "%" in text else text)
    except ValueError:
        raise ValueError(text) from None
    # Addresses of clients in that form are made plain ones, too (see `http.proxies`).
    mapped = found.ip.ipv4_mapped if isinstance(found, ipaddress.IPv6Interface) else None
    if mapped is None:
        return str(found.network)
    if found.network.prefixlen < 96:
        raise ValueError(text)  # more than all of IPv4, of which it would let nothing in
    return str(ipaddress.ip_network((mapped, found.network.prefixlen - 96), strict=False))


@lru_cache(maxsize=1024)
def _parsed(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


@lru_cache(maxsize=8192)
def _is_within(address: str, texts: tuple[str, ...]) -> bool:
    asked = ipaddress.ip_address(address)
    return any(asked in each for each in _parsed(texts))


def _is_part(text: str, texts: tuple[str, ...]) -> bool:
    """Whether a network lies in one of these."""
    [part] = _parsed((text,))
    # The type checker does not see that both are of one version by then.
    return any(part.version == each.version and part.subnet_of(each) for each in _parsed(texts))  # type: ignore[arg-type]
