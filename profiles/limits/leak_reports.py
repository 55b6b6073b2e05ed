"""A limit on reports of leaked credentials: whoever sends one need not sign in, and each is looked up.

Reports are counted whatever is in them, so that the limit tells nothing of that. The counters are as those of failed
authentications, by address or network, and nobody's are joined.
"""

from __future__ import annotations

from .client_failures import count, network

# With 1,000 credentials each, that is more than any finder has to report.
PER_MINUTE = 60


def count_report(*, address: str | None) -> int | None:
    """Count a report. None, or the seconds to wait if there have been too many from this address in this minute."""
    return count({f"reports:{network(address)}": PER_MINUTE} if address else {}, "reports of leaks")
