"""How an operation of the API is declared: once, by a decorator of its function. The fields of `Operation` say what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Unpack, get_type_hints

from msgspec import UNSET

from ..http import errors
from ..http.access import Access, declares
from ..http.calls import JSON, Answer, Call
from ..http.errors import Refusal
from ..http.operations import Content, Function, Parameter, Said, Tag, declare
from .bearer import METHODS, ApiCall, bearer, method_not_allowed
from .listing import BAD_LIST_REQUEST, Listing

P = ParamSpec("P")

DOCUMENTATION = Tag("Documentation", "This description.")


def operation(
    path: str,
    *,
    says: str,
    example: object,
    of_client: object = UNSET,
    listing: Listing | None = None,
    refusals: tuple[Refusal, ...] = (),
    **said: Unpack[Said],
) -> Callable[[Callable[Concatenate[ApiCall, P], object]], Callable[..., Answer]]:
    """Declare a GET of `path`, below /api/v1, by whoever has the right. Its shape is what the function returns.

    `says` is what the answer means, and `example` one of it, or of an item of the listing; `of_client` is one for an
    API Client, where that differs. A refusal of its own takes
    the place of the usual one with the same status.
    """
    if listing:
        said["parameters"] = (*listing.parameters, *said.get("parameters", ()))
        example = listing.example(example)
        refusals = (BAD_LIST_REQUEST, *refusals)
    if right := said.get("right"):
        refusals = (errors.FORBIDDEN, *refusals)

    def decorator(function: Callable[Concatenate[ApiCall, P], object]) -> Callable[..., Answer]:
        shape: Any = listing.page if listing else get_type_hints(function, include_extras=True)["return"]
        declared = described(path, answers={200: Content(says, shape, example, of_client)}, refusals=refusals, **said)
        return declared(bearer(right=right)(function))

    return decorator


def described(
    path: str, *, answers: Mapping[int, Content], refusals: tuple[Refusal, ...] = (), **said: Unpack[Said]
) -> Callable[[Function], Function]:
    """Only declare: for a function that lets in by itself whoever has a token."""
    usual = (errors.BAD_REQUEST, errors.UNAUTHORIZED, errors.ELSEWHERE, errors.NOT_ALLOWED)
    own = (*usual, *refusals)  # the last of a status counts
    return lambda function: declare(function, path=f"/api/v1/{path}", answers=answers, own_refusals=own, **said)


def public(
    path: str,
    *,
    summary: str,
    shape: Any,
    kind: str = JSON,
    parameters: tuple[Parameter, ...] = (),
    refusals: tuple[Refusal, ...] = (),
) -> Callable[[Function], Callable[..., Answer]]:
    """Declare a GET of `path` by anyone."""

    def decorator(function: Function) -> Callable[..., Answer]:
        @declares(Access.ANYONE)
        @wraps(function)
        def wrapper(call: Call, **arguments: str) -> Answer:
            return function(call, **arguments) if call.method in METHODS else method_not_allowed(call).answer

        return declare(
            wrapper,
            path=path,
            tag=DOCUMENTATION,
            summary=summary,
            parameters=parameters,
            answers={200: Content(f"{summary}.", shape, types=(kind,), headers={})},
            own_refusals=(errors.NOT_ALLOWED, *refusals),
        )

    return decorator
