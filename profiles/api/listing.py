"""The lists of the API: one envelope, `{"items", "count", "size", "offset"}`, and the parameters of all of them.

`size` in the answer is the number of its items, `count` that of all matches. Clients ask for the next page, from
`offset + size`, as long as that is less than `count`; so an answer without items must never
promise more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.db.models.expressions import OrderBy

from ..http import calls
from ..http.calls import Answer
from ..text import spelling
from ..text.fields import ByCodePoint
from .bearer import ApiError

SIZE_DEFAULT, SIZE_AT_MOST = 100, 500
OFFSET_AT_MOST = 2**31 - 1
NAME_AT_MOST = 150
UID_PATTERN = "[0-9a-f]{32}"

# What is quoted from a request in the answer that refuses it.
_QUOTE_AT_MOST = 100

_is_number = re.compile("[0-9]{1,10}").fullmatch
_is_uid = re.compile(UID_PATTERN).fullmatch

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """What the items of a list can show, what they show by default, and by what they can be ordered."""

    fields: Mapping[str, Callable[[M], object]]
    default_fields: tuple[str, ...]
    order: Mapping[str, str]
    """What a client calls it -> the column: by its code points, so that each database has the same order."""

    def answer(self, rows: QuerySet[M], parameters: Mapping[str, str]) -> Answer:
        """The page of `rows` that the parameters ask for. Raises ApiError for an invalid parameter."""
        size = _number(parameters, "size", default=SIZE_DEFAULT, at_least=1, at_most=SIZE_AT_MOST)
        offset = _number(parameters, "offset", default=0, at_least=0, at_most=OFFSET_AT_MOST)
        fields = self._fields(parameters.get("fields", ""))
        order = self._order(parameters.get("orderBy", ""))
        rows = _filtered(rows, parameters)
        page = rows.order_by(*order, "id")[offset : offset + size]
        items = [{name: read(row) for name, read in fields.items()} for row in page]
        return calls.json(
            {
                "items": items,
                "count": _count(rows, offset=offset, size=size, found=len(items)),
                "size": len(items),
                "offset": offset,
            }
        )

    def _fields(self, text: str) -> dict[str, Callable[[M], object]]:
        """The fields to show, always in the same order; `uid` is always among them, to identify the item."""
        asked = [name for name in text.split(",") if name] or self.default_fields
        if unknown := [name for name in asked if name not in self.fields]:
            raise ApiError(
                400,
                "fields.unknown",
                f"fields is a comma-separated list of {', '.join(self.fields)}.",
                parameters=[unknown[0][:_QUOTE_AT_MOST]],
            )
        return {name: read for name, read in self.fields.items() if name in asked or name == "uid"}

    def _order(self, text: str) -> list[OrderBy]:
        """What to order by; `-` before a field reverses it. A `+` before it, decoded to a space, is ignored."""
        order: dict[str, OrderBy] = {}
        for part in (text or "name").split(","):
            field = part.strip(" +")
            name = field.removeprefix("-")
            if name not in self.order:
                raise ApiError(
                    400,
                    "orderBy.unknown",
                    f"orderBy is a comma-separated list of {', '.join(self.order)}, each with - before it to descend.",
                    parameters=[field[:_QUOTE_AT_MOST]],
                )
            by = ByCodePoint(self.order[name])
            order.setdefault(name, by.asc() if field == name else by.desc())
        return list(order.values())


def _number(parameters: Mapping[str, str], name: str, *, default: int, at_least: int, at_most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if _is_number(text) and at_least <= int(text) <= at_most:
        return int(text)
    # Refused, not reduced: a client that asks for 1000 and continues at offset 1000 would miss half of the items.
    raise ApiError(
        400,
        f"{name}.invalid",
        f"{name} is a number from {at_least} to {at_most}.",
        parameters=[text[:_QUOTE_AT_MOST]],
    )


def _filtered(rows: QuerySet[M], parameters: Mapping[str, str]) -> QuerySet[M]:
    if (uid := parameters.get("uid")) is not None:
        if not _is_uid(uid):
            # An empty uid too: it is probably a mistake of the caller, who must not get everybody instead.
            raise ApiError(
                400, "uid.invalid", "uid is 32 lower-case hex characters.", parameters=[uid[:_QUOTE_AT_MOST]]
            )
        rows = rows.filter(uid=uid)
    if name := parameters.get("name"):
        # PostgreSQL does not accept NUL in text.
        if "\0" in name or len(name) > NAME_AT_MOST:
            raise ApiError(
                400,
                "name.invalid",
                f"name is part of a name: at most {NAME_AT_MOST} characters, none of them NUL.",
                parameters=[name[:_QUOTE_AT_MOST]],
            )
        rows = rows.filter(name_folded__contains=spelling.folded(name))
    return rows


def _count(rows: QuerySet[M], *, offset: int, size: int, found: int) -> int:
    """How many match. The database is queried only if the page does not tell."""
    if 0 < found < size or found == offset == 0:
        return offset + found
    # Rows can come or go between the two queries: never count fewer than were shown, nor more after an empty page.
    counted = rows.count()
    return max(counted, offset + found) if found else min(counted, offset)
