"""manage.py purgetokens: dead tokens go, live ones stay, whatever else goes on."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from profiles.clients import lifecycle, tokens
from profiles.models import AccessToken, KeyEvent
from profiles.origin import Origin

from .conftest import make_key, make_token
from .server import ROOT, Server, postgres_url, sqlite_url

pytestmark = pytest.mark.django_db

FILL = """
from datetime import timedelta
from django.utils import timezone
from profiles.models import AccessToken
ago = timezone.now() - timedelta(hours=1)
AccessToken.objects.bulk_create(
    AccessToken(token_checksum=f"{n:064}", application_id=1, user_id=1, expires=ago)
    for n in range(20_000)
)
"""


def purge(*arguments: str) -> str:
    out = StringIO()
    call_command("purgetokens", "--pause", "0", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def dead(key) -> list[int]:
    """Five expired tokens of a key, the first and the last among them those with the lowest and highest number."""
    for _ in range(5):
        make_token(key)
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    return list(AccessToken.objects.values_list("pk", flat=True))


def test_expired_tokens_go_and_live_ones_stay(dead, token):  # security 63
    assert purge().startswith("5 access tokens deleted in")
    assert not AccessToken.objects.filter(pk__in=dead).exists()
    assert tokens.find(token)


def test_tokens_of_a_key_that_is_gone_go(user, other_user, token):  # security 63
    other_token = make_token(make_key(other_user))
    lifecycle.delete(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    assert purge().startswith("1 access tokens")
    assert tokens.find(other_token)


@pytest.mark.parametrize("batch", ["1", "2", "3", "5", "6"])
def test_every_size_of_batch_finds_them_all(batch, dead, token):
    AccessToken.objects.filter(pk=dead[2]).delete()  # a gap
    assert purge("--batch", batch).startswith("4 access tokens")
    assert AccessToken.objects.count() == 1


def test_no_rows_is_nothing_to_do(db):
    assert purge().startswith("0 access tokens")


def test_a_dry_run_counts_and_deletes_nothing(dead, token):
    assert purge("--dry-run", "--batch", "2").startswith("5 dead access tokens found")
    assert AccessToken.objects.count() == 6


def test_each_batch_is_one_bounded_delete_and_no_rows_are_read(dead):  # security 63
    with CaptureQueriesContext(
        connection,
    ) as queries:
        purge("--batch", "2")
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) == 3
    # The bounds of the table, then for each batch where it ends and the DELETE; nothing else.
    assert len(queries) == 1 + 2 * 3
    assert not any("COUNT" in query["sql"] for query in queries)


def test_tokens_made_meanwhile_do_not_keep_it_going(dead, key, monkeypatch):
    monkeypatch.setattr("profiles.clients.purge.time.sleep", lambda _: make_token(key))
    out = StringIO()
    call_command("purgetokens", "--pause", "1", "--batch", "1", stdout=out)
    assert out.getvalue().startswith("5 access tokens")
    assert AccessToken.objects.count() == 4


def test_stopped_by_hand_it_says_how_far_it_was(dead, monkeypatch):
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("profiles.clients.purge.time.sleep", stop)
    with pytest.raises(CommandError, match=r"Stopped: 2 access tokens deleted .* Run it again"):
        call_command("purgetokens", "--batch", "2")
    assert AccessToken.objects.count() == 3


@pytest.mark.parametrize("wrong", [["--batch", "0"], ["--batch", "x"], ["--pause", "-1"], ["--pause", "soon"]])
def test_a_wrong_number_is_refused(wrong):
    with pytest.raises(CommandError, match="please"):
        call_command("purgetokens", *wrong)


@pytest.mark.server
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_two_at_once_delete_each_row_once(database, tmp_path):  # security 63
    with nullcontext(sqlite_url(tmp_path)) if database == "sqlite" else postgres_url() as url:
        site = Server(tmp_path, url)
        site.manage("migrate", "--verbosity", "0")
        site.manage("shell", "-c", FILL)
        command = [sys.executable, "manage.py", "purgetokens", "--batch", "100", "--pause", "0"]
        both = [
            subprocess.Popen(command, cwd=ROOT, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        answers = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], answers
        deleted = [int(out.split()[0].replace(b",", b"")) for out, _ in answers]
        assert sum(deleted) == 20_000
