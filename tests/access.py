"""Who gets in by each route: what its view declares, and for views that are not ours, what is known of them."""

from __future__ import annotations

from typing import Any

from profiles.http.access import Access, declared

from .routes import Route, routes

# Django's and allauth's views, and our classes made from them: route -> who gets in, and where that is seen to.
FOREIGN = {
    "home": (Access.ANYONE, "leads to My Profile, which asks"),
    "account_login": (Access.ANYONE, "the door itself"),
    "mfa_login_webauthn": (Access.ANYONE, "the door itself, with a passkey"),
    "mfa_authenticate": (Access.SIGNING_IN, "login_stage_required of allauth's AuthenticateView"),
    "account_confirm_login_code": (Access.SIGNING_IN, "dispatch of allauth's ConfirmLoginCodeView"),
    "account_logout": (Access.ANYONE, "who is not signed in has nothing to end"),
    "account_inactive": (Access.ANYONE, "says that an account is deactivated, and not whose"),
    "account_signup": (Access.ANYONE, "makes no account, says who does"),
    "account_reauthenticate": (Access.SIGNED_IN, "login_required of allauth's ReauthenticateView"),
    "account_change_password": (Access.SIGNED_IN, "login_required of allauth's PasswordChangeView"),
    "account_set_password": (Access.SIGNED_IN, "login_required of allauth's PasswordSetView"),
    "account_reset_password": (Access.ANYONE, "for who cannot sign in: the proof is to read the mail"),
    "account_reset_password_done": (Access.ANYONE, "says that a mail is under way, and not to whom"),
    "account_reset_password_from_key": (Access.ANYONE, "the link is the proof"),
    "account_reset_password_from_key_done": (Access.ANYONE, "says that it is done"),
    "admin:login": (Access.STAFF, "secure_admin_login of allauth: no door of its own, it leads to ours"),
}


def access_of(route: Route) -> Access | None:
    """Who gets in, or None where nobody says so."""
    if route.name in FOREIGN:
        return FOREIGN[route.name][0]
    # What Django writes on the views that it puts behind the door of the admin site.
    if hasattr(route.view, "admin_site") or hasattr(route.view, "model_admin"):
        return Access.STAFF
    return declared(route.view)


def undeclared(urlconf: Any = None) -> list[str]:
    """The names of the routes of which nobody says who gets in."""
    return [route.name for route in routes(urlconf=urlconf) if access_of(route) is None]


def declaring(*access: Access) -> list[Route]:
    """The routes by which these get in."""
    return [route for route in routes() if access_of(route) in access]
