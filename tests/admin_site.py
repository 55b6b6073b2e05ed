"""Staff and their browsers, for the tests of the admin site."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.test import Client

from profiles.models import User

from .conftest import PASSWORD


def browser_of(user: User) -> Client:
    """A browser in which `user` is signed in."""
    client = Client()
    client.force_login(user)
    return client


def make_staff() -> User:
    """Staff without any permission."""
    return User.objects.create_user("staff@example.com", PASSWORD, name="Sam Staff", is_staff=True)


def permit(user: User, *names: str) -> Client:
    """A browser in which `user` is signed in with these permissions and no other."""
    found = Permission.objects.filter(content_type__app_label__in=("profiles", "auth"), codename__in=names)
    assert found.count() == len(names), names
    user.user_permissions.set(found)
    return browser_of(user)
