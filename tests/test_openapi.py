"""The published description of the API: complete, valid, and true."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from profiles import credentials, rights
from profiles.api import openapi
from profiles.api.urls import urlpatterns
from profiles.http import errors, parameters
from profiles.http.errors import Code
from profiles.models import AccessProfile, User

from .api import ALL_NEEDED, CLIENTS, CURRENT, NEEDS, PROFILES, RIGHTS, USERS, call, get
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, post
from .policies import lay_down
from .server import ROOT

DOCUMENT = openapi.document()
API_CODES: dict[str, Code] = {it.code: it for it in openapi.codes(errors.ApiError)}
OAUTH_CODES: dict[str, Code] = {it.code: it for it in openapi.codes(errors.OAuthError)}
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


def strict(schema: Any) -> Any:
    """The same schema, in which no object may have a property that is not in it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: strict(part) for name, part in schema.items()}
    return parts | {"additionalProperties": False} if schema.get("type") == "object" else parts


STRICT = strict(copy.deepcopy(DOCUMENT["components"]))


def check(value: object, schema: dict[str, Any]) -> None:
    """That a value is as a schema of the document says, and has nothing that it does not say."""
    OAS31Validator({"allOf": [strict(schema)], "components": STRICT}).validate(value)


def check_error(error: object, name: str = "ApiError") -> None:
    """The same of an error at an address that takes no such method, so that the document has no answer of it."""
    check(error, {"$ref": f"#/components/schemas/{name}"})


def response_of(path: str, method: str, status: int) -> dict[str, Any]:
    described: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"][str(status)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    return described


def check_answer(response: Any, path: str, method: str = "get") -> None:
    """That an answer is among those that the document has for its address."""
    described = response_of(path, method, response.status_code)
    content = described["content"]["application/json"]
    check(response.json(), content["schema"])
    if response.status_code >= 400:
        assert response.json()["error"] in content["examples"]
    for header in described["headers"]:
        assert header in response.headers


def examples() -> Iterator[Any]:
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        for status in operation["responses"]:
            for content in response_of(path, method, int(status)).get("content", {}).values():
                values = [content["example"]] if "example" in content else []
                values += [example["value"] for example in content.get("examples", {}).values()]
                for number, value in enumerate(values):
                    yield pytest.param(value, content["schema"], id=f"{operation['operationId']} {status} {number}")
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield pytest.param(content["example"], content["schema"], id=f"{operation['operationId']} form")


def test_it_is_openapi_3_1():
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_it_is_served(client, settings):
    response = client.get("/api/openapi.json")
    assert response["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT
    assert response.json()["servers"] == [{"url": settings.BASE_URL}]


def test_it_has_each_address_and_no_other():
    served = {
        re.sub("<str:([a-z]+)>", r"{\1}", f"/{pattern.pattern}")
        for pattern in urlpatterns
        if str(pattern.pattern).startswith("api/")
    }
    assert set(DOCUMENT["paths"]) == served


@pytest.mark.django_db
@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_it_has_each_method_and_no_other(path):
    for method in ("get", "post", "put", "patch", "delete"):
        response = call(method.upper(), path)
        assert (response.status_code != 405) == (method in DOCUMENT["paths"][path]), method


@pytest.mark.parametrize(("example", "schema"), list(examples()))
def test_each_example_is_as_its_schema_says(example, schema):
    check(example, schema)


def test_no_example_is_a_credential():
    assert not any(credentials.is_token(token) for token in re.findall(credentials.TOKEN_PATTERN, str(DOCUMENT)))
    assert not re.findall(credentials.SECRET_PATTERN, str(DOCUMENT))


def test_it_has_the_scopes_and_each_address_its_right():
    scheme = DOCUMENT["components"]["securitySchemes"]["oauth2"]
    assert list(scheme["flows"]) == ["clientCredentials"]
    assert set(scheme["flows"]["clientCredentials"]["scopes"]) == {"inherit", *rights.ALL_RIGHTS}
    said = {path: DOCUMENT["paths"][path]["get"]["security"] for path in NEEDS}
    assert said == {path: [{"oauth2": [right] if right else []}] for path, right in NEEDS.items()}
    known = {USERS: "accountNetwork.users.view", PROFILES: "accountNetwork.profiles.view", CURRENT: None, RIGHTS: None}
    assert NEEDS.items() >= (known | {CLIENTS: "accountNetwork.apiClients.view"}).items()


@pytest.fixture
def full_token(token: str, access_profile: AccessProfile, user: User) -> str:
    access_profile.rights = ALL_NEEDED
    access_profile.save()
    User.objects.filter(pk=user.pk).update(picture="pictures/u.png", phone_number="+33123456789")
    return token


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "query"),
    [
        *((path, "") for path in NEEDS),
        (USERS, "fields=picture"),
        (USERS, "size=1&offset=1"),
        (PROFILES, "fields=rights"),
        (CLIENTS, "fields=lastUsed"),
    ],
)
def test_answers_are_as_described(path, query, full_token, other_user, api_client):
    response = get(path, full_token, query)
    assert response.status_code == 200
    check_answer(response, path)


