"""What django-allauth leaves open about passkeys: what a challenge is for, and what an answer has to say.

allauth keeps one challenge in the session and takes the answer to it wherever that is sent. Here a challenge serves one
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
from django.core.cache import cache
from fido2.webauthn import AuthenticationResponse, CollectedClientData, RegistrationResponse

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
    """While allauth makes a challenge, if it does: the one there was is gone, and the new one is for this."""
    clear_passkey_challenge()
    yield
    if state := get_passkey_challenge():
        set_passkey_challenge({**state, "purpose": purpose, "user": user and user.pk, "begun": time.time()})


@contextmanager
def only_for(purpose: Purpose, user: User | None = None) -> Iterator[None]:
    """While an answer is looked at: the challenge, if it is for this. Afterwards there is none, right or wrong."""
    state = get_passkey_challenge()
    if not state or not _serves(state, purpose, user):
        clear_passkey_challenge()  # and without one, allauth takes no answer
    try:
        yield
    finally:
        clear_passkey_challenge()


def _serves(state: dict[str, Any], purpose: Purpose, user: User | None) -> bool:
    return (
        (state.get("purpose"), state.get("user")) == (purpose, user and user.pk)
        and time.time() - state["begun"] < LIFE
        # Two answers at the same time find the same session; only one of them gets in here.
        and cache.add(f"passkey:{state['challenge']}", 1, timeout=LIFE)
    )


def check_new(credential: dict[str, Any]) -> None:
    """What allauth does not ask of a passkey that is being added. Raises ValidationError, or any error of nonsense."""
    _check_origin(RegistrationResponse.from_dict(credential).response.client_data)


def check_answer(credential: dict[str, Any], user: User | None) -> None:
    """What allauth does not ask of an answer at sign-in, as the second step of `user` or, without one, alone.

    Raises ValidationError, or any error of nonsense. Only with allauth's check of the signature is it of any worth.
    """
    answer = AuthenticationResponse.from_dict(credential).response
    _check_origin(answer.client_data)
    if user is None:
        # In place of password and second factor: the device must have checked who holds it.
        if not answer.authenticator_data.is_user_verified():
            raise get_adapter().validation_error("incorrect_code")
    elif answer.user_handle and answer.user_handle != user_pk_to_url_str(user).encode():
        raise get_adapter().validation_error("incorrect_code")


def _check_origin(said: CollectedClientData) -> None:
    """Our own pages only: allauth takes those of any subdomain, and of frames in pages of others, too."""
    if said.cross_origin or urlsplit(said.origin).hostname != settings.PASSKEY_HOST:
        raise get_adapter().validation_error("incorrect_code")
