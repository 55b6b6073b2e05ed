"""Every address of the site, made from the URLconf, so that a new one is looked at too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern


def addresses(**values: object) -> Iterator[str]:
    """An address for each pattern. `values` are for its parameters, by their names; 1 for those not named."""
    for route in sorted(set(_routes(get_resolver()))):
        yield re.sub(r"<(\w+)>", lambda found: str(values.get(found[1], 1)), route)


def parameters() -> set[str]:
    """The names of all parameters that addresses have."""
    return {name for route in _routes(get_resolver()) for name in re.findall(r"<(\w+)>", route)}


def _routes(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    """The patterns, each parameter as `<name>`."""
    for entry in resolver.url_patterns:
        route = before + _written(entry)
        if isinstance(entry, URLResolver):
            yield from _routes(entry, route)
        else:
            yield route


def _written(entry: URLPattern | URLResolver) -> str:
    pattern = entry.pattern
    if isinstance(pattern, RoutePattern):
        return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", str(pattern))
    text = str(pattern).removeprefix("^").removesuffix("$").replace("\\Z", "")
    return re.sub(r"\(\?P(<\w+>)[^()]*\)", r"\1", text)
