"""manage.py exportevents, and the formats it shares with the admin site."""

from __future__ import annotations

import csv
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from profiles import event_export, keys
from profiles.http import Origin
from profiles.models import KeyEvent

from .conftest import make_key
from .server import ROOT, Server, sqlite_url

pytestmark = pytest.mark.django_db


def export(*arguments: str) -> str:
    out = StringIO()
    call_command("exportevents", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def events(user, other_user) -> None:
    """A key made on 10 January and deleted on the 20th, another made on 1 February."""
    make_key(user)
    keys.delete(owner=user, origin=Origin(user, KeyEvent.Via.PAGE, "203.0.113.7", "=cmd|' /C calc'!A0"))
    make_key(other_user)
    days = [
        datetime(2026, 1, 10, tzinfo=UTC),
        datetime(2026, 1, 20, 9, 30, tzinfo=UTC),
        datetime(2026, 2, 1, tzinfo=UTC),
    ]
    for event, day in zip(KeyEvent.objects.order_by("pk"), days, strict=True):
        super(type(KeyEvent.objects.all()), KeyEvent.objects.filter(pk=event.pk)).update(time=day)


def test_csv_has_every_event_oldest_first_in_utc(events, user):
    rows = list(csv.DictReader(StringIO(export())))
    assert [row["action"] for row in rows] == ["created", "deleted", "created"]
    assert rows[1]["time"] == "2026-01-20T09:30:00.000+00:00"
    assert rows[1]["owner_email"] == rows[1]["actor_email"] == user.email
    assert rows[1]["owner_company"] == "Fleet Ltd"
    assert rows[1]["address"] == "203.0.113.7"
    assert rows[1]["user_agent"] == "'=cmd|' /C calc'!A0"


def test_json_lines_have_the_same_but_untouched(events):
    rows = [json.loads(line) for line in export("--format", "jsonl").splitlines()]
    assert [row["action"] for row in rows] == ["created", "deleted", "created"]
    assert list(rows[0]) == list(event_export.COLUMNS)
    assert rows[1]["user_agent"] == "=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--since", "2026-01-20"], 2),
        (["--since", "2026-01-20T09:30:01"], 1),
        (["--until", "2026-02-01"], 2),
        (["--since", "2026-01-20T10:30:00+01:00", "--until", "2026-01-20T09:31:00Z"], 1),
        (["--since", "2027-01-01"], 0),
    ],
)
def test_since_is_included_and_until_is_not(arguments, found, events):
    assert len(export("--format", "jsonl", *arguments).splitlines()) == found
    assert export("--dry-run", *arguments) == f"{found} key events would be written.\n"


def test_many_parts_are_one_file(events, monkeypatch):
    whole = export()
    monkeypatch.setattr(event_export, "ROWS_AT_A_TIME", 1)
    assert export() == whole


def test_newest_first_for_who_asks(events):
    parts = event_export.in_parts(KeyEvent.objects.all(), newest_first=True)
    assert [event.pk for part in parts for event in part] == list(KeyEvent.objects.values_list("pk", flat=True))


def test_a_file_is_whole_new_and_private(events, tmp_path):
    file = tmp_path / "events.csv"
    assert export("--output", str(file)).startswith("3 key events written")
    assert file.read_bytes().decode() == export()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(CommandError, match="there already"):
        export("--output", str(file))


def test_a_file_that_fails_is_not_left_in_halves(events, tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("profiles.management.commands.exportevents.os.fsync", fail)
    with pytest.raises(CommandError, match="No space left"):
        export("--output", str(tmp_path / "events.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_made_is_told(events, tmp_path):
    with pytest.raises(CommandError, match="could not be written"):
        export("--output", str(tmp_path / "no" / "events.csv"))


@pytest.mark.parametrize("wrong", [["--since", "yesterday"], ["--until", "2026-02-30"], ["--format", "xml"]])
def test_what_cannot_be_right_is_refused(wrong):
    with pytest.raises(CommandError):
        export(*wrong)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),  # full-width =
        ("a;=1", "a;'=1"),
        ("a, +1", "a,' +1"),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
        ("2026-01-10T00:00:00.000+00:00", "2026-01-10T00:00:00.000+00:00"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula_to_a_spreadsheet(cell, written):
    assert event_export.harmless(cell) == written


@pytest.mark.server
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    site = Server(tmp_path, sqlite_url(tmp_path))
    site.manage("migrate", "--verbosity", "0")
    fill = (
        "from profiles.models import KeyEvent\n"
        "KeyEvent.objects.bulk_create("
        "KeyEvent(action='created', owner_uid='0'*32, via='page', user_agent='x'*200) for _ in range(5000))"
    )
    site.manage("shell", "-c", fill)
    done = subprocess.run(
        f"set -o pipefail; {sys.executable} manage.py exportevents | head -n 1",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, ",".join(event_export.COLUMNS) + "\n", "")
