"""The life of a key: create, regenerate, end the old secret, delete, and revoke by staff.

What is noted of its use is in `usage`. The page, the admin site and the commands call these functions; each is one
transaction that holds the change and its event, and after it the owner is mailed. Each locks the owner's row first and
compares the version that the caller saw with the one that there is (`_begin`). So

- of several simultaneous changes exactly one goes through, on every database (ASVS 15.4.2), and
- a form that was made before another change does nothing, also one that would fit again (Create, after Delete).

The version is the number of the last event of a change: each writes one in its transaction, and none is taken back.

A secret ends in one of three ways: at once (`_end`), at a moment that was said when it was replaced, or by the first
use of its successor. Its access tokens end with it, whatever their number, because each is good as long as its
secret is (see `tokens`).

The secret is handed back beside the key, because it exists nowhere else.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from .. import credentials
from ..events.record import record_event
from ..mail import notices
from ..models import ClientSecret, KeyEvent, OAuthApplication, OldSecret, User
from ..origin import Origin

# How long the replaced secret stays good at the longest.
OVERLAPS = {OldSecret.FIRST_USE: timedelta(days=7), OldSecret.DAY: timedelta(hours=24)}

# How far the clocks of two servers may be apart.
CLOCKS_APART = timedelta(minutes=1)

Action = KeyEvent.Action
EndReason = ClientSecret.EndReason

# What makes a new version.
CHANGES = (Action.CREATED, Action.REGENERATED, Action.OLD_SECRET_ENDED, Action.DELETED, Action.REVOKED)


class KeyChangeRefused(Exception):
    """The key stays as it is; the subclass says why."""


class KeyExists(KeyChangeRefused):
    """Create: the owner has a key already, and can have one only."""


class NoKey(KeyChangeRefused):
    """Regenerate, delete: the owner has no key."""


class NoOldSecret(KeyChangeRefused):
    """End the old secret: there is none that is still good."""


class KeyChanged(KeyChangeRefused):
    """The key was changed since the caller looked at it: in another window, by another click, by staff."""


def of(owner: User) -> OAuthApplication | None:
    """The owner's key, or None."""
    return OAuthApplication.objects.filter(user=owner).first()


def version(owner: User) -> int:
    """The version of the owner's key, there or not: forms carry it, and changes compare it."""
    changes = owner.key_events.filter(action__in=CHANGES).order_by("-id")
    return changes.values_list("pk", flat=True).first() or 0


@transaction.atomic
def create(*, owner: User, origin: Origin, version: int | None = None) -> tuple[OAuthApplication, str]:
    """Make the owner's key.

    `version` is the one that the caller saw; None stands for whatever it is now.
    Returns the key and its secret. Raises KeyExists or KeyChanged.
    """
    _begin(owner, version)
    if of(owner):
        raise KeyExists
    key = OAuthApplication.objects.create(user=owner)
    secret = _new_secret(key, origin, key.created)
    _record(Action.CREATED, owner, key.client_id, origin)
    return key, secret


@transaction.atomic
def regenerate(
    *, owner: User, origin: Origin, version: int | None = None, old_secret: OldSecret = OldSecret.NOW
) -> tuple[OAuthApplication, str]:
    """Replace the secret of the owner's key; `old_secret` says when the old one, with its access tokens, ends.

    Two secrets are live at most, so one that was replaced before and is still good ends at once in any case.
    Returns the key and its new secret. Raises NoKey or KeyChanged.
    """
    _begin(owner, version)
    key = _key_of(owner)
    now = timezone.now()
    if old_secret in OVERLAPS and key.secrets.filter(ends=None).exists():
        if _end(key, EndReason.REPLACED, now, ends__isnull=False):
            _record(Action.OLD_SECRET_ENDED, owner, key.client_id, origin)
        key.secrets.filter(ends=None).update(
            ends=now + OVERLAPS[old_secret],
            ends_at_first_use=old_secret == OldSecret.FIRST_USE,
            end_reason=EndReason.REPLACED,
        )
    else:
        old_secret = OldSecret.NOW  # also where there is none that could stay good
        _end(key, EndReason.REPLACED, now)
    secret = _new_secret(key, origin, now)
    key.save(update_fields=["updated"])
    _record(Action.REGENERATED, owner, key.client_id, origin, old_secret=old_secret)
    return key, secret


