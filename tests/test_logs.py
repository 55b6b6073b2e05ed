"""The log: nothing that a request carries begins a line of it, and no credential is in it."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.test import Client

from airvantage_keys import request_ids
from airvantage_keys.logs import (
    EXCEPTION_AT_MOST,
    INDENT,
    LINE_AT_MOST,
    JsonFormatter,
    LineFormatter,
    MailToLog,
    SafeRecord,
)
from profiles import credentials

from .conftest import sign_in
from .routes import addresses, routes
from .server import DEMO_PASSWORD, ROOT, Server, postgres_url, running, sqlite_url
from .test_settings import value
from .visitor import Visitor

VICTIM = "f" * 32
EVENT = f"2026-01-31 12:00:00,000 INFO profiles.events.record key deleted: client_id={VICTIM} owner=x"
BREAKS = {
    "LF": "\n",
    "CR": "\r",
    "CR LF": "\r\n",
    "VT": "\v",
    "FF": "\f",
    "NUL": "\0",
    "ESC": "\x1b[2K\x1b[1G",
    "CSI": "\x9b1G",
    "NEL": "\x85",
    "LS": "\u2028",
    "PS": "\u2029",
    "file separator": "\x1c",
    "DEL": "\x7f",
    "BS": "\b" * 80,
    "right to left": "\u202e",
    "half a pair": "\udc0a",
}
# What an object can have beside the values that its message names.
HEAD = {"time", "level", "logger", "request_id", "message", "exception", "mail"}
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+ .*|    .*")


class Log(io.StringIO):
    """What the site's handler would write, in either format."""

    def __init__(self, formatter: type[logging.Formatter]) -> None:
        super().__init__()
        self.formatter = formatter

    def __enter__(self) -> Log:
        self.handler = logging.StreamHandler(self)
        self.handler.setFormatter(self.formatter())
        logging.getLogger().addHandler(self.handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.handler)

    @property
    def text(self) -> str:
        return self.getvalue() if self.formatter is LineFormatter else "".join(map(as_lines, objects(self.getvalue())))


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a log in JSON: one in each line, fit to print. Its members tell no more than its message."""
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert text.splitlines() == lines
    assert all(line.isprintable() for line in lines)
    found = [json.loads(line) for line in lines]
    for each in found:
        members = {name: value for name, value in each.items() if name not in HEAD}
        assert all(str(value) in each["message"] for value in members.values()), each
    return found


def as_lines(said: dict[str, Any]) -> str:
    """An object as the other format has it."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])  # RFC 3339
    time = said["time"].replace("T", " ").replace(".", ",").removesuffix("Z")
    request_id = f" request_id={said['request_id']}" if "request_id" in said else ""
    first = f"{time} {said['level']} {said['logger']} {said['message']}{request_id}"
    text = said.get("exception") or said.get("mail")
    more = [f"{INDENT}{line}" for line in text.split("\n")] if text else []
    return "".join(f"{line}\n" for line in [first, *more])


