"""The second step of a sign-in: which factor is asked for, the pages that ask, and who has to set one up first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from allauth.account.models import Login
from allauth.account.stages import LoginByCodeStage, LoginStageController
from allauth.account.utils import get_login_redirect_url
from allauth.account.views import ConfirmLoginCodeView
from allauth.mfa.base.views import AuthenticateView as AllauthAuthenticateView
from allauth.mfa.stages import AuthenticateStage
from allauth.mfa.webauthn.views import LoginWebAuthnView
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from ...http.access import Access, declares
from ...limits import attempts
from ...models import User
from . import codes, factors, passkeys

logger = logging.getLogger(__name__)

# In the stored state of a sign-in: the user does not have the authenticator here and asked for a code by e-mail.
BY_EMAIL = "by_email"

# Pages for users who still have to set up the second factor that their company requires.
SET_UP_PAGES = {
    "mfa_index",
    "mfa_email",
    "mfa_totp",
    "mfa_passkey_add",
    "account_reauthenticate",
    "account_logout",
}


def is_code_mailed(login: Login) -> bool:
    """Whether this sign-in takes a code by e-mail: the user has no stronger factor, or not here."""
    user: User = login.user
    return bool(login.state.get(BY_EMAIL)) or (user.email_codes and not user.has_authenticator)


class EmailCodeStage(LoginByCodeStage):
    """Asks for a code by e-mail, after the right password."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if not is_code_mailed(self.login):
            return None, True
        # To the current address, not to the one that was typed: allauth also accepts former ones.
        self.login.email = self.login.user.email
        if not codes.may_mail_code(self.request, self.login.user):
            messages.error(self.request, _("We have just mailed you several codes. Wait a minute, then sign in again."))
            return redirect("account_login"), False
        try:
            answer: tuple[HttpResponse | None, bool] = super().handle()
        except OSError:
            logger.exception("could not mail a code")
            messages.error(self.request, _("The code could not be mailed. Try again in a few minutes."))
            return redirect("account_login"), False
        return answer


# --- Pages ---------------------------------------------------------------------------------------------------


class AuthenticateView(AllauthAuthenticateView):
    """A code of the authenticator app, a passkey or a recovery code."""

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        # The page has two forms; only this one is shown with its errors.
        return attempts.answered(super().form_invalid(form), attempts.refusal_in(form))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.stage.login.user
        with passkeys.made_for(passkeys.Purpose.SECOND_STEP, user):
            shown = super().get_context_data(**kwargs)
        return {**shown, "factors": factors.of(user)}


authenticate = AuthenticateView.as_view()


@declares(Access.SIGNING_IN)
@require_POST
@never_cache
def authenticate_by_email(request: HttpRequest) -> HttpResponse:
    """A code by e-mail instead of the authenticator, for users who have such codes turned on."""
    if request.user.is_authenticated:
        return redirect(get_login_redirect_url(request))
    stage = LoginStageController.enter(request, AuthenticateStage.key)
    if stage is None:
        return redirect("account_login")
    if not stage.login.user.email_codes:
        return redirect("mfa_authenticate")
    stage.login.state[BY_EMAIL] = True
    return cast("HttpResponse", stage.exit())


class EmailCodeView(ConfirmLoginCodeView):
    """The code that was mailed."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = super().dispatch(request, *args, **kwargs)
        if getattr(self, "_process", self) is None:
            messages.warning(request, _("That code has expired. Sign in again, and we mail you another one."))
        return cast("HttpResponse", answer)

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        if "code" in kwargs:
            kwargs["user"] = self.stage.login.user
        return kwargs

    def _resend_form_valid(self, form: forms.Form) -> HttpResponse:
        try:
            return cast("HttpResponse", super()._resend_form_valid(form))
        except OSError:
            logger.exception("could not mail a code")
            messages.error(self.request, _("The code could not be mailed. Try again in a few minutes."))
            return redirect("account_confirm_login_code")

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        answer: HttpResponse = super().form_invalid(form)
        # The last wrong code ends the sign-in, by a redirect.
        return attempts.answered(answer, attempts.refusal_in(form)) if answer.status_code == 200 else answer


email_code = EmailCodeView.as_view()


class PasskeyLoginView(LoginWebAuthnView):
    """A passkey that has verified its user, in place of password and second factor."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with passkeys.made_for(passkeys.Purpose.ALONE):
            return cast("HttpResponse", super().get(request, *args, **kwargs))

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        messages.error(self.request, _("That passkey was not accepted. Sign in with your password."))
        return redirect("account_login")


passkey_login = PasskeyLoginView.as_view()


# --- Required by the company ---------------------------------------------------------------------------------


def required_first(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: redirect users who still have to set up the second factor that their company requires."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_view(request: HttpRequest, *_view: Any) -> HttpResponse | None:
        user = request.user
        if not user.is_authenticated or not user.needs_second_factor or user.has_second_factor:
            return None
        match = request.resolver_match
        if match and match.view_name in SET_UP_PAGES:
            return None
        if getattr(request, "htmx", False):
            return HttpResponseClientRedirect(reverse("mfa_index"))
        return redirect("mfa_index")

    middleware.process_view = process_view  # type: ignore[attr-defined]  # where Django looks for it
    return middleware
