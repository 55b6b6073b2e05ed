"""The lists of the API: one envelope, `{"items", "count", "size", "offset"}`, and the parameters of all of them.

`size` in the answer is the number of its items, `count` that of all matches. Clients ask for the next page, from
`offset + size`, as long as that is less than `count`; so an answer without items must never
promise more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
from django.db.models import F, Model, QuerySet
from django.db.models.expressions import OrderBy
from msgspec import UNSET, Meta, Struct, UnsetType

from ..http.errors import BAD_REQUEST, NOT_WELL_MADE, Code, Refusal
from ..http.operations import Parameter
from ..http.shapes import UID_PATTERN, Json
from ..text import spelling
from ..text.fields import ByCodePoint
from .bearer import ApiRefused

SIZE_DEFAULT, SIZE_AT_MOST = 100, 500
OFFSET_AT_MOST = 2**31 - 1
NAME_AT_MOST = 150

SIZE_INVALID = Code("size.invalid", 400, f"size is not a number from 1 to {SIZE_AT_MOST}.", ("1000",))
OFFSET_INVALID = Code("offset.invalid", 400, f"offset is not a number from 0 to {OFFSET_AT_MOST}.", ("-1",))
UID_INVALID = Code("uid.invalid", 400, "uid is not 32 lower-case hex characters.", ("42",))
NAME_INVALID = Code("name.invalid", 400, f"name is longer than {NAME_AT_MOST} characters or contains NUL.", ("Jo\0",))
FIELDS_UNKNOWN = Code("fields.unknown", 400, "fields names a field that does not exist.", ("password",))
ORDER_UNKNOWN = Code(
    "orderBy.unknown",
    400,
    "orderBy names a field that does not exist, or one that cannot be used for ordering.",
    ("company",),
)
BAD_LIST_REQUEST = Refusal(
    "BadListRequest",
    400,
    NOT_WELL_MADE,
    (*BAD_REQUEST.codes, SIZE_INVALID, OFFSET_INVALID, UID_INVALID, NAME_INVALID, FIELDS_UNKNOWN, ORDER_UNKNOWN),
)

# What is quoted from a request in the answer that refuses it.
_QUOTE_AT_MOST = 100

_is_number = re.compile("[0-9]{1,10}").fullmatch
_is_uid = re.compile(UID_PATTERN).fullmatch

M = TypeVar("M", bound=Model)

PARAMETERS = (
    Parameter(
        "size",
        "How many items to return at most.",
        {"type": "integer", "format": "int32", "minimum": 1, "maximum": SIZE_AT_MOST, "default": SIZE_DEFAULT},
    ),
    Parameter(
        "offset",
        "How many items to skip. The next page begins at `offset` + `size` of the answer, if that is less than its "
        "`count`.",
        {"type": "integer", "format": "int32", "minimum": 0, "maximum": OFFSET_AT_MOST, "default": 0},
    ),
    Parameter("uid", "Only the item with this uid.", {"type": "string", "pattern": f"^{UID_PATTERN}$"}),
    Parameter(
        "name",
        "Only items whose name contains this. Upper and lower case are the same, by Unicode's default case folding; "
        "accents count, and no character is a wildcard.",
        {"type": "string", "maxLength": NAME_AT_MOST},
    ),
)


class Read:
    """For `Annotated`: the columns that a field is made of, and by what. Else it is the column of its name."""

    def __init__(self, *columns: str, by: Callable[..., object] | None = None) -> None:
        self.columns, self.by = columns, by


class Listing:
    """A list of what `item` shows. Its Structs are called after that: of `User` they are `UserItem` and `UserList`."""

    def __init__(
        self, item: type[Struct], description: str, *, by_default: tuple[str, ...], order: Mapping[str, str | F]
    ) -> None:
        """`order`: what a client calls it -> the column, so that each database has the same order. That of a text by
        its name, to be ordered by code points; any other as F, of which null comes before everything.

        `by_default` are the fields that are shown if none are asked for. `uid` is always shown.
        """
        types = get_type_hints(item, include_extras=True)
        names = dict(zip(item.__struct_encode_fields__, item.__struct_fields__, strict=True))
        self.fields = {shown: _read(name, types[name]) for shown, name in names.items()}
        self.by_default, self.order = by_default, order
        self.page = _page(item, description, types)

    def page_of(self, rows: QuerySet[M], parameters: Mapping[str, str]) -> Struct:
        """The page of `rows` that the parameters ask for. Raises ApiRefused for an invalid parameter."""
        size = _number(parameters, "size", SIZE_INVALID, default=SIZE_DEFAULT, at_least=1, at_most=SIZE_AT_MOST)
        offset = _number(parameters, "offset", OFFSET_INVALID, default=0, at_least=0, at_most=OFFSET_AT_MOST)
        fields = self._fields(parameters.get("fields", ""))
        order = self._order(parameters.get("orderBy", ""))
        rows = self._filtered(rows, parameters)
        columns = tuple(dict.fromkeys(column for read in fields.values() for column in read.columns))
        # What is not shown is not read: above all the password's hash.
        found = list(rows.order_by(*order, "id").values_list(*columns)[offset : offset + size])
        count = _count(rows, offset=offset, size=size, found=len(found))
        return self.page(_items(fields, columns, found), count, len(found), offset)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of all lists, `fields` and `orderBy`."""
        return (
            *PARAMETERS,
            Parameter(
                "fields",
                f"The fields to return, separated by commas, of {_quoted(self.fields)}. `uid` is always among them. "
                f"Default: `{','.join(self.by_default)}`.",
                _separated(self.fields),
            ),
            Parameter(
                "orderBy",
                f"The fields to order by, separated by commas, of {_quoted(self.order)}; with `-` before it, from high "
                "to low. Default: `name`. Texts are ordered by the code points of Unicode, names without regard to "
                "case; what is null comes first.",
                _separated(self.order, before="-?"),
            ),
        )

    def example(self, item: object) -> Json:
        """A page with this item, as it is by default."""
        shown = {name: value for name, value in msgspec.to_builtins(item).items() if name in self.by_default}
        return {"items": [shown], "count": 1, "size": 1, "offset": 0}

    def _fields(self, text: str) -> dict[str, Read]:
        """The fields to show, always in the same order; `uid` is always among them, to identify the item."""
        asked = [name for name in text.split(",") if name] or self.by_default
        if unknown := [name for name in asked if name not in self.fields]:
            raise ApiRefused(
                FIELDS_UNKNOWN,
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
                raise ApiRefused(
                    ORDER_UNKNOWN,
                    f"orderBy is a comma-separated list of {', '.join(self.order)}, each with - before it to descend.",
                    parameters=[field[:_QUOTE_AT_MOST]],
                )
            column = self.order[name]
            if isinstance(column, F):
                by = column.asc(nulls_first=True) if field == name else column.desc(nulls_last=True)
            else:
                of_text = ByCodePoint(column)
                by = of_text.asc() if field == name else of_text.desc()
            order.setdefault(name, by)
        return list(order.values())

    def _filtered(self, rows: QuerySet[M], parameters: Mapping[str, str]) -> QuerySet[M]:
        if (uid := parameters.get("uid")) is not None:
            if not _is_uid(uid):
                # An empty uid too: it is probably a mistake of the caller, who must not get everybody instead.
                raise ApiRefused(UID_INVALID, "uid is 32 lower-case hex characters.", parameters=[uid[:_QUOTE_AT_MOST]])
            [column] = self.fields["uid"].columns
            rows = rows.filter(**{column: uid})
        if name := parameters.get("name"):
            # PostgreSQL does not accept NUL in text.
            if "\0" in name or len(name) > NAME_AT_MOST:
                raise ApiRefused(
                    NAME_INVALID,
                    f"name is part of a name: at most {NAME_AT_MOST} characters, none of them NUL.",
                    parameters=[name[:_QUOTE_AT_MOST]],
                )
            rows = rows.filter(name_folded__contains=spelling.folded(name))
        return rows


def _read(name: str, hint: object) -> Read:
    return next((it for it in get_args(hint) if isinstance(it, Read)), Read(name))


def _page(item: type[Struct], description: str, types: Mapping[str, Any]) -> type[Struct]:
    """The Struct of a page, whose items can have all fields of `item`, and have a uid."""
    optional = [(name, it) if name == "uid" else (name, it | UnsetType, UNSET) for name, it in types.items()]
    names = dict(zip(item.__struct_fields__, item.__struct_encode_fields__, strict=True))
    item_of_page = msgspec.defstruct(
        f"{item.__name__}Item", optional, kw_only=True, rename=names, namespace={"__doc__": description}
    )
    return msgspec.defstruct(
        f"{item.__name__}List",
        [
            ("items", list[item_of_page]),  # type: ignore[valid-type]
            ("count", Annotated[int, Meta(ge=0, description="How many items there are in all.")]),
            ("size", Annotated[int, Meta(ge=0, le=SIZE_AT_MOST, description="How many are here.")]),
            ("offset", Annotated[int, Meta(ge=0, description="How many come before these.")]),
        ],
    )


def _items(fields: Mapping[str, Read], columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[Struct]:
    """The rows with these fields; made column by column, so that for a row nothing is called but what makes a field."""
    if not rows:
        return []
    values = dict(zip(columns, zip(*rows, strict=True), strict=True))
    by_field = [
        map(read.by, *(values[column] for column in read.columns)) if read.by else values[read.columns[0]]
        for read in fields.values()
    ]
    return list(map(_row(tuple(fields)), *by_field))


@lru_cache(maxsize=256)
def _row(fields: tuple[str, ...]) -> type[Struct]:
    """An item with just these fields: the fastest to make and to encode."""
    return msgspec.defstruct("Row", fields)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _separated(names: Iterable[str], before: str = "") -> Json:
    """Some of these names with commas between them, as one text: a list would be sent as a repeated parameter."""
    one = f"{before}({'|'.join(names)})"
    return {"type": "string", "pattern": f"^{one}(,{one})*$"}


def _number(parameters: Mapping[str, str], name: str, code: Code, *, default: int, at_least: int, at_most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if _is_number(text) and at_least <= int(text) <= at_most:
        return int(text)
    # Refused, not reduced: a client that asks for 1000 and continues at offset 1000 would miss half of the items.
    raise ApiRefused(
        code,
        f"{name} is a number from {at_least} to {at_most}.",
        parameters=[text[:_QUOTE_AT_MOST]],
    )


def _count(rows: QuerySet[M], *, offset: int, size: int, found: int) -> int:
    """How many match. The database is queried only if the page does not tell."""
    if 0 < found < size or found == offset == 0:
        return offset + found
    # Rows can come or go between the two queries: never count fewer than were shown, nor more after an empty page.
    counted = rows.count()
    return max(counted, offset + found) if found else min(counted, offset)
