"""What all pages have in common: who may ask, by which methods, and that nobody keeps the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect

from ..http.access import Access, declares
from ..http.requests import UserRequest

View = Callable[Concatenate[UserRequest, ...], HttpResponse]


def page(*methods: str, anyone: bool = False) -> Callable[[View], Callable[..., HttpResponse]]:
    """What holds for every page here: these methods only, the owner only, kept by nobody.

    `anyone` lets in those who are not signed in, too.
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
                return _sign_in_first(request)
            return view(cast("UserRequest", request), *args, **kwargs)

        return policed

    return decorate


def wants_part(request: UserRequest) -> bool:
    return bool(request.htmx) and not request.htmx.boosted and not request.htmx.history_restore_request


def _sign_in_first(request: HttpRequest) -> HttpResponse:
    """To sign-in, as a whole page, and back to the profile, which then says that nothing was done."""
    htmx = bool(cast("UserRequest", request).htmx)
    wanted = reverse("profile") if htmx or request.method == "POST" else request.get_full_path()
    if request.method == "POST":
        messages.warning(request, _("You had been signed out, so nothing was done. Your key is as it was."))
    url = resolve_url(settings.LOGIN_URL) + "?" + urlencode({"next": wanted}, safe="/")
    return HttpResponseClientRedirect(url) if htmx else HttpResponseRedirect(url)


def _not_allowed(request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    response = render(request, "405.html", status=405)
    response.headers["Allow"] = HttpResponseNotAllowed(methods).headers["Allow"]
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was not sent from a page of ours of this session: most often one left open from before sign-in."""
    return render(request, "403_csrf.html", status=403)
