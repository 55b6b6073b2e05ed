"""One request and its answer: the whole request first, then the WSGI application, then the answer.

Between the server and this module it is ASGI, where the parts of a body are awaited; the application is called by WSGI,
when the body is complete. So a stalled sender holds a connection and a little memory, but never a thread.
"""

from __future__ import annotations

import heapq
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from io import BytesIO
from itertools import chain, count
from tempfile import SpooledTemporaryFile
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from profiles.http.delays import IS_FULL, NOT_BEFORE

# A body has this many seconds, and one more for each SLOWEST bytes that have arrived: a photo over a slow mobile
# network arrives, but nobody can hold a connection by sending a few bytes at a time.
BODY_WITHIN = 20
SLOWEST = 8 * 1024
# Above this a body is kept in a file. Then: the total size of all bodies of a process, in memory and files.
IN_MEMORY = 64 * 1024
HELD_AT_MOST = 256 * 1024 * 1024
# How much of a too long body is read and discarded: a client that is still sending does not read the answer.
READ_AT_MOST = 16 * 1024 * 1024
# An answer up to this size is sent in one piece. A longer one is sent in parts, as fast as the client reads it.
IN_ONE_PIECE = 1024 * 1024

# How many answers a process keeps until their moment comes (`profiles.http.delays`). Each has its connection, and the
# body of its request.
KEPT_AT_MOST = 256

# The key in `environ` for a request that did not arrive completely: the status that says why.
REFUSED = "airvantage_keys.refused"
CUT_SHORT, TOO_SLOW, TOO_LONG, TOO_MANY = 400, 408, 413, 503

# Set when the server is being stopped: each answer is then the last one of its connection, and says so.
stopping = threading.Event()


class Later:
    """Steps that wait for their moments, in no thread but one for all of them."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._steps: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()  # of two steps for the same moment the first one comes first
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def is_full(self) -> bool:
        return len(self._steps) >= self._at_most

    def at(self, moment: float, step: Callable[[], None]) -> None:
        """Run this step at this moment of the clock `time.monotonic`. No step may raise, or take long."""
        with self._changed:
            heapq.heappush(self._steps, (moment, next(self._number), step))
            if self._thread is None:  # not before: a thread does not come along into the worker's process
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        # A function of its own, so that nothing keeps a step, and with it a connection, until the next one comes.
        with self._changed:
            while not self._steps or (left := self._steps[0][0] - time.monotonic()) > 0:
                self._changed.wait(left if self._steps else None)
            return heapq.heappop(self._steps)[2]


_later = Later(KEPT_AT_MOST)

_COMMON = {
    IS_FULL: _later.is_full,
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


class Application(Protocol):
    """A WSGI application that says how many bytes of a body it takes at an address, and what asks only how it is."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]: ...

    def body_at_most(self, path: str) -> int: ...

    def is_probe(self, path: str) -> bool: ...


class Channel(Protocol):
    """The connection of one request, in ASGI's messages. It returns a future, or something that is done already."""

    def receive(self) -> Any: ...

    def send(self, message: dict[str, Any], /) -> Any: ...


class Wait(Protocol):
    """Calls `then` with the future when it is done, or was cancelled because the deadline has passed."""

    def __call__(self, future: Any, then: Callable[[Any], None], deadline: float | None = None) -> None: ...


