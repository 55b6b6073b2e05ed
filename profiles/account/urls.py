"""Signing in and out, proving and changing the password: the pages of django-allauth that are part of the product.

Listed one by one, so that allauth's other pages (its e-mail addresses, login codes) are not reachable.
"""

from allauth.account import views
from django.urls import path, re_path

from . import activity, email, passwords, sessions, sign_in
from .mfa import pages, second_step

urlpatterns = [
    path("email/confirm/<str:link>/", email.follow, name="email-confirm"),
    path("login/", sign_in.SignIn.as_view(), name="account_login"),
    path("login/second-factor/", second_step.authenticate, name="mfa_authenticate"),
    path("login/second-factor/by-email/", second_step.authenticate_by_email, name="mfa_authenticate_by_email"),
    path("login/mailed-code/", second_step.email_code, name="account_confirm_login_code"),
    path("login/passkey/", second_step.passkey_login, name="mfa_login_webauthn"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("signup/", views.signup, name="account_signup"),  # only says who makes accounts
    path("reauthenticate/", passwords.Reauthenticate.as_view(), name="account_reauthenticate"),
    path("sessions/", sessions.sessions, name="account-sessions"),
    path("sessions/end/", sessions.session_end, name="account-session-end"),
    path("sessions/end-others/", sessions.sessions_end, name="account-sessions-end"),
    path("activity/", activity.activity, name="account-activity"),
    path("password/change/", passwords.PasswordChange.as_view(), name="account_change_password"),
    path("password/set/", passwords.PasswordSet.as_view(), name="account_set_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    path(
        "password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        passwords.PasswordFromMail.as_view(),
        name="account_reset_password_from_key",
    ),
    path("mfa/", pages.index, name="mfa_index"),
    path("mfa/email/", pages.email_codes, name="mfa_email"),
    path("mfa/email/remove/", pages.remove, {"method": "email"}, name="mfa_email_remove"),
    path("mfa/totp/", pages.totp, name="mfa_totp"),
    path("mfa/totp/remove/", pages.remove, {"method": "totp"}, name="mfa_totp_remove"),
    path("mfa/passkeys/add/", pages.passkey_add, name="mfa_passkey_add"),
    path("mfa/passkeys/<int:pk>/rename/", pages.passkey_rename, name="mfa_passkey_rename"),
    path("mfa/passkeys/<int:pk>/remove/", pages.remove, {"method": "passkey"}, name="mfa_passkey_remove"),
    path("mfa/recovery-codes/", pages.recovery_codes, name="mfa_recovery_codes"),
]
