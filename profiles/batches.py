"""Deleting many rows beside full load: a part at a time, each in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

AT_A_TIME = 1000


def delete(rows: QuerySet[Any], *, at_a_time: int = AT_A_TIME) -> Iterator[int]:
    """Delete these rows; yields how many, after each part.

    Rows that somebody else has locked are left for the next time: so two that run at once delete each row once, and no
    deadlock can arise. It can be stopped at any time.
    """
    skip = connection.features.has_select_for_update_skip_locked
    while True:
        with transaction.atomic():
            part = rows.select_for_update(skip_locked=skip).order_by("pk").values_list("pk", flat=True)
            found = list(part[:at_a_time])
            rows.filter(pk__in=found).delete()
        if found:
            yield len(found)
        if len(found) < at_a_time:
            return
