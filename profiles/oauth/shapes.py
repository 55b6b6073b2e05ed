"""What the OAuth endpoints are sent and answer, for the document. The order of an answer's fields is fixed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, field

from .. import credentials, rights
from ..http.errors import (
    INVALID_CLIENT,
    INVALID_REQUEST,
    INVALID_SCOPE,
    LATER,
    NOT_WELL_MADE,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNSUPPORTED_GRANT_TYPE,
    Refusal,
)
from ..http.shapes import Maybe, Moment, Uid, named

# --- Requests ---------------------------------------------------------------------------------------------


class _Form(Struct, kw_only=True):
    client_id: Maybe[Annotated[str, Meta(description="The Client ID, unless it is sent by HTTP Basic.")]] = UNSET
    # No format `password`: some clients would send asterisks.
    client_secret: Maybe[Annotated[str, Meta(description="The Secret key, unless it is sent by HTTP Basic.")]] = UNSET


class TokenRequest(_Form):
    grant_type: Annotated[Literal["client_credentials"], Meta(description="Always `client_credentials`.")]
    scope: Maybe[
        Annotated[
            str,
            Meta(
                description=f"Rights to ask for, separated by blanks. Without it `{rights.INHERIT}`: everything that "
                "the access profile allows, read anew at each request.",
                examples=["accountNetwork.users.view"],
            ),
        ]
    ] = UNSET


class _TokenForm(_Form):
    token: Annotated[str, Meta(description="The access token.")]
    token_type_hint: Maybe[Annotated[str, Meta(description="Accepted and ignored: there is one kind of token.")]] = (
        UNSET
    )


class RevocationRequest(_TokenForm): ...


class IntrospectionRequest(_TokenForm): ...


# --- Answers ----------------------------------------------------------------------------------------------


BEARER: Literal["Bearer"] = "Bearer"


class Token(Struct, frozen=True):
    access_token: Annotated[str, Meta(pattern=f"^{credentials.TOKEN_PATTERN}$")]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(ge=0, description="Seconds.")]
    scope: Annotated[str, Meta(description="What was granted.")]


class Introspection(Struct, frozen=True):
    """With `active` false there is nothing else, with `active` true all of it, but `username` where there is a user."""

    active: bool
    scope: Maybe[str] = UNSET
    client_id: Maybe[Annotated[str, Meta(pattern=f"^{credentials.CLIENT_ID_PATTERN}$")]] = UNSET
    username: Maybe[Annotated[str, Meta(description="The e-mail address of the user as whom it acts.")]] = UNSET
    token_type: Maybe[Literal["Bearer"]] = UNSET
    exp: Maybe[Annotated[Moment, Meta(description="When it expires, in Unix seconds.")]] = UNSET
    iat: Maybe[Annotated[Moment, Meta(description="When it was issued, in Unix seconds.")]] = UNSET
    sub: Maybe[
        Annotated[Uid, Meta(description="As whom it acts: the uid of a user, or the Client ID of an API Client.")]
    ] = UNSET
    company_id: Maybe[
        Annotated[Uid | None, Meta(description="The uid of the company that this is of, if there is one.")]
    ] = field(default=UNSET, name="companyId")


Nothing = Annotated[dict[str, Any], named("Nothing", type="object", maxProperties=0, description="An empty object.")]

# Well-formed, with a wrong CRC: it cannot be a real token.
TOKEN_EXAMPLE = credentials.TOKEN_PREFIX + "3xAmpL3" * 7
CLIENT_ID_EXAMPLE = "d2f1c0b9a8e74d6c95b3a1f0e8d7c6b5"
API_CLIENT_EXAMPLE = "7a3d5e8f1c2b4096b8d7e6f5a4c3b2d1"
COMPANY_EXAMPLE = "5b0c2a9de3f84f6f9a5a0d7c1e2b3f40"
OWNER_EXAMPLE = "9e107d9d372b4b8cb2a1f4e60c8d5a77"

# --- Refusals ---------------------------------------------------------------------------------------------

BAD_REQUEST = Refusal("OAuthBadRequest", 400, NOT_WELL_MADE, (INVALID_REQUEST,))
TOKEN_BAD_REQUEST = Refusal(
    "TokenBadRequest", 400, NOT_WELL_MADE, (INVALID_REQUEST, UNSUPPORTED_GRANT_TYPE, INVALID_SCOPE)
)
REFUSALS = (
    Refusal(
        "OAuthUnauthorized",
        401,
        "The client could not be authenticated.",
        (INVALID_CLIENT,),
        {"WWW-Authenticate": "Basic"},
    ),
    Refusal("OAuthMethodNotAllowed", 405, "The method is not allowed.", (INVALID_REQUEST,), {"Allow": "Allow"}),
    Refusal("OAuthTimeout", 408, "The body did not come in time.", (INVALID_REQUEST,)),
    Refusal("OAuthTooLong", 413, "The body is too long.", (INVALID_REQUEST,)),
    Refusal(
        "OAuthTooManyRequests",
        429,
        "Wait before you try again. Valid credentials are always accepted.",
        (TOO_MANY_REQUESTS,),
        {"WWW-Authenticate": "Basic", **LATER},
    ),
    Refusal("OAuthUnavailable", 503, "Try again later.", (TEMPORARILY_UNAVAILABLE,), LATER),
)
