"""The life of an API Client of a company: create, edit, regenerate, end the old secret, disable, enable, delete.

As `lifecycle` does for keys. Each change locks the company's row, then reads anew and locks what it goes by: the actor,
and the access profiles of actor and client, in this order. So of several simultaneous changes each sees the one before;
whoever takes a right, or a user, away is answered after a change that still went by it, and one that begins later finds
it gone (ASVS 15.4.2). Who may do what is said by `reach.may_do`, to the pages too.

The version of a client is the number of the last event of a change, as a key's is.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from .. import reach
from ..models import AccessProfile, Company, KeyEvent, OAuthApplication, OldSecret, User
from ..origin import Origin
from ..reach import ToClient
from ..text import spelling
from . import changes
from .changes import CHANGES, Action, Changed, ChangeRefused, EndReason


class NotAllowed(ChangeRefused):
    """The actor lacks the right for this, or a right of the client's access profile."""


class NoClient(ChangeRefused):
    """The company has no such API Client (any more)."""


class NameTaken(ChangeRefused):
    """Another API Client of the company has this name, upper and lower case apart."""


class TooMany(ChangeRefused):
    """The company has as many API Clients as it may have."""


class NoSuchProfile(ChangeRefused):
    """The access profile is gone."""


@dataclass(frozen=True, slots=True)
class About:
    """What its maker says about a client."""

    name: str
    note: str
    access_profile: AccessProfile
    mail_new_address: bool = False
    """Whether the company is mailed when it is used from an address that it has not been used from in 90 days."""


def of(company: Company, client_id: str) -> OAuthApplication | None:
    """The API Client of this company, or None."""
    clients = OAuthApplication.objects.select_related("company", "access_profile", "maker")
    return clients.filter(company=company, client_id=client_id).first()


def version(client_id: str) -> int:
    """The version of a client: forms carry it, and changes compare it."""
    made = KeyEvent.objects.filter(client_id=client_id, action__in=CHANGES).order_by("-id")
    return made.values_list("pk", flat=True).first() or 0


def last_made(company: Company, maker: User) -> KeyEvent | None:
    """What was noted of the last API Client that somebody made. Its number is the version of a form for a new one."""
    made = KeyEvent.objects.filter(owner_uid=company.uid, actor=maker, action=Action.CREATED)
    return made.exclude(client_name="").order_by("-id").first()


@transaction.atomic
def create(
    *, company: Company, about: About, origin: Origin, version: int | None = None
) -> tuple[OAuthApplication, str]:
    """Make an API Client. Returns it and its secret.

    `version` is that of `last_made` which the caller saw: so a form that is sent again makes no second client,
    whatever has become of the first. Raises NotAllowed, Changed, NoSuchProfile, NameTaken or TooMany.
    """
    actor = _begin(company, origin)
    (profile,) = _check(actor, ToClient.CREATE, about.access_profile)
    last = last_made(company, actor)
    if version is not None and version != (last.pk if last else 0):
        raise Changed
    _check_name(company, about.name)
    if OAuthApplication.objects.filter(company=company).count() >= settings.API_CLIENTS_AT_MOST:
        raise TooMany
    client = OAuthApplication.objects.create(
        company=company,
        name=about.name,
        note=about.note,
        access_profile=profile,
        mail_new_address=about.mail_new_address,
        maker=actor,
    )
    secret = changes.new_secret(client, origin, client.created)
    changes.record_of(client, Action.CREATED, origin)
    return client, secret


@transaction.atomic
def edit(
    *, company: Company, client_id: str, about: About, origin: Origin, version: int | None = None
) -> OAuthApplication:
    """Change what is said about a client; its rights are those of its access profile from then on.

    Raises NoClient, Changed, NotAllowed, NoSuchProfile or NameTaken.
    """
    client, profile = _client(company, client_id, ToClient.EDIT, origin, version, chosen=about.access_profile)
    _check_name(company, about.name, but=client)
    said = _difference(client, about)
    if not said:
        return client
    gives_other_rights = client.access_profile != profile
    client.name, client.note, client.access_profile = about.name, about.note, profile
    client.mail_new_address = about.mail_new_address
    client.save(update_fields=["name", "note", "access_profile", "mail_new_address", "updated"])
    changes.record_of(client, Action.EDITED, origin, detail=said, mailed=gives_other_rights)
    return client


@transaction.atomic
def regenerate(
    *,
    company: Company,
    client_id: str,
    origin: Origin,
    version: int | None = None,
    old_secret: OldSecret = OldSecret.NOW,
) -> tuple[OAuthApplication, str]:
    """Replace the secret; `old_secret` says when the old one, with its access tokens, ends.

    Returns the client and its new secret. Raises NoClient, Changed or NotAllowed.
    """
    client, _ = _client(company, client_id, ToClient.REGENERATE, origin, version)
    return client, changes.replace_secret(client, old_secret, origin)


@transaction.atomic
def end_old_secret(*, company: Company, client_id: str, origin: Origin, version: int | None = None) -> None:
    """End the replaced secret that is still good. Raises NoClient, Changed, NotAllowed or NoOldSecret."""
    client, _ = _client(company, client_id, ToClient.END_OLD, origin, version)
    changes.end_old_secret(client, origin)


