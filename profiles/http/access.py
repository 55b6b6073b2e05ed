"""Who gets in: each view of ours says so, in the decorator that enforces it.

The mark itself enforces nothing. `tests/test_routes_declare_access.py` reads it: a route whose view declares nothing
fails there, and so does one that lets in others than it declares.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Access(StrEnum):
    ANYONE = "anyone"
    SIGNING_IN = "who has given their password and has the second step of signing in before them"
    SIGNED_IN = "who is signed in"
    STAFF = "who is signed in and staff"
    BEARER = "who shows an access token"
    CLIENT = "who shows the credentials of a client"


def declares(access: Access) -> Callable[[View], View]:
    """Mark a view. What is wrapped around it by `functools.wraps` has the mark, too."""

    def mark(view: View) -> View:
        view.access = access  # type: ignore[attr-defined]
        return view

    return mark


def declared(view: Callable[..., Any]) -> Access | None:
    """The mark of a view, or None where it has none."""
    return getattr(view, "access", None)
