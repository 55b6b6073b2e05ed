"""The database is read-only or full: a clear 503, nothing half done. In the tests' own process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

from profiles.clients import usage
from profiles.http import impatient, outages

from .conftest import sign_in
from .oauth import ask
from .page import REGENERATE, version
from .trouble import assert_503_oauth, assert_503_page


@contextmanager
def pragma(name: str, value: object, back_to: object) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {name} = {back_to}")


@contextmanager
def read_only() -> Iterator[None]:
    if connection.vendor == "sqlite":
        with pragma("query_only", "ON", "OFF"):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")


@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_is_a_503_for_what_writes(user, client, key, token):
    sign_in(client, user)
    answers = Client(raise_request_exception=False)
    answers.cookies = client.cookies
    before = version(user)
    usage._noted.clear()
    with read_only():
        assert_503_oauth(ask(key))
        assert answers.get("/api/v1/users/current", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        response = answers.post(REGENERATE, {"version": before})
        assert_503_page(response, response.content.decode())
        response = Client(raise_request_exception=False).post("/accounts/login/", {"login": "a@b.example"})
        assert response.status_code < 500
    assert version(user) == before
    assert ask(key).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_full_database_is_a_503_and_changes_nothing(user, client, key):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL is filled in a test below")
    sign_in(client, user)
    answers = Client(raise_request_exception=False)
    answers.cookies = client.cookies
    before = version(user)
    with connection.cursor() as cursor:
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
    with pragma("max_page_count", pages, 2**30):
        statuses = Counter(ask(key).status_code for _ in range(200))
        assert set(statuses) == {200, 503}, statuses
        response = ask(key)
        assert_503_oauth(response)
    assert ask(key).status_code == 200
    assert version(user) == before


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_whatever_the_driver_raises_the_end_of_an_outage_is_waited_for(error, monkeypatch):
    def broken() -> NoReturn:
        raise error("the connection is closed")

    monkeypatch.setattr(impatient, "connection", broken)
    assert outages._is_well() is False
