"""A request on its way to the application and back: what becomes of its parts, whatever the server brings them as."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from airvantage_keys import exchange
from airvantage_keys.exchange import REFUSED, Exchange, Turns
from profiles.http import delays


class Future:
    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.is_cancelled = False
        self.then: Any = None

    def done(self) -> bool:
        return self.is_cancelled or self.message is not None

    def cancelled(self) -> bool:
        return self.is_cancelled

    def result(self) -> Any:
        return self.message

    def add_done_callback(self, then: Any) -> None:
        self.then = then

    def come(self, message: dict[str, Any]) -> None:
        self.message = message
        self.then(self)


class Server:
    """The server's side of one exchange: what it gives when it likes, and what it got."""

    def __init__(
        self,
        application: Any,
        *headers: tuple[bytes, bytes],
        method: str = "POST",
        turns: Turns | None = None,
        **scope: Any,
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.asked: list[Future] = []
        self.deadlines: list[float | None] = []
        self.done: list[int] = []
        self.failed: list[BaseException] = []
        self.is_full = False
        self.sending: Any = None
        self.scope = {
            "method": method,
            "raw_path": b"/",
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", "80"),
            "client": ("192.0.2.1", "1234"),
            "headers": list(headers),
            **scope,
        }
        take = (turns or Turns(1)).take
        done, failed = self.done.append, self.failed.append
        Exchange(application, self.scope, self, self.wait, take, done=done, failed=failed).begin()

    def receive(self) -> Future:
        self.asked.append(Future())
        return self.asked[-1]

    def send(self, message: dict[str, Any]) -> Any:
        self.sent.append(message)
        self.sending = Future() if self.is_full else None
        return self.sending

    def wait(self, future: Future, then: Any, deadline: float | None = None) -> None:
        self.deadlines.append(deadline)
        future.add_done_callback(then)

    def come(self, body: bytes, *, more: bool = True) -> None:
        self.asked[-1].come({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self.asked[-1].come({"type": "http.disconnect"})

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Echo:
    """Answers with what it was sent."""

    environ: dict[str, Any]
    most = 1000

    def __call__(self, environ, start_response):
        self.environ = environ
        start_response("200 OK", [("X-Name", "é")])
        return [environ["wsgi.input"].read()]

    def body_at_most(self, path: str) -> int:
        return self.most

    def is_probe(self, path: str) -> bool:
        return path == "/livez"


CHUNKS = (b"transfer-encoding", b"chunked")


def length(count: int) -> tuple[bytes, bytes]:
    return (b"content-length", str(count).encode())


@pytest.fixture(autouse=True)
def _nothing_is_held_afterwards():
    yield
    assert exchange._held._bytes == 0


def test_a_body_in_one_part():
    server = Server(echo := Echo(), length(3))
    assert not server.sent
    server.come(b"abc")
    assert (server.body, server.done, echo.environ["CONTENT_LENGTH"]) == (b"abc", [200], "3")
    assert server.sent[0]["headers"] == [(b"X-Name", b"\xe9")]


@pytest.mark.parametrize("head", [length(100_000), CHUNKS])
def test_a_body_in_many_parts_larger_than_what_stays_in_memory(head):
    echo = Echo()
    echo.most = 100_000
    server = Server(echo, head)
    for _ in range(9):
        server.come(b"x" * 10_000)
    assert not server.sent
    server.come(b"y" * 10_000, more=head is not CHUNKS)
    if head is CHUNKS and not server.sent:
        server.come(b"", more=False)
    assert server.body == b"x" * 90_000 + b"y" * 10_000
    assert (echo.environ["CONTENT_LENGTH"], "HTTP_TRANSFER_ENCODING" in echo.environ) == ("100000", False)


@pytest.mark.parametrize("head", [(), length(0)])
def test_a_post_without_a_body_waits_for_none(head):
    server = Server(Echo(), *([head] if head else []))
    assert (server.asked, server.body, server.done) == ([], b"", [200])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("head", [length(3), CHUNKS])
def test_no_other_method_waits_for_a_body(method, head):  # security 75
    server = Server(Echo(), head, method=method)
    assert (server.asked, server.body, server.done) == ([], b"", [200])


@pytest.mark.parametrize("head", [length(1001), CHUNKS])
def test_a_body_that_is_too_long_is_read_to_its_end_and_refused(head):
    server = Server(echo := Echo(), head)
    server.come(b"x" * 600)
    server.come(b"x" * 401)
    if head is CHUNKS:
        assert not server.sent
        server.come(b"", more=False)
    assert (echo.environ[REFUSED], echo.environ["wsgi.input"].read()) == (413, b"")
    assert (b"connection", b"close") in server.sent[0]["headers"]


def test_nobody_listens_to_a_body_without_end(monkeypatch):
    monkeypatch.setattr(exchange, "READ_AT_MOST", 5000)
    announced = Server(echo := Echo(), length(5001))
    assert (announced.asked, echo.environ[REFUSED]) == ([], 413)
    server = Server(echo := Echo(), CHUNKS)
    for _ in range(5):
        server.come(b"x" * 1000)
    assert not server.sent
    server.come(b"x")
    assert echo.environ[REFUSED] == 413


@pytest.mark.parametrize("head", [length(10), CHUNKS])
@pytest.mark.parametrize("begun", [b"", b"abc"])
def test_a_body_cut_short_is_no_request(head, begun):
    server = Server(echo := Echo(), head)
    if begun:
        server.come(begun)
    server.leave()
    assert (echo.environ[REFUSED], echo.environ["CONTENT_LENGTH"]) == (400, "0")


def test_a_body_has_time_and_more_the_more_has_come():  # security 75
    echo = Echo()
    echo.most = 10**6
    server = Server(echo, length(10**6))
    before = time.monotonic()
    server.come(b"x" * exchange.SLOWEST * 30)
    first, second = server.deadlines
    assert first is not None
    assert second is not None
    assert first == pytest.approx(before + exchange.BODY_WITHIN, abs=5)
    assert second - first == pytest.approx(30)
    server.asked[-1].is_cancelled = True
    server.asked[-1].then(server.asked[-1])
    assert echo.environ[REFUSED] == 408


def test_all_bodies_together_have_an_end(monkeypatch):
    monkeypatch.setattr(exchange, "HELD_AT_MOST", 1000)
    first, second = Server(one := Echo(), length(900)), Server(two := Echo(), length(900))
    first.come(b"x" * 600)
    second.come(b"x" * 600)
    assert two.environ[REFUSED] == 503
    first.come(b"x" * 300)
    assert (REFUSED in one.environ, first.body) == (False, b"x" * 900)


@pytest.mark.parametrize(
    ("headers", "name", "value"),
    [
        ([(b"x_forwarded_for", b"6.6.6.6")], "HTTP_X_FORWARDED_FOR", None),
        ([(b"x_forwarded_for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")], "HTTP_X_FORWARDED_FOR", "1.2.3.4"),
        ([(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded_for", b"6.6.6.6")], "HTTP_X_FORWARDED_FOR", "1.2.3.4"),
        ([(b"x_forwarded_proto", b"https")], "HTTP_X_FORWARDED_PROTO", None),
        ([(b"content_length", b"7")], "CONTENT_LENGTH", None),
        ([(b"content_type", b"a/b")], "CONTENT_TYPE", None),
        (
            [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2")],
            "HTTP_X_FORWARDED_FOR",
            "1.1.1.1,2.2.2.2",
        ),
        ([(b"cookie", b"a=1"), (b"cookie", b"b=2")], "HTTP_COOKIE", "a=1;b=2"),
        ([(b"user-agent", "é".encode())], "HTTP_USER_AGENT", "Ã©"),
        ([(b"content-type", b"text/plain")], "CONTENT_TYPE", "text/plain"),
    ],
)
def test_headers_as_the_application_gets_them(headers, name, value):  # security 77
    Server(echo := Echo(), *headers, method="GET")
    assert echo.environ.get(name) == value


@pytest.mark.parametrize(
    ("raw", "path"), [(b"/a", "/a"), (b"/%C3%A9", "/Ã©"), (b"/%ff%00", "/\xff\0"), (b"/%zz%", "/%zz%"), (b"*", "*")]
)
def test_the_address_is_decoded_byte_by_byte(raw, path):
    Server(echo := Echo(), method="GET", raw_path=raw, query_string=b"a=%20\xff")
    assert (echo.environ["PATH_INFO"], echo.environ["QUERY_STRING"]) == (path, "a=%20\xff")


# --- Long answers -----------------------------------------------------------------------------------------


class Long:
    """Answers in parts of a megabyte and a byte, and knows what became of them."""

    def __init__(self, parts: int) -> None:
        self.left = parts
        self.closed = 0

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return self

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return b"x" * (exchange.IN_ONE_PIECE + 1)

    def close(self) -> None:
        self.closed += 1

    def body_at_most(self, path: str) -> int:
        return 0

    def is_probe(self, path: str) -> bool:
        return False


def test_a_short_answer_is_one_piece():
    class Short(Echo):
        def __call__(self, environ, start_response):
            start_response("200 OK", [])
            return iter([b"a", b"b"])

    assert [message.get("body") for message in Server(Short(), method="GET").sent] == [None, b"ab"]


def test_a_long_answer_is_made_as_the_reader_takes_it():  # security 75
    server = Server(long := Long(10), method="GET")
    assert (long.left, server.done) == (0, [200])  # it was taken at once
    assert len(server.body) == 10 * (exchange.IN_ONE_PIECE + 1)

    class Slow(Server):
        def send(self, message):
            self.is_full = "more_body" in message
            return super().send(message)

    server = Slow(long := Long(3), method="GET")
    assert (long.left, server.done, server.deadlines) == (2, [], [None])
    server.sending.come({})
    assert (long.left, server.done) == (1, [])
    server.sending.come({})
    server.sending.come({})
    assert (long.left, long.closed, server.done) == (0, 1, [200])
    assert server.sent[-1] == {"type": "http.response.body", "body": b""}


def test_nothing_more_is_made_for_a_reader_who_has_gone():
    class Slow(Server):
        def send(self, message):
            self.is_full = "more_body" in message
            return super().send(message)

    server = Slow(long := Long(100), method="GET")
    server.asked[-1].message = {"type": "http.request", "body": b"", "more_body": False}  # the end of what was asked
    server.sending.come({})
    server.asked[-1].message = {"type": "http.disconnect"}
    server.sending.come({})
    assert (long.left, long.closed, server.done) == (97, 1, [200])


def test_head_makes_no_more_than_the_beginning():
    server = Server(long := Long(100), method="HEAD")
    assert (long.left, long.closed, server.done) == (99, 1, [200])


def test_what_goes_wrong_is_told_and_everything_is_let_go():
    class Broken(Long):
        def __next__(self) -> bytes:
            if self.left == 1:
                raise ValueError
            return super().__next__()

    server = Server(broken := Broken(2), method="GET")
    assert ([type(error) for error in server.failed], broken.closed, server.done) == ([ValueError], 1, [])


class Meanwhile(Echo):
    """While it answers the first request, others come."""

    def __init__(self, *paths: bytes) -> None:
        self.paths = paths
        self.turns = Turns(1)
        self.others: list[Server] = []
        self.answered_at_once: list[bool] = []

    def __call__(self, environ, start_response):
        coming, self.paths = self.paths, ()
        for path in coming:
            self.others.append(Server(self, method="GET", raw_path=path, turns=self.turns))
            self.answered_at_once.append(bool(self.others[-1].sent))
        if environ["PATH_INFO"] == "/fails":
            raise ZeroDivisionError
        return super().__call__(environ, start_response)


def test_a_request_without_a_turn_waits_without_a_thread():
    application = Meanwhile(b"/", b"/fails", b"/")
    assert Server(application, method="GET", turns=application.turns).done == [200]
    assert not any(application.answered_at_once)
    first, failing, last = application.others
    assert (first.done, last.done) == ([200], [200])
    assert isinstance(failing.failed[0], ZeroDivisionError)
    assert Server(application, method="GET", turns=application.turns).done == [200]  # each turn was given back


def test_a_probe_needs_no_turn():  # security 89
    application = Meanwhile(b"/livez", b"/")
    Server(application, method="GET", turns=application.turns)
    assert application.answered_at_once == [True, False]


# --- Answers that leave later -----------------------------------------------------------------------------


class Delayed(Echo):
    """Its answers leave after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, environ, start_response):
        environ[delays.NOT_BEFORE] = time.monotonic() + self.seconds
        return super().__call__(environ, start_response)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_waits_for_its_moment_and_keeps_nobody_waiting():  # security 86
    turns, begun = Turns(1), time.monotonic()
    later = Server(delayed := Delayed(0.5), length(1), turns=turns)
    later.come(b"a", more=False)
    assert delayed.environ  # the application has answered
    assert Server(Echo(), method="GET", turns=turns).done == [200]  # and given back its turn
    assert (later.sent, later.done) == ([], [])
    until(lambda: later.done)
    assert time.monotonic() - begun >= 0.5
    assert (later.body, later.done) == (b"a", [200])


def test_answers_leave_in_the_order_of_their_moments():
    order: list[str] = []

    class Noted(Server):
        def send(self, message):
            order.append(message.get("body", b"").decode())
            return super().send(message)

    servers = [Noted(Delayed(seconds), length(1)) for seconds in (0.6, 0.2, 0.4)]
    for name, server in zip((b"c", b"a", b"b"), servers, strict=True):
        server.come(name, more=False)
    until(lambda: all(server.done for server in servers))
    assert "".join(order) == "abc"


def test_no_more_answers_are_kept_than_that():
    later = exchange.Later(2)
    run: list[str] = []
    for name in "ab":
        assert not later.is_full()
        later.at(time.monotonic() + 0.2, partial(run.append, name))
    assert later.is_full()
    until(lambda: run == ["a", "b"])
    assert not later.is_full()


def test_a_reader_who_has_gone_meanwhile_stops_no_other():
    class Gone(Server):
        def send(self, message):
            raise RuntimeError

    gone, other = (kind(Delayed(0.2), length(1)) for kind in (Gone, Server))
    for server in (gone, other):
        server.come(b"a", more=False)
    until(lambda: other.done)
    assert isinstance(gone.failed[0], RuntimeError)
