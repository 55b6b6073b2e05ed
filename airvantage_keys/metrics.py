"""What a server process counts, where METRICS_PORT is set: imported there only.

The numbers are in files of the folder PROMETHEUS_MULTIPROC_DIR, one for each process and kind, mapped into memory
(prometheus-client's multiprocess mode). So what a process has counted outlives it, and `exporter` adds all of them up.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from .seen import TOKEN

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

issued = Counter("airvantage_keys_tokens_issued", "Access tokens issued.")
refused = Counter("airvantage_keys_tokens_refused", "Requests for a token that got none, by reason.", ["reason"])
token_seconds = Histogram(
    "airvantage_keys_token_seconds", "From a complete request for a token to its answer.", buckets=SECONDS
)
calls = Counter("airvantage_keys_calls", "Calls of the API, tokens included, by route and status.", ["route", "status"])
call_seconds = Histogram(
    "airvantage_keys_call_seconds", "From a complete call of the API, tokens apart, to its answer.", buckets=SECONDS
)
pages = Counter("airvantage_keys_pages", "Requests of pages and their files, by class of the status.", ["status"])
unavailable = Counter(
    "airvantage_keys_database_unavailable", "Requests that were answered 503 because of the database."
)


def call(route: str, status: int, reason: str, seconds: float) -> None:
    """A call of the API was answered. `reason` is "" unless it was refused."""
    calls.labels(route, status).inc()
    if route != TOKEN:
        call_seconds.observe(seconds)
    else:
        token_seconds.observe(seconds)
        if status == 200:
            issued.inc()
        else:
            refused.labels(reason).inc()


def page(status: int) -> None:
    """A request of a page, or of a file of one, was answered."""
    pages.labels(f"{status // 100}xx").inc()
