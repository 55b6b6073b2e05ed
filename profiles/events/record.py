"""Writes an event of either kind, and its line in the log: the one place that does.

It must run in the transaction of the change itself, so that there is never a change without its event or the reverse.
"""

from __future__ import annotations

import logging
from typing import TypeVar

from ..models import AccountEvent, KeyEvent
from ..origin import Origin

logger = logging.getLogger(__name__)

AnyEvent = TypeVar("AnyEvent", bound=KeyEvent | AccountEvent)


def record_event(event: AnyEvent, *, origin: Origin) -> AnyEvent:
    """Fill in who did it and from where, and store it. The caller has filled in what was done, and to whom."""
    event.actor = origin.actor
    event.actor_uid = origin.actor.uid if origin.actor else ""
    event.via = origin.via
    event.address = origin.address
    event.user_agent = origin.user_agent
    event.save(force_insert=True)
    said: dict[str, str | None] = {"client_id": event.client_id} if isinstance(event, KeyEvent) else {}
    said |= {"owner": event.owner_uid, "actor": event.actor_uid, "via": event.via, "address": event.address}
    words = " ".join(f"{name}=%s" for name in said)
    logger.info(f"%s %s: {words}", event.kind, event.action, *[value or "-" for value in said.values()])  # noqa: G004
    return event