@pytest.mark.django_db
def test_an_owner_with_nothing_is_as_described(full_token, user):
    User.objects.filter(pk=user.pk).update(company=None, access_profile=None, picture="", phone_number="")
    for path in (CURRENT, RIGHTS):
        check_answer(get(path, full_token), path)


# Code -> a request that is refused with it.
REFUSED = {
    "request.malformed": (USERS, "name=%FF"),
    "parameter.repeated": (CURRENT, "a=1&a=1"),
    "token.misplaced": (CURRENT, "access_token=x"),
    "size.invalid": (USERS, "size=0"),
    "offset.invalid": (PROFILES, "offset=x"),
    "uid.invalid": (USERS, "uid=x"),
    "name.invalid": (PROFILES, "name=%00"),
    "fields.unknown": (CLIENTS, "fields=hint"),
    "orderBy.unknown": (PROFILES, "orderBy=x"),
    "token.missing": (RIGHTS, ""),
    "token.invalid": (RIGHTS, ""),
    "right.missing": (PROFILES, ""),
    "address.not.allowed": (CURRENT, ""),
    "resource.unknown": ("/api/v1/nothing", ""),
    "method.not.allowed": (USERS, ""),
}


@pytest.mark.django_db
@pytest.mark.parametrize("code", REFUSED)
def test_refusals_are_as_described(code, full_token, access_profile, company):
    path, query = REFUSED[code]
    if code == "address.not.allowed":
        lay_down(company, networks=("203.0.113.0/24",))
    if code == "right.missing":
        access_profile.rights = []
        access_profile.save()
    sent = {"token.missing": None, "token.invalid": full_token[:-1]}.get(code, full_token)
    response = get(path, sent, query) if code != "method.not.allowed" else call("POST", path)
    assert response.json()["error"] == code
    assert API_CODES[code].status == response.status_code
    if code != "resource.unknown":
        check_answer(response, path)


# Those of a request whose connection or body is at fault: `test_https_only` and `test_stalled_senders` provoke them.
BEFORE_IT_IS_READ = {"connection.insecure", "request.timeout", "request.too.long", "server.busy"}
# Those of a report of leaks: `test_leak_reports` provokes them.
OF_REPORTS = {"credentials.invalid", "requests.too.many"}


def test_all_codes_are_tried_but_those_that_are_our_fault():
    described = {code for code, it in API_CODES.items() if it.status < 500}
    assert described - BEFORE_IT_IS_READ - OF_REPORTS == set(REFUSED)


def test_it_has_every_code_of_the_source_once():
    written = [
        (ast.literal_eval(node.args[0]), ast.literal_eval(node.args[1]))
        for file in (ROOT / "profiles").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Code"
    ]
    described = {it.code: it.status for it in (*API_CODES.values(), *OAUTH_CODES.values())}
    assert set(described) > BEFORE_IT_IS_READ
    assert sorted(written) == sorted(described.items())
    schemas = DOCUMENT["components"]["schemas"]
    assert described.keys() == {*schemas["ApiErrorCode"]["enum"], *schemas["OAuthErrorCode"]["enum"]}
    examples = [
        it.get("examples", {})
        for each in DOCUMENT["components"]["responses"].values()
        for it in each["content"].values()
    ]
    assert described.keys() == {code for each in examples for code in each}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_each_operation_has_what_any_address_can_answer(path, method):
    """400 for http, 503; and for the body, which is read of a POST alone, 400, 408 and 413."""
    responses = {
        int(status): response_of(path, method, int(status)) for status in DOCUMENT["paths"][path][method]["responses"]
    }
    codes = {
        status: set(it["content"]["application/json"]["examples"]) for status, it in responses.items() if status >= 400
    }
    if path.startswith("/api/oauth/"):
        assert all("invalid_request" in codes[status] for status in (400, 408, 413))
        assert codes[503] == {"temporarily_unavailable"}
    else:
        assert "connection.insecure" in codes[400]
        assert codes.get(408, set()) == ({"request.timeout"} if method == "post" else set())
        assert codes.get(413, set()) == ({"request.too.long"} if method == "post" else set())
        assert codes[503] == {"server.unavailable"} | ({"server.busy"} if method == "post" else set())


