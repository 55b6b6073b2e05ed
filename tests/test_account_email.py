"""Changing the e-mail address: nothing changes until the link in the mail to the new one is followed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone

from profiles.models import EmailChange, User

from .api import CURRENT, get
from .conftest import PASSWORD, sign_in
from .page import PROFILE, html, long_ago, words

pytestmark = pytest.mark.django_db

CHANGE = "/profile/email/"
CANCEL = "/profile/email/cancel/"
NEW = "new@example.com"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/accounts/email/confirm/[\w-]+/)")


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def ask(signed_in, committed, mailoutbox):
    """Ask for a change; the link that was mailed."""

    def ask(address: str = NEW) -> str:
        mailoutbox.clear()
        with committed():
            assert signed_in.post(CHANGE, {"email": address}).status_code == 302
        (mail,) = to(mailoutbox, address.lower())
        return link_in(mail)

    return ask


def to(mails: list[EmailMessage], address: str) -> list[EmailMessage]:
    return [mail for mail in mails if mail.to == [address]]


def link_in(mail: EmailMessage) -> str:
    found = LINK.search(str(mail.body))
    assert found
    return found[1]


def email_of(user: User) -> str:
    return User.objects.get(pk=user.pk).email


def actions(user: User) -> list[str]:
    return list(user.account_events.exclude(action="signed_in").order_by("id").values_list("action", flat=True))


def test_the_link_changes_the_address_and_leads_to_sign_in(user, signed_in, ask, committed, mailoutbox, token):
    link = ask("New@Example.com")
    assert email_of(user) == "user@example.com"
    page = signed_in.get(link)
    assert NEW in words(page)
    assert email_of(user) == "user@example.com"  # a program that looks through mails has changed nothing
    mailoutbox.clear()
    with committed():
        response = signed_in.post(link)
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/login/")
    assert "Your e-mail address was changed. Sign in with the new one." in words(signed_in.get("/accounts/login/"))
    user.refresh_from_db()
    assert user.email == NEW
    assert get(CURRENT, token).json()["email"] == NEW
    assert [mail.subject for mail in to(mailoutbox, "user@example.com")] == ["Your e-mail address was changed"]
    assert not to(mailoutbox, NEW)
    sign_in(Client(), user)


def test_asking_tells_the_old_address_and_nothing_but_a_link_to_the_new(user, ask, mailoutbox):
    User.objects.filter(pk=user.pk).update(name="Buy at evil.example")
    link = ask()
    (old,) = to(mailoutbox, "user@example.com")
    assert old.subject == "A change of your e-mail address was asked for"
    assert NEW in str(old.body)
    assert "http://127.0.0.1:8000/profile/#about" in str(old.body)
    (new,) = to(mailoutbox, NEW)
    assert "evil.example" not in str(new.body)
    assert "user@example.com" not in str(new.body)
    for mail in (old, *mailoutbox):
        assert (link in str(mail.body)) == (mail.to == [NEW])
    assert link.split("/")[-2] not in str(EmailChange.objects.values())


def test_the_pending_change_is_shown_and_can_be_cancelled(user, signed_in, ask, django_assert_num_queries):
    link = ask()
    with django_assert_num_queries(3):
        signed_in.get(PROFILE)
    assert f"Follow the link that we sent to {NEW}" in words(signed_in.get(PROFILE))
    assert signed_in.get(CANCEL).status_code == 405
    assert "was cancelled" in words(signed_in.post(CANCEL, follow=True))
    assert NEW not in words(signed_in.get(PROFILE))
    signed_in.post(CANCEL)  # twice
    assert signed_in.post(link).status_code == 410
    assert actions(user) == ["email_change_asked", "email_change_cancelled"]


def used(user: User, client: Client, link: str) -> None:
    client.post(link)
    User.objects.filter(pk=user.pk).update(email="user@example.com")


def replaced(user: User, client: Client, link: str) -> None:
    sign_in(client, user)
    client.post(CHANGE, {"email": NEW})


def password_changed(user: User, client: Client, link: str) -> None:
    user.set_password("another long enough password")
    user.save(update_fields=["password"])


def inactive(user: User, client: Client, link: str) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def changed_by_an_administrator(user: User, client: Client, link: str) -> None:
    User.objects.filter(pk=user.pk).update(email="admins-choice@example.com")


def too_late(user: User, client: Client, link: str) -> None:
    EmailChange.objects.update(asked=timezone.now() - timedelta(days=4))


@pytest.mark.parametrize(
    "end",
    [used, replaced, password_changed, inactive, changed_by_an_administrator, too_late],
    ids=lambda it: it.__name__,
)
def test_a_link_that_has_ended_changes_nothing(end, user, signed_in, ask):
    link = ask()
    end(user, Client(), link)
    before = email_of(user)
    for response in (Client().get(link), Client().post(link)):
        assert response.status_code == 410
        assert "This link no longer works" in words(response)
    assert email_of(user) == before
    assert Client().get("/accounts/email/confirm/nonsense/").status_code == 410


def test_a_dead_change_is_not_shown(user, signed_in, ask):
    ask()
    signed_in.get(PROFILE)  # which says that the link was sent
    EmailChange.objects.update(asked=timezone.now() - timedelta(days=4))
    assert NEW not in html(signed_in.get(PROFILE))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "Enter your new e-mail address."),
        ("nobody", "Enter an e-mail address"),
        ("USER@example.com", "This is your e-mail address already."),
        ("Other@Example.com", "This address belongs to another account."),
        ("new\0@example.com", "Null characters are not allowed."),
        (f"{'n' * 300}@example.com", "at most 254"),
    ],
)
def test_an_address_that_will_not_do_is_said_at_the_field(address, says, user, other_user, signed_in, mailoutbox):
    response = signed_in.post(CHANGE, {"email": address})
    assert response.status_code == 422
    assert says in words(response)
    if "\0" not in address:
        assert f'value="{address}"' in html(response) or not address  # what was typed is still there
    assert not mailoutbox
    assert not EmailChange.objects.exists()


def test_an_address_that_somebody_took_meanwhile_is_told_kindly(user, ask):
    link = ask()
    User.objects.create_user(NEW, PASSWORD, name="Faster")
    response = Client().post(link)
    assert response.status_code == 409
    assert "belongs to another account by now" in words(response)
    assert email_of(user) == "user@example.com"


def test_asking_needs_the_password_and_then_begins_anew(user, signed_in, mailoutbox):  # security 30, 67
    for response in (long_ago(signed_in).get(CHANGE), signed_in.post(CHANGE, {"email": NEW})):
        assert response.headers["Location"] == f"/accounts/reauthenticate/?next={CHANGE}"
    response = signed_in.post(response.headers["Location"], {"password": PASSWORD})
    assert response.headers["Location"] == CHANGE
    assert NEW not in html(signed_in.get(CHANGE))
    assert not EmailChange.objects.exists()
    signed_in.post(CHANGE, {"email": NEW})
    assert EmailChange.objects.get().email == NEW


def test_there_is_an_end_to_asking(signed_in, settings, mailoutbox):
    settings.ACCOUNT_RATE_LIMITS = {"change_email": "1/h/user"}
    signed_in.post(CHANGE, {"email": NEW})
    response = signed_in.post(CHANGE, {"email": "other@example.net"})
    assert response.status_code == 429
    assert "Too many attempts" in words(response)
    assert EmailChange.objects.get().email == NEW


def test_without_a_mail_server_nothing_was_asked_for(user, signed_in, settings, monkeypatch):
    monkeypatch.setattr(EmailMessage, "send", lambda self: (_ for _ in ()).throw(OSError("away")))
    response = signed_in.post(CHANGE, {"email": NEW})
    assert response.status_code == 503
    assert "The mail could not be sent" in words(response)
    assert not EmailChange.objects.exists()
    assert actions(user) == []


def test_the_anonymous_and_other_sites_get_nowhere(signed_in):
    assert Client().get(CHANGE).headers["Location"] == f"/accounts/login/?next={CHANGE}"
    assert signed_in.post(CHANGE, {"email": NEW}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert not EmailChange.objects.exists()
