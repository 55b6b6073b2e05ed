"""The addresses for programs: OAuth 2.0, its metadata, the API and the probes. None ends in a slash."""

from django.urls import path

from ..oauth import endpoints, metadata
from . import probes, views

urlpatterns = [
    path("api/oauth/token", endpoints.token, name="oauth-token"),
    path("api/oauth/revoke", endpoints.revoke, name="oauth-revoke"),
    path("api/oauth/introspect", endpoints.introspect, name="oauth-introspect"),
    path(".well-known/oauth-authorization-server", metadata.authorization_server, name="oauth-server-metadata"),
    path(".well-known/oauth-protected-resource", metadata.protected_resource, name="oauth-resource-metadata"),
    path("api/v1/users/current", views.users_current, name="api-users-current"),
    path("api/v1/users/rights", views.users_rights, name="api-users-rights"),
    # `str` accepts any text, so that the view answers every value, as JSON.
    path("api/v1/users/<str:uid>/picture/<str:size>", views.users_picture, name="api-users-picture"),
    path("api/v1/users", views.users, name="api-users"),
    path("api/v1/profiles", views.profiles, name="api-profiles"),
    path("api/openapi.json", views.openapi, name="api-openapi"),
    path("api/docs", views.docs, name="api-docs"),
    path("livez", probes.livez, name="livez"),
    path("readyz", probes.readyz, name="readyz"),
]
