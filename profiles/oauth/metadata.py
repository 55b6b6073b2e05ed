"""The two metadata documents for clients (RFC 8414, RFC 9728). They list only what is really offered."""

from django.conf import settings
from oauth2_provider.settings import oauth2_settings

from ..http import calls
from ..http.access import Access, declares
from ..http.calls import CACHEABLE, Answer, Call
from ..http.errors import METHOD_NOT_ALLOWED, api_error
from ..http.urls import absolute_url

AUTHENTICATION_METHODS = ["client_secret_basic", "client_secret_post"]


@declares(Access.ANYONE)
def authorization_server(call: Call) -> Answer:
    """RFC 8414 section 2. There is no authorization endpoint, so there are no response types."""
    return _document(
        call,
        {
            "issuer": settings.BASE_URL,
            "token_endpoint": absolute_url("oauth-token"),
            "token_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "scopes_supported": list(oauth2_scopes()),
            "revocation_endpoint": absolute_url("oauth-revoke"),
            "revocation_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "introspection_endpoint": absolute_url("oauth-introspect"),
            "introspection_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "service_documentation": absolute_url("api-docs"),
        },
    )


@declares(Access.ANYONE)
def protected_resource(call: Call) -> Answer:
    """RFC 9728 section 2."""
    return _document(
        call,
        {
            "resource": settings.BASE_URL,
            "authorization_servers": [settings.BASE_URL],
            "scopes_supported": list(oauth2_scopes()),
            "bearer_methods_supported": ["header"],
            "resource_name": "AirVantage API",
            "resource_documentation": absolute_url("api-docs"),
        },
    )


def oauth2_scopes() -> dict[str, str]:
    return oauth2_settings.SCOPES_BACKEND_CLASS().get_all_scopes()


def _document(call: Call, content: dict[str, object]) -> Answer:
    if call.method not in ("GET", "HEAD"):
        return api_error(METHOD_NOT_ALLOWED, "This takes GET only.", headers={"Allow": "GET, HEAD"})
    return calls.json(content, headers=CACHEABLE)
