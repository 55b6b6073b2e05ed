"""Of an API Client the people of its company are mailed who may edit it, and who did it; nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from profiles import credentials, rights
from profiles.account import activity
from profiles.clients import company
from profiles.clients.company import About
from profiles.mail import notice_texts, notices
from profiles.models import AccessProfile, Company, KeyEvent, OldSecret, User
from profiles.origin import Origin

from .conftest import PASSWORD, KeyPair, make_client, make_key, use
from .test_notices import AGENT, by, parts

pytestmark = pytest.mark.django_db

ADDRESS = "203.0.113.7"
CLIENTS = KeyEvent.Via.CLIENTS


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """What is done in it is committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def colleague(manager: User) -> User:
    """Another one who may edit."""
    return User.objects.create_user(
        "colleague@example.com",
        PASSWORD,
        name="Coco Colleague",
        company=manager.company,
        access_profile=manager.access_profile,
    )


@pytest.fixture
def stronger(manager: User) -> AccessProfile:
    assert manager.access_profile
    manager.access_profile.rights.append("entities.systems.edit")
    manager.access_profile.save()
    return AccessProfile.objects.create(name="Strong.example", rights=["entities.systems.edit"])


def words(mail: Any) -> list[str]:
    return [" ".join(text.split()) for text in parts(mail)]


def to(mails: list[Any], reader: User) -> Any:
    (mail,) = [mail for mail in mails if mail.to == [reader.email]]
    return mail


def do(action: str, pair: KeyPair, manager: User, admin: User) -> None:
    """What has this event, by the manager, or by staff where only they may."""
    of: dict[str, Any] = {"company": manager.company, "client_id": pair.client_id, "origin": by(manager, CLIENTS)}
    staff: dict[str, Any] = {"client": pair.key, "origin": by(admin, KeyEvent.Via.ADMIN)}
    if action == "created":
        about = About("Another", "", AccessProfile.objects.get(name="Integration"))
        company.create(company=of["company"], about=about, origin=of["origin"])
    elif action == "edited":
        company.edit(about=About(pair.key.name, "", AccessProfile.objects.get(name="Strong.example")), **of)
    elif action == "regenerated":
        company.regenerate(old_secret=OldSecret.DAY, **of)
    elif action == "old_secret_ended":
        company.end_old_secret(**of)
    elif action in ("disabled", "enabled"):
        company.switch(enabled=action == "enabled", **of)
    elif action == "deleted":
        company.delete(**of)
    elif action == "revoked":
        company.revoke(reason="Found in a public repository", **staff)
    else:
        company.let_introspect(allowed=action == "introspection_given", **staff)


BY_PEOPLE = ["created", "edited", "regenerated", "old_secret_ended", "disabled", "enabled", "deleted"]
BY_STAFF = ["revoked", "introspection_given", "introspection_taken"]
BY_NOBODY = [  # in test_leaks, test_uses, test_policy_mails and test_key_health
    *notice_texts.LEAKS,
    KeyEvent.Action.NEW_ADDRESS,
    KeyEvent.Action.SECRET_TOO_OLD,
    KeyEvent.Action.UNUSED,
]
BEFORE = {"old_secret_ended": "regenerated", "enabled": "disabled", "introspection_taken": "introspection_given"}


@pytest.fixture
def done(api_client, manager, admin_user, stronger, committed, mailoutbox) -> Callable[[str], KeyEvent]:
    """Does it, and gives its event; the mails about it are in `mailoutbox`."""

    def act(action: str) -> KeyEvent:
        if action in BEFORE:
            do(BEFORE[action], api_client, manager, admin_user)
        with committed():
            do(action, api_client, manager, admin_user)
        return KeyEvent.objects.filter(action=action).latest("id")

    return act


def test_each_action_that_gives_or_takes_access_is_mailed():
    unmailed = {KeyEvent.Action.PASSWORD_REFUSED}
    assert set(notice_texts.CLIENT_WORDS) == set(KeyEvent.Action) - unmailed == {*BY_PEOPLE, *BY_STAFF, *BY_NOBODY}


