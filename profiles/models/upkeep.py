"""What is still to be done, and when it was last done: the tables of `manage maintain`."""

from __future__ import annotations

from django.db import models


class UnsentNotice(models.Model):
    """A notice that may not have left yet: one event, to one reader. The rules are in `profiles.mail.notices`.

    Written with the event, in its transaction, and deleted when the mail server has taken the mail. It holds nothing
    that the event has, and no secret.
    """

    # The event by its kind and number, without a link: whoever has to erase old events need not know of this table.
    kind = models.CharField(max_length=10)
    number = models.BigIntegerField()
    # Whom it goes to, as they were when it happened.
    email = models.CharField(max_length=254)
    language = models.CharField(max_length=10)
    is_actor = models.BooleanField()
    """Whether they did it themselves, or somebody who acts as they."""
    uid = models.CharField(max_length=32, blank=True)
    """The user's who must be let in to get it later; "" for a former address, which gets it in any case."""
    again = models.DateTimeField(db_index=True)
    """Until then it is with a process that sends it, or waits after it failed; from then on anybody may try."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} event {self.number}"


class Upkeep(models.Model):
    """When a job of `manage maintain` last succeeded, for whoever watches over it."""

    name = models.CharField(max_length=20, primary_key=True)
    succeeded = models.DateTimeField(null=True)
    """When it last ended without a failure; null if it never has."""
    seconds = models.FloatField(default=0)
    done = models.BigIntegerField(default=0)
    """Of how many rows or mails it disposed then, in so many seconds."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} · {self.succeeded}"
