"""Keys and API Clients as CSV. No secret, no digest and no part of one: they are not even read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from ..clients import health
from ..events import export
from ..models import ClientSecret, OAuthApplication
from .states import states_of, with_what_they_need

# What is new is added at the end: programs may go by the order.
COLUMNS = (
    "client_id",
    "kind",
    "name",
    "owner_uid",
    "owner_email",
    "company",
    "access_profile",
    "state",
    "health",
    "created",
    "secret_created",
    "secret_shown_to",
    "last_used",
    "last_used_address",
    "last_used_agent",
    "may_introspect",
)


def as_csv(clients: QuerySet[Any]) -> Iterator[str]:
    """The clients of the admin site's list, newest first; `state` and `health` with the words of its filters."""
    return export.lines_of_csv(COLUMNS, _rows(clients.order_by("-pk").values_list("pk", flat=True)), is_file=True)


def _rows(found: QuerySet[Any]) -> Iterator[list[tuple[str, ...]]]:
    """What the list counts for each client on a page, active tokens, is left out: a file may have a million clients."""
    part = list(found[: export.ROWS_AT_A_TIME])
    while part:
        risks = health.risks_of(part)
        yield [_cells(client, risks.get(client.pk, [])) for client in _with_all(part)]
        part = list(found.filter(pk__lt=part[-1])[: export.ROWS_AT_A_TIME])


def _with_all(pks: list[int]) -> QuerySet[Any]:
    secrets = ClientSecret.objects.filter(application=OuterRef("pk")).order_by("-id")
    clients = OAuthApplication.objects.filter(pk__in=pks).order_by("-pk")
    return (
        with_what_they_need(clients)
        .select_related("user__company", "user__access_profile", "company", "access_profile")
        .defer("user__password")
        .annotate(shown_to=Subquery(secrets.values("shown_to__email")[:1]))
    )


def _cells(client: Any, risks: list[health.Risk]) -> tuple[str, ...]:
    owner = client.user
    company = client.company or (owner and owner.company)
    profile = client.access_profile or (owner and owner.access_profile)
    return (
        client.client_id,
        "company" if client.is_companys else "personal",
        client.name,
        owner.uid if owner else "",
        owner.email if owner else "",
        str(company or ""),
        str(profile or ""),
        " ".join(states_of(client)),
        " ".join(risks),
        _moment(client.created),
        _moment(client.secret_created),
        client.shown_to or "",
        _moment(client.last_used),
        client.last_used_address or "",
        client.last_used_agent,
        "yes" if client.may_introspect else "no",
    )


def _moment(value: datetime | None) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds") if value else ""
