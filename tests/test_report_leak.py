"""manage.py reportleak: what stands in a file ends, and no more is said than how much it was."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from profiles import credentials
from profiles.clients import leaks, tokens
from profiles.models import KeyEvent

from .conftest import KeyPair, make_token, works
from .server import ROOT, Server, sqlite_url

pytestmark = pytest.mark.django_db


def report(file: Path, content: bytes | str, *options: str) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = StringIO()
    call_command("reportleak", str(file), *options, stdout=out)
    return out.getvalue()


def said(found: int, secrets: int, ended: int) -> str:
    return f"credentials: {found}\nsecret keys ended: {secrets}\naccess tokens ended: {ended}\n"


def lines(key: KeyPair, token: str) -> str:
    return f"\ufeff{key.secret}\r\n\r\n  {token}  \nnonsense\nhttps://x:{credentials.new_secret()}@keys.example/\n"


def as_credentials(key: KeyPair, token: str) -> str:
    return json.dumps({"credentials": [key.secret, token, "nonsense", credentials.new_secret()]})


def as_github(key: KeyPair, token: str) -> str:
    return "\n" + json.dumps([{"token": text} for text in (key.secret, token, "nonsense", credentials.new_token())])


@pytest.mark.parametrize("written", [lines, as_credentials, as_github])
def test_what_stands_in_a_file_ends(written, key, api_client, tmp_path):  # security 65
    token = make_token(api_client)
    text = written(key, token)
    assert report(tmp_path / "found", text) == said(3, 1, 1)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    assert report(tmp_path / "found", text) == said(3, 0, 0)
    assert KeyEvent.objects.filter(action__contains="leaked").count() == 2


def test_standard_input_is_read(key, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(key.secret.encode())))
    out = StringIO()
    call_command("reportleak", "-", stdout=out)
    assert out.getvalue() == said(1, 1, 0)


def test_there_may_be_more_than_in_a_report(key, tmp_path):
    many = [credentials.new_token() for _ in range(leaks.AT_MOST + 1)]
    assert report(tmp_path / "found", json.dumps({"credentials": [*many, key.secret]})).startswith("credentials: 1,002")
    assert not works(key.client_id, key.secret)


def test_the_event_says_who_ran_it_and_where_it_was_found(user, key, api_client, tmp_path):
    report(tmp_path / "found", key.secret, "--source", " a ticket ")
    event = user.key_events.get(action="leaked")
    assert (event.via, event.detail) == ("command", "source: a ticket")
    assert event.user_agent.startswith("manage.py reportleak, run by ")
    report(tmp_path / "found", json.dumps([{"token": api_client.secret, "source": "wiki"}]), "--source", "a ticket")
    assert KeyEvent.objects.get(client_id=api_client.client_id, action="leaked").detail == "source: wiki"


@pytest.mark.parametrize(
    "content",
    [
        "[client]\nsecret = {}\n",
        '{{"secret": "{}"}}',
        '{{"credentials": 1, "other": "{}"}}',
        '{{"credentials": ["{}"',
        '[{{"token": "x"}}, "{}"]',
        '[{{"token": "x", "token": "{}"}}]',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_is_no_report_is_text_in_which_some_stand(content, encoding, key, tmp_path):
    assert report(tmp_path / "found", content.format(key.secret).encode(encoding)) == said(1, 1, 0)
    assert not works(key.client_id, key.secret)


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_a_report_may_be_in_utf_16(order, key, tmp_path):  # as Windows PowerShell writes it
    text = "\ufeff" + json.dumps([{"token": key.secret, "source": "wiki"}])
    assert report(tmp_path / "found", text.encode(order)) == said(1, 1, 0)
    assert KeyEvent.objects.get(action="leaked").detail == "source: wiki"


def test_bytes_that_are_no_text_do_no_harm(key, tmp_path):
    found = b"caf\xe9 \xff\x00 " + key.secret.encode() + b"\xe9\n"
    assert report(tmp_path / "found", found) == said(1, 1, 0)


def test_a_file_that_cannot_be_read_is_told():
    with pytest.raises(CommandError, match=r"could not be read: .*No such file"):
        call_command("reportleak", "nothing/there")


@pytest.mark.parametrize("source", ["x" * 61, "a\tb", "SECRET"])
def test_a_source_that_cannot_be_kept_is_refused(source, key, tmp_path):
    with pytest.raises(CommandError) as refused:
        report(tmp_path / "found", key.secret, "--source", key.secret if source == "SECRET" else source)
    assert key.secret not in str(refused.value)
    assert works(key.client_id, key.secret)


@pytest.mark.server
def test_what_it_prints_has_no_credential_and_its_exit_code_tells(tmp_path):
    site = Server(tmp_path, sqlite_url(tmp_path), LOG_LEVEL="DEBUG")
    del site.environment["EMAIL_URL"]  # mails go to the log
    site.prepare()
    secret = site.manage("createkey", "user@demo.example").split("CLIENT_SECRET=")[1].strip()

    def run(*arguments: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "reportleak", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=site.environment, input=sent, capture_output=True, text=True, check=False
        )

    done = run("-", sent=f"{secret}\n")
    assert (done.returncode, done.stdout) == (0, said(1, 1, 0))
    assert "found by somebody, and has been ended" in done.stderr
    assert secret not in done.stderr
    again = run("-", sent=f"{secret}\n")
    assert (again.returncode, again.stdout) == (0, said(1, 0, 0))
    refused = run(str(tmp_path / "nothing"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert run().returncode == 2
