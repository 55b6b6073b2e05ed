"""Schemathesis sends what the OpenAPI document allows, and what it does not, and holds the answers against it.

The same requests each time; HOSTILE_EXAMPLES asks for so many others for each operation instead.
"""

from __future__ import annotations

import base64
import os

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from profiles.http.operations import served

from .server import Server
from .visitor import Visitor

pytestmark = pytest.mark.server

OPERATIONS = [(operation.method, operation.path) for operation in served()]
CONFORMS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

_examples = os.environ.get("HOSTILE_EXAMPLES")
hostile = settings(
    max_examples=int(_examples or 25),
    derandomize=_examples is None,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


def test_every_operation_of_the_document_is_tried(server):
    paths = requests.get(f"{server.url}/api/openapi.json", timeout=60).json()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(OPERATIONS)
    assert len(OPERATIONS) >= 10


@pytest.fixture(params=["key", "client"])
def credentials(server: Server, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Those of a personal key, and those of an API Client that a superuser has made a resource server."""
    if request.param == "client":
        client = server.make_client("Operator")
        server.sql("UPDATE profiles_oauthapplication SET may_introspect = true WHERE client_id = %s", client[0])
        return client
    owner = Visitor(server.url).sign_in("user@demo.example")
    return owner.regenerate() if owner.has_key() else owner.create()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_answers_are_those_of_the_document(server: Server, session, credentials, method, path):
    client_id, secret = credentials

    def ask() -> requests.Response:
        form = {"grant_type": "client_credentials"}
        return requests.post(f"{server.url}/api/oauth/token", form, auth=(client_id, secret), timeout=60)

    token = ask().json()["access_token"]
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    good = f"Basic {basic}" if path.startswith("/api/oauth/") else f"Bearer {token}"

    schema = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    operation = schema[path][method]
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @hostile
    @given(case=cases, authorization=st.sampled_from([good, good, good, "Bearer nonsense", "Basic nonsense"]))
    def run(case, authorization):
        case.call_and_validate(session=session, headers={"Authorization": authorization}, checks=CONFORMS, timeout=60)

    run()
    assert ask().ok
    if path != "/api/oauth/revoke":
        url = f"{server.url}/api/v1/users/current"
        assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60).ok
