"""From where a client is used, and how much, as people are told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from django.db.models import BigAutoField, DateField
from django.utils import timezone

from ..clients.uses import DAYS, REMEMBERED
from ..compiled import CompiledQuery, Given
from ..models import OAuthApplication, UsedFrom, UsedOn

ADDRESSES_SHOWN = 5
# It takes a token for about each call: in the last `HINT_DAYS` days it took so many tokens or more, and made fewer than
# two calls with each. The rule stands in docs/operations.md, too.
HINT_DAYS, HINT_TOKENS, HINT_CALLS_OF_EACH = 7, 100, 2

# Of the chart, in units of its own: from the beginning of one day to that of the next, the width of a bar, the highest.
STEP, WIDTH, HEIGHT = 10, 8, 48

_CLIENT = BigAutoField()
_FROM = CompiledQuery(
    lambda: UsedFrom.objects.filter(application=Given("client", _CLIENT)).order_by("-last_used", "pk")[:ADDRESSES_SHOWN]
)
_ON = CompiledQuery(
    lambda: UsedOn.objects.filter(application=Given("client", _CLIENT), day__gte=Given("first", DateField()))
)


@dataclass(frozen=True, slots=True)
class Day:
    """A day (UTC), with the bar of its tokens in the chart."""

    day: date
    tokens: int
    calls: int
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Uses:
    """The latest addresses, the latest first; and each of the last days, today included."""

    addresses: Sequence[UsedFrom]
    days: Sequence[Day]

    width = STEP * DAYS
    height = HEIGHT
    bar = WIDTH

    @classmethod
    def of(cls, client: OAuthApplication) -> Uses:
        now = timezone.now()
        first = now.astimezone(UTC).date() - timedelta(days=DAYS - 1)
        found = {row.day: row for row in _ON.run(client=client.pk, first=first)}
        days = [found.get(day) or UsedOn(day=day, tokens=0, calls=0) for day in _days_from(first)]
        most = max(row.tokens for row in days)
        addresses = [row for row in _FROM.run(client=client.pk) if row.last_used > now - REMEMBERED]
        return cls(addresses, [_with_bar(number, row, most) for number, row in enumerate(days)])

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.addresses or self.tokens or any(day.calls for day in self.days))

    @property
    def tokens(self) -> int:
        return sum(day.tokens for day in self.days)

    @property
    def most(self) -> int:
        """The most tokens of one day, which have the highest bar."""
        return max(day.tokens for day in self.days)

    @property
    def lately(self) -> dict[str, int]:
        """Tokens and calls of the last `HINT_DAYS` days."""
        days = self.days[-HINT_DAYS:]
        return {"tokens": sum(day.tokens for day in days), "calls": sum(day.calls for day in days)}

    @property
    def takes_a_token_for_each_call(self) -> bool:
        lately = self.lately
        return lately["tokens"] >= HINT_TOKENS and lately["calls"] < HINT_CALLS_OF_EACH * lately["tokens"]


def _days_from(first: date) -> list[date]:
    return [first + timedelta(days=number) for number in range(DAYS)]


def _with_bar(number: int, row: UsedOn, most: int) -> Day:
    # Of a day on which there was one at all, something is seen.
    height = max(row.tokens * HEIGHT // most, 1) if row.tokens else 0
    return Day(row.day, row.tokens, row.calls, number * STEP + (STEP - WIDTH) // 2, HEIGHT - height, height)
