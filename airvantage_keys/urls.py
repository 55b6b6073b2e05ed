"""Every address of the site. `/api`, `/.well-known` and the probes are answered without a session (see `api_way`)."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="profile"), name="home"),
    path("profile/", include("profiles.urls")),
    path("develop/api/clients/", include("profiles.pages.client_urls")),
    path("accounts/", include("profiles.account.urls")),
    path("admin/", admin.site.urls),
    path("", include("profiles.api.urls")),
]

handler400 = "airvantage_keys.error_pages.bad_request"
handler500 = "airvantage_keys.error_pages.server_error"
