"""manage.py migrate: Django's, but one process at a time."""

from typing import Any

from django.core.management.commands import migrate

from ..alone import alone


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with alone(self, options["database"]):
            super().handle(*args, **options)
