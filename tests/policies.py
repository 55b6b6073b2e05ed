"""Companies with a policy for the API, and secrets of any age."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from profiles.models import ClientSecret, Company, OAuthApplication
from profiles.policy import Policy


def lay_down(company: Company, **said: Any) -> None:
    """The company's policy from now on; nothing said, none."""
    company.policy = str(Policy(**said))
    Company.objects.filter(pk=company.pk).update(policy=company.policy)


def make_older(client: OAuthApplication, **age: float) -> None:
    """As if the secrets of this client had been made so long ago, and all that was told of them then been told then."""
    made = timezone.now() - timedelta(**age)
    for secret in ClientSecret.objects.filter(application=client):
        secret.warned = secret.warned and made + (secret.warned - secret.created)
        secret.created = made
        secret.save()
