"""An operation of the API: all that is said about it, declared once, beside the function that answers it.

The addresses (`api.urls`), the OpenAPI document and the page `/api/docs` are made of it. Its id is the name of the
function (`list_users` is `listUsers`), its description the docstring, and the name of its route comes from its path, as
`api-users`, `api-users-uid-picture-size` and `oauth-token` do.

`oauth.endpoints.endpoint` and `api.operation` are the decorators that declare.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any, NotRequired, TypedDict, TypeVar

from django.urls import URLPattern, URLResolver, get_resolver, path
from msgspec import UNSET, Struct

from .access import Access, declared
from .calls import JSON, Answer, as_view
from .errors import Refusal, refusals_of
from .shapes import Json

Function = TypeVar("Function", bound=Callable[..., Answer])


@dataclass(frozen=True, slots=True)
class Tag:
    """A group of operations in the document."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the path or of the query string. `schema` is one of OpenAPI."""

    name: str
    description: str
    schema: Json
    where: str = "query"
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no refusal: of which type, with which headers (header -> its description in `openapi`)."""

    description: str
    shape: Any = None
    example: Any = UNSET
    of_client: Any = UNSET
    """What it is for an API Client, where that differs."""
    types: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=lambda: {"Cache-Control": "NoStore"})

    @property
    def examples(self) -> dict[str, Any]:
        """By whose answer it is, or the one that there is under no name; none at all for what is no JSON."""
        if self.of_client is not UNSET:
            return {"key": self.example, "client": self.of_client}
        return {} if self.example is UNSET else {"": self.example}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    path: str
    """From the root, each parameter in braces: `/api/v1/users/{uid}/picture/{size}`."""
    tag: Tag
    summary: str
    function: Callable[..., Answer]
    answers: Mapping[int, Content]
    own_refusals: tuple[Refusal, ...]
    method: str = "GET"
    right: str | None = None
    parameters: tuple[Parameter, ...] = ()
    form: type[Struct] | None = None
    form_example: Mapping[str, str] = field(default_factory=dict)
    body: Struct | None = None
    """An example of the JSON that it takes; its type is the shape."""

    @property
    def id(self) -> str:
        first, *others = self.function.__name__.split("_")
        return first + "".join(word.capitalize() for word in others)

    @property
    def description(self) -> str:
        return " ".join((self.function.__doc__ or "").split())

    @property
    def refusals(self) -> list[Refusal]:
        """All that it can refuse with, by status: its own, and what any address can answer."""
        return refusals_of(self.method, self.own_refusals)

    @property
    def access(self) -> Access | None:
        return declared(self.function)

    @property
    def route(self) -> URLPattern:
        # `str` accepts any text, so that the function answers every value, as JSON.
        written = re.sub(r"{(\w+)}", r"<str:\1>", self.path.removeprefix("/"))
        return path(written, as_view(self.function), name=self._name)

    @property
    def _name(self) -> str:
        words = [word for word in re.split(r"[/.{}]", self.path) if word]
        kept = [word for word in words if word not in ("v1", "json")]
        return "-".join(kept[1:] if kept[1] == "oauth" else kept)


class Said(TypedDict):
    """What each decorator hands on to the declaration as it is."""

    tag: Tag
    summary: str
    right: NotRequired[str]
    parameters: NotRequired[tuple[Parameter, ...]]


def declare(function: Function, **said: Any) -> Function:
    """Put the declaration on the function that lets callers in."""
    function.operation = Operation(function=function, **said)  # type: ignore[attr-defined]
    return function


def declared_in(module: ModuleType) -> Iterator[Operation]:
    """The operations that stand in a module, from top to bottom."""
    for it in vars(module).values():
        if getattr(it, "__module__", None) == module.__name__ and hasattr(it, "operation"):
            yield it.operation


def routes(*modules: ModuleType) -> list[URLPattern]:
    """The routes of all operations of these modules. No two have the same name: `reverse` would find one of them."""
    found = [operation.route for module in modules for operation in declared_in(module)]
    names = Counter(route.name for route in found)
    if repeated := [name for name, times in names.items() if times > 1]:
        raise ValueError(f"operations with the same name of their route: {repeated}")
    return found


def served() -> tuple[Operation, ...]:
    """The operations that have an address on this site, in the order of their addresses in the URLconf."""
    return _served(get_resolver())


@lru_cache(maxsize=2)
def _served(resolver: URLResolver) -> tuple[Operation, ...]:
    return tuple(_walk(resolver))


def _walk(resolver: URLResolver) -> Iterator[Operation]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern)
        elif operation := getattr(getattr(pattern.callback, "answer", None), "operation", None):
            yield operation