@transaction.atomic
def switch(*, company: Company, client_id: str, enabled: bool, origin: Origin, version: int | None = None) -> None:
    """Enable or disable a client, its access tokens included. Raises NoClient, Changed or NotAllowed.

    Nothing is done, and nothing noted, where it is so already.
    """
    deed, action = (ToClient.ENABLE, Action.ENABLED) if enabled else (ToClient.DISABLE, Action.DISABLED)
    client, _ = _client(company, client_id, deed, origin, version)
    _switch(client, action, origin)


@transaction.atomic
def delete(*, company: Company, client_id: str, origin: Origin, version: int | None = None) -> None:
    """Delete a client; every access token ends with it. Raises NoClient, Changed or NotAllowed."""
    client, _ = _client(company, client_id, ToClient.DELETE, origin, version)
    changes.delete(client, Action.DELETED, EndReason.DELETED, origin)


# --- By staff ---------------------------------------------------------------------------------------------


@transaction.atomic
def revoke(*, client: OAuthApplication, origin: Origin, reason: str) -> None:
    """Delete a client as staff, with a reason that the company's people can read. Raises NoClient."""
    changes.delete(_anew(client), Action.REVOKED, EndReason.REVOKED, origin, reason)


@transaction.atomic
def disable(*, client: OAuthApplication, origin: Origin) -> None:
    """Disable a client as staff. Raises NoClient."""
    _switch(_anew(client), Action.DISABLED, origin)


@transaction.atomic
def let_introspect(*, client: OAuthApplication, allowed: bool, origin: Origin) -> None:
    """Make a client a resource server, which may ask about every token; or end that. Raises NoClient."""
    client = _anew(client)
    if client.may_introspect != allowed:
        client.may_introspect = allowed
        client.save(update_fields=["may_introspect", "updated"])
        changes.record_of(client, Action.INTROSPECTION_GIVEN if allowed else Action.INTROSPECTION_TAKEN, origin)


# ----------------------------------------------------------------------------------------------------------


def record_refused_password(client: OAuthApplication, *, origin: Origin) -> None:
    """Note that a change of the client was asked for with a wrong password (ASVS 16.3.1)."""
    changes.record_of(client, Action.PASSWORD_REFUSED, origin)


def _begin(company: Company, origin: Origin) -> User:
    """Begin a change by one of the company's people: no other is made until it is committed. Who that is, as of now."""
    if not changes.lock(company) or origin.actor is None:
        raise NotAllowed
    people = User.objects.select_for_update(no_key=True, of=("self",)).select_related("company")
    actor = people.filter(pk=origin.actor.pk, company=company).first()
    if actor is None or not actor.is_let_in:
        raise NotAllowed
    return actor


def _client(
    company: Company,
    client_id: str,
    deed: ToClient,
    origin: Origin,
    seen: int | None,
    *,
    chosen: AccessProfile | None = None,
) -> tuple[OAuthApplication, AccessProfile]:
    """Begin a change of a client, by somebody who may do this with its access profile, and with one `chosen` for it.

    The client, and the access profile that is chosen, or stays.
    """
    actor = _begin(company, origin)
    client = of(company, client_id)
    if client is None or client.access_profile is None:
        raise NoClient
    profiles = client.access_profile, chosen or client.access_profile
    client.access_profile, profile = _check(actor, deed, *profiles, resource_server=client.may_introspect)
    if seen is not None and seen != version(client_id):
        raise Changed
    return client, profile


def _anew(client: OAuthApplication) -> OAuthApplication:
    """Begin a change by staff."""
    company = changes.owner_of(client)
    found = of(company, client.client_id) if isinstance(company, Company) and changes.lock(company) else None
    if found is None:
        raise NoClient
    return found


def _check(actor: User, deed: ToClient, *profiles: AccessProfile, resource_server: bool = False) -> list[AccessProfile]:
    """Whether the actor may do this with these access profiles: which they are as of now.

    These, and the actor's own, are neither changed nor deleted until the transaction ends.
    """
    numbers = {profile.pk for profile in profiles} | {actor.access_profile_id or 0}
    locked = AccessProfile.objects.select_for_update(no_key=True).filter(pk__in=numbers).order_by("pk")
    now = {profile.pk: profile for profile in locked}
    if any(profile.pk not in now for profile in profiles):
        raise NoSuchProfile
    actor.access_profile = now.get(actor.access_profile_id or 0)
    as_now = [now[profile.pk] for profile in profiles]
    if not reach.may_do(actor, deed, *as_now, resource_server=resource_server):
        raise NotAllowed
    return as_now


def _check_name(company: Company, name: str, *, but: OAuthApplication | None = None) -> None:
    others = OAuthApplication.objects.filter(company=company, name_folded=spelling.folded(name))
    if others.exclude(pk=but.pk if but else None).exists():
        raise NameTaken


def _switch(client: OAuthApplication, action: KeyEvent.Action, origin: Origin) -> None:
    disabled = action == Action.DISABLED
    if client.disabled != disabled:
        client.disabled = disabled
        client.save(update_fields=["disabled", "updated"])
        changes.record_of(client, action, origin)


def _difference(client: OAuthApplication, about: About) -> str:
    """What an edit changes, in English as all that is recorded; "" if nothing. The note's text is not repeated."""
    said = []
    if client.name != about.name:
        said.append(f"name: {client.name} → {about.name}")
    if client.access_profile != about.access_profile:
        said.append(f"access profile: {client.access_profile} → {about.access_profile}")
    if client.note != about.note:
        said.append("note")
    if client.mail_new_address != about.mail_new_address:
        said.append("mail about new addresses: " + ("on" if about.mail_new_address else "off"))
    return "; ".join(said)
