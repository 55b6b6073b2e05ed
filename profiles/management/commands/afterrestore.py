"""manage.py afterrestore: what a restored backup brought back to life, and must not serve."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import CommandParser
from django.db import transaction
from django.db.models import F

from ...models import OAuthApplication, User
from .. import working

# Far beyond what the versions reached since the backup: no form of that time fits again, however often a key changes.
VERSIONS_AHEAD = 1_000_000


class Command(working.Command):
    help = (
        "Makes a database safe to serve that was just restored from a backup: ends every access token, session and "
        "open form in it, some of which had ended since. Run it before the site starts. Keys that were deleted, "
        "revoked or regenerated since the backup work again as they did then; only you can know which: see "
        '"Restore" in docs/operations.md.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        keys, sessions = OAuthApplication.objects.count(), Session.objects.count()
        if dry_run:
            self.stdout.write(f"The access tokens of {keys:,} keys, and {sessions:,} sessions, would be ended.")
            return
        with transaction.atomic():
            User.objects.update(key_version=F("key_version") + VERSIONS_AHEAD)
            Session.objects.all().delete()
        self.stdout.write(f"The access tokens of {keys:,} keys, and {sessions:,} sessions, were ended.")
        if keys:
            self.stdout.write(
                f"The {keys:,} keys are as they were at the backup. Now revoke those that were deleted, revoked or "
                "regenerated since: manage.py revokekeys --listed FILE, or --all if that cannot be known."
            )
