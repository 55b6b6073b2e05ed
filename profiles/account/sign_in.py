"""Signing in with a password: allauth's page, which says when there have been too many attempts."""

from __future__ import annotations

from typing import Any

from allauth.account import views
from allauth.account.stages import LoginByCodeStage, LoginStageController
from allauth.mfa.stages import AuthenticateStage
from django.http import HttpRequest, HttpResponse

from ..limits import attempts
from .adapter import has_ended_since


class SignIn(views.LoginView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Who is half in is led to the next step, but not once nobody can get in by it any more.
        for step in (AuthenticateStage, LoginByCodeStage):
            stage = LoginStageController.enter(request, step.key)
            if stage and has_ended_since(request, stage.login.user):
                stage.abort()
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        refusal = attempts.refusal_in(form)
        response: HttpResponse = self.render_to_response(self.get_context_data(form=form, refused=bool(refusal)))
        return attempts.answered(response, refusal)