@pytest.fixture(params=[LineFormatter, JsonFormatter], ids=["line", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    with Log(request.param) as written:
        yield written


def fail(error: Exception) -> None:
    """Log an error with its traceback."""
    try:
        raise error
    except type(error):
        logging.getLogger("profiles.test").exception("failed: %s", error, stack_info=True)


def assert_not_forged(text: str) -> None:
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    for line in lines:
        assert LINE.fullmatch(line), line
        assert line.isprintable(), ascii(line)
        assert not line.startswith(EVENT)
    assert text.splitlines() == lines


# --- Its form -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BREAKS)
def test_what_breaks_lines_does_not_break_them(log, what, monkeypatch):  # security 78
    forged = f"x{BREAKS[what]}{EVENT}"
    logger = logging.getLogger("profiles.test")
    # Past pytest, which would hand it on to the process that reports, and that takes no half of a pair.
    monkeypatch.setattr(logger, "handlers", [log.handler])
    monkeypatch.setattr(logger, "propagate", False)
    logger.error("%s", forged)
    logger.error("%(a)s", {"a": forged})
    logger.error("%r", ValueError(forged))
    logger.error(forged)
    fail(ValueError(forged))
    assert_not_forged(log.text)
    assert log.text.count("Traceback (most recent call last):") == 1


def test_a_traceback_stays_readable(log):
    fail(ValueError("one\ntwo"))
    first, *more = log.text.splitlines()
    assert first.endswith(r"ERROR profiles.test failed: one\ntwo")
    assert more[0] == INDENT + "Traceback (most recent call last):"
    end = more.index(INDENT + "ValueError: one")
    assert more[end + 1 : end + 3] == [INDENT + "two", INDENT + "Stack (most recent call last):"]


def test_the_traceback_in_a_message_of_the_server_is_readable_too(log):
    logging.getLogger("_granian.utils").error("raised an exception\nTraceback\n  File x\nValueError: %s", "a\nb")
    assert log.text.splitlines()[1:] == [INDENT + "Traceback", INDENT + "  File x", INDENT + r"ValueError: a\nb"]


def test_what_is_fit_to_print_stays_as_it_is(log):
    said = "Zoë Ångström «été» /profile/?a=b&c=%20 \\d {} 100% ключ 鍵"
    logging.getLogger("profiles.test").warning("%s", said)
    assert log.text.endswith(f" WARNING profiles.test {said}\n")


def test_a_line_reaches_a_pipe_in_one_piece_and_keeps_what_stands_behind(log):
    logging.getLogger("profiles.test").warning("path=%s address=%s", "é" * 100_000, "203.0.113.7")
    logging.getLogger("profiles.test").warning("é" * 100_000)
    first, second = log.text.splitlines()
    assert first.endswith("... address=203.0.113.7")
    assert max(len(line.encode()) for line in log.getvalue().splitlines()) < 4096
    assert len(second.encode()) > LINE_AT_MOST


def test_every_logger_writes_in_this_form():  # security 78
    """Also those of Django, of its server and of ours, which bring handlers along."""
    code = (
        "(lambda logging: ([(name, handler) for name in ('django', 'django.server', '_granian', 'granian.access', "
        "*logging.root.manager.loggerDict) for handler in logging.getLogger(name).handlers "
        "if not isinstance(handler, logging.NullHandler)], "
        "[type(handler.formatter).__name__ for handler in logging.root.handlers]))(__import__('logging'))"
    )
    for debug in ("off", "on"):
        for form in ("Line", "Json"):
            assert value(code, DEBUG=debug, LOG_FORMAT=form) == f"([], ['{form}Formatter'])"


@pytest.mark.parametrize("what", BREAKS)
@pytest.mark.parametrize("form", ["LINE", "JSON"])
def test_a_mail_in_the_log_is_no_line_of_it(what, form, settings):  # security 78
    settings.LOG_FORMAT = form
    stream = io.StringIO()
    # What is long or holds such characters is broken into lines on its way, behind a `=` for example.
    text = f"Reason: {BREAKS[what].encode('utf-8', 'replace').decode()}{EVENT}\n" + f"{EVENT}\n" * 3 + f"={EVENT}" * 30
    MailToLog(stream=stream).send_messages([EmailMessage("Your key", text, to=["user@example.com"])])
    text = stream.getvalue()
    if form == "JSON":
        (said,) = objects(text)
        text = as_lines(said)
    assert_not_forged(text)
    assert f"{INDENT}Subject: Your key\n" in text


def test_mails_go_to_the_log_where_none_can_be_sent():
    assert value("s.EMAIL_BACKEND") == "airvantage_keys.logs.MailToLog"
    assert value("s.EMAIL_BACKEND", EMAIL_URL="smtp://h:25") == "profiles.mail.smtp.EmailBackend"


# --- What else an object has, and the id of the request -----------------------------------------------------


def test_what_a_message_names_is_a_member_of_the_object():
    with Log(JsonFormatter) as log:
        said = ("a b", 5, None, "100%")
        logging.getLogger("profiles.test").info("done 100%%: a=%s count=%d nothing=%s %s", *said)
        logging.getLogger("profiles.test").info("done: %(a)s", {"a": 1})
        logging.getLogger("profiles.test").info("level=%s time=%s", "x", "y")
    first, second, third = map(json.loads, log.getvalue().splitlines())
    assert first["message"] == "done 100%: a=a b count=5 nothing=None 100%"
    assert {name: first[name] for name in first.keys() - HEAD} == {"a": "a b", "count": 5, "nothing": None}
    assert second.keys() <= HEAD
    assert (third["level"], third["time"] != "y", third["message"]) == ("INFO", True, "level=x time=y")


def test_an_exception_is_in_the_object_and_its_end_is_kept():
    with Log(JsonFormatter) as log:
        fail(ValueError("x\n" * EXCEPTION_AT_MOST + "the end"))
    (said,) = objects(log.getvalue())
    assert "\nthe end\nStack (most recent call last):\n" in said["exception"]
    assert len(said["exception"]) == EXCEPTION_AT_MOST


def test_an_object_of_quotes_reaches_a_pipe_in_one_piece():
    with Log(JsonFormatter) as log:
        logging.getLogger("profiles.test").warning("a=%s b=%s c=%s", *['"' * 10_000] * 3)
        logging.getLogger("profiles.test").warning('"' * 10_000)
    assert max(map(len, log.getvalue().splitlines())) < 4096


def test_the_id_of_the_request_is_in_each_line(log):
    logger = logging.getLogger("profiles.test")
    logger.info("before")
    request_id = request_ids.begin({})
    logger.info("path=%s", "/x request_id=forged")
    logger.handle(SafeRecord(logger.name, logging.INFO, "call", {"status": 200}))
    before, *within = log.text.splitlines()
    assert before.endswith(" before")
    assert [line.rpartition(" request_id=")[2] for line in within] == [request_id] * 2
    assert within[1].endswith(f" INFO profiles.test call: status=200 request_id={request_id}")


# --- Credentials --------------------------------------------------------------------------------------------

LINK = "q3n-c0de1f2a3b-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
RESET, CONFIRM = f"/accounts/password/reset/key/{LINK}/", f"/accounts/email/confirm/{LINK}/"
MANGLED = ("{}", "/{}", "{}x", "{}/", "{}%20", "{}>", "{}%0a", "{}?a=b", "/en{}", "{}%00")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def mangled(path: str) -> Iterator[str]:
    """The address as mail programs, proxies and people make it."""
    yield from (form.format(path) for form in MANGLED)
    yield path.rstrip("/")
    yield path.upper().replace(LINK.upper(), LINK)
    yield path.replace("/", "//")
    yield path.replace(f"/{LINK}", f"%2F{LINK}")
    yield path.replace(LINK, f"%20{LINK}")
    yield path.replace("-", "-%20")
    yield path.replace("-", "-%0a")
    yield path.replace(f"/{LINK}", LINK)
    yield f"/accounts/login/?next={path}"
    yield f"/accounts/login/?next={quote(path, safe='')}"
    yield f"/accounts/login/nothing?next={quote(quote(path, safe=''), safe='')}"


def parts_of_link(text: str) -> list[str]:
    return [part for part in LINK.split("-") if part in text]


def test_a_link_that_is_a_credential_is_hidden_in_any_text(log):  # security 80
    logger = logging.getLogger("profiles.test")
    for path in [path for address in (RESET, CONFIRM) for path in mangled(address)]:
        logger.warning("Not Found: %s", path)
        logger.warning("%(path)s %(code)d", {"path": path, "code": 404})
        logger.warning("Forbidden (Referer checking failed - https://a.example%s does not match.): %s", path, "/x/")
        fail(ValueError(f"no match for {path}"))
    assert parts_of_link(log.text) == []
    assert log.text.count("[hidden]") >= 4 * 2 * 20


def test_what_one_value_hides_leaves_the_others(log):  # security 80
    logging.getLogger("profiles.test").warning("path=%s address=%s", f"/email/confirm/x {LINK}", "203.0.113.7")
    assert log.text.endswith("path=/email/confirm[hidden] address=203.0.113.7\n")


def test_secrets_and_tokens_are_hidden_in_any_text(log):  # security 3, 9, 80
    logger = logging.getLogger("profiles.test")
    for credential in (credentials.new_secret(), credentials.new_token()):
        encoded = credential.replace("_", "%5F")
        for said in (credential, credential[:20], f"?a={credential}&b=c", f"x{credential}", encoded):
            logger.warning("a %s b", said)
            logger.warning("a %s b", ValueError(said))
            logger.warning("a " + said + " b")  # noqa: G003 - a message that was put together by somebody else
            fail(ValueError(said))
        assert credential[4:12] not in log.text
    assert re.search(r"a avs_\[hidden\] b\n", log.text)
    assert re.search(r"a avt_\[hidden\] b\n", log.text)


def test_a_flood_of_slashes_is_written_at_once(log):
    for flood in (
        "/" * 200_000,
        "/password" * 20_000,
        "/password/reset" + "/" * 200_000,
        "%25" * 100_000,
        "avs_" * 50_000,
    ):
        logging.getLogger("profiles.test").warning("%s", flood)
        logging.getLogger("profiles.test").warning(flood)
    assert len(log.text) < 10 * 4096


def test_every_parameter_of_an_address_is_known_to_be_none_or_a_hidden_one():  # security 80
    """A new address with a credential in it has to be added to `logs`."""
    credential = dict.fromkeys(("uidb36", "key", "link"), "CREDENTIAL")
    harmless = {"pk", "object_id", "user_id", "app_label", "content_type_id", "url", "uid", "size", "client_id"}
    assert {name for route in routes() for name in route.parameters} == harmless | set(credential)
    marked = [path for path in addresses(**credential) if "CREDENTIAL" in path]
    assert len(marked) == 2
    for path in marked:
        record = logging.LogRecord("x", logging.INFO, "", 0, "path=%s", (path,), None)
        assert "CREDENTIAL" not in LineFormatter().format(record)
        assert "CREDENTIAL" not in JsonFormatter().format(record)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error", [None, ValueError(RESET + CONFIRM), OperationalError("away")], ids=["none", "500", "503"]
)
def test_no_way_to_fail_logs_a_link_that_is_a_credential(log, user, monkeypatch, error):  # security 80
    if error:

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("profiles.account.email.waiting", fail)
        monkeypatch.setattr("profiles.account.passwords.PasswordFromMail.dispatch", fail)
    browsers = [Client(raise_request_exception=False, enforce_csrf_checks=checks) for checks in (False, True)]
    sign_in(browsers[0], user)
    statuses = set()
    for browser in browsers:
        for path in [path for address in (RESET, CONFIRM) for path in mangled(address)]:
            for method in METHODS if path in (RESET, CONFIRM) else ("GET", "POST"):
                for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
                    response = browser.generic(method, path, headers=headers)
                    statuses.add(response.status_code)
    assert {200, 301, 400, 403, 404} <= statuses
    if error:
        assert (503 if isinstance(error, OperationalError) else 500) in statuses
    assert parts_of_link(log.text) == []
    assert "Forbidden (CSRF cookie not set.): /accounts/password/reset/key[hidden] request_id=" in log.text


@pytest.mark.django_db
def test_a_link_that_is_a_credential_is_told_to_no_other_site():  # security 56, 80
    for path in (RESET, CONFIRM):
        assert Client().get(path, follow=True).headers["Referrer-Policy"] == "same-origin"


# --- The running server, and what docs/operations.md tells to do with its log -------------------------------

RUNBOOK = (ROOT / "docs/operations.md").read_text()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "json"])
def logged_server(request, tmp_path: Path) -> Iterator[Server]:
    """A running site that writes down all it can: mails, and each request with its query and User-Agent."""
    all_there_is = {
        "LOG_FORMAT": "json" if request.param == "json" else "line",
        "EMAIL_URL": "consolemail://",
        "LOG_LEVEL": "DEBUG",
        "GRANIAN_LOG_ACCESS_ENABLED": "true",
        "GRANIAN_LOG_ACCESS_FMT": '%(addr)s "%(method)s %(path)s?%(query_string)s" %(status)d %(header{user-agent})s',
    }
    if request.param != "postgres":
        with running(tmp_path, sqlite_url(tmp_path), **all_there_is) as server:
            yield server
    else:
        with postgres_url() as url, running(tmp_path, url, **all_there_is) as server:
            yield server


