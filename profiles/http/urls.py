"""Absolute URLs of the site, for what is read outside of it: documents, headers, examples."""

from django.conf import settings
from django.urls import reverse


def absolute_url(name: str) -> str:
    """The absolute URL of a name. It begins with `BASE_URL`, not with the Host of a request."""
    return settings.BASE_URL + reverse(name)
