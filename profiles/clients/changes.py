"""What all changes of a client have in common: one at a time for each owner, a version, an event; and its secrets.

An owner is a user, who has a key, or a company, which has API Clients. `lifecycle` changes the one, `company` the
others; what both do to secrets stands here.

A secret ends in one of three ways: at once (`end`), at a moment that was said when it was replaced, or by the first
use of its successor. Its access tokens end with it, whatever their number, because each is good as long as its
secret is (see `tokens`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from .. import credentials, policy
from ..events.record import record_event
from ..mail import notices
from ..models import ClientSecret, Company, KeyEvent, OAuthApplication, OldSecret, User

if TYPE_CHECKING:
    from ..origin import Origin

Owner = User | Company

# How long the replaced secret stays good at the longest.
OVERLAPS = {OldSecret.FIRST_USE: timedelta(days=7), OldSecret.DAY: timedelta(hours=24)}

# About one client and one thing that happens as often as somebody likes, in 24 hours.
MAILS_AT_MOST = 3

# How far the clocks of two servers may be apart.
CLOCKS_APART = timedelta(minutes=1)

Action = KeyEvent.Action
EndReason = ClientSecret.EndReason

# What makes a new version.
CHANGES = (
    Action.CREATED,
    Action.EDITED,
    Action.REGENERATED,
    Action.OLD_SECRET_ENDED,
    Action.DISABLED,
    Action.ENABLED,
    Action.DELETED,
    Action.REVOKED,
    Action.LEAKED,
    Action.OLD_SECRET_LEAKED,
)


def policy_of(owner: Owner) -> policy.Policy:
    """What the company of this owner lays down."""
    company = owner if isinstance(owner, Company) else owner.company
    return policy.read(company.policy) if company else policy.NONE


class ChangeRefused(Exception):
    """The client stays as it is; the subclass says why."""


class Changed(ChangeRefused):
    """The client was changed since the caller looked at it: in another window, by another click, by staff."""


class NoOldSecret(ChangeRefused):
    """End the old secret: there is none that is still good."""


def owner_of(client: OAuthApplication) -> Owner:
    return client.company or client.owner


def lock(owner: Owner) -> bool:
    """Let nobody else change a client of this owner until the transaction ends; False if the owner is gone.

    On SQLite the transaction has the whole database for itself from its beginning.
    """
    owners = User.objects.all() if isinstance(owner, User) else Company.objects.all()
    return owners.select_for_update(no_key=True).filter(pk=owner.pk).exists()


def record(
    action: KeyEvent.Action, owner: Owner, origin: Origin, *, client_id: str, mailed: bool = True, **more: str
) -> None:
    """Write the event of a change, and mail whom it concerns once it is committed, if it is one that is mailed."""
    user = owner if isinstance(owner, User) else None
    event = KeyEvent(action=action, client_id=client_id, owner=user, owner_uid=owner.uid, **more)
    record_event(event, origin=origin)
    if mailed and isinstance(owner, Company):
        notices.mail_company(event, owner)
    elif mailed:
        notices.mail_owner(event)


def record_of(
    client: OAuthApplication, action: KeyEvent.Action, origin: Origin, *, mailed: bool = True, **more: str
) -> None:
    """The same, of a client that there is."""
    more |= {"client_id": client.client_id, "client_name": client.name}
    record(action, owner_of(client), origin, mailed=mailed, **more)


def mails_left(client: OAuthApplication, action: KeyEvent.Action) -> int:
    """How many more mails about such events of this client may be sent now.

    Counted are the events, mailed or not: in a flood that does not stop, only the first ones are mailed.
    """
    lately = KeyEvent.objects.filter(
        client_id=client.client_id, action=action, time__gt=timezone.now() - timedelta(days=1)
    )
    return MAILS_AT_MOST - lately.order_by()[:MAILS_AT_MOST].count()


def new_secret(client: OAuthApplication, origin: Origin, now: datetime) -> str:
    """Make a secret, which is handed back and exists nowhere else."""
    prefix = credentials.COMPANY_SECRET_PREFIX if client.is_companys else credentials.SECRET_PREFIX
    secret = credentials.new_secret(prefix)
    ClientSecret.objects.create(
        application=client,
        client_id=client.client_id,
        digest=credentials.digest(secret),
        hint=credentials.hint(secret),
        created=now,
        shown_to=origin.actor,
    )
    return secret


def replace_secret(client: OAuthApplication, old_secret: OldSecret, origin: Origin) -> str:
    """Make a secret in place of the one there is; `old_secret` says when that ends, with its access tokens.

    Two secrets are live at most, so one that was replaced before and is still good ends at once in any case. Nor does
    the old one stay good for longer than the company allows.
    """
    now = timezone.now()
    current = client.secrets.filter(ends=None).first()
    too_old = policy_of(owner_of(client)).end_of(current.created) if current else None
    if current and old_secret in OVERLAPS and not (too_old and too_old <= now):
        if end(client, EndReason.REPLACED, now, ends__isnull=False):
            record_of(client, Action.OLD_SECRET_ENDED, origin)
        later = now + OVERLAPS[old_secret]
        client.secrets.filter(ends=None).update(
            ends=min(later, too_old) if too_old else later,
            ends_at_first_use=old_secret == OldSecret.FIRST_USE,
            end_reason=EndReason.REPLACED,
        )
    else:
        old_secret = OldSecret.NOW  # also where there is none that could stay good
        end(client, EndReason.REPLACED, now)
    secret = new_secret(client, origin, now)
    client.save(update_fields=["updated"])
    record_of(client, Action.REGENERATED, origin, old_secret=old_secret)
    return secret


def end_old_secret(client: OAuthApplication, origin: Origin) -> None:
    """End the replaced secret that is still good, with its access tokens. Raises NoOldSecret."""
    if not end(client, EndReason.ENDED, timezone.now(), ends__isnull=False):
        raise NoOldSecret
    record_of(client, Action.OLD_SECRET_ENDED, origin)


def delete(
    client: OAuthApplication,
    action: KeyEvent.Action,
    end_reason: ClientSecret.EndReason,
    origin: Origin,
    reason: str = "",
) -> None:
    """Delete a client; every access token ends with it."""
    end(client, end_reason, timezone.now())
    record_of(client, action, origin, reason=reason)
    client.delete()


@transaction.atomic
def first_use(secret_id: int, *, origin: Origin) -> None:
    """Note that this secret was used for the first time; a secret that was to be good until then ends.

    Nothing to note where the client, or its owner, was deleted meanwhile: what was obtained with it is dead.
    """
    client = OAuthApplication.objects.select_related("user__company", "company").filter(secrets=secret_id).first()
    if client is None or not lock(owner_of(client)):
        return
    now = timezone.now()
    if not ClientSecret.objects.filter(pk=secret_id, first_used=None).update(first_used=now):
        return
    # Only that of its predecessors: an old secret that is used for the first time ends nothing.
    if end(client, EndReason.REPLACED, now, ends_at_first_use=True, pk__lt=secret_id):
        record_of(client, Action.OLD_SECRET_ENDED, origin)


def end(client: OAuthApplication, reason: ClientSecret.EndReason, now: datetime, **which: object) -> int:
    """End the live secrets of a client, or those of them that are asked for, at once; how many there were.

    One whose time was over a moment ago is ended too, as it was: on the clock of another server it may not be over yet.
    """
    secrets = client.secrets.filter(ended=False, **which)
    just_over = secrets.filter(ends__gt=now - CLOCKS_APART, ends__lte=now).update(ended=True)
    return just_over + secrets.live(now).update(ended=True, ends=now, end_reason=reason)
