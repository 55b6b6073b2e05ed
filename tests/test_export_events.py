"""manage.py exportevents, and the formats it shares with the admin site."""

from __future__ import annotations

import csv
import json
import re
import shlex
import stat
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from profiles.clients import company, lifecycle
from profiles.events import append_only
from profiles.events import export as exporting
from profiles.models import KeyEvent, OAuthApplication
from profiles.origin import Origin

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
    lifecycle.delete(owner=user, origin=Origin(user, KeyEvent.Via.PAGE, "203.0.113.7", "=cmd|' /C calc'!A0"))
    make_key(other_user)
    days = [
        datetime(2026, 1, 10, tzinfo=UTC),
        datetime(2026, 1, 20, 9, 30, tzinfo=UTC),
        datetime(2026, 2, 1, tzinfo=UTC),
    ]
    connection.check_constraints()  # PostgreSQL alters no table with checks that are still to be made
    append_only.lift(connection)  # which comes back with the end of the test
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


def test_events_of_an_api_client_name_it_and_its_company(manager, client_profile, api_client):
    about = company.About("Hourly export", "", client_profile)
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    company.edit(company=manager.company, client_id=api_client.client_id, about=about, origin=origin)
    created, edited = csv.DictReader(StringIO(export()))
    assert created["client_id"] == api_client.client_id
    assert (created["client_name"], created["detail"]) == ("Nightly export", "")
    assert (created["owner_uid"], created["owner_email"]) == (manager.company.uid, "")
    assert (created["owner_company"], created["actor_email"]) == ("Fleet Ltd", manager.email)
    assert (edited["action"], edited["client_name"]) == ("edited", "Hourly export")
    assert edited["detail"] == "name: Nightly export → Hourly export"


def test_new_columns_come_after_those_that_programs_know():
    known = "time,action,client_id,owner_uid,owner_email,owner_company,actor_uid,actor_email,via,address,user_agent"
    assert ",".join(exporting.COLUMNS) == f"{known},reason,old_secret,client_name,detail"


def test_json_lines_have_the_same_but_untouched(events):
    rows = [json.loads(line) for line in export("--format", "jsonl").splitlines()]
    assert [row["action"] for row in rows] == ["created", "deleted", "created"]
    assert list(rows[0]) == list(exporting.COLUMNS)
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
    monkeypatch.setattr(exporting, "ROWS_AT_A_TIME", 1)
    assert export() == whole


def test_newest_first_for_who_asks(events):
    parts = exporting.in_parts(KeyEvent.objects.all(), newest_first=True)
    assert [event.pk for part in parts for event in part] == list(KeyEvent.objects.values_list("pk", flat=True))


def test_a_file_is_whole_new_and_private(events, tmp_path):
    file = tmp_path / "events.csv"
    assert export("--output", str(file)).startswith("3 key events written")
    # With a byte order mark, for spreadsheets; standard output is for programs.
    assert file.read_bytes().decode() == "\ufeff" + export()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(CommandError, match="there already"):
        export("--output", str(file))
    lines = tmp_path / "events.jsonl"
    export("--format", "jsonl", "--output", str(lines))
    assert lines.read_text() == export("--format", "jsonl")


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


NO_DATES = [
    "",
    "0000-01-01",
    "-1-01-01",
    "-0001-01-01",
    "10000-01-01",
    "99999999-01-01",
    "0001-01-01T00:00:00+00:01",
    "0001-01-01T13:00+14:00",
    "9999-12-31T23:59:59-00:01",
    "2026-13-01",
    "2026-01-31T25:00",
    "2026-01-31T12:00+24:00",
    "2026-01-31T12:00+99:99",
    "2026-01-31T12:00 Europe/Paris",
    "2026-01-31T12:00CET",
    "2026-01-31T12:00+1",
    "2026-01-31+01:00",
    "2026-01-31\n",
    "T",
    "1767225600",
    "2026-01-31T12:00:00+01:00[Europe/Paris]",
]


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_told_in_a_sentence(option, text):
    with pytest.raises(CommandError) as told:
        export(f"{option}={text}")
    assert str(told.value).startswith(f"Error: argument {option}: {text!r} is no date such as 2026-01-31")


