"""The production server: granian, in which a request takes a thread only when it has arrived completely.

    python -m airvantage_keys.server --host 127.0.0.1 --port 8000

Granian runs a WSGI application in a few threads and each waits for the body of its request without a time limit: as
many stalled senders as there are threads stop the site. Its asynchronous interfaces do not, but with an event loop
between granian's threads and ours a token costs a third more. So these workers are granian's for ASGI, and their events
are handled in granian's own threads: a thread takes what has arrived, registers what to wait for, and is free again. A
request in progress is an `Exchange`. What else was tried, and what it cost, is in docs/architecture.md.

The command is granian's, with all its options and `GRANIAN_...` variables; only the defaults are ours.

It takes a listening socket that systemd made, too (sd_listen_fds(3)). Such a socket stays when the server stops: what
connects meanwhile waits in it for the next server, and a restart loses no request.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from granian import cli
from granian._granian import ASGIWorker, CallbackScheduler, ListenerSpec, SocketHolder, WorkerSignal
from granian.asgi import _build_access_logger
from granian.server.common import WORKERS_METHODS
from granian.server.mp import MPServer, WorkerProcess

from . import exchange
from .exchange import Application, Exchange, Turns

# What the workers below are written for. In HTTP/2 one connection carries hundreds of requests and has no time-outs;
# proxies do not use it towards us.
COMMAND = ("airvantage_keys.wsgi:application", "--interface", "wsgi", "--no-ws", "--http", "1")
DEFAULTS = {
    # A request waits for the database most of its time, so a few threads; not many, because each keeps a connection.
    "BLOCKING_THREADS": 4,
    # Milliseconds for the head of a request, which is also how long an idle connection is kept.
    "HTTP1_HEADER_READ_TIMEOUT": 10_000,
    "HTTP1_BUFFER_SIZE": 64 * 1024,
    "RESPAWN_FAILED_WORKERS": "true",
    "RESPAWN_INTERVAL": 1,
    # Seconds for requests under way when the server is stopped.
    "WORKERS_KILL_TIMEOUT": 30,
}
# Open connections of a process. Most of them wait, which costs little; each is an open file of the system.
CONNECTIONS = 4096
# Seconds in which a reader must take some of what is sent; then the system closes the connection.
READ_WITHIN = 60
# Seconds for the rest of a body when the server is stopped.
STOP_WITHIN = 5
# The first descriptor that systemd passes: SD_LISTEN_FDS_START.
FIRST_PASSED = 3
# Names the folder where the workers count, for prometheus-client.
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
# Seconds in which every answer says that its connection ends, before a server with a passed socket stops. More than
# a proxy keeps an idle connection to it (`keepalive_timeout` in deploy/nginx): then no request can meet a closed one.
FAREWELL = 9


class Deadlines:
    """Waits for futures: calls `then` with the future when it is done, or cancelled because its deadline has passed.

    Deadlines are checked once a second. Waits without a deadline are not: the system closes slow readers.
    """

    def __init__(self) -> None:
        self._deadlines: dict[Any, float] = {}
        self._latest = float("inf")
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    def wait(self, future: Any, then: Callable[[Any], None], deadline: float | None = None) -> None:
        if deadline is None:
            future.add_done_callback(then)
            return
        self._deadlines[future] = deadline
        future.add_done_callback(partial(self._done, then))

    def shorten(self) -> None:
        """The server stops: no deadline is later than STOP_WITHIN from now."""
        self._latest = time.monotonic() + STOP_WITHIN

    def _done(self, then: Callable[[Any], None], future: Any) -> None:
        del self._deadlines[future]
        then(future)

    def _watch(self) -> None:
        while True:
            time.sleep(1)  # a deadline of many seconds may be late by one
            self._cancel_late()

    def _cancel_late(self) -> None:
        # A function of its own, so that nothing here keeps a future, and with it a connection, until the next round.
        now = time.monotonic()
        for future, deadline in self._deadlines.copy().items():
            if min(deadline, self._latest) < now:
                future.cancel()


class _Loop:
    """What granian needs of an event loop: callbacks when a future is done. They run at once, in the same thread."""

    @staticmethod
    def call_soon(callback: Callable[..., None], *arguments: object, context: object = None) -> None:
        callback(*arguments)

    call_soon_threadsafe = call_soon


class Runner:
    """Begins each request in the thread that received it; it continues in the thread that completes what it awaits."""

    def __init__(self, application: Application, turns: Turns, access_log_format: str | None) -> None:
        self._application = application
        self._turns = turns
        self._log: Any = _build_access_logger(access_log_format) if access_log_format else None
        self.deadlines = Deadlines()

    def begin(self, watcher: Any) -> None:
        scope = watcher.scope
        done = partial(self._answered, scope, time.time(), time.perf_counter()) if self._log else None
        Exchange(
            self._application,
            scope,
            watcher.proto,
            self.deadlines.wait,
            self._turns.take,
            done=done,
            failed=watcher.err,
        ).begin()

    def _answered(self, scope: dict[str, Any], begun: float, clock: float, status: int) -> None:
        # The path as it was sent, in which a line break is still encoded.
        self._log(begun, clock, {**scope, "path": scope["raw_path"].decode("latin-1")}, status)


def start(*arguments: Any) -> None:
    """A worker process, from its start."""
    # While the application is being loaded, a signal may end the process at once. Without this it would only reach the
    # handler inherited from the parent, which does nothing here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches all processes, and right after it comes the SIGTERM by which the parent stops its workers.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    work(*arguments)


@WorkerProcess.wrap_target
def work(  # noqa: PLR0917 - granian's own order, all of it
    worker_id: int,
    application: Application,
    sock: tuple[Any, Any],
    ipc: Any,
    _loop: Any,
    runtime_mode: Any,
    runtime_threads: int,
    runtime_blocking_threads: int,
    blocking_threads: int,
    blocking_threads_idle_timeout: int,
    backpressure: int,
    _task_impl: Any,
    http_mode: Any,
    http1_settings: Any,
    http2_settings: Any,
    websockets: Any,
    static_path: Any,
    access_log_format: str | None,
    tls: tuple[Any, ...],
    _scope_options: Any,
    metrics: Any,
) -> None:
    """A worker process, from its loaded application to its end."""
    runner = Runner(application, Turns(blocking_threads), access_log_format)
    shutdown, ended = WorkerSignal(), threading.Event()
    shutdown.add_cb(ended.set)

    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    # Its type stubs are out of date.
    make_worker: Any = ASGIWorker
    worker = make_worker(
        worker_id,
        sock,
        ipc,
        runtime_threads,
        runtime_blocking_threads,
        blocking_threads + 1,  # for probes
        blocking_threads_idle_timeout,
        backpressure,
        http_mode,
        http1_settings,
        http2_settings,
        websockets,
        static_path,
        *tls,
        metrics,
    )
    make_scheduler: Any = CallbackScheduler
    scheduler = make_scheduler(_Loop, None, None, None, None)
    scheduler._schedule_fn = runner.begin  # noqa: SLF001 - where granian's own subclasses set it
    serve = getattr(worker, WORKERS_METHODS[runtime_mode][(sock[0] or sock[1]).is_uds()])
    serve(scheduler, _Loop, shutdown)
    _close_on_stalled_readers()
    # Granian is told from here, once, and not from the signal handler: a message before it listens is lost, and it
    # would block for ever on a second one.
    while not told and not ended.is_set():
        time.sleep(0.2)  # so late may a stop be noticed
    exchange.stopping.set()
    if sock[1]:
        # It goes on accepting: a connection that waits in a queue is no better off than one that is answered here.
        ended.wait(FAREWELL)
    runner.deadlines.shorten()
    shutdown.set()
    ended.wait()
    _write_what_was_counted()


def _write_what_was_counted() -> None:
    from profiles.clients import uses  # not at the top: it needs the settings

    uses.write()


def _close_on_stalled_readers() -> None:
    """Have the system close connections whose reader takes nothing: they inherit this option of the listening socket.

    Such connections hold no thread, but the answer and one of the CONNECTIONS.
    """
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # no socket
            continue
        with found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_WITHIN * 1000)


class Server(MPServer):
    """Granian's server, which starts, watches and stops the workers; and, where METRICS_PORT is set, the exporter."""

    _spawn_wsgi_worker = staticmethod(start)
    _exporter: Exporter | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if _said("LOG_FORMAT").upper() == "JSON" and not options.get("log_dictconfig"):
            from .logs import of_the_server  # not at the top: it brings half of Django into this process

            options["log_dictconfig"] = of_the_server()
        super().__init__(*arguments, **options)

    def _init_shared_socket(self) -> None:
        passed = _passed_socket()
        if passed is None:
            super()._init_shared_socket()
            return
        # Else each worker would make a socket of its own, whose waiting connections end with it.
        self._ssp, self._sso = None, None
        make_holder: Any = SocketHolder  # its type stub is out of date
        is_uds = False
        self._shd = make_holder(passed.fileno(), is_uds, self.backlog)
        self.bind_addr, self.bind_port = passed.getsockname()[:2]
        passed.detach()  # it stays open as long as this process

    def _start_metrics(self) -> None:
        """Granian's own metrics go to a free port of this machine, from which the exporter fetches them."""
        if COUNTED_IN not in os.environ:  # somebody wants granian's alone
            super()._start_metrics()
            return
        listening = ListenerSpec("127.0.0.1", 0, 128).build()
        self._metrics_sig = WorkerSignal()
        self._metrics_exporter.run(listening, self._metrics_sig)
        found = socket.socket(fileno=os.dup(listening.get_fd()))
        with found:
            self._exporter = Exporter(found.getsockname()[1])

    def _stop_metrics(self) -> None:
        if self._exporter:
            self._exporter.stop()
        super()._stop_metrics()


