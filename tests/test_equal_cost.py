"""Who is refused learns nothing from what the refusal cost: the same work is done, whatever the reason (CWE-208).

Work is counted (statements of the database, runs of a hash), which a busy machine does not change. Beside that the
processor time of the thread is compared, which waiting for others does not count in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client, RequestFactory

from airvantage_keys import api_way
from profiles import credentials
from profiles.http.calls import Call
from profiles.models import User

from .conftest import PASSWORD, KeyPair, basic, make_key
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, post

pytestmark = pytest.mark.django_db

SIGN_IN = "/accounts/login/"


class Work:
    """What was done while it was counted: statements as they are written, and hashes by kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        for owner, name in ((credentials, "digest"), (MD5PasswordHasher, "encode")):
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, function: Callable) -> Callable:
        def counted(*args, **kwargs):
            self.done.append(name)
            return function(*args, **kwargs)

        return counted

    def of(self, act: Callable[[], object]) -> list[str]:
        self.done.clear()

        def statement(execute, sql, params, many, context):
            self.done.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(statement):
            act()
        return list(self.done)


@pytest.fixture
def work(monkeypatch) -> Work:
    return Work(monkeypatch)


@pytest.fixture
def refusals(key: KeyPair, other_user: User, settings) -> dict[str, str]:
    """Credentials of the right form that are refused, and why."""
    settings.RATE_LIMITS = False
    of_inactive = make_key(other_user)
    User.objects.filter(pk=other_user.pk).update(is_active=False)
    return {
        "unknown client": basic(credentials.new_client_id(), key.secret),
        "wrong secret": basic(key.client_id, credentials.new_secret()),
        "another's secret": basic(key.client_id, of_inactive.secret),
        "inactive owner": of_inactive.basic,
    }


@pytest.mark.parametrize("scope", ["", "accountNetwork.users.view", "no.such.right"])
@pytest.mark.parametrize("url", [TOKEN, REVOKE, INTROSPECT])
def test_a_client_is_refused_at_the_same_cost_whatever_the_reason(work, refusals, url, scope):  # security 8, 45
    form = [GRANT, ("token", credentials.new_token()), *([("scope", scope)] if scope else [])]
    done = {why: work.of(lambda: post(url, form, credential)) for why, credential in refusals.items()}  # noqa: B023
    expected = done["wrong secret"]
    assert len(expected) > 1
    assert {why: did for why, did in done.items() if did != expected} == {}


def test_a_client_is_refused_in_the_same_time_whatever_the_reason(refusals):  # security 8, 45
    times: dict[str, list[int]] = {why: [] for why in refusals}
    form = urlencode([GRANT]).encode()
    for _ in range(500):
        for why, credential in refusals.items():  # in turn: whatever changes meanwhile changes for all
            request = RequestFactory().generic(
                "POST", TOKEN, form, content_type="application/x-www-form-urlencoded", HTTP_AUTHORIZATION=credential
            )
            start = time.thread_time_ns()
            response = api_way.answer(Call(request.META))
            times[why].append(time.thread_time_ns() - start)
            assert response.status == 401
    medians = {why: median(each) for why, each in times.items()}
    assert max(medians.values()) < 1.25 * min(medians.values()), medians


@pytest.mark.parametrize("password", [PASSWORD, "Wrong horse battery staple"])
def test_nobody_learns_by_its_cost_whether_there_is_an_account(
    work, settings, user, other_user, admin_user, password
):  # security 8
    settings.ACCOUNT_RATE_LIMITS = False
    User.objects.filter(pk=other_user.pk).update(is_active=False)
    admin_user.set_unusable_password()
    admin_user.save()
    addresses = {
        "no account": "nobody@example.com",
        "inactive": other_user.email,
        "invited, without a password yet": admin_user.email,
    }
    if password != PASSWORD:
        addresses["active"] = user.email
    client = Client()
    hashes = {
        why: [
            step
            for step in work.of(lambda: client.post(SIGN_IN, {"login": email, "password": password}))  # noqa: B023
            if step == "encode"
        ]
        for why, email in addresses.items()
    }
    assert set(map(len, hashes.values())) == {1}, hashes
