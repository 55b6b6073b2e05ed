"""manage.py resetmfa: remove the second factors of a user who has lost them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...account.mfa import factors
from ...models import User
from .. import base
from ..base import origin_of_command


class Command(base.Command):
    help = (
        "Removes all second factors of a user who has lost them, as the action of the admin site does: it is recorded, "
        "all their sessions end, and they are mailed. For the last superuser, whom nobody else can help. Make sure "
        "first that it is them who ask. Sign-in then takes their password alone, until they set up another factor."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", metavar="EMAIL", help="the e-mail address by which the user signs in")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, email: str, yes: bool, **options: Any) -> None:
        try:
            owner = User.objects.get_by_natural_key(email)
        except User.DoesNotExist:
            raise CommandError(f"No user has the e-mail address {email}.") from None
        if not yes:
            self._confirm(owner)
        if not factors.reset(owner=owner, origin=origin_of_command("resetmfa")):
            raise CommandError(f"{owner.email} has no second factor; nothing was changed.")
        self.stdout.write(f"The second factors of {owner.email} were removed, and all their sessions ended.")

    def _confirm(self, owner: User) -> None:
        try:
            answer = input(f"Remove all second factors of {owner.email}? They are mailed about it. [y/N] ")
        except EOFError:
            raise CommandError("Nothing was changed: without a terminal, --yes has to be given.") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")
