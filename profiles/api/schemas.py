"""What users, API Clients and access profiles look like to a program: names of fields and their order are fixed."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import F
from msgspec import Meta, Struct

from .. import rights
from ..clients.tokens import Owner
from ..http.shapes import Uid, explained, named
from ..oauth import shapes
from .listing import Listing, Read

Right = Annotated[str, named("Right", **explained("The rights there are.", rights.DESCRIPTIONS))]
Document = Annotated[
    dict[str, Any], named("Document", type="object", additionalProperties=True, description="This document.")
]
Collection = Annotated[
    dict[str, Any],
    named("Collection", type="object", additionalProperties=True, description="A Postman collection, version 2.1.0."),
]


# With names, because generators take nothing else that can be null. And with no `format`: clients that validate it
# refuse some addresses that people have (jo@factory.local).
EmailAddress = Annotated[str, named("EmailAddress", type="string", description="The address by which a user signs in.")]
Timestamp = Annotated[
    str,
    named(
        "Timestamp",
        type="string",
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        description="A moment in UTC, as RFC 3339 writes it, in whole seconds.",
    ),
]


class Reference(Struct, frozen=True):
    uid: Uid
    name: str


class Picture(Struct, frozen=True):
    icon: str
    normal: str
    small: str


def _reference(uid: str | None, name: str | None) -> Reference | None:
    return Reference(uid, name) if uid and name is not None else None


def _picture(uid: str, file: str) -> Picture | None:
    """Paths below /api/v1."""
    return Picture(*[f"/users/{uid}/picture/{size}" for size in Picture.__struct_fields__]) if file else None


def _existing(held: list[str]) -> list[str]:
    # Only rights that still exist: see rights.effective.
    return sorted(rights.ALL_RIGHTS.intersection(held))


def _timestamp(moment: datetime | None) -> str | None:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else None


class User(Struct, frozen=True, rename="camel"):
    company: Annotated[
        Reference | None,
        Meta(description="The company, if there is one."),
        Read("company__uid", "company__name", by=_reference),
    ]
    uid: Uid
    email: Annotated[EmailAddress | None, Meta(description="The e-mail address; null for an API Client.")]
    name: str
    phone_number: Annotated[str, Meta(description="In international form, or empty.")]
    profile: Annotated[
        Reference | None,
        Meta(description="The access profile, if there is one."),
        Read("access_profile__uid", "access_profile__name", by=_reference),
    ]
    picture: Annotated[
        Picture | None,
        Meta(description="The picture in three sizes, if there is one: paths below `/api/v1`."),
        Read("uid", "picture", by=_picture),
    ]


class ApiClient(Struct, frozen=True, rename="camel"):
    uid: Annotated[Uid, Meta(description="The Client ID."), Read("client_id")]
    name: str
    note: Annotated[str, Meta(description="What its makers say about it, or empty.")]
    profile: Annotated[
        Reference,
        Meta(description="The access profile that it acts with."),
        Read("access_profile__uid", "access_profile__name", by=Reference),
    ]
    enabled: Annotated[
        bool,
        Meta(description="False while it is disabled: then it gets no token, and its tokens are refused."),
        Read("disabled", by=operator.not_),
    ]
    created: Annotated[Timestamp, Meta(description="When it was made."), Read("created", by=_timestamp)]
    last_used: Annotated[
        Timestamp | None,
        Meta(description="When it was last used, to the minute; null if never."),
        Read("last_used", by=_timestamp),
    ]


class AccessProfile(Struct, frozen=True):
    uid: Uid
    name: str
    rights: Annotated[list[Right], Read("rights", by=_existing)]


USERS = Listing(
    User,
    "A user with the fields that were asked for.",
    by_default=("company", "uid", "email", "name", "phoneNumber", "profile"),
    order={"uid": "uid", "email": "email", "name": "name_folded", "phoneNumber": "phone_number"},
)
CLIENTS = Listing(
    ApiClient,
    "An API Client with the fields that were asked for.",
    by_default=("uid", "name", "note", "profile", "enabled", "created", "lastUsed"),
    order={"uid": "client_id", "name": "name_folded", "created": F("created"), "lastUsed": F("last_used")},
)
PROFILES = Listing(
    AccessProfile,
    "An access profile with the fields that were asked for.",
    by_default=("uid", "name"),
    order={"uid": "uid", "name": "name_folded"},
)


def user(owner: Owner) -> User:
    """The owner of a token, which may be an API Client."""
    return User(
        company=Reference(*owner.company) if owner.company else None,
        uid=owner.uid,
        email=owner.email,
        name=owner.name,
        phone_number=owner.phone_number,
        profile=Reference(*owner.access_profile) if owner.access_profile else None,
        picture=_picture(owner.uid, owner.picture),
    )


OPERATOR = Reference(uid="c41f7b8a90d24e1fb3a6d85e7f102938", name="Operator")
JO = User(
    company=Reference(uid=shapes.COMPANY_EXAMPLE, name="Fleet Ltd"),
    uid=shapes.OWNER_EXAMPLE,
    email="jo@fleet.example",
    name="Jo Martin",
    phone_number="+33123456789",
    profile=OPERATOR,
    picture=_picture(shapes.OWNER_EXAMPLE, "a file"),
)
INTEGRATION = Reference(uid="b7e6d5c4a3f24e1d8c9b0a1f2e3d4c5b", name="Integration")
NIGHTLY_EXPORT = ApiClient(
    uid=shapes.API_CLIENT_EXAMPLE,
    name="Nightly export",
    note="Runs on the server of the fleet office.",
    profile=INTEGRATION,
    enabled=True,
    created="2026-09-01T08:15:30Z",
    last_used="2026-11-26T02:00:04Z",
)
NIGHTLY_EXPORT_ITSELF = User(
    company=JO.company,
    uid=NIGHTLY_EXPORT.uid,
    email=None,
    name=NIGHTLY_EXPORT.name,
    phone_number="",
    profile=INTEGRATION,
    picture=None,
)
