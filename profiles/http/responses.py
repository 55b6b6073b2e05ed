"""The JSON that every address for programs answers: OAuth, the API, the metadata and the probes, errors included."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.http import HttpResponse

CACHEABLE = {"Cache-Control": "public, max-age=3600"}


class ApiJsonResponse(HttpResponse):
    """JSON without spaces, because some clients cut the token out of the raw text.

    Unlike Django's `JsonResponse` it takes any data, lists included, and does not escape letters beyond ASCII.
    """

    def __init__(self, data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        super().__init__(content, status=status, content_type="application/json", headers=dict(headers or {}))
        # Django's CommonMiddleware would set it, but the API does not use that; without it the server sends chunks.
        self.headers["Content-Length"] = str(len(self.content))
