"""Which users this one may see; and how far staff reach: whom they may touch, and which rights they may give.

By the API and on the pages everybody sees the users and the API Clients of their own company (`colleagues`, `clients`),
if they have the right for it; what they may do with these clients says `may_do`.

In the admin site, Django's permissions say which pages open to somebody. This says for whom, and how much:

1. Who belongs to a company reaches its users, its API Clients, and what is theirs: keys, tokens, events. Who belongs to
   none looks after the whole site and reaches all.
2. Nobody gives a right that they do not hold by their own access profile, in whatever way: not by an access profile
   given to a user, not by a right put into a profile, and not by opening an account that holds it (an invitation or its
   address, a reactivation, second factors removed).
3. Access profiles belong to all companies. Who belongs to a company changes only those that no user and no API Client
   of another has.
4. Staff and superusers are changed by superusers alone, who stand outside of all this. So is a company switched off
   that has staff; and switched on again, which opens all its accounts and clients, only by who holds all their rights.
   Who holds these may also widen a company's policy; who may change the company, narrow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from django.db.models import Model, Q, QuerySet

from . import rights
from .models import AccessProfile, Company, KeyEvent, OAuthApplication, User, let_in

Row = TypeVar("Row", bound=Model)


class Viewer(Protocol):
    """A user, or as much of one as says whom they see."""

    @property
    def pk(self) -> int | None: ...
    @property
    def company_id(self) -> int | None: ...


def colleagues(viewer: Viewer) -> QuerySet[User]:
    """The users of the viewer's company. Without a company they are alone, not one of all who have none."""
    if viewer.company_id is None:
        return User.objects.filter(pk=viewer.pk) if viewer.pk else User.objects.none()
    return User.objects.filter(company=viewer.company_id)


def clients(viewer: Viewer) -> QuerySet[OAuthApplication]:
    """The API Clients of the viewer's company; without a company there are none."""
    return OAuthApplication.objects.filter(company__isnull=False, company=viewer.company_id)


def holders(right: str, company: Company) -> QuerySet[User]:
    """The people of a company who hold a right, and are let in."""
    # SQLite has no look into JSON for this, and there are few profiles.
    profiles = [profile.pk for profile in AccessProfile.objects.all() if right in profile.rights]
    return User.objects.filter(let_in(), company=company, access_profile__in=profiles)


def may_view_clients(viewer: User) -> bool:
    """Whether the viewer may see the API Clients of their company; without a company there are none to see."""
    return viewer.company_id is not None and rights.VIEW_CLIENTS in viewer.rights


class ToClient(Enum):
    """What can be done to an API Client, by who has which right."""

    CREATE = auto()
    EDIT = auto()
    REGENERATE = auto()
    END_OLD = auto()
    DISABLE = auto()
    ENABLE = auto()
    DELETE = auto()

    @property
    def right(self) -> str:
        own = {ToClient.CREATE: rights.CREATE_CLIENTS, ToClient.DELETE: rights.DELETE_CLIENTS}
        return own.get(self, rights.EDIT_CLIENTS)

    @property
    def gives(self) -> bool:
        """Whether it can give somebody what the client may do; ending an old secret decides who still has access."""
        return self not in (ToClient.DISABLE, ToClient.DELETE)


def may_do(actor: User, deed: ToClient, *profiles: AccessProfile | None, resource_server: bool = False) -> bool:
    """Whether the actor may do this to an API Client of their company with this access profile, or these.

    What gives access is only for who holds all of it: every right, and for a resource server, which may ask about the
    tokens of every company, what superusers alone have. Nobody hands out more than they hold.
    """
    if actor.company_id is None or deed.right not in actor.rights:
        return False
    if not deed.gives or actor.is_superuser:
        return True
    return not resource_server and all(may_give(actor, profile.rights) for profile in profiles if profile)


def is_site_wide(actor: User) -> bool:
    """Whether this actor reaches the users of every company, and those of none."""
    return actor.is_superuser or actor.company_id is None


