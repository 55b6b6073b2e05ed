"""The mails of signing in, when there is a mail server and when there is none."""

from __future__ import annotations

import logging

import pytest
from django.core import mail
from django.test import Client

from airvantage_keys import environment

pytestmark = pytest.mark.django_db

RESET = "/accounts/password/reset/"


def answer(address: str) -> tuple[int, str, bytes]:
    visitor = Client()
    response = visitor.post(RESET, {"email": address})
    return response.status_code, response.headers["Location"], visitor.get(response.headers["Location"]).content


@pytest.fixture
def dead_mail_server(settings, monkeypatch):
    """EMAIL_URL names a port at which nobody listens."""
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1:1")
    for name, value in environment.email("EMAIL_URL").items():
        setattr(settings, name, value)


def test_without_a_mail_server_the_answer_is_the_same_for_whom_we_know(user, dead_mail_server, caplog):
    with caplog.at_level(logging.ERROR):
        assert answer(user.email) == answer("nobody@example.com")
    (record,) = [it for it in caplog.records if it.name == "profiles.mail.notices"]
    assert "mail about account/email/password_reset_key not sent: ConnectionRefusedError" in record.getMessage()
    assert user.email not in caplog.text


def test_with_one_too_and_the_mail_is_on_its_way(user):
    assert answer(user.email)[:2] == (302, "/accounts/password/reset/done/")
    (sent,) = mail.outbox
    assert sent.to == [user.email]
    assert sent.extra_headers["Auto-Submitted"] == "auto-generated"
    assert answer("nobody@example.com")[:2] == (302, "/accounts/password/reset/done/")
    assert len(mail.outbox) == 1


def test_it_does_not_wait_for_the_mail_server(user, monkeypatch):
    posted: list[str] = []
    monkeypatch.setattr("profiles.mail.notices._post", lambda about, _write: posted.append(about))
    assert answer(user.email)[0] == 302
    assert posted == ["account/email/password_reset_key"]
    assert mail.outbox == []
