"""manage.py maintain: each job does its part, on its own, and what it leaves behind says so."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from profiles.clients import lifecycle, tokens
from profiles.management.commands import maintain as command
from profiles.models import AccessToken, Attempts, ClientSecret, OldSecret, UnsentNotice, Upkeep, UsedOn

from .conftest import KeyPair, make_token, sign_in
from .server import ROOT, Server, postgres_url, sqlite_url
from .test_notices import by

pytestmark = pytest.mark.django_db

JOBS = ["ages", "tokens", "sessions", "uses", "health", "unused", "notices", "secrets"]


def maintain(*arguments: str) -> str:
    out = StringIO()
    call_command("maintain", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def said(out: str) -> list[str]:
    """How many of each job."""
    return [line.split()[0] for line in out.splitlines()]


@pytest.fixture
def much_to_do(user, key, signed_in) -> KeyPair:
    """Two of each job's: tokens, an ended session and a counter, days of use, notices, secrets ended long ago."""
    make_token(key)
    make_token(key)
    AccessToken.objects.update(expires=timezone.now())
    Session.objects.update(expire_date=timezone.now())
    Attempts.objects.all().delete()
    Attempts.objects.create(name="x", tried=1, ends=timezone.now())
    lifecycle.regenerate(owner=user, origin=by(user))
    lifecycle.regenerate(owner=user, origin=by(user))
    for age in (100, 200):
        UsedOn.objects.create(application=key.key, day=timezone.now() - timedelta(days=age), tokens=1, calls=1)
    UnsentNotice.objects.filter(number=user.key_events.earliest("pk").pk).delete()
    UnsentNotice.objects.update(again=timezone.now())
    end(days_ago=100)
    return key


def end(*, days_ago: float) -> None:
    """As if the secrets that have ended had done so then."""
    ClientSecret.objects.exclude(ends=None).update(ends=timezone.now() - timedelta(days=days_ago))


def left() -> list[int]:
    return [model.objects.count() for model in (AccessToken, Session, Attempts, UsedOn, UnsentNotice, ClientSecret)]


def test_every_job_is_done_and_noted(much_to_do, mailoutbox):  # security 63, 87
    begun = timezone.now()
    done = [0, 2, 3, 2, 0, 0, 2, 2]  # a session with its browser, and a counter
    assert said(maintain()) == list(map(str, done))
    assert left() == [0, 0, 0, 0, 0, 1]
    assert len(mailoutbox) == 2
    assert [job.name for job in command.JOBS] == JOBS
    for row in Upkeep.objects.all():
        assert row.succeeded
        assert begun <= row.succeeded <= timezone.now()
        assert row.seconds >= 0
    assert dict(Upkeep.objects.values_list("name", "done")) == dict(zip(JOBS, done, strict=True))
    assert said(maintain()) == ["0"] * len(JOBS)
    assert Upkeep.objects.get(name="tokens").done == 0


def test_a_dry_run_changes_nothing(much_to_do, mailoutbox):
    before = left()
    # The tokens that go first refer to the other secret.
    assert said(maintain("--dry-run")) == ["0", "2", "3", "2", "0", "0", "2", "1"]
    assert left() == before
    assert mailoutbox == []
    assert not Upkeep.objects.exists()


def test_what_is_live_stays(user, key, token, signed_in):
    assert said(maintain()) == ["0"] * len(JOBS)
    assert tokens.find(token)
    assert signed_in.get("/profile/").status_code == 200


@pytest.mark.parametrize("error", [DatabaseError("the disk is full\nor so"), ValueError("a mistake")])
@pytest.mark.parametrize("broken", JOBS)
def test_a_job_that_fails_stops_no_other(broken, error, much_to_do, monkeypatch):
    def fail():
        raise error

    jobs = [job if job.name != broken else command.Job(broken, "x", "x", fail, fail) for job in command.JOBS]
    monkeypatch.setattr(command, "JOBS", jobs)
    out = StringIO()
    with pytest.raises(CommandError, match=rf"^1 of {len(JOBS)} jobs failed: {broken}\. Run it again\.$") as failed:
        call_command("maintain", stdout=out, stderr=out)
    assert failed.value.returncode == 1
    assert f"The {broken} failed ({type(error).__name__}: " in out.getvalue()
    assert len(out.getvalue().splitlines()) == len(JOBS)
    succeeded = {row.name: row.succeeded is not None for row in Upkeep.objects.all()}
    assert succeeded == {name: name != broken for name in JOBS}


def test_a_failure_leaves_the_last_success_as_it_was(db, monkeypatch):
    maintain()
    last = Upkeep.objects.get(name="secrets").succeeded

    def fail():
        raise DatabaseError("gone")

    monkeypatch.setattr(command, "JOBS", [command.Job("secrets", "x", "x", fail, fail)])
    with pytest.raises(CommandError):
        maintain()
    assert Upkeep.objects.get(name="secrets").succeeded == last


def test_stopped_by_hand_it_ends_and_says_where(much_to_do, monkeypatch):
    def stop():
        yield 1
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "JOBS", [command.Job("tokens", "x", "tokens deleted", stop, stop), *command.JOBS[1:]])
    with pytest.raises(CommandError, match=r"Stopped at the tokens: 1 tokens deleted .* Run it again for the rest\."):
        maintain()
    assert not Upkeep.objects.exists()
    assert UnsentNotice.objects.count() == 2


# --- Secrets ------------------------------------------------------------------------------------------------------