@pytest.mark.parametrize("action", BY_PEOPLE)
def test_who_did_it_and_who_may_edit_are_mailed(action, done, manager, colleague, mailoutbox):  # security 61
    event = done(action)
    assert sorted(mail.to for mail in mailoutbox) == [[colleague.email], [manager.email]]
    page = "" if action == "deleted" else f"{event.client_id}/"
    for mail in mailoutbox:
        assert mail.subject == notice_texts.words_of(event).subject
        for text in words(mail):
            assert f"{event.time:%Y-%m-%d %H:%M:%S} UTC" in text
            assert event.client_name in text
            assert event.client_id in text
            assert ADDRESS in text
            assert AGENT in text
            assert str(notice_texts.words_of(event).effect) in text
            assert re.search(rf"http://127\.0\.0\.1:8000/develop/api/clients/{page}(?![0-9a-f])", text)
            assert "you look after API Clients of your company" in text
            assert "your key" not in text
    for text in words(to(mailoutbox, manager)):
        assert "you, on the page API Clients" in text
        assert "If this was not you" in text
        assert "http://127.0.0.1:8000/accounts/password/reset/" in text
    for text in words(to(mailoutbox, colleague)):
        assert "Mia Manager" in text
        assert "If you did not expect this" in text
        assert "password" not in text


@pytest.mark.parametrize("action", BY_STAFF)
def test_what_staff_do_is_mailed_without_who_they_are(
    action, done, manager, colleague, admin_user, mailoutbox
):  # security 61
    done(action)
    assert sorted(mail.to for mail in mailoutbox) == [[colleague.email], [manager.email]]
    for mail in mailoutbox:
        for text in words(mail):
            assert "an administrator" in text
            assert ("Found in a public repository" in text) == (action == "revoked")
            assert ADDRESS not in text
            assert admin_user.name not in text


def test_staff_of_the_company_are_told_that_it_was_they(api_client, manager, admin_user, committed, mailoutbox):
    admin_user.company = manager.company
    admin_user.save()
    with committed():
        company.disable(client=api_client.key, origin=by(admin_user, KeyEvent.Via.ADMIN))
    assert all("you, in the admin site" in text for text in words(to(mailoutbox, admin_user)))
    assert all("an administrator" in text for text in words(to(mailoutbox, manager)))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (OldSecret.NOW, "is refused from now on. The Client ID stays the same."),
        (OldSecret.FIRST_USE, "stops when the new one is first used, in 7 days at the latest."),
        (OldSecret.DAY, "stops in 24 hours."),
    ],
)
def test_a_regeneration_says_what_was_chosen_for_the_old_secret(
    choice, said, api_client, manager, committed, mailoutbox
):  # security 27
    with committed():
        company.regenerate(
            company=manager.company, client_id=api_client.client_id, origin=by(manager, CLIENTS), old_secret=choice
        )
    for text in words(mailoutbox[-1]):
        assert f"The old secret key, and every access token obtained with it, {said}" in text


def test_the_first_use_of_a_new_secret_is_nobodys_deed(api_client, manager, committed, mailoutbox):  # security 27
    new = company.regenerate(
        company=manager.company,
        client_id=api_client.client_id,
        origin=by(manager, CLIENTS),
        old_secret=OldSecret.FIRST_USE,
    )
    with committed():
        use(KeyPair(*new), address="198.51.100.9", user_agent="cron/1")
    assert [mail.to for mail in mailoutbox] == [[manager.email]]
    for text in words(mailoutbox[0]):
        assert "the first use of the new secret key" in text
        assert "198.51.100.9" in text
        assert "If you did not expect this" in text


def test_an_edit_of_words_alone_is_not_mailed(api_client, client_profile, manager, committed, mailoutbox):
    with committed():
        company.edit(
            company=manager.company,
            client_id=api_client.client_id,
            origin=by(manager, CLIENTS),
            about=About("access profile: x → y", "Another note", client_profile),
        )
        company.record_refused_password(api_client.key, origin=by(manager, CLIENTS))
    assert mailoutbox == []


def test_who_may_only_create_or_delete_hears_of_their_own_deeds(api_client, manager, colleague, committed, mailoutbox):
    rights_of_clients = [rights.CREATE_CLIENTS, rights.DELETE_CLIENTS, "entities.systems.view"]
    colleague.access_profile = AccessProfile.objects.create(name="Other", rights=rights_of_clients)
    colleague.save()
    of: dict[str, Any] = {"company": manager.company, "client_id": api_client.client_id}
    with committed():
        company.switch(enabled=False, origin=by(manager, CLIENTS), **of)
    assert [mail.to for mail in mailoutbox] == [[manager.email]]
    mailoutbox.clear()
    with committed():
        company.delete(origin=by(colleague, CLIENTS), **of)
    assert sorted(mail.to for mail in mailoutbox) == [[colleague.email], [manager.email]]


