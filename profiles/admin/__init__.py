"""The admin site: one module for each kind of thing that staff look after.

What staff may see and do there is decided by Django's permissions; `users` says what only a superuser may do.
"""

from allauth.account.admin import EmailAddress
from allauth.account.decorators import secure_admin_login
from allauth.mfa.admin import Authenticator
from allauth.usersessions.admin import UserSession
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

# The toolkit's pages show and change client secrets and tokens; ours, below, do not. allauth's would let staff
# give an account a second address to sign in by or a second factor, read those of others, and look at session keys.
for _model in (
    get_application_model(),
    get_access_token_model(),
    get_refresh_token_model(),
    get_id_token_model(),
    get_grant_model(),
    EmailAddress,
    Authenticator,
    UserSession,
):
    admin.site.unregister(_model)

from . import access, base, events, health, keys, users  # noqa: E402 - they register their own pages for these models

__all__ = ["access", "events", "health", "keys", "users"]

admin.site.autocomplete_view = base.Autocomplete.as_view(admin_site=admin.site)  # type: ignore[method-assign, assignment]
admin.site.site_header = admin.site.site_title = "AirVantage Keys"
admin.site.index = health.index  # type: ignore[method-assign]
admin.site.index_title = _("Administration")
admin.site.enable_nav_sidebar = False  # the lists need the space
# There is one sign-in page, which limits wrong passwords. Django's own form would be a second one, so it cannot be
# reached, not even by a POST of a signed-in user.
admin.site.login = secure_admin_login(require_safe(admin.site.login))  # type: ignore[method-assign]
admin.site.password_change = RedirectView.as_view(  # type: ignore[method-assign, assignment]
    pattern_name="account_change_password"
)
