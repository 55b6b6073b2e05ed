"""From where clients are used, and how much: counted in the process, and written down once a minute.

A request only adds to a number in memory. A thread of its own writes what the process has counted: to the row of the
day of each client (`tokens = tokens + n`), and of each address when it was last used. A use is written at once if its
client has not been written in the last minute, so that who tries a key sees it on the page; else when that minute is
over. So however busy a client is, a process writes its rows once a minute. What is counted when a server stops is
written at its end; one that is killed loses a minute at most. Days are those of UTC, exact to the minute in which a day
ends.

Addresses are remembered for `REMEMBERED`, and the latest of a client for good: by it, one that the client is used from
after a long time is known to be new. `purge.past_uses` deletes the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from math import inf
from threading import Condition, Lock, Thread
from time import monotonic, sleep
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ..models import Event, KeyEvent, OAuthApplication, UsedFrom
from ..origin import Origin
from . import changes
from .changes import Action
from .tokens import ProvenClient

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
# How long the thread lets uses gather before it looks again, in seconds: many clients are written together.
GATHERING = 1

# For how many days it is told how much a client is used, today included.
DAYS = 30
# An address is new if the client has not been used from it for so long.
REMEMBERED = timedelta(days=90)
# Of each client: what a flood of addresses, which IPv6 makes easy, can fill. The oldest go.
ADDRESSES_AT_MOST = 100

# How many clients are written in one transaction.
AT_A_TIME = 500


@dataclass(slots=True)
class _Minute:
    """The uses of one client since the last time that they were written down."""

    begun: datetime
    due: float = -inf
    """From when on it is to be written, on the clock `time.monotonic`."""
    tokens: int = 0
    calls: int = 0
    agents: dict[str, str] = field(default_factory=dict)
    """By each address the client program, as it was first seen."""


Counted = Sequence[tuple[int, _Minute]]  # by the number of the client

_counted: dict[int, _Minute] = {}
_counting = Condition(Lock())
_writing = Lock()
# When this process last wrote a client (its number -> monotonic seconds). Emptied when it grows: a client is then
# written once more than it must be.
_written: dict[int, float] = {}
_AT_MOST = 50_000


def count(
    client: ProvenClient, origin_of: Callable[[], Origin], *, address: str | None, tokens: int = 0, calls: int = 0
) -> None:
    """Count a use of this client, from its own address. `origin_of` is called if the address has not been seen yet."""
    with _counting:
        minute = _minute_of(client.key_id)
        minute.tokens += tokens
        minute.calls += calls
        if address and address not in minute.agents and len(minute.agents) < ADDRESSES_AT_MOST:
            minute.agents[address] = origin_of().user_agent


def count_call_elsewhere(client: ProvenClient) -> None:
    """Count a call at a resource server, which has asked about a token of this client. From where, we do not know."""
    with _counting:
        _minute_of(client.key_id).calls += 1


def _minute_of(key_id: int) -> _Minute:
    minute = _counted.get(key_id)
    if minute is None:
        due = _written.get(key_id, -inf) + EVERY.total_seconds()
        minute = _counted[key_id] = _Minute(timezone.now(), due)
        _wake_writer()
    return minute


def _wake_writer() -> None:
    """Start the thread that writes, or have it look. Not before the first use: no thread comes along into a worker."""
    if not _writer.is_alive():
        _writer.start()
    _counting.notify()


def _keep_writing() -> None:
    while True:
        with _counting:
            _counting.wait_for(lambda: _counted)
        try:
            write(due_by=monotonic())
        except Exception:
            logger.exception("could not note the uses of clients")  # and goes on: nobody would start the thread again
        finally:
            connection.close()
        sleep(GATHERING)


_writer = Thread(target=_keep_writing, name="uses", daemon=True)


def write(*, due_by: float = inf) -> None:
    """Write down what this process has counted and is due. What cannot be written is told in the log, and lost."""
    with _writing:
        counted = _taken(due_by)
        for begin in range(0, len(counted), AT_A_TIME):
            part = counted[begin : begin + AT_A_TIME]
            with _failing_alone(f"how much clients were used ({len(part)} of them)"):
                _write_days(part)
            left: Counted = []
            with _failing_alone(f"from where clients were used ({len(part)} of them)"):
                left = _write_known_addresses(part)
            for key_id, minute in left:
                with _failing_alone(f"the new addresses of client {key_id}"):
                    _write_addresses(key_id, minute)


@contextmanager
def _failing_alone(what: str) -> Iterator[None]:
    """If the database refuses this transaction, the log says so, and those after it have their turn."""
    try:
        yield
    except DatabaseError:
        logger.warning("could not note %s", what, exc_info=True)


def _taken(due_by: float) -> Counted:
    with _counting:
        # In this order in each process, so that no two wait for each other's rows.
        keys = sorted(key for key, minute in _counted.items() if minute.due <= due_by)
        if len(_written) + len(keys) > _AT_MOST:
            _written.clear()
        _written.update(dict.fromkeys(keys, monotonic()))
        return [(key, _counted.pop(key)) for key in keys]


# A client that is gone has no row.
_ADD_TO_DAY = """
INSERT INTO profiles_usedon (application_id, day, tokens, calls)
SELECT id, %s, %s, %s FROM profiles_oauthapplication WHERE id = %s
    ON CONFLICT (application_id, day) DO UPDATE
   SET tokens = profiles_usedon.tokens + excluded.tokens, calls = profiles_usedon.calls + excluded.calls
