"""Typed readers of environment variables: the right value, or one sentence that says which variable is wrong.

A value is taken literally: it cannot refer to another variable. Spaces around it are ignored, and an empty value counts
as not set. All values are checked here, at the start, not at the first request. A value that can contain a password is
not repeated in a message.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection
from email import policy
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

Settings = dict[str, Any]

DATABASE = (
    "an address such as postgres://user:password@host/name, or sqlite:////folder/file in a folder that is there, with "
    "a file that SQLite made or has yet to make"
)
CACHE = "an address such as redis://host:6379/0"
MAIL = "an address such as smtp+tls://user:password@host:587"
ENCODED = " (what is special in a user, a password or a path is written as in %23 for #)"

PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# What a browser reads as an IPv4 address, in any notation.
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
_HALF_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")

MAIL_SERVERS: dict[str, Settings] = {
    "smtp": {"EMAIL_PORT": 25},
    "smtp+tls": {"EMAIL_PORT": 587, "EMAIL_USE_TLS": True},
    "smtp+ssl": {"EMAIL_PORT": 465, "EMAIL_USE_SSL": True},
    "smtps": {"EMAIL_PORT": 465, "EMAIL_USE_SSL": True},
}
# For a site without a mail server, and for tests.
MAIL_WRITERS = {
    "consolemail": "airvantage_keys.logs.MailToLog",
    "filemail": "django.core.mail.backends.filebased.EmailBackend",
    "memorymail": "django.core.mail.backends.locmem.EmailBackend",
    "dummymail": "django.core.mail.backends.dummy.EmailBackend",
}
PROCESS_CACHES = {"locmemcache://": "locmem.LocMemCache", "dummycache://": "dummy.DummyCache"}


def text(name: str, default: str = "") -> str:
    """One line of text."""
    value = os.environ.get(name, "").strip()
    if not value.isprintable():  # neither a line break nor bytes that are not UTF-8
        raise ImproperlyConfigured(f"{name} must be one line of printable text.")
    return value or default


def texts(name: str) -> list[str]:
    """Texts with commas between them, which none of them has."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:80]}…")


def flag(name: str, *, default: bool) -> bool:
    value = text(name, "on" if default else "off").lower()
    if value not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ImproperlyConfigured(f"{name} must be on or off, not {_shown(value)}.")
    return value in ("1", "true", "yes", "on")


def number(name: str, *, default: int, least: int, most: int = 10 * 366 * 24 * 3600) -> int:
    """A whole number; the default maximum is ten years in seconds, which no date arithmetic here overflows."""
    value = text(name, str(default))
    if not re.fullmatch("[0-9]{1,12}", value) or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}, not {_shown(value)}.")
    return int(value)


def share(name: str, *, default: str) -> float:
    """A number from 0 to 1."""
    value = text(name, default)
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", value):
        raise ImproperlyConfigured(f"{name} must be a number from 0 to 1, such as 0.01, not {_shown(value)}.")
    return float(value)


def choice(name: str, *, default: str, choices: Collection[str]) -> str:
    """One of these words; the case does not matter."""
    value = text(name, default).upper()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {_shown(value)}.")
    return value


# --- Hosts and origins ------------------------------------------------------------------------------------


def host(name: str, default: str) -> str:
    """A host name or an address, without brackets."""
    value = _plain_host(text(name, default))
    if not _is_host(value):
        raise ImproperlyConfigured(f"{name} must be a host name or an address such as 127.0.0.1, not {_shown(value)}.")
    return value


def hosts(name: str, default: list[str]) -> list[str]:
    """Host names in the form of Django's ALLOWED_HOSTS: IPv6 in brackets, `.name` with all names below it, or `*`."""
    value = text(name)
    if not value:
        return default
    found = [_plain_host(part) for part in value.split(",") if part.strip()]
    if not found or not all(each == "*" or _is_host(each) or _is_domain(each) for each in found):
        raise ImproperlyConfigured(
            f"{name} must be host names with commas between them, such as keys.example.com,.example.org, without "
            f"scheme or port, and xn--... for letters beyond a to z, not {_shown(value)}."
        )
    return [in_address(each) for each in found]


