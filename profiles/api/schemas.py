"""What a user and an access profile look like to a client of the API: names of fields and their order are fixed."""

from collections.abc import Callable, Mapping
from typing import Any

from .. import rights
from ..account import pictures
from ..clients.tokens import Owner, Reference
from ..models import AccessProfile, Company, User
from .listing import Listing


def _reference(row: Company | AccessProfile | Reference | None) -> dict[str, str] | None:
    return {"uid": row.uid, "name": row.name} if row else None


def _picture(user: User | Owner) -> dict[str, str] | None:
    """Paths below /api/v1."""
    return {size: f"/users/{user.uid}/picture/{size}" for size in pictures.SIZES} if user.picture else None


USER: Mapping[str, Callable[[Any], object]] = {
    "company": lambda user: _reference(user.company),
    "uid": lambda user: user.uid,
    "email": lambda user: user.email,
    "name": lambda user: user.name,
    "phoneNumber": lambda user: user.phone_number,
    "profile": lambda user: _reference(user.access_profile),
    "picture": _picture,
}
PROFILE: Mapping[str, Callable[[AccessProfile], object]] = {
    "uid": lambda profile: profile.uid,
    "name": lambda profile: profile.name,
    # Only rights that still exist: see rights.effective.
    "rights": lambda profile: sorted(rights.ALL_RIGHTS.intersection(profile.rights)),
}

USERS = Listing(
    fields=USER,
    default_fields=("company", "uid", "email", "name", "phoneNumber", "profile"),
    order={"uid": "uid", "email": "email", "name": "name_folded", "phoneNumber": "phone_number"},
)
PROFILES = Listing(fields=PROFILE, default_fields=("uid", "name"), order={"uid": "uid", "name": "name_folded"})


def user(row: User | Owner) -> dict[str, Any]:
    """A user with all fields of the API."""
    return {name: read(row) for name, read in USER.items()}
