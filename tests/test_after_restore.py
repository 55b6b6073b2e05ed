"""manage.py afterrestore: what an old backup brought back to life is ended."""

from io import StringIO

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command

from profiles.clients import lifecycle, tokens
from profiles.models import KeyEvent, UnsentNotice
from profiles.origin import Origin

from .conftest import make_token

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("afterrestore", *arguments, stdout=out)
    return out.getvalue()


def test_tokens_end_and_the_key_stays(user, key, token):
    out = run()
    assert "access tokens of 1 keys and 0 API Clients" in out
    assert "disable them" not in out
    assert "revokekeys" in out
    assert tokens.find(token) is None
    assert tokens.find(make_token(key))


def test_an_api_client_is_as_it_was_without_its_tokens(key, api_client):
    token = make_token(api_client)
    assert "access tokens of 1 keys and 1 API Clients, " in run("--dry-run")
    assert tokens.find(token)
    out = run()
    assert "access tokens of 1 keys and 1 API Clients, " in out
    assert "disable them in the admin site" in out
    assert tokens.find(token) is None
    assert tokens.find(make_token(api_client))


def test_sessions_end(signed_in):
    assert signed_in.get("/profile/").status_code == 200
    run()
    assert signed_in.get("/profile/").status_code == 302
    assert not Session.objects.exists()


def test_no_form_of_before_fits_again(user, key):
    before = lifecycle.version(user)
    run()
    lifecycle.delete(owner=user, origin=Origin(user, KeyEvent.Via.PAGE))
    assert lifecycle.version(user) > before + 100_000


def test_mails_of_that_time_are_not_sent_again(user, key):
    assert UnsentNotice.objects.exists()
    run()
    assert not UnsentNotice.objects.exists()


def test_a_dry_run_changes_nothing(user, key, token, signed_in):
    assert "would be ended" in run("--dry-run")
    assert tokens.find(token)
    assert Session.objects.exists()
