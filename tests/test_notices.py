"""The owner is mailed what happened to their key, after the fact, and nothing that happens to the mail matters."""

from __future__ import annotations

import re
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import timezone

from profiles import credentials
from profiles.clients import lifecycle
from profiles.http.calls import USER_AGENT_LENGTH
from profiles.mail import notices
from profiles.models import KeyEvent, OldSecret, UnsentNotice, User
from profiles.origin import Origin

from .conftest import KeyPair, use
from .mail_server import mail_server
from .server import Server, running, sqlite_url
from .visitor import Visitor

pytestmark = pytest.mark.django_db

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def by(user: User | None, via: KeyEvent.Via = KeyEvent.Via.PAGE, agent: str = AGENT) -> Origin:
    return Origin(actor=user, via=via, address="203.0.113.7", user_agent=agent)


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """What is done in it is committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def parts(mail: EmailMultiAlternatives) -> tuple[str, str]:
    (html, kind) = mail.alternatives[0]
    assert kind == "text/html"
    return str(mail.body), str(html)


def let_it_lapse() -> None:
    """As if the time were over for which the notices are with a process, or put off."""
    UnsentNotice.objects.update(again=timezone.now())


def change(action: str, user: User, admin_user: User) -> None:
    lifecycle.create(owner=user, origin=by(user))
    if action == "regenerated":
        lifecycle.regenerate(owner=user, origin=by(user))
    elif action == "deleted":
        lifecycle.delete(owner=user, origin=by(user))
    elif action == "revoked":
        lifecycle.revoke(owner=user, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="Found in a public repository")


@pytest.mark.parametrize("action", ["created", "regenerated", "deleted"])
def test_the_owner_is_mailed_what_when_from_where_and_what_to_do(
    action, user, admin_user, committed, mailoutbox
):  # security 61
    with committed():
        change(action, user, admin_user)
    event = user.key_events.first()
    mail = mailoutbox[-1]
    assert mail.to == [user.email]
    assert action in mail.subject
    for text in parts(mail):
        assert f"{event.time:%Y-%m-%d %H:%M:%S} UTC" in text
        assert event.client_id in text
        assert "203.0.113.7" in text
        assert AGENT in text
        assert "If this was not you" in text
        assert "http://127.0.0.1:8000/accounts/password/reset/" in text
        assert ("http://127.0.0.1:8000/profile/#api-key" in text) == (action != "deleted")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (OldSecret.NOW, "is refused from now on. The Client ID stays the same."),
        (OldSecret.FIRST_USE, "stops when the new one is first used, in 7 days at the latest."),
        (OldSecret.DAY, "stops in 24 hours."),
    ],
)
def test_the_owner_is_mailed_what_was_chosen_for_the_old_secret(
    choice, said, user, key, committed, mailoutbox
):  # security 27, 61
    with committed():
        lifecycle.regenerate(owner=user, origin=by(user), old_secret=choice)
    for text in parts(mailoutbox[-1]):
        assert f"The old secret key, and every access token obtained with it, {said}" in " ".join(text.split())


@pytest.mark.parametrize("how", ["by the owner", "by the first use"])
def test_the_owner_is_mailed_the_end_of_the_old_secret(how, user, key, committed, mailoutbox):  # security 27, 61
    new, secret = lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.FIRST_USE)
    with committed():
        if how == "by the owner":
            lifecycle.end_old_secret(owner=user, origin=by(user))
        else:
            use(KeyPair(new, secret), address="198.51.100.9", user_agent="cron/1")
    mail = mailoutbox[-1]
    assert mail.subject == "The old secret key of your personal API access key was ended"
    for text in parts(mail):
        assert ("the first use of the new secret key" in text) == (how != "by the owner")
        assert ("198.51.100.9" in text) == (how != "by the owner")
        assert "The new one goes on working." in " ".join(text.split())


def test_of_a_revocation_the_owner_hears_the_reason_but_not_the_administrators_address(
    user, admin_user, committed, mailoutbox
):  # security 61
    with committed():
        change("revoked", user, admin_user)
    assert [mail.subject for mail in mailoutbox][1:] == ["Your personal API access key was revoked by an administrator"]
    for text in parts(mailoutbox[-1]):
        assert "an administrator" in text
        assert "Found in a public repository" in text
        assert "http://127.0.0.1:8000/profile/#api-key" in text
        assert "203.0.113.7" not in text
        assert admin_user.email not in text


def test_who_works_on_the_command_line_is_called_an_administrator(user, committed, mailoutbox):
    with committed():
        lifecycle.create(owner=user, origin=by(None, KeyEvent.Via.COMMAND))
    for text in parts(mailoutbox[0]):
        assert "an administrator, on the command line" in text
        assert "Delete the key" in text
        assert "203.0.113.7" not in text


def test_no_mail_holds_a_secret_or_a_token(user, admin_user, committed, mailoutbox):  # security 3, 61
    with committed():
        secrets = [
            lifecycle.create(owner=user, origin=by(user))[1],
            lifecycle.regenerate(owner=user, origin=by(user))[1],
        ]
        lifecycle.revoke(owner=user, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="Left")
    assert len(mailoutbox) == 3
    for mail in mailoutbox:
        text = mail.message().as_string() + "".join(parts(mail))
        assert not re.search(credentials.SECRET_PATTERN, text)
        assert not re.search(credentials.TOKEN_PATTERN, text)
        assert not any(credentials.digest(secret) in text for secret in secrets)


def test_a_change_that_is_rolled_back_is_not_mailed(user, committed, mailoutbox):  # security 16
    with committed(), transaction.atomic():
        lifecycle.create(owner=user, origin=by(user))
        transaction.set_rollback(True)
    assert lifecycle.of(user) is None
    assert mailoutbox == []


@pytest.mark.django_db(transaction=True)
def test_mail_goes_out_only_after_the_commit(user, mailoutbox):  # security 16
    with transaction.atomic():
        lifecycle.create(owner=user, origin=by(user))
        assert mailoutbox == []
    assert len(mailoutbox) == 1


def test_it_goes_to_the_address_on_file_at_the_time_of_the_change(user, committed, mailoutbox):  # security 61
    with committed():
        lifecycle.create(owner=user, origin=by(user))
        user.email = "mallory@example.com"
        user.save()
    assert mailoutbox[0].to == ["user@example.com"]


def test_an_owner_who_is_deleted_with_the_key_is_mailed_all_the_same(user, admin_user, key, committed, mailoutbox):
    with committed():
        lifecycle.revoke(owner=user, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="The user was deleted.")
        user.delete()
    assert mailoutbox[0].to == ["user@example.com"]


def test_an_inactive_owner_is_not_mailed(user, admin_user, key, committed, mailoutbox):
    user.is_active = False
    user.save()
    with committed():
        lifecycle.revoke(owner=user, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="Left")
    assert mailoutbox == []


def test_a_wrong_password_is_not_mailed(user, key, committed, mailoutbox, caplog):
    with committed():
        lifecycle.record_refused_password(owner=user, origin=by(user))
    assert mailoutbox == []
    assert "not sent" not in caplog.text


@pytest.mark.parametrize(
    "agent",
    [
        "evil\r\nBcc: mallory@example.com",
        "<img src=https://evil.example/x>",
        "Update at https://evil.example/login or evil.example now",
        "write to mallory@evil.example",
        "{{ words.subject }} {% load x %}",
        "x" * USER_AGENT_LENGTH,
    ],
)
def test_a_hostile_user_agent_adds_no_header_markup_or_link(agent, user, committed, mailoutbox):
    with committed():
        lifecycle.create(owner=user, origin=by(user, agent=agent))
    message = message_from_bytes(mailoutbox[0].message().as_bytes(), policy=policy.default)
    assert set(message.keys()) == {
        *("Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
    }
    text, html = parts(mailoutbox[0])
    assert "<img" not in html
    for body in (text, html):
        assert set(re.findall(r"https?://[^/\s,<]+", body)) == {"http://127.0.0.1:8000"}
        assert "evil.example" not in body


def test_a_mail_names_its_event_and_asks_for_no_automatic_answer(user, committed, mailoutbox):
    with committed():
        lifecycle.create(owner=user, origin=by(user))
    event = user.key_events.get()
    headers = mailoutbox[0].extra_headers
    assert re.fullmatch(rf"<key-event-{event.pk}\.[0-9.]+@127\.0\.0\.1>", headers["Message-ID"])
    assert headers["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError(), TimeoutError(), smtplib.SMTPRecipientsRefused({}), ValueError("bad\nheader")]
)
def test_a_mail_server_that_fails_fails_nothing_else(
    failure, user, committed, monkeypatch, mailoutbox, caplog
):  # security 16
    monkeypatch.setattr(EmailMultiAlternatives, "send", lambda self: (_ for _ in ()).throw(failure))
    with committed():
        _, secret = lifecycle.create(owner=user, origin=by(user))
    assert lifecycle.of(user)
    [record] = [record for record in caplog.records if record.name == "profiles.mail.notices"]
    assert record.levelname == "WARNING"
    assert "\n" not in record.getMessage()
    assert f"key event {user.key_events.get().pk} not sent" in record.getMessage()
    assert secret not in caplog.text


def test_when_very_many_mails_wait_the_next_is_left_to_maintain(
    user, committed, monkeypatch, mailoutbox, caplog
):  # security 87
    monkeypatch.setattr(notices, "WAITING_AT_MOST", 0)
    with committed():
        lifecycle.create(owner=user, origin=by(user))
    assert mailoutbox == []
    assert "is left to manage maintain: too many are waiting" in caplog.text
    let_it_lapse()
    assert len(list(notices.send_unsent())) == 1
    assert mailoutbox[0].to == [user.email]


def test_a_slow_mail_server_holds_nobody_up(user, committed, monkeypatch):
    sending, go_on = threading.Event(), threading.Event()

    def send(*_: object) -> None:
        sending.set()
        go_on.wait(10)

    with ThreadPoolExecutor(1) as mailers:
        monkeypatch.setattr(notices, "_mailers", mailers)
        monkeypatch.setattr(notices, "_send", send)
        with committed():
            lifecycle.create(owner=user, origin=by(user))
        assert sending.wait(10)
        assert notices.waiting() == 1
        go_on.set()
    assert notices.waiting() == 0


@contextmanager
def mail_server_that_never_answers() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def wait_for(what: str, file: Path) -> None:
    deadline = time.monotonic() + 20
    while not (file.exists() and what in file.read_text()):
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)


@pytest.mark.server
def test_the_page_answers_at_once_when_the_mail_server_does_not(tmp_path):  # security 61
    with (
        mail_server_that_never_answers() as port,
        running(tmp_path, sqlite_url(tmp_path), EMAIL_URL=f"smtp://127.0.0.1:{port}", EMAIL_TIMEOUT="8") as server,
    ):
        visitor = Visitor(server.url).sign_in("user@demo.example")
        begun = time.monotonic()
        _, secret = visitor.create()
        assert time.monotonic() - begun < 6
        wait_for("timed out", server.log)
        assert secret not in server.log.read_text()


@pytest.mark.server
def test_a_server_that_is_stopped_still_sends_what_waits(tmp_path):
    with mail_server() as mails, running(tmp_path, sqlite_url(tmp_path), EMAIL_URL=mails.url) as server:
        mails.may_answer.clear()
        Visitor(server.url).sign_in("user@demo.example").create()
        assert mails.reached.wait(20)
        threading.Timer(2, mails.may_answer.set).start()
        server.stop()
        assert [mail["Subject"] for mail in mails.mails] == ["Your personal API access key was created"]
    assert server.sql("SELECT count(*) FROM profiles_unsentnotice") == [(0,)]


@pytest.mark.server
def test_a_command_sends_its_mail_and_prints_only_its_answer(tmp_path):
    server = Server(tmp_path, sqlite_url(tmp_path), EMAIL_URL="consolemail://")
    server.prepare()
    lines = server.manage("createkey", "user@demo.example").splitlines()
    assert [line.partition("=")[0] for line in lines] == ["CLIENT_ID", "CLIENT_SECRET"]
