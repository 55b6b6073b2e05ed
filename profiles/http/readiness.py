"""Whether this process can serve: what `/readyz` answers.

Everything is looked at in a thread of its own, in a connection of its own, and all probes of that time wait for that
one look, until DEADLINE after it began. So whatever hangs, probes are answered, and there is one thread and one
connection at most, however many probes come; while a look hangs, they are answered at once.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from ..limits.shared_cache import RedisOrTable
from . import errors, impatient, outages
from .errors import Code

DEADLINE = 1.5  # seconds; those who ask often wait no longer than 2


class Look:
    """One look at all that a request needs."""

    def __init__(self) -> None:
        self._until = time.monotonic() + DEADLINE
        self._result: Future[Code | None] = Future()
        # What is being looked at: that is what is wrong if it does not come to an end.
        self._at = errors.SERVER_UNAVAILABLE
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    @property
    def is_over(self) -> bool:
        return self._result.done()

    def problem(self) -> Code | None:
        """What keeps this process from serving, or None. Waits until the deadline."""
        try:
            return self._result.result(timeout=max(0.0, self._until - time.monotonic()))
        except NotYet:
            if self._at is errors.SERVER_UNAVAILABLE:
                outages.database.notice(f"no answer within {DEADLINE} s")
            return self._at

    def _run(self) -> None:
        try:
            self._result.set_result(self._look())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where somebody waits for it
            self._result.set_exception(error)

    def _look(self) -> Code | None:
        try:
            with impatient.connection() as database:
                if problem := _problem_of(database):
                    return problem
        except Error as error:
            outages.database.notice(" ".join(str(error).split()))
            return errors.SERVER_UNAVAILABLE
        self._at = errors.CACHE_UNAVAILABLE
        if not _cache_answers():
            return errors.CACHE_UNAVAILABLE
        self._at = errors.STATIC_FILES_MISSING
        return None if _static_files_are_there() else errors.STATIC_FILES_MISSING


_lock = threading.Lock()
_last: Look | None = None


def problem() -> Code | None:
    """What keeps this process from serving, or None; within DEADLINE."""
    global _last  # noqa: PLW0603 - one look at a time in this process
    _on_disk()  # the first time this takes a while, which is no fault of the database
    with _lock:
        if _last is None or _last.is_over:
            _last = Look()
        look = _last
    return look.problem()


def _problem_of(database: BaseDatabaseWrapper) -> Code | None:
    if impatient.is_read_only(database):
        return errors.DATABASE_READ_ONLY
    tables = set(database.introspection.table_names())
    if "django_migrations" not in tables or not _on_disk() <= _applied(database):
        return errors.MIGRATIONS_PENDING
    return None if _cache_tables() <= tables else errors.CACHE_UNAVAILABLE


@cache
def _on_disk() -> set[tuple[str, str]]:
    """The migrations of this version."""
    return set(MigrationLoader(None).graph.nodes)


def _applied(database: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """Those of the database; while versions replace each other, also some that only a newer one has."""
    with database.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        return set(cursor.fetchall())


def _cache_tables() -> set[str]:
    return {it["LOCATION"] for it in settings.CACHES.values() if it["BACKEND"].endswith(".DatabaseCache")}


def _cache_answers() -> bool:
    shared = caches[DEFAULT_CACHE_ALIAS]
    return not isinstance(shared, RedisOrTable) or shared.is_well()


def _static_files_are_there() -> bool:
    """Whether the files are there that `collectstatic` makes, and were when this process began to use them."""
    storage: Any = staticfiles_storage
    if not isinstance(storage, ManifestFilesMixin):  # with DEBUG they come from the source
        return True
    kept: Any = storage.manifest_storage
    return bool(storage.hashed_files) and kept.exists(storage.manifest_name)
