"""The address to which anybody reports credentials that they have found (`clients.leaks`).

The answer is the same for every report that can be read, and so is its time: what was live and what never was differ in
what has to be done, and nobody learns which it was. So the answer leaves at the next step of a fixed grid, when all is
done, and no thread waits for that. How many answers wait is limited, and how many reports an address sends.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..clients import leaks
from ..http import calls, delays, errors, parameters
from ..http.access import Access, declares
from ..http.calls import Answer, Call
from ..http.errors import Code, Refusal
from ..http.operations import Content, Tag, declare
from ..http.parameters import ParametersRefused, Wrong
from ..limits.leak_reports import count_report
from ..models import Event
from ..oauth.shapes import TOKEN_EXAMPLE
from ..origin import Origin
from .bearer import ApiRefused, not_read

# Seconds: what a report changes is done well within one of them, unless it is a report of very many live ones.
STEP = 0.5
# Seconds, when too many answers wait.
SOON = 1

CREDENTIALS_INVALID = Code(
    "credentials.invalid",
    400,
    f"The body is JSON, but no list of credentials, or one of more than {leaks.AT_MOST:,}.",
)
REQUESTS_TOO_MANY = Code(
    "requests.too.many", 429, "Too many reports at once, or from this address; see the header Retry-After."
)
BAD_REPORT = Refusal("ReportBadRequest", 400, errors.NOT_WELL_MADE, (*errors.BAD_REQUEST.codes, CREDENTIALS_INVALID))
TOO_MANY = Refusal("TooManyReports", 429, "Wait before you send another.", (REQUESTS_TOO_MANY,), errors.LATER)

LEAKS = Tag("Leaked credentials", "For whoever finds a Secret key or an access token where it should not be.")


class LeakReport(Struct, frozen=True):
    credentials: Annotated[
        list[str],
        Meta(
            max_length=leaks.AT_MOST,
            description="Secret keys and access tokens, or texts in which they stand, such as a line or an address.",
        ),
    ]


class Accepted(Struct, frozen=True):
    """The same whatever was reported."""

    status: Literal["accepted"]


ACCEPTED = Accepted("accepted")


@declares(Access.ANYONE)
def report_leak(call: Call) -> Answer:
    """Anybody may report, without signing in: who has a credential can end it. A Secret key that works is ended at
    once with all of its access tokens, an access token alone; their people are told when and how. Everything else
    changes nothing. The answer is the same in every case, and tells nothing. What GitHub sends to partners of its
    secret scanning is taken, too: a list of objects with `token`, `type`, `url` and `source`.
    """
    begun = time.monotonic()
    try:
        _let_in(call)
        found = _read(call)
    except ApiRefused as refused:
        return refused.answer
    leaks.end(found, origin=Origin(None, Event.Via.REPORT, call.address, call.user_agent))
    delays.until_next_step(call, begun=begun, step=STEP)
    return calls.json(ACCEPTED, status=202)


declare(
    report_leak,
    method="POST",
    path="/api/credentials/revoke",
    tag=LEAKS,
    summary="Report leaked credentials",
    body=LeakReport([TOKEN_EXAMPLE]),
    answers={202: Content("What worked has ended.", Accepted, ACCEPTED)},
    own_refusals=(BAD_REPORT, errors.NOT_ALLOWED, TOO_MANY),
)


def _let_in(call: Call) -> None:
    if call.method != "POST":
        said = "This address takes POST only."
        raise ApiRefused(errors.METHOD_NOT_ALLOWED, said, parameters=[call.method], headers={"Allow": "POST"})
    wait = count_report(address=call.address)
    if wait is None and not delays.may_wait(call):
        wait = SOON
    if wait is not None:
        raise ApiRefused(REQUESTS_TOO_MANY, REQUESTS_TOO_MANY.meaning, headers={"Retry-After": str(wait)})
    try:
        parameters.of_query(call, never=parameters.NEVER_IN_THE_QUERY | {"credentials", "token"}, empty=True)
    except ParametersRefused as refused:
        if refused.wrong is not Wrong.MISPLACED:
            raise not_read(refused) from None
        said = "Send credentials in the body, never in the query string."
        raise ApiRefused(errors.TOKEN_MISPLACED, said, parameters=refused.names) from None


def _read(call: Call) -> list[leaks.Found]:
    """What is reported. The media type does not matter: a credential that was found must not stay alive for that."""
    body = call.body(parameters.REPORT_AT_MOST + 1)
    if len(body) > parameters.REPORT_AT_MOST:
        raise ApiRefused(errors.REQUEST_TOO_LONG, errors.REQUEST_TOO_LONG.meaning)
    try:
        return leaks.read(body)
    except leaks.NotRead as refused:
        code = CREDENTIALS_INVALID if isinstance(refused, leaks.NoList) else errors.REQUEST_MALFORMED
        raise ApiRefused(code, str(refused)) from None
