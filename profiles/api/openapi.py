"""The OpenAPI 3.1 document: what is under /api, for programs. `docs` shows the same to people.

It is made of the operations that this site serves, each of which is declared where it stands (`operation`,
`oauth.endpoints`). Here is only what they have in common. `tests/test_openapi.py` compares it with the answers.

Generators of clients read it too, and know less than the specification allows. So each schema is of one kind, a choice
is a plain `enum`, what has fields has a name of its own, and no parameter is a list: they send it as a repeated
parameter. `tests/test_generated_clients.py` generates clients and calls every operation with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings
from django.utils import translation

from .. import rights
from ..http.access import Access
from ..http.calls import JSON
from ..http.errors import ANYWHERE, NOT_READY, TO_A_POST, ApiError, Code, OAuthError, Refusal
from ..http.operations import Content, Operation, Parameter, served
from ..http.parameters import FORM
from ..http.shapes import Json, choice, explained, schemas
from ..http.urls import absolute_url
from ..oauth.metadata import oauth2_scopes

VERSION = "1.0.0"

HEADERS: Json = {
    "NoStore": {"description": "Always `no-store`.", "schema": choice("no-store")},
    "ETag": {"description": "It changes with the picture.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Always `private, no-cache`.", "schema": choice("private, no-cache")},
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


def document() -> Json:
    """The whole document, in English. It is made once, so it is not to be changed."""
    # No middleware sets a language for the API, so a thread would keep that of the page it answered before.
    with translation.override("en"):
        return _document(settings.BASE_URL, served())


@lru_cache(maxsize=2)
def _document(base_url: str, operations: tuple[Operation, ...]) -> Json:
    tags = {operation.tag.name: operation.tag.description for operation in operations}
    types, named = _shapes(operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AirVantage API",
            "version": VERSION,
            "summary": "Act as yourself or for your company from a script.",
            "description": (
                "Exchange the Client ID and the Secret key of a client for an access token (OAuth 2.0, grant "
                "client_credentials), and send it as `Authorization: Bearer <token>`. A client is either your "
                "personal API access key, which acts as you, or an API Client of your company, which acts as itself "
                "with an access profile of its own. A request may do what both the scope of its token and that access "
                "profile allow at that moment. Regenerating the Secret key or deleting the client ends its access "
                "tokens at once, unless the old Secret key was left good for a while. Unknown parameters are ignored; "
                "one that is sent twice is refused."
            ),
        },
        "servers": [{"url": base_url}],
        "externalDocs": {"url": absolute_url("api-docs"), "description": "The same as a page"},
        "tags": [{"name": name, "description": description} for name, description in tags.items()],
        "paths": _paths(operations, types),
        "components": {
            "securitySchemes": _security_schemes(),
            "schemas": named,
            "headers": HEADERS,
            "responses": {name: _refusal(refusal) for name, refusal in _refusals(operations).items()},
        },
    }


def codes(shape: type[ApiError | OAuthError]) -> list[Code]:
    """The codes of all refusals of this shape, by status."""
    found = [code for refusal in _refusals(served()).values() if refusal.shape is shape for code in refusal.codes]
    return sorted(dict.fromkeys(found), key=lambda code: code.status)


def _refusals(operations: tuple[Operation, ...]) -> dict[str, Refusal]:
    """All of them by name; also what a POST gets where no operation takes one, because its body is read before, and
    what the probe answers.
    """
    by_operation = [refusal for operation in operations for refusal in operation.refusals]
    return {refusal.name: refusal for refusal in (*by_operation, *ANYWHERE, *TO_A_POST, NOT_READY)}


def _shapes(operations: tuple[Operation, ...]) -> tuple[dict[int, Json], Json]:
    """The schema of each type, by its `id`, and the named ones that they refer to."""
    types = [ApiError, OAuthError]
    for operation in operations:
        types += [operation.form] if operation.form else []
        types += [type(operation.body)] if operation.body else []
        types += [content.shape for content in operation.answers.values() if content.shape]
    made = {
        "ApiErrorCode": explained("What is wrong, as a code.", {it.code: it.meaning for it in codes(ApiError)}),
        "OAuthErrorCode": explained("RFC 6749 section 5.2.", {it.code: it.meaning for it in codes(OAuthError)}),
    }
    found, named = schemas(types, made)
    return {id(shape): schema for shape, schema in zip(types, found, strict=True)}, named


def _paths(operations: tuple[Operation, ...], types: dict[int, Json]) -> Json:
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = dict(_operation(operation, types))
    return paths


def _operation(operation: Operation, types: dict[int, Json]) -> Iterator[tuple[str, Any]]:
    yield "tags", [operation.tag.name]
    yield "operationId", operation.id
    yield "summary", operation.summary
    if operation.description:
        yield "description", operation.description
    yield "security", _security(operation)
    if operation.parameters:
        yield "parameters", [_parameter(parameter) for parameter in operation.parameters]
    if operation.form:
        body = {"schema": types[id(operation.form)], "example": dict(operation.form_example)}
        yield "requestBody", {"required": True, "content": {FORM: body}}
    if operation.body:
        body = {"schema": types[id(type(operation.body))], "example": msgspec.to_builtins(operation.body)}
        yield "requestBody", {"required": True, "content": {JSON: body}}
    yield (
        "responses",
        {str(status): dict(_content(content, types)) for status, content in operation.answers.items()}
        | {str(refusal.status): {"$ref": f"#/components/responses/{refusal.name}"} for refusal in operation.refusals},
    )


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    match operation.access:
        case Access.BEARER:
            return [{"oauth2": [operation.right] if operation.right else []}]
        case Access.CLIENT:
            # By HTTP Basic, or (the empty requirement) by client_id and client_secret in the form.
            return [{"client": []}, {}]
        case _:
            return []


def _parameter(parameter: Parameter) -> Json:
    found = {"name": parameter.name, "in": parameter.where, "description": parameter.description}
    required = {"required": True} if parameter.where == "path" else {}
    example = {"example": parameter.example} if parameter.example is not None else {}
    return {**found, **required, "schema": parameter.schema, **example}


def _content(content: Content, types: dict[int, Json]) -> Iterator[tuple[str, Any]]:
    yield "description", content.description
    if content.headers:
        yield "headers", _headers(content.headers)
    if content.shape:
        examples: Json = {name: {"value": msgspec.to_builtins(it)} for name, it in content.examples.items()}
        shown = {"example": examples[""]["value"]} if "" in examples else {"examples": examples} if examples else {}
        yield "content", {kind: {"schema": types[id(content.shape)], **shown} for kind in content.types}


def _refusal(refusal: Refusal) -> Json:
    examples = {code: {"value": msgspec.to_builtins(example)} for code, example in refusal.examples.items()}
    schema = {"$ref": f"#/components/schemas/{refusal.shape.__name__}"}
    return {
        "description": refusal.description,
        "headers": _headers({"Cache-Control": "NoStore", **refusal.headers}),
        "content": {JSON: {"schema": schema, "examples": examples}},
    }


def _headers(headers: Any) -> Json:
    return {name: {"$ref": f"#/components/headers/{described}"} for name, described in headers.items()}


def _security_schemes() -> Json:
    return {
        "oauth2": {
            "type": "oauth2",
            "description": (
                "An access token, in the header Authorization only. A right is needed as an effective right: the "
                f"scope is `{rights.INHERIT}` or names it, and the access profile allows it now."
            ),
            "flows": {"clientCredentials": {"tokenUrl": absolute_url("oauth-token"), "scopes": oauth2_scopes()}},
        },
        "client": {
            "type": "http",
            "scheme": "basic",
            "description": "The Client ID as the user name and the Secret key as the password.",
        },
    }
