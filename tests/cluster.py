"""A PostgreSQL server that is only for tests and may be stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg


class Cluster:
    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="airvantage-keys-trouble."))
        self.user = None if os.geteuid() else pwd.getpwnam("postgres").pw_name  # PostgreSQL refuses to run as root
        if self.user:
            shutil.chown(self.folder, self.user)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._run("initdb", "--username", "keys", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        settings = f"listen_addresses='127.0.0.1'\nport={self.port}\nunix_socket_directories=''\nfsync=off\n"
        self._run_as("tee", "-a", str(self.folder / "data" / "postgresql.conf"), text=settings)

    def start(self) -> None:
        self._run("pg_ctl", "--log", str(self.folder / "log"), "--wait", "--silent", "start")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "--mode", mode, "--wait", "--silent", "stop")

    def freeze(self) -> None:
        """From here on it takes connections and says nothing, in those that there are too."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, user: str, name: str) -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str) -> None:
        """As the superuser, from outside the site's database."""
        with psycopg.connect(self.url("keys", "postgres"), autocommit=True) as superuser:
            superuser.execute(statement.encode())

    def end_connections(self) -> None:
        """End the site's connections: settings of a database are read when one begins."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'site'")

    def _signal(self, sent: signal.Signals) -> None:
        server = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for process in (server, *map(int, children)):
            with suppress(ProcessLookupError):  # one that ends at this moment
                os.kill(process, sent)

    def _run(self, program: str, *arguments: str) -> None:
        self._run_as(str(self.programs / program), "--pgdata", str(self.folder / "data"), *arguments)

    def _run_as(self, *command: str, text: str = "") -> None:
        switch = ["runuser", "-u", self.user, "--"] if self.user else []
        done = subprocess.run(
            [*switch, *command],
            input=text,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            check=False,
        )
        assert done.returncode == 0, done.stderr


def programs_of_postgres() -> Path | None:
    """Debian keeps them out of PATH, one folder a version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).parent if found else None