@pytest.mark.parametrize(
    "text", ["0001-01-01", "0001-01-01T00:00-00:01", "9999-12-31T23:59:59", "9999-12-31T23:59+23:59"]
)
def test_the_first_and_the_last_date_there_is_are_dates(text, events):
    assert int(export("--dry-run", f"--since={text}").split()[0]) in (0, 3)
    export(f"--until={text}")


def test_a_wrong_option_is_exit_code_2_and_no_traceback():
    command = [sys.executable, "manage.py", "exportevents", "--since", "0000-01-01"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(
        "manage.py exportevents: error: argument --since: '0000-01-01' is no"
    )
    assert "Traceback" not in done.stderr


Action = KeyEvent.Action
# All others end a secret: without the runbook, each of these secrets would live again after a restore.
ENDS_NO_SECRET = {
    Action.CREATED,
    Action.PASSWORD_REFUSED,
    Action.TOKEN_LEAKED,  # a restore ends all tokens
    Action.NEW_ADDRESS,
    Action.UNUSED,
    Action.SECRET_TOO_OLD,
    Action.EDITED,
    Action.DISABLED,
    Action.ENABLED,
    Action.INTROSPECTION_GIVEN,
    Action.INTROSPECTION_TAKEN,
}


def test_the_commands_of_the_runbook_find_whatever_ended_a_secret():
    runbook = (ROOT / "docs/operations.md").read_text()
    [from_events] = re.findall(r"event\['action'\] in \((.*?)\)", runbook)
    found = [set(re.findall(r"\w+", from_events))]
    found += [set(names.split("|")) for names in re.findall(r"key \((deleted\|.*?)\)", runbook)]
    assert found == [set(Action) - ENDS_NO_SECRET] * 3


def test_the_commands_of_the_runbook_read_that_file(events, other_user, tmp_path):
    """From the export before a restore to the keys that are revoked after it, by the lines of docs/operations.md."""
    runbook = (ROOT / "docs/operations.md").read_text()
    [list_them] = re.findall(r"^ +python3 (-c .*DictReader.*)$", runbook, re.MULTILINE)
    [name] = re.findall(r"open\('(\S+\.csv)'", list_them)
    [revoke] = re.findall(r"manage (revokekeys --listed client-ids.txt.*)$", runbook, re.MULTILINE)[-1:]
    lifecycle.regenerate(
        owner=other_user, origin=Origin(other_user, KeyEvent.Via.PAGE), version=lifecycle.version(other_user)
    )
    export("--output", str(tmp_path / name))
    subprocess.run(["bash", "-c", f"{sys.executable} {list_them}"], cwd=tmp_path, check=True)
    ended = KeyEvent.objects.exclude(action="created").values_list("client_id", flat=True)
    assert sorted((tmp_path / "client-ids.txt").read_text().split()) == sorted(ended)

    command = [part.replace("client-ids.txt", str(tmp_path / "client-ids.txt")) for part in shlex.split(revoke)]
    out = StringIO()
    call_command(*command, "--yes", stdout=out)
    assert out.getvalue().startswith("1 revoked, of 1 key in")
    assert not OAuthApplication.objects.exists()


def test_a_list_that_a_spreadsheet_saved_is_read_too(key, tmp_path):
    listed = tmp_path / "listed.csv"
    listed.write_text(f"\ufeff{key.client_id}\r\n", encoding="utf-8")
    out = StringIO()
    call_command("revokekeys", "--listed", str(listed), "--reason", "x", "--dry-run", stdout=out)
    assert out.getvalue().endswith("1 key would be revoked.\n")


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
    assert exporting.harmless(cell) == written


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
    assert (done.returncode, done.stdout, done.stderr) == (0, ",".join(exporting.COLUMNS) + "\n", "")
