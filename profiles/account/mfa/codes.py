"""Codes that people type: each is used once, mails are limited, and a first mailed code proves the mailbox."""

from __future__ import annotations

from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from django.core.cache import caches
from django.http import HttpRequest

from ...limits import attempts
from ...limits.shared_cache import ONCE
from ...models import User
from ...pages import reauthentication
from ..allauth_internals import AbstractCodeVerificationProcess


def spend(user: User, code: str) -> bool:
    """Mark this code of the authenticator app as used; False if it was used before (ASVS 6.5.1).

    allauth remembers a code for one period only, and we accept each code in three.
    """
    digits = "".join(filter(str.isdigit, code))
    return caches[ONCE].add(f"totp:{user.pk}:{digits}", 1, timeout=120)


def may_mail_code(request: HttpRequest, user: User) -> bool:
    """Count one mailed code; False if there have been too many."""
    try:
        attempts.mailed_code(request, user=user)
    except attempts.TooMany:
        return False
    return True


class MailboxProof(AbstractCodeVerificationProcess):
    """A code sent to the owner's e-mail address: to turn on codes by e-mail, one must be proven to arrive."""

    SESSION_KEY = reauthentication.MAILBOX_PROOF

    def __init__(self, request: HttpRequest, user: User, state: dict[str, Any]) -> None:
        self.request = request
        super().__init__(
            max_attempts=app_settings.LOGIN_BY_CODE_MAX_ATTEMPTS,
            timeout=app_settings.LOGIN_BY_CODE_TIMEOUT,
            state=state,
            user=user,
        )

    @classmethod
    def begin(cls, request: HttpRequest, user: User) -> None:
        """Mail a code. Raises OSError when the mail server does not take it."""
        proof = cls(request, user, cls.initial_state(user=user, email=user.email))
        proof.send()
        proof.persist()

    @classmethod
    def under_way(cls, request: HttpRequest, user: User) -> MailboxProof | None:
        state = request.session.get(cls.SESSION_KEY)
        if not state or state["email"] != user.email:
            return None
        proof: MailboxProof | None = cls(request, user, state).abort_if_invalid()
        return proof

    def send(self) -> None:
        adapter = get_adapter()
        self.state["code"] = adapter.generate_login_code()
        adapter.send_mail("account/email/email_codes", self.state["email"], {"code": self.state["code"]})

    def persist(self) -> None:
        self.request.session[self.SESSION_KEY] = self.state

    def abort(self) -> None:
        self.request.session.pop(self.SESSION_KEY, None)
