"""The one parser of form data under /api: of the query string, and of the body of an OAuth request.

It is strict, so that no proxy in between reads a request differently: UTF-8, a limited number of parameters,
and each name once (RFC 6749 section 3.2). A credential in the query string is refused, because it would be kept in logs
and histories (RFC 6749 section 2.3.1, RFC 6750 section 5.3, RFC 9700 section 4.3.2).

Every error is a `ParametersRefused`; OAuth and the API each make their own answer of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, StrEnum, auto
from urllib.parse import parse_qsl

from .calls import Call

# No request needs more than a few; these limits bound the work that one request can cause.
PARAMETERS_AT_MOST = 50
BODY_AT_MOST = 16 * 1024  # bytes
# But a report of leaked credentials, which is no form, has up to a thousand of them.
REPORT_AT_MOST = 64 * 1024
FORM = "application/x-www-form-urlencoded"
# An endpoint that takes more credentials adds their names.
NEVER_IN_THE_QUERY = frozenset(("access_token", "client_secret", "refresh_token"))


class Place(StrEnum):
    QUERY = "query string"
    BODY = "body"


class Wrong(Enum):
    MALFORMED = auto()  # no form data in UTF-8, or too many parameters
    REPEATED = auto()  # a name that occurs more than once
    MISPLACED = auto()  # a name that may not be in the query string
    OTHER_TYPE = auto()  # a body that is no form
    TOO_LONG = auto()  # a body above BODY_AT_MOST


class ParametersRefused(Exception):
    """What is wrong, in which place, and with which names, if it is about names."""

    def __init__(self, wrong: Wrong, place: Place, names: Iterable[str] = ()) -> None:
        super().__init__(wrong, place)
        self.wrong, self.place, self.names = wrong, place, tuple(names)


def of_query(call: Call, *, never: frozenset[str], empty: bool) -> dict[str, str]:
    """The parameters of the query string, none of which is one of `never`; `empty`: also those without a value."""
    query = call.environ.get("QUERY_STRING", "")
    if not query:
        return {}
    found = _parsed(query.encode("latin-1", "replace"), Place.QUERY, empty=empty)  # as WSGI has bytes
    if misplaced := sorted(never.intersection(found)):
        raise ParametersRefused(Wrong.MISPLACED, Place.QUERY, misplaced)
    return found


def of_body(call: Call) -> dict[str, str]:
    """The parameters of the form; one without a value counts as omitted (RFC 6749 section 3.2)."""
    body = call.body(BODY_AT_MOST + 1)
    if body and call.content_type != FORM:
        raise ParametersRefused(Wrong.OTHER_TYPE, Place.BODY)
    if len(body) > BODY_AT_MOST:
        raise ParametersRefused(Wrong.TOO_LONG, Place.BODY)
    return _parsed(body, Place.BODY, empty=False)


def form_is_announced(call: Call) -> bool:
    """Whether the headers announce a form in the body; the body is not read."""
    announced = call.environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in call.environ
    return announced and call.content_type == FORM


def _parsed(encoded: bytes, place: Place, *, empty: bool) -> dict[str, str]:
    try:
        pairs = parse_qsl(encoded.decode(), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_AT_MOST)
    except ValueError:
        raise ParametersRefused(Wrong.MALFORMED, place) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise ParametersRefused(Wrong.REPEATED, place, [name])
        found[name] = value
    return found if empty else {name: value for name, value in found.items() if value}
