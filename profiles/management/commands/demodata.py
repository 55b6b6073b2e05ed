"""manage.py demodata: users, a company and access profiles to try the product with."""

import os
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from ... import rights
from ...account import activity, changes
from ...models import AccessProfile, AccountEvent, Company, User
from ...text import spelling
from .. import base
from ..base import origin_of_command

COMPANY = "Demo Company"
_origin = partial(origin_of_command, "demodata")
DOMAIN = "@demo.example"  # reserved by RFC 2606
PROFILES = {
    "Administrator": sorted(rights.ALL_RIGHTS),
    "Operator": [
        "accountNetwork.apiClients.create",
        "accountNetwork.apiClients.edit",
        "accountNetwork.apiClients.view",
        "accountNetwork.labels.createEdit",
        "accountNetwork.labels.view",
        "accountNetwork.profiles.view",
        "accountNetwork.users.view",
        "entities.alerts.rule.view",
        "entities.applications.view",
        "entities.systems.create",
        "entities.systems.edit",
        "entities.systems.view",
    ],
    "Viewer": [
        "accountNetwork.apiClients.view",
        "accountNetwork.labels.view",
        "entities.alerts.rule.view",
        "entities.applications.view",
        "entities.systems.view",
    ],
}
USERS: dict[str, dict[str, Any]] = {
    "user@demo.example": {
        "name": "Dana Demo",
        "profile": "Operator",
        "job_title": "Fleet operator",
        "phone_number": "+33123456789",
        "country": "FR",
    },
    "other@demo.example": {"name": "Oscar Other", "profile": "Viewer", "job_title": "Field engineer"},
    "admin@demo.example": {"name": "Ada Admin", "profile": "Administrator", "is_staff": True, "is_superuser": True},
}


def _random_password() -> str:
    """A password that the rules allow: of a million random ones, a few have too few kinds of characters."""
    while True:
        password = secrets.token_urlsafe(15)
        try:
            validate_password(password)
        except ValidationError:
            continue
        return password


class Command(base.Command):
    help = (
        "Makes a company, three access profiles and three users to try the product with: user@demo.example, "
        "other@demo.example and admin@demo.example, the last a superuser. What exists already is left as it is, "
        "so it can be run again at any time. The environment variable DEMO_PASSWORD sets the password of the three, "
        "also when they exist; without it new users get a random one, printed once. A database that holds users of "
        "its own, and no demo company, gets none. Where others than this computer can reach the site, it is refused."
    )

    def handle(self, **options: Any) -> None:
        if settings.REACHABLE:
            raise CommandError(
                f"Others can reach the site, which {settings.REACHABLE_BY} allow, so it gets no demo users. "
                "docs/deploy.md tells how to run it for others, and createsuperuser makes its first administrator."
            )
        # Exactly as given, spaces included, as one types it to sign in. It must be possible to type it into a page.
        password = spelling.password(os.environ.get("DEMO_PASSWORD", ""))
        if not password.strip():
            password = ""
        if not password.isprintable() or len(password) > 1000:
            raise CommandError("DEMO_PASSWORD must be one line of printable text, of at most 1000 characters.")
        with transaction.atomic():
            lines = self._make(password)
        for line in lines:
            self.stdout.write(line)

    def _make(self, password: str) -> list[str]:
        """Make what is missing. Returns the lines to print."""
        has_own_users = User.objects.exclude(email__endswith=DOMAIN).exists()
        if has_own_users and not Company.objects.filter(name=COMPANY).exists():
            return ["No demo data was made: the database holds users of its own."]
        # The first row written is the same for all: a second command run at the same time waits here for the first.
        company, is_new = Company.objects.get_or_create(name=COMPANY)
        if is_new:
            changes.record_company(before=None, after=company, origin=_origin())
        for name, held in PROFILES.items():
            profile, is_new = AccessProfile.objects.get_or_create(name=name, defaults={"rights": held})
            if is_new:
                changes.record_profile(before=None, after=profile, origin=_origin())
        new_password = password or _random_password()
        made = [email for email, about in USERS.items() if self._make_user(email, about, company, new_password)]
        changed = [email for email in USERS if password and self._set_password(email, company, password)]
        if password and made + changed:
            self._warn_if_weak(password)
        lines = []
        if made:
            which = "that in DEMO_PASSWORD" if password else f"{new_password} (shown this once)"
            lines.append(f"Demo users made: {', '.join(made)}. Their password is {which}.")
        if changed:
            lines.append(f"The password in DEMO_PASSWORD was set for {', '.join(changed)}.")
        return lines or ["The demo users are there already; nothing was changed."]

    def _make_user(self, email: str, about: Mapping[str, Any], company: Company, password: str) -> bool:
        """Make a demo user, unless there is one; whether it was made."""
        fields = {name: value for name, value in about.items() if name != "profile"}
        fields["access_profile"] = AccessProfile.objects.get(name=about["profile"])
        fields["company"] = company
        fields["password"] = partial(make_password, password)  # slow, so only for a new user
        user, is_new = User.objects.get_or_create(email=email, defaults=fields)
        if is_new:
            changes.record_created(owner=user, origin=_origin())
        return is_new

    def _set_password(self, email: str, company: Company, password: str) -> bool:
        """Give a demo user this password, unless it is theirs; whether it was changed."""
        user = User.objects.get(email=email)
        if user.company_id != company.pk:
            raise CommandError(f"{email} is not of {company} any more, so its password is left as it is.")
        if user.check_password(password):
            return False
        user.set_password(password)
        user.save(update_fields=["password"])
        # Nobody reads the mail of that address.
        activity.record(AccountEvent.Action.PASSWORD_CHANGED, owner=user, origin=_origin(), mailed=False)
        return True

    def _warn_if_weak(self, password: str) -> None:
        try:
            validate_password(password)
        except ValidationError as error:
            why = " ".join(error.messages)
            self.stderr.write(f"DEMO_PASSWORD is weak, which will do on this computer alone. {why}")
