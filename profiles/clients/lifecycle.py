"""The life of a key: create, regenerate, end the old secret, delete, and revoke by staff.

What is noted of its use is in `usage`. The page, the admin site and the commands call these functions; each is one
transaction that holds the change and its event, and after it the owner is mailed. Each locks the owner's row first and
compares the version that the caller saw with the one that there is (`_begin`). So

- of several simultaneous changes exactly one goes through, on every database (ASVS 15.4.2), and
- a form that was made before another change does nothing, also one that would fit again (Create, after Delete).

The version is the number of the last event of a change: each writes one in its transaction, and none is taken back.

The secret is handed back beside the key, because it exists nowhere else.
"""

from __future__ import annotations

from django.db import transaction

from ..models import OAuthApplication, OldSecret, User
from ..origin import Origin
from . import changes
from .changes import CHANGES, Action, Changed, ChangeRefused, EndReason


class KeyExists(ChangeRefused):
    """Create: the owner has a key already, and can have one only."""


class KeysNotAllowed(ChangeRefused):
    """Create, regenerate: the owner's company allows no personal keys."""


class NoKey(ChangeRefused):
    """Regenerate, delete: the owner has no key."""


def of(owner: User) -> OAuthApplication | None:
    """The owner's key, or None."""
    return OAuthApplication.objects.filter(user=owner).first()


def version(owner: User) -> int:
    """The version of the owner's key, there or not: forms carry it, and changes compare it."""
    made = owner.key_events.filter(action__in=CHANGES).order_by("-id")
    return made.values_list("pk", flat=True).first() or 0


@transaction.atomic
def create(*, owner: User, origin: Origin, version: int | None = None) -> tuple[OAuthApplication, str]:
    """Make the owner's key.

    `version` is the one that the caller saw; None stands for whatever it is now.
    Returns the key and its secret. Raises KeyExists, KeysNotAllowed or Changed.
    """
    _begin(owner, version)
    _check_policy(owner)
    if of(owner):
        raise KeyExists
    key = OAuthApplication.objects.create(user=owner)
    secret = changes.new_secret(key, origin, key.created)
    changes.record_of(key, Action.CREATED, origin)
    return key, secret


@transaction.atomic
def regenerate(
    *, owner: User, origin: Origin, version: int | None = None, old_secret: OldSecret = OldSecret.NOW
) -> tuple[OAuthApplication, str]:
    """Replace the secret of the owner's key; `old_secret` says when the old one, with its access tokens, ends.

    Returns the key and its new secret. Raises NoKey, KeysNotAllowed or Changed.
    """
    key = _key_of(owner, version)
    _check_policy(owner)
    return key, changes.replace_secret(key, old_secret, origin)


@transaction.atomic
def end_old_secret(*, owner: User, origin: Origin, version: int | None = None) -> None:
    """End the replaced secret that is still good, with its access tokens. Raises NoKey, NoOldSecret or Changed."""
    changes.end_old_secret(_key_of(owner, version), origin)


@transaction.atomic
def delete(*, owner: User, origin: Origin, version: int | None = None) -> None:
    """Delete the owner's key; every access token ends with it. Raises NoKey or Changed."""
    changes.delete(_key_of(owner, version), Action.DELETED, EndReason.DELETED, origin)


@transaction.atomic
def revoke(*, owner: User, origin: Origin, reason: str) -> None:
    """Delete the key of somebody else, as staff, with a reason that the owner can read. Raises NoKey."""
    changes.delete(_key_of(owner, None), Action.REVOKED, EndReason.REVOKED, origin, reason)


def record_refused_password(*, owner: User, origin: Origin) -> None:
    """Note that a change of the key was asked for with a wrong password (ASVS 16.3.1)."""
    key = of(owner)
    changes.record(Action.PASSWORD_REFUSED, owner, origin, client_id=key.client_id if key else "")


def _begin(owner: User, seen: int | None) -> None:
    """Begin a change: nobody else changes this key until it is committed. Must run inside a transaction."""
    if not changes.lock(owner):
        raise Changed
    if seen is not None and seen != version(owner):
        raise Changed


def _check_policy(owner: User) -> None:
    """Make no secret that would be refused. Whoever has one nevertheless is refused when it is shown (`tokens`)."""
    if changes.policy_of(owner).no_keys:
        raise KeysNotAllowed


def _key_of(owner: User, seen: int | None) -> OAuthApplication:
    """Begin a change of the key that there is."""
    _begin(owner, seen)
    key = of(owner)
    if key is None:
        raise NoKey
    key.user = owner
    return key
