"""manage.py revokekeys: revoke many keys and API Clients at once, each as staff would."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, transaction
from django.db.models import Max, Q
from django.utils import timezone, translation

from ... import credentials, reach
from ...clients import changes, company, lifecycle
from ...mail import notices
from ...models import Company, OAuthApplication, User
from ...text.free_text import REFUSAL
from ...text.printable import printable
from .. import base
from ..base import Progress, origin_of_command

KEYS_AT_A_TIME = 500
REASON_LENGTH = 200  # the column's
KINDS = {"personal": ("key", "keys"), "company": ("API Client", "API Clients")}


class Command(base.Command):
    help = (
        "Revokes personal keys and the API Clients of companies: they, and every access token obtained with them, are "
        "refused from then on, and their owners, or those who look after the API Clients, are mailed the reason. Both "
        "kinds, unless --kind names one. One transaction each, so it can be stopped and run again at any time. What is "
        "made while it runs stays."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--company", metavar="NAME", help="the keys of this company's users, and its API Clients")
        which.add_argument("--owner", metavar="EMAIL", help="the personal key of this user")
        which.add_argument(
            "--unused-for",
            type=_days,
            metavar="DAYS",
            help="what has not been used for so long; what was never used counts from when its secret was made",
        )
        which.add_argument(
            "--listed", type=Path, metavar="FILE", help="what has these Client IDs, one a line; - reads them here"
        )
        which.add_argument("--all", action="store_true", help="every key and every API Client")
        parser.add_argument(
            "--kind", choices=KINDS, help="only personal keys, or only the API Clients of companies (both)"
        )
        parser.add_argument(
            "--reason", type=_reason, required=True, metavar="TEXT", help="why: the mails and the key events say it"
        )
        parser.add_argument("--dry-run", action="store_true", help="only list what would be revoked")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, reason: str, dry_run: bool, yes: bool, kind: str | None, **which: Any) -> None:
        if which["owner"] and kind == "company":
            raise CommandError("--owner names a user, who has a personal key; the API Clients are the company's.")
        # Only what exists now: a new key that an owner makes after the mail about the old one is kept.
        last = OAuthApplication.objects.aggregate(last=Max("pk"))["last"] or 0
        selections = [_clients(selection, kind, last) for selection in _selections(which)]
        found = _said(selections)
        if dry_run:
            self._list(selections)
            self.stdout.write(f"{found or 'Nothing'} would be revoked.")
            return
        if not found:
            self.stdout.write("There is no such key or API Client; nothing was revoked.")
            return
        if not yes:
            self._confirm(found)
        progress = Progress(self, f"revoked, of {found}")
        try:
            for selected in selections:
                self._revoke(selected, reason, progress)
        except (KeyboardInterrupt, DatabaseError) as error:
            why = "Stopped" if isinstance(error, KeyboardInterrupt) else f"The database failed ({error})"
            raise CommandError(f"{why}: {progress}. Run it again for the rest.") from None
        self.stdout.write(f"{progress}.")
        self._wait_for_mails()

    def _list(self, selections: list[Any]) -> None:
        for selected in selections:
            for client in _in_parts(selected):
                whose = f"{client.name} · {client.company}" if client.is_companys else client.owner.email
                used = f"last used {client.last_used:%Y-%m-%d %H:%M} UTC" if client.last_used else "never used"
                self.stdout.write(f"{client.client_id}  {printable(whose)}  {used}")

    def _confirm(self, found: str) -> None:
        try:
            answer = input(f"Revoke {found}? Whom it concerns is mailed, and it cannot be undone. [y/N] ")
        except EOFError:
            raise CommandError("Nothing was revoked: without a terminal, --yes has to be given.") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was revoked.")

    def _revoke(self, selected: Any, reason: str, progress: Progress) -> None:
        origin = origin_of_command("revokekeys")
        for client in _in_parts(selected):
            with transaction.atomic():
                # Lock the owner's row first, as every change does. Then select exactly this one again, as it may have
                # been used, or replaced by another one, since it was read.
                owner = changes.owner_of(client)
                if not changes.lock(owner) or not selected.filter(pk=client.pk).exists():
                    continue
                if isinstance(owner, User):
                    lifecycle.revoke(owner=owner, origin=origin, reason=reason)
                else:
                    company.revoke(client=client, origin=origin, reason=reason)
            progress.add(1)

    def _wait_for_mails(self) -> None:
        """The process ends when all mails are sent; this only reports how many are left."""
        said = 0.0
        while number := notices.waiting():
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self.stderr.write(f"{number:,} mails are still to be sent ...", lambda text: text)
            time.sleep(0.1)


def _selections(which: dict[str, Any]) -> Iterator[Q]:
    """What the options ask for, as conditions on clients; more than one only for a long list."""
    if name := which["company"]:
        found = Company.objects.filter(name=name).first()
        if found is None:
            raise CommandError(f"There is no company named {name}.")
        yield Q(pk__in=reach.clients_of(found.pk))
    elif email := which["owner"]:
        owner = User.objects.filter(email=email).first()
        if owner is None:
            raise CommandError(f"No user has the e-mail address {email}.")
        yield Q(user=owner)
    elif days := which["unused_for"]:
        yield _unused_since(timezone.now() - timedelta(days=days))
    elif file := which["listed"]:
        client_ids = _client_ids(file)
        for start in range(0, len(client_ids), KEYS_AT_A_TIME):
            yield Q(client_id__in=client_ids[start : start + KEYS_AT_A_TIME])
    else:
        yield Q()


def _unused_since(moment: datetime) -> Q:
    # A new secret counts as use, too.
    return ~Q(secrets__created__gte=moment) & (Q(last_used=None) | Q(last_used__lt=moment))


def _client_ids(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} could not be read: {error}.") from None
    lines = text.removeprefix("\ufeff").split()  # a spreadsheet's byte order mark
    for number, line in enumerate(lines, 1):
        if not credentials.is_client_id(line):
            raise CommandError(f"{file}: entry {number} is no Client ID, which is 32 characters of 0-9a-f.")
    return sorted(set(lines))


def _clients(selection: Q, kind: str | None, last: int) -> Any:
    found = OAuthApplication.objects.filter(selection, pk__lte=last)
    return found.filter(company__isnull=kind == "personal") if kind else found


def _said(selections: list[Any]) -> str:
    """How many of each kind there are; "" if none."""
    parts = []
    for kind, (one, many) in KINDS.items():
        number = sum(selected.filter(company__isnull=kind == "personal").count() for selected in selections)
        if number:
            parts.append(f"{number:,} {one if number == 1 else many}")
    return " and ".join(parts)


def _in_parts(selected: Any) -> Iterator[OAuthApplication]:
    """The clients with whom they belong to, read a part at a time: there may be very many, and others are revoked."""
    selected = selected.select_related("user", "company").order_by("pk")
    part = list(selected[:KEYS_AT_A_TIME])
    while part:
        yield from part
        part = list(selected.filter(pk__gt=part[-1].pk)[:KEYS_AT_A_TIME])


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError("a whole number of days from 1 upwards, please")
    return int(text)


def _reason(text: str) -> str:
    text = text.strip()
    if not text or len(text) > REASON_LENGTH or not text.isprintable():
        raise argparse.ArgumentTypeError(f"one line of at most {REASON_LENGTH} characters, please")
    if credentials.holds_credential(text):
        # Not shown again; in English, like all messages of commands.
        with translation.override("en"):
            raise argparse.ArgumentTypeError(str(REFUSAL))
    return text
