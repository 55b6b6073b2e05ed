"""manage.py createcachetable: Django's, but one process at a time."""

from typing import Any

from django.core.management.commands import createcachetable

from ..exclusive import one_at_a_time


class Command(createcachetable.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with one_at_a_time(self, options["database"]):
            super().handle(*args, **options)
