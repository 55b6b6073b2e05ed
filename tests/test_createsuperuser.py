"""manage.py createsuperuser: what Django's does not do."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from profiles.models import AccountEvent, User

pytestmark = pytest.mark.django_db

EMAIL = "root@example.com"


def createsuperuser() -> None:
    call_command("createsuperuser", email=EMAIL, name="Root", interactive=False, stdout=StringIO())


def test_it_is_recorded(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "A long enough password 1")
    createsuperuser()
    user = User.objects.get(email=EMAIL)
    assert user.is_superuser
    [event] = AccountEvent.objects.all()
    assert (event.action, event.owner, event.via) == ("account_created", user, "command")
    assert event.user_agent.startswith("manage.py createsuperuser, run by ")


@pytest.mark.parametrize("password", ["short", "password12345678", "root@example.com1A"])
def test_the_rules_of_passwords_hold(password, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    with pytest.raises(CommandError, match="password"):
        createsuperuser()
    assert not User.objects.exists()
    assert not AccountEvent.objects.exists()


def test_without_a_password_it_is_made_and_recorded_too(monkeypatch):
    monkeypatch.delenv("DJANGO_SUPERUSER_PASSWORD", raising=False)
    createsuperuser()
    assert not User.objects.get(email=EMAIL).has_usable_password()
    assert AccountEvent.objects.count() == 1
