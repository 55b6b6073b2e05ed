"""The API as a collection for Postman and Bruno: https://schema.postman.com/json/collection/v2.1.0/docs/index.html.

Its two scripts keep an access token as the other snippets do (`http.snippets`). The secret is a variable of the
reader's environment, and not in the file.
"""

from __future__ import annotations

import re

from django.conf import settings

from ..http.access import Access
from ..http.operations import Operation, Parameter, served
from ..http.shapes import Json
from ..http.snippets import text_of

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
DESCRIPTION = (
    "Set the variable CLIENT_SECRET, of type secret, in an environment, and choose that environment. "
    "The access token is asked for by the first request, and anew a minute before it ends or after it was refused."
)


def collection(client_id: str) -> Json:
    """All that an access token opens, as this client."""
    variables = {"BASE_URL": settings.BASE_URL, "CLIENT_ID": client_id, "TOKEN": "", "TOKEN_ENDS": "0", "REPEATED": ""}
    return {
        "info": {"name": "AirVantage API", "description": DESCRIPTION, "schema": SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{TOKEN}}", "type": "string"}]},
        "event": [_event("prerequest", "before_request"), _event("test", "after_answer")],
        "variable": [{"key": key, "value": value, "type": "string"} for key, value in variables.items()],
        "item": [_item(operation) for operation in served() if operation.access is Access.BEARER],
    }


def _event(when: str, key: str) -> Json:
    return {"listen": when, "script": {"type": "text/javascript", "exec": text_of(key).split("\n")}}


def _item(operation: Operation) -> Json:
    path = re.sub(r"{(\w+)}", r":\1", operation.path)  # as it writes a parameter
    url = {
        "raw": "{{BASE_URL}}" + path,
        "host": ["{{BASE_URL}}"],
        "path": path.removeprefix("/").split("/"),
        "query": [_parameter(it) | {"disabled": True} for it in operation.parameters if it.where == "query"],
        "variable": [_parameter(it) for it in operation.parameters if it.where == "path"],
    }
    return {
        "name": operation.summary,
        "request": {"method": operation.method, "url": url, "description": operation.description},
    }


def _parameter(parameter: Parameter) -> Json:
    return {"key": parameter.name, "value": parameter.example or "", "description": parameter.description}
