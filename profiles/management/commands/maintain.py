"""manage.py maintain: all that has to be done from time to time, in one command for a timer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection
from django.utils import timezone

from ... import batches
from ...account.session_store import SessionStore
from ...clients import ages, health, purge
from ...mail import notices
from ...models import Upkeep
from .. import base
from ..base import Progress, origin_of_command


@dataclass(frozen=True, slots=True)
class Job:
    """One of the things to do. `run` and `dry_run` yield numbers as they go on; a dry run changes nothing."""

    name: str
    found: str
    done: str
    run: Callable[[], Iterator[int]]
    dry_run: Callable[[], Iterator[int]]


def _clear_sessions() -> Iterator[int]:
    for rows in SessionStore.ended():
        yield from batches.delete(rows)


# In this order: what refers to secrets goes before them, dead tokens before what counts the others, and what is to be
# mailed before the mails.
JOBS = (
    Job(
        "ages",
        "secret keys too old soon found",
        "secret keys too old soon told of",
        lambda: ages.warn(origin_of_command("maintain")),
        ages.to_warn,
    ),
    Job(
        "tokens",
        "dead access tokens found",
        "access tokens deleted",
        purge.dead_tokens,
        lambda: purge.dead_tokens(pause=0, dry_run=True),
    ),
    Job(
        "sessions",
        "ended sessions and expired counters found",
        "ended sessions and expired counters deleted",
        _clear_sessions,
        lambda: (rows.count() for rows in SessionStore.ended()),
    ),
    Job(
        "uses",
        "past days and addresses of use found",
        "past days and addresses of use deleted",
        purge.past_uses,
        lambda: purge.past_uses(dry_run=True),
    ),
    Job(
        "health",
        "findings about unused and busy clients to note found",
        "findings about unused and busy clients noted",
        health.look,
        lambda: health.look(dry_run=True),
    ),
    Job(
        "unused",
        "unused clients to tell of found",
        "unused clients told of",
        lambda: health.tell(origin=origin_of_command("maintain")),
        lambda: iter([health.to_tell().count()]),
    ),
    Job(
        "notices",
        "notices to send found",
        "notices sent",
        lambda: (1 for _ in notices.send_unsent()),
        lambda: iter([notices.unsent().count()]),
    ),
    Job(
        "secrets",
        "secret keys past their time found",
        "secret keys past their time deleted",
        purge.ended_secrets,
        lambda: purge.ended_secrets(dry_run=True),
    ),
)


class Command(base.Command):
    help = (
        "Does all that has to be done from time to time: deletes dead access tokens, ended sessions and counters, "
        "secret keys that ended 90 days ago, days and addresses of use that are told no more; looks for clients that "
        "are unused or have very many access tokens; mails people whose client is unused, or whose secret key will "
        "soon be too old for their company; and sends notices that could not be sent. A job that fails does not stop "
        "the others; the exit code is 0 only if all succeeded. It can be stopped and run again at any time, beside "
        "full load and beside itself. Meant to be run every hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what would be done")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        failed = [job.name for job in JOBS if not self._done(job, dry_run=dry_run)]
        if failed:
            raise CommandError(f"{len(failed)} of {len(JOBS)} jobs failed: {', '.join(failed)}. Run it again.")

    def _done(self, job: Job, *, dry_run: bool) -> bool:
        """Do one job; whether it succeeded."""
        progress = Progress(self, job.found if dry_run else job.done)
        begun = monotonic()
        try:
            for number in job.dry_run() if dry_run else job.run():
                progress.add(number)
            if not dry_run:
                last = {"succeeded": timezone.now(), "seconds": monotonic() - begun, "done": progress.number}
                Upkeep.objects.update_or_create(name=job.name, defaults=last)
        except KeyboardInterrupt:
            raise CommandError(f"Stopped at the {job.name}: {progress}. Run it again for the rest.") from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the next job has nothing to do with it
            why = " ".join(f"{type(error).__name__}: {error}".split())
            self.stderr.write(f"The {job.name} failed ({why}): {progress}.")
            if not connection.in_atomic_block:  # as in tests
                connection.close_if_unusable_or_obsolete()
            if not dry_run:
                with suppress(DatabaseError):
                    Upkeep.objects.get_or_create(name=job.name)
            return False
        self.stdout.write(f"{progress}.")
        return True
