"""The forms that look for an account by its e-mail address: they take any spelling, and continue with the stored one.

So all spellings count as one address for the limits, and a mail goes to the stored address, never to a similar one.
"""

from __future__ import annotations

from allauth.account import forms

from ..models import User
from ..text import spelling


class LoginForm(forms.LoginForm):
    def clean_login(self) -> str:
        return spelling.address(super().clean_login())


class ResetPasswordForm(forms.ResetPasswordForm):
    users: list[User]

    def clean_email(self) -> str:
        self.cleaned_data["email"] = spelling.address(self.cleaned_data["email"])
        email: str = super().clean_email()
        self.users = [user for user in self.users if user.is_let_in]  # allauth has asked `is_active` alone
        return email
