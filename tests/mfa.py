"""What the tests of second factors have in common: their pages, the codes for them, and how to sign in with one."""

from __future__ import annotations

import base64
import hmac
import re
import time
from typing import Any

from django.core import mail
from django.test import Client

from profiles.models import AccountEvent, User

from .conftest import PASSWORD
from .page import PROFILE, html

INDEX = "/accounts/mfa/"
EMAIL = "/accounts/mfa/email/"
TOTP = "/accounts/mfa/totp/"
ADD_PASSKEY = "/accounts/mfa/passkeys/add/"
RECOVERY = "/accounts/mfa/recovery-codes/"
LOGIN = "/accounts/login/"
MAILED_CODE = "/accounts/login/mailed-code/"
SECOND_STEP = "/accounts/login/second-factor/"
USERS = "/admin/profiles/user/"
Action = AccountEvent.Action


def mailed_code() -> str:
    (code,) = re.findall(r"^\d{4}-\d{4}$", str(mail.outbox[-1].body), re.MULTILINE)
    return str(code)


def give_password(client: Client, user: User) -> Any:
    return client.post(LOGIN, {"login": user.email, "password": PASSWORD})


def sign_in_with_code(client: Client, user: User) -> None:
    give_password(client, user)
    assert client.post(MAILED_CODE, {"code": mailed_code()}).headers["Location"] == PROFILE


def events(user: User) -> list[tuple[str, str]]:
    found = AccountEvent.objects.filter(owner=user, action__contains="").order_by("pk")
    ours = {
        Action.MFA_ADDED,
        Action.MFA_REMOVED,
        Action.MFA_RESET,
        Action.RECOVERY_CODES_MADE,
        Action.RECOVERY_CODE_USED,
    }
    return [(event.action, event.detail) for event in found if event.action in ours]


def current_code(secret: str, periods: int = 0) -> str:
    """The code that an app shows now, or `periods` of half a minute later (RFC 6238)."""
    counter = int(time.time()) // 30 + periods
    digest = hmac.digest(base64.b32decode(secret.replace(" ", "")), counter.to_bytes(8), "sha1")
    value = int.from_bytes(digest[digest[-1] & 15 :][:4]) & 0x7FFFFFFF
    return f"{value % 10**6:06}"


def set_up_totp(client: Client) -> tuple[str, list[str]]:
    """Set up an app on the page. Its secret, and the recovery codes that are shown."""
    page = html(client.get(TOTP))
    (secret,) = re.findall(r'<code class="secret" translate="no">([A-Z2-7 ]+)</code>', page)
    shown = client.post(TOTP, {"code": current_code(secret, periods=-1)})
    return secret, codes_in(shown)


def codes_in(response: Any) -> list[str]:
    return re.findall(r"<code>(\d{4} \d{4})</code>", html(response))
