"""The OpenAPI document as a page for people: what the template `api/docs.html` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from .. import credentials, rights
from ..http.parameters import FORM
from ..http.urls import absolute_url
from . import openapi
from .openapi import Json

_PLACES = {"path": "path", "query": "query string"}
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")(:?)')


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    where: str
    required: bool
    description: SafeString
    values: SafeString


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: SafeString
    right: str
    parameters: list[Parameter]
    request: str
    answer: SafeString
    # Status -> its error codes.
    errors: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    description: str
    operations: list[Operation]


def context() -> dict[str, object]:
    """All that the template needs."""
    document = openapi.document()
    operations = [
        (operation["tags"][0], _operation(document, path, method, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return {
        "info": document["info"],
        "description": _text(document["info"]["description"]),
        "base_url": settings.BASE_URL,
        "groups": [
            Group(tag["name"], tag["description"], [shown for name, shown in operations if name == tag["name"]])
            for tag in document["tags"]
        ],
        "curl": curl_example(),
        "python": python_example(),
        "rights": rights.CATALOGUE,
        "inherit": rights.INHERIT,
        "error": _example(document, "BadListRequest", "size.invalid"),
        "oauth_error": _example(document, "OAuthBadRequest", "invalid_request"),
        "api_errors": openapi.API_ERRORS,
        "oauth_errors": {code: _text(text) for code, text in openapi.OAUTH_ERRORS.items()},
        "patterns": {
            "Secret key": rf"\b{credentials.SECRET_PATTERN}\b",
            "Access token": rf"\b{credentials.TOKEN_PATTERN}\b",
            "Client ID": rf"\b{credentials.CLIENT_ID_PATTERN}\b",
        },
    }


def curl_example() -> str:
    """From key to answer, for a shell with CLIENT_ID and CLIENT_SECRET set."""
    return f"""\
TOKEN=$(curl --silent --user "$CLIENT_ID:$CLIENT_SECRET" \\
  --data grant_type=client_credentials \\
  {absolute_url("oauth-token")} | jq --raw-output .access_token)

curl --header "Authorization: Bearer $TOKEN" \\
  {absolute_url("api-users-current")}"""


def python_example() -> str:
    """The same in Python."""
    return f"""\
import os
import requests

answer = requests.post(
    "{absolute_url("oauth-token")}",
    auth=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]),
    data={{"grant_type": "client_credentials"}},
    timeout=10,
)
answer.raise_for_status()
token = answer.json()["access_token"]

me = requests.get(
    "{absolute_url("api-users-current")}",
    headers={{"Authorization": f"Bearer {{token}}"}},
    timeout=10,
)
print(me.json())"""


def _operation(document: Json, path: str, method: str, operation: Json) -> Operation:
    needs = [scope for scheme in operation["security"] for scope in scheme.get("oauth2", [])]
    media = operation["responses"]["200"]["content"].get("application/json", {})
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=_text(operation.get("description", "")),
        right=needs[0] if needs else "",
        parameters=list(_parameters(document, operation)),
        request=_request(path, operation, [_at(document, it["$ref"]) for it in operation.get("parameters", [])]),
        answer=_json(media["example"]) if "example" in media else SafeString(""),
        errors=dict(_errors(document, operation)),
    )


def _parameters(document: Json, operation: Json) -> Iterator[Parameter]:
    for reference in operation.get("parameters", []):
        parameter = _at(document, reference["$ref"])
        yield Parameter(
            name=parameter["name"],
            where=f"in the {_PLACES[parameter['in']]}",
            required=parameter.get("required", False),
            description=_text(parameter["description"]),
            values=_text(_values(parameter["schema"])),
        )
    if "requestBody" not in operation:
        return
    form = _at(document, operation["requestBody"]["content"][FORM]["schema"]["$ref"])
    for name, schema in form["properties"].items():
        yield Parameter(
            name=name,
            where="in the form",
            required=name in form["required"],
            description=_text(schema["description"]),
            values=SafeString(""),
        )


def _values(schema: Json) -> str:
    """The allowed values of a parameter, in words."""
    said = []
    if "minimum" in schema:
        said.append(f"A number from {schema['minimum']} to {schema['maximum']}.")
    if "enum" in schema:
        said.append("Of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".")
    if "maxLength" in schema:
        said.append(f"At most {schema['maxLength']} characters.")
    if "default" in schema:
        said.append(f"Default: `{schema['default']}`.")
    return " ".join(said)


def _request(path: str, operation: Json, parameters: list[Json]) -> str:
    """The operation as a curl command."""
    named = {parameter["name"]: parameter.get("example", "") for parameter in parameters}
    address = settings.BASE_URL + path.format_map(named)
    if "requestBody" in operation:
        form = operation["requestBody"]["content"][FORM]["example"]
        # The reader's own token, not the one of the example.
        fields = form | {"token": "$TOKEN"} if "token" in form else form
        data = "".join(f'  --data "{name}={value}" \\\n' for name, value in fields.items())
        return f'curl --user "$CLIENT_ID:$CLIENT_SECRET" \\\n{data}  {address}'
    if operation["security"]:
        return f'curl --header "Authorization: Bearer $TOKEN" \\\n  {address}'
    return f"curl {address}"


def _errors(document: Json, operation: Json) -> Iterator[tuple[str, list[str]]]:
    for status, response in operation["responses"].items():
        # 5xx errors can happen everywhere, so they are not listed.
        if status.startswith("4"):
            yield status, list(_at(document, response["$ref"])["content"]["application/json"]["examples"])


def _example(document: Json, response: str, code: str) -> SafeString:
    """The example of an error response."""
    content = document["components"]["responses"][response]["content"]["application/json"]
    return _json(content["examples"][code]["value"])


def _at(document: Json, reference: str) -> Any:
    """What `$ref` refers to."""
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _text(text: str) -> SafeString:
    """A description as HTML; text between backticks is code."""
    parts = text.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if place % 2 else part,) for place, part in enumerate(parts))
    )


def _json(example: object) -> SafeString:
    """Indented JSON as HTML, with names and texts marked."""
    text = json.dumps(example, indent=2, ensure_ascii=False)
    parts = []
    end = 0
    for found in _STRING.finditer(text):
        kind = "json-name" if found[2] else "json-text"
        parts += [
            escape(text[end : found.start()]),
            format_html('<span class="{}">{}</span>{}', kind, found[1], found[2]),
        ]
        end = found.end()
    parts.append(escape(text[end:]))
    return format_html_join("", "{}", ((part,) for part in parts))
