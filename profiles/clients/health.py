"""Which clients are risky, and why: one rule for each kind of risk, for numbers, lists and metrics alike.

Only what would be accepted is a risk: a client that is not disabled, of somebody who is let in, not refused by a
policy, with a secret that is good until further notice. One whose secret has leaked has none such: it waits for one.

However many clients there are, a number up to a limit is found by an index. Two kinds have none. By the time of the
last use, it would have to be written with each note of a use; and tokens come and go too fast to be counted for each
client. Where there are few rows to look through, both are seen at once. Elsewhere they are found by `manage maintain`
(`look`), and kept as findings. A finding is never believed alone, where that can be seen at once: who uses a key again
is off the list with that use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .. import batches
from ..models import AccessToken, ClientSecret, Finding, KeyEvent, OAuthApplication, let_in
from ..origin import Origin
from . import ages, changes, tokens

UNUSED_FOR = timedelta(days=90)
OLD_AFTER = timedelta(days=180)
MANY_TOKENS = 100

# So many rows are looked through whenever somebody asks. Where there are more, what the upkeep found is believed.
LOOKED_THROUGH_AT_MOST = 10_000

# Clients looked at in one go, and seconds that the database is left to others after it.
ROWS, PAUSE = 5000, 0.2
# Of whom owners are told in one run. Where very many become known at once, as in the first run, the mails take days
# instead of keeping the mail server, and the jobs that come next, for as long as there are some.
TOLD_AT_MOST = 5000


class Risk(models.TextChoices):
    """In the order in which they are worth a look."""

    LEAKED = "leaked", _("Leaked and not regenerated")
    KNOWN_OUTSIDE = "known-outside", _("Secret key shown to somebody who has left")
    MANY_TOKENS = "many-tokens", _("More than 100 active access tokens")
    OLD_SECRET = "old-secret", _("Secret key older than 180 days")
    UNUSED = "unused", _("Not used for 90 days")
    NEVER_USED = "never-used", pgettext_lazy("risk", "Never used")


# Those that `look` finds.
FOUND_BY_UPKEEP = (Risk.MANY_TOKENS, Risk.UNUSED)


def clients_at(risk: Risk) -> Q:
    """The clients that are at this risk now: a condition on clients."""
    return _RULES[risk]() & _would_be_accepted()


def clients_at_each() -> dict[Risk, Q]:
    """The same for all risks."""
    accepted = _would_be_accepted()
    return {risk: rule() & accepted for risk, rule in _RULES.items()}


def is_seen_at_once(risk: Risk) -> bool:
    """Whether what is told of a risk is so at this moment; else it is as old as the last run of `look`."""
    if risk not in FOUND_BY_UPKEEP:
        return True
    # Of tokens also those that have expired: their end alone has no index.
    rows: QuerySet[Any] = AccessToken.objects.all() if risk is Risk.MANY_TOKENS else _old_secrets(UNUSED_FOR)
    return rows.order_by()[: LOOKED_THROUGH_AT_MOST + 1].count() <= LOOKED_THROUGH_AT_MOST


def risks_of(clients: Iterable[int]) -> dict[int, list[Risk]]:
    """The risks of each of these clients that has any, by primary keys; one statement for each kind of risk, or two."""
    found: dict[int, list[Risk]] = {}
    asked = OAuthApplication.objects.filter(pk__in=list(clients)).order_by()
    for risk, at_risk in clients_at_each().items():
        for pk in asked.filter(at_risk).values_list("pk", flat=True):
            found.setdefault(pk, []).append(risk)
    return found


def _would_be_accepted() -> Q:
    return Q(disabled=False) & (Q(user=None, company__is_active=True) | let_in("user__")) & ~ages.refused()


def _secrets() -> QuerySet[ClientSecret]:
    """Those that are good until further notice; one that was replaced ends by itself soon."""
    return ClientSecret.objects.filter(ends=None)


def _old_secrets(age: timedelta) -> QuerySet[ClientSecret]:
    return _secrets().filter(created__lt=timezone.now() - age)


def _with(secrets: QuerySet[ClientSecret]) -> Q:
    return Q(pk__in=secrets.order_by().values("application"))


def _never_used() -> Q:
    # By the secrets too, because there is an index of those that were never used.
    return _with(_secrets().filter(first_used=None)) & Q(last_used=None)


def _disused() -> Q:
    # A new secret counts as use, too.
    unused = Q(last_used=None) | Q(last_used__lt=timezone.now() - UNUSED_FOR)
    return _with(_old_secrets(UNUSED_FOR)) & unused


def _unused() -> Q:
    return _disused() if is_seen_at_once(Risk.UNUSED) else _disused() & _found(Risk.UNUSED)


def _many_tokens() -> Q:
    if not is_seen_at_once(Risk.MANY_TOKENS):
        return _found(Risk.MANY_TOKENS) & _with(_secrets())
    of_each = AccessToken.objects.active().order_by().values("application").annotate(number=Count("*"))
    return Q(pk__in=of_each.filter(number__gt=MANY_TOKENS).values("application"))


def _found(risk: Risk) -> Q:
    return Q(pk__in=Finding.objects.filter(kind=risk).values("client"))


def _known_outside() -> Q:
    known = ClientSecret.objects.live().known_outside().filter(application=OuterRef("pk"))
    return Q(Exists(known), company__isnull=False)


def _leaked() -> Q:
    return _with(ClientSecret.objects.leaked())


_RULES: dict[Risk, Callable[[], Q]] = {
    Risk.LEAKED: _leaked,
    Risk.KNOWN_OUTSIDE: _known_outside,
    Risk.MANY_TOKENS: _many_tokens,
    Risk.OLD_SECRET: lambda: _with(_old_secrets(OLD_AFTER)),
    Risk.UNUSED: _unused,
    Risk.NEVER_USED: _never_used,
}


# --- What the upkeep finds ------------------------------------------------------------------------------------------


def look(*, rows: int = ROWS, pause: float = PAUSE, dry_run: bool = False) -> Iterator[int]:
    """Look at all clients, and bring the findings up to date, or only count what is to be done.

    Yields how many findings came or went, after each part.
    """
    after = 0
    while part := list(_clients().filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:rows]):
        if after and pause and not dry_run:
            time.sleep(pause)
        yield _compare(after, part[-1], dry_run=dry_run)
        after = part[-1]
    # A server of the version before deletes clients without their findings.
    gone = Finding.objects.exclude(Exists(_clients().filter(pk=OuterRef("client"))))
    yield from iter([gone.count()]) if dry_run else batches.delete(gone)


def _compare(after: int, last: int, *, dry_run: bool) -> int:
    """The same for the clients from one primary key to another."""
    now = timezone.now()
    here = Q(pk__gt=after, pk__lte=last)
    kept = Finding.objects.filter(client__gt=after, client__lte=last)
    busy = set(_with_many_tokens(after, last))
    # Who is not let in for a while is still the same disuse, of which nobody is told twice: so here only use counts.
    used = Q(client__last_used__gte=F("found")) | ~Exists(_clients().filter(_disused(), pk=OuterRef("client")))
    over = kept.filter(kind=Risk.MANY_TOKENS).exclude(client__in=busy), kept.filter(used, kind=Risk.UNUSED)
    disused = set(_clients().filter(here, _disused(), _would_be_accepted()).values_list("pk", flat=True))
    known = {risk: set(kept.filter(kind=risk).values_list("client", flat=True)) for risk in FOUND_BY_UPKEEP}
    new = [
        Finding(client_id=pk, kind=risk, found=now)
        for risk, found in ((Risk.MANY_TOKENS, busy), (Risk.UNUSED, disused))
        for pk in sorted(found - known[risk])
    ]
    if dry_run:
        return len(new) + sum(rows.count() for rows in over)
    ended = sum(rows.delete()[0] for rows in over)
    # Another run may have found the same a moment ago.
    Finding.objects.bulk_create(new, ignore_conflicts=True)
    return ended + len(new)


def _with_many_tokens(after: int, last: int) -> Iterator[int]:
    unexpired = AccessToken.objects.filter(application__gt=after, application__lte=last, expires__gt=timezone.now())
    many = unexpired.order_by().values("application").annotate(number=Count("*")).filter(number__gt=MANY_TOKENS)
    # Few by now, so that each can be counted exactly: without the tokens of secrets that have ended.
    for client in _clients().filter(pk__in=[row["application"] for row in many]):
        if tokens.count_active(client, at_most=MANY_TOKENS + 1) > MANY_TOKENS:
            yield client.pk


def _clients() -> QuerySet[OAuthApplication]:
    return OAuthApplication.objects.order_by()


# --- Telling of disuse ----------------------------------------------------------------------------------------------


def to_tell() -> QuerySet[Finding]:
    """The clients that are unused, and whose owners, or people of their company, have not been told of it."""
    return _to_tell(clients_at(Risk.UNUSED))


def _to_tell(unused: Q) -> QuerySet[Finding]:
    at_risk = _clients().filter(unused, pk=OuterRef("client"))
    return Finding.objects.filter(Exists(at_risk), kind=Risk.UNUSED, told=False)


def tell(*, origin: Origin) -> Iterator[int]:
    """Record of each client that is unused, and mail whom it concerns, once for each time of disuse.

    Each in a transaction of its own; nothing else happens to the client. Yields 1 after each.
    """
    # Once for the whole run: to make the condition takes statements of its own.
    unused = clients_at(Risk.UNUSED)
    for finding in list(_to_tell(unused).order_by("pk")[:TOLD_AT_MOST]):
        if _tell(finding, unused, origin):
            yield 1


@transaction.atomic
def _tell(finding: Finding, unused: Q, origin: Origin) -> bool:
    """Tell of one, unless it was used or told of a moment ago."""
    clients = _clients().select_related("user__company", "company")
    client = clients.filter(unused, pk=finding.client_id).first()
    if client is None or not changes.lock(changes.owner_of(client)):
        return False
    if not Finding.objects.filter(pk=finding.pk, told=False).update(told=True):
        return False
    changes.record_of(client, KeyEvent.Action.UNUSED, origin)
    return True
