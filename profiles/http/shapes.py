"""Shapes of what programs send and get: `msgspec.Struct`s, of which msgspec makes the schemas of the OpenAPI document.

The name of a Struct is that of its schema, which names a class in generated clients; its docstring is published too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from django.utils.functional import Promise
from msgspec import Meta, UnsetType

Json = dict[str, Any]

T = TypeVar("T")
# A field that may be left out; its default is UNSET.
Maybe: TypeAlias = T | UnsetType

_REFERENCE = "#/components/schemas/{name}"
_named: dict[str, Json] = {}


def named(name: str, **schema: Any) -> Meta:
    """For `Annotated`: a schema that has a name though it is no Struct. Its texts may be lazy."""
    _named[name] = schema
    return refers_to(name)


def refers_to(name: str) -> Meta:
    """For `Annotated`: a named schema that is made elsewhere."""
    return Meta(extra_json_schema={"$ref": _REFERENCE.format(name=name)})


def choice(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


def explained(description: str, choices: Mapping[str, object]) -> Json:
    """An enum with a sentence for each value, in the place where generators look for it."""
    return choice(*choices) | {"description": description, "x-enum-descriptions": list(choices.values())}


UID_PATTERN = "[0-9a-f]{32}"
Uid = Annotated[
    str,
    named(
        "Uid",
        type="string",
        pattern=f"^{UID_PATTERN}$",
        description="An identifier that never changes and is never used again.",
    ),
]
# Without the format many clients take it for a 32-bit number, which overflows in 2038.
Moment = Annotated[int, Meta(extra_json_schema={"format": "int64"})]


def schemas(types: Iterable[Any], made: Mapping[str, Json]) -> tuple[list[Json], Json]:
    """A schema for each type, and the named ones that they refer to; `made` are those that no type has.

    Generators know less than the specification allows: a choice has a type beside its `enum`, and beside a reference
    stands a description at most.
    """
    found, structs = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    known = {**_named, **structs, **made}
    named: Json = {}

    def tidy(part: Any) -> Any:
        if isinstance(part, Promise):
            return str(part)
        if isinstance(part, list):
            return [tidy(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            if name not in named:
                named[name] = {}  # keeps its place, and ends a circle
                named[name] = tidy({key: value for key, value in known[name].items() if key != "title"})
            return {key: value for key, value in part.items() if key in ("$ref", "description")}
        typed = {"type": "string"} if isinstance(part.get("enum"), list) and "type" not in part else {}
        return typed | {key: tidy(value) for key, value in part.items()}

    return tidy(list(found)), named
