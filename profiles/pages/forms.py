"""The one form behind Create, Regenerate and Delete."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..http.requests import UserRequest
from . import reauthentication


class KeyActionForm(forms.Form):
    """A confirmation: the version of the key that the person saw, and their password if it has to be proven again.

    A form without a version stands for whatever it is now; one with a version that no page of ours can have had, or
    with one of the past, is out of date.
    """

    version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": _("Enter your password.")},
    )

    def __init__(self, *args: Any, request: UserRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        if not reauthentication.is_due(request):
            del self.fields["password"]

    @property
    def lacks_password(self) -> bool:
        """Whether the password has to be proven and this form did not ask for it yet."""
        return "password" in self.fields and "password" not in self.data and not self.has_error("version")

    def clean_version(self) -> int | None:
        version: int | None = self.cleaned_data["version"]
        if version not in (None, self.request.user.key_version):
            raise ValidationError(_("The key was changed."), code="stale")
        return version

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if self.has_error("version"):
            return password  # nothing will be done, so there is nothing to prove
        if not reauthentication.may_try(self.request):
            raise ValidationError(_("Too many attempts. Wait a minute, then try again."), code="limited")
        if not self.request.user.has_password(password):
            raise ValidationError(_("That is not your password. Try again."), code="incorrect")
        return password
