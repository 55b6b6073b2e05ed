"""The catalogue of rights: what an access profile can allow and what a scope can name.

A right is one dotted name. The catalogue is code, so that a right nobody checks cannot be given. The names
are those of the AirVantage API. What is said about it is in the language of a page; the API says it in English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from oauth2_provider.scopes import BaseScopes

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# Scope of a token that was asked for without one: all that the owner's profile allows, read at each request.
INHERIT = "inherit"
VIEW_USERS = "accountNetwork.users.view"
VIEW_CLIENTS = "accountNetwork.apiClients.view"
CREATE_CLIENTS = "accountNetwork.apiClients.create"
EDIT_CLIENTS = "accountNetwork.apiClients.edit"
DELETE_CLIENTS = "accountNetwork.apiClients.delete"

# Group -> right -> what it lets its holder do.
CATALOGUE: Mapping[str, Mapping[str, _StrPromise]] = MappingProxyType(
    {
        gettext_noop("Account network"): {
            VIEW_USERS: _("View users"),
            "accountNetwork.partners.view": _("View partners"),
            "accountNetwork.partners.create": _("Create partners"),
            "accountNetwork.profiles.view": _("View access profiles"),
            "accountNetwork.profiles.createEdit": _("Create and edit access profiles"),
            "accountNetwork.labels.view": _("View labels"),
            "accountNetwork.labels.createEdit": _("Create and edit labels"),
            VIEW_CLIENTS: _("View API Clients"),
            CREATE_CLIENTS: _("Create API Clients"),
            EDIT_CLIENTS: _("Edit API Clients"),
            DELETE_CLIENTS: _("Delete API Clients"),
        },
        gettext_noop("Entities"): {
            "entities.systems.view": _("View systems"),
            "entities.systems.create": _("Create a system"),
            "entities.systems.edit": _("Edit a system"),
            "entities.applications.view": _("View applications"),
            "entities.applications.create": _("Create an application"),
            "entities.applications.edit": _("Edit an application"),
            "entities.alerts.rule.view": _("View alert rules"),
            "entities.alerts.rule.create.edit.delete": _("Create, edit and delete alert rules"),
        },
    }
)
DESCRIPTIONS: Mapping[str, _StrPromise] = MappingProxyType(
    {right: text for group in CATALOGUE.values() for right, text in group.items()}
)
ALL_RIGHTS = frozenset(DESCRIPTIONS)


def grouped(rights: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """The rights as group -> [(right, description)], in the catalogue's order, groups without any left out."""
    held = set(rights)
    groups = {
        gettext(name): [(right, str(text)) for right, text in group.items() if right in held]
        for name, group in CATALOGUE.items()
    }
    return {name: group for name, group in groups.items() if group}


def effective(*, scope: str, owner_rights: Iterable[str]) -> frozenset[str]:
    """What a token may do now: its scope and its owner's rights, whichever is narrower.

    `scope` is the stored scope of a token (space-separated), `owner_rights` what the owner holds at this moment.
    A right that was stored in a profile and has left the catalogue is no right any more.
    """
    held = ALL_RIGHTS.intersection(owner_rights)
    named = scope.split()
    return held if INHERIT in named else held.intersection(named)


class RightsScopes(BaseScopes):
    """The catalogue as the toolkit's scopes."""

    def get_all_scopes(self) -> dict[str, str]:
        described = {right: str(text) for right, text in DESCRIPTIONS.items()}
        return {INHERIT: "Everything that the access profile allows", **described}

    def get_available_scopes(self, application=None, request=None, *args, **kwargs) -> list[str]:  # type: ignore[no-untyped-def]  # the toolkit's signature
        return list(self.get_all_scopes())

    def get_default_scopes(self, application=None, request=None, *args, **kwargs) -> list[str]:  # type: ignore[no-untyped-def]  # the toolkit's signature
        return [INHERIT]