"""
_USED_AGAIN = "UPDATE profiles_usedfrom SET last_used = %s, user_agent = %s WHERE id = %s AND last_used < %s"


def _write_days(counted: Counted) -> None:
    as_value = connection.ops.adapt_datefield_value
    _execute_all(
        _ADD_TO_DAY,
        [(as_value(minute.begun.astimezone(UTC).date()), minute.tokens, minute.calls, key) for key, minute in counted],
    )


def _write_known_addresses(counted: Counted) -> list[tuple[int, _Minute]]:
    """Note the use from those that are known; what is left are clients with addresses that are new, and only these."""
    left = {key_id: dict(minute.agents) for key_id, minute in counted}
    begun = {key_id: minute.begun for key_id, minute in counted}
    as_value = connection.ops.adapt_datetimefield_value
    again = []
    for row in UsedFrom.objects.filter(application__in=left).order_by("pk"):
        at = begun[row.application_id]
        if row.last_used >= at - REMEMBERED:
            agent = left[row.application_id].pop(_plain(row.address), None)
            if agent is not None:
                again.append((as_value(at), agent, row.pk, as_value(at)))
    _execute_all(_USED_AGAIN, again)
    return [(key_id, _Minute(begun[key_id], agents=agents)) for key_id, agents in left.items() if agents]


@transaction.atomic
def _write_addresses(key_id: int, minute: _Minute) -> None:
    """Note the use of a client from addresses that are new; and mail about it, if that is wanted.

    Not about the first of all: it is no surprise, and all that there is to compare with.
    """
    clients = OAuthApplication.objects.select_related("user__company", "company").filter(pk=key_id)
    client = clients.first()
    if client is None or not changes.lock(changes.owner_of(client)) or not clients.exists():
        return
    known = {_plain(row.address): row for row in client.used_from.all()}
    since = minute.begun - REMEMBERED
    new = []
    for address, agent in minute.agents.items():
        row = known.get(address) or UsedFrom(application=client, address=address, last_used=since)
        if row.last_used <= since:  # else another process has noted it meanwhile
            new.append(address)
        row.last_used, row.user_agent = max(row.last_used, minute.begun), agent
        row.save()
    latest = client.used_from.order_by("-last_used", "-pk").values_list("pk", flat=True)[:ADDRESSES_AT_MOST]
    client.used_from.exclude(pk__in=list(latest)).delete()
    if known and (client.mail_new_address if client.is_companys else client.owner.mail_new_address):
        _mail(client, new, minute)


def _mail(client: OAuthApplication, addresses: Iterable[str], minute: _Minute) -> None:
    """Mail about these addresses, but once about each in the time for which one is remembered, and not too often."""
    events = KeyEvent.objects.filter(client_id=client.client_id, action=Action.NEW_ADDRESS)
    told = events.filter(time__gt=minute.begun - REMEMBERED).values_list("address", flat=True)
    before = {_plain(address) for address in told if address}
    left = changes.mails_left(client, Action.NEW_ADDRESS)
    for address in [it for it in addresses if it not in before][:left]:
        changes.record_of(client, Action.NEW_ADDRESS, Origin(None, Event.Via.OAUTH, address, minute.agents[address]))


def _plain(address: str) -> str:
    """An address as requests have it: PostgreSQL writes some of IPv6 in another way."""
    return str(ip_address(address))


def _execute_all(sql: str, values: Sequence[Sequence[Any]]) -> None:
    """Run a statement once for each of these, in one transaction and in this order."""
    if values:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(sql, values)