def test_nobody_else_is_mailed(done, manager, colleague, user, mailoutbox):
    profile, elsewhere = manager.access_profile, Company.objects.create(name="Other Ltd")
    make = User.objects.create_user
    make("left@example.com", PASSWORD, name="Left", company=manager.company, access_profile=profile, is_active=False)
    make("elsewhere@example.com", PASSWORD, name="Elsewhere", company=elsewhere, access_profile=profile)
    make("nowhere@example.com", PASSWORD, name="Nowhere", access_profile=profile)
    make("without@example.com", PASSWORD, name="Without", company=manager.company)
    done("disabled")
    assert sorted(mail.to for mail in mailoutbox) == [[colleague.email], [manager.email]]


def test_nobody_of_a_company_that_is_off_is_mailed(api_client, manager, admin_user, committed, mailoutbox):
    manager.company.is_active = False
    manager.company.save()
    with committed():
        company.revoke(client=api_client.key, origin=by(admin_user, KeyEvent.Via.ADMIN), reason="Left")
    assert mailoutbox == []


def test_a_maker_who_was_deactivated_is_not_mailed(api_client, manager, colleague, admin_user, committed, mailoutbox):
    User.objects.filter(pk=manager.pk).update(is_active=False)
    with committed():
        company.disable(client=api_client.key, origin=by(admin_user, KeyEvent.Via.ADMIN))
    assert [mail.to for mail in mailoutbox] == [[colleague.email]]


def test_each_reads_it_in_their_language(done, manager, colleague, mailoutbox):
    colleague.language = "fr"
    colleague.save()
    done("deleted")
    assert '<html lang="fr">' in parts(to(mailoutbox, colleague))[1]
    assert '<html lang="en">' in parts(to(mailoutbox, manager))[1]


def test_however_many_they_are_they_are_found_by_two_queries_and_written_by_one(api_client, manager, admin_user):
    def queries() -> int:
        event = KeyEvent.objects.select_related("actor__company").latest("id")
        with CaptureQueriesContext(connection) as asked:
            notices.mail_company(event, manager.company)
        return len(asked)

    before = queries()
    for number in range(5):
        profile = AccessProfile.objects.create(name=f"Editor {number}", rights=[rights.EDIT_CLIENTS])
        User.objects.create_user(
            f"{number}@example.com", PASSWORD, name="N", company=manager.company, access_profile=profile
        )
    assert (before, queries()) == (3, 3)  # access profiles, people; the rows of those to be told


NAME = "evil.example https://evil.example/x mallory@evil.example <b>"


def test_names_that_people_typed_are_no_links_and_no_markup(manager, stronger, colleague, committed, mailoutbox):
    manager.name = NAME
    manager.save()
    AccessProfile.objects.filter(pk=stronger.pk).update(name="evil.example/profile")
    stronger.refresh_from_db()
    with committed():
        pair = make_client(manager, stronger, NAME)
        other = AccessProfile.objects.create(name="www.evil.example", rights=[])
        company.edit(
            company=manager.company,
            client_id=pair.client_id,
            origin=by(manager, CLIENTS),
            about=About(NAME, "", other),
        )
    assert len(mailoutbox) == 4
    for mail in mailoutbox:
        text, html = parts(mail)
        assert "evil example" in text
        assert "<b>" not in html
        for body in (text, html):
            assert set(re.findall(r"https?://[^/\s,<\"]+", body)) == {"http://127.0.0.1:8000"}
            assert not re.search(r"evil\.example|@evil", body)


def test_no_mail_holds_a_secret(manager, client_profile, committed, mailoutbox):  # security 3, 61
    with committed():
        pair = make_client(manager, client_profile)
        of: dict[str, Any] = {"company": manager.company, "client_id": pair.client_id, "origin": by(manager, CLIENTS)}
        secrets = [pair.secret, company.regenerate(**of)[1]]
        company.delete(**of)
    assert len(mailoutbox) == 3
    for mail in mailoutbox:
        text = mail.message().as_string() + "".join(parts(mail))
        assert not re.search(credentials.SECRET_PATTERN, text)
        assert not any(credentials.digest(secret) in text or secret in text for secret in secrets)


def test_what_is_rolled_back_is_not_mailed(api_client, manager, committed, mailoutbox):  # security 16
    with committed(), pytest.raises(company.NotAllowed):
        company.delete(company=manager.company, client_id=api_client.client_id, origin=Origin(actor=None, via=CLIENTS))
    assert mailoutbox == []


def test_a_list_of_what_happened_to_an_account_has_none_of_its_company(api_client, manager, user):
    make_key(manager)
    assert [entry.what for entry in activity.entries(manager, number=1)[0]] == ["Key created"]
    assert activity.entries(user, number=1)[0] == []
    assert manager.key_events.count() == 1
