"""manage.py reencrypt: store second factors by SECRET_KEY that a former key has encrypted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from ...account.mfa import encryption
from ...account.mfa.encryption import State
from .. import base
from ..base import Progress


class Command(base.Command):
    help = (
        "Stores the secrets of authenticator apps and recovery codes anew, encrypted by SECRET_KEY, where one of "
        "SECRET_KEY_FALLBACKS has encrypted them; after that this one can go. Run it when all servers have the new "
        "key. Says whose factors no key opens, and exits with 1 then: their codes do not fit until the key is added to "
        "SECRET_KEY_FALLBACKS, or they are reset (manage.py resetmfa). It can be stopped and run again at any time, "
        "beside servers that run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what would be stored anew")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        progress = Progress(self, "second factors looked at")
        found: Counter[State] = Counter()
        owners: list[str] = []
        try:
            for factor, state in encryption.reencrypt(dry_run=dry_run):
                progress.add(1)
                found[state] += 1
                if state is State.LOST and factor.user.email not in owners[-1:]:
                    owners.append(factor.user.email)
        except (KeyboardInterrupt, DatabaseError) as error:
            why = "Stopped" if isinstance(error, KeyboardInterrupt) else f"The database failed ({error})"
            raise CommandError(f"{why}: {progress}. Run it again for the rest.") from None
        done = "would be stored anew" if dry_run else "were stored anew"
        self.stdout.write(
            f"{found[State.FORMER]:,} second factors {done}, {found[State.CURRENT]:,} were by SECRET_KEY already."
        )
        if owners:
            for email in owners:
                self.stdout.write(f"No key opens those of {email}")
            raise CommandError(f"{found[State.LOST]:,} second factors are encrypted by a key that is not there.")
