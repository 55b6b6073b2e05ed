"""Events of one kind, of keys or of accounts, as files: CSV for spreadsheets, JSON lines for programs.

The admin site and `manage.py exportevents` write the same. Events are read in parts, so that a large
number needs more time but not more memory.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any, TypeVar

from django.db.models import OuterRef, QuerySet, Subquery

from ..models import AccountEvent, Company, KeyEvent

WHO_AND_WHERE = (
    "owner_uid",
    "owner_email",
    "owner_company",
    "actor_uid",
    "actor_email",
    "via",
    "address",
    "user_agent",
)
# Of an API Client the owner is its company. What is new is added at the end: programs may go by the order.
COLUMNS = ("time", "action", "client_id", *WHO_AND_WHERE, "reason", "old_secret", "client_name", "detail")
ACCOUNT_COLUMNS = ("time", "action", *WHO_AND_WHERE, "detail")

AnyEvent = TypeVar("AnyEvent", KeyEvent, AccountEvent)
ROWS_AT_A_TIME = 2000
# Without this mark Excel reads the file in the old code page of its country, and shows every É wrongly.
BYTE_ORDER_MARK = "\ufeff"
# The last four are the full-width = + - @.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


class _Line:
    """A file whose `write` returns the text, for `csv.writer`."""

    def write(self, text: str) -> str:
        return text


def columns(model: type[KeyEvent | AccountEvent]) -> tuple[str, ...]:
    return COLUMNS if model is KeyEvent else ACCOUNT_COLUMNS


def with_company(events: QuerySet[AnyEvent]) -> QuerySet[AnyEvent]:
    """Key events, each with the name that the company has now whose API Client it is about: `company_name`."""
    companies = Company.objects.filter(uid=OuterRef("owner_uid"))
    return events.annotate(company_name=Subquery(companies.values("name")[:1]))


def in_parts(events: QuerySet[AnyEvent], *, newest_first: bool = False) -> Iterator[list[AnyEvent]]:
    """The events, by the order in which they were written."""
    order, beyond = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    events = events.select_related("owner__company", "actor").order_by(order)
    if issubclass(events.model, KeyEvent):
        events = with_company(events)
    part = list(events[:ROWS_AT_A_TIME])
    while part:
        yield part
        part = list(events.filter(**{beyond: part[-1].pk})[:ROWS_AT_A_TIME])


def as_csv(model: type[KeyEvent | AccountEvent], parts: Iterable[Iterable[Any]], *, is_file: bool) -> Iterator[str]:
    """The events as CSV."""
    return lines_of_csv(columns(model), (map(_cells, part) for part in parts), is_file=is_file)


def lines_of_csv(headings: Iterable[str], parts: Iterable[Iterable[Iterable[str]]], *, is_file: bool) -> Iterator[str]:
    """Rows of cells as CSV with a line of headings (RFC 4180).

    A file is for spreadsheets, and begins with a byte order mark; what goes to a program has none.
    """
    writer: Any = csv.writer(_Line())
    if is_file:
        yield BYTE_ORDER_MARK
    yield writer.writerow(headings)
    for part in parts:
        yield "".join(writer.writerow(map(harmless, row)) for row in part)


def as_json_lines(model: type[KeyEvent | AccountEvent], parts: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The events as JSON objects, one a line; with "" for what is unknown."""
    for part in parts:
        yield "".join(f"{json.dumps(dict(zip(columns(model), _cells(event), strict=True)))}\n" for event in part)


def harmless(cell: str) -> str:
    """The cell as text for a spreadsheet, which would run one that begins like a formula (CWE-1236).

    A formula can begin at the start of our cell, or after a character that separates cells in another country.
    """
    return _FORMULA.sub(r"\1'", cell)


def _cells(event: KeyEvent | AccountEvent) -> tuple[str, ...]:
    owner, actor = event.owner, event.actor
    return (
        event.time.astimezone(UTC).isoformat(timespec="milliseconds"),
        event.action,
        *((event.client_id,) if isinstance(event, KeyEvent) else ()),
        event.owner_uid,
        owner.email if owner else "",
        _company_of(event),
        event.actor_uid,
        actor.email if actor else "",
        event.via,
        event.address or "",
        event.user_agent,
        *((event.reason, event.old_secret, event.client_name) if isinstance(event, KeyEvent) else ()),
        event.detail,
    )


def _company_of(event: Any) -> str:
    company = event.owner.company if event.owner else None
    return company.name if company else getattr(event, "company_name", None) or ""