@transaction.atomic
def end_old_secret(*, owner: User, origin: Origin, version: int | None = None) -> None:
    """End the replaced secret that is still good, with its access tokens. Raises NoKey, NoOldSecret or KeyChanged."""
    _begin(owner, version)
    key = _key_of(owner)
    if not _end(key, EndReason.ENDED, timezone.now(), ends__isnull=False):
        raise NoOldSecret
    _record(Action.OLD_SECRET_ENDED, owner, key.client_id, origin)


@transaction.atomic
def first_use(secret_id: int, *, origin: Origin) -> None:
    """Note that this secret was used for the first time; a secret that was to be good until then ends.

    Nothing to note where the key, or its owner, was deleted meanwhile: what was obtained with it is dead.
    """
    key = OAuthApplication.objects.select_related("user").filter(secrets=secret_id).first()
    if key is None:
        return
    try:
        _begin(key.owner, None)
    except KeyChanged:
        return
    now = timezone.now()
    if not ClientSecret.objects.filter(pk=secret_id, first_used=None).update(first_used=now):
        return
    # Only that of its predecessors: an old secret that is used for the first time ends nothing.
    if _end(key, EndReason.REPLACED, now, ends_at_first_use=True, pk__lt=secret_id):
        _record(Action.OLD_SECRET_ENDED, key.owner, key.client_id, origin)


@transaction.atomic
def delete(*, owner: User, origin: Origin, version: int | None = None) -> None:
    """Delete the owner's key; every access token ends with it. Raises NoKey or KeyChanged."""
    _begin(owner, version)
    _delete(owner, Action.DELETED, EndReason.DELETED, origin)


@transaction.atomic
def revoke(*, owner: User, origin: Origin, reason: str) -> None:
    """Delete the key of somebody else, as staff, with a reason that the owner can read. Raises NoKey."""
    _begin(owner, None)
    _delete(owner, Action.REVOKED, EndReason.REVOKED, origin, reason)


def record_refused_password(*, owner: User, origin: Origin) -> None:
    """Note that a change of the key was asked for with a wrong password (ASVS 16.3.1)."""
    key = of(owner)
    _record(Action.PASSWORD_REFUSED, owner, key.client_id if key else "", origin)


def _begin(owner: User, seen: int | None) -> None:
    """Begin a change: nobody else changes this key until it is committed. Must run inside a transaction.

    On SQLite the transaction has the whole database for itself from its beginning.
    """
    if not User.objects.select_for_update(no_key=True).filter(pk=owner.pk).exists():
        raise KeyChanged
    if seen is not None and seen != version(owner):
        raise KeyChanged


def _key_of(owner: User) -> OAuthApplication:
    key = of(owner)
    if key is None:
        raise NoKey
    return key


def _new_secret(key: OAuthApplication, origin: Origin, now: datetime) -> str:
    secret = credentials.new_secret()
    ClientSecret.objects.create(
        application=key,
        client_id=key.client_id,
        digest=credentials.digest(secret),
        hint=credentials.hint(secret),
        created=now,
        shown_to=origin.actor,
    )
    return secret


def _end(key: OAuthApplication, reason: ClientSecret.EndReason, now: datetime, **which: object) -> int:
    """End the live secrets of a key, or those of them that are asked for, at once; how many there were.

    One whose time was over a moment ago is ended too, as it was: on the clock of another server it may not be over yet.
    """
    secrets = key.secrets.filter(ended=False, **which)
    just_over = secrets.filter(ends__gt=now - CLOCKS_APART, ends__lte=now).update(ended=True)
    return just_over + secrets.live(now).update(ended=True, ends=now, end_reason=reason)


def _delete(
    owner: User, action: KeyEvent.Action, end_reason: ClientSecret.EndReason, origin: Origin, reason: str = ""
) -> None:
    key = _key_of(owner)
    _end(key, end_reason, timezone.now())
    _record(action, owner, key.client_id, origin, reason=reason)
    key.delete()


def _record(action: KeyEvent.Action, owner: User, client_id: str, origin: Origin, **more: str) -> None:
    event = KeyEvent(action=action, client_id=client_id, owner=owner, owner_uid=owner.uid, **more)
    notices.mail_owner(record_event(event, origin=origin))
