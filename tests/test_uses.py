"""From where a client is used, and how much: counted in the process, written once a minute, mailed if wanted."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from ipaddress import ip_address
from threading import Thread
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from profiles.clients import changes, purge, uses
from profiles.clients.tokens import ProvenClient
from profiles.models import Event, KeyEvent, OAuthApplication, UsedFrom, UsedOn
from profiles.origin import Origin

from .api import get
from .conftest import KeyPair, make_key, make_token
from .oauth import INTROSPECT, REVOKE, TOKEN, post

pytestmark = pytest.mark.django_db

# The fixtures of all tests put another one in its place.
WAKE_WRITER = uses._wake_writer
HOME, OFFICE = "203.0.113.7", "2001:db8:0:1::beef"


def used(
    pair: KeyPair, address: str | None = HOME, *, agent: str = "curl/8", tokens: int = 0, calls: int = 1, times: int = 1
) -> None:
    """Count a use, as if by a request."""
    client, origin = ProvenClient(pair.key.pk, 0), Origin(None, Event.Via.OAUTH, address, agent)
    for _ in range(times):
        uses.count(client, lambda: origin, address=address, tokens=tokens, calls=calls)


def written(pair: KeyPair, *addresses: str) -> None:
    """Use it from these addresses, and write that down."""
    for address in addresses:
        used(pair, address)
    uses.write()


def addresses(pair: KeyPair) -> set[str]:
    return set(pair.key.used_from.values_list("address", flat=True))


def days(pair: KeyPair) -> list[tuple[date, int, int]]:
    return list(pair.key.used_on.order_by("day").values_list("day", "tokens", "calls"))


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def go_back(pair: KeyPair, age: timedelta) -> None:
    """As if all that is known of its addresses were so much older, mails about them included."""
    for row in pair.key.used_from.all():
        UsedFrom.objects.filter(pk=row.pk).update(last_used=row.last_used - age)


@pytest.fixture
def at(monkeypatch):
    """Sets the clock."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: moment)

    return set_clock


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def wanted(user, key) -> KeyPair:
    """A key whose owner wants mails, used from one address."""
    user.mail_new_address = True
    user.save()
    written(key, HOME)
    return key


# --- What is counted --------------------------------------------------------------------------------------


def test_a_token_and_a_call_are_counted(client, key):
    token = post(TOKEN, [("grant_type", "client_credentials")], key.basic).json()["access_token"]
    assert get("/api/v1/users/current", token).status_code == 200
    assert get("/api/v1/users/current", token).status_code == 200
    uses.write()
    assert days(key) == [(today(), 1, 2)]
    assert addresses(key) == {"127.0.0.1"}


def test_a_token_with_a_scope_of_its_own_is_one(key):
    form = [("grant_type", "client_credentials"), ("scope", "entities.systems.view")]
    assert post(TOKEN, form, key.basic).status_code == 200
    uses.write()
    assert days(key) == [(today(), 1, 0)]


def test_what_is_refused_is_not_counted(key, user):
    assert post(TOKEN, [("grant_type", "client_credentials")], key.basic[:-4] + "AAAA").status_code == 401
    assert get("/api/v1/users/current", "avt_x").status_code == 401
    assert get("/api/v1/companies", make_token(key)).status_code in {403, 404}
    uses.write()
    assert days(key) == []
    assert addresses(key) == set()


def test_who_ends_a_token_is_seen(key, token):
    assert post(REVOKE, [("token", token)], key.basic).status_code == 200
    uses.write()
    assert days(key) == [(today(), 0, 0)]
    assert addresses(key) == {"127.0.0.1"}


def test_a_call_at_a_resource_server_is_one_of_the_client(key, token, api_client):
    """Else a client that keeps its token for such calls would seem to make none with it."""
    OAuthApplication.objects.filter(pk=api_client.key.pk).update(may_introspect=True)
    assert post(INTROSPECT, [("token", token)], api_client.basic).json()["active"]
    uses.write()
    assert days(key) == [(today(), 0, 1)]
    assert addresses(key) == set()  # it is not there that the address of the resource server belongs
    assert addresses(api_client) == {"127.0.0.1"}


