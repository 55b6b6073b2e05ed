"""The operations of the API as a page for people: what the template `api/docs.html` shows."""

from __future__ import annotations

import json
import re
from itertools import groupby

from django.conf import settings
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString
from msgspec import to_builtins

from .. import credentials, rights
from ..http.access import Access
from ..http.calls import JSON
from ..http.errors import ApiError, OAuthError
from ..http.operations import Operation, Tag, served
from ..http.shapes import Json
from ..http.snippets import snippets
from ..oauth import shapes
from . import openapi
from .listing import BAD_LIST_REQUEST

_CAPTIONS = {"": "Answer", "key": "Answer to a personal key", "client": "Answer to an API Client"}
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")(:?)')


def context() -> dict[str, object]:
    """All that the template needs."""
    document = openapi.document()
    groups: dict[Tag, list[dict[str, object]]] = {}
    for operation in served():
        groups.setdefault(operation.tag, []).append(_operation(operation, document["components"]["schemas"]))
    return {
        "info": document["info"],
        "description": _text(document["info"]["description"]),
        "base_url": settings.BASE_URL,
        "groups": [
            {"name": tag.name, "description": tag.description, "operations": operations}
            for tag, operations in groups.items()
        ],
        "snippets": snippets(),
        "rights": rights.CATALOGUE,
        "inherit": rights.INHERIT,
        "error": _json(BAD_LIST_REQUEST.examples["size.invalid"]),
        "oauth_error": _json(shapes.BAD_REQUEST.examples["invalid_request"]),
        "api_errors": {
            status: {it.code: it.meaning for it in codes}
            for status, codes in groupby(openapi.codes(ApiError), key=lambda code: code.status)
        },
        "oauth_errors": {it.code: _text(it.meaning) for it in openapi.codes(OAuthError)},
        "patterns": {
            "Secret key of a personal API access key": rf"\b{credentials.KEY_SECRET_PATTERN}\b",
            "Secret key of an API Client": rf"\b{credentials.COMPANY_SECRET_PATTERN}\b",
            "Access token": rf"\b{credentials.TOKEN_PATTERN}\b",
            "Client ID": rf"\b{credentials.CLIENT_ID_PATTERN}\b",
        },
    }


def _operation(operation: Operation, schemas: Json) -> dict[str, object]:
    examples = operation.answers[min(operation.answers)].examples
    sent = operation.form or (type(operation.body) if operation.body else None)
    form = schemas[sent.__name__] if sent else {"properties": {}}
    return {
        "id": operation.id,
        "method": operation.method,
        "path": operation.path,
        "summary": operation.summary,
        "description": _text(operation.description),
        "right": operation.right,
        "parameters": [
            *(
                _parameter(it.name, it.schema, it.description, required=it.where == "path")
                for it in operation.parameters
            ),
            *(
                _parameter(name, {}, schema["description"], required=name in form["required"])
                for name, schema in form["properties"].items()
            ),
        ],
        "request": _request(operation),
        "answers": {_CAPTIONS[name]: _json(example) for name, example in examples.items()},
        # Those that can happen everywhere, with a 5 in front, are not listed.
        "errors": {it.status: [code.code for code in it.codes] for it in operation.refusals if it.status < 500},
    }


def _parameter(name: str, schema: Json, description: str, *, required: bool) -> dict[str, object]:
    return {
        "name": name,
        "required": required,
        "description": _text(description),
        "values": _text(_values(schema)),
    }


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


def _request(operation: Operation) -> str:
    """The operation as a curl command."""
    address = settings.BASE_URL + operation.path.format_map({it.name: it.example for it in operation.parameters})
    if operation.form:
        # The reader's own token, not the one of the example.
        fields = {name: "$TOKEN" if name == "token" else value for name, value in operation.form_example.items()}
        data = "".join(f'  --data "{name}={value}" \\\n' for name, value in fields.items())
        return f'curl --user "$CLIENT_ID:$CLIENT_SECRET" \\\n{data}  {address}'
    if operation.body:
        # From a file: what is typed in a command line is kept in the shell's history.
        return f'curl --header "Content-Type: {JSON}" --data @found.json \\\n  {address}'
    if operation.access is Access.BEARER:
        return f'curl --header "Authorization: Bearer $TOKEN" \\\n  {address}'
    return f"curl {address}"


def _text(text: str) -> SafeString:
    """A description as HTML; text between backticks is code."""
    parts = text.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if place % 2 else part,) for place, part in enumerate(parts))
    )


def _json(example: object) -> SafeString:
    """Indented JSON as HTML, with names and texts marked."""
    text = json.dumps(to_builtins(example), indent=2, ensure_ascii=False)
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
