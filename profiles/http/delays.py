"""An answer that leaves at a moment which its content does not choose: what was done for it cannot be told by its time.

An operation says from when on its answer may leave. The server keeps the answer until then, and no thread waits for
that (`airvantage_keys.exchange.Later`). Under another server, as `runserver` and the tests' client, it leaves at once.
"""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the server imports this, in a process that has no settings
    from .calls import Call

# In the environment of a request: from when on its answer may leave, on the clock `time.monotonic`; and the server's
# function that says whether it keeps so many answers already that it takes no more.
NOT_BEFORE = "profiles.not_before"
IS_FULL = "profiles.keeps_no_more_answers"


def may_wait(call: Call) -> bool:
    """Whether the server would keep the answer to this call. To be asked before anything is done for it."""
    is_full = call.environ.get(IS_FULL)
    return is_full is None or not is_full()


def until_next_step(call: Call, *, begun: float, step: float) -> None:
    """Have the answer leave a whole number of steps of so many seconds after `begun`, and one step at least."""
    steps = max(1, ceil((time.monotonic() - begun) / step))
    call.environ[NOT_BEFORE] = begun + steps * step