def test_to_ask_about_an_own_token_is_no_call(key, token):
    assert post(INTROSPECT, [("token", token)], key.basic).json()["active"]
    uses.write()
    assert days(key) == [(today(), 0, 0)]


def test_threads_lose_no_count(key):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: used(key, times=500), range(8)))
    uses.write()
    assert days(key) == [(today(), 0, 4000)]


# --- When and how it is written ---------------------------------------------------------------------------


def test_a_request_writes_nothing(key, django_assert_num_queries):
    with django_assert_num_queries(0):
        used(key, times=100)
    assert days(key) == []


def test_a_client_is_written_at_once_and_then_once_a_minute(key, other_user, monkeypatch):
    clock = 1000.0
    monkeypatch.setattr(uses, "monotonic", lambda: clock)
    other = make_key(other_user)

    def write_at(moment: float) -> list[int]:
        nonlocal clock
        clock = moment
        uses.write(due_by=moment)
        return [sum(calls for _, _, calls in days(pair)) for pair in (key, other)]

    used(key)
    assert write_at(1000) == [1, 0]
    used(key, times=5)
    used(other)
    assert write_at(1059.9) == [1, 1]  # what is new does not wait for the others, and they do not come with it
    assert write_at(1060) == [6, 1]
    used(key)
    assert write_at(1119.9) == [6, 1]
    assert write_at(1120) == [7, 1]
    used(key)
    uses.write()  # the end of the server waits for nothing
    assert days(key) == [(today(), 0, 8)]


