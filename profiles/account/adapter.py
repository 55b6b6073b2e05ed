"""How django-allauth behaves here."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend as AllauthBackend
from allauth.account.models import Login
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib import messages
from django.db.models import BigAutoField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from ..compiled import CompiledQuery, Given
from ..http.requests import UNKNOWN_ADDRESS, client_address, origin_of
from ..limits import attempts, known_browsers
from ..mail import invitations, notices
from ..models import AccountEvent, User
from ..pages import reauthentication
from ..text import spelling
from . import activity
from .allauth_internals import clear_login, filter_users_by_email, generate_totp_secret
from .mfa import encryption, second_step

logger = logging.getLogger(__name__)

# Session key during a sign-in: the session hash that the user had when the password was given.
BEGUN_WITH = "sign_in_begun_with"
SENT_LATER = "account/email/password_reset_key"
_USER = CompiledQuery(lambda: User.objects.with_all().filter(pk=Given("pk", BigAutoField())))
# Texts of allauth and Django that our catalogues translate again: theirs disagree on the word for e-mail.
gettext_noop("Email")
gettext_noop("Enter a valid email address.")


class AuthenticationBackend(AllauthBackend):
    def get_user(self, user_id: int | str) -> User | None:
        """The user of a session, with what every page shows of them: one query, so that all of it is consistent."""
        found = _USER.run(pk=user_id)
        return found[0] if found and self.user_can_authenticate(found[0]) else None

    def user_can_authenticate(self, user: User) -> bool:
        return user.is_let_in

    def _mitigate_timing_attack(self, password: str) -> None:
        """For an unknown e-mail address: take as long as checking a password does, which is done twice for some."""
        User().check_password(password)


class AccountAdapter(DefaultAccountAdapter):
    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "incorrect_code": _("That is not the code. Look at it again, and try once more."),
        "rate_limited": _("Too many attempts. Wait a few minutes, then try again."),
        "too_many_login_attempts": _("Too many attempts. Wait a few minutes, then try again."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up: administrators make the accounts."""
        return False

    def clean_password(self, password: str, user: User | None = None) -> str:
        """Check the password in the Unicode form in which it is stored."""
        checked: str = super().clean_password(spelling.password(password), user)
        return checked

    def set_password(self, user: User, password: str) -> None:
        """Save the password alone: the rest of `user` may have changed since it was read, such as `is_active`."""
        user.set_password(password)
        user.save(update_fields=["password"])

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        if not user.is_let_in:  # allauth's own question is `is_active` alone
            clear_login(request)
            inactive: HttpResponse = self.respond_user_inactive(request, user)
            return inactive
        request.session[BEGUN_WITH] = user.get_session_auth_hash()
        refused: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return refused

    def login(self, request: HttpRequest, user: User) -> None:
        """After the last step. What ends sessions (a new password, a reset) also ends a sign-in in progress."""
        if has_ended_since(request, user):
            messages.warning(request, _("Something about your account was changed meanwhile. Sign in again."))
            raise ImmediateHttpResponse(redirect("account_login"))
        del request.session[BEGUN_WITH]
        super().login(request, user)
        activity.record(AccountEvent.Action.SIGNED_IN, owner=user, origin=origin_of(request))

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        known_browsers.remember(request, response, user)
        return response

    # --- Wrong passwords; see `attempts` -----------------------------------------------------------------------

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt before the password is checked; unknown accounts are counted in the same way.

        Raises TooMany.
        """
        email = spelling.address(str(credentials.get("email", "")))
        # The same look-up as for the check of the password, so that all addresses of an account count as one.
        owners = filter_users_by_email(email, prefer_verified=True, for_login=True)
        self._owner: User | None = min(owners, key=lambda user: user.pk, default=None)
        account = f"user:{self._owner.pk}" if self._owner else f"email:{email}"
        self._attempt = attempts.sign_in(request, account=account, owner=self._owner)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        user: User | None = super().authenticate(request, **credentials)
        if user:
            self._attempt.was_right()
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """A wrong password. It is recorded for the owner of the account, if the account exists."""
        origin = origin_of(request)
        if self._owner:
            activity.record(AccountEvent.Action.SIGN_IN_FAILED, owner=self._owner, origin=origin, mailed=False)
        else:
            # One write and one log line, as above: the time taken must not reveal that there is no account.
            attempts.times("sign-in:nobody", within=attempts.MINUTE)
            logger.info("sign-in failed: no such account; address=%s", origin.address or "-")

    def reauthenticate(self, user: User, password: str) -> bool:
        """The password once more, with limits of its own: those of signing in are for people who are not signed in."""
        request = self.request
        if not reauthentication.may_try(request):
            raise attempts.TooMany(attempts.MINUTE)
        if user.has_password(password):
            return True
        activity.record(AccountEvent.Action.PASSWORD_REFUSED, owner=user, origin=origin_of(request))
        return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """In the language of whoever has the e-mail address, else in that of the page.

        A link that sets a password is sent later: neither time nor an error may reveal whether there is an account.
        Other mails go to people who have given the password, and they are told when a mail cannot be sent.
        """
        owner = User.objects.filter(email=email).first()
        of_page = translation.get_language()
        with translation.override(owner.language_read(otherwise=of_page) if owner else of_page):
            if template_prefix != SENT_LATER:
                super().send_mail(template_prefix, email, context)
                return
            mail = self.render_mail(template_prefix, email, {"email": email, **context})
        mail.extra_headers["Auto-Submitted"] = "auto-generated"
        notices.post(mail, about=template_prefix)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link in the mail, at our own origin: the Host header is chosen by the client, so it is not used."""
        uid, _dash, token = key.partition("-")
        return invitations.password_link(uid, token)

    def get_client_ip(self, request: HttpRequest) -> str:
        """The client's address as our proxies report it; one fixed address where there is none (a Unix socket)."""
        return client_address(request) or UNKNOWN_ADDRESS

    def is_safe_url(self, url: str) -> bool:
        """Whether to redirect there after signing in; text that is not a URL (`http://[`) is not safe."""
        try:
            safe: bool = super().is_safe_url(url)
        except ValueError:
            return False
        return safe

    # --- Second factors; see `mfa` -----------------------------------------------------------------------------

    def get_login_stages(self) -> list[str]:
        return ["allauth.mfa.stages.AuthenticateStage", "profiles.account.mfa.second_step.EmailCodeStage"]

    def is_login_by_code_required(self, login: Login) -> bool:
        return second_step.is_code_mailed(login)

    def get_reauthentication_methods(self, user: User) -> list[dict[str, Any]]:
        """The password alone: a signed-in user has given the second factor already."""
        return [{"id": "reauthenticate", "description": _("Password"), "url": reverse("account_reauthenticate")}]


def has_ended_since(request: HttpRequest, user: User | None) -> bool:
    """Whether the sessions of `user` have ended since the sign-in of this session began, or nobody lets them in now."""
    if user is None or not user.is_let_in:
        return True
    return request.session.get(BEGUN_WITH) not in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())


class MFAAdapter(DefaultMFAAdapter):
    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
    }

    def encrypt(self, text: str) -> str:
        return encryption.cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return encryption.cipher().decrypt(encrypted_text).decode()
        except InvalidToken:
            # SECRET_KEY was changed, and SECRET_KEY_FALLBACKS lacks the former one. Return a random secret: no
            # code matches it, and nothing raises.
            logger.error("a second factor was stored under another SECRET_KEY: see manage.py reencrypt")  # noqa: TRY400
            return str(generate_totp_secret())

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": settings.PASSKEY_HOST, "name": "AirVantage Keys"}

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:  # noqa: A002
        return str(_("Passkey"))
