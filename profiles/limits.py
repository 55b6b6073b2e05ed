"""Limits on failed client authentication, by client and by address (RFC 6749 section 2.3.1, ASVS 6.3.1).

Only failures are counted, and only failures are refused: the right secret gets in whatever happens around it, so
that nobody can lock a client out by guessing. A secret of 256 bits needs no more protection than that; the limit keeps
a flood from filling logs and a database with work.

Counts are kept for a minute in Django's cache, which all processes share. A process that has seen a limit reached
remembers it until the minute is over, so a flood soon costs less than good requests do.
"""

from __future__ import annotations

import time
from zlib import crc32

from django.conf import settings
from django.core.cache import cache

WINDOW = 60  # seconds
# Counters a kind at most: names that attackers make up share them instead of filling the cache.
COUNTERS = 4096

# Counter -> the window in which this process has seen its limit reached.
_reached: dict[str, int] = {}


def count_failure(*, client_id: str, address: str | None) -> int | None:
    """Count a failed authentication. None, or the seconds to wait if there have been too many in this minute."""
    if not settings.RATE_LIMITS:
        return None
    now = time.time()
    window = int(now // WINDOW)
    exceeded = [
        _exceeded(f"client:{_bucket(client_id)}", settings.CLIENT_FAILURES_PER_MINUTE, window),
        _exceeded(f"address:{_bucket(address or '')}", settings.ADDRESS_FAILURES_PER_MINUTE, window),
    ]
    return int((window + 1) * WINDOW - now) + 1 if any(exceeded) else None


def _exceeded(counter: str, limit: int, window: int) -> bool:
    if _reached.get(counter) == window:
        return True
    name = f"failures:{counter}:{window}"
    try:
        count = cache.incr(name)
    except ValueError:  # the first of this minute
        cache.add(name, 1, timeout=2 * WINDOW)
        return False
    if count > limit:
        _reached[counter] = window
    return count > limit


def _bucket(name: str) -> int:
    return crc32(name.encode()) % COUNTERS
