"""The cache in Redis, and in a table of the database while Redis is away.

The cache holds limits and little else, so signing in and refusing must go on without Redis. What was counted there is
then counted anew in the table: in the minute of the change, and when Redis is back, up to twice as much is let through.
What may be used once is always in the table (`ONCE`): it must be used once in spite of any change.

A Redis that hangs costs one request its time-outs (`settings.CACHES`), and the next ones nothing: it is left alone for
PAUSE, in each process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache

logger = logging.getLogger(__name__)

PAUSE = 5.0  # seconds
# The alias of the cache that is never in Redis.
ONCE = "once"


class _Redis:
    """Whether Redis is away, as this process knows it; of all caches, since there is one Redis."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._try_again = 0.0

    def may_be_asked(self) -> bool:
        """False while it is left alone. After that one request tries it, and the others go on without it meanwhile."""
        if self._away_since is None:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._try_again:
                return False
            self._try_again = now + PAUSE
            return True

    def failed(self, error: Exception) -> None:
        with self._lock:
            now = time.monotonic()
            self._try_again = now + PAUSE
            if self._away_since is not None:
                return
            self._away_since = now
        logger.error("Redis unavailable, the database takes its place: %s", " ".join(str(error).split()))

    def answered(self) -> None:
        if self._away_since is None:
            return
        with self._lock:
            begun, self._away_since = self._away_since, None
        if begun is not None:
            logger.warning("Redis available again, after %.0f s", time.monotonic() - begun)


state = _Redis()


def _redis_error() -> type[Exception]:
    from redis.exceptions import RedisError  # not at the top: it is large, and not needed without Redis

    return RedisError


def _or_in_table(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def in_redis_or_table(self: RedisOrTable, *args: Any, **kwargs: Any) -> Any:
        if state.may_be_asked():
            try:
                result = method(self, *args, **kwargs)
            except _redis_error() as error:
                state.failed(error)
            else:
                state.answered()
                return result
        return getattr(caches[ONCE], method.__name__)(*args, **kwargs)

    return in_redis_or_table


class RedisOrTable(RedisCache):
    """Django's cache in Redis. While Redis is away, the cache `ONCE` does what is asked."""

    add = _or_in_table(RedisCache.add)
    get = _or_in_table(RedisCache.get)
    set = _or_in_table(RedisCache.set)
    touch = _or_in_table(RedisCache.touch)
    delete = _or_in_table(RedisCache.delete)
    get_many = _or_in_table(RedisCache.get_many)
    has_key = _or_in_table(RedisCache.has_key)
    incr = _or_in_table(RedisCache.incr)
    set_many = _or_in_table(RedisCache.set_many)
    delete_many = _or_in_table(RedisCache.delete_many)
    clear = _or_in_table(RedisCache.clear)

    def count(self, key: str, timeout: int) -> int | None:
        """Add one to a counter that ends after `timeout` seconds; the new number, or None while Redis is away."""
        if not state.may_be_asked():
            return None
        try:
            try:
                number: int = super().incr(key)
            except ValueError:  # no such counter yet; of several processes, one adds it
                super().add(key, 0, timeout)
                number = super().incr(key)
        except _redis_error() as error:
            state.failed(error)
            return None
        state.answered()
        return number

    def is_well(self) -> bool:
        """Whether Redis answers and takes changes. Asks it, and closes the connections of this thread to it."""
        try:
            with closing(self._cache.get_client(write=True).connection_pool):
                super().set("ready", 1, 60)
        except _redis_error() as error:
            state.failed(error)
            return False
        state.answered()
        return True
