"""What django-allauth does not check about passkeys: the purpose of a challenge, and some contents of an answer.

allauth keeps one challenge in the session and accepts its answer on any of its pages. Here a challenge serves one
purpose and one user, in one session, once, and for a time (WebAuthn 3, sections 7.2 and 13.4.3).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.adapter import get_adapter
from django.conf import settings
from django.core.cache import caches
from fido2.webauthn import AuthenticationResponse, CollectedClientData, RegistrationResponse

from ...limits.shared_cache import ONCE
from ...models import User
from ..allauth_internals import clear_passkey_challenge, get_passkey_challenge, set_passkey_challenge

# Seconds. A browser gives people five to ten minutes by default (WebAuthn 3, section 15.1).
LIFE = 10 * 60


class Purpose(StrEnum):
    ADD = "add"
    SECOND_STEP = "second-step"
    ALONE = "alone"  # signing in without a password


@contextmanager
def made_for(purpose: Purpose, user: User | None = None) -> Iterator[None]:
    """Around allauth making a challenge: the old one is removed, and the new one is marked with this purpose."""
    clear_passkey_challenge()
    yield
    if state := get_passkey_challenge():
        set_passkey_challenge({**state, "purpose": purpose, "user": user and user.pk, "begun": time.time()})


@contextmanager
def only_for(purpose: Purpose, user: User | None = None) -> Iterator[None]:
    """Around the check of an answer: the challenge is kept only if it has this purpose, and removed afterwards."""
    state = get_passkey_challenge()
    if not state or not _serves(state, purpose, user):
        clear_passkey_challenge()  # and without one, allauth accepts no answer
    try:
        yield
    finally:
        clear_passkey_challenge()


def _serves(state: dict[str, Any], purpose: Purpose, user: User | None) -> bool:
    return (
        (state.get("purpose"), state.get("user")) == (purpose, user and user.pk)
        and time.time() - state["begun"] < LIFE
        # Two answers at the same time see the same session; only one of them passes here.
        and caches[ONCE].add(f"passkey:{state['challenge']}", 1, timeout=LIFE)
    )


def check_new(credential: dict[str, Any]) -> None:
    """What allauth does not check of a new passkey. Raises ValidationError, or any error for malformed data."""
    _check_origin(RegistrationResponse.from_dict(credential).response.client_data)


def check_answer(credential: dict[str, Any], user: User | None) -> None:
    """What allauth does not check of an answer at sign-in: as the second step of `user`, or without a password if None.

    Raises ValidationError, or any error for malformed data. It does not check the signature: allauth does.
    """
    answer = AuthenticationResponse.from_dict(credential).response
    _check_origin(answer.client_data)
    if user is None:
        # In place of password and second factor: the device must have verified its user.
        if not answer.authenticator_data.is_user_verified():
            raise get_adapter().validation_error("incorrect_code")
    elif answer.user_handle and answer.user_handle != user_pk_to_url_str(user).encode():
        raise get_adapter().validation_error("incorrect_code")


def _check_origin(said: CollectedClientData) -> None:
    """Our own origin only: allauth also accepts those of subdomains, and frames in pages of other sites."""
    if said.cross_origin or urlsplit(said.origin).hostname != settings.PASSKEY_HOST:
        raise get_adapter().validation_error("incorrect_code")
