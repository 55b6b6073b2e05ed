"""Limits on failed client authentication, by client and by address (RFC 6749 section 2.3.1, ASVS 6.3.1).

Only failures are counted, and only failures are refused: the right secret is always accepted, so that nobody
can lock a client out by guessing. A secret of 256 bits needs no more protection than that; the limit keeps
a flood from filling logs and a database with work.

Each address and each Client ID has a counter of its own, which nobody else shares; an IPv6 /64 network, of which one
host can have every address, counts as one address. A Client ID need not exist: a limit must not reveal whether it does.

Counts are kept for a minute: in Redis where `CACHE_URL` names one and it answers, else in a table. Both count in one
atomic step, so that no failure is lost; Django's other caches read first and write later. A process that has seen a
limit reached remembers it until the minute is over, and counts nothing more for that counter, so a flood soon costs
less than good requests do.

Made-up Client IDs cannot fill the table: the limit of the address that sends them stops them, and the rows of past
minutes are deleted. No counter is evicted to make room for another.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Iterable

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.db import connection

from .shared_cache import RedisOrTable

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds

# Counter -> the window in which this process has seen its limit reached. Only a cache, cleared when it gets large.
_reached: dict[str, int] = {}
_REACHED_AT_MOST = 50_000

# The window in which this process has last deleted the rows of earlier ones.
_swept = 0

_COUNT = """
INSERT INTO profiles_failurecount AS counted (name, minute, number) VALUES {rows}
ON CONFLICT (name) DO UPDATE
   SET number = CASE WHEN counted.minute = excluded.minute THEN counted.number + 1 ELSE 1 END,
       minute = excluded.minute
RETURNING name, number
"""
_FORGET = """
DELETE FROM profiles_failurecount
 WHERE name IN (SELECT name FROM profiles_failurecount WHERE minute < %s {lock})
"""


def count_failure(*, client_id: str, address: str | None) -> int | None:
    """Count a failed authentication. None, or the seconds to wait if there have been too many in this minute.

    `client_id` is "" unless it has the form of one, and `address` None where there is none (a Unix socket): what is
    missing has no counter, because all such clients would share it.
    """
    return count(_limits(client_id, address), "failed authentications")


def count(limits: dict[str, int], what: str) -> int | None:
    """Add one to each of these counters. None, or the seconds to wait if one is above its limit in this minute.

    `what` is what the log says there were too many of.
    """
    if not settings.RATE_LIMITS:
        return None
    now = time.time()
    window = int(now // WINDOW)
    if not _is_reached(limits, window, what):
        return None
    return int((window + 1) * WINDOW - now) + 1


def _limits(client_id: str, address: str | None) -> dict[str, int]:
    """The counters of a failure, each with its limit: the address first (see `_count_in_table`)."""
    limits = {}
    if address:
        limits[f"address:{network(address)}"] = settings.ADDRESS_FAILURES_PER_MINUTE
    if client_id:
        limits[f"client:{client_id}"] = settings.CLIENT_FAILURES_PER_MINUTE
    return limits


def network(address: str) -> str:
    """The address, or network, that has one counter."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(ip) >> 64 << 64)) + "/64"


def _is_reached(limits: dict[str, int], window: int, what: str) -> bool:
    if any(_reached.get(name) == window for name in limits):
        return True
    counts = _count(limits, window)
    over = [name for name, limit in limits.items() if counts[name] > limit]
    if len(_reached) >= _REACHED_AT_MOST:
        _reached.clear()
    for name in over:
        _reached[name] = window
        logger.warning("too many %s in this minute: %s", what, name)
    return bool(over)


def _count(names: Iterable[str], window: int) -> dict[str, int]:
    """Add one to each of these counters, and return the new counts."""
    names = list(names)
    shared = caches[DEFAULT_CACHE_ALIAS]
    if isinstance(shared, RedisOrTable):
        counts = {name: shared.count(f"failures:{name}:{window}", 2 * WINDOW) for name in names}
        counted = {name: number for name, number in counts.items() if number is not None}
        if len(counted) == len(names):
            return counted
    return _count_in_table(names, window)


def _count_in_table(names: list[str], window: int) -> dict[str, int]:
    """In one statement, which takes the rows in the order given: the address first, so that no deadlock can arise."""
    if not names:
        return {}
    rows = ", ".join(["(%s, %s, 1)"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(rows=rows), [value for name in names for value in (name, window)])
        counts = dict(cursor.fetchall())
    _forget_before(window)
    return counts


def _forget_before(window: int) -> None:
    """Delete the rows of earlier minutes, once a minute in each process; not of the last one: clocks may differ."""
    global _swept  # noqa: PLW0603 - of this process, like `_reached`
    if _swept == window:
        return
    _swept = window
    # Rows that another transaction has locked are skipped, not waited for.
    lock = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET.format(lock=lock), [window - 1])
