"""The pages that look for an account by its e-mail address: they take any form of it, and go on with the stored one.

So one address is one for the limits, too, and a mail goes to the address on file and never to one that is like it.
"""

from __future__ import annotations

from allauth.account import forms

from ..text import spelling


class LoginForm(forms.LoginForm):
    def clean_login(self) -> str:
        return spelling.address(super().clean_login())


class ResetPasswordForm(forms.ResetPasswordForm):
    def clean_email(self) -> str:
        self.cleaned_data["email"] = spelling.address(self.cleaned_data["email"])
        email: str = super().clean_email()
        return email
