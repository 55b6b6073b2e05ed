"""What happened to an account: recorded once, mailed to its owner, shown to the owner and to administrators.

The key has events of its own (`keys`); the page puts both in one list.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Value
from django.http import HttpResponse
from django.shortcuts import render

from .. import notices
from ..http import Origin, UserRequest
from ..models import AccountEvent, KeyEvent, User
from ..views import page

PAGE = 50

logger = logging.getLogger(__name__)


def record(
    action: AccountEvent.Action,
    *,
    owner: User,
    origin: Origin,
    detail: str = "",
    address: str = "",
    mail: bool = True,
) -> None:
    """Note what was done to the account of `owner`, and `mail` the owner if it is one of `notices.WORDS`.

    `address` is the e-mail address on file before the change, if the change is of that. `detail` says which method,
    which browser, which address: one line, in no language, and never a secret or a code.
    """
    event = AccountEvent.objects.create(
        action=action,
        owner=owner,
        owner_uid=owner.uid,
        actor=origin.actor,
        actor_uid=origin.actor.uid if origin.actor else "",
        via=origin.via,
        address=origin.address,
        user_agent=origin.user_agent,
        detail=detail[: AccountEvent.DETAIL_LENGTH],
    )
    if mail:
        notices.mail_owner(event, address=address)
    logger.info(
        "account %s: owner=%s actor=%s via=%s address=%s",
        action.value,
        owner.uid,
        event.actor_uid or "-",
        origin.via.value,
        origin.address or "-",
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of either kind, as the page shows it."""

    time: datetime
    what: str
    via: str
    address: str | None
    user_agent: str
    note: str


def entries(owner: User, *, number: int) -> tuple[list[Entry], bool]:
    """Page `number` of what happened to the account and the key, newest first; and whether there is older."""
    columns = ("time", "id", "source", "action", "via", "address", "user_agent", "note")
    account = AccountEvent.objects.filter(owner=owner).order_by()
    key = KeyEvent.objects.filter(owner=owner).order_by()
    both = (
        account.annotate(source=Value("account"), note=F("detail"))
        .values_list(*columns)
        .union(key.annotate(source=Value("key"), note=F("reason")).values_list(*columns), all=True)
    )
    first = (number - 1) * PAGE
    rows = list(both.order_by("-time", "source", "-id")[first : first + PAGE + 1])
    actions = {"account": AccountEvent.Action, "key": KeyEvent.Action}
    found = [
        Entry(time, str(actions[source](action).label), via, address, user_agent, note)
        for time, _id, source, action, via, address, user_agent, note in rows[:PAGE]
    ]
    return found, len(rows) > PAGE


@page("GET", "HEAD")
def activity(request: UserRequest) -> HttpResponse:
    asked = request.GET.get("page", "")
    number = int(asked) if re.fullmatch("[1-9][0-9]{0,5}", asked) else 1
    found, has_older = entries(request.user, number=number)
    context = {
        "entries": found,
        "newer": number - 1,
        "older": number + 1 if has_older else 0,
    }
    return render(request, "account/activity.html", context)
