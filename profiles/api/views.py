"""The JSON API. Each operation acts as the owner of the key, or as the API Client, that the token is of.

It is told in `docs` as it is declared here.
"""

from __future__ import annotations

from typing import Annotated

from django.template.loader import render_to_string
from django.utils import translation
from msgspec import Meta, Struct

from .. import credentials, reach, rights
from ..account import session_store
from ..http import calls, errors
from ..http.access import Access, declares
from ..http.calls import CACHEABLE, Answer, Call
from ..http.operations import Content, Parameter, Tag
from ..http.shapes import UID_PATTERN, choice
from ..models import AccessProfile, User
from . import collection, docs, openapi, pictures, schemas
from .bearer import METHODS, ApiCall, ApiRefused, bearer
from .operation import described, operation, public
from .schemas import CLIENTS, JO, NIGHTLY_EXPORT, NIGHTLY_EXPORT_ITSELF, OPERATOR, PROFILES, USERS

USERS_TAG = Tag("Users", "Who you are, what you may do, and who else is in your company.")
CLIENTS_TAG = Tag("API Clients", "The clients that belong to your company, and act for it whoever has made them.")
PROFILES_TAG = Tag("Access profiles", "Named sets of rights, given to users by administrators.")
CLIENT_ID = Parameter(
    "uid", "The Client ID.", {"type": "string", "pattern": f"^{UID_PATTERN}$"}, where="path", example="0" * 32
)


@operation(
    "users/current",
    tag=USERS_TAG,
    summary="Who am I?",
    says="The owner of the key, or the API Client.",
    example=JO,
    of_client=NIGHTLY_EXPORT_ITSELF,
)
def get_current_user(call: ApiCall) -> schemas.User:
    """The owner of the key. An API Client is told about itself: its Client ID as `uid`, its name, its company and its
    access profile, and no e-mail address. Any active token is enough.
    """
    return schemas.user(call.owner)


@operation(
    "users/rights",
    tag=USERS_TAG,
    summary="What may I do?",
    says="The effective rights.",
    example=[rights.VIEW_USERS, "entities.systems.view"],
)
def get_current_rights(call: ApiCall) -> list[schemas.Right]:
    """The effective rights of this token, sorted: what its scope and the access profile both allow now. Any active
    token is enough.
    """
    return sorted(call.token.rights)


_PICTURE_HEADERS = {"ETag": "ETag", "Cache-Control": "Cache-Control"}


@described(
    "users/{uid}/picture/{size}",
    tag=USERS_TAG,
    summary="A user's picture",
    parameters=(
        Parameter("uid", "Whose picture.", {"type": "string", "pattern": f"^{UID_PATTERN}$"}, "path", JO.uid),
        Parameter(
            "size",
            "`normal` as it was uploaded, `small` within 32 by 32 pixels, `icon` within 16 by 16.",
            choice(*schemas.Picture.__struct_fields__),
            "path",
            "normal",
        ),
    ),
    answers={
        200: Content(
            "The picture.",
            Annotated[str, Meta(extra_json_schema={"format": "binary"})],
            types=("image/png", "image/jpeg", "image/webp"),
            headers=_PICTURE_HEADERS,
        ),
        304: Content("The picture is the one that you have.", headers=_PICTURE_HEADERS),
    },
    refusals=(errors.FORBIDDEN, errors.NOT_FOUND),
)
@declares(Access.BEARER)
def get_user_picture(call: Call, uid: str, size: str) -> Answer:
    """Your own with any active token, that of another user of the company with the right `accountNetwork.users.view`.
    Send the `ETag` of the picture that you have as `If-None-Match`. This address alone can also be opened by the
    session of a signed-in browser, which sees what a token of its user would.
    """

    # Pages show the picture, and a browser sends no token for that. It only reads, and both see the same.
    @bearer()
    def by_token(allowed: ApiCall) -> Answer:
        return pictures.answer(call, viewer=allowed.owner, rights=allowed.token.rights, uid=uid, size=size)

    def by_session(viewer: User) -> Answer:
        try:
            return pictures.answer(call, viewer=viewer, rights=viewer.rights, uid=uid, size=size)
        except ApiRefused as refused:
            return refused.answer

    may_be_session = "HTTP_AUTHORIZATION" not in call.environ and call.method in METHODS
    viewer = session_store.user_of(call.as_request()) if may_be_session else None
    answer = by_session(viewer) if viewer else by_token(call)
    if "ETag" in answer.headers:
        # Only the browser may store it, and must revalidate it: whoever lost access no longer sees it.
        answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Vary"] = "Authorization, Cookie"
    return answer


@operation(
    "users",
    listing=USERS,
    right=rights.VIEW_USERS,
    tag=USERS_TAG,
    summary="List the users of my company",
    says="One page of users.",
    example=JO,
)
def list_users(call: ApiCall) -> Struct:
    """The users of the company, yourself and inactive users included. If you belong to no company, only yourself.
    API Clients are no users, and not among them.
    """
    return USERS.page_of(reach.colleagues(call.owner), call.parameters)


@operation(
    "clients",
    listing=CLIENTS,
    right=rights.VIEW_CLIENTS,
    tag=CLIENTS_TAG,
    summary="List the API Clients of my company",
    says="One page of API Clients.",
    example=NIGHTLY_EXPORT,
)
def list_clients(call: ApiCall) -> Struct:
    """The API Clients of the company, disabled ones included; personal keys are not among them. If you belong to no
    company, there are none. Their Secret keys are made and seen on the pages alone.
    """
    return CLIENTS.page_of(reach.clients(call.owner), call.parameters)


@operation(
    "profiles",
    listing=PROFILES,
    right="accountNetwork.profiles.view",
    tag=PROFILES_TAG,
    summary="List the access profiles",
    says="One page of access profiles.",
    example=OPERATOR,
)
def list_profiles(call: ApiCall) -> Struct:
    """The access profiles there are. Ask for `fields=rights` to see what each allows."""
    return PROFILES.page_of(AccessProfile.objects.all(), call.parameters)


@public("/api/openapi.json", summary="The OpenAPI document", shape=schemas.Document)
def get_openapi(call: Call) -> Answer:
    return calls.json(openapi.document(), headers=CACHEABLE)


@public(
    "/api/collections/{uid}.json",
    summary="A collection for Bruno and Postman",
    shape=schemas.Collection,
    parameters=(CLIENT_ID,),
    refusals=(errors.NOT_FOUND,),
)
def get_collection(call: Call, uid: str) -> Answer:
    """All that an access token opens, as requests of one client. The file is made of the Client ID alone, which is not
    looked up, and has no secret in it.
    """
    if not credentials.is_client_id(uid):
        return errors.api_error(errors.RESOURCE_UNKNOWN, "This is not a Client ID.")
    return calls.json(collection.collection(uid), headers=CACHEABLE)


@public("/api/docs", summary="The documentation page", shape=str, kind="text/html")
def get_docs(call: Call) -> Answer:
    with translation.override("en"):
        page = render_to_string("api/docs.html", docs.context())
    return Answer(page.encode(), headers={"Content-Type": "text/html; charset=utf-8"})