def origin(name: str, default: str) -> str:
    """An origin exactly as browsers write it, because it is compared as text."""
    value = text(name, default)
    right = "https://keys.example.com"
    try:
        parts = urlsplit(value)
        asked, port = _plain_host(parts.hostname or ""), parts.port
    except ValueError:
        asked, port = "", None
    else:
        if parts.scheme in PORTS and _is_host(asked) and port != 0:
            right = origin_of(parts.scheme, asked, port)
    if value != right:
        shown = "something with a user in it" if "@" in value else _shown(value)
        raise ImproperlyConfigured(f"{name} must be an origin as browsers write it, such as {right}, not {shown}.")
    return value


def origin_of(scheme: str, host: str, port: int | None) -> str:
    port_part = "" if port in (None, PORTS[scheme]) else f":{port}"
    return f"{scheme}://{in_address(host)}{port_part}"


def in_address(host: str) -> str:
    """The host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def _plain_host(value: str) -> str:
    """The host in small letters, an IPv6 address in its shortest form and without brackets."""
    value = value.strip().lower()
    try:
        return str(ipaddress.IPv6Address(value[1:-1] if value.startswith("[") and value.endswith("]") else value))
    except ValueError:
        return value


def _is_host(value: str) -> bool:
    if ":" in value or _NUMBER.fullmatch(value):
        try:
            return "%" not in value and bool(ipaddress.ip_address(value))
        except ValueError:
            return False
    return len(value) <= 253 and bool(_NAME.fullmatch(value))


def _is_domain(value: str) -> bool:
    return value.startswith(".") and ":" not in value and _is_host(value[1:])


# --- Addresses of services ----------------------------------------------------------------------------------


def database(name: str, default: Path, *, base: Path) -> Settings:
    """Django's settings for this database: PostgreSQL, or a SQLite file. A relative path begins at `base`.

    PostgreSQL's URLs are parsed by its own library, as in psql and pg_dump. The default is a path and never a URL:
    special characters in the name of a folder must not be parsed as parts of a URL.
    """
    value = text(name)
    if not value:
        return _sqlite(default)
    scheme, _, rest = value.partition("://")
    try:
        if scheme in ("postgres", "postgresql"):
            return _postgresql(value)
        if scheme == "sqlite" and rest in (":memory:", "/:memory:"):
            return _sqlite(":memory:")
        if scheme == "sqlite":
            path = base / _path(rest)
            if path.parent.is_dir() and _may_be_sqlite(path):
                return _sqlite(path)
    except (ValueError, OSError):
        pass
    raise ImproperlyConfigured(f"{name} must be {DATABASE}{ENCODED}.")


def _sqlite(file: Path | str) -> Settings:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}


def _may_be_sqlite(path: Path) -> bool:
    """Whether there is no such file yet, or an empty one, or one that SQLite made."""
    if not path.exists():
        return True
    with path.open("rb") as file:  # before SQLite opens it: closing this handle later would release SQLite's locks
        return file.read(16) in (b"", b"SQLite format 3\0")


def _postgresql(address: str) -> Settings:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        options: dict[str, Any] = dict(conninfo_to_dict(address))
    except ProgrammingError as error:
        raise ValueError from error
    named = {name: options.pop(key, "") for name, key in _POSTGRESQL.items()}
    ports = [port for port in named["PORT"].split(",") if port]
    # If an @ or a / of a password is not encoded, parts of the password end up in these.
    if "@" in named["HOST"] or re.search("[@/#]", named["NAME"]) or not all(map(_is_port, ports)):
        raise ValueError
    if not (named["NAME"] or "service" in options):
        raise ValueError
    return {"ENGINE": "django.db.backends.postgresql", **named, "OPTIONS": options}


_POSTGRESQL = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}


def cache(name: str) -> Settings:
    """Django's settings for this cache: a table of the database, or Redis; or, for tests, the memory of the process."""
    value = text(name)
    backends = "django.core.cache.backends"
    if not value:
        return cache_table()
    if value in PROCESS_CACHES:
        return {"BACKEND": f"{backends}.{PROCESS_CACHES[value]}"}
    if (table := value.removeprefix("dbcache://")) != value and re.fullmatch("[a-z_][a-z0-9_]{0,62}", table):
        return {"BACKEND": f"{backends}.db.DatabaseCache", "LOCATION": table}
    if not _is_redis(value):
        raise ImproperlyConfigured(f"{name} must be {CACHE}{ENCODED}.")
    # In a list: Django would split a string at a comma or semicolon, which a password can contain.
    return {"BACKEND": "profiles.limits.shared_cache.RedisOrTable", "LOCATION": [value]}


