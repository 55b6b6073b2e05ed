"""The JSON API. Each operation acts as the owner of the key; `bearer` has let the call in."""

from __future__ import annotations

from functools import partial

from django.template.loader import render_to_string
from django.utils import translation

from .. import reach
from ..account import session_store
from ..http import calls
from ..http.access import Access, declares
from ..http.calls import CACHEABLE, Answer, Call
from ..models import AccessProfile, User
from ..rights import VIEW_USERS
from . import docs as documentation
from . import openapi as specification
from . import pictures, schemas
from .bearer import METHODS, ApiCall, ApiError, bearer, public

# No middleware sets a language for the API, so a thread would keep that of the page it answered before.
in_english = partial(translation.override, "en")


@bearer()
def users_current(call: ApiCall) -> Answer:
    """The owner of the key."""
    return calls.json(schemas.user(call.owner))


@bearer()
def users_rights(call: ApiCall) -> Answer:
    """What this token may do now."""
    return calls.json(sorted(call.token.rights))


@bearer(right=VIEW_USERS)
def users(call: ApiCall) -> Answer:
    """The users of the owner's company."""
    rows = (
        reach.colleagues(call.owner)
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
    return schemas.USERS.answer(rows, call.parameters)


@declares(Access.BEARER)
def users_picture(call: Call, uid: str, size: str) -> Answer:
    """The picture of a user of the owner's company.

    The one address of the API that also accepts a browser session, because pages show the picture, and a browser sends
    no token for that. It only reads, and both see the same: a token has its scope, a session all that its user may do.
    """

    @bearer()
    def by_token(allowed: ApiCall) -> Answer:
        return pictures.answer(call, viewer=allowed.owner.user, rights=allowed.token.rights, uid=uid, size=size)

    def by_session(viewer: User) -> Answer:
        try:
            return pictures.answer(call, viewer=viewer, rights=viewer.rights, uid=uid, size=size)
        except ApiError as refused:
            return refused.answer

    may_be_session = "HTTP_AUTHORIZATION" not in call.environ and call.method in METHODS
    viewer = session_store.user_of(call.as_request()) if may_be_session else None
    answer = by_session(viewer) if viewer else by_token(call)
    if "ETag" in answer.headers:
        # Only the browser may store it, and must revalidate it: whoever lost access no longer sees it.
        answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Vary"] = "Authorization, Cookie"
    return answer


@bearer(right="accountNetwork.profiles.view")
def profiles(call: ApiCall) -> Answer:
    """The access profiles, which are the same for all companies."""
    return schemas.PROFILES.answer(AccessProfile.objects.all(), call.parameters)


@public
def openapi(call: Call) -> Answer:
    """The OpenAPI document, for programs."""
    with in_english():
        return calls.json(specification.document(), headers=CACHEABLE)


@public
def docs(call: Call) -> Answer:
    """The same document as a page for people."""
    with in_english():
        page = render_to_string("api/docs.html", documentation.context())
    return Answer(page.encode(), headers={"Content-Type": "text/html; charset=utf-8"})
