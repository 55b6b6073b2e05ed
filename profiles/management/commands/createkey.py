"""manage.py createkey: make the key of a user, or replace its secret, and print both once."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...clients import changes, lifecycle
from ...models import OldSecret, User
from .. import base
from ..base import origin_of_command


class Command(base.Command):
    help = (
        "Makes the personal API access key of a user, as My Profile would, and prints it as the two lines "
        "CLIENT_ID=... and CLIENT_SECRET=... The secret key can be read this one time only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", metavar="EMAIL", help="the e-mail address by which the user signs in")
        parser.add_argument(
            "--regenerate",
            action="store_true",
            help="replace the secret key of the key there is: the old one and every access token obtained with "
            "it are refused at once, unless --overlap says otherwise",
        )
        parser.add_argument(
            "--overlap",
            choices=[OldSecret.FIRST_USE.value, OldSecret.DAY.value],
            help="with --regenerate: until when the old secret key stays good: until the new one is first used, for "
            "7 days at the latest, or for 24 hours",
        )

    def handle(self, *, email: str, regenerate: bool, overlap: str | None, **options: Any) -> None:
        if overlap and not regenerate:
            raise CommandError("--overlap says what becomes of an old secret key: it needs --regenerate.")
        try:
            owner = User.objects.get_by_natural_key(email)
        except User.DoesNotExist:
            raise CommandError(f"No user has the e-mail address {email}.") from None
        if not owner.is_active:
            raise CommandError(f"{owner.email} is not active, so the key would be refused. Reactivate the user first.")
        if not owner.is_let_in:
            raise CommandError(
                f"{owner.company}, the company of {owner.email}, is not active, so the key would be refused. "
                "Switch the company on first."
            )
        origin = origin_of_command("createkey")
        try:
            if regenerate:
                key, secret = lifecycle.regenerate(
                    owner=owner, origin=origin, old_secret=OldSecret(overlap or OldSecret.NOW)
                )
            else:
                key, secret = lifecycle.create(owner=owner, origin=origin)
        except lifecycle.KeyExists:
            raise CommandError(
                f"{owner.email} has a key already; nothing was changed. --regenerate replaces its secret key: the "
                "old one and every access token obtained with it are refused at once, or with --overlap later."
            ) from None
        except lifecycle.KeysNotAllowed:
            raise CommandError(
                f"{owner.company}, the company of {owner.email}, allows no personal keys, so the key would be refused. "
                "Its policy is on its page in the admin site."
            ) from None
        except lifecycle.NoKey:
            raise CommandError(f"{owner.email} has no key to regenerate. Without --regenerate one is made.") from None
        except changes.Changed:
            raise CommandError(f"{owner.email} was deleted at this moment; no key was made.") from None
        self.stdout.write(f"CLIENT_ID={key.client_id}")
        self.stdout.write(f"CLIENT_SECRET={secret}")
