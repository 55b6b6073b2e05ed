"""How django-allauth behaves here."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend as AllauthBackend
from django.http import HttpRequest

from ..models import User


class AuthenticationBackend(AllauthBackend):
    def get_user(self, user_id: int | str) -> User | None:
        """The user of a session, with what every page of theirs shows: one look, so that it is of one moment."""
        user = User.objects.with_all().filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up: administrators make the accounts."""
        return False

    def set_password(self, user: User, password: str) -> None:
        """Save the password alone: the rest of `user` may have changed since it was read, such as `is_active`."""
        user.set_password(password)
        user.save(update_fields=["password"])

    def is_safe_url(self, url: str) -> bool:
        """Where to go after signing in, as the visitor asks; what is no address at all (`http://[`) is not safe."""
        try:
            safe: bool = super().is_safe_url(url)
        except ValueError:
            return False
        return safe
