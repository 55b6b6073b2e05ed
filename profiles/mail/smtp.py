"""Django's backend for a mail server, which can wait for the answer that decides whether a mail was taken."""

from __future__ import annotations

import smtplib
from typing import Any

from django.core.mail.backends import smtp

# Seconds from the end of a mail to the answer that it was taken. Whoever gives up earlier sends mails again that have
# arrived (RFC 5321 section 4.5.3.2.6). All other answers have `EMAIL_TIMEOUT`.
TAKEN_WITHIN = 10 * 60


class _Patient(smtplib.SMTP):
    def data(self, msg: Any) -> tuple[int, bytes]:
        if self.sock:
            self.sock.settimeout(TAKEN_WITHIN)
        try:
            return super().data(msg)
        finally:
            if self.sock:  # it is closed after an error
                self.sock.settimeout(self.timeout)


class _PatientTLS(_Patient, smtplib.SMTP_SSL):
    pass


class EmailBackend(smtp.EmailBackend):
    """With `patient=True` for mails that are sent again if they were not taken, and that nobody waits for."""

    def __init__(self, *args: Any, patient: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patient = patient

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        if not self._patient:
            usual: type[smtplib.SMTP] = super().connection_class
            return usual
        return _PatientTLS if self.use_ssl else _Patient
