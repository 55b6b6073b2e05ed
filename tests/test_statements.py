"""The statements of the token path: Django's connection without its cursor, on both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from profiles import statements
from profiles.models import AccessToken, User
from profiles.statements import Statement

from .conftest import make_token

pytestmark = pytest.mark.django_db
of_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'")
of_sqlite = pytest.mark.skipif("connection.vendor != 'sqlite'")

EMAIL = Statement("SELECT email FROM profiles_user WHERE email = %(email)s OR %(email)s = ''")


def test_a_row_or_none(user):
    assert EMAIL.first({"email": user.email}) == (user.email,)
    assert EMAIL.first({"email": "nobody@example.com"}) is None


def test_a_percent_sign_a_colon_and_a_quote_are_values(user):
    User.objects.filter(pk=user.pk).update(email="a%(b)s:c$1'@example.com")
    assert EMAIL.first({"email": "a%(b)s:c$1'@example.com"}) == ("a%(b)s:c$1'@example.com",)


def test_a_moment_is_compared_as_one(token):
    expires = AccessToken.objects.get().expires
    before = Statement("SELECT count(*) FROM profiles_accesstoken WHERE expires > %(now)s")
    assert before.first({"now": expires}) == (0,)
    assert before.first({"now": datetime.fromtimestamp(expires.timestamp() - 0.001, UTC)}) == (1,)


def test_it_is_seen_by_whoever_watches_the_connection(user):
    with CaptureQueriesContext(connection) as queries:
        EMAIL.first({"email": user.email})
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]
    seen: list[str] = []

    def watch(execute: Callable[..., object], sql: str, *rest: object) -> object:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        EMAIL.first({"email": user.email})
    assert seen == [EMAIL.sql]


def test_it_takes_part_in_the_transaction(key):
    with transaction.atomic():
        make_token(key)
        assert AccessToken.objects.count() == 1
        transaction.set_rollback(True)
    assert AccessToken.objects.count() == 0


def test_in_a_broken_transaction_it_says_so(user):
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            EMAIL.first({"email": user.email})


def test_its_errors_are_djangos(db):
    with pytest.raises(DatabaseError), transaction.atomic():
        Statement("SELECT 1 FROM no_such_table").first({})


@of_postgresql
def test_it_is_prepared_once_for_a_connection(user):
    for _ in range(3):
        EMAIL.first({"email": user.email})
    found = Statement("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT email FROM%%'")
    assert found.first({}) == (1,)


@of_sqlite
def test_a_token_does_not_wait_for_the_disk_and_all_else_does(key, transactional_db):
    connection.ensure_connection()
    seen: list[str] = []
    raw: sqlite3.Connection = connection.connection
    raw.set_trace_callback(seen.append)
    make_token(key)
    User.objects.update(name="New")
    raw.set_trace_callback(None)
    settings = [sql.rpartition(" ")[2] if "synchronous" in sql else sql.split()[0] for sql in seen]
    steps = [word for word, _ in groupby(settings) if word in {"NORMAL", "FULL", "INSERT", "UPDATE"}]
    assert steps == ["NORMAL", "INSERT", "FULL", "UPDATE"]
    assert raw.execute("PRAGMA synchronous").fetchone() == (2,)


@of_sqlite
def test_in_a_transaction_it_waits_with_the_others(key):
    make_token(key)  # tests are in one
    assert connection.connection.execute("PRAGMA synchronous").fetchone() == (2,)


@of_sqlite
def test_a_connection_that_might_not_wait_any_more_is_closed(key, transactional_db):
    class Broken:
        """A connection on which only the last of the three statements fails."""

        def execute(self, sql, *values):
            if "FULL" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return connection.connection.execute(sql, *values)

    closed = []
    database: Any = SimpleNamespace(connection=Broken(), close=lambda: closed.append(True))
    with pytest.raises(sqlite3.OperationalError), statements._without_waiting_for_the_disk(database):
        pass
    assert closed == [True]
    connection.connection.execute("PRAGMA synchronous = FULL")


def test_nobody_waits_long_for_a_turn(monkeypatch):
    monkeypatch.setattr(statements, "_TURN_WITHIN", 0.01)
    with statements._in_turn(), statements._in_turn():
        assert statements._turn.locked()
    assert not statements._turn.locked()
