"""Every route of the site, made from the URLconf, so that a new one is tested too.

A test that needs something of its own for a route has a table keyed by the route's name, and looks in it with `[]`: a
route that is not in it yet fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern


class Surface(StrEnum):
    """Who is meant to use an address, and so in which format it answers."""

    PAGE = "page"
    ACCOUNT = "account"
    ADMIN = "admin"
    API = "api"
    OAUTH = "oauth"
    WELL_KNOWN = "well-known"
    PROBE = "probe"


PEOPLE = (Surface.PAGE, Surface.ACCOUNT)
PROGRAMS = (Surface.API, Surface.OAUTH, Surface.WELL_KNOWN, Surface.PROBE)

# The beginning of a path -> its surface; the first one that fits.
_SURFACES = {
    "/accounts/": Surface.ACCOUNT,
    "/admin/": Surface.ADMIN,
    "/api/oauth/": Surface.OAUTH,
    "/api/": Surface.API,
    "/.well-known/": Surface.WELL_KNOWN,
    "/livez": Surface.PROBE,
    "/readyz": Surface.PROBE,
    "/": Surface.PAGE,
}
# Parameter of a path -> a well-formed value, for tests to which the value does not matter.
SAMPLES = {
    "app_label": "profiles",
    "client_id": "0" * 32,
    "content_type_id": "1",
    "key": "set-password",
    "link": "nonsense",
    "object_id": "1",
    "pk": "1",
    "size": "icon",
    "uid": "0" * 32,
    "uidb36": "1",
    "url": "nowhere",
    "user_id": "1",
}


@dataclass(frozen=True)
class Route:
    name: str  # with its namespace; one without a name is called by its path
    path: str  # each parameter as `<name>`
    view: Callable[..., Any]

    @property
    def surface(self) -> Surface:
        return next(surface for beginning, surface in _SURFACES.items() if self.path.startswith(beginning))

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"<(\w+)>", self.path)

    def address(self, **values: object) -> str:
        """The path with these values for its parameters, by name; samples for the others."""
        return re.sub(r"<(\w+)>", lambda found: str({**SAMPLES, **values}[found[1]]), self.path)


def routes(*surfaces: Surface, urlconf: Any = None) -> list[Route]:
    """All routes of these surfaces, or of all: of the site, or of another URLconf."""
    found = sorted(set(_walk(get_resolver(urlconf))), key=lambda route: route.path)
    return [route for route in found if not surfaces or route.surface in surfaces]


def addresses(*surfaces: Surface, **values: object) -> list[str]:
    """An address for each of these routes."""
    return [route.address(**values) for route in routes(*surfaces)]


def names(*surfaces: Surface) -> list[str]:
    return [route.name for route in routes(*surfaces)]


def named(name: str) -> Route:
    (route,) = [route for route in routes() if route.name == name]
    return route


def _walk(resolver: URLResolver, before: str = "/", namespace: str = "") -> Iterator[Route]:
    for entry in resolver.url_patterns:
        path = before + _written(entry)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, path, f"{namespace}{entry.namespace}:" if entry.namespace else namespace)
        else:
            yield Route(namespace + (entry.name or path), path, entry.callback)


def _written(entry: URLPattern | URLResolver) -> str:
    """The pattern, each parameter as `<name>`."""
    pattern = entry.pattern
    if isinstance(pattern, RoutePattern):
        return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", str(pattern))
    text = str(pattern).removeprefix("^").removesuffix("$").replace("\\Z", "")
    return re.sub(r"\(\?P(<\w+>)[^()]*\)", r"\1", text)
