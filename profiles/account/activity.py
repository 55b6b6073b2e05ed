"""What happened to an account: recorded once, mailed to its owner, shown to the owner and to administrators.

The key has events of its own (`clients.lifecycle`); the page puts both in one list.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.utils import label_for_field
from django.db import transaction
from django.db.models import F, Value
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.text import capfirst

from .. import policy
from ..events.record import record_event
from ..http.requests import UserRequest
from ..mail import notices
from ..models import BY_TIME, AccountEvent, KeyEvent, User
from ..origin import Origin
from ..pages.base import page

PAGE = 50
# What users say about themselves: changes of these are one kind of event, which names the fields.
DETAILS = ("job_title", "phone_number", "country", "language", "time_zone", "marketing", "mail_new_address")
OF_COMPANIES = {
    AccountEvent.Action.COMPANY_CREATED,
    AccountEvent.Action.COMPANY_EDITED,
    AccountEvent.Action.COMPANY_DELETED,
}
_name_of_detail = re.compile(rf"(?:(?<=^)|(?<=; ))({'|'.join(DETAILS)})(?=[:;]|$)")


def record(
    action: AccountEvent.Action,
    *,
    owner: User,
    origin: Origin,
    detail: str = "",
    email: str = "",
    mailed: bool = True,
) -> None:
    """Note what was done to the account of `owner`, and mail the owner if it is one of `notice_texts.WORDS`.

    `email` is the address on file before the change, if the change is of that. `detail` says which method, which
    browser, which e-mail address: one line, not translated, and never a secret or a code.
    """
    event = AccountEvent(action=action, owner=owner, owner_uid=owner.uid, detail=detail)
    # Who is to be told is written with the event, also where the event is all that is written. A wrong password stays
    # one statement: the time that it takes must not tell whether there is an account.
    with transaction.atomic(savepoint=False) if mailed else nullcontext():
        record_event(event, origin=origin)
        if mailed:
            notices.mail_owner(event, email=email)


def record_about(action: AccountEvent.Action, *, uid: str, origin: Origin, detail: str) -> None:
    """Note what was done to a company, an access profile or a staff group: it changes many accounts."""
    record_event(AccountEvent(action=action, owner_uid=uid, detail=detail), origin=origin)


def readable(action: str, detail: str) -> str:
    """The detail of an event, with names of fields and policies of companies in the language of the page."""
    if action in OF_COMPANIES:
        return policy.with_words(detail)
    if action != AccountEvent.Action.DETAILS_CHANGED:
        return detail
    return _name_of_detail.sub(lambda found: _label(found[1]), detail)


def _label(field: str) -> str:
    return capfirst(str(label_for_field(field, User)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of either kind, as the page shows it."""

    time: datetime
    what: str
    via: str
    """"" of what nobody did."""
    address: str | None
    user_agent: str
    note: str


def entries(owner: User, *, number: int) -> tuple[list[Entry], bool]:
    """Page `number` of what happened to the account and the key, newest first; and whether there are older ones."""
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
    # A server of the version after this one, beside it or before a way back, writes actions that are not known here.
    words: dict[str, dict[str, Any]] = {
        "account": dict(AccountEvent.Action.choices),
        "key": dict(KeyEvent.Action.choices),
    }
    found = [
        Entry(
            time,
            str(words[source].get(action, action)),
            "" if action in BY_TIME else via,
            address,
            user_agent,
            readable(action, note),
        )
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
