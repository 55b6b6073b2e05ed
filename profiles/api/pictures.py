"""A user's picture in the API: who may get it, and with which ETag.

A picture's files are never changed (see `account.pictures`), so the ETag is the name of the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from django.core.files.storage import default_storage
from django.utils.http import parse_etags

from .. import reach
from ..account import pictures
from ..clients.tokens import Owner
from ..http import errors
from ..http.calls import Answer, Call
from ..http.shapes import UID_PATTERN
from ..models import User
from ..rights import VIEW_USERS
from .bearer import insufficient

_is_uid = re.compile(UID_PATTERN).fullmatch


def seen_by(viewer: User | Owner, rights: Collection[str], uid: str) -> str:
    """The picture of the user with this uid, as its column says; "" if there is none.

    It is that of the viewer, or with the right to view users that of anybody in the viewer's company. Without the right
    every other uid is refused in the same way, whether it exists or not. Raises ApiRefused.
    """
    if uid == viewer.uid:
        return str(viewer.picture)
    if viewer.company_id is None:
        return ""
    if VIEW_USERS not in rights:
        raise insufficient(VIEW_USERS)
    if not _is_uid(uid):  # PostgreSQL does not accept NUL, not even in a look-up
        return ""
    return reach.colleagues(viewer).filter(uid=uid).values_list("picture", flat=True).first() or ""


def answer(call: Call, *, viewer: User | Owner, rights: Collection[str], uid: str, size: str) -> Answer:
    """The picture, or 404. Raises ApiRefused for whoever may not see it."""
    picture = seen_by(viewer, rights, uid)
    if not picture or size not in pictures.SIZES:
        return errors.not_found()
    path = PurePosixPath(pictures.file_of(picture, size))
    etag = f'"{path.stem}"'
    if etag in (known.removeprefix("W/") for known in parse_etags(call.header("HTTP_IF_NONE_MATCH"))):
        return Answer(status=304, headers={"ETag": etag})
    try:
        with default_storage.open(str(path)) as file:
            return Answer(file.read(), headers={"ETag": etag, "Content-Type": pictures.TYPES[path.suffix]})
    except FileNotFoundError:  # a change at this very moment, or files that were not restored
        return errors.not_found()
