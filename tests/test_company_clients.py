"""The life of an API Client of a company: `profiles.clients.company`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from profiles import credentials
from profiles.clients import changes, company, tokens
from profiles.clients.company import About
from profiles.models import AccessProfile, AccessToken, ClientSecret, Company, KeyEvent, OldSecret, User
from profiles.origin import Origin

from .conftest import KeyPair, make_client, make_token, use, works

RIGHTS = [f"accountNetwork.apiClients.{verb}" for verb in ("create", "edit", "delete")]
USED = "entities.systems.view"


def by(actor: User) -> Origin:
    return Origin(actor, KeyEvent.Via.CLIENTS)


class Change:
    """The changes of an API Client, by somebody."""

    def __init__(self, actor: User, pair: KeyPair) -> None:
        assert actor.company
        self.company, self.client_id, self.origin = actor.company, pair.client_id, by(actor)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        change = getattr(company, name)
        return partial(change, company=self.company, client_id=self.client_id, origin=self.origin)


@pytest.fixture
def stronger(db) -> AccessProfile:
    return AccessProfile.objects.create(name="Stronger", rights=["entities.systems.edit"])


@pytest.fixture
def change(manager, api_client) -> Change:
    return Change(manager, api_client)


def test_a_new_client_acts_for_its_company_with_its_profile(manager, client_profile, api_client):
    client = api_client.key
    assert re.fullmatch(r"avc_[0-9A-Za-z]{49}", api_client.secret)
    assert credentials.is_secret(api_client.secret)
    found = tokens.find(make_token(api_client))
    assert found
    assert found.owner == tokens.Owner(
        pk=None,
        uid=client.client_id,
        email=None,
        name="Nightly export",
        phone_number="",
        picture="",
        company_id=manager.company_id,
        company=tokens.Reference(manager.company.uid, manager.company.name),
        access_profile=tokens.Reference(client_profile.uid, client_profile.name),
        rights=frozenset({USED}),
    )
    assert (client.maker, client.user) == (manager, None)
    assert ClientSecret.objects.get().shown_to == manager


def test_it_lives_on_when_its_maker_is_deleted(manager, api_client):
    manager.delete()
    assert works(api_client.client_id, api_client.secret)
    api_client.key.refresh_from_db()
    assert api_client.key.maker is None
    assert ClientSecret.objects.get().shown_to is None


def test_a_change_of_its_profile_is_a_change_of_its_rights(client_profile, api_client):
    token = make_token(api_client)
    client_profile.rights = []
    client_profile.save()
    found = tokens.find(token)
    assert found
    assert found.rights == frozenset()


@pytest.mark.parametrize(
    ("missing", "refused"),
    [
        (RIGHTS[0], {"create"}),
        (RIGHTS[1], {"edit", "regenerate", "end old", "disable", "enable"}),
        (RIGHTS[2], {"delete"}),
        (USED, {"create", "edit", "regenerate", "end old", "enable"}),
    ],
)
def test_nobody_gives_more_than_they_hold(manager, client_profile, change, missing, refused):
    manager.access_profile.rights.remove(missing)
    manager.access_profile.save()
    other = About("Other", "", client_profile)
    deeds = {
        "create": lambda: company.create(company=manager.company, about=other, origin=by(manager)),
        "edit": lambda: change.edit(about=About("Other name", "", client_profile)),
        "regenerate": lambda: change.regenerate(old_secret=OldSecret.DAY),
        "end old": change.end_old_secret,
        "disable": lambda: change.switch(enabled=False),
        "enable": lambda: change.switch(enabled=True),
        "delete": change.delete,
    }
    found = set()
    for name, do in deeds.items():
        try:
            do()
        except company.NotAllowed:
            found.add(name)
        except changes.NoOldSecret:
            pass
    assert found == refused


def test_an_edit_gives_no_profile_that_its_actor_does_not_hold(api_client, stronger, client_profile, change):
    with pytest.raises(company.NotAllowed):
        change.edit(about=About("Nightly export", "", stronger))
    api_client.key.access_profile = stronger
    api_client.key.save()
    with pytest.raises(company.NotAllowed):  # nor touches one that has it
        change.edit(about=About("Nightly export", "", client_profile))


def test_disabled_it_and_its_tokens_are_refused_and_enabled_they_are_back(api_client, change):
    token = make_token(api_client)
    for enabled in (False, True):
        change.switch(enabled=enabled)
        assert works(api_client.client_id, api_client.secret) is bool(tokens.find(token)) is enabled


def test_a_company_that_is_switched_off_stops_its_clients_and_its_users_keys(user, key, api_client):
    pairs = [(pair, make_token(pair)) for pair in (key, api_client)]
    for active in (False, True):
        user.company.is_active = active
        user.company.save()
        for pair, token in pairs:
            assert works(pair.client_id, pair.secret) is bool(tokens.find(token)) is active
            assert AccessToken.objects.active().filter(application=pair.key).exists() is active


def test_a_name_is_taken_once_in_a_company(manager, client_profile, api_client):
    with pytest.raises(company.NameTaken):
        make_client(manager, client_profile, "NIGHTLY export")


def test_a_company_has_so_many_at_most(manager, client_profile, api_client, settings):
    settings.API_CLIENTS_AT_MOST = 1
    with pytest.raises(company.TooMany):
        make_client(manager, client_profile, "One more")


def test_a_form_of_before_another_change_changes_nothing(api_client, change):
    seen = company.version(api_client.client_id)
    change.switch(enabled=False)
    with pytest.raises(changes.Changed):
        change.delete(version=seen)


def test_each_change_has_its_event(manager, client_profile, api_client, change):
    change.edit(about=About("Weekly export", "Of the fleet", client_profile))
    change.regenerate(old_secret=OldSecret.DAY)
    change.end_old_secret()
    change.switch(enabled=False)
    change.switch(enabled=True)
    change.delete()
    events = list(KeyEvent.objects.order_by("id"))
    done = ["created", "edited", "regenerated", "old_secret_ended", "disabled", "enabled", "deleted"]
    assert [event.action for event in events] == done
    of = (api_client.client_id, None, manager.company.uid)
    assert {(event.client_id, event.owner, event.owner_uid) for event in events} == {of}
    assert events[1].detail == "name: Nightly export → Weekly export; note"
    assert [event.client_name for event in events][:2] == ["Nightly export", "Weekly export"]


def test_an_edit_that_changes_nothing_is_no_event(client_profile, change):
    change.edit(about=About("Nightly export", "", client_profile))
    assert KeyEvent.objects.count() == 1


def test_the_first_use_of_a_new_secret_ends_the_old_one(api_client, change):
    new = KeyPair(*change.regenerate(old_secret=OldSecret.FIRST_USE))
    assert works(api_client.client_id, api_client.secret)
    use(new)
    assert not works(api_client.client_id, api_client.secret)


def test_who_is_of_another_company_does_nothing(manager, change):
    manager.company = Company.objects.create(name="Other Ltd")
    manager.save()
    with pytest.raises(company.NotAllowed):
        change.delete()
    with pytest.raises(company.NoClient):
        company.delete(company=manager.company, client_id=change.client_id, origin=by(manager))


def test_who_has_left_knows_a_secret_still(manager, api_client):
    known = ClientSecret.objects.known_outside()
    assert not known.exists()
    manager.is_active = False
    manager.save()
    assert known.exists()
    manager.is_active, manager.company = True, None
    manager.save()
    assert known.exists()
    manager.delete()
    assert known.exists()


def test_an_event_says_what_happened_to_which_kind_of_client(key, change, api_client, user):
    change.edit(about=About("Renamed", "", api_client.key.access_profile))
    change.delete()
    said = KeyEvent.objects.order_by("id").filter(client_id=api_client.client_id)
    assert [event.what for event in said] == ["API Client created", "API Client edited", "API Client deleted"]
    assert user.key_events.get().what == "Key created"
    assert str(user.key_events.get()) == f"Key created · {key.client_id}"
    # One word of each kind for what happens to both: no other action speaks of a key.
    of_clients = [KeyEvent(action=action, client_name="x").what for action in KeyEvent.Action]
    assert [said for said in of_clients if " key " in said.replace("secret key", "").replace("Secret key", "")] == []
