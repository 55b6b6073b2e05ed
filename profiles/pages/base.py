"""What all pages have in common: who may ask, by which methods, and that nobody keeps the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect

from ..http.access import Access, declares
from ..http.requests import UserRequest

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_KEY_AS_IT_WAS = _("You had been signed out, so nothing was done. Your key is as it was.")

View = Callable[Concatenate[UserRequest, ...], HttpResponse]


def _to_profile(**_of_address: str) -> str:
    return reverse("profile")


def page(
    *methods: str,
    anyone: bool = False,
    back: Callable[..., str] = _to_profile,
    as_it_was: _StrPromise = _KEY_AS_IT_WAS,
) -> Callable[[View], Callable[..., HttpResponse]]:
    """What holds for every page here: these methods only, the owner only, kept by nobody.

    `anyone` lets in those who are not signed in, too. Whose session has ended comes `back` after the sign-in, to a page
    by the parts of this one's address, and is told that all is `as_it_was`.
    """

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @declares(Access.ANYONE if anyone else Access.SIGNED_IN)
        @never_cache
        @vary_on_headers("HX-Request")
        @sensitive_post_parameters("password", "secret")
        @wraps(view)
        def policed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                return _not_allowed(request, methods)
            if not anyone and not request.user.is_authenticated:
                return _sign_in_first(request, back(**kwargs), as_it_was)
            return view(cast("UserRequest", request), *args, **kwargs)

        return policed

    return decorate


def wants_part(request: UserRequest) -> bool:
    return bool(request.htmx) and not request.htmx.boosted and not request.htmx.history_restore_request


def _sign_in_first(request: HttpRequest, back: str, as_it_was: _StrPromise) -> HttpResponse:
    """To sign-in, as a whole page, and back to a page which then says that nothing was done."""
    htmx = bool(cast("UserRequest", request).htmx)
    wanted = back if htmx or request.method == "POST" else request.get_full_path()
    if request.method == "POST":
        messages.warning(request, str(as_it_was))
    url = resolve_url(settings.LOGIN_URL) + "?" + urlencode({"next": wanted}, safe="/")
    return HttpResponseClientRedirect(url) if htmx else HttpResponseRedirect(url)


def _not_allowed(request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    response = render(request, "405.html", status=405)
    response.headers["Allow"] = HttpResponseNotAllowed(methods).headers["Allow"]
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was not sent from a page of ours of this session: most often one left open from before sign-in."""
    return render(request, "403_csrf.html", status=403)
