"""What a program reads from a command's stdout is its result and nothing else; all the rest goes to stderr."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from profiles import credentials
from profiles.events import export

from .server import ROOT, Server, postgres_url, sqlite_url

# All that could write something: mails to the log, each line of it, every warning.
TALKATIVE = {"LOG_LEVEL": "DEBUG", "PYTHONWARNINGS": "always", "PYTHONDEVMODE": "1"}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site with its users that sends no mail, as it is when `EMAIL_URL` is not set."""
    folder = tmp_path_factory.mktemp("site")

    def prepared(url: str) -> Server:
        server = Server(folder, url)
        del server.environment["EMAIL_URL"]
        server.prepare()
        server.environment |= TALKATIVE
        return server

    if request.param == "sqlite":
        yield prepared(sqlite_url(folder))
    else:
        with postgres_url() as url:
            yield prepared(url)


def run(site: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=site.environment, capture_output=True, text=True, check=False)


@pytest.mark.server
def test_createkey_prints_its_two_lines_and_the_mail_goes_to_stderr(site):  # security 3
    secrets = []
    for options, word in (((), "created"), (("--regenerate",), "regenerated")):
        done = run(site, "createkey", "user@demo.example", *options)
        assert done.returncode == 0, done.stderr
        first, second, nothing = done.stdout.split("\n")
        assert re.fullmatch(f"CLIENT_ID={credentials.CLIENT_ID_PATTERN}", first)
        assert re.fullmatch(f"CLIENT_SECRET={credentials.SECRET_PATTERN}", second)
        assert nothing == ""
        secrets.append(second.partition("=")[2])
        assert re.search(rf"^    Subject: .*{word}$", done.stderr, re.MULTILINE)
        assert re.search(rf"^\d.* INFO profiles\.events\.record key {word}: {first.lower()}", done.stderr, re.MULTILINE)
        assert secrets[-1] not in done.stderr
    assert len(set(secrets)) == 2


@pytest.mark.server
def test_a_command_that_fails_prints_nothing(site):
    done = run(site, "createkey", "nobody@demo.example")
    assert (done.returncode, done.stdout) == (1, "")
    assert "CommandError: No user has the e-mail address nobody@demo.example." in done.stderr


@pytest.mark.server
def test_exportevents_prints_events_and_nothing_else(site):
    client_id = run(site, "createkey", "other@demo.example").stdout[10:42]
    done = run(site, "revokekeys", "--owner", "other@demo.example", "--reason", "x", "--dry-run")
    assert done.stdout == f"{client_id}  other@demo.example  never used\n1 key would be revoked.\n"
    run(site, "revokekeys", "--owner", "other@demo.example", "--reason", "x", "--yes")
    done = run(site, "exportevents")
    rows = list(csv.reader(done.stdout.splitlines()))
    assert tuple(rows[0]) == export.COLUMNS
    assert [row[1] for row in rows[1:] if row[2] == client_id] == ["created", "revoked"]
    done = run(site, "exportevents", "--format", "jsonl")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["action"] for event in events if event["client_id"] == client_id] == ["created", "revoked"]


@pytest.mark.server
def test_mails_of_every_kind_go_to_stderr(site):
    done = run(site, "sendtestemail", "user@demo.example")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.search(r"^    To: user@demo\.example$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("breaks", ["\n", "\r", "\x1b[1G", "\x85", "\u2028"])
@pytest.mark.parametrize("name", ["createkey", "revokekeys", "exportevents", "purgetokens", "afterrestore", "demodata"])
def test_what_a_command_is_given_begins_no_line_of_what_it_says(capsys, name, breaks):  # security 78
    forged = f"x{breaks}2026-01-31 12:00:00,000 INFO profiles.events.record key deleted: client_id={'f' * 32} owner=x"
    command = load_command_class(get_commands()[name], name)
    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", name, forged])
    said = f"{name}: an argument holds a line break, or another character that is no text.\n"
    assert capsys.readouterr() == ("", said)


def test_what_a_command_says_of_an_error_is_one_line(capsys):  # security 78
    command = load_command_class("profiles", "createkey")
    command.stderr.write(str(CommandError("The database failed (LINE 1:\n2026-01-31 12:00:00,000 INFO)\x1b[1G")))
    assert capsys.readouterr().err.count("\n") == 1
