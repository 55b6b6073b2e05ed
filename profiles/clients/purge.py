"""What is left of dead tokens, of ended secrets and of uses, deleted once nobody has to know of it.

Nothing is refused later for it: dead they are already. A part of the table at a time, each in a short transaction of
its own, so that it needs no more memory for many rows than for few, and can be stopped and run again at any time,
beside full load and beside itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from .. import batches
from ..models import AccessToken, ClientSecret, OAuthApplication, UsedFrom, UsedOn
from . import uses
from .tokens import RECOGNISED_FOR

ROWS, PAUSE = 5000, 0.2  # rows looked at in one transaction, and seconds that the database is left to others after it

# One part of the table, by primary key. `id` bounds the outer statement too: what PostgreSQL knows about a
# sub-query does not keep it from reading the whole table for each part.
_PART = "id > %s AND id <= %s"
_DEAD = """
SELECT id FROM profiles_accesstoken t
 WHERE {part}
   AND (expires < %s OR NOT EXISTS (SELECT 1 FROM profiles_oauthapplication k WHERE k.id = t.application_id))
"""
_DELETE = "DELETE FROM profiles_accesstoken WHERE {part} AND id IN ({dead} {lock})"
_COUNT = "SELECT COUNT(*) FROM ({dead}) dead"
_END_OF_PART = "SELECT MAX(id) FROM (SELECT id FROM profiles_accesstoken WHERE id > %s ORDER BY id LIMIT %s) part"
_FIRST_AND_LAST = "SELECT MIN(id), MAX(id) FROM profiles_accesstoken"


def dead_tokens(*, rows: int = ROWS, pause: float = PAUSE, dry_run: bool = False) -> Iterator[int]:
    """Delete the access tokens that have expired, and those of keys that are gone; or only count them.

    Yields how many, after each part.
    """
    now = timezone.now()
    # Tokens made meanwhile have larger ids than the last one and are not read, so this ends.
    first, last = _fetch(_FIRST_AND_LAST)
    if first is None:
        return
    after = first - 1
    while after < last:
        [end] = _fetch(_END_OF_PART, after, rows)
        if end is None:
            return
        end = min(end, last)
        yield _count(after, end, now) if dry_run else _delete(after, end, now)
        after = end
        if pause and after < last:
            time.sleep(pause)


def ended_secrets(*, rows: int = batches.AT_A_TIME, dry_run: bool = False) -> Iterator[int]:
    """Delete the secrets that are recognised no more, also of keys that are gone; or only count them.

    Not the newest one of a client, which says why none is live; and none that a token refers to: the purge of dead
    tokens comes first. Yields how many, after each part.
    """
    newer = ClientSecret.objects.filter(application=OuterRef("application"), pk__gt=OuterRef("pk"))
    over = ClientSecret.objects.filter(Q(application=None) | Exists(newer), ends__lte=timezone.now() - RECOGNISED_FOR)
    after = 0
    while found := list(over.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:rows]):
        after = found[-1]
        # No index leads from a secret to its tokens; once for each part this reads all tokens, without a lock. Nobody
        # obtains another token with a secret that has ended.
        needed = AccessToken.objects.filter(secret__in=found).values_list("secret", flat=True).distinct()
        yield from _disposed(ClientSecret.objects.filter(pk__in=set(found).difference(needed)), dry_run=dry_run)


def past_uses(*, rows: int = batches.AT_A_TIME, dry_run: bool = False) -> Iterator[int]:
    """Delete the days that are not told any more, and the addresses whose time is over; or only count them.

    Not the latest address of a client that there is: see `uses`. Yields how many, after each part.
    """
    now = timezone.now()
    days = UsedOn.objects.filter(day__lt=now.astimezone(UTC).date() - timedelta(days=uses.DAYS))
    yield from _disposed(days, dry_run=dry_run)
    later = UsedFrom.objects.filter(application=OuterRef("application"), last_used__gt=OuterRef("last_used"))
    is_there = Exists(OAuthApplication.objects.filter(pk=OuterRef("application_id")))
    past = UsedFrom.objects.filter(Exists(later) | ~is_there, last_used__lt=now - uses.REMEMBERED)
    after = 0
    while found := list(past.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:rows]):
        after = found[-1]
        yield from _disposed(UsedFrom.objects.filter(pk__in=found), dry_run=dry_run)


def _disposed(rows: QuerySet[Any], *, dry_run: bool) -> Iterator[int]:
    if dry_run:
        yield rows.count()
    else:
        yield from batches.delete(rows)


def _fetch(sql: str, *params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone() or ()


def _count(after: int, end: int, now: datetime) -> int:
    dead = _DEAD.format(part=_PART)
    [number] = _fetch(_COUNT.format(dead=dead), after, end, _value(now))
    return int(number)


def _delete(after: int, end: int, now: datetime) -> int:
    # Rows that another transaction has locked are skipped, not waited for: no deadlock can arise.
    lock = "ORDER BY id FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    sql = _DELETE.format(part=_PART, dead=_DEAD.format(part=_PART), lock=lock)
    with connection.cursor() as cursor:
        # Autocommit: the statement is a transaction of its own.
        cursor.execute(sql, (after, end, after, end, _value(now)))
        return cursor.rowcount


def _value(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)
