"""When a client was last used, and an ended secret last tried: noted so that neither costs a request anything.

Each is written once a minute at most for a secret, so that a busy client does not become a hot row. Only the first use
of a secret is written at once, because it may end the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from math import inf
from time import monotonic

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from ..models import ClientSecret, OAuthApplication
from ..origin import Origin
from . import changes
from .tokens import ProvenClient

logger = logging.getLogger(__name__)

# How exact `last used` is.
EVERY = timedelta(minutes=1)

# What this process last noted (key -> monotonic seconds), and which secrets it knows to have been used before: saves
# asking the database for every request. Only caches, emptied when they grow; the UPDATEs below decide.
_noted: dict[tuple[str, int], float] = {}
_used_before: set[int] = set()
_AT_MOST = 50_000


def note_authentication(client: ProvenClient, origin_of: Callable[[], Origin]) -> None:
    """Note that a client has shown this secret. `origin_of` is only called when there is something to note.

    If that is its first use, a secret that was good until then has ended when this returns; or it raises DatabaseError.
    """
    if client.secret_id not in _used_before:
        if ClientSecret.objects.filter(pk=client.secret_id, first_used=None).exists():
            changes.first_use(client.secret_id, origin=origin_of())
        if len(_used_before) >= _AT_MOST:
            _used_before.clear()
        _used_before.add(client.secret_id)
    note_use(client, origin_of)


def note_use(client: ProvenClient, origin_of: Callable[[], Origin]) -> None:
    """Note that a client was used, by this secret or a token obtained with it. A failure to note fails nothing else."""
    if not _is_due("used", client.secret_id):
        return
    now = timezone.now()
    due = Q(last_used__isnull=True) | Q(last_used__lt=now - EVERY)
    origin = origin_of()
    use = {"last_used": now, "last_used_address": origin.address, "last_used_agent": origin.user_agent}
    try:
        if ClientSecret.objects.filter(due, pk=client.secret_id).update(**use):
            OAuthApplication.objects.filter(pk=client.key_id).update(**use)
    except DatabaseError:
        logger.warning("could not note the use of key %s", client.key_id, exc_info=True)


def note_refusal(secret_id: int, *, address: str | None, user_agent: str) -> None:
    """Note that a secret was tried after its end. A failure to note fails nothing else."""
    if not _is_due("refused", secret_id):
        return
    now = timezone.now()
    due = Q(last_refused__isnull=True) | Q(last_refused__lt=now - EVERY)
    try:
        # Of a deleted key there is nobody who would see it.
        ClientSecret.objects.filter(due, pk=secret_id, application__isnull=False).update(
            last_refused=now, last_refused_address=address, last_refused_agent=user_agent
        )
    except DatabaseError:
        logger.warning("could not note that an ended secret was tried", exc_info=True)


def _is_due(what: str, secret_id: int) -> bool:
    clock = monotonic()
    if clock - _noted.get((what, secret_id), -inf) < EVERY.total_seconds():
        return False
    if len(_noted) >= _AT_MOST:
        _noted.clear()
    _noted[what, secret_id] = clock
    return True
