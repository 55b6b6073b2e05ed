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
        # allauth redirects an unfinished sign-in to its second step; one that can no longer succeed is aborted here.
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
