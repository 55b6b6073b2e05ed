"""The id of a request: the proxy's if it sends one, else ours. It is in the answer and in each line of the log.

A request runs in one thread at a time, and a thread begins another request only when it has ended the one before. So
what is logged between two beginnings belongs to the first of them.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from typing import Any

from django.conf import settings

HEADER = "X-Request-ID"

_SENT = "HTTP_X_REQUEST_ID"
_is_sane = re.compile("[A-Za-z0-9-]{1,64}").fullmatch
_current: ContextVar[str] = ContextVar("request_id", default="")


def begin(environ: dict[str, Any]) -> str:
    """The id of the request that begins now in this thread. Without a proxy of ours in front, a client's is ignored."""
    sent = environ.get(_SENT) if settings.TRUSTED_PROXIES else None
    # As long as nginx's $request_id. Nobody has to be unable to guess it.
    request_id: str = sent if sent and _is_sane(sent) else os.urandom(16).hex()
    _current.set(request_id)
    return request_id


def current() -> str:
    """The id of the request in this thread; "" before the first one, and in commands."""
    return _current.get()
