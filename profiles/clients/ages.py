"""What a policy means for a company's clients: who is told before a secret is too old, and whom a new one refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from .. import batches, policy, reach
from ..models import ClientSecret, Company, OAuthApplication
from ..policy import Policy
from . import changes
from .changes import Action

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ..origin import Origin

# How many days before a secret is too old its people are told; as long before as it may live at all, they are not.
DAYS_BEFORE = (30, 7, 1)
# A network that a client was last used from longer ago says nothing of where it is now.
USED_WITHIN = timedelta(days=90)


def warn(origin: Origin) -> Iterator[int]:
    """Tell the people of each secret that it will soon be too old for their company. Yields 1 for each.

    Each time of `DAYS_BEFORE` once, also if this runs at once in several processes, and only the last of those that
    have passed. With another maximum age there are other times, and what was told before counts no more (`warn_anew`).
    """
    for due in _due(timezone.now()):
        if _tell(due, origin):
            yield 1


def to_warn() -> Iterator[int]:
    """The same, only counted."""
    return (1 for _ in _due(timezone.now()))


def warn_anew(company: Company) -> None:
    """Another maximum age was laid down, in this transaction: what people were told of the former one is wrong now."""
    told = ClientSecret.objects.filter(application__in=reach.clients_of(company.pk), warned__isnull=False)
    told.update(warned=None)


class Due(NamedTuple):
    """A secret whose people are to be told."""

    secret: ClientSecret
    company: Company
    """As it was when the secret was found."""
    time: datetime
    """Which of the times to tell it has come."""
    end: datetime
    """From when on the secret is too old."""


class Refused(NamedTuple):
    """How many clients a policy refuses that were not refused before it."""

    keys: int = 0
    too_old: int = 0
    elsewhere: int = 0


def refused_by(after: Policy, before: Policy, company: Company) -> Refused:
    """What this policy in the place of the one before would refuse at once, as far as can be known."""
    now = timezone.now()
    mine = OAuthApplication.objects.filter(pk__in=reach.clients_of(company.pk))
    no_keys = after.no_keys and not before.no_keys
    keys = mine.filter(company=None).count() if no_keys else 0
    rest = mine.filter(company=company) if after.no_keys else mine
    too_old = elsewhere = 0
    if after.age and (before.age is None or after.age < before.age):
        old = {"secrets__ends": None, "secrets__created__lte": now - after.age}
        if before.age:
            old["secrets__created__gt"] = now - before.age
        too_old = rest.filter(secrets__isnull=False, **old).count()
    if after.networks != before.networks:
        used = rest.filter(last_used__gt=now - USED_WITHIN, last_used_address__isnull=False).order_by()
        for address, number in used.values_list("last_used_address").annotate(Count("pk")):
            elsewhere += number if before.admits(address) and not after.admits(address) else 0
    return Refused(keys, too_old, elsewhere)


def refused() -> Q:
    """The clients that a policy refuses at this moment, wherever they are used from: a condition on clients."""
    now = timezone.now()
    without_keys: list[str] = []
    by_age: dict[timedelta, list[str]] = {}
    # There may be many companies with a policy; of different ones there are few.
    for stored in Company.objects.exclude(policy="").order_by().values_list("policy", flat=True).distinct():
        theirs = policy.read(stored)
        if theirs.no_keys:
            without_keys.append(stored)
        if theirs.age:
            by_age.setdefault(theirs.age, []).append(stored)
    found = Q(user__company__in=_companies_with(without_keys))
    for age, policies in by_age.items():
        companies = _companies_with(policies)
        too_old = ClientSecret.objects.filter(ends=None, created__lte=now - age).order_by().values("application")
        found |= (Q(company__in=companies) | Q(user__company__in=companies)) & Q(pk__in=too_old)
    return found


def _companies_with(policies: list[str]) -> QuerySet[Company, Any]:
    return Company.objects.filter(policy__in=policies).order_by().values("pk")


def _due(now: datetime) -> Iterator[Due]:
    for company in Company.objects.exclude(policy="").filter(is_active=True):
        theirs = policy.read(company.policy)
        if theirs.age is None:
            continue
        of_clients = ClientSecret.objects.filter(application__company=company)
        of_keys = ClientSecret.objects.filter(application__user__company=company, application__user__is_active=True)
        for secrets in (of_clients,) if theirs.no_keys else (of_clients, of_keys):
            yield from _due_of(secrets, company, theirs.age, now)


def _due_of(secrets: QuerySet[ClientSecret], company: Company, age: timedelta, now: datetime) -> Iterator[Due]:
    times = [age - timedelta(days=days) for days in DAYS_BEFORE if timedelta(days=days) < age]
    is_due = Q(pk__in=[])
    for after in times:
        is_due |= Q(created__lte=now - after) & (Q(warned=None) | Q(warned__lt=F("created") + after))
    due = secrets.filter(is_due, ends=None, application__disabled=False, created__gt=now - age)
    due = due.select_related("application__user__company", "application__company").order_by("pk")
    last = 0
    while found := list(due.filter(pk__gt=last)[: batches.AT_A_TIME]):
        last = found[-1].pk
        for secret in found:
            come = [secret.created + after for after in times if secret.created + after <= now]
            yield Due(secret, company, max(come), secret.created + age)


@transaction.atomic
def _tell(due: Due, origin: Origin) -> bool:
    """Tell it, unless somebody else has, or the secret was replaced meanwhile; whether it was told.

    Nor if the policy was changed since the secret was found, which can be long ago: the next run knows what is so then.
    """
    client = due.secret.application
    if client is None or not (changes.lock(due.company) and changes.lock(changes.owner_of(client))):
        return False
    if not Company.objects.filter(pk=due.company.pk, policy=due.company.policy).exists():
        return False
    not_yet = Q(warned=None) | Q(warned__lt=due.time)
    if not ClientSecret.objects.filter(not_yet, pk=due.secret.pk, ends=None).update(warned=due.time):
        return False
    changes.record_of(client, Action.SECRET_TOO_OLD, origin, detail=f"{due.end:%Y-%m-%d %H:%M:%S} UTC")
    return True
