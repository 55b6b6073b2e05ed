"""Key events as files: CSV for spreadsheets, JSON lines for programs.

The admin site and `manage.py exportevents` write the same. Events are read a part at a time, so that their number
costs time but no memory.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from django.db.models import QuerySet

from .models import KeyEvent

COLUMNS = (
    "time",
    "action",
    "client_id",
    "owner_uid",
    "owner_email",
    "owner_company",
    "actor_uid",
    "actor_email",
    "via",
    "address",
    "user_agent",
    "reason",
)
ROWS_AT_A_TIME = 2000
# Without this mark Excel takes the file for one in the old code page of its country, and garbles every É.
BYTE_ORDER_MARK = "\ufeff"
# The last four are the full-width = + - @.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


class _Line:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def in_parts(events: QuerySet[KeyEvent], *, newest_first: bool = False) -> Iterator[list[KeyEvent]]:
    """The events, by the order in which they were written."""
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    events = events.select_related("owner__company", "actor").order_by(order)
    part = list(events[:ROWS_AT_A_TIME])
    while part:
        yield part
        part = list(events.filter(**{beyond: part[-1].pk})[:ROWS_AT_A_TIME])


def as_csv(parts: Iterable[list[KeyEvent]], *, is_file: bool) -> Iterator[str]:
    """The events as CSV with a line of headings (RFC 4180).

    A file is for spreadsheets, and begins with a byte order mark; what goes to a program has none.
    """
    writer: Any = csv.writer(_Line())
    if is_file:
        yield BYTE_ORDER_MARK
    yield writer.writerow(COLUMNS)
    for part in parts:
        yield "".join(writer.writerow(map(harmless, _cells(event))) for event in part)


def as_json_lines(parts: Iterable[list[KeyEvent]]) -> Iterator[str]:
    """The events as JSON objects, one a line; "" where there is nothing to say."""
    for part in parts:
        yield "".join(f"{json.dumps(dict(zip(COLUMNS, _cells(event), strict=True)))}\n" for event in part)


def harmless(cell: str) -> str:
    """The cell as text for a spreadsheet, which would run one that begins like a formula (CWE-1236).

    A cell begins where ours does, or behind what a spreadsheet of another country takes for the end of one.
    """
    return _FORMULA.sub(r"\1'", cell)


def _cells(event: KeyEvent) -> tuple[str, ...]:
    owner, actor = event.owner, event.actor
    return (
        event.time.astimezone(UTC).isoformat(timespec="milliseconds"),
        event.action,
        event.client_id,
        event.owner_uid,
        owner.email if owner else "",
        owner.company.name if owner and owner.company else "",
        event.actor_uid,
        actor.email if actor else "",
        event.via,
        event.address or "",
        event.user_agent,
        event.reason,
    )
