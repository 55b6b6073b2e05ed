"""Staff and their browsers, for the tests of the admin site."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from profiles import rights
from profiles.models import AccessProfile, User

from .conftest import PASSWORD


def browser_of(user: User) -> Client:
    """A browser in which `user` is signed in."""
    client = Client()
    client.force_login(user)
    return client


def make_staff(**fields: Any) -> User:
    """Staff without any permission; unless these fields say something else, of the whole site and with all rights."""
    if "access_profile" not in fields:
        fields["access_profile"] = AccessProfile.objects.create(name="Everything", rights=sorted(rights.ALL_RIGHTS))
    return User.objects.create_user("staff@example.com", PASSWORD, name="Sam Staff", is_staff=True, **fields)


def permit(user: User, *names: str) -> Client:
    """A browser in which `user` is signed in with these permissions and no other."""
    found = Permission.objects.filter(content_type__app_label__in=("profiles", "auth"), codename__in=names)
    assert found.count() == len(names), names
    user.user_permissions.set(found)
    return browser_of(user)