def recognised(pair: KeyPair) -> bool:
    try:
        tokens.authenticate(client_id=pair.client_id, secret=pair.secret)
    except tokens.SecretEnded:
        return True
    except tokens.Refused:
        return False
    raise AssertionError("it opens")


@pytest.mark.parametrize(("days", "stays"), [(89.9, True), (90.1, False)])
def test_an_ended_secret_stays_as_long_as_it_is_recognised(days, stays, user, key):
    lifecycle.regenerate(owner=user, origin=by(user))
    end(days_ago=days)
    assert recognised(key) == stays
    assert said(maintain())[-1] == ("0" if stays else "1")
    assert recognised(key) == stays


def test_the_secrets_of_a_key_that_is_gone_go_too(user, key):
    lifecycle.delete(owner=user, origin=by(user))
    end(days_ago=91)
    assert said(maintain())[-1] == "1"
    assert not ClientSecret.objects.exists()


def test_the_newest_one_of_a_client_stays_and_says_why_none_is_live(user, key, signed_in):
    ClientSecret.objects.update(
        ended=True, ends=timezone.now() - timedelta(days=200), end_reason=ClientSecret.EndReason.LEAKED
    )
    assert said(maintain())[-1] == "0"
    assert "was reported as leaked" in signed_in.get("/profile/").content.decode()


def test_one_that_a_token_refers_to_stays_until_that_has_gone(user, key, token):
    lifecycle.regenerate(owner=user, origin=by(user))
    end(days_ago=91)
    assert said(maintain()) == ["0"] * len(JOBS)
    AccessToken.objects.update(expires=timezone.now())
    assert said(maintain()) == ["0", "1", "0", "0", "0", "0", "0", "1"]


def test_one_that_is_live_stays_however_old(user, key):
    ClientSecret.objects.update(created=timezone.now() - timedelta(days=1000))
    new = lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.DAY)
    assert said(maintain())[-1] == "0"
    assert make_token(key)
    assert make_token(KeyPair(*new))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_every_size_of_part_finds_them_all(rows, user, key):
    from profiles.clients import purge

    for _ in range(3):
        lifecycle.regenerate(owner=user, origin=by(user))
    end(days_ago=91)
    assert sum(purge.ended_secrets(rows=rows, dry_run=True)) == 3
    assert sum(purge.ended_secrets(rows=rows)) == 3
    assert ClientSecret.objects.get().ends is None


def test_its_tables_are_reached_by_no_page(admin_user):
    browser = sign_in(Client(), admin_user)
    for name in ("unsentnotice", "upkeep", "usedfrom", "usedon"):
        assert browser.get(f"{reverse('admin:index')}profiles/{name}/").status_code == 404


# --- Two at once ----------------------------------------------------------------------------------------------------

FILL = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
from profiles.models import AccessToken, ClientSecret, OAuthApplication, UsedFrom, UsedOn, User
now = timezone.now()
ended = {"ends": now - timedelta(days=91), "ended": True}
of_nobody = {"application_id": 1, "user_id": 1, "expires": now}
for rows in (
    [Session(session_key=f"{n:032}", session_data="x", expire_date=now) for n in range(5000)],
    [ClientSecret(client_id=f"{n:032}", digest=f"{n:064}", **ended) for n in range(5000)],
    [AccessToken(token_checksum=f"{n:064}", **of_nobody) for n in range(5000)],
    [UsedOn(application_id=n, day=now - timedelta(days=91), tokens=1, calls=1) for n in range(1000, 6000)],
    [UsedFrom(application_id=n, address="192.0.2.1", last_used=now - timedelta(days=91)) for n in range(1000, 6000)],
):
    type(rows[0]).objects.bulk_create(rows, batch_size=1000)

long_ago = now - timedelta(days=1000)
for n in range(100):
    user = User.objects.create(email=f"unused{n}@example.com", name="Nobody")
    key = OAuthApplication.objects.create(user=user)
    ClientSecret.objects.create(application=key, client_id=key.client_id, digest=f"unused{n}", created=long_ago)
"""


@pytest.mark.server
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_two_at_once_do_each_thing_once(database, tmp_path):  # security 63
    with ExitStack() as stack:
        url = stack.enter_context(nullcontext(sqlite_url(tmp_path)) if database == "sqlite" else postgres_url())
        site = Server(tmp_path, url)
        site.manage("migrate", "--verbosity", "0")
        site.manage("shell", "-c", FILL)
        run = [sys.executable, "manage.py", "maintain"]
        both = [
            subprocess.Popen(
                run, cwd=ROOT, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        answers = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [0, 0], answers
        done = [[int(number.replace(",", "")) for number in said(out)] for out, _ in answers]
        ages, tokens, sessions, uses, findings, told, sent, secrets = (
            sum(numbers) for numbers in zip(*done, strict=True)
        )
        assert (ages, tokens, sessions, uses, told, secrets) == (0, 5000, 5000, 10000, 100, 5000)
        assert findings >= 100  # both may come upon one; it is stored once
        assert sent == 0  # each was sent by the process that told of it
        assert site.sql("SELECT count(*) FROM profiles_finding WHERE told") == [(100,)]
        assert site.sql("SELECT count(*) FROM profiles_keyevent WHERE action = 'unused'") == [(100,)]
        assert len(site.sql("SELECT name FROM profiles_upkeep WHERE succeeded IS NOT NULL")) == len(JOBS)
