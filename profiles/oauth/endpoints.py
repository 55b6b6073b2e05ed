"""The OAuth 2.0 endpoints: token (RFC 6749 section 4.4), revocation (RFC 7009), introspection (RFC 7662).

Written on their own instead of on the toolkit's views, which read parameters from anywhere, let any client
introspect, answer errors as HTML and issue tokens without an owner. The toolkit's models, settings and the
signal `app_authorized` are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, get_type_hints

from msgspec import UNSET, Struct
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.signals import app_authorized

from .. import policy, rights
from ..clients import tokens, usage, uses
from ..http import calls, errors, parameters
from ..http.access import Access, declares
from ..http.calls import Answer, Call
from ..http.errors import Refusal, oauth_error
from ..http.operations import Content, Tag, declare
from ..http.parameters import ParametersRefused, Wrong
from ..http.requests import origin_of_client
from ..limits import client_failures
from ..models import ClientSecret
from .client_authentication import (
    CHALLENGE,
    ClientCredentials,
    ClientRefused,
    OAuthRefused,
    authentication_failed,
    client_credentials,
    invalid_request,
)
from .shapes import (
    API_CLIENT_EXAMPLE,
    BAD_REQUEST,
    BEARER,
    CLIENT_ID_EXAMPLE,
    COMPANY_EXAMPLE,
    OWNER_EXAMPLE,
    REFUSALS,
    TOKEN_BAD_REQUEST,
    TOKEN_EXAMPLE,
    Introspection,
    IntrospectionRequest,
    Nothing,
    RevocationRequest,
    Token,
    TokenRequest,
)

logger = logging.getLogger(__name__)

EndReason = ClientSecret.EndReason

Form = Mapping[str, str]
Proven = TypeVar("Proven", tokens.AuthenticatedClient, tokens.Introspection)
Endpoint = Callable[[Call, Form], object]

OAUTH = Tag("OAuth 2.0", "Get, end and inspect access tokens.")

# These are read from the form only.
NEVER_IN_THE_QUERY = parameters.NEVER_IN_THE_QUERY | {"client_id", "grant_type", "password", "scope", "token"}
# How a secret has ended, by `ClientSecret.EndReason`.
ENDED: dict[str, str] = {
    EndReason.REPLACED: "was replaced",
    EndReason.ENDED: "was ended",
    EndReason.DELETED: "ended with its client, which was deleted",
    EndReason.REVOKED: "ended with its client, which an administrator revoked",
    EndReason.LEAKED: "was reported as leaked and ended",
}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def endpoint(
    path: str,
    *,
    form: type[Struct],
    sent: Mapping[str, str],
    summary: str,
    says: str,
    example: object,
    of_client: object = UNSET,
    bad: Refusal = BAD_REQUEST,
) -> Callable[[Endpoint], Callable[[Call], Answer]]:
    """Declare what takes a POST of `form`, read strictly, by a client that proves itself; errors are JSON.

    `sent` and `example` are an example of each, `of_client` one for an API Client where that differs, `says` what an
    answer means, `bad` how it refuses with status 400.
    """

    def decorator(function: Endpoint) -> Callable[[Call], Answer]:
        @declares(Access.CLIENT)
        @wraps(function)
        def wrapper(call: Call) -> Answer:
            try:
                if call.method != "POST":
                    raise _other_method()
                return calls.json(function(call, _form(call)), headers=NO_STORE)
            except ClientRefused as refused:
                return _refused(call, refused)
            except OAuthRefused as refused:
                said = (call.client_id or "-", call.address or "-", refused.answer.reason)
                logger.info("request refused: client_id=%s address=%s reason=%s", *said)
                return refused.answer

        shape: Any = get_type_hints(function, include_extras=True)["return"]
        return declare(
            wrapper,
            method="POST",
            path=f"/api/oauth/{path}",
            tag=OAUTH,
            summary=summary,
            form=form,
            form_example=sent,
            answers={200: Content(says, shape, example, of_client)},
            own_refusals=(bad, *REFUSALS),
        )

    return decorator


@endpoint(
    "token",
    form=TokenRequest,
    sent={"grant_type": "client_credentials"},
    summary="Get an access token",
    says="An access token.",
    example=Token(TOKEN_EXAMPLE, BEARER, oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS, rights.INHERIT),
    bad=TOKEN_BAD_REQUEST,
)
def create_token(call: Call, form: Form) -> Token:
    """RFC 6749 section 4.4. There is no refresh token: ask for a new access token when one is about to expire.
    Earlier ones stay valid until they expire.
    """
    grant_type = form.get("grant_type")
    if not grant_type:
        raise invalid_request("grant_type is missing.")
    if grant_type != "client_credentials":
        raise OAuthRefused(oauth_error(errors.UNSUPPORTED_GRANT_TYPE, "Only client_credentials is supported."))
    client = client_credentials(call, form)
    scope = _granted_scope(call, form.get("scope", ""), client)
    try:
        issued = tokens.issue(client_id=client.client_id, secret=client.secret, scope=scope, where=lambda: call.address)
    except tokens.Refused as refused:
        raise _not_proven(call, client, refused) from None
    call.client_id = client.client_id
    origin_of = partial(origin_of_client, call)
    usage.note_authentication(issued.client, origin_of)
    address = call.address
    uses.count(issued.client, origin_of, address=address, tokens=1)
    logger.info("token issued: client_id=%s address=%s", client.client_id, address or "-")
    if app_authorized.has_listeners(create_token):
        app_authorized.send(sender=create_token, request=call.as_request(), token=issued.row)
    return Token(issued.token, BEARER, issued.expires_in, issued.scope)


@endpoint(
    "revoke",
    form=RevocationRequest,
    sent={"token": TOKEN_EXAMPLE},
    summary="End an access token",
    says="The token is not, or no longer, active.",
    example={},
)
def revoke_token(call: Call, form: Form) -> Nothing:
    """RFC 7009. Ends one of the client's own access tokens, at once. A token that is not its own, or is none, is left
    alone and answered in the same way. The networks that a company allows do not count here: access is ended from
    everywhere.
    """
    own = _proven(call, client_credentials(call, form), tokens.authenticate, from_anywhere=True)
    tokens.revoke(_required_token(form), key_id=own.client.key_id)
    return {}


@endpoint(
    "introspect",
    form=IntrospectionRequest,
    sent={"token": TOKEN_EXAMPLE},
    summary="Inspect an access token",
    says="What is known about the token.",
    example=Introspection(
        active=True,
        scope=rights.INHERIT,
        client_id=CLIENT_ID_EXAMPLE,
        username="jo@fleet.example",
        token_type=BEARER,
        exp=1798765200,
        iat=1798761600,
        sub=OWNER_EXAMPLE,
        company_id=COMPANY_EXAMPLE,
    ),
    of_client=Introspection(
        active=True,
        scope="entities.systems.view",
        client_id=API_CLIENT_EXAMPLE,
        token_type=BEARER,
        exp=1798765200,
        iat=1798761600,
        sub=API_CLIENT_EXAMPLE,
        company_id=COMPANY_EXAMPLE,
    ),
)
def introspect_token(call: Call, form: Form) -> Introspection:
    """RFC 7662. Tells a client about its own active access tokens; about any other, only that it is not active.
    A resource server, which is an API Client that an administrator of this site has made one, is told about every
    active access token. A token can end at any moment, so it asks for each request that it serves.
    """
    client = client_credentials(call, form)
    asked = _proven(call, client, partial(tokens.introspect, form.get("token", "")))
    _required_token(form)
    found = asked.token
    if found is None:
        return Introspection(active=False)
    if found.client.key_id != asked.client.key_id:
        uses.count_call_elsewhere(found.client)
    # As of now: a right that was taken away since is no longer in the scope.
    scope = [name for name in found.scope.split() if name == rights.INHERIT or name in found.rights]
    return Introspection(
        active=True,
        scope=" ".join(scope),
        client_id=found.client_id,
        username=UNSET if found.owner.email is None else found.owner.email,
        token_type=BEARER,
        exp=int(found.expires.timestamp()),
        iat=int(found.issued.timestamp()),
        sub=found.owner.uid,
        company_id=found.owner.company.uid if found.owner.company else None,
    )


def _proven(
    call: Call, client: ClientCredentials, prove: Callable[..., Proven], *, from_anywhere: bool = False
) -> Proven:
    """What `prove` says of a client that it has authenticated; the use of its secret is recorded."""
    where = None if from_anywhere else lambda: call.address
    try:
        proven = prove(client_id=client.client_id, secret=client.secret, where=where)
    except tokens.Refused as refused:
        raise _not_proven(call, client, refused) from None
    call.client_id = client.client_id
    origin_of = partial(origin_of_client, call)
    usage.note_authentication(proven.client, origin_of)
    uses.count(proven.client, origin_of, address=call.address)
    return proven


def _not_proven(call: Call, client: ClientCredentials, refused: tokens.Refused) -> OAuthRefused:
    """The refusal of this client. That an ended secret of its own was tried is recorded, for its people to see.

    One that only a policy refuses has proven itself: it is told why, and nothing is counted as a guess.
    """
    if isinstance(refused, tokens.RefusedByPolicy):
        call.client_id = client.client_id
        answer = oauth_error(errors.INVALID_CLIENT, _by_policy(refused), headers=CHALLENGE)
        answer.reason = refused.reason
        return OAuthRefused(answer)
    if not isinstance(refused, tokens.SecretEnded):
        return authentication_failed(refused.reason, client.client_id)
    usage.note_refusal(refused.secret_id, address=call.address, user_agent=call.user_agent)
    description = f"The client secret {ENDED[refused.end.reason]} on {refused.end.at:%Y-%m-%d at %H:%M:%S} UTC."
    return ClientRefused(description, refused.reason, client_id=client.client_id)


def _by_policy(refused: tokens.RefusedByPolicy) -> str:
    if refused.reason == policy.NO_KEYS:
        return "The company of this user allows no personal keys."
    if refused.reason == policy.TOO_OLD:
        return (
            f"The client secret is older than the {refused.terms.policy.days} days that its company allows, since "
            f"{refused.terms.end:%Y-%m-%d at %H:%M:%S} UTC. Regenerate it."
        )
    return "The company of this client allows no access from this address."


def _granted_scope(call: Call, asked: str, client: ClientCredentials) -> str:
    """The scope to issue: `inherit`, or the rights asked for, each of which the access profile must allow now.

    Only a narrower scope needs a query for the rights, and only an authenticated client is told about them.
    """
    names = list(dict.fromkeys(asked.split(" ")))
    names = [name for name in names if name] or [rights.INHERIT]
    if names == [rights.INHERIT]:
        return rights.INHERIT
    proven = _proven(call, client, tokens.authenticate)
    if not proven.rights.issuperset(name for name in names if name != rights.INHERIT):
        raise OAuthRefused(
            oauth_error(
                errors.INVALID_SCOPE, "The scope names a right that does not exist or that the access profile lacks."
            )
        )
    return " ".join(names)


def _other_method() -> OAuthRefused:
    return OAuthRefused(
        oauth_error(errors.INVALID_REQUEST, "This endpoint takes POST only.", status=405, headers={"Allow": "POST"})
    )


def _required_token(form: Form) -> str:
    if "token" not in form:
        raise invalid_request("token is missing.")
    return form["token"]


def _form(call: Call) -> dict[str, str]:
    """The parameters of the form, each at most once, the empty ones left out (RFC 6749 section 3.2)."""
    try:
        parameters.of_query(call, never=NEVER_IN_THE_QUERY, empty=False)
        return parameters.of_body(call)
    except ParametersRefused as refused:
        raise _not_read(refused) from None


def _not_read(refused: ParametersRefused) -> OAuthRefused:
    match refused.wrong:
        case Wrong.MALFORMED:
            at_most = f"at most {parameters.PARAMETERS_AT_MOST} parameters"
            return invalid_request(f"The {refused.place} must be well-formed form data in UTF-8, with {at_most}.")
        case Wrong.REPEATED:
            return invalid_request(f"The {refused.place} has a parameter more than once.")
        case Wrong.MISPLACED:
            return invalid_request(f"Send {refused.names[0]} in the body of the request, never in the query string.")
        case Wrong.OTHER_TYPE:
            return invalid_request(f"The body must be {parameters.FORM}.")
        case Wrong.TOO_LONG:
            return OAuthRefused(oauth_error(errors.INVALID_REQUEST, "The body is too long.", status=413))


def _refused(call: Call, refused: ClientRefused) -> Answer:
    """The answer to a client whose authentication failed: 401, or 429 after too many failures."""
    address = call.address
    wait = client_failures.count_failure(client_id=refused.client_id, address=address)
    if wait is None:
        said = (refused.client_id or "-", address or "-", refused.answer.reason)
        logger.warning("client refused: client_id=%s address=%s reason=%s", *said)
        return refused.answer
    # Not a line for each of these: a flood must not fill the log. `client_failures` has one a minute.
    return oauth_error(
        errors.TOO_MANY_REQUESTS,
        "Too many failed attempts. Correct the credentials, then try again later.",
        # The challenge too: valid credentials are accepted even now, and some programs send them only when challenged.
        headers={**CHALLENGE, "Retry-After": str(wait)},
    )
