"""A notice that could not leave is sent later, by `manage maintain`: none is lost, and none is sent by two."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Timer

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from profiles.account import changes as account_changes
from profiles.clients import company, lifecycle
from profiles.mail import notices, smtp
from profiles.models import KeyEvent, UnsentNotice, User
from profiles.origin import Origin

from .conftest import make_key
from .mail_server import mail_server, nowhere, url
from .server import ROOT, Server, postgres_url, running, sqlite_url
from .test_notices import by, let_it_lapse, parts
from .visitor import Visitor

pytestmark = pytest.mark.django_db

CREATED = "Your personal API access key was created"


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """What is done in it is committed; what was done before, in fixtures, is not to be told of."""

    def begin() -> AbstractContextManager[object]:
        UnsentNotice.objects.all().delete()
        return django_capture_on_commit_callbacks(execute=True)

    return begin


@pytest.fixture
def away(settings) -> int:
    """Mails go to a mail server that is not there: its port."""
    settings.EMAIL_BACKEND = "profiles.mail.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", nowhere()
    port: int = settings.EMAIL_PORT
    return port


def maintain() -> str:
    out = StringIO()
    call_command("maintain", stdout=out, stderr=out)
    return out.getvalue()


def sent() -> int:
    return len(list(notices.send_unsent()))


def test_the_mail_server_is_away_and_comes_back(user, committed, away, caplog):  # security 87
    with committed():
        _, secret = lifecycle.create(owner=user, origin=by(user))
    assert "key event" in caplog.text
    assert "not sent, to be tried again: ConnectionRefusedError" in caplog.text
    assert secret not in repr(UnsentNotice.objects.values())
    assert "0 notices sent" in maintain()  # it is put off
    let_it_lapse()
    with pytest.raises(CommandError, match="1 of 8 jobs failed: notices"):
        maintain()
    with mail_server(away) as server:
        assert sent() == 0
        let_it_lapse()
        assert "1 notices sent" in maintain()
        let_it_lapse()
        assert "0 notices sent" in maintain()
    (mail,) = server.mails
    assert (mail["Subject"], mail["To"]) == (CREATED, user.email)
    assert "203.0.113.7" in mail.as_string()
    assert not UnsentNotice.objects.exists()


def test_it_says_the_same_as_at_once(user, key, committed, away, mailoutbox, settings):
    with committed():
        lifecycle.regenerate(owner=user, origin=by(user))
    let_it_lapse()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    user.language = "fr"  # which the reader chose meanwhile
    user.email = "new@example.com"
    user.save()
    assert sent() == 1
    with committed():
        lifecycle.regenerate(owner=user, origin=by(user))
    later, at_once = mailoutbox
    assert (later.to, at_once.to) == (["user@example.com"], ["new@example.com"])
    assert later.subject == "The secret key of your personal API access key was regenerated"
    assert at_once.subject != later.subject  # in French
    assert key.client_id in parts(later)[0]
    assert "The old secret key, and every access token obtained with it, is refused from now on." in parts(later)[1]


def test_of_a_colleague_who_is_gone_it_says_the_uid(
    manager, other_user, api_client, committed, monkeypatch, mailoutbox
):
    other_user.access_profile = manager.access_profile
    other_user.save()
    monkeypatch.setattr(notices, "WAITING_AT_MOST", 0)
    with committed():
        company.switch(
            company=manager.company,
            client_id=api_client.client_id,
            enabled=False,
            origin=Origin(manager, KeyEvent.Via.CLIENTS, "203.0.113.7"),
        )
    uid = manager.uid
    User.objects.get(pk=manager.pk).delete()
    let_it_lapse()
    assert sent() == 2
    (mail,) = [mail for mail in mailoutbox if mail.to == [other_user.email]]
    assert uid in parts(mail)[0]
    assert "Mia Manager" not in parts(mail)[0]


@pytest.mark.parametrize("what", ["deactivated", "company off", "deleted", "let in"])
def test_who_is_not_let_in_any_more_is_not_told(what, user, admin_user, key, committed, monkeypatch, mailoutbox):
    monkeypatch.setattr(notices, "WAITING_AT_MOST", 0)
    with committed():
        lifecycle.revoke(owner=user, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="The user was deleted.")
    if what == "deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)
    elif what == "company off":
        type(user.company).objects.update(is_active=False)
    elif what == "deleted":
        user.delete()
    let_it_lapse()
    told = what in ("deleted", "let in")
    assert sent() == told
    assert [mail.to for mail in mailoutbox] == [["user@example.com"]] * told
    assert not UnsentNotice.objects.exists()


def test_a_former_address_is_told_in_any_case(user, admin_user, committed, monkeypatch, mailoutbox):
    monkeypatch.setattr(notices, "WAITING_AT_MOST", 0)
    before = User.objects.get(pk=user.pk)
    with committed():
        user.email = "mallory@example.com"
        user.is_active = False
        user.save()
        account_changes.record_changes(
            before=before, owner=user, fields=("email",), origin=by(admin_user, KeyEvent.Via.ADMIN)
        )
    let_it_lapse()
    assert sent() == 1
    assert [mail.to for mail in mailoutbox] == [["user@example.com"]]


def test_one_that_is_refused_keeps_no_other_waiting(user, other_user, committed, away, caplog):
    with committed():
        make_key(user)
        make_key(other_user)
    with mail_server(away) as server:
        server.refused = user.email
        let_it_lapse()
        assert sent() == 1
        assert [mail["To"] for mail in server.mails] == [other_user.email]
        assert "SMTPRecipientsRefused" in caplog.text
        assert UnsentNotice.objects.get().email == user.email


def test_it_is_tried_for_seven_days_with_growing_pauses(user, committed, away, monkeypatch, caplog):
    with committed():
        make_key(user)
    caplog.clear()
    begun, pauses = timezone.now(), []
    while notice := UnsentNotice.objects.first():
        pauses.append(notice.again - timezone.now())
        monkeypatch.setattr("django.utils.timezone.now", lambda again=notice.again: again)
        with pytest.raises(notices.MailServerFailed):
            sent()
    assert pauses == sorted(pauses)
    assert pauses[0] <= timedelta(minutes=5)
    assert pauses[-1] == timedelta(hours=6)
    assert timedelta(days=7) <= timezone.now() - begun < timedelta(days=7, hours=7)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "given up after 7 days: ConnectionRefusedError" in caplog.text


def test_a_mail_server_that_takes_its_time_gets_each_notice_once(user, committed, away, settings):  # security 87
    settings.EMAIL_TIMEOUT = 1
    with mail_server(away) as server, committed():
        server.may_say_so.clear()
        Timer(3, server.may_say_so.set).start()
        make_key(user)
    assert len(server.mails) == 1
    assert not UnsentNotice.objects.exists()


def test_where_it_is_not_known_whether_it_was_taken_it_is_the_same_mail_again(user, committed, away, monkeypatch):
    monkeypatch.setattr(smtp, "TAKEN_WITHIN", 0.5)
    with mail_server(away) as server:
        server.may_say_so.clear()
        with committed():
            make_key(user)
        server.may_say_so.set()
        let_it_lapse()
        assert sent() == 1
    first, second = server.mails
    assert first["Message-ID"] == second["Message-ID"]


def test_one_whose_event_was_erased_goes(user, committed, away):
    with committed():
        make_key(user)
    UnsentNotice.objects.update(number=0)
    let_it_lapse()
    assert sent() == 0
    assert not UnsentNotice.objects.exists()


def test_a_change_that_is_rolled_back_leaves_nothing_to_send(user):
    with transaction.atomic():
        make_key(user)
        assert UnsentNotice.objects.count() == 1
        transaction.set_rollback(True)
    assert not UnsentNotice.objects.exists()


def test_a_mail_with_a_link_is_not_kept(client, user, away, caplog):
    client.post("/accounts/password/reset/", {"email": user.email})
    assert "mail about account/email/password_reset_key not sent" in caplog.text
    assert not UnsentNotice.objects.exists()


def test_what_another_process_sends_is_left_to_it(user, committed, away, mailoutbox):
    with committed():
        make_key(user)
    let_it_lapse()
    (mine,) = notices.unsent()
    let_it_lapse()  # as if another process had taken it since it was read
    UnsentNotice.objects.update(again=timezone.now() + timedelta(minutes=5))
    assert notices._send(mine, KeyEvent.objects.get()) is False
    assert sent() == 0
    assert mailoutbox == []


# --- With processes of its own -----------------------------------------------------------------------------------

DATABASES = pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])


def address_of(database: str, folder: Path) -> AbstractContextManager[str]:
    return nullcontext(sqlite_url(folder)) if database == "sqlite" else postgres_url()


def lapse(server: Server) -> None:
    server.sql("UPDATE profiles_unsentnotice SET again = %s", "2026-01-01 00:00:00")


@pytest.mark.server
@DATABASES
def test_a_server_that_is_killed_loses_no_notice(database, tmp_path):  # security 87
    with ExitStack() as stack:
        address = stack.enter_context(address_of(database, tmp_path))
        mails = stack.enter_context(mail_server())
        server = stack.enter_context(running(tmp_path, address, EMAIL_URL=mails.url, EMAIL_TIMEOUT="60"))
        visitor = Visitor(server.url).sign_in("user@demo.example")
        mails.may_answer.clear()
        pair = visitor.create()
        assert mails.reached.wait(20)
        server.stop(signal.SIGKILL)
        mails.may_answer.set()
        assert server.sql("SELECT email FROM profiles_unsentnotice") == [("user@demo.example",)]
        assert "0 notices sent" in server.manage("maintain")  # it could be with a process that lives
        lapse(server)
        assert "1 notices sent" in server.manage("maintain")
        lapse(server)
        assert "0 notices sent" in server.manage("maintain")
        (mail,) = mails.mails
        assert mail["Subject"] == CREATED
        assert pair[0] in mail.as_string()
        assert server.sql("SELECT count(*) FROM profiles_unsentnotice") == [(0,)]


@pytest.mark.server
@DATABASES
def test_two_at_once_send_each_once(database, tmp_path):  # security 87
    with ExitStack() as stack:
        address = stack.enter_context(address_of(database, tmp_path))
        server = Server(tmp_path, address, EMAIL_URL=url(nowhere()))
        server.prepare()
        server.manage("createkey", "user@demo.example")
        for _ in range(30):
            server.sql(
                "INSERT INTO profiles_unsentnotice (kind, number, email, language, is_actor, uid, again)"
                " SELECT kind, number, email, language, is_actor, uid, again FROM profiles_unsentnotice LIMIT 1"
            )
        lapse(server)
        mails = stack.enter_context(mail_server())
        server.environment["EMAIL_URL"] = mails.url
        mails.may_answer.clear()
        command = [sys.executable, "manage.py", "maintain"]
        both = [
            subprocess.Popen(command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        deadline = time.monotonic() + 60
        while mails_offered(server) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        mails.may_answer.set()
        said = [process.communicate(timeout=120)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert len(mails.taken) == 31
        assert len({mail["Message-ID"] for mail in mails.mails}) == 31


def mails_offered(server: Server) -> int:
    """How many notices are with a process now."""
    ((number,),) = server.sql("SELECT count(*) FROM profiles_unsentnotice WHERE again > %s", "2026-01-02 00:00:00")
    return int(number)
