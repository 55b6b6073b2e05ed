"""From where a client is used, and how much. What is written and how long it is kept is in `profiles.clients.uses`."""

from __future__ import annotations

from django.db import models

from .clients import OAuthApplication


class UsedFrom(models.Model):
    """An address that a client was used from."""

    # Without constraints in the database, here and below, because servers of the release before delete clients and know
    # nothing of these rows. What they leave goes when its time has come.
    application = models.ForeignKey(
        OAuthApplication, models.CASCADE, db_constraint=False, db_index=False, related_name="used_from"
    )
    address = models.GenericIPAddressField()
    user_agent = models.CharField(max_length=200, blank=True)
    # Without an index, so that PostgreSQL can write it once a minute without touching any.
    last_used = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("application", "address"), name="used_from_unique"),)

    def __str__(self) -> str:
        return f"{self.application_id} · {self.address}"


class UsedOn(models.Model):
    """How much a client was used on a day (UTC)."""

    application = models.ForeignKey(
        OAuthApplication, models.CASCADE, db_constraint=False, db_index=False, related_name="used_on"
    )
    day = models.DateField()
    tokens = models.BigIntegerField()
    """Access tokens that it obtained."""
    calls = models.BigIntegerField()
    """Requests that were made with its tokens: of our API, and those about which a resource server has asked us."""

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("application", "day"), name="used_on_unique"),)
        indexes = (models.Index(fields=("day",), name="used_on_day"),)

    def __str__(self) -> str:
        return f"{self.application_id} · {self.day}"
