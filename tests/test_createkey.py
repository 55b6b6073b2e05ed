"""manage.py createkey."""

import io

import pytest
from django.core.management import CommandError, call_command

from profiles.clients import lifecycle, tokens
from profiles.models import KeyEvent, User

from .conftest import make_token

pytestmark = pytest.mark.django_db


def createkey(*args: str) -> dict[str, str]:
    out = io.StringIO()
    call_command("createkey", *args, stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.split("=")[0] for line in lines] == ["CLIENT_ID", "CLIENT_SECRET"]
    return dict(line.split("=", 1) for line in lines)


def works(printed: dict[str, str]) -> bool:
    return tokens.authenticate(client_id=printed["CLIENT_ID"], secret=printed["CLIENT_SECRET"]) is not None


def test_prints_a_key_that_works(user):
    assert works(createkey("user@example.com"))


def test_records_the_event(user):  # security 59
    printed = createkey("USER@example.com")
    event = KeyEvent.objects.get()
    assert (event.action, event.via, event.actor, event.owner) == ("created", "command", None, user)
    assert event.client_id == printed["CLIENT_ID"]
    assert event.user_agent.startswith("manage.py createkey")


def test_refuses_a_second_key_and_changes_nothing(user, key, token):
    with pytest.raises(CommandError, match="--regenerate"):
        createkey(user.email)
    assert tokens.find(token)
    assert tokens.authenticate(client_id=key.client_id, secret=key.secret)


def test_regenerate_replaces_the_secret(user, key, token):
    printed = createkey(user.email, "--regenerate")
    assert printed["CLIENT_ID"] == key.client_id
    assert works(printed)
    assert tokens.find(token) is None
    assert tokens.authenticate(client_id=key.client_id, secret=key.secret) is None
    assert make_token(type(key)(key.key, printed["CLIENT_SECRET"]))


def test_regenerate_without_a_key_is_refused(user):
    with pytest.raises(CommandError, match="has no key"):
        createkey(user.email, "--regenerate")
    assert lifecycle.of(user) is None


@pytest.mark.parametrize("email", ["nobody@example.com", "", "user"])
def test_an_unknown_address_is_told(user, email):
    with pytest.raises(CommandError, match="No user has the e-mail address"):
        createkey(email)


def test_a_key_that_would_be_refused_is_not_made(user):
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="is not active"):
        createkey(user.email)
    assert lifecycle.of(user) is None


def test_the_secret_is_not_logged(user, caplog):  # security 3
    caplog.set_level("DEBUG")
    assert createkey(user.email)["CLIENT_SECRET"] not in caplog.text
