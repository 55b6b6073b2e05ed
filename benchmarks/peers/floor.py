"""floor-wsgi: what a token and a call with one cost at least, with the product's database and without the product.

Of OAuth it does the minimum: Basic credentials decoded, a digest, the product's own statement, JSON. STATEMENTS has the
two statements, as `benchmarks.ours statements` prints them. Nothing else here is the product's, nor Django's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

DATABASE = os.environ["DATABASE_URL"]
SQLITE = DATABASE.startswith("sqlite:")
STATEMENTS = json.loads(os.environ["STATEMENTS"])
if SQLITE:
    STATEMENTS = {name: re.sub(r"%\((\w+)\)s", r":\1", sql) for name, sql in STATEMENTS.items()}
UNAUTHORIZED = ("401 Unauthorized", {"error": "invalid_client or invalid_token"})
kept = threading.local()


def connect() -> Callable[..., Any]:
    """A connection of this thread's own, kept: what executes a statement on it."""
    if SQLITE:
        database = sqlite3.connect(DATABASE.removeprefix("sqlite:///"), timeout=20, isolation_level=None)
        database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
        return database.execute
    cursor = psycopg.connect(DATABASE, autocommit=True, prepare_threshold=0).cursor(binary=True)
    return cursor.execute


def first_row(statement: str, **values: str) -> Any:
    if not hasattr(kept, "execute"):
        kept.execute = connect()
    return kept.execute(STATEMENTS[statement], values).fetchone()


def moment(after: timedelta = timedelta()) -> str:
    """Now or later, as the database has it: Django's SQLite tables are in UTC, without saying so."""
    text = (datetime.now(UTC) + after).isoformat(" ", "microseconds")
    return text[:26] if SQLITE else text


def digest(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def token(environ: dict[str, Any]) -> tuple[str, Any]:
    environ["wsgi.input"].read()
    client_id, _, secret = base64.b64decode(environ["HTTP_AUTHORIZATION"][len("Basic ") :]).decode().partition(":")
    new = secrets.token_urlsafe(32)
    given = {"token": digest(new), "client_id": client_id, "secret": digest(secret), "scope": "inherit", "policy": ""}
    if first_row("issue", **given, now=moment(), expires=moment(timedelta(hours=1))) is None:
        return UNAUTHORIZED
    return "200 OK", {"access_token": new, "token_type": "Bearer", "expires_in": 3600, "scope": "inherit"}


def resource(environ: dict[str, Any]) -> tuple[str, Any]:
    shown = environ.get("HTTP_AUTHORIZATION", "")[len("Bearer ") :]
    row = first_row("find", token=digest(shown), now=moment())
    if row is None or not row[0]:
        return UNAUTHORIZED
    # By the columns' places; `Server.check` compares the answer with the product's.
    (uid, email, name, phone_number, picture), (company, company_name, profile, profile_name) = row[13:18], row[19:23]
    return "200 OK", {
        "company": company and {"uid": company, "name": company_name},
        "uid": uid,
        "email": email,
        "name": name,
        "phoneNumber": phone_number,
        "profile": profile and {"uid": profile, "name": profile_name},
        "picture": {size: f"/users/{uid}/picture/{size}" for size in ("icon", "normal", "small")} if picture else None,
    }


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    status, answer = (token if environ["REQUEST_METHOD"] == "POST" else resource)(environ)
    body = json.dumps(answer, separators=(",", ":")).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
