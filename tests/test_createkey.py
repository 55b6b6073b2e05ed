"""manage.py createkey."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from profiles.clients import lifecycle, tokens
from profiles.models import KeyEvent, User

from .conftest import make_token, works

pytestmark = pytest.mark.django_db


def createkey(*args: str) -> dict[str, str]:
    out = io.StringIO()
    call_command("createkey", *args, stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.split("=")[0] for line in lines] == ["CLIENT_ID", "CLIENT_SECRET"]
    return dict(line.split("=", 1) for line in lines)


def test_prints_a_key_that_works(user):
    assert works(*createkey("user@example.com").values())


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
    assert works(key.client_id, key.secret)


def test_regenerate_replaces_the_secret(user, key, token):
    printed = createkey(user.email, "--regenerate")
    assert printed["CLIENT_ID"] == key.client_id
    assert works(*printed.values())
    assert tokens.find(token) is None
    assert not works(key.client_id, key.secret)
    assert make_token(type(key)(key.key, printed["CLIENT_SECRET"]))


@pytest.mark.parametrize(("overlap", "time"), [("first-use", {"days": 7}), ("24h", {"hours": 24})])
def test_the_old_secret_may_stay_good_for_a_while(user, key, token, overlap, time):  # security 27
    printed = createkey(user.email, "--regenerate", "--overlap", overlap)
    assert works(*printed.values())
    assert works(key.client_id, key.secret)
    assert tokens.find(token)
    old = key.key.secrets.exclude(ends=None).get()
    assert abs(old.ends - timezone.now() - timedelta(**time)) < timedelta(minutes=1)
    assert user.key_events.first().old_secret == overlap


def test_an_overlap_without_regenerate_is_none(user):
    with pytest.raises(CommandError, match="needs --regenerate"):
        createkey(user.email, "--overlap", "24h")
    assert lifecycle.of(user) is None


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