def cache_table() -> Settings:
    return {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}


def _is_redis(address: str) -> bool:
    import redis

    try:
        parts = _service(address)
        if parts.scheme not in ("redis", "rediss") or not re.fullmatch("/?|/[0-9]{1,5}", parts.path):
            return False
        # Makes the connection object, which checks the options, but does not connect.
        redis.Redis.from_url(address).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):
        return False
    return True


def email(name: str) -> Settings:
    """Django's settings for sending mail by this server, or for a site that sends none."""
    value = text(name, "consolemail://")
    scheme, separator, rest = value.partition("://")
    try:
        if separator and (backend := MAIL_WRITERS.get(scheme)):
            written = {"EMAIL_FILE_PATH": _path(rest)} if scheme == "filemail" else {}
            if bool(written) == bool(rest):
                return {"EMAIL_BACKEND": backend, **written}
        if defaults := MAIL_SERVERS.get(scheme):
            return {"EMAIL_BACKEND": "profiles.mail.smtp.EmailBackend", **defaults, **_mail_server(value)}
    except ValueError:
        pass
    raise ImproperlyConfigured(f"{name} must be {MAIL}{ENCODED}.")


def _mail_server(address: str) -> Settings:
    parts = _service(address)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    # Django authenticates only if it has both, and SMTP authentication takes ASCII.
    if parts.path.strip("/") or parts.query or bool(user) != bool(password) or not (user + password).isascii():
        raise ValueError
    port = {"EMAIL_PORT": parts.port} if parts.port else {}
    return {"EMAIL_HOST": parts.hostname, "EMAIL_HOST_USER": user, "EMAIL_HOST_PASSWORD": password, **port}


def _service(address: str) -> SplitResult:
    """The parts of a server's address. Raises ValueError, too, where something in it seems not to be encoded."""
    parts = urlsplit(address)
    if not parts.hostname or parts.port == 0 or "#" in address or _HALF_ENCODED.search(address):
        raise ValueError
    # Only one host: spaces, and commas between several, are refused.
    if not re.fullmatch(r"[a-z0-9_.:-]+", parts.hostname):
        raise ValueError
    return parts


def _path(rest: str) -> str:
    """The path of an address without a host: `/folder/file`, or `//folder/file` where it is absolute."""
    if not re.fullmatch("/[^#?]+", rest) or _HALF_ENCODED.search(rest):
        raise ValueError
    path = unquote(rest[1:], errors="strict")
    if not path.isprintable():
        raise ValueError
    return path


def _is_port(value: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", value)) and 0 < int(value) < 65536


# --- The rest -----------------------------------------------------------------------------------------------


def folder(name: str, default: Path, *, base: Path) -> Path:
    """A folder that can be written to, or made. A relative path begins at `base`."""
    value = text(name)
    if not value:
        return default
    path = base / value
    there = next(each for each in (path, *path.parents) if each.exists())
    if value.startswith("~") or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"{name} must be a folder that can be written to or made, not {_shown(value)}.")
    return path


def sender(name: str, default: str) -> str:
    """One address, with or without a name, as in the From header of a mail."""
    value = text(name, default)
    if not _is_mailbox(value):
        raise ImproperlyConfigured(
            f"{name} must be one address such as AirVantage Keys <keys@example.com>, with double quotes around a name "
            f"that has a comma or the like, not {_shown(value)}."
        )
    return value


def _is_mailbox(value: str) -> bool:
    try:
        header = policy.default.header_factory("From", value)
    except (IndexError, AttributeError, TypeError):  # raised by the standard library's parser for some values
        return False
    if header.defects or len(header.groups) != 1 or header.groups[0].display_name is not None:
        return False
    [mailbox] = header.addresses
    return bool(mailbox.username and mailbox.domain)
