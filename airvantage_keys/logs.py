"""What is written to the log: no data of a request can begin a line, and there is no credential.

The rules, which hold for every logger, the server's own included, and for mails that are logged instead of sent:

- A line that is not indented was begun by us: time, level, logger, message. What a message is made of stays
  in that line, whatever characters it has; tracebacks and mails, which have many, are indented (CWE-117, ASVS 16.4.1).
- A secret, an access token and a link that is a credential by itself are hidden (ASVS 16.2.5). Of a link, that is
  everything after the part of its path that says what it is for, up to the end of the text that contains it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import console

from profiles.text.printable import printable

# No line of ours names them, so they are not looked for (Python's "Logging HOWTO", Optimization).
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

INDENT = "    "
HIDDEN = "[hidden]"
# The longest value in a message, such as a path, in characters, and the longest line, in bytes. A line of no more than
# 4096 reaches a pipe in one piece (POSIX, PIPE_BUF): nothing of another process can come between two parts of it.
VALUE_AT_MOST, LINE_AT_MOST = 500, 3500

_SLASH = "(?:/|%(?:25)*2f)"  # also encoded, as in a URL within a URL
# The paths after which the rest is a credential; `tests/test_logs.py` compares them with the URLconf.
_LINK = f"({_SLASH}password{_SLASH}+reset{_SLASH}+key|{_SLASH}email{_SLASH}+confirm)"
_link_and_all_behind = re.compile(f"{_LINK}.+", re.IGNORECASE | re.DOTALL)
_link_up_to_a_blank = re.compile(rf"{_LINK}\S+", re.IGNORECASE)
_credential = re.compile("(av[cst](?:_|%5f))[0-9a-z]{8,}", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """The text without secrets and tokens, also those that were cut off."""
    return _credential.sub(_hidden, text)


class LineFormatter(logging.Formatter):
    """Formats log lines by the rules above."""

    def format(self, record: logging.LogRecord) -> str:
        message, more = _message(record), []
        if record.name.startswith("_granian"):  # the server's, whose messages have their tracebacks in them
            message, *more = message.split("\n")
        head = f"{self.formatTime(record)} {record.levelname} {record.name}"
        lines = [f"{head} {_line(_link_up_to_a_blank.sub(_hidden, message))}"]
        if record.exc_info:
            more += self.formatException(record.exc_info).split("\n")
        if record.stack_info:
            more += record.stack_info.split("\n")
        return "\n".join(lines + [INDENT + _line(_link_and_all_behind.sub(_hidden, line)) for line in more if line])


class MailToLog(console.EmailBackend):
    """Mails where none can be sent: to stderr, as the rest of the log, because stdout is for the output of commands.

    Nothing is hidden in them: their links are for whoever reads this log instead of a mailbox.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"stream": sys.stderr, **options})

    def write_message(self, message: EmailMessage) -> None:
        text = message.message().as_bytes().decode(errors="replace")
        self.stream.write("".join(f"{INDENT}{printable(line)}\n" for line in [*text.split("\n"), "-" * 70]))


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
    text = printable(without_credentials(text))
    encoded = text.encode()
    return text if len(encoded) <= LINE_AT_MOST else encoded[:LINE_AT_MOST].decode(errors="ignore") + "..."


def _hidden(found: re.Match[str]) -> str:
    return found.group(1) + HIDDEN
