"""What whoever runs the site sees of a request: a line of the log for a call of the API, and the metrics.

A line has nothing that a client chose, so it costs a few microseconds; docs/operations.md says how many.
"""

from __future__ import annotations

import logging
import os
from random import random
from typing import Any

from django.conf import settings

from profiles.http.calls import Answer, Call

from .logs import SafeRecord

logger = logging.getLogger(__name__)

# It has lines of its own, whatever LOG_CALLS says (`profiles.oauth.endpoints`).
TOKEN = "/api/oauth/token"  # noqa: S105 - an address

# The module `metrics`, where a server counts.
_metrics: Any = None


def start_counting() -> None:
    """Count from now on, if this is a server process that is told to. Without METRICS_PORT nothing is imported."""
    global _metrics  # noqa: PLW0603 - of this process
    if settings.METRICS_PORT and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from . import metrics

        _metrics = metrics


def page(status: int) -> None:
    """A request of a page, or of a file of one, was answered."""
    if _metrics:
        _metrics.page(status)


def database_unavailable() -> None:
    """A request was answered 503 because of the database."""
    if _metrics:
        _metrics.unavailable.inc()


def call(asked: Call, answered: Answer, seconds: float) -> None:
    """A call of the API was answered, so long after its last byte had arrived."""
    if _metrics:
        _metrics.call(asked.route, answered.status, answered.reason, seconds)
    share = settings.LOG_CALLS
    if not share or asked.route == TOKEN or not logger.isEnabledFor(logging.INFO):
        return
    if share < 1 and random() >= share:  # noqa: S311 - a sample
        return
    members = {
        "client_id": asked.client_id or "-",
        "route": asked.route,
        "status": answered.status,
        "ms": round(seconds * 1000, 2),
    }
    if answered.reason:
        members["reason"] = answered.reason
    logger.handle(SafeRecord(logger.name, logging.INFO, "call", members))
