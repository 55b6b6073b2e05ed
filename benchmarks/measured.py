"""What the benchmarks measure: one load, and all rounds of one request. `compare` makes these, `report` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from .load import Load


@dataclass(frozen=True)
class Sample:
    """One load: what came back, the CPU time it took a request, in microseconds, and how many cores others took."""

    load: Load
    server_us: float
    database_us: float
    others: float


@dataclass(frozen=True)
class Row:
    """All rounds of one request on one server: medians; of the CPU time, which other work only adds to, the least.

    Of other work, the most cores that it took during one of these loads.
    """

    name: str
    per_second: float
    p50: float
    p99: float
    server_us: float
    database_us: float
    answers: int
    others: float

    @property
    def us(self) -> float:
        return self.server_us + self.database_us