class Turns:
    """How many requests are in the application at once. One that has to wait for its turn waits without a thread.

    The server has one thread more than there are turns, and a probe needs none: so it is answered even while all that
    the others are waiting for, such as a database, hangs.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def take(self, step: Callable[[], None]) -> None:
        """Run this step when it is its turn, and then, in the same thread, what came meanwhile. No step may raise."""
        with self._lock:
            if not self._free:
                self._waiting.append(step)
                return
            self._free -= 1
        while True:
            step()
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                step = self._waiting.popleft()


class Exchange:
    """A request in progress. Each step runs until it has to wait for a future, whose callback runs the next step.

    At the end `done` gets the status, or `failed` the exception: it has to be reported so, because the caller
    of a callback ignores exceptions.
    """

    def __init__(
        self,
        application: Application,
        scope: dict[str, Any],
        channel: Channel,
        wait: Wait,
        take_turn: Callable[[Callable[[], None]], None],
        *,
        done: Callable[[int], None] | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._application = application
        self._scope = scope
        self._channel = channel
        self._wait = wait
        self._take_turn = take_turn
        self._done = done
        self._failed = failed
        self._body: Any = None
        self._kept = 0
        self._close: Callable[[], None] | None = None

    def begin(self) -> None:
        self._go(self._begin)

    def _go(self, step: Callable[..., None], *waited_for: Any) -> None:
        try:
            step(*waited_for)
        except BaseException as error:  # noqa: BLE001 - `failed` tells of it
            self._release()
            self._failed(error)

    def _go_on(self, future: Any, step: Callable[[Any], None], deadline: float | None = None) -> None:
        self._wait(future, partial(self._go, step), deadline)

    def _begin(self) -> None:
        self._environ = environ_of(self._scope)
        # Only the body of a POST is read: nothing here uses the body of another method.
        if self._environ["REQUEST_METHOD"] != "POST":
            self._answer_in_turn()
            return
        self._length = _announced(self._scope["headers"])
        if self._length == 0:
            self._complete(0)
        elif self._length is not None and self._length > READ_AT_MOST:
            self._refuse(TOO_LONG)
        else:
            self._most = self._application.body_at_most(self._environ["PATH_INFO"])
            self._received = 0
            self._begun = time.monotonic()
            self._receive()

    # --- The body -----------------------------------------------------------------------------------------

    def _receive(self) -> None:
        deadline = self._begun + BODY_WITHIN + self._received / SLOWEST
        self._go_on(self._channel.receive(), self._take, deadline)

    def _take(self, future: Any) -> None:
        """Take a part of the body. Most bodies are one part."""
        if future.cancelled():
            self._refuse(TOO_SLOW)
            return
        message = future.result()
        if message["type"] != "http.request":
            self._refuse(CUT_SHORT)
            return
        part: bytes = message["body"]
        self._received += len(part)
        is_last = self._received == self._length or not message["more_body"]
        if self._received > self._most:
            if is_last or self._received > READ_AT_MOST:
                self._refuse(TOO_LONG)
            else:
                self._receive()
        elif is_last and self._received == len(part):
            self._environ["wsgi.input"] = BytesIO(part)
            self._complete(len(part))
        elif not self._keep(part):
            self._refuse(TOO_MANY)
        elif is_last:
            self._body.seek(0)
            self._environ["wsgi.input"] = self._body
            self._complete(self._received)
        else:
            self._receive()

    def _keep(self, part: bytes) -> bool:
        if self._body is None:
            self._body = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - `_release` closes it
        if not _held.take(len(part)):
            return False
        self._kept += len(part)
        self._body.write(part)
        return True

    def _refuse(self, status: int) -> None:
        self._environ[REFUSED] = status
        self._complete(0)

    def _complete(self, length: int) -> None:
        self._environ.pop("HTTP_TRANSFER_ENCODING", None)
        self._environ["CONTENT_LENGTH"] = str(length)
        self._answer_in_turn()

    # --- The answer ---------------------------------------------------------------------------------------

    def _answer_in_turn(self) -> None:
        if self._application.is_probe(self._environ["PATH_INFO"]):
            self._answer()
        else:
            self._take_turn(partial(self._go, self._answer))

    def _answer(self) -> None:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started[:] = [(status, headers)]

        answered = self._application(self._environ, start_response)
        self._close = getattr(answered, "close", None)
        first, rest = _first_piece(answered)
        [(line, headers)] = started
        self._status = int(line[:3])
        if NOT_BEFORE in self._environ:
            deliver = partial(self._deliver, headers, first, rest)
            _later.at(self._environ[NOT_BEFORE], partial(self._go, deliver))
        else:
            self._deliver(headers, first, rest)

    def _deliver(self, headers: list[tuple[str, str]], first: bytes, rest: Iterator[bytes] | None) -> None:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        # Where it was refused, the rest of the request is not read.
        if REFUSED in self._environ or stopping.is_set():
            encoded.append((b"connection", b"close"))
        self._channel.send({"type": "http.response.start", "status": self._status, "headers": encoded})
        if rest is None or self._environ["REQUEST_METHOD"] == "HEAD":
            self._channel.send({"type": "http.response.body", "body": first})
            self._end()
        else:
            self._begin_stream(chain([first], rest))

    def _begin_stream(self, parts: Iterator[bytes]) -> None:
        self._rest = parts
        self._news = self._channel.receive()
        self._stream()

    def _stream(self) -> None:
        """Send the parts as the reader takes them. No thread waits meanwhile: the next one free makes the next part."""
        for part in self._rest:
            sending = self._channel.send({"type": "http.response.body", "body": part, "more_body": True})
            if self._reader_has_gone():
                break
            if hasattr(sending, "add_done_callback"):  # a future: the buffer is full; else it was accepted at once
                self._go_on(sending, self._stream_in_turn)
                return
        self._channel.send({"type": "http.response.body", "body": b""})
        self._end()

    def _stream_in_turn(self, _sent: Any) -> None:
        self._take_turn(partial(self._go, self._stream))

    def _reader_has_gone(self) -> bool:
        if hasattr(self._news, "done"):
            if not self._news.done():
                return False
            if self._news.result()["type"] == "http.request":  # only the end of the request
                self._news = self._channel.receive()
                return False
        return True

    def _end(self) -> None:
        self._release()
        if self._done:
            self._done(self._status)

    def _release(self) -> None:
        close, self._close = self._close, None
        if self._body is not None:
            self._body.close()
            _held.take(-self._kept)
            self._body, self._kept = None, 0
        if close:
            close()


# --- Conversion ------------------------------------------------------------------------------------------


def environ_of(scope: dict[str, Any]) -> dict[str, Any]:
    """The WSGI environment of a request, without its body."""
    path: bytes = scope["raw_path"]
    environ = _COMMON.copy()
    environ["REQUEST_METHOD"] = scope["method"]
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
    environ["REMOTE_ADDR"] = scope["client"][0]
    environ["SERVER_NAME"], environ["SERVER_PORT"] = scope["server"]
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if scope["http_version"] == "1.1" else "HTTP/1.0"
    environ["wsgi.url_scheme"] = scope["scheme"]
    environ["wsgi.input"] = BytesIO()
    for header, value in scope["headers"]:
        name = _variable(header)
        if name in environ:
            # As RFC 9110 section 5.3 joins lines of one name, and RFC 9113 section 8.2.3 those of cookies.
            environ[name] += (";" if name == "HTTP_COOKIE" else ",") + value.decode("latin-1")
        elif name:
            environ[name] = value.decode("latin-1")
    return environ


@lru_cache(maxsize=512)
def _variable(header: bytes) -> str:
    """What WSGI calls a header; nothing for one that is not passed on.

    In WSGI, `X_Forwarded_For` and X-Forwarded-For have the same name: a client could set what only a proxy may.
    """
    if b"_" in header:
        return ""
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """How many bytes of a body are announced; None where they come in chunks."""
    length: int | None = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length


def _first_piece(answered: Iterable[bytes]) -> tuple[bytes, Iterator[bytes] | None]:
    """The whole answer, and None; or its beginning and the rest, if it is long."""
    parts, size, rest = [], 0, iter(answered)
    for part in rest:
        parts.append(part)
        size += len(part)
        if size > IN_ONE_PIECE:
            return b"".join(parts), rest
    return b"".join(parts), None


class _Held:
    """The total size of all bodies that are being received."""

    def __init__(self) -> None:
        self._bytes = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        with self._lock:
            if count > 0 and self._bytes + count > HELD_AT_MOST:
                return False
            self._bytes += count
            return True


_held = _Held()
