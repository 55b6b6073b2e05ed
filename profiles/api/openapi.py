"""The OpenAPI 3.1 document: what is under /api, for programs. `docs` shows the same to people.

Written by hand, in reading order; what the code knows (addresses, rights, fields, limits)
comes from the code. `tests/test_openapi.py` compares it with the URLs, the answers and the error codes.

Generators of clients read it too, and know less than the specification allows. So each schema is of one kind, a choice
is a plain `enum`, what has fields has a name of its own, and no parameter is a list: they send it as a repeated
parameter. `tests/test_generated_clients.py` generates clients and calls every operation with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.urls import reverse
from oauth2_provider.settings import oauth2_settings

from .. import credentials, rights
from ..account import pictures
from ..http.parameters import FORM
from ..http.urls import absolute_url
from ..oauth.metadata import oauth2_scopes
from . import schemas
from .listing import NAME_AT_MOST, OFFSET_AT_MOST, SIZE_AT_MOST, SIZE_DEFAULT, UID_PATTERN

Json = dict[str, Any]

VERSION = "1.0.0"

# Code -> its meaning, by status. Clients compare the code; the sentence beside it is for people and may change.
_ANY_400 = {
    "request.malformed": "The query string or the body could not be read.",
    "parameter.repeated": "A parameter is sent more than once.",
    "token.misplaced": "A token or secret was sent in the query string or the body instead of the header.",
}
_LIST_400 = {
    "size.invalid": f"size is not a number from 1 to {SIZE_AT_MOST}.",
    "offset.invalid": f"offset is not a number from 0 to {OFFSET_AT_MOST}.",
    "uid.invalid": "uid is not 32 lower-case hex characters.",
    "name.invalid": f"name is longer than {NAME_AT_MOST} characters or contains NUL.",
    "fields.unknown": "fields names a field that does not exist.",
    "orderBy.unknown": "orderBy names a field that does not exist, or one that cannot be used for ordering.",
}
API_ERRORS: dict[int, dict[str, str]] = {
    400: _ANY_400 | _LIST_400,
    401: {
        "token.missing": "No access token was sent in the Authorization header.",
        "token.invalid": "The access token is malformed, unknown, expired or revoked, or its owner is inactive.",
    },
    403: {"right.missing": "The token's effective rights do not include the right that is needed."},
    404: {"resource.unknown": "There is nothing at this address."},
    405: {"method.not.allowed": "The address exists, but not for this method; see the header Allow."},
    500: {"server.error": "Something went wrong on our side."},
    503: {"server.unavailable": "The database cannot be reached; see the header Retry-After."},
}
OAUTH_ERRORS = {
    "invalid_request": "A parameter is missing, malformed, misplaced or sent more than once.",
    "invalid_client": "No client credentials, or they are malformed or wrong.",
    "unsupported_grant_type": "grant_type is not client_credentials.",
    "invalid_scope": "scope names a right that does not exist or that the owner lacks.",
    "too_many_requests": "Too many failed attempts of this client or from this address; see the header Retry-After.",
}
# The parameters of the codes, in the examples.
_ERROR_PARAMETERS = {
    "parameter.repeated": ["size"],
    "token.misplaced": ["access_token"],
    "size.invalid": ["1000"],
    "offset.invalid": ["-1"],
    "uid.invalid": ["42"],
    "name.invalid": ["Jo\0"],
    "fields.unknown": ["password"],
    "orderBy.unknown": ["company"],
    "right.missing": ["accountNetwork.users.view"],
    "method.not.allowed": ["POST"],
}

_COMPANY = {"uid": "5b0c2a9de3f84f6f9a5a0d7c1e2b3f40", "name": "Fleet Ltd"}
_PROFILE = {"uid": "c41f7b8a90d24e1fb3a6d85e7f102938", "name": "Operator"}
_USER_UID = "9e107d9d372b4b8cb2a1f4e60c8d5a77"
_USER = {
    "company": _COMPANY,
    "uid": _USER_UID,
    "email": "jo@fleet.example",
    "name": "Jo Martin",
    "phoneNumber": "+33123456789",
    "profile": _PROFILE,
}
_PICTURE_PATHS = {size: f"/users/{_USER_UID}/picture/{size}" for size in pictures.SIZES}
_RIGHTS = ["accountNetwork.users.view", "entities.systems.view"]
# Well-formed, with a wrong CRC: it cannot be a real token.
_TOKEN = credentials.TOKEN_PREFIX + "3xAmpL3" * 7
_CLIENT_ID = "d2f1c0b9a8e74d6c95b3a1f0e8d7c6b5"


def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AirVantage API",
            "version": VERSION,
            "summary": "Act as yourself from a script, with your personal API access key.",
            "description": (
                "Exchange the Client ID and the Secret key of your personal API access key for an access token "
                "(OAuth 2.0, grant client_credentials), and send it as `Authorization: Bearer <token>`. A request "
                "may do what both the scope of its token and your access profile allow at that moment. "
                "Regenerating or deleting the key ends its access tokens at once. Unknown parameters are ignored; one "
                "that is sent twice is refused."
            ),
        },
        "servers": [{"url": settings.BASE_URL}],
        "externalDocs": {"url": absolute_url("api-docs"), "description": "The same as a page"},
        "tags": [
            {"name": "OAuth 2.0", "description": "Get, end and inspect access tokens."},
            {"name": "Users", "description": "Who you are, what you may do, and who else is in your company."},
            {"name": "Access profiles", "description": "Named sets of rights, given to users by administrators."},
            {"name": "Documentation", "description": "This description."},
        ],
        "paths": _paths(),
        "components": {
            "securitySchemes": _security_schemes(),
            "schemas": _schemas(),
            "parameters": _parameters(),
            "headers": _headers(),
            "responses": _responses(),
        },
    }


def _paths() -> Json:
    return {
        reverse("oauth-token"): {"post": _token()},
        reverse("oauth-revoke"): {"post": _revoke()},
        reverse("oauth-introspect"): {"post": _introspect()},
        reverse("api-users-current"): {
            "get": _get(
                "Users",
                "getCurrentUser",
                "Who am I?",
                "The owner of the key. Any active token is enough.",
                _ok("The owner of the key.", _ref("User"), {**_USER, "picture": _PICTURE_PATHS}),
                parameters=(),
            )
        },
        reverse("api-users-rights"): {
            "get": _get(
                "Users",
                "getCurrentRights",
                "What may I do?",
                "The effective rights of this token, sorted: what its scope and your access profile both allow "
                "now. Any active token is enough.",
                _ok("The effective rights.", {"type": "array", "items": _ref("Right")}, _RIGHTS),
                parameters=(),
            )
        },
        # `reverse` encodes the braces of the parameters as %7B.
        unquote(reverse("api-users-picture", args=["{uid}", "{size}"])): {"get": _picture()},
        reverse("api-users"): {
            "get": _get(
                "Users",
                "listUsers",
                "List the users of my company",
                "The users of your company, yourself and inactive users included. If you belong to no company, "
                "only yourself.",
                _ok("One page of users.", _ref("UserList"), _page(_USER)),
                right="accountNetwork.users.view",
                parameters=("size", "offset", "uid", "name", "userFields", "userOrderBy"),
            )
        },
        reverse("api-profiles"): {
            "get": _get(
                "Access profiles",
                "listProfiles",
                "List the access profiles",
                "The access profiles there are. Ask for `fields=rights` to see what each allows.",
                _ok("One page of access profiles.", _ref("AccessProfileList"), _page(_PROFILE)),
                right="accountNetwork.profiles.view",
                parameters=("size", "offset", "uid", "name", "profileFields", "profileOrderBy"),
            )
        },
        reverse("api-openapi"): {
            "get": _public("getOpenapi", "The OpenAPI document", "application/json", _ref("Document"))
        },
        reverse("api-docs"): {"get": _public("getDocs", "The documentation page", "text/html", {"type": "string"})},
    }


# --- OAuth 2.0 --------------------------------------------------------------------------------------------


def _token() -> Json:
    return _oauth(
        "createToken",
        "Get an access token",
        "RFC 6749 section 4.4. There is no refresh token: ask for a new access token when one is about to expire. "
        "Earlier ones stay valid until they expire.",
        form="TokenRequest",
        example={"grant_type": "client_credentials"},
        ok=_ok(
            "An access token.",
            _ref("Token"),
            {
                "access_token": _TOKEN,
                "token_type": "Bearer",
                "expires_in": oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS,
                "scope": rights.INHERIT,
            },
        ),
        bad="TokenBadRequest",
    )


def _revoke() -> Json:
    return _oauth(
        "revokeToken",
        "End an access token",
        "RFC 7009. Ends one of the key's own access tokens, at once. A token that is not its own, or is none, is "
        "left alone and answered in the same way.",
        form="RevocationRequest",
        example={"token": _TOKEN},
        ok=_ok("The token is not, or no longer, active.", _ref("Nothing"), {}),
    )


def _introspect() -> Json:
    return _oauth(
        "introspectToken",
        "Inspect an access token",
        "RFC 7662. Tells a key about its own active access tokens; about any other, only that it is not active.",
        form="IntrospectionRequest",
        example={"token": _TOKEN},
        ok=_ok(
            "What is known about the token.",
            _ref("Introspection"),
            {
                "active": True,
                "scope": rights.INHERIT,
                "client_id": _CLIENT_ID,
                "username": "jo@fleet.example",
                "token_type": "Bearer",
                "exp": 1798765200,
                "iat": 1798761600,
                "sub": _USER_UID,
            },
        ),
    )


def _oauth(
    operation_id: str,
    summary: str,
    description: str,
    *,
    form: str,
    example: Json,
    ok: Json,
    bad: str = "OAuthBadRequest",
) -> Json:
    return {
        "tags": ["OAuth 2.0"],
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        # By HTTP Basic, or (the empty requirement) by client_id and client_secret in the form.
        "security": [{"client": []}, {}],
        "requestBody": {"required": True, "content": {FORM: {"schema": _ref(form), "example": example}}},
        "responses": {
            "200": ok,
            "400": _response(bad),
            "401": _response("OAuthUnauthorized"),
            "405": _response("OAuthMethodNotAllowed"),
            "413": _response("OAuthTooLong"),
            "429": _response("OAuthTooManyRequests"),
            **_server_errors(),
        },
    }


# --- The API ----------------------------------------------------------------------------------------------


def _get(
    tag: str,
    operation_id: str,
    summary: str,
    description: str,
    ok: Json,
    *,
    parameters: tuple[str, ...],
    right: str | None = None,
) -> Json:
    bad = "BadListRequest" if parameters else "BadRequest"
    responses = {"200": ok, "400": _response(bad), "401": _response("Unauthorized")}
    if right:
        responses["403"] = _response("Forbidden")
    return {
        "tags": [tag],
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "security": [{"oauth2": [right] if right else []}],
        **({"parameters": [{"$ref": f"#/components/parameters/{name}"} for name in parameters]} if parameters else {}),
        "responses": {**responses, "405": _response("MethodNotAllowed"), **_server_errors()},
    }


def _picture() -> Json:
    operation = _get(
        "Users",
        "getUserPicture",
        "A user's picture",
        "Your own with any active token, that of another user of your company with the right "
        f"`{rights.VIEW_USERS}`. Send the `ETag` of the picture that you have as `If-None-Match`. "
        "This address alone can also be opened by the session of a signed-in browser, which sees what a token of its "
        "user would.",
        {
            "description": "The picture.",
            "headers": _PICTURE_HEADERS,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURE_TYPES},
        },
        parameters=(),
    )
    operation["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in ("pictureUid", "pictureSize")]
    operation["responses"] |= {
        "304": {"description": "The picture is the one that you have.", "headers": _PICTURE_HEADERS},
        "403": _response("Forbidden"),
        "404": _response("NotFound"),
    }
    return operation


_PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp")
_PICTURE_HEADERS = {name: {"$ref": f"#/components/headers/{name}"} for name in ("ETag", "Cache-Control")}


def _public(operation_id: str, summary: str, content_type: str, schema: Json) -> Json:
    return {
        "tags": ["Documentation"],
        "operationId": operation_id,
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": summary + ".", "content": {content_type: {"schema": schema}}},
            "405": _response("MethodNotAllowed"),
            **_server_errors(),
        },
    }


def _ok(description: str, schema: Json, example: object) -> Json:
    return {
        "description": description,
        "headers": {"Cache-Control": {"$ref": "#/components/headers/NoStore"}},
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _page(*items: Json) -> Json:
    return {"items": list(items), "count": len(items), "size": len(items), "offset": 0}


def _server_errors() -> Json:
    return {"500": _response("ServerError"), "503": _response("Unavailable")}


def _response(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


# --- Components -------------------------------------------------------------------------------------------


def _security_schemes() -> Json:
    return {
        "oauth2": {
            "type": "oauth2",
            "description": (
                "An access token, in the header Authorization only. A right is needed as an effective right: the "
                f"scope is `{rights.INHERIT}` or names it, and the owner's access profile allows it now."
            ),
            "flows": {"clientCredentials": {"tokenUrl": absolute_url("oauth-token"), "scopes": oauth2_scopes()}},
        },
        "client": {
            "type": "http",
            "scheme": "basic",
            "description": "The Client ID as the user name and the Secret key as the password.",
        },
    }


def _parameters() -> Json:
    return {
        "size": _query(
            "size",
            "How many items to return at most.",
            {
                "type": "integer",
                "format": "int32",
                "minimum": 1,
                "maximum": SIZE_AT_MOST,
                "default": SIZE_DEFAULT,
            },
        ),
        "offset": _query(
            "offset",
            "How many items to skip. The next page begins at `offset` + `size` of the answer, if that is less "
            "than its `count`.",
            {"type": "integer", "format": "int32", "minimum": 0, "maximum": OFFSET_AT_MOST, "default": 0},
        ),
        "uid": _query("uid", "Only the item with this uid.", {"type": "string", "pattern": f"^{UID_PATTERN}$"}),
        "name": _query(
            "name",
            "Only items whose name contains this. Upper and lower case are the same, by Unicode's default case "
            "folding; accents count, and no character is a wildcard.",
            {"type": "string", "maxLength": NAME_AT_MOST},
        ),
        "userFields": _fields(schemas.USERS.fields, schemas.USERS.default_fields),
        "userOrderBy": _order_by(schemas.USERS.order),
        "profileFields": _fields(schemas.PROFILES.fields, schemas.PROFILES.default_fields),
        "profileOrderBy": _order_by(schemas.PROFILES.order),
        "pictureUid": _in_path("uid", "Whose picture.", {"type": "string", "pattern": f"^{UID_PATTERN}$"}, _USER_UID),
        "pictureSize": _in_path(
            "size",
            "`normal` as it was uploaded, `small` within 32 by 32 pixels, `icon` within 16 by 16.",
            {"type": "string", "enum": list(pictures.SIZES)},
            "normal",
        ),
    }


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _in_path(name: str, description: str, schema: Json, example: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def _fields(names: Any, default: tuple[str, ...]) -> Json:
    return _query(
        "fields",
        f"The fields to return, separated by commas, of {_named(names)}. `uid` is always among them. "
        f"Default: `{','.join(default)}`.",
        _separated(names),
    )


def _order_by(names: Any) -> Json:
    return _query(
        "orderBy",
        f"The fields to order by, separated by commas, of {_named(names)}; with `-` before it, from high to low. "
        "Default: `name`. Texts are ordered by the code points of Unicode, names without regard to case.",
        _separated(names, before="-?"),
    )


def _named(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _separated(names: Any, before: str = "") -> Json:
    """Some of these names with commas between them, as one text."""
    one = f"{before}({'|'.join(names)})"
    return {"type": "string", "pattern": f"^{one}(,{one})*$"}


def _headers() -> Json:
    return {
        "NoStore": {"description": "Always `no-store`.", "schema": _choice("no-store")},
        "ETag": {"description": "It changes with the picture.", "schema": {"type": "string"}},
        "Cache-Control": {"description": "Always `private, no-cache`.", "schema": _choice("private, no-cache")},
        "Basic": {"description": "RFC 7617: `Basic`, with its realm.", "schema": {"type": "string"}},
        "Bearer": {
            "description": (
                "RFC 6750: `Bearer`, with its realm, `resource_metadata` (RFC 9728) and, unless no token was sent, "
                "`error`: `invalid_request`, `invalid_token` or `insufficient_scope`, the last with `scope`."
            ),
            "schema": {"type": "string"},
        },
        "Allow": {"description": "The methods that the address takes.", "schema": {"type": "string"}},
        "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    }


def _responses() -> Json:
    return {
        "BadRequest": _api_error("The request is not well made.", _ANY_400),
        "BadListRequest": _api_error("The request is not well made.", API_ERRORS[400]),
        "Unauthorized": _api_error(
            "No access token, or one that is not active.", API_ERRORS[401], {"WWW-Authenticate": "Bearer"}
        ),
        "Forbidden": _api_error("A right is missing.", API_ERRORS[403], {"WWW-Authenticate": "Bearer"}),
        "NotFound": _api_error("It does not exist, or you may not see it.", API_ERRORS[404]),
        "MethodNotAllowed": _api_error("The method is not allowed.", API_ERRORS[405], {"Allow": "Allow"}),
        "ServerError": _api_error("Our fault.", API_ERRORS[500]),
        "Unavailable": _api_error("Try again later.", API_ERRORS[503], {"Retry-After": "RetryAfter"}),
        "TokenBadRequest": _oauth_error(
            "The request is not well made.", "invalid_request", "unsupported_grant_type", "invalid_scope"
        ),
        "OAuthBadRequest": _oauth_error("The request is not well made.", "invalid_request"),
        "OAuthUnauthorized": _oauth_error(
            "The client could not be authenticated.", "invalid_client", headers={"WWW-Authenticate": "Basic"}
        ),
        "OAuthMethodNotAllowed": _oauth_error(
            "The method is not allowed.", "invalid_request", headers={"Allow": "Allow"}
        ),
        "OAuthTooLong": _oauth_error("The body is too long.", "invalid_request"),
        "OAuthTooManyRequests": _oauth_error(
            "Wait before you try again. Valid credentials are always accepted.",
            "too_many_requests",
            headers={"Retry-After": "RetryAfter", "WWW-Authenticate": "Basic"},
        ),
    }


def _api_error(description: str, codes: dict[str, str], headers: dict[str, str] | None = None) -> Json:
    examples = {
        code: {"error": code, "errorParameters": _ERROR_PARAMETERS.get(code, []), "error_description": text}
        for code, text in codes.items()
    }
    return _error(description, "ApiError", examples, headers)


def _oauth_error(description: str, *codes: str, headers: dict[str, str] | None = None) -> Json:
    examples = {code: {"error": code, "error_description": OAUTH_ERRORS[code]} for code in codes}
    return _error(description, "OAuthError", examples, headers)


def _error(description: str, schema: str, examples: Json, headers: dict[str, str] | None) -> Json:
    sent = {"Cache-Control": "NoStore", **(headers or {})}
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{header}"} for name, header in sent.items()},
        "content": {
            "application/json": {
                "schema": _ref(schema),
                "examples": {code: {"value": value} for code, value in examples.items()},
            }
        },
    }


def _schemas() -> Json:
    return {
        "Uid": {
            "type": "string",
            "pattern": f"^{UID_PATTERN}$",
            "description": "An identifier that never changes and is never used again.",
        },
        "Reference": _object({"uid": _ref("Uid"), "name": {"type": "string"}}),
        "Right": _explained("The rights there are.", rights.DESCRIPTIONS),
        "Picture": _object({size: {"type": "string"} for size in pictures.SIZES}),
        "User": _object(_USER_PROPERTIES),
        "UserItem": {
            **_object(_USER_PROPERTIES, required=("uid",)),
            "description": "A user with the fields that were asked for.",
        },
        "UserList": _list("UserItem"),
        "AccessProfileItem": {
            **_object(
                {
                    "uid": _ref("Uid"),
                    "name": {"type": "string"},
                    "rights": {"type": "array", "items": _ref("Right")},
                },
                required=("uid",),
            ),
            "description": "An access profile with the fields that were asked for.",
        },
        "AccessProfileList": _list("AccessProfileItem"),
        "ApiErrorCode": _explained(
            "What is wrong, as a code.", {code: text for codes in API_ERRORS.values() for code, text in codes.items()}
        ),
        "ApiError": _object(
            {
                "error": _ref("ApiErrorCode"),
                "errorParameters": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "What the code is about: a parameter's value or name, a right, a method.",
                },
                "error_description": {"type": "string", "description": "A sentence for people."},
            }
        ),
        "OAuthErrorCode": _explained("RFC 6749 section 5.2.", OAUTH_ERRORS),
        "OAuthError": _object(
            {
                "error": _ref("OAuthErrorCode"),
                "error_description": {"type": "string", "description": "A sentence for people."},
            }
        ),
        "TokenRequest": _form(
            {
                "grant_type": _choice("client_credentials") | {"description": "Always `client_credentials`."},
                "scope": {
                    "type": "string",
                    "description": (
                        f"Rights to ask for, separated by blanks. Without it `{rights.INHERIT}`: everything that your "
                        "access profile allows, read anew at each request."
                    ),
                    "examples": ["accountNetwork.users.view"],
                },
            },
            required="grant_type",
        ),
        "RevocationRequest": _form(_TOKEN_FIELDS, required="token"),
        "IntrospectionRequest": _form(_TOKEN_FIELDS, required="token"),
        "Token": _object(
            {
                "access_token": {"type": "string", "pattern": f"^{credentials.TOKEN_PATTERN}$"},
                "token_type": _choice("Bearer"),
                "expires_in": {"type": "integer", "minimum": 1, "description": "Seconds."},
                "scope": {"type": "string", "description": "What was granted."},
            }
        ),
        "Introspection": {
            **_object(
                {
                    "active": {"type": "boolean"},
                    "scope": {"type": "string"},
                    "client_id": {"type": "string", "pattern": f"^{credentials.CLIENT_ID_PATTERN}$"},
                    "username": {"type": "string", "description": "The owner's e-mail address."},
                    "token_type": _choice("Bearer"),
                    "exp": _moment("When it expires, in Unix seconds."),
                    "iat": _moment("When it was issued, in Unix seconds."),
                    "sub": {**_ref("Uid"), "description": "The owner."},
                },
                required=("active",),
            ),
            "description": "With `active` false there is nothing else, with `active` true all of it.",
        },
        "Nothing": {"type": "object", "maxProperties": 0, "description": "An empty object."},
        "Document": {"type": "object", "additionalProperties": True, "description": "This document."},
    }


_TOKEN_FIELDS: Json = {
    "token": {"type": "string", "description": "The access token."},
    "token_type_hint": {"type": "string", "description": "Accepted and ignored: there is one kind of token."},
}


def _form(fields: Json, *, required: str) -> Json:
    """The form of an OAuth endpoint."""
    client = {
        "client_id": {"type": "string", "description": "The Client ID, unless it is sent by HTTP Basic."},
        # No format `password`: some clients would send asterisks.
        "client_secret": {"type": "string", "description": "The Secret key, unless it is sent by HTTP Basic."},
    }
    return _object(fields | client, required=(required,))


_USER_PROPERTIES: Json = {
    "company": {"anyOf": [_ref("Reference"), {"type": "null"}], "description": "The company, if there is one."},
    "uid": _ref("Uid"),
    # No `format`: clients that validate it refuse some addresses that people have (jo@factory.local).
    "email": {"type": "string"},
    "name": {"type": "string"},
    "phoneNumber": {"type": "string", "description": "In international form, or empty."},
    "profile": {
        "anyOf": [_ref("Reference"), {"type": "null"}],
        "description": "The access profile, if there is one.",
    },
    "picture": {
        "anyOf": [_ref("Picture"), {"type": "null"}],
        "description": "The picture in three sizes, if there is one: paths below `/api/v1`.",
    },
}


def _object(properties: Json, required: tuple[str, ...] | None = None) -> Json:
    """An object, all of whose properties are always there unless `required` says which."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": names}


def _list(item: str) -> Json:
    return _object(
        {
            "items": {"type": "array", "items": _ref(item)},
            "count": {"type": "integer", "minimum": 0, "description": "How many items there are in all."},
            "size": {"type": "integer", "minimum": 0, "maximum": SIZE_AT_MOST, "description": "How many are here."},
            "offset": {"type": "integer", "minimum": 0, "description": "How many come before these."},
        }
    )


def _moment(description: str) -> Json:
    # Without the format many clients take it for a 32-bit number, which overflows in 2038.
    return {"type": "integer", "format": "int64", "description": description}


def _choice(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


def _explained(description: str, choices: Mapping[str, Any]) -> Json:
    """An enum with a sentence for each value, in the place where generators look for it."""
    texts = [str(text) for text in choices.values()]
    return _choice(*choices) | {"description": description, "x-enum-descriptions": texts}
