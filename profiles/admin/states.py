"""The states of a client, as the list, its filter, the page and the export say them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..clients import ages
from ..clients.changes import policy_of
from ..models import ClientSecret, Company, User
from .base import pks


class State(models.TextChoices):
    """What is not enabled can be so for more than one reason."""

    ENABLED = "enabled", _("Enabled")
    DISABLED = "disabled", _("Disabled")
    LEAKED = "leaked", _("Leaked and not regenerated")
    NO_SECRET = "no-secret", _("No live secret key")
    POLICY = "policy", _("Refused by its company's policy")
    OFF = "off", _("Owner or company switched off")


def with_what_they_need(clients: QuerySet[Any]) -> QuerySet[Any]:
    """The clients with what `states_of` asks of each: `secret_created` too, which is None without a secret."""
    secrets = ClientSecret.objects.filter(application=OuterRef("pk")).order_by("-id")
    current = secrets.filter(ends=None)
    return clients.select_related("user__company", "company").annotate(
        secret_created=models.Subquery(secrets.values("created")[:1]),
        current_secret_created=models.Subquery(current.values("created")[:1]),
        has_live_secret=with_live_secret(),
        is_leaked=Exists(ClientSecret.objects.leaked().filter(application=OuterRef("pk"))),
    )


def states_of(client: Any) -> list[State]:
    """At least one."""
    wrong = (
        (client.disabled, State.DISABLED),
        (client.is_leaked, State.LEAKED),
        (not client.has_live_secret, State.NO_SECRET),
        (_is_refused_by_policy(client), State.POLICY),
        (not client.is_owner_active, State.OFF),
    )
    return [state for so, state in wrong if so] or [State.ENABLED]


def clients_in(state: State) -> Q:
    """The same as a condition on clients."""
    if state is State.ENABLED:
        wrong = Q()
        for other in State:
            wrong |= Q() if other is State.ENABLED else clients_in(other)
        return ~wrong
    # Of leaked ones there are few: so they are not sought for each row.
    leaked = ClientSecret.objects.leaked().order_by().values("application")
    return {
        State.DISABLED: lambda: Q(disabled=True),
        State.LEAKED: lambda: Q(pk__in=leaked),
        State.NO_SECRET: lambda: Q(~with_live_secret()),
        State.POLICY: ages.refused,
        State.OFF: _of_inactive_owner,
    }[state]()


def with_live_secret() -> Exists:
    return Exists(ClientSecret.objects.live().filter(application=OuterRef("pk")))


def _of_inactive_owner() -> Q:
    """The clients whose user, or whose company or user's company, is switched off."""
    off = pks(Company.objects.filter(is_active=False))
    users = User.objects.filter(Q(is_active=False) | Q(company__in=off))
    return Q(user__in=pks(users)) | Q(company__in=off)


def _is_refused_by_policy(client: Any) -> bool:
    """For one client what `ages.refused` says for all: a secret that ends, or has ended, is not looked at."""
    theirs = policy_of(client.company or client.owner)
    if theirs.no_keys and not client.is_companys:
        return True
    made = client.current_secret_created
    end = made and theirs.end_of(made)
    return bool(end and end <= timezone.now())
