"""Events are never changed or deleted: the database itself refuses it, on SQLite and on PostgreSQL."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from profiles.account import activity
from profiles.events import append_only
from profiles.models import AccountEvent, KeyEvent, User
from profiles.origin import Origin

from .conftest import make_key

pytestmark = pytest.mark.django_db

TABLES = ["profiles_keyevent", "profiles_accountevent"]


@pytest.fixture
def events(user, other_user) -> None:
    """One of each kind, about `user`, by `other_user`."""
    make_key(user)
    origin = Origin(actor=other_user, via=KeyEvent.Via.ADMIN)
    activity.record(AccountEvent.Action.INVITED, owner=user, origin=origin)
    connection.check_constraints()  # PostgreSQL alters no table with checks that are still to be made


def run(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def refused(statement: str) -> bool:
    try:
        run(statement)
    except DatabaseError as error:
        return append_only.REFUSAL in str(error)
    return False


@pytest.fixture
def rows(events):
    def all_rows() -> list[list[tuple[object, ...]]]:
        return [list(model.objects.order_by("pk").values_list()) for model in (KeyEvent, AccountEvent)]

    return all_rows


def test_every_table_of_events_is_known():
    assert [KeyEvent._meta.db_table, AccountEvent._meta.db_table] == list(append_only.TABLES) == TABLES


def test_after_all_migrations_every_table_is_protected():  # security 70
    # Where a later migration makes a table anew, as SQLite does, this is what fails without `protect_after_migrate`.
    assert append_only.check(None, databases=["default"]) == []


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change",
    [
        "time = '2001-01-01 00:00:00+00:00'",
        "action = 'deleted'",
        "owner_uid = 'x'",
        "actor_uid = 'x'",
        "via = 'page', address = '203.0.113.9'",
        "user_agent = 'x'",
        "id = id + 1000",
        "owner_id = actor_id, actor_id = owner_id",
        "owner_id = NULL, owner_uid = ''",
        "owner_id = 0",
    ],
)
def test_no_column_can_be_changed(rows, user, other_user, table, change):  # security 59, 70
    if change.startswith("owner_id = actor_id"):
        change = f"owner_id = {other_user.pk}"
    before = rows()
    assert refused(f"UPDATE {table} SET {change}")
    assert rows() == before


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *((TABLES[0], column) for column in ("reason", "client_id", "old_secret", "client_name", "detail")),
        (TABLES[1], "detail"),
    ],
)
def test_nor_what_only_one_kind_has(rows, table, column):  # security 70
    assert refused(f"UPDATE {table} SET {column} = 'x'")


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_deleted(rows, table):  # security 59, 70
    before = rows()
    assert refused(f"DELETE FROM {table}")
    if connection.vendor == "postgresql":
        assert refused(f"TRUNCATE {table}")
        assert refused(f"TRUNCATE {table}, profiles_user CASCADE")
    else:
        assert refused(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    assert rows() == before


def test_a_link_becomes_null_and_nothing_else_can(rows, user, other_user):  # security 70
    for table in TABLES:
        for column in ("owner_id", "actor_id"):
            run(f"UPDATE {table} SET {column} = NULL")
            assert refused(f"UPDATE {table} SET {column} = {user.pk}")


def test_deleting_the_users_leaves_the_events(rows, user, other_user):  # security 22, 70
    User.objects.get(pk=other_user.pk).delete()
    User.objects.get(pk=user.pk).delete()
    event = AccountEvent.objects.get()
    assert (event.owner, event.actor, event.owner_uid, event.actor_uid) == (None, None, user.uid, other_user.uid)
    assert KeyEvent.objects.get().owner_uid == user.uid


@pytest.mark.parametrize("table", TABLES)
def test_a_trigger_that_somebody_took_away_is_told_and_put_back(rows, table):
    run(
        f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only"
        if connection.vendor == "postgresql"
        else f"DROP TRIGGER {table}_no_delete"
    )
    (warning,) = append_only.check(None, databases=["default"])
    assert table in warning.msg
    append_only.protect(connection)
    assert append_only.check(None, databases=["default"]) == []
    assert refused(f"DELETE FROM {table}")


def test_a_table_that_has_another_column_since_is_protected_with_it(rows):
    run("ALTER TABLE profiles_keyevent ADD COLUMN later varchar(10) DEFAULT 'x'")
    append_only.protect(connection)
    assert refused("UPDATE profiles_keyevent SET later = 'y'")


def test_what_was_dumped_can_be_loaded_into_an_empty_database(rows, tmp_path):
    def dump() -> str:
        file = tmp_path / "dump.json"
        call_command("dumpdata", "profiles", "--natural-foreign", output=str(file), verbosity=0)
        return file.read_text()

    before = dump()
    append_only.lift(connection)
    for table in TABLES:
        run(f"DELETE FROM {table}")
    connection.check_constraints()
    append_only.protect(connection)
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0, stdout=StringIO())
    assert dump() == before
