"""The addresses for programs: OAuth 2.0, its metadata, the API and the probes. None ends in a slash."""

from django.urls import path

from ..http.calls import as_view
from ..oauth import endpoints, metadata
from . import probes, views

urlpatterns = [
    path("api/oauth/token", as_view(endpoints.token), name="oauth-token"),
    path("api/oauth/revoke", as_view(endpoints.revoke), name="oauth-revoke"),
    path("api/oauth/introspect", as_view(endpoints.introspect), name="oauth-introspect"),
    path(
        ".well-known/oauth-authorization-server", as_view(metadata.authorization_server), name="oauth-server-metadata"
    ),
    path(".well-known/oauth-protected-resource", as_view(metadata.protected_resource), name="oauth-resource-metadata"),
    path("api/v1/users/current", as_view(views.users_current), name="api-users-current"),
    path("api/v1/users/rights", as_view(views.users_rights), name="api-users-rights"),
    # `str` accepts any text, so that the view answers every value, as JSON.
    path("api/v1/users/<str:uid>/picture/<str:size>", as_view(views.users_picture), name="api-users-picture"),
    path("api/v1/users", as_view(views.users), name="api-users"),
    path("api/v1/profiles", as_view(views.profiles), name="api-profiles"),
    path("api/openapi.json", as_view(views.openapi), name="api-openapi"),
    path("api/docs", as_view(views.docs), name="api-docs"),
    path("livez", as_view(probes.livez), name="livez"),
    path("readyz", as_view(probes.readyz), name="readyz"),
]
