"""The database as script/backup and script/restore need it: directly, and for PostgreSQL's own programs.

`python -m airvantage_keys.direct`

    kind                prints `postgresql`, or `sqlite` and the path of its file
    run PROGRAM ...     becomes that program, with the address where libpq looks for it: in the environment. So no
                        password is in the list of processes, and nothing in the address has to be quoted
    in NAME PROGRAM ... the same, in another database of that server, or in another SQLite file
    copy FROM TO        copies a SQLite file as of one moment, without its sessions, while others write
    check FILE          an error unless this is the whole SQLite database of a site
    fold FILE           brings a SQLite file to be all that there is of its database; an error if others have it open

The address is that of MAINTENANCE_DATABASE_URL, which goes past a pooler, or of DATABASE_URL.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured

from . import environment

VARIABLES = ("MAINTENANCE_DATABASE_URL", "DATABASE_URL")
BASE = Path(__file__).resolve().parent.parent
DEFAULT = BASE / "var" / "db.sqlite3"
# Whoever has a session's id is signed in.
SESSIONS = ("django_session", "usersessions_usersession")


def variable() -> str:
    """The variable that has the address."""
    return next((name for name in VARIABLES if environment.text(name)), VARIABLES[-1])


def use() -> None:
    """Have this process connect directly: for commands that change tables, or move the whole database."""
    if direct := environment.text(VARIABLES[0]):
        os.environ[VARIABLES[1]] = direct


def libpq(address: str) -> dict[str, str]:
    """The parts of an address by the variables in which PostgreSQL's programs look for them."""
    from psycopg.pq import Conninfo

    parts = Conninfo.parse(address.encode())
    return {part.envvar.decode(): part.val.decode() for part in parts if part.envvar and part.val}


def _kind() -> str:
    found = environment.database(variable(), DEFAULT, base=BASE)
    return "postgresql" if "postgresql" in found["ENGINE"] else f"sqlite {found['NAME']}"


def _run(program: list[str], name: str = "") -> None:
    found = environment.database(variable(), DEFAULT, base=BASE)
    is_postgresql = "postgresql" in found["ENGINE"]
    if is_postgresql:
        os.environ.update(libpq(environment.text(variable())))
    if name:
        os.environ.pop(VARIABLES[0], None)
        os.environ[VARIABLES[1]] = f"{'postgres' if is_postgresql else 'sqlite'}:///{quote(name)}"
    os.execvp(program[0], program)  # noqa: S606 - what the script names


def _copy(source: str, target: str) -> None:
    with closing(sqlite3.connect(f"{Path(source).as_uri()}?mode=rw", uri=True, timeout=60)) as database:
        database.execute("VACUUM INTO ?", [target])
    with closing(sqlite3.connect(target, isolation_level=None)) as copied:
        copied.execute("PRAGMA secure_delete = ON")
        for table in SESSIONS:
            copied.execute(f"DELETE FROM {table}")  # noqa: S608 - of constants
    _check(target)


def _check(file: str) -> None:
    with closing(sqlite3.connect(f"{Path(file).as_uri()}?mode=rw", uri=True)) as database:
        found = database.execute("PRAGMA integrity_check").fetchall()
        database.execute("SELECT 1 FROM profiles_user")
    if found != [("ok",)]:
        raise sqlite3.DatabaseError(f"{file} is damaged: {found[0][0]}")


def _fold(file: str) -> None:
    with closing(sqlite3.connect(f"{Path(file).as_uri()}?mode=rw", uri=True, timeout=1)) as database:
        # It needs the file for itself; others hold a lock on it as long as they have it open.
        if database.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
            raise sqlite3.OperationalError("the database is in use")


def main(arguments: list[str]) -> None:
    match arguments:
        case ["kind"]:
            print(_kind())  # noqa: T201 - the answer
        case ["run", *program] if program:
            _run(program)
        case ["in", name, *program] if program:
            _run(program, name)
        case ["check", file]:
            _check(file)
        case ["copy", source, target]:
            _copy(source, target)
        case ["fold", file]:
            _fold(file)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ImproperlyConfigured, sqlite3.Error, OSError) as problem:
        sys.exit(f"{Path(sys.argv[0]).stem}: {problem}")