def told(beginning: str) -> str:
    """The one command of the runbook that begins so."""
    (command,) = re.findall(rf"^ +({re.escape(beginning)}.*)$", RUNBOOK, re.MULTILINE)
    return str(command)


def listed(folder: Path, command: str) -> list[str]:
    """The Client IDs that the command finds, by what it is told to write into client-ids.txt."""
    command = command.replace("python3", sys.executable)
    subprocess.run(["bash", "-ec", command], cwd=folder, check=True)
    return (folder / "client-ids.txt").read_text().split()


def send(server: Server, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request)
        while connection.recv(1 << 16):
            pass


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


@pytest.mark.server
def test_the_runbook_finds_what_was_done_and_nothing_that_was_made_up(logged_server, tmp_path):  # security 78, 80
    server = logged_server
    visitor = Visitor(server.url).sign_in("user@demo.example")
    regenerated, _secret = visitor.create()
    visitor.regenerate()
    visitor.delete()
    revoked, secret = visitor.create()

    forgeries = [f"x{breaks}{EVENT}" for breaks in BREAKS.values()]
    for forged in forgeries:
        said = forged.encode("utf-8", "replace").decode()
        plain = re.sub(r"[\x00-\x1f\x7f]", "\t", forged)  # what a header may hold
        for path in (f"/{escaped(forged)}", f"/api/{escaped(forged)}", f"/api/v1/users/{escaped(forged)}/picture/icon"):
            send(
                server,
                f"GET {path}?q={escaped(forged)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                f"Authorization: Bearer {escaped(forged)}\r\nUser-Agent: {plain}\r\nReferer: {plain}\r\n\r\n".encode(
                    "utf-8", "surrogatepass"
                ),
            )
        requests.post(
            f"{server.url}/api/oauth/token",
            data={
                "grant_type": "client_credentials",
                "client_id": said,
                "client_secret": "x",
            },
            timeout=60,
        )
        visitor.post("/profile/edit/", {"name": said, "job_title": said})
        visitor.post("/accounts/password/reset/", {"email": said})
    visitor.submit("/profile/edit/", "/profile/edit/", name=EVENT, job_title=EVENT)
    Visitor(server.url).submit("/accounts/login/", "/accounts/login/", login=f'"{EVENT}"@a.example', password=EVENT)

    commands = [
        ["revokekeys", "--owner", "user@demo.example", "--yes", "--reason", EVENT],
        ["revokekeys", "--owner", f"x\n{EVENT}", "--yes", "--reason", "x"],
        ["revokekeys", "--company", f"x\u2028{EVENT}", "--yes", "--reason", "x"],
        ["createkey", f"x\n{EVENT}"],
        ["createkey", "user@demo.example", f"\n{EVENT}"],
        ["exportevents", "--since", f"\n{EVENT}"],
        ["exportevents", "--format", f"\n{EVENT}"],
        ["exportevents", "--output", f"nowhere/\n{EVENT}"],
    ]
    with server.log.open("ab") as kept:
        for command in commands:
            subprocess.run(
                [sys.executable, "manage.py", *command],
                cwd=ROOT,
                env=server.environment,
                stdout=subprocess.DEVNULL,
                stderr=kept,
                check=False,
            )
    server.stop()

    text = server.log.read_text()
    assert text.count(VICTIM) > 100  # it was tried
    in_json = server.environment["LOG_FORMAT"] == "json"
    finds = told("jq -rR" if in_json else "LC_ALL=C sed")
    assert listed(tmp_path, finds) == [regenerated, regenerated, revoked]
    assert secret not in text
    assert DEMO_PASSWORD not in text
    # Beside lines of the log there is what commands say, and the server's first process, which sees no request.
    others = re.compile(
        (r"(" if in_json else r"(\[(INFO|WARNING)\]|")
        + r"usage:|(revokekeys|createkey|exportevents|manage\.py|CommandError|[0-9]+ mails)\b| ).*"
    )
    for line in text.splitlines():
        written = objects(f"{line}\n") if in_json and line.startswith("{") else LINE.fullmatch(line)
        assert written or others.fullmatch(line), line
        assert not line.startswith(EVENT), line


