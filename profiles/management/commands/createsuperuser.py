"""manage.py createsuperuser: Django's, but it is recorded, and the rules for passwords hold however it is called."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models.signals import post_save

from ...account import changes
from ...models import User
from ..base import origin_of_command


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        # Django's command offers no better place between the row and the end of its transaction.
        post_save.connect(_made, sender=User)
        try:
            return super().handle(*args, **options)
        finally:
            post_save.disconnect(_made, sender=User)


def _made(*, instance: User, **_about: Any) -> None:
    """Called in the transaction of `create_superuser`."""
    password = instance._password  # type: ignore[attr-defined]  # noqa: SLF001 - as it was typed, until the row is there
    if password is not None:
        try:
            validate_password(password, instance)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
    changes.record_created(owner=instance, origin=origin_of_command("createsuperuser"))