class Exporter:
    """Keeps a process of `exporter` running."""

    def __init__(self, port_of_granian: int) -> None:
        self._command = [sys.executable, "-m", f"{__package__}.exporter", str(os.getpid()), str(port_of_granian)]
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._keep, name="exporter", daemon=True).start()

    def _keep(self) -> None:
        while not self._stopped.is_set():
            self._process = subprocess.Popen(self._command, cwd=Path(__file__).parent.parent)  # noqa: S603 - ours
            self._process.wait()
            self._stopped.wait(1)

    def stop(self) -> None:
        # One that is started at this moment ends by itself, when this process does.
        self._stopped.set()
        if self._process:
            self._process.terminate()


def _passed_socket() -> socket.socket | None:
    """The listening socket that systemd made for this process, if it did. Anything else that it passed is an error."""
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return None
    if os.environ.pop("LISTEN_FDS", "") != "1":
        sys.exit("airvantage_keys: what is passed must be one socket.")
    passed = socket.socket(fileno=FIRST_PASSED)
    if passed.family not in (socket.AF_INET, socket.AF_INET6) or passed.type != socket.SOCK_STREAM:
        sys.exit("airvantage_keys: what is passed must be a socket of TCP.")
    return passed


def _connections() -> int:
    """How many connections the system lets a process have, when it is asked for as many as we want."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 2 if most == resource.RLIM_INFINITY else min(CONNECTIONS * 2, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted // 2


def _said(variable: str) -> str:
    """A variable in the process that has no settings; the others check its value."""
    return os.environ.get(variable, "").strip()


def main() -> None:
    # granian limits connections by this, and accepts no more until some are closed.
    for name, value in {**DEFAULTS, "BACKPRESSURE": _connections()}.items():
        os.environ.setdefault(f"GRANIAN_{name}", str(value))
    if "LISTEN_PID" in os.environ:
        # The workers need the descriptor of a passed socket. From Python 3.14 on this is no longer the default.
        multiprocessing.set_start_method("fork")
    cli.Server = Server  # type: ignore[attr-defined]  # its command line takes it from here
    sys.argv[1:1] = COMMAND
    if not _said("METRICS_PORT").strip("0"):
        cli.entrypoint()
        return
    os.environ["GRANIAN_METRICS_ENABLED"] = "true"
    with tempfile.TemporaryDirectory(prefix="airvantage-keys-metrics-") as folder:
        os.environ[COUNTED_IN] = folder
        cli.entrypoint()


if __name__ == "__main__":
    main()
