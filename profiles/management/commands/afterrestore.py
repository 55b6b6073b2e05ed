"""manage.py afterrestore: end what a restored backup made valid again."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import CommandParser
from django.db import connection, transaction

from ...models import OAuthApplication, UnsentNotice
from .. import base

# More than the number of events since the backup: forms contain the number of an event (see `lifecycle`), and no form
# from that time may match again.
EVENTS_AHEAD = 1_000_000


class Command(base.Command):
    help = (
        "Makes a database safe to serve that was just restored from a backup: ends every access token, session and "
        "open form in it, some of which had ended since. Run it before the site starts. Keys and API Clients that were "
        "deleted, revoked or regenerated since the backup, or whose old secret key was ended, work again as they did "
        "then, and so do API Clients that were disabled and users and companies that were switched off; only you can "
        'know which: see "Restore" in docs/operations.md.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        clients, sessions = OAuthApplication.objects.count(), Session.objects.count()
        companys = OAuthApplication.objects.filter(company__isnull=False).count()
        which = f"{clients - companys:,} keys and {companys:,} API Clients"
        if dry_run:
            self.stdout.write(f"The access tokens of {which}, and {sessions:,} sessions, would be ended.")
            return
        with transaction.atomic():
            _end_tokens()
            _skip_numbers_of_events()
            Session.objects.all().delete()
            UnsentNotice.objects.all().delete()  # they were sent, or given up, long ago
        self.stdout.write(f"The access tokens of {which}, and {sessions:,} sessions, were ended.")
        if clients:
            self.stdout.write(
                f"The {which} are as they were at the backup. Now revoke those that were deleted, revoked or "
                "regenerated since, or whose old secret key was ended: manage.py revokekeys --listed FILE, or --all if "
                "that cannot be known."
            )
        if companys:
            self.stdout.write("API Clients that were disabled since are enabled again: disable them in the admin site.")


def _end_tokens() -> None:
    """Delete them: a token is active as long as its secret, and nobody knows which secrets have ended since."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM profiles_accesstoken")


def _skip_numbers_of_events() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sequence = "pg_get_serial_sequence('profiles_keyevent', 'id')"
            cursor.execute(f"SELECT setval({sequence}, nextval({sequence}) + %s)", [EVENTS_AHEAD])
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = 'profiles_keyevent'", [EVENTS_AHEAD])
