"""A mail server that keeps what it is sent, and may be slow, away, or refuse somebody."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from .server import free_port


class MailServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Session)
        self.taken: list[bytes] = []
        self.refused = ""
        """Whoever's address this is."""
        self.reached = threading.Event()
        """Whether a mail was offered."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.may_say_so = threading.Event()
        """Whether it says at once that it has taken a mail."""
        self.may_say_so.set()

    @property
    def url(self) -> str:
        return url(self.server_address[1])

    @property
    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(mail, policy=policy.default) for mail in self.taken]


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.server.reached.set()
        self.server.may_answer.wait(60)
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.taken.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.server.may_say_so.wait(60)
            if word == b"RCPT" and self.server.refused and self.server.refused.encode() in line:
                self.wfile.write(b"550 nobody here\r\n")
            else:
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailServer]:
    with MailServer(port) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.may_answer.set()
            server.may_say_so.set()
            server.shutdown()


def url(port: int) -> str:
    return f"smtp://127.0.0.1:{port}"


def nowhere() -> int:
    """A port at which there is no mail server, yet."""
    return free_port()
