"""What is no proper HTTP, sent to the running server: it stays alive, answers 4xx or closes, and loses nothing."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable

import pytest
import requests

from .server import Server
from .visitor import Visitor

pytestmark = pytest.mark.server

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
API = b"GET /api/v1/users/current HTTP/1.1\r\n" + HOST
POST = b"POST /api/oauth/token HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
END = b"Connection: close\r\n\r\n"

REQUESTS = {
    "garbage": b"\x00\xff\x16\x03\x01" * 50 + b"\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"a" * 200,
    "a chunk whose size is no number": CHUNKED + END + b"zz\r\nabc\r\n0\r\n\r\n",
    "a chunk of negative size": CHUNKED + END + b"-1\r\nabc\r\n0\r\n\r\n",
    "a chunk of endless size": CHUNKED + END + b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n",
    "a chunk cut short": CHUNKED + END + b"5\r\nab",
    "a chunked body": CHUNKED + END + b"5\r\nabcde\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 5\r\n" + END + b"abcde",
    "a length and chunks": CHUNKED + b"Content-Length: 3\r\n" + END + b"0\r\n\r\nGET /api/docs HTTP/1.1\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: identity\r\n" + END + b"0\r\n\r\n",
    "a transfer coding nobody knows": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n" + END + b"ab",
    "a negative length": POST + b"Content-Length: -3\r\n" + END + b"abcde",
    "a length in words": POST + b"Content-Length: 1e3\r\n" + END + b"abcde",
    "an endless length": POST + b"Content-Length: 99999999999999999999\r\n" + END + b"abcde",
    "less than its length": POST + b"Content-Length: 1000\r\n" + END + b"a",
    "a gigabyte announced": POST + b"Content-Length: 1000000000\r\n" + END + b"a",
    "thousands of headers": GET + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + END,
    "an endless header": GET + b"X: " + b"y" * 2_000_000 + b"\r\n" + END,
    "an endless address": b"GET /api/v1/users?name=" + b"y" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + END,
    "a header in no encoding": API + b"Authorization: Bearer \xff\xfe\r\nUser-Agent: \xff\xe9\r\n" + END,
    "a type in no encoding": b"POST /api/oauth/token HTTP/1.1\r\n" + HOST + b"Content-Type: \xff\r\n" + END,
    "a type that cannot be read": POST.replace(b"encoded", b"encoded; charset*=x''y") + b"Content-Length: 0\r\n" + END,
    "a page's type that cannot be read": b"POST /accounts/login/ HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: a; b*=x''y\r\n"
    + END,
    "a cookie in no encoding": b"GET /accounts/login/ HTTP/1.1\r\n" + HOST + b"Cookie: session=\xff\xfe\r\n" + END,
    "a cookie with NUL": b"GET /profile/ HTTP/1.1\r\n" + HOST + b'Cookie: session="\\000' + b"a" * 31 + b'"\r\n' + END,
    "two authorizations": POST + b"Authorization: Basic YTpi\r\nAuthorization: Basic YTpj\r\n" + END,
    "an address in no encoding": b"GET /api/\xff\xfe HTTP/1.1\r\n" + HOST + END,
    "an address in no UTF-8": b"GET /api/%ff%fe%00 HTTP/1.1\r\n" + HOST + END,
    "a query in no encoding": b"GET /api/v1/users?name=\xff HTTP/1.1\r\n" + HOST + END,
    "somebody else's address": b"GET http://evil.example/api/v1/users/current HTTP/1.1\r\n" + HOST + END,
    "all addresses": b"OPTIONS * HTTP/1.1\r\n" + HOST + END,
    "a proxy's request": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + END,
    "no host": b"GET /accounts/login/ HTTP/1.1\r\n" + END,
    "two hosts": b"GET /accounts/login/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + END,
    "two hosts and a broken form": b"POST /accounts/login/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n"
    b"Content-Type: multipart/form-data\r\nCookie: csrf=" + b"c" * 32 + b"\r\n" + END,
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/3": b"GET /livez HTTP/3.0\r\n\r\n",
    "broken HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\xff" * 100,
    "a web socket": API + b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n" + END.replace(b"close", b"close, Upgrade"),
    "an expectation nobody knows": POST + b"Expect: nonsense\r\nContent-Length: 1\r\n" + END + b"a",
    "a folded header": GET + b"X: a\r\n b\r\n" + END,
    "a header with NUL": GET + b"X: a\0b\r\n" + END,
    "a blank before the colon": b"GET /livez HTTP/1.1\r\nHost : 127.0.0.1\r\n" + END,
}


def send(server: Server, parts: Iterable[bytes], *, listen: bool = True) -> bytes:
    """Send, and read what is answered until the server closes, or says nothing for a second."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while listen and (data := connection.recv(1 << 16)):
                answer += data
        except OSError:
            pass  # it closed before all was sent, or waits for what does not come
    return answer


def assert_well(server: Server, errors_before: int) -> None:
    assert requests.get(f"{server.url}/livez", timeout=10).ok
    assert requests.get(f"{server.url}/readyz", timeout=10).ok
    log = server.log.read_text()
    assert len(re.findall("Unexpected exit|panicked|respawn", log)) == 0
    assert errors(server) == errors_before, log[-3000:]


def errors(server: Server) -> int:
    """How often the server answered 500 so far; what it did not even answer is there, too."""
    return len(re.findall(r"unhandled: |Internal Server Error|Application callable raised", server.log.read_text()))


@pytest.mark.parametrize("what", REQUESTS)
def test_the_server_survives(server, what):  # security 40
    before = errors(server)
    for _ in range(3):
        answer = send(server, [REQUESTS[what]])
        statuses = re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)
        assert not [status for status in statuses if status.startswith(b"5")], answer
        assert len(statuses) <= 1 + statuses.count(b"100")
    assert_well(server, before)


def test_bodies_that_stop_halfway_and_go_away_hold_nobody_up(server):
    before = errors(server)
    with_length = POST + b"Content-Length: 1000\r\n\r\n"
    for _ in range(50):
        send(server, [with_length, b"grant_type="], listen=False)
    begun = time.monotonic()
    assert_well(server, before)
    assert time.monotonic() - begun < 5


def test_a_body_that_comes_in_drops_is_read(server):
    visitor = Visitor(server.url).sign_in("user@demo.example")
    client_id, secret = visitor.regenerate() if visitor.has_key() else visitor.create()
    body = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}".encode()
    parts = [POST + b"Content-Length: %d\r\n" % len(body) + END]
    parts += [body[place : place + 10] for place in range(0, len(body), 10)]

    def drops() -> Iterable[bytes]:
        for part in parts:
            yield part
            time.sleep(0.02)

    answer = send(server, drops())
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"access_token":"avt_' in answer
