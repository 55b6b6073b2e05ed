"""The life of a key: create, regenerate, delete, and revoke by staff. The only module that changes one.

The page, the admin site and the commands call these functions; each is one transaction that holds the change
and its event, and after it the owner is mailed. They all begin with `_next_version`, which adds one to the
owner's `key_version` if it still is what the caller saw. That one conditional UPDATE

- lets exactly one of several simultaneous changes through, on every database (ASVS 15.4.2),
- ends every access token and every form made under the version before, whatever their number, and
- locks the owner's row, so that what follows happens one after the other.

The secret is handed back beside the key, because it exists nowhere else.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .. import credentials
from ..events.record import record_event
from ..mail import notices
from ..models import KeyEvent, OAuthApplication, User
from ..origin import Origin


class KeyChangeRefused(Exception):
    """The key stays as it is; the subclass says why."""


class KeyExists(KeyChangeRefused):
    """Create: the owner has a key already, and can have one only."""


class NoKey(KeyChangeRefused):
    """Regenerate, delete: the owner has no key."""


class KeyChanged(KeyChangeRefused):
    """The key was changed since the caller looked at it: in another window, by another click, by staff."""


def of(owner: User) -> OAuthApplication | None:
    """The owner's key, or None."""
    return OAuthApplication.objects.filter(user=owner).first()


@transaction.atomic
def create(*, owner: User, origin: Origin, version: int | None = None) -> tuple[OAuthApplication, str]:
    """Make the owner's key.

    `version` is the `key_version` the caller saw; None stands for whatever it is now.
    Returns the key and its secret. Raises KeyExists or KeyChanged.
    """
    _next_version(owner, version)
    if of(owner):
        raise KeyExists
    secret = credentials.new_secret()
    now = timezone.now()
    key = OAuthApplication.objects.create(
        user=owner,
        client_secret=credentials.stored_secret(secret),
        secret_hint=credentials.hint(secret),
        secret_created=now,
    )
    _record(KeyEvent.Action.CREATED, owner, key.client_id, origin)
    return key, secret


@transaction.atomic
def regenerate(*, owner: User, origin: Origin, version: int | None = None) -> tuple[OAuthApplication, str]:
    """Replace the secret of the owner's key; the old one and every access token end with it.

    Returns the key and its new secret. Raises NoKey or KeyChanged.
    """
    _next_version(owner, version)
    key = of(owner)
    if key is None:
        raise NoKey
    secret = credentials.new_secret()
    key.client_secret = credentials.stored_secret(secret)
    key.secret_hint = credentials.hint(secret)
    key.secret_created = timezone.now()
    key.save(update_fields=["client_secret", "secret_hint", "secret_created", "updated"])
    _record(KeyEvent.Action.REGENERATED, owner, key.client_id, origin)
    return key, secret


@transaction.atomic
def delete(*, owner: User, origin: Origin, version: int | None = None) -> None:
    """Delete the owner's key; every access token ends with it. Raises NoKey or KeyChanged."""
    _next_version(owner, version)
    _delete(owner, KeyEvent.Action.DELETED, origin)


@transaction.atomic
def revoke(*, owner: User, origin: Origin, reason: str) -> None:
    """Delete the key of somebody else, as staff, with a reason that the owner can read. Raises NoKey."""
    _next_version(owner, None)
    _delete(owner, KeyEvent.Action.REVOKED, origin, reason)


def record_refused_password(*, owner: User, origin: Origin) -> None:
    """Note that a change of the key was asked for with a wrong password (ASVS 16.3.1)."""
    key = of(owner)
    _record(KeyEvent.Action.PASSWORD_REFUSED, owner, key.client_id if key else "", origin)


def _delete(owner: User, action: KeyEvent.Action, origin: Origin, reason: str = "") -> None:
    key = of(owner)
    if key is None:
        raise NoKey
    _record(action, owner, key.client_id, origin, reason)
    key.delete()


def _next_version(owner: User, version: int | None) -> None:
    """Begin a change: count it, unless another change came first. Must run inside a transaction."""
    users = User.objects.filter(pk=owner.pk)
    if version is not None:
        users = users.filter(key_version=version)
    if not users.update(key_version=F("key_version") + 1):
        raise KeyChanged
    owner.refresh_from_db(fields=["key_version"])


def _record(action: KeyEvent.Action, owner: User, client_id: str, origin: Origin, reason: str = "") -> None:
    event = KeyEvent(action=action, client_id=client_id, owner=owner, owner_uid=owner.uid, reason=reason)
    notices.mail_owner(record_event(event, origin=origin))
