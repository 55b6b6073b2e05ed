"""The two well-known documents (RFC 8414, RFC 9728): true, complete, nothing more."""

import pytest
from django.test import Client
from django.urls import resolve

SERVER, RESOURCE = "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"


def get(url: str) -> dict:
    response = Client().get(url)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    return response.json()


def test_the_issuer_is_the_sites_origin_to_the_letter(settings):  # security 52
    settings.BASE_URL = "https://keys.example:8443"
    assert get(SERVER)["issuer"] == "https://keys.example:8443"
    assert get(RESOURCE)["authorization_servers"] == ["https://keys.example:8443"]
    assert get(RESOURCE)["resource"] == "https://keys.example:8443"


def test_every_address_listed_is_there(settings):  # security 52
    addresses = [
        value
        for document in (get(SERVER), get(RESOURCE))
        for name, value in document.items()
        if name.endswith(("_endpoint", "_documentation"))
    ]
    assert len(addresses) == 5
    for address in addresses:
        assert address.startswith(settings.BASE_URL + "/api/")
        assert resolve(address.removeprefix(settings.BASE_URL)).url_name


def test_nothing_is_listed_that_is_not_offered():  # security 52
    document = get(SERVER)
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["response_types_supported"] == []
    for endpoint in ("token", "revocation", "introspection"):
        assert document[f"{endpoint}_endpoint_auth_methods_supported"] == [
            "client_secret_basic",
            "client_secret_post",
        ]
    assert not {"authorization_endpoint", "jwks_uri", "registration_endpoint"}.intersection(document)


def test_tokens_go_in_the_header_only():  # security 51
    assert get(RESOURCE)["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize("url", [SERVER, RESOURCE])
def test_only_get_is_taken(url):
    response = Client().post(url)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert response.json()["error"] == "method.not.allowed"


def test_nothing_else_of_the_toolkit_is_mounted():
    for path in ("/api/oauth/authorize", "/o/token/", "/o/applications/", "/api/oauth/device-authorization"):
        assert Client().get(path).status_code == 404