def within(rows: QuerySet[Row], actor: User, company: str) -> QuerySet[Row]:
    """Those of the rows that are in reach; `company` is the path to the company that a row belongs to."""
    return rows if is_site_wide(actor) else rows.filter(**{company: actor.company_id})


def clients_of(company: int | None) -> QuerySet[OAuthApplication, Any]:
    """For `pk__in`: the keys of a company's users, and its API Clients.

    Two looks by an index each; one condition with OR would have the database look at every client there is.
    """
    found = OAuthApplication.objects.order_by().values("pk")
    return found.filter(user__company=company).union(found.filter(company=company), all=True)


def key_events_of(company: int | None) -> QuerySet[KeyEvent, Any]:
    """For `pk__in`: what happened to the keys of a company's users, and to its API Clients."""
    found = KeyEvent.objects.order_by().values("pk")
    uids = Company.objects.filter(pk__in=[company]).values("uid")
    return found.filter(owner__company=company).union(found.filter(owner_uid__in=uids), all=True)


def users(actor: User) -> QuerySet[User]:
    return within(User.objects.all(), actor, "company")


def companies(actor: User) -> QuerySet[Company]:
    return within(Company.objects.all(), actor, "pk")


def rights_to_give(actor: User) -> frozenset[str]:
    return rights.ALL_RIGHTS if actor.is_superuser else actor.rights


def may_give(actor: User, given: Iterable[str]) -> bool:
    # A name that has left the catalogue is no right any more.
    return rights.ALL_RIGHTS.intersection(given) <= rights_to_give(actor)


def profiles_to_give(actor: User) -> QuerySet[AccessProfile]:
    if actor.is_superuser:
        return AccessProfile.objects.all()
    held = [profile.pk for profile in AccessProfile.objects.all() if may_give(actor, profile.rights)]
    return AccessProfile.objects.filter(pk__in=held)


def may_change(actor: User, user: User) -> bool:
    """Whether the actor may change this user's data, deactivate or delete them; see `may_open` for more than that."""
    if actor.is_superuser:
        return True
    return (is_site_wide(actor) or user.company_id == actor.company_id) and not (user.is_staff or user.is_superuser)


def may_open(actor: User, user: User) -> bool:
    """Whether the actor may also change who gets into the account, and what it may do: they hold all that it holds."""
    return may_change(actor, user) and may_give(actor, user.rights)


def may_change_profile(actor: User, profile: AccessProfile) -> bool:
    return actor.is_superuser or (may_give(actor, profile.rights) and not is_used_beyond(actor, profile))


def is_used_beyond(actor: User, profile: AccessProfile) -> bool:
    """Whether users or API Clients out of reach have this profile."""
    if is_site_wide(actor):
        return False
    others = OAuthApplication.objects.filter(access_profile=profile).exclude(company=actor.company_id)
    return others.exists() or profile.users.exclude(pk__in=users(actor).values("pk")).exists()


def may_switch(actor: User, company: Company) -> bool:
    """Whether the actor may switch a company off or on. Nobody switches off their own, and so themselves."""
    if company.pk == actor.company_id:
        return False
    if actor.is_superuser:
        return True
    if company.users.filter(Q(is_staff=True) | Q(is_superuser=True)).exists():
        return False
    return company.is_active or all(may_give(actor, held) for held in rights_within(company))


def may_widen(actor: User, company: Company) -> bool:
    """Whether the actor may let in clients of a company that its policy refuses: they hold all that those may do."""
    return all(may_give(actor, held) for held in rights_within(company))


def rights_within(company: Company) -> Iterable[list[str]]:
    """The rights that the users and the API Clients of a company hold, by their access profiles."""
    by_users = company.users.exclude(access_profile=None).values("access_profile")
    by_clients = OAuthApplication.objects.filter(company=company).values("access_profile")
    held = AccessProfile.objects.filter(Q(pk__in=by_users) | Q(pk__in=by_clients))
    return held.values_list("rights", flat=True)
