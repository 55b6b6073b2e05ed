"""What a user and an access profile look like to a client of the API: names of fields and their order are fixed."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from .. import rights
from ..clients.tokens import Owner
from ..http.shapes import Uid, explained, named
from .listing import Listing, Read

Right = Annotated[str, named("Right", **explained("The rights there are.", rights.DESCRIPTIONS))]
Document = Annotated[
    dict[str, Any], named("Document", type="object", additionalProperties=True, description="This document.")
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


class User(Struct, frozen=True, rename="camel"):
    company: Annotated[
        Reference | None,
        Meta(description="The company, if there is one."),
        Read("company__uid", "company__name", by=_reference),
    ]
    uid: Uid
    # No `format`: clients that validate it refuse some addresses that people have (jo@factory.local).
    email: Annotated[str | None, Meta(description="Null for an API Client, which is nobody.")]
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
PROFILES = Listing(
    AccessProfile,
    "An access profile with the fields that were asked for.",
    by_default=("uid", "name"),
    order={"uid": "uid", "name": "name_folded"},
)


def user(owner: Owner) -> User:
    """The owner of a token."""
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
    company=Reference(uid="5b0c2a9de3f84f6f9a5a0d7c1e2b3f40", name="Fleet Ltd"),
    uid="9e107d9d372b4b8cb2a1f4e60c8d5a77",
    email="jo@fleet.example",
    name="Jo Martin",
    phone_number="+33123456789",
    profile=OPERATOR,
    picture=_picture("9e107d9d372b4b8cb2a1f4e60c8d5a77", "a file"),
)
