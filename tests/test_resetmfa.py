"""manage.py resetmfa."""

from __future__ import annotations

import io

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from profiles.models import AccountEvent

from .conftest import sign_in
from .mfa import set_up_totp
from .page import PROFILE

pytestmark = pytest.mark.django_db


def resetmfa(*arguments: str) -> str:
    out = io.StringIO()
    call_command("resetmfa", *arguments, stdout=out)
    return out.getvalue()


def test_the_last_administrator_gets_in_by_password_again(
    admin_user, client, django_capture_on_commit_callbacks
):  # security 70
    sign_in(client, admin_user)
    set_up_totp(client)
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        said = resetmfa("ADMIN@example.com", "--yes")
    assert said.startswith("The second factors of admin@example.com were removed")
    assert client.get(PROFILE).status_code == 302  # their sessions have ended
    assert not admin_user.authenticator_set.exists()
    event = AccountEvent.objects.get(action=AccountEvent.Action.MFA_RESET)
    assert (event.owner, event.actor, event.via) == (admin_user, None, "command")
    assert event.user_agent.startswith("manage.py resetmfa")
    assert [it.to for it in mail.outbox] == [["admin@example.com"]]
    sign_in(client, admin_user)
    assert client.get(PROFILE).status_code == 200


@pytest.mark.parametrize("answer", ["", "n", "no", "admin@example.com"])
def test_it_asks_first(admin_user, client, monkeypatch, answer):
    set_up_totp(sign_in(client, admin_user))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    with pytest.raises(CommandError, match="Nothing was changed"):
        resetmfa(admin_user.email)
    assert admin_user.authenticator_set.exists()


def test_yes_is_taken(with_email_codes, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    resetmfa(with_email_codes.email)
    with_email_codes.refresh_from_db()
    assert not with_email_codes.email_codes


def test_without_a_terminal_it_takes_yes_to_be_given(with_email_codes, monkeypatch):
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(CommandError, match="--yes has to be given"):
        resetmfa(with_email_codes.email)


def test_an_address_that_nobody_has(db):
    with pytest.raises(CommandError, match=r"^No user has the e-mail address nobody@example.com\.$"):
        resetmfa("nobody@example.com", "--yes")


def test_who_has_none(user):
    with pytest.raises(CommandError, match="has no second factor"):
        resetmfa(user.email, "--yes")
    assert not AccountEvent.objects.filter(action=AccountEvent.Action.MFA_RESET).exists()