@pytest.mark.django_db
def test_the_oauth_endpoints_are_as_described(key, token, monkeypatch):
    check_answer(ask(key), TOKEN, "post")
    check_answer(post(INTROSPECT, [("token", token)], key.basic), INTROSPECT, "post")
    check_answer(post(INTROSPECT, [("token", "x")], key.basic), INTROSPECT, "post")
    check_answer(post(REVOKE, [("token", token)], key.basic), REVOKE, "post")


@pytest.mark.django_db
@pytest.mark.parametrize("path", [TOKEN, REVOKE, INTROSPECT])
def test_refusals_of_the_oauth_endpoints_are_as_described(path, key, settings):
    statuses = []
    settings.CLIENT_FAILURES_PER_MINUTE = 1
    for response in (
        post(path, [], key.basic),
        post(path, [GRANT, ("token", "x")]),
        *(post(path, [GRANT, ("token", "x")], key.basic[:-8]) for _ in range(3)),
        post(path, b"x" * (parameters.BODY_AT_MOST + 1), key.basic),
        get(path),
    ):
        check_answer(response, path, "post")
        statuses.append(response.status_code)
    assert {400, 401, 405, 413, 429} == set(statuses)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "error"),
    [([("grant_type", "password")], "unsupported_grant_type"), ([GRANT, ("scope", "nothing")], "invalid_scope")],
)
def test_refusals_of_a_grant_are_as_described(fields, error, key):
    response = post(TOKEN, fields, key.basic)
    assert response.json()["error"] == error
    check_answer(response, TOKEN, "post")


# --- The page ---------------------------------------------------------------------------------------------


@pytest.fixture
def page(client) -> str:
    response = client.get("/api/docs")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    text: str = response.content.decode()
    return text


def test_the_page_shows_each_address_parameter_code_and_right(page):
    shown = {re.sub(r"<[^>]+>", "", part) for part in re.findall(r"<code>(.*?)</code>", page, re.DOTALL)}
    names = {it["name"] for path, method in OPERATIONS for it in DOCUMENT["paths"][path][method].get("parameters", [])}
    assert names > {"size", "fields", "uid"}
    assert shown >= {*DOCUMENT["paths"], *API_CODES, *OAUTH_CODES, *names, *rights.ALL_RIGHTS}


def test_the_page_publishes_the_patterns_for_scanners(page):  # security 12
    assert credentials.COMPANY_SECRET_PATTERN == "avc_[0-9A-Za-z]{49}"
    for pattern in (
        credentials.KEY_SECRET_PATTERN,
        credentials.COMPANY_SECRET_PATTERN,
        credentials.TOKEN_PATTERN,
        credentials.CLIENT_ID_PATTERN,
    ):
        assert pattern in page


@pytest.mark.parametrize(("path", "method"), [(CURRENT, "get"), (INTROSPECT, "post")])
def test_what_a_client_is_answered_stands_beside_what_a_user_is(path, method, page):
    content = response_of(path, method, 200)["content"]["application/json"]
    of_key, of_client = (content["examples"][name]["value"] for name in ("key", "client"))
    assert of_key["uid" if method == "get" else "sub"] != of_client["uid" if method == "get" else "sub"]
    assert of_key["email" if method == "get" else "username"]
    assert of_client.get("email") is of_client.get("username") is None
    assert page.count("Answer to an API Client") == page.count("Answer to a personal key") == 2


def test_the_links_within_the_page_lead_somewhere(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_the_page_needs_no_other_host_script_or_style_in_it(page):  # security 56
    assert not re.findall(r'(?:src|<link[^>]* href)="(?:https?:)?//', page)
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page)


def test_the_page_and_the_document_take_get_only(client):
    for path in ("/api/docs", "/api/openapi.json"):
        response = client.post(path)
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/api/docs", "/api/openapi.json"])
def test_the_page_and_the_document_need_no_database_and_set_no_cookie(path, client):
    assert not client.get(path).cookies
