"""manage.py migrate: Django's, but one process at a time."""

from typing import Any

from django.core.management.commands import migrate

from ..exclusive import one_at_a_time


class Command(migrate.Command):
    # Not only handle(): the checks before it connect, and of two who make an SQLite file one finds it locked.
    def execute(self, *args: Any, **options: Any) -> str | None:
        with one_at_a_time(self, options["database"]):
            return super().execute(*args, **options)
