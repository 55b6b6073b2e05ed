"""The address for finders: whatever is reported, the answer is the same, at the same time; and what it does is done."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import requests
from django.test import Client

from profiles import credentials
from profiles.api.leak_reports import STEP
from profiles.http import delays, parameters
from profiles.limits import leak_reports
from profiles.models import FailureCount, KeyEvent

from .api import CURRENT, assert_api_error, get
from .conftest import make_token, works
from .server import Server
from .test_openapi import check_answer

pytestmark = pytest.mark.django_db

REPORT = "/api/credentials/revoke"
ACCEPTED = b'{"status":"accepted"}'

_client = Client()


def post(body: Any, address: str = "198.51.100.9", query: str = "", **headers: str) -> Any:
    """A report: as JSON, or these bytes."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra: Any = {"REMOTE_ADDR": address, "QUERY_STRING": query}
    return _client.generic("POST", REPORT, sent, content_type="application/json", headers=headers, **extra)


def forms(*found: str) -> list[Any]:
    return [
        {"credentials": list(found)},
        [{"token": each, "type": "airvantage", "url": "https://x.example/a", "source": "content"} for each in found],
    ]


# --- What is answered -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0, 1])
def test_the_answer_is_the_same_whatever_is_reported(key, api_client, form):  # security 65, 86
    token = make_token(api_client)
    dead = make_token(api_client)
    post({"credentials": [dead]})
    reports = {
        "live": [key.secret, token],
        "dead": [dead],
        "unknown": [credentials.new_secret(), credentials.new_token(), credentials.new_secret("avc_")],
        "malformed": [key.secret[:-1], "", "x", "\0"],
        "none": [],
        "again": [key.secret, token],
    }
    answers = {name: post(forms(*found)[form]) for name, found in reports.items()}
    for response in answers.values():
        assert (response.status_code, response.content) == (202, ACCEPTED)
        check_answer(response, REPORT, "post")
    but_its_number = [{**response.headers, "X-Request-ID": ""} for response in answers.values()]
    assert but_its_number == but_its_number[:1] * len(reports)
    assert not works(key.client_id, key.secret)
    assert get(CURRENT, token).status_code == 401
    assert works(api_client.client_id, api_client.secret)


def test_the_event_has_the_reporter_and_what_they_say(key):
    post(forms(key.secret)[1], user_agent="GitHub-Hookshot/1")
    event = KeyEvent.objects.get(action="leaked")
    assert (event.via, event.address, event.user_agent) == ("report", "198.51.100.9", "GitHub-Hookshot/1")
    assert event.detail == "type: airvantage; url: https://x.example/a; source: content"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_the_media_type_does_not_matter(key, content_type):
    body = json.dumps({"credentials": [key.secret]})
    assert _client.generic("POST", REPORT, body, content_type=content_type).status_code == 202
    assert not works(key.client_id, key.secret)


def test_nobody_has_to_sign_in_and_whoever_does_is_not_asked(key, token):
    for authorization in (f"Bearer {token}", key.basic, "Basic x", "nonsense"):
        assert post({"credentials": []}, authorization=authorization).status_code == 202
    assert works(key.client_id, key.secret)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "request.malformed"),
        (b"\xff", 400, "request.malformed"),
        (b'{"credentials": [], "credentials": []}', 400, "request.malformed"),
        (b"[" * 60_000, 400, "request.malformed"),
        ({"credentials": "x"}, 400, "credentials.invalid"),
        (["x"], 400, "credentials.invalid"),
        ({"credentials": ["x"] * 1001}, 400, "credentials.invalid"),
        (b" " * (parameters.REPORT_AT_MOST + 1), 413, "request.too.long"),
    ],
)
def test_what_is_no_list_of_credentials_is_refused_in_the_form_of_the_api(body, status, code):  # security 65
    response = post(body)
    assert_api_error(response, status, code)
    check_answer(response, REPORT, "post")


def test_as_much_is_taken_as_is_said():
    body: bytes = json.dumps({"credentials": ["x"] * 1000}).encode()
    assert post(body.ljust(parameters.REPORT_AT_MOST)).status_code == 202


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("token=avt_x", "token.misplaced"),
        ("credentials=avs_x", "token.misplaced"),
        ("access_token=x", "token.misplaced"),
        ("a=1&a=2", "parameter.repeated"),
        ("a=%FF", "request.malformed"),
    ],
)
def test_a_credential_in_the_query_string_is_refused(key, query, code):
    response = post({"credentials": [key.secret]}, query=query)
    assert_api_error(response, 400, code)
    check_answer(response, REPORT, "post")
    assert works(key.client_id, key.secret)
    assert post({"credentials": []}, query="a=1").status_code == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_other_method_is_taken(method):
    response = _client.generic(method, REPORT)
    assert_api_error(response, 405, "method.not.allowed")
    assert response["Allow"] == "POST"


def test_no_refusal_repeats_what_was_sent(key):  # security 80
    twice = f'{{"{key.secret}": 1, "{key.secret}": 2}}'.encode()
    bodies: list[Any] = [twice, {key.secret: []}, [key.secret], {"credentials": [[key.secret]]}]
    for body in bodies:
        assert key.secret not in post(body).content.decode()


def test_nothing_of_it_is_logged(key, token, caplog):  # security 58
    caplog.set_level("DEBUG")
    post({"credentials": [key.secret, token, f"https://x.example/{key.secret}"]})
    post([{"token": key.secret, "url": key.secret}])
    assert "key leaked" in caplog.text
    assert key.secret not in caplog.text
    assert token not in caplog.text


