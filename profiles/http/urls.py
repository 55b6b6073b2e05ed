"""Full addresses of the site, for whatever leaves it: documents, headers, examples."""

from django.conf import settings
from django.urls import reverse


def absolute_url(name: str) -> str:
    """The full address of a named URL. It begins with `BASE_URL`, whatever host a request asked for."""
    return settings.BASE_URL + reverse(name)
