"""The addresses for programs: OAuth 2.0, its metadata, the API and the probes. None ends in a slash."""

from django.urls import path

from . import api, metadata, oauth, probes

urlpatterns = [
    path("api/oauth/token", oauth.token, name="oauth-token"),
    path("api/oauth/revoke", oauth.revoke, name="oauth-revoke"),
    path("api/oauth/introspect", oauth.introspect, name="oauth-introspect"),
    path(".well-known/oauth-authorization-server", metadata.authorization_server, name="oauth-server-metadata"),
    path(".well-known/oauth-protected-resource", metadata.protected_resource, name="oauth-resource-metadata"),
    path("api/v1/users/current", api.users_current, name="api-users-current"),
    path("api/v1/users/rights", api.users_rights, name="api-users-rights"),
    # Any text, so that whatever stands there is answered by the view, as JSON.
    path("api/v1/users/<str:uid>/picture/<str:size>", api.users_picture, name="api-users-picture"),
    path("api/v1/users", api.users, name="api-users"),
    path("api/v1/profiles", api.profiles, name="api-profiles"),
    path("api/openapi.json", api.openapi, name="api-openapi"),
    path("api/docs", api.docs, name="api-docs"),
    path("livez", probes.livez, name="livez"),
    path("readyz", probes.readyz, name="readyz"),
]
