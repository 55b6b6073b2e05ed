"""What `manage maintain` has found out about clients, where no index tells it at the moment of the question."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from .clients import OAuthApplication


class Finding(models.Model):
    """A client is of this kind, or was when the upkeep last looked. The rules are in `profiles.clients.health`."""

    # Without a constraint in the database: servers of the version before delete clients and know nothing of this table.
    client = models.ForeignKey(OAuthApplication, models.CASCADE, db_constraint=False, related_name="+")
    kind = models.CharField(max_length=20)
    found = models.DateTimeField(default=timezone.now)
    told = models.BooleanField(default=False)
    """Whether those whom the client belongs to have been told of it."""

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("kind", "client"), name="one_finding_of_a_kind"),)

    def __str__(self) -> str:
        return f"{self.client_id} · {self.kind}"
