"""What is counted to limit guessing; the rules are in `profiles.limits`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .people import User


class Attempts(models.Model):
    """How often something was tried that may be tried so often in a time; `account.attempts` counts here."""

    # What is counted, as a keyed hash: no address of anybody stands here.
    name = models.CharField(max_length=64, primary_key=True)
    tried = models.PositiveIntegerField()
    ends = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("attempts")
        verbose_name_plural = _("attempts")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.tried} until {self.ends:%Y-%m-%d %H:%M:%S}"


class FactorFailures(models.Model):
    """How often in a row a second factor of a user was tried in vain, over any time; `account.mfa` counts here."""

    user = models.ForeignKey(User, models.CASCADE, related_name="factor_failures", verbose_name=_("user"))
    factor = models.CharField(max_length=30)
    failures = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("failures of a second factor")
        verbose_name_plural = _("failures of second factors")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("user", "factor"), name="factor_failures_unique"),)

    def __str__(self) -> str:
        return f"{self.user_id} · {self.factor} · {self.failures}"


class FailureCount(models.Model):
    """How often client authentication has failed in a minute, for an address or a Client ID: see `limits`."""

    name = models.CharField(primary_key=True, max_length=64)
    minute = models.BigIntegerField()
    number = models.IntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} · {self.number}"
