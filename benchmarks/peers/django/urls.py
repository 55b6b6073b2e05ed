"""The toolkit's endpoints and a resource; the floors: what a view costs that does nothing but the database's part."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Context, Engine
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.views import IntrospectTokenView, TokenView
from oauth2_provider.views.generic import ProtectedResourceView

OWNER = json.loads(os.environ["OWNER"])
PAGE = Engine().from_string(
    "<!doctype html><html lang=en><title>Floor</title><h1>Floor</h1>"
    "<dl>{% for name, value in words %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl></html>"
)


def owner_json(user: User) -> JsonResponse:
    """The owner as ours answers it. Django's user has no company, phone number, profile or picture: constants."""
    return JsonResponse({**OWNER, "uid": user.username, "email": user.email, "name": user.get_full_name()})


class Resource(ProtectedResourceView):
    """What needs a token. One got by client credentials has no user of its own; the owner is the client's."""

    def verify_request(self, request: HttpRequest) -> tuple[bool, Any]:
        valid, self.verified = super().verify_request(request)
        return valid, self.verified

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return owner_json(self.verified.client.user)


@csrf_exempt
def floor_token(request: HttpRequest) -> HttpResponse:
    """One SELECT and one INSERT by the ORM; no OAuth, no check."""
    application = Application.objects.get(client_id=request.POST["client_id"])
    token = secrets.token_urlsafe(32)
    AccessToken.objects.create(
        token=token,
        token_checksum=hashlib.sha256(token.encode()).hexdigest(),
        application=application,
        scope="read",
        expires=timezone.now() + timedelta(hours=1),
    )
    return JsonResponse({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "read"})


def floor_resource(request: HttpRequest) -> HttpResponse:
    """One SELECT with a join by the ORM."""
    digest = hashlib.sha256(request.headers["Authorization"].removeprefix("Bearer ").encode()).hexdigest()
    token = AccessToken.objects.select_related("application__user").get(token_checksum=digest)
    return owner_json(token.application.user)


def floor_page(request: HttpRequest) -> HttpResponse:
    """A small template, and no database."""
    return HttpResponse(PAGE.render(Context({"words": request.META.items()})))


def floor_json(request: HttpRequest) -> HttpResponse:
    """No database."""
    return JsonResponse({"answer": 42})


urlpatterns = [
    path("token/", TokenView.as_view()),
    path("introspect/", IntrospectTokenView.as_view()),
    path("resource/", Resource.as_view()),
    path("floor/token/", floor_token),
    path("floor/resource/", floor_resource),
    path("floor/page/", floor_page),
    path("floor/json/", floor_json),
]
