"""What the benchmarks need of the machine: a throw-away PostgreSQL, servers, and what their processes cost."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "var" / "benchmarks"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """The benchmark cannot go on; the text says why."""


# --- Processes --------------------------------------------------------------------------------------------


def _stat() -> dict[int, tuple[int, int, int]]:
    """All processes: pid -> (parent, CPU ticks, pages resident)."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                # The name is in parentheses and may contain spaces.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            # Own user and system time, and that of the children which have ended.
            found[int(folder.name)] = (int(fields[1]), sum(map(int, fields[11:15])), int(fields[21]))
    return found


def family(root: int) -> dict[int, tuple[int, int]]:
    """A process and all its descendants: pid -> (CPU ticks, bytes resident)."""
    processes = _stat()
    children = defaultdict(list)
    for pid, (parent, _, _) in processes.items():
        children[parent].append(pid)
    members, todo = {}, [root]
    while todo:
        pid = todo.pop()
        if pid in processes:
            members[pid] = (processes[pid][1], processes[pid][2] * _PAGE)
            todo += children[pid]
    return members


def cpu_seconds(root: int) -> float:
    """The CPU time that a process and its descendants have taken so far."""
    return sum(ticks for ticks, _ in family(root).values()) / _TICKS


def busy_seconds() -> float:
    """The CPU time that all programs and the system have taken so far, and what the host gave to other machines.

    Without the handling of interrupts, which is for the network and disks of whoever is measured.
    """
    user, nice, system, _, _, _, _, stolen = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + stolen) / _TICKS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def run(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path = ROOT, show: bool = False
) -> str:
    """Run a command; its standard output, or Failed with the end of its output. `show` shows its messages."""
    done = subprocess.run(  # noqa: S603 - commands of ours
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} failed:\n{(done.stdout + (done.stderr or ''))[-2000:]}")
    return done.stdout


class Process:
    """A server under measurement, in a process group of its own, on a port of loopback."""

    started_here: ClassVar[list[Process]] = []

    def __init__(
        self, name: str, command: Sequence[str | Path], *, port: int, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name, self.port = name, port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - commands of ours
                command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **environment}, start_new_session=True
            )
        self.pid = self._process.pid
        self.started_here.append(self)

    def wait(self, path: str, within: float = 60) -> float:
        """Wait for the first answer; the seconds it took from the start."""
        while time.monotonic() - self.started < within:
            try:
                urllib.request.urlopen(self.url + path, timeout=5).close()  # noqa: S310 - loopback
            except urllib.error.HTTPError:
                return time.monotonic() - self.started
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.01)  # until it listens
            else:
                return time.monotonic() - self.started
        raise Failed(f"{self.name} does not answer:\n" + self.log.read_text()[-2000:])

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def peak_bytes(self) -> int:
        """The peak resident memory of the process itself."""
        try:
            peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            return 0
        return int(peak[1]) * 1024 if peak else 0

    def ended(self) -> bool:
        return self._process.poll() is not None

    def worker_bytes(self) -> int:
        """Resident memory of the largest process."""
        return max((resident for _, resident in family(self.pid).values()), default=0)

    def stop(self) -> None:
        for sent, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            if self._process.poll() is None:
                os.killpg(self.pid, sent)
                try:
                    self._process.wait(timeout=patience)
                except subprocess.TimeoutExpired:
                    continue


# --- PostgreSQL -------------------------------------------------------------------------------------------


class Cluster:
    """A PostgreSQL server of our own, with the durability of a fresh installation."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder, self._bin = folder, bin_folder
        self.port = free_port()
        self._as: list[str] = []
        if account := account_for_postgresql():
            self._as = ["runuser", "-u", account, "--"]
            shutil.chown(folder, account)

    def start(self) -> None:
        data = self.folder / "data"
        language = ("--encoding", "UTF8", "--locale", "C.UTF-8")
        self._run("initdb", "--pgdata", data, "--username", "keys", "--auth", "trust", *language)
        settings = f"-p {self.port} -h 127.0.0.1 -k '' -c max_connections=200"
        log = self.folder / "server.log"
        self._run("pg_ctl", "--pgdata", data, "--log", log, "--options", settings, "--wait", "start")
        self.pid = int((data / "postmaster.pid").read_text().splitlines()[0])

    def create(self, name: str) -> str:
        """A new database; its address."""
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", "keys", name)
        return f"postgres://keys@127.0.0.1:{self.port}/{name}"

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def stop(self) -> None:
        self._run("pg_ctl", "--pgdata", self.folder / "data", "--mode", "immediate", "stop")

    def _run(self, program: str, *arguments: str | Path) -> None:
        # From a folder that the other account may read. pg_ctl's server would keep a pipe open.
        log = self.folder / "commands.log"
        command = [*self._as, str(self._bin / program), *map(str, arguments)]
        with log.open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)  # noqa: S603
        if done.returncode:
            raise Failed(f"{program} failed:\n" + log.read_text()[-2000:])


def account_for_postgresql() -> str | None:
    """The account that PostgreSQL is to run as, if not this one: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return next((name for name in ("postgres", "nobody") if _account(name)), "nobody")


def postgresql_programs() -> Path:
    """The folder with `initdb` and its like, of the newest PostgreSQL here."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        raise Failed("no PostgreSQL server: apt-get install postgresql")
    return Path(initdb).parent


def _account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder on a disk (/tmp may be memory), which other accounts may enter; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="airvantage-keys-benchmark.", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def postgres() -> Iterator[Cluster]:
    """A running cluster, gone afterwards."""
    programs = postgresql_programs()
    with temporary_folder() as folder:
        cluster = Cluster(folder, programs)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


def description() -> str:
    """This machine in a line."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024**2
    name = processor[1] if processor else platform.machine()
    return f"{os.cpu_count()} cores ({name}), {memory} GiB, Linux {platform.release()}"
