"""What an error tells: whoever sent the request, a developer with DEBUG on, a report by mail, the log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.test import Client
from django.views.debug import get_exception_reporter_class

from profiles import credentials
from profiles.clients import changes

from .conftest import PASSWORD
from .oauth import TOKEN

pytestmark = pytest.mark.django_db

WHY = "the disk is on fire"


@pytest.fixture
def shown() -> Client:
    """A browser that is shown the answer to a failure, as the server gives it."""
    return Client(raise_request_exception=False)


@pytest.fixture(params=[False, True], ids=["production", "DEBUG"])
def _either_way(request, settings) -> None:
    settings.DEBUG = request.param


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What Django's reporter says of each failure: in a mail to administrators, or where a tracker asks it."""
    made: list[str] = []

    def report(sender, request, **kwargs):
        reporter_class: Any = get_exception_reporter_class(request)
        reporter = reporter_class(request, *sys.exc_info(), is_email=True)
        made.extend([reporter.get_traceback_html(), reporter.get_traceback_text()])

    got_request_exception.connect(report)
    yield made
    got_request_exception.disconnect(report)


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """The secrets and tokens that are made from now on."""
    seen: list[str] = []

    def remembering(make):
        def remember(*args: str) -> str:
            seen.append(make(*args))
            return seen[-1]

        return remember

    for name in ("new_secret", "new_token"):
        monkeypatch.setattr(credentials, name, remembering(getattr(credentials, name)))
    return seen


def fail(*args, **kwargs):
    raise RuntimeError(WHY)


@pytest.mark.usefixtures("_either_way")
def test_a_page_that_fails_shows_nothing_that_it_knew(user, shown, made, reports, monkeypatch, caplog):  # security 58
    """The new secret is a variable of several frames, the password stands in the form, the session in a cookie."""
    shown.force_login(user)
    monkeypatch.setattr(changes, "record_of", fail)
    other = credentials.new_token()
    response = shown.post(f"/profile/api-key/create/?from={other}", {"password": PASSWORD})
    assert response.status_code == 500
    assert len(made) == 2
    hidden = [*made, *map(credentials.digest, made), PASSWORD, shown.cookies["session"].value]
    for text in (response.content.decode(), *reports):
        assert [value for value in hidden if value in text] == []
    assert all(WHY in report for report in reports)
    assert WHY in caplog.text
    assert [value for value in hidden if value in caplog.text] == []


@pytest.mark.parametrize("in_form", [False, True])
def test_a_token_request_that_fails_shows_nothing_that_it_knew(
    key, shown, made, reports, monkeypatch, caplog, in_form
):  # security 58
    monkeypatch.setattr("profiles.statements.Statement.first", fail)
    form = "grant_type=client_credentials"
    if in_form:
        form += f"&client_id={key.client_id}&client_secret={key.secret}"
    response = shown.generic(
        "POST",
        TOKEN,
        form,
        content_type="application/x-www-form-urlencoded",
        headers={} if in_form else {"Authorization": key.basic},
    )
    assert response.status_code == 500
    assert len(made) == 1
    hidden = [*made, key.secret, key.basic.removeprefix("Basic "), *map(credentials.digest, (*made, key.secret))]
    for text in (response.content.decode(), *reports, caplog.text):
        assert [value for value in hidden if value in text] == []
    assert WHY in caplog.text
