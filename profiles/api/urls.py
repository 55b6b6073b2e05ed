"""The addresses for programs: OAuth 2.0, the API, their metadata and the probes. None ends in a slash."""

from django.urls import path

from ..http.calls import as_view
from ..http.operations import routes
from ..oauth import endpoints, metadata
from . import leak_reports, probes, views

# In the order in which the document tells of them.
urlpatterns = [
    *routes(endpoints, views, leak_reports),
    path(
        ".well-known/oauth-authorization-server", as_view(metadata.authorization_server), name="oauth-server-metadata"
    ),
    path(".well-known/oauth-protected-resource", as_view(metadata.protected_resource), name="oauth-resource-metadata"),
    path("livez", as_view(probes.livez), name="livez"),
    path("readyz", as_view(probes.readyz), name="readyz"),
]
