"""Second factors are stored encrypted, by a key made of SECRET_KEY: a copy of the database alone reveals none.

What was encrypted by one of SECRET_KEY_FALLBACKS can be read, too; `manage.py reencrypt` stores it anew.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from enum import Enum
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

# Where allauth keeps what is encrypted, in the data of an authenticator: a text, or a list of texts.
ENCRYPTED = {"secret", "seed", "migrated_codes"}
READ_AT_ONCE = 500


def cipher() -> MultiFernet:
    """Encrypts by SECRET_KEY, and decrypts by that or by a former one."""
    return MultiFernet([_by(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _by(key: str | bytes) -> Fernet:
    # This salt, and those of `limits`, are fixed texts, not names of modules: with another salt, stored data
    # could no longer be read.
    digest = salted_hmac("profiles.account.mfa", "second factors", secret=key, algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(digest))


class State(Enum):
    CURRENT = "encrypted by SECRET_KEY"
    FORMER = "encrypted by one of SECRET_KEY_FALLBACKS"
    LOST = "encrypted by a key that is not there: no code fits"


def reencrypt(*, dry_run: bool) -> Iterator[tuple[Authenticator, State]]:
    """Store by SECRET_KEY what a former one has encrypted; yields each factor with what it was found as.

    Each is a transaction of its own, which locks the row as allauth does where a recovery code is used up. So it is
    safe beside servers that run, and can be stopped and run again.
    """
    of_kind = Authenticator.objects.filter(type__in=(Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES))
    after = 0
    while part := list(of_kind.filter(pk__gt=after).select_related("user").order_by("pk")[:READ_AT_ONCE]):
        for factor in part:
            state = _state(factor)
            if state is State.FORMER and not dry_run:
                _store_anew(factor)
            yield factor, state
        after = part[-1].pk


def _state(factor: Authenticator) -> State:
    now, any_key = _by(settings.SECRET_KEY), cipher()
    texts = _encrypted(factor.data)
    if all(_opens(now, text) for text in texts):
        return State.CURRENT
    return State.FORMER if all(_opens(any_key, text) for text in texts) else State.LOST


def _opens(key: Fernet | MultiFernet, text: str) -> bool:
    try:
        key.decrypt(text)
    except InvalidToken:
        return False
    return True


@transaction.atomic
def _store_anew(factor: Authenticator) -> None:
    now = Authenticator.objects.select_for_update().filter(pk=factor.pk).first()
    if now is None or _state(now) is not State.FORMER:  # removed, or made anew, meanwhile
        return
    by_secret_key = cipher()
    for name in ENCRYPTED & now.data.keys():
        kept = now.data[name]
        several = not isinstance(kept, str)
        now.data[name] = [_rotated(by_secret_key, it) for it in kept] if several else _rotated(by_secret_key, kept)
    now.save(update_fields=["data"])


def _rotated(by_secret_key: MultiFernet, text: str) -> str:
    return by_secret_key.rotate(text).decode()


def _encrypted(data: dict[str, Any]) -> list[str]:
    kept = [data[name] for name in ENCRYPTED & data.keys()]
    return [text for it in kept for text in ([it] if isinstance(it, str) else it)]
