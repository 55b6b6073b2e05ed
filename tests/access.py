"""Who may use each route: what its view declares, and for views that are not ours, a table."""

from __future__ import annotations

from typing import Any

from profiles.http.access import Access, declared

from .routes import Route, routes

# Django's and allauth's views, and our subclasses of them: route -> who gets in, and what enforces that.
FOREIGN = {
    "home": (Access.ANYONE, "redirects to My Profile, which requires a sign-in"),
    "account_login": (Access.ANYONE, "signing in"),
    "mfa_login_webauthn": (Access.ANYONE, "signing in with a passkey"),
    "mfa_authenticate": (Access.SIGNING_IN, "login_stage_required of allauth's AuthenticateView"),
    "account_confirm_login_code": (Access.SIGNING_IN, "dispatch of allauth's ConfirmLoginCodeView"),
    "account_logout": (Access.ANYONE, "a visitor who is not signed in has no session to end"),
    "account_inactive": (Access.ANYONE, "says that an account is deactivated, and not whose"),
    "account_signup": (Access.ANYONE, "makes no account, says who does"),
    "account_reauthenticate": (Access.SIGNED_IN, "login_required of allauth's ReauthenticateView"),
    "account_change_password": (Access.SIGNED_IN, "login_required of allauth's PasswordChangeView"),
    "account_set_password": (Access.SIGNED_IN, "login_required of allauth's PasswordSetView"),
    "account_reset_password": (Access.ANYONE, "for users who cannot sign in: reading the mail is the proof"),
    "account_reset_password_done": (Access.ANYONE, "says that a mail was sent, and not to whom"),
    "account_reset_password_from_key": (Access.ANYONE, "the link is the proof"),
    "account_reset_password_from_key_done": (Access.ANYONE, "says that it is done"),
    "admin:login": (Access.STAFF, "secure_admin_login of allauth: no form of its own, it redirects to ours"),
}


def access_of(route: Route) -> Access | None:
    """Who gets in, or None if nothing declares it."""
    if route.name in FOREIGN:
        return FOREIGN[route.name][0]
    # Attributes that Django sets on the views that it protects in the admin site.
    if hasattr(route.view, "admin_site") or hasattr(route.view, "model_admin"):
        return Access.STAFF
    return declared(route.view)


def undeclared(urlconf: Any = None) -> list[str]:
    """The names of the routes that do not declare who gets in."""
    return [route.name for route in routes(urlconf=urlconf) if access_of(route) is None]


def declaring(*access: Access) -> list[Route]:
    """The routes that declare one of these."""
    return [route for route in routes() if access_of(route) in access]
