"""The JSON API. Each view acts as the owner of the key, `request.user`; `bearer` has let the request in."""

from __future__ import annotations

from functools import partial

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation

from .. import reach
from ..account import session_store
from ..http.access import Access, declares
from ..http.responses import CACHEABLE, ApiJsonResponse
from ..models import AccessProfile, User
from ..rights import VIEW_USERS
from . import docs as documentation
from . import openapi as specification
from . import pictures, schemas
from .bearer import METHODS, ApiError, ApiRequest, bearer, public

# No middleware sets a language for the API, so a thread would keep that of the page it answered before.
in_english = partial(translation.override, "en")


@bearer()
def users_current(request: ApiRequest) -> HttpResponse:
    """The owner of the key."""
    return ApiJsonResponse(schemas.user(request.user))


@bearer()
def users_rights(request: ApiRequest) -> HttpResponse:
    """What this token may do now."""
    return ApiJsonResponse(sorted(request.auth.rights))


@bearer(right=VIEW_USERS)
def users(request: ApiRequest) -> HttpResponse:
    """The users of the owner's company."""
    rows = (
        reach.colleagues(request.user)
        .select_related("company", "access_profile")
        # What is not shown is not read: above all the password's hash.
        .only(
            "uid",
            "email",
            "name",
            "phone_number",
            "picture",
            "company__uid",
            "company__name",
            "access_profile__uid",
            "access_profile__name",
        )
    )
    return schemas.USERS.answer(rows, request.parameters)


@declares(Access.BEARER)
def users_picture(request: HttpRequest, uid: str, size: str) -> HttpResponse:
    """The picture of a user of the owner's company.

    The one address of the API that also accepts a browser session, because pages show the picture, and a browser sends
    no token for that. It only reads, and both see the same: a token has its scope, a session all that its user may do.
    """

    @bearer()
    def by_token(request: ApiRequest) -> HttpResponse:
        return pictures.answer(request, viewer=request.user, rights=request.auth.rights, uid=uid, size=size)

    def by_session(viewer: User) -> HttpResponse:
        try:
            return pictures.answer(request, viewer=viewer, rights=viewer.rights, uid=uid, size=size)
        except ApiError as refused:
            return refused.response

    may_be_session = "HTTP_AUTHORIZATION" not in request.META and request.method in METHODS
    viewer = session_store.user_of(request) if may_be_session else None
    response = by_session(viewer) if viewer else by_token(request)
    if "ETag" in response.headers:
        # Only the browser may store it, and must revalidate it: whoever lost access no longer sees it.
        response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization, Cookie"
    return response


@bearer(right="accountNetwork.profiles.view")
def profiles(request: ApiRequest) -> HttpResponse:
    """The access profiles, which are the same for all companies."""
    return schemas.PROFILES.answer(AccessProfile.objects.all(), request.parameters)


@public
def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, for programs."""
    with in_english():
        return ApiJsonResponse(specification.document(), headers=CACHEABLE)


@public
def docs(request: HttpRequest) -> HttpResponse:
    """The same document as a page for people."""
    with in_english():
        return render(request, "api/docs.html", documentation.context())