@pytest.mark.django_db(transaction=True)
def test_a_thread_of_its_own_writes_and_outlives_a_failure(key, monkeypatch, caplog):
    """Also one that is not the database's: else the process would go on counting, and never write again."""
    write = uses.write
    looks: list[float] = []

    class TestIsOver(Exception):
        pass

    def run() -> None:
        with suppress(TestIsOver):
            uses._keep_writing()

    def write_with_a_defect(**due: float) -> None:
        write(**due)
        if not looks:
            raise ValueError("a defect of ours")

    def rest(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            used(key)
        else:
            raise TestIsOver

    writer = Thread(target=run)
    monkeypatch.setattr(uses, "EVERY", timedelta(0))
    monkeypatch.setattr(uses, "write", write_with_a_defect)
    monkeypatch.setattr(uses, "sleep", rest)
    monkeypatch.setattr(uses, "_writer", writer)
    monkeypatch.setattr(uses, "_wake_writer", WAKE_WRITER)
    used(key)
    writer.join(60)
    assert days(key) == [(today(), 0, 2)]
    assert looks == [uses.GATHERING] * 2
    assert "a defect of ours" in caplog.text


def test_it_is_added_up(key):
    """By whichever process: none knows what the others have counted."""
    for _ in range(2):
        used(key, tokens=1, calls=3)
        uses.write()
    assert days(key) == [(today(), 2, 6)]


def test_a_day_is_one_of_utc(key, at):
    at(datetime(2026, 3, 1, 23, 59, 30, tzinfo=UTC))
    used(key)
    uses.write()
    at(datetime(2026, 3, 2, 0, 0, 30, tzinfo=UTC))
    used(key, times=2)
    uses.write()
    assert days(key) == [(date(2026, 3, 1), 0, 1), (date(2026, 3, 2), 0, 2)]


def test_an_address_is_one_row_with_its_last_use(key, at):
    at(first := datetime(2026, 3, 1, 12, tzinfo=UTC))
    written(key, HOME)
    at(first + timedelta(minutes=1))
    used(key, HOME, agent="python/3")
    uses.write()
    row = key.key.used_from.get()
    assert (row.address, row.user_agent, row.last_used) == (HOME, "python/3", first + timedelta(minutes=1))


@pytest.mark.parametrize("address", [HOME, OFFICE, "::102:304", "fe80::1", "2001:db8:0:0:1::", "::ffff:0:1.2.3.4"])
def test_an_address_is_found_again_as_it_is(key, address):
    """PostgreSQL writes some in another way than Python."""
    address = str(ip_address(address))
    written(key, address)
    written(key, address)
    assert key.key.used_from.count() == 1
    assert [uses._plain(row.address) for row in key.key.used_from.all()] == [address]


def test_without_an_address_the_use_counts(key):
    used(key, None)
    uses.write()
    assert days(key) == [(today(), 0, 1)]
    assert addresses(key) == set()


def test_how_busy_a_client_is_changes_nothing_in_what_is_written(key):
    written(key, HOME, OFFICE)
    counted = []
    for times in (1, 200):
        used(key, HOME, times=times)
        used(key, OFFICE, times=times)
        with CaptureQueriesContext(connection) as queries:
            uses.write()
        counted.append(len(queries))
    assert counted[0] == counted[1]


def test_many_clients_are_written_together(user, key, monkeypatch):
    """Of clients that are known it takes no more statements to write ten than to write one, but the rows' own."""
    pairs = [key]
    for number in range(4):
        owner = type(user).objects.create_user(f"{number}@example.com", name="N")
        pairs.append(make_key(owner))
    monkeypatch.setattr(uses, "AT_A_TIME", 2)
    for _ in range(2):
        for pair in pairs:
            used(pair)
        uses.write()
    assert [days(pair) for pair in pairs] == [[(today(), 0, 2)]] * 5
    assert [addresses(pair) for pair in pairs] == [{HOME}] * 5


def test_a_failure_to_write_fails_nothing(key, monkeypatch, caplog):
    def locked(*args: Any) -> None:
        raise DatabaseError("database is locked")

    used(key)
    with monkeypatch.context() as patch:
        patch.setattr(uses, "_execute_all", locked)
        uses.write()
    assert "could not note how much clients were used (1 of them)" in caplog.text
    used(key)
    uses.write()
    assert days(key) == [(today(), 0, 1)]  # what was counted before is lost


def test_a_client_that_cannot_be_written_takes_no_other_along(key, other_user, monkeypatch, caplog):
    other = make_key(other_user)
    used(key)
    used(other)
    write_addresses = uses._write_addresses

    def fail_for_one(key_id: int, minute: Any) -> None:
        if key_id == key.key.pk:
            raise DatabaseError("deadlock detected")
        write_addresses(key_id, minute)

    monkeypatch.setattr(uses, "_write_addresses", fail_for_one)
    uses.write()
    assert (addresses(key), addresses(other)) == (set(), {HOME})
    assert days(key) == days(other) == [(today(), 0, 1)]
    told = [record.getMessage() for record in caplog.records if record.name == uses.__name__]
    assert told == [f"could not note the new addresses of client {key.key.pk}"]
    assert "deadlock detected" in caplog.text


def test_where_the_counts_cannot_be_written_the_addresses_are(key, monkeypatch, caplog):
    def fail(*args: Any) -> None:
        raise DatabaseError("deadlock detected")

    used(key)
    monkeypatch.setattr(uses, "_write_days", fail)
    uses.write()
    assert addresses(key) == {HOME}
    assert "could not note how much clients were used (1 of them)" in caplog.text
    assert "address" not in caplog.text


def test_a_client_that_is_gone_leaves_nothing(key):
    written(key, HOME)
    number = key.key.pk
    used(key)
    key.key.delete()
    uses.write()
    assert not UsedFrom.objects.filter(application_id=number).exists()
    assert not UsedOn.objects.filter(application_id=number).exists()


@pytest.mark.django_db(transaction=True)
def test_processes_that_write_at_once_lose_nothing(key, other_user):
    """Each with addresses of its own and one of all; the same clients."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one write at a time")
    pairs = [key, make_key(other_user)]

    def process(number: int) -> None:
        try:
            for _ in range(5):
                agents = {HOME: "", f"192.0.2.{number}": ""}
                minutes = [(pair.key.pk, uses._Minute(timezone.now(), calls=1, agents=agents)) for pair in pairs]
                uses._write_days(minutes)
                for key_id, minute in uses._write_known_addresses(minutes):
                    uses._write_addresses(key_id, minute)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as processes:
        list(processes.map(process, range(4)))
    for pair in pairs:
        assert days(pair) == [(today(), 0, 20)]
        assert addresses(pair) == {HOME, *(f"192.0.2.{number}" for number in range(4))}


# --- How many addresses -----------------------------------------------------------------------------------


def test_a_hundred_addresses_are_kept_and_the_oldest_go(key):
    written(key, HOME)
    go_back(key, timedelta(hours=1))
    written(key, *(f"192.0.2.{number}" for number in range(99)))
    assert HOME in addresses(key)
    written(key, OFFICE)
    assert key.key.used_from.count() == 100
    assert HOME not in addresses(key)
    assert OFFICE in addresses(key)


def test_of_a_flood_of_addresses_little_is_kept_in_memory(key):
    used(key, HOME)
    for number in range(1000):
        used(key, f"2001:db8::{number:x}")
    assert len(uses._counted[key.key.pk].agents) == uses.ADDRESSES_AT_MOST
    uses.write()
    assert key.key.used_from.count() == uses.ADDRESSES_AT_MOST
    assert days(key) == [(today(), 0, 1001)]


# --- Mails ------------------------------------------------------------------------------------------------


def test_a_new_address_is_mailed(wanted, user, committed, mailoutbox, caplog):
    caplog.set_level(logging.INFO)
    used(wanted, OFFICE, agent="stranger/1")
    with committed():
        uses.write()
    (mail,) = mailoutbox
    assert mail.to == [user.email]
    assert mail.subject == "Your personal API access key was used from a new address"
    for part in (mail.body, mail.alternatives[0].content):
        assert OFFICE in part
        assert "stranger/1" in part.replace(" ", "/")
        assert wanted.client_id in part
        assert "administrator, " not in part
        assert "first use" not in part
        assert "/profile/#api-key" in part
    event = KeyEvent.objects.get(action="new_address")
    assert (uses._plain(event.address or ""), event.user_agent, event.via) == (OFFICE, "stranger/1", "oauth")
    assert "key new_address: client_id=" in caplog.text


@pytest.mark.parametrize("sought", ["nobody wants it", "first use", "known"])
def test_no_mail_without_a_reason(sought, user, key, committed, mailoutbox):
    user.mail_new_address = sought != "nobody wants it"
    user.save()
    if sought != "first use":
        written(key, HOME)
    with committed():
        written(key, HOME if sought == "known" else OFFICE)
    assert mailoutbox == []
    assert not KeyEvent.objects.filter(action="new_address").exists()


@pytest.mark.parametrize(("age", "mails"), [(89, 0), (91, 1)])
def test_after_90_days_an_address_is_new_again(wanted, age, mails, committed, mailoutbox):
    """Even if it is the last one from which a forgotten key was used: the purge has left that."""
    go_back(wanted, timedelta(days=age))
    list(purge.past_uses())
    with committed():
        written(wanted, HOME)
    assert len(mailoutbox) == mails


def test_a_forgotten_key_that_is_used_from_elsewhere_is_mailed(wanted, committed, mailoutbox):
    go_back(wanted, timedelta(days=400))
    list(purge.past_uses())
    with committed():
        written(wanted, OFFICE)
    assert len(mailoutbox) == 1


def test_three_mails_a_day_whatever_the_number_of_addresses(wanted, committed, mailoutbox, at):
    now = timezone.now()
    with committed():
        written(wanted, *(f"192.0.2.{number}" for number in range(50)))
        written(wanted, *(f"198.51.100.{number}" for number in range(50)))
    assert len(mailoutbox) == changes.MAILS_AT_MOST
    at(now + timedelta(hours=25))
    with committed():
        written(wanted, OFFICE)
    assert len(mailoutbox) == changes.MAILS_AT_MOST + 1


def test_once_about_each_address_even_if_it_was_forgotten_in_a_flood(wanted, committed, mailoutbox):
    with committed():
        written(wanted, OFFICE)
        wanted.key.used_from.filter(address=OFFICE).delete()
        written(wanted, OFFICE)
    assert len(mailoutbox) == 1


def test_of_an_api_client_who_may_edit_it_is_mailed(api_client, manager, user, committed, mailoutbox):
    written(api_client, HOME)
    with committed():
        written(api_client, OFFICE)
    assert mailoutbox == []
    OAuthApplication.objects.update(mail_new_address=True)
    with committed():
        written(api_client, "192.0.2.1")
    (mail,) = mailoutbox
    assert mail.to == [manager.email]
    assert mail.subject == "An API Client of your company was used from a new address"
    assert f"/develop/api/clients/{api_client.client_id}/" in mail.body


def test_whose_account_is_off_is_not_mailed(wanted, user, committed, mailoutbox):
    user.is_active = False
    user.save()
    with committed():
        written(wanted, OFFICE)
    assert mailoutbox == []


# --- What is there already --------------------------------------------------------------------------------


def migrate() -> None:
    import_module("profiles.migrations.0018_addresses_of_before").forwards(apps, connection.schema_editor())


def used_before(pair: KeyPair, address: str | None = HOME, age: timedelta = timedelta(days=3)) -> datetime:
    """As the version before noted it."""
    last_used = timezone.now() - age
    use = {"last_used": last_used, "last_used_address": address, "last_used_agent": "curl/7"}
    OAuthApplication.objects.filter(pk=pair.key.pk).update(**use)
    return last_used


def test_the_last_address_of_before_is_known(user, key, committed, mailoutbox):
    type(user).objects.filter(pk=user.pk).update(mail_new_address=True)
    last_used = used_before(key)
    migrate()
    assert list(key.key.used_from.values_list("address", "user_agent", "last_used")) == [(HOME, "curl/7", last_used)]
    with committed():
        written(key, HOME)
    assert not mailoutbox
    with committed():
        written(key, OFFICE)
    assert len(mailoutbox) == 1


def test_the_migration_leaves_what_is_noted(key):
    written(key, HOME)
    noted = list(key.key.used_from.values())
    used_before(key)
    migrate()
    migrate()
    assert list(key.key.used_from.values()) == noted


def test_a_client_that_was_never_used_gets_no_address(key, api_client):
    used_before(api_client, address=None)
    migrate()
    assert not UsedFrom.objects.exists()


# --- What goes --------------------------------------------------------------------------------------------


def test_what_is_past_goes(key, other_user):
    old, other = today() - timedelta(days=31), make_key(other_user)
    for day in (old, today() - timedelta(days=29)):
        UsedOn.objects.create(application=key.key, day=day, tokens=1, calls=1)
    written(key, HOME, OFFICE)
    written(other, HOME)
    go_back(key, timedelta(days=91))
    written(key, OFFICE)
    go_back(other, timedelta(days=91))
    UsedFrom.objects.create(application_id=0, address=HOME, last_used=timezone.now() - timedelta(days=91))
    assert sum(purge.past_uses(dry_run=True)) == 3
    assert sum(purge.past_uses(rows=1)) == 3
    assert old not in [day for day, _, _ in days(key)]
    assert len(days(key)) == 2
    assert {uses._plain(it) for it in addresses(key)} == {OFFICE}
    assert addresses(other) == {HOME}  # its only one
    assert sum(purge.past_uses()) == 0
