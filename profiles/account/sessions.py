"""The browsers in which somebody is signed in, to look at and to sign out.

Each has a row in the table of django-allauth's `usersessions`. Its middleware would write to it at every request; ours
does so when a session is new, has a new id, or was last noted a minute ago, which it reads from the session itself.
A session is ended by deleting it: the next request in it leads to the sign-in page. To end all sessions of a user,
`User.session_salt` is changed too, which each session must match: so sessions also end that have no row here, or that
were created at the same moment.
"""

from __future__ import annotations

import logging
import time

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from ..http.requests import UNKNOWN_ADDRESS, GetResponse, UserRequest, client_address, origin_of, user_agent
from ..models import AccountEvent, Company, User, new_uid
from ..origin import Origin
from ..pages import reauthentication
from ..pages.base import page
from . import activity

logger = logging.getLogger(__name__)

NOTED = "browser_noted"  # in the session: its id and the time when it was noted
NOTE_EVERY = 60  # seconds


def note_browser(get_response: GetResponse) -> GetResponse:
    """Middleware: update the row of the browser, once a minute; after the view, when the session has its final id."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        # Only if the view has read the session: a page that does not depend on its visitor stays so.
        if request.session.accessed:
            _note_if_due(request)
        return response

    return middleware


def _note_if_due(request: HttpRequest) -> None:
    session = request.session
    if SESSION_KEY in session:
        key, noted = session.get(NOTED) or ("", 0)
        if key != session.session_key or time.time() - noted >= NOTE_EVERY:
            _note(request, before=key)


def _note(request: HttpRequest, *, before: str) -> None:
    session = request.session
    try:
        if not request.user.is_authenticated:
            return
        with transaction.atomic():
            if before and before != session.session_key:
                UserSession.objects.filter(session_key=before).delete()
            UserSession.objects.update_or_create(
                session_key=session.session_key,
                defaults={
                    "user": request.user,
                    "ip": client_address(request) or UNKNOWN_ADDRESS,
                    "user_agent": user_agent(request),
                    "last_seen_at": timezone.now(),
                },
            )
    except DatabaseError as error:  # the page is answered all the same
        logger.warning("browser not noted: %r", error)
    else:
        session[NOTED] = (session.session_key, time.time())


def of(user: User) -> QuerySet[UserSession]:
    """The browsers in which `user` is signed in now, the last used first."""
    live = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=timezone.now())
    return UserSession.objects.filter(Exists(live), user=user).order_by("-last_seen_at", "-pk")


@transaction.atomic
def end_all(user: User, *, but: SessionBase | None) -> int:
    """Sign `user` out everywhere except in the session `but`, if it is theirs. Returns the number of browsers.

    That session continues under a new id, so that a copy of its cookie no longer works.
    """
    spared = but if but is not None and but.get(SESSION_KEY) == str(user.pk) else None
    # Lock the user's row first, as all changes of factors do; rows that refer to it can still be written meanwhile.
    now = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    browsers = UserSession.objects.filter(user=user)
    ended = _end(browsers.exclude(session_key=spared.session_key) if spared is not None else browsers)
    now.session_salt = user.session_salt = new_uid()
    now.save(update_fields=["session_salt"])
    if spared is not None:
        before = spared.session_key
        spared.cycle_key()
        browsers.filter(session_key=before).update(session_key=spared.session_key)
        spared[HASH_SESSION_KEY] = now.get_session_auth_hash()
    return ended


def end_of_company(company: Company) -> None:
    """Forget the browsers of a company that was switched off: the change itself has ended their sessions."""
    _end(UserSession.objects.filter(user__company=company))


def end_as_administrator(user: User, *, origin: Origin) -> None:
    """Sign `user` out everywhere, as staff: a device is lost, or somebody else uses the account."""
    with transaction.atomic():
        end_all(user, but=None)
        activity.record(AccountEvent.Action.SESSIONS_ENDED_BY_ADMIN, owner=user, origin=origin)


def ended() -> QuerySet[UserSession]:
    """The rows of browsers whose session has ended: Django deletes sessions, but not these rows."""
    live = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=timezone.now())
    found: QuerySet[UserSession] = UserSession.objects.filter(~Exists(live))
    return found


@transaction.atomic
def _end(browsers: QuerySet[UserSession]) -> int:
    keys = list(browsers.values_list("session_key", flat=True))
    ended, _each = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).delete()
    UserSession.objects.filter(session_key__in=keys).delete()
    return ended


@page("GET", "HEAD")
def sessions(request: UserRequest) -> HttpResponse:
    _note_if_due(request)  # so that this one is in its own list
    browsers = list(of(request.user))
    current = request.session.session_key
    context = {
        "browsers": [(browser, browser.session_key == current) for browser in browsers],
        "others": any(browser.session_key != current for browser in browsers),
        "unknown": UNKNOWN_ADDRESS,
    }
    return render(request, "account/sessions.html", context)


@page("POST")
@reauthentication.required(back="account-sessions")
def session_end(request: UserRequest) -> HttpResponse:
    """Sign out one of the other browsers."""
    chosen = request.POST.get("browser", "")
    others = of(request.user).exclude(session_key=request.session.session_key)
    pk = int(chosen) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 19 else 0
    browser = others.filter(pk=pk).first()
    if browser and _end(UserSession.objects.filter(pk=pk)):
        said = f"{browser.ip} {browser.user_agent}"
        activity.record(AccountEvent.Action.SESSION_ENDED, owner=request.user, origin=origin_of(request), detail=said)
        messages.success(request, _("That browser is signed out."))
    else:
        messages.warning(request, _("Nothing was done: that browser is not signed in any more, or was used just now."))
    return HttpResponseRedirect(reverse("account-sessions"))


@page("POST")
@reauthentication.required(back="account-sessions")
def sessions_end(request: UserRequest) -> HttpResponse:
    """Sign out all other browsers."""
    if end_all(request.user, but=request.session):
        activity.record(AccountEvent.Action.SESSIONS_ENDED, owner=request.user, origin=origin_of(request))
        messages.success(request, _("All other browsers are signed out."))
    else:
        messages.warning(request, _("Nothing was done: no other browser is signed in."))
    return HttpResponseRedirect(reverse("account-sessions"))