@pytest.mark.server
def test_no_link_that_is_a_credential_is_in_the_log_of_the_running_server(logged_server):  # security 80
    server = logged_server
    code = (
        "from allauth.account.forms import default_token_generator as g; from allauth.account.utils import "
        "user_pk_to_url_str as p; from profiles.models import User; u = User.objects.get(email='user@demo.example'); "
        "print(f'{p(u)}-{g.make_token(u)}')"
    )
    real = server.manage("shell", "--verbosity", "0", "-c", code).strip()
    for link in (real, LINK):
        for path in [path for address in (RESET, CONFIRM) for path in mangled(address)]:
            for method in METHODS:
                request = f"{method} {path.replace(LINK, link)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                send(server, f"{request}Content-Length: 0\r\nReferer: {server.url}{RESET}\r\n\r\n".encode())
    text = server.log.read_text()
    assert text.count("key[hidden]") > 100
    assert parts_of_link(text) == []
    assert not [part for part in real.split("-")[1:] if part in text]


def test_the_runbook_reads_exported_events_by_their_columns(tmp_path):  # security 78
    lost = f"time,action,client_id,owner_uid,reason\r\n1,deleted,{'a' * 32},u,x\r\n"
    lost += f'2,created,{"b" * 32},u,"x\n3,deleted,{VICTIM},u,"\r\n4,regenerated,{"c" * 32},u,x\r\n'
    lost += "5,password_refused,,u,\r\n"
    (tmp_path / "lost.csv").write_text("\ufeff" + lost, newline="")
    command = told('python3 -c "import csv;')
    assert listed(tmp_path, command) == ["a" * 32, "c" * 32]
