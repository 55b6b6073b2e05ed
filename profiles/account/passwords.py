"""The password: its rules, and what a change of it ends.

The rules are Django's validators (`AUTH_PASSWORD_VALIDATORS`) and `CharacterClasses`, here. A change ends the sessions
of all other browsers: those in the list of `sessions` are deleted, and Django refuses all others, because each holds a
hash of the old password. The key has a secret of its own, so it continues to work, and the owner is told so.
"""

from __future__ import annotations

from typing import Any

from allauth.account import forms, views
from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.password_validation import MinimumLengthValidator, get_default_password_validators
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from ..http.requests import client_address, origin_of, user_agent
from ..limits import attempts, known_browsers
from ..models import AccountEvent, Event, User
from ..origin import Origin
from ..pages import reauthentication
from ..text import spelling
from . import activity, sessions


class MinimumLength(MinimumLengthValidator):
    """Counts characters in the stored Unicode form, however they were typed."""

    def validate(self, password: str, user: Any = None) -> None:
        super().validate(spelling.password(password), user)


class CharacterClasses:
    """Some of: small letters, capital letters, digits, all else. `static/js/password.js` counts in the same way."""

    AT_LEAST = 3

    def validate(self, password: str, user: User | None = None) -> None:
        classes = {
            "lower" if c.islower() else "upper" if c.isupper() else "digit" if c.isdecimal() else "other"
            for c in spelling.password(password)
        }
        if len(classes) < self.AT_LEAST:
            raise ValidationError(
                _("The password needs characters of three kinds: small letters, capital letters, digits, others."),
                code="password_too_few_classes",
            )

    def get_help_text(self) -> str:
        return _(
            "Your password must have characters of three of these kinds: small letters, capital letters, digits, all "
            "others."
        )


def rules() -> SafeString:
    """The rules as an HTML list; those that a browser can check by itself are marked for `static/js/password.js`."""
    listed = []
    for validator in get_default_password_validators():
        rule: dict[str, object] = {"text": validator.get_help_text()}
        if isinstance(validator, MinimumLengthValidator):
            rule |= {"check": "length", "least": validator.min_length}
        elif isinstance(validator, CharacterClasses):
            rule |= {"check": "classes", "least": validator.AT_LEAST}
        listed.append(rule)
    return render_to_string("account/password_rules.html", {"rules": listed})


class _NewPassword(Form):
    """The new password, twice, with the rules beside it; the focus goes to the field with an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].label = _("New password")
        self.fields["password1"].help_text = rules()
        self.fields["password2"].label = _("New password, once more")

    def clean_password2(self) -> str:
        """In the same Unicode form as the first password, which the adapter returns, so that they can be compared."""
        return spelling.password(self.cleaned_data["password2"])

    def full_clean(self) -> None:
        super().full_clean()
        for name in self.errors:
            if name in self.fields:
                self.fields[name].widget.attrs["autofocus"] = True
                break


class ChangeForm(_NewPassword, forms.SetPasswordForm):
    """Without the old password: it was given within the last minutes, or is asked for first."""


class LinkForm(forms.UserTokenForm):
    """The link itself, from either mail: not for who is not let in, for it opens the account."""

    def clean(self) -> dict[str, Any]:
        link: dict[str, Any] = super().clean()
        if self.reset_user is None or not self.reset_user.is_let_in:
            raise get_adapter().validation_error("invalid_password_reset")
        return link


class FromMailForm(_NewPassword, forms.ResetPasswordKeyForm):
    pass


class Reauthenticate(views.ReauthenticateView):
    """The password once more, then a redirect: allauth's own view would run a form that was kept in the session."""

    def form_valid(self, form: Any) -> HttpResponse:
        reauthentication.accept(self.request)
        return HttpResponseRedirect(reauthentication.page_after(self.request))

    def form_invalid(self, form: Any) -> HttpResponse:
        return attempts.answered(super().form_invalid(form), attempts.refusal_in(form))


class _Change:
    """A new password by somebody who is signed in and proved who they are a short time ago."""

    request: Any

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and reauthentication.is_due(request):  # type: ignore[arg-type]
            return reauthentication.ask_first(request)  # type: ignore[arg-type]
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        return response

    def get_success_url(self) -> str:
        return reverse("profile")

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
        sessions.end_all(self.request.user, but=self.request.session)
        activity.record(AccountEvent.Action.PASSWORD_CHANGED, owner=self.request.user, origin=origin_of(self.request))
        # The cookie of a known browser depends on the password, so it is set again.
        known_browsers.remember(self.request, response, self.request.user)
        messages.success(self.request, _changed(self.request.user))
        return response


@method_decorator(never_cache, name="dispatch")
class PasswordChange(_Change, views.PasswordChangeView):
    pass


@method_decorator(never_cache, name="dispatch")
class PasswordSet(_Change, views.PasswordSetView):
    pass


@method_decorator(never_cache, name="dispatch")
class PasswordFromMail(views.PasswordResetFromKeyView):
    """A forgotten password, or the first one of an account: whoever has the link from the mail counts as the owner.

    So this browser is known from now on: the owner can sign in here at once, even while others guess passwords.
    """

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        owner: User = self.reset_user
        sessions.end_all(owner, but=None)
        origin = Origin(owner, Event.Via.PAGE, client_address(self.request), user_agent(self.request))
        activity.record(AccountEvent.Action.PASSWORD_RESET, owner=owner, origin=origin)
        known_browsers.remember(self.request, response, owner)
        return response


def _changed(user: User) -> str:
    said = _("Your password was changed, and all other browsers are signed out.")
    if not hasattr(user, "key"):
        return said
    return format_html(
        '{} {} <a href="{}">{}</a>',
        said,
        _("Your personal API access key goes on working. Does somebody else have its secret key?"),
        reverse("key-regenerate"),
        _("Regenerate it"),
    )
