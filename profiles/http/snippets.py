"""Programs that call the API, to be pasted: one source for the pages, `/api/docs` and the README.

They are the templates in `templates/snippets/`. Each keeps its access token until a minute before it ends, and asks for
another one, once, after a 401. None has a secret in it: that comes from the environment. `tests/test_snippets.py` runs
them against the running site.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from textwrap import indent

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

_PLACE = "CLIENT-ID"


@dataclass(frozen=True, slots=True)
class Snippet:
    id: str
    """Also the name of its template."""
    name: str
    file: str
    """What a file of it is usually called."""
    text: str


_SNIPPETS = (
    ("curl", "curl", "airvantage.sh"),
    ("python", "Python", "airvantage.py"),
    ("go", "Go", "main.go"),
    ("node", "Node.js", "airvantage.mjs"),
    ("github", "GitHub Actions", ".github/workflows/airvantage.yml"),
)


def snippets(client_id: str = "") -> list[Snippet]:
    """All of them with this Client ID, or without one: then that is in the environment, too."""
    return [Snippet(key, name, file, text_of(key, client_id)) for key, name, file in _SNIPPETS]


def text_of(key: str, client_id: str = "") -> str:
    """One template of `templates/snippets/` as it is pasted, without a line break at its end."""
    return _rendered(key, settings.BASE_URL, _PLACE if client_id else "").replace(_PLACE, client_id)


@lru_cache(maxsize=32)
def _rendered(key: str, base_url: str, client_id: str) -> str:
    """Made once for all Client IDs, and not at each view of a page."""
    context = {
        "client_id": client_id,
        "token_url": base_url + reverse("oauth-token"),
        "me_url": base_url + reverse("api-users-current"),
        "rights_url": base_url + reverse("api-users-rights"),
    }
    if key == "github":  # which gives the Client ID by the environment
        context["shell"] = indent(text_of("curl"), " " * 10)
    return render_to_string(f"snippets/{key}.txt", context).rstrip("\n")
