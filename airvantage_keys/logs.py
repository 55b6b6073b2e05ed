"""What is written to the log: no data of a request can begin a line, and there is no credential.

The rules, which hold for every logger, the server's own included, and for mails that are logged instead of sent:

- A line that is not indented was begun by us: time, level, logger, message. What a message is made of stays
  in that line, whatever characters it has; tracebacks and mails, which have many, are indented (CWE-117, ASVS 16.4.1).
- A secret, an access token and a link that is a credential by itself are hidden (ASVS 16.2.5). Of a link, that is
  everything after the part of its path that says what it is for, up to the end of the text that contains it.

With `LOG_FORMAT=json` a line is one object instead, by the same rules. What a message names, as in `client_id=%s`, is
a member of the object, too.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends import console

from profiles.text.printable import printable

from . import request_ids

# No line of ours names them, so they are not looked for (Python's "Logging HOWTO", Optimization).
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

INDENT = "    "
HIDDEN = "[hidden]"
# The longest value in a message, such as a path, in characters, and the longest line, in bytes. A line of no more than
# 4096 reaches a pipe in one piece (POSIX, PIPE_BUF): nothing of another process can come between two parts of it.
VALUE_AT_MOST, LINE_AT_MOST = 500, 3500
# The longest object without its traceback, in bytes; and how much of a traceback is kept, its end, in characters.
OBJECT_AT_MOST, EXCEPTION_AT_MOST = 4000, 16_000

_SLASH = "(?:/|%(?:25)*2f)"  # also encoded, as in a URL within a URL
# The paths after which the rest is a credential; `tests/test_logs.py` compares them with the URLconf.
_LINK = f"({_SLASH}password{_SLASH}+reset{_SLASH}+key|{_SLASH}email{_SLASH}+confirm)"
_link_and_all_behind = re.compile(f"{_LINK}.+", re.IGNORECASE | re.DOTALL)
_link_up_to_a_blank = re.compile(rf"{_LINK}\S+", re.IGNORECASE)
_credential = re.compile("(av[cst](?:_|%5f))[0-9a-z]{8,}", re.IGNORECASE)
_conversion = re.compile(r"(?:\b(\w{1,40})=)?(%%|%[-#0 +]{0,5}[0-9.]{0,9}[a-zA-Z])")

encoded = msgspec.json.encode


def without_credentials(text: str) -> str:
    """The text without secrets and tokens, also those that were cut off."""
    return _credential.sub(_hidden, text)


class SafeRecord(logging.LogRecord):
    """A line whose values are safe by what they are, such as numbers: nothing is looked for in them, which takes most
    of the time of a line.
    """

    def __init__(self, name: str, level: int, what: str, members: dict[str, Any]) -> None:
        words = " ".join([f"{member}={value}" for member, value in members.items()])
        super().__init__(name, level, "", 0, f"{what}: {words}", (), None)
        self.members = members


class Formatter(logging.Formatter):
    """What both formats do: a record becomes a message in one line, and what belongs to it in further lines."""

    def parts(self, record: logging.LogRecord) -> tuple[str, list[str]]:
        if isinstance(record, SafeRecord):
            return str(record.msg), []
        message, more = _message(record), []
        if record.name.startswith("_granian"):  # the server's, whose messages have their tracebacks in them
            message, *more = message.split("\n")
        if record.exc_info:
            more += self.formatException(record.exc_info).split("\n")
        if record.stack_info:
            more += record.stack_info.split("\n")
        further = [_line(_link_and_all_behind.sub(_hidden, line)) for line in more if line]
        return _line(_link_up_to_a_blank.sub(_hidden, message)), further


class LineFormatter(Formatter):
    """Formats log lines by the rules above. The id of the request stands at the end of the line, where what stands
    before it does not change its place.
    """

    def format(self, record: logging.LogRecord) -> str:
        message, more = self.parts(record)
        request_id = request_ids.current()
        known = f" request_id={request_id}" if request_id else ""
        at = _second("%Y-%m-%d %H:%M:%S", int(record.created))
        first = f"{at},{int(record.msecs):03d} {record.levelname} {record.name} {message}{known}"
        return "\n".join([first, *[INDENT + line for line in more]]) if more else first


class JsonFormatter(Formatter):
    """Formats each record as one object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        message, more = self.parts(record)
        written = _head(record) | {"message": message}
        whole = written | {name: value for name, value in _members(record).items() if name not in written}
        if len(encoded(whole)) > OBJECT_AT_MOST:
            # A character that is fit to print takes twice its length at most, so this is not too long.
            whole = written | {"message": _cut(message, LINE_AT_MOST // 2)}
        if more:
            whole["exception"] = "\n".join(more)[-EXCEPTION_AT_MOST:]
        return encoded(whole).decode()


class MailToLog(console.EmailBackend):
    """Mails where none can be sent: to stderr, as the rest of the log, because stdout is for the output of commands.

    Nothing is hidden in them: their links are for whoever reads this log instead of a mailbox.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"stream": sys.stderr, **options})

    def write_message(self, message: EmailMessage) -> None:
        text = message.message().as_bytes().decode(errors="replace")
        if settings.LOG_FORMAT == "JSON":
            record = logging.LogRecord(__name__, logging.INFO, "", 0, "", (), None)
            said = _head(record) | {"message": "mail, not sent", "mail": "\n".join(map(printable, text.split("\n")))}
            self.stream.write(encoded(said).decode() + "\n")
        else:
            self.stream.write("".join(f"{INDENT}{printable(line)}\n" for line in [*text.split("\n"), "-" * 70]))


def of_the_server() -> dict[str, Any]:
    """What the server's first process, which has no settings of Django, needs to write as the others do (`LOGGING`)."""
    handler = {"class": "logging.StreamHandler", "formatter": "json"}
    return {
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": handler},
        "loggers": {"_granian": {"handlers": ["stderr"], "propagate": False}},
    }


@lru_cache(maxsize=4)
def _second(form: str, second: int) -> str:
    """A second in UTC: the same for all lines of it."""
    return time.strftime(form, time.gmtime(second))


def _head(record: logging.LogRecord) -> dict[str, Any]:
    """What each object has, in this order."""
    at = f"{_second('%Y-%m-%dT%H:%M:%S', int(record.created))}.{int(record.msecs):03d}Z"  # RFC 3339
    head = {"time": at, "level": record.levelname, "logger": record.name}
    request_id = request_ids.current()
    return head | {"request_id": request_id} if request_id else head


def _members(record: logging.LogRecord) -> dict[str, Any]:
    """The values that the message of a record names."""
    if isinstance(record, SafeRecord):
        return record.members
    values = record.args
    # Without values the message is none of our templates: whatever it is, nothing is looked for in it.
    if not values or not isinstance(values, tuple) or len(names := _names(str(record.msg))) != len(values):
        return {}
    return {name: _member(value) for name, value in zip(names, values, strict=True) if name}


@lru_cache
def _names(template: str) -> list[str]:
    """The name before each conversion of a message, as in `client_id=%s`; "" where there is none."""
    return [name for name, conversion in _conversion.findall(template) if conversion != "%%"]


def _member(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _line(_link_and_all_behind.sub(_hidden, str(_value(value))))


def _message(record: logging.LogRecord) -> str:
    """The message, with each value treated separately: hiding or cutting one does not affect the others."""
    text, values = str(record.msg), record.args
    if not values:
        return text
    if isinstance(values, Mapping):
        return text % {name: _value(value) for name, value in values.items()}
    return text % tuple(_value(value) for value in values)


def _value(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(without_credentials(_link_and_all_behind.sub(_hidden, value)))
    return text if len(text) <= VALUE_AT_MOST else text[:VALUE_AT_MOST] + "..."


def _line(text: str) -> str:
    return _cut(printable(without_credentials(text)), LINE_AT_MOST)


def _cut(text: str, at_most: int) -> str:
    """The text, or its beginning; `at_most` is in bytes."""
    in_bytes = text.encode()
    return text if len(in_bytes) <= at_most else in_bytes[:at_most].decode(errors="ignore") + "..."


def _hidden(found: re.Match[str]) -> str:
    return found.group(1) + HIDDEN