# --- Limits -----------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(leak_reports, "PER_MINUTE", 2)
    # So that no test is split by the end of a minute.
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("body", [{"credentials": []}, {"credentials": [credentials.new_token()]}, b"x"])
def test_an_address_reports_so_often_in_a_minute_whatever_it_reports(key, body):  # security 65
    for _ in range(2):
        assert post(body).status_code in (202, 400)
    response = post({"credentials": [key.secret]})
    assert_api_error(response, 429, "requests.too.many")
    check_answer(response, REPORT, "post")
    assert 1 <= int(response["Retry-After"]) <= 61
    assert works(key.client_id, key.secret)
    assert post({"credentials": [key.secret]}, "198.51.100.10").status_code == 202
    assert not works(key.client_id, key.secret)


@pytest.mark.usefixtures("few")
def test_a_network_of_ipv6_is_one_address(key):
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    assert [post({"credentials": []}, each).status_code for each in addresses] == [202, 202, 429, 202]
    assert FailureCount.objects.filter(name="reports:2001:db8::/64").exists()


@pytest.mark.usefixtures("few")
def test_reports_are_counted_apart_from_failures(key):
    for _ in range(3):
        post({"credentials": []})
    assert set(FailureCount.objects.values_list("name", flat=True)) == {"reports:198.51.100.9"}


@pytest.mark.usefixtures("few")
def test_limits_can_be_switched_off(settings):
    settings.RATE_LIMITS = False
    assert {post({"credentials": []}).status_code for _ in range(4)} == {202}


def test_while_too_many_answers_wait_nothing_is_done(key):  # security 86
    full: Any = {delays.IS_FULL: lambda: True}
    body = json.dumps({"credentials": [key.secret]})
    response = _client.generic("POST", REPORT, body, content_type="application/json", **full)
    assert_api_error(response, 429, "requests.too.many")
    assert response["Retry-After"] == "1"
    assert works(key.client_id, key.secret)


# --- Through the real server ------------------------------------------------------------------------------------

MAKE = """
from profiles.clients import company
from profiles.models import AccessProfile, KeyEvent, User
from profiles.origin import Origin
import uuid
maker = User.objects.get(email="user@demo.example")
for _ in range(NUMBER):
    about = company.About(f"Client {uuid.uuid4().hex}", "", AccessProfile.objects.get(name="Viewer"))
    client, secret = company.create(company=maker.company, about=about, origin=Origin(maker, KeyEvent.Via.COMMAND))
    print(client.client_id, secret)
"""


def make_clients(server: Server, number: int) -> list[tuple[str, str]]:
    """Client IDs and secrets of new API Clients."""
    said = server.manage("shell", "--verbosity", "0", "-c", f"NUMBER = {number}{MAKE}").split()
    return list(zip(said[::2], said[1::2], strict=True))


def token_of(server: Server, client: tuple[str, str]) -> requests.Response:
    form = {"grant_type": "client_credentials"}
    return requests.post(f"{server.url}/api/oauth/token", form, auth=client, timeout=60)


def is_refused(server: Server, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{server.url}{CURRENT}", headers=headers, timeout=60).status_code == 401


def send(server: Server, *found: str) -> requests.Response:
    return requests.post(f"{server.url}{REPORT}", json={"credentials": found}, timeout=60)


@pytest.mark.server
def test_the_answer_takes_the_same_time_whatever_is_reported(server):  # security 86
    """By medians, which one busy moment of the machine does not move, and with half a step between them at most."""
    rounds = 5
    *clients, dead = make_clients(server, rounds + 1)
    [holder] = make_clients(server, 1)
    send(server, dead[1])
    reports: dict[str, Callable[[int], str]] = {
        "a live secret": lambda number: clients[number][1],
        "a live token": lambda _: token_of(server, holder).json()["access_token"],
        "a dead secret": lambda _: dead[1],
        "an unknown secret": lambda _: credentials.new_secret(),
        "an unknown token": lambda _: credentials.new_token(),
        "no credential": lambda _: "x",
    }
    took: dict[str, list[float]] = {name: [] for name in reports}
    for number in range(rounds):
        for name, make in reports.items():  # in turn: whatever changes meanwhile changes for all
            found = make(number)
            begun = time.monotonic()
            response = send(server, found)
            took[name].append(time.monotonic() - begun)
            assert (response.status_code, response.content) == (202, ACCEPTED)
    assert min(min(each) for each in took.values()) >= STEP
    medians = {name: median(each) for name, each in took.items()}
    assert max(medians.values()) - min(medians.values()) < STEP / 2, medians
    assert [token_of(server, client).status_code for client in clients] == [401] * rounds


@pytest.mark.server
def test_when_the_answer_has_come_what_was_reported_is_refused(server):  # security 65
    for client in make_clients(server, 3):
        token = token_of(server, client).json()["access_token"]
        assert not is_refused(server, token)
        assert send(server, client[1]).status_code == 202
        assert is_refused(server, token)
        refused = token_of(server, client)
        assert refused.status_code == 401
        assert "was reported as leaked and ended" in refused.json()["error_description"]


@pytest.mark.server
def test_it_is_done_also_if_the_reporter_does_not_wait_for_the_answer(server):  # security 65
    [client] = make_clients(server, 1)
    body = json.dumps({"credentials": [client[1]]}).encode()
    head = f"POST {REPORT} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
    deadline = time.monotonic() + 30
    while token_of(server, client).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
