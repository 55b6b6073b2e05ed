"""Whether the person at the browser proved their password a short time ago, and proving it again.

The records are django-allauth's: it writes one at sign-in, and whatever asks for a password here adds to them, so
one proof counts for the whole site.

A change that is asked for without such a proof is not made, neither then nor later. Who asked may have a stolen cookie,
and who gives the password next is the owner: so no form waits for the password, and nothing that was begun before it
goes on after it. allauth's own way (`ReauthenticationRequired`) keeps the form in the session and runs it after the
proof. Nothing here raises that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import is_valid_path, reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from ..account.allauth_internals import KEPT_FORM, PASSKEY_CHALLENGE, reauthenticate_by_password
from ..http.requests import UserRequest
from ..limits import attempts

if TYPE_CHECKING:
    from .base import View

# What the session has of a second factor that is being set up: `account.mfa` puts it there.
TOTP_SECRET = "mfa_totp_secret"  # noqa: S105 - where it is, encrypted, until a code has confirmed it
MAILBOX_PROOF = "mfa_mailbox_proof"
# The last one is a form that allauth kept, in a session of before this site stopped doing that.
BEGUN = (TOTP_SECRET, MAILBOX_PROOF, PASSKEY_CHALLENGE, KEPT_FORM)


def is_due(request: UserRequest) -> bool:
    """Whether a change needs the password first (ASVS 7.5.3)."""
    newest = max((record["at"] for record in get_authentication_records(request, request.user)), default=0)
    return time.time() - newest >= settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def required(*, back: str = "") -> Callable[[View], View]:
    """What holds for every page that changes something: a proof first, or the page is as if it was not asked for.

    `back` names the page that has the form, for an address which only takes it.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: UserRequest, *args: object, **kwargs: object) -> HttpResponse:
            if is_due(request):
                return ask_first(request, back=back)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def ask_first(request: UserRequest, *, back: str = "") -> HttpResponse:
    """To the page that asks for the password, and from there to this page, or the one named `back`, as it is when new.

    Nothing is taken along but its path: neither what was sent nor a query, which could fill in a form.
    """
    if request.method not in ("GET", "HEAD"):
        messages.warning(request, _("Nothing was done. Confirm that it is you, then do it once more."))
    wanted = reverse(back) if back else request.path
    url = reverse("account_reauthenticate") + "?" + urlencode({"next": wanted}, safe="/")
    return HttpResponseClientRedirect(url) if request.htmx else HttpResponseRedirect(url)


def page_after(request: HttpRequest) -> str:
    """Where to go after the proof: to the page of ours that was asked for, by its path alone, or to My Profile."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    path = wanted.partition("?")[0].partition("#")[0]
    # A path that leads to a view of ours cannot lead to another host.
    return path if is_valid_path(path) else reverse("profile")


def may_try(request: UserRequest) -> bool:
    """Count one attempt at the password; False when there have been too many (ASVS 6.3.1).

    By session: attempts here keep nobody from signing in, nor from proving who they are in another session.
    """
    try:
        attempts.reauthentication(request)
    except attempts.TooMany:
        return False
    return True


def accept(request: UserRequest) -> None:
    """Note that the password was proven just now, and begin a new session id with it (ASVS 7.2.4).

    Whoever had the old id is out with it, and so is what they may have begun: a secret or a challenge they have seen.
    """
    reauthenticate_by_password(request)
    for name in BEGUN:
        request.session.pop(name, None)
    request.session.cycle_key()
