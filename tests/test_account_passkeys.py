"""Passkeys, as a device of our own makes and uses them; and answers that no device gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.test import Client

from profiles.account.mfa import passkeys
from profiles.models import AccountEvent, User

from .conftest import PASSWORD, sign_in
from .mfa import ADD_PASSKEY, SECOND_STEP
from .page import html, is_in, words
from .passkeys import FLAGS, HOST, Device, add, challenge_of

pytestmark = pytest.mark.django_db

PASSKEY_LOGIN = "/accounts/login/passkey/"


@pytest.fixture(autouse=True)
def _with_a_name(settings: Any) -> None:
    settings.PASSKEY_HOST = HOST
    settings.MFA_PASSKEY_LOGIN_ENABLED = True


@pytest.fixture
def device(user: User, signed_in: Client) -> Device:
    """One that is set up; and `client` is signed out."""
    made = Device(user)
    assert "Your recovery codes" in words(add(signed_in, made))
    signed_in.post("/accounts/logout/")
    return made


def second_step(client: Client, user: User) -> str:
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    client.get(SECOND_STEP)
    return challenge_of(client)


def alone(client: Client) -> str:
    """The challenge for signing in without a password."""
    asked = client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"}).json()
    challenge: str = asked["request_options"]["publicKey"]["challenge"]
    return challenge


def change_state(client: Client, **changed: Any) -> None:
    session = client.session
    session["mfa.webauthn.state"] = {**session["mfa.webauthn.state"], **changed}
    session.save()


def test_a_passkey_is_the_second_step_or_signs_in_alone(user, device, client):
    added = AccountEvent.objects.filter(action="mfa_added").get()
    assert added.detail == "Passkey · Blue key"
    client.post(SECOND_STEP, {"credential": device.use(second_step(client, user))})
    assert is_in(client)
    client.post("/accounts/logout/")
    asked = client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"}).json()
    form = {
        "credential": device.use(asked["request_options"]["publicKey"]["challenge"]),
        "next": "/profile/?from=there",
    }
    assert client.post(PASSKEY_LOGIN, form).headers["Location"] == "/profile/?from=there"
    assert is_in(client)


def test_an_answer_that_is_not_right_is_refused(user, device, client):
    stranger = Device(user)
    stranger.id = device.id
    for wrong in (
        stranger.use(second_step(client, user)),
        device.use(second_step(client, user), signature=b"none"),
        device.use(second_step(client, user), origin="https://keys.example.attacker.test"),
        device.use("AAAA"),
    ):
        response = client.post(SECOND_STEP, {"credential": wrong})
        assert "That passkey was not accepted." in words(response)
    assert not is_in(client)


def test_alone_it_signs_in_only_when_it_has_checked_who_holds_it(device, client):
    asked = client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"}).json()
    challenge = asked["request_options"]["publicKey"]["challenge"]
    response = client.post(PASSKEY_LOGIN, {"credential": device.use(challenge, flags=FLAGS.UP)}, follow=True)
    assert "That passkey was not accepted." in words(response)
    assert not is_in(client)


def test_alone_it_needs_that_check_whatever_was_asked_of_the_browser(device, client):  # security 68
    """What the device says of it is looked at here: what a page asked for proves nothing."""
    challenge = alone(client)
    change_state(client, user_verification="preferred")
    client.post(PASSKEY_LOGIN, {"credential": device.use(challenge, flags=FLAGS.UP)})
    assert not is_in(client)


def test_an_inactive_user_is_not_let_in_by_a_passkey(user, device, client):
    User.objects.filter(pk=user.pk).update(is_active=False)
    asked = client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"}).json()
    client.post(PASSKEY_LOGIN, {"credential": device.use(asked["request_options"]["publicKey"]["challenge"])})
    assert not is_in(client)


NONSENSE = [
    "",
    "null",
    "[]",
    "7",
    '"x"',
    "{}",
    "not json",
    '{"id": 1, "rawId": 2, "response": 3}',
    '{"id": "a", "rawId": "a", "type": "public-key", "response": {}}',
    '{"id": "YQ", "rawId": "YQ", "type": "public-key", "response": []}',
    json.dumps(
        {
            "id": "YQ",
            "rawId": "YQ",
            "type": "public-key",
            "response": dict.fromkeys(
                ("clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"), "_w"
            ),
        }
    ),
    "[" * 100_000,
]


@pytest.mark.parametrize("credential", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_refused_and_breaks_nothing(credential, user, device, client):
    client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"})
    assert client.post(PASSKEY_LOGIN, {"credential": credential}).headers["Location"] == "/accounts/login/"
    second_step(client, user)
    assert "That passkey was not accepted." in words(client.post(SECOND_STEP, {"credential": credential}))
    client.post(SECOND_STEP, {"credential": device.use(challenge_of(client))})
    assert is_in(client)
    client.get(ADD_PASSKEY)
    assert client.post(ADD_PASSKEY, {"credential": credential}).status_code == 422


def test_a_passkey_of_somebody_else_can_be_neither_seen_nor_touched(device, other_user):
    other = Client()
    other.post("/accounts/login/", {"login": other_user.email, "password": PASSWORD})
    (pk,) = device.user.authenticator_set.filter(type="webauthn").values_list("pk", flat=True)
    assert other.get(f"/accounts/mfa/passkeys/{pk}/rename/").status_code == 404
    other.post(f"/accounts/mfa/passkeys/{pk}/remove/")
    assert device.user.authenticator_set.filter(pk=pk).exists()


def test_a_name_is_one_line_without_links(user, device, client):
    (passkey,) = user.authenticator_set.filter(type="webauthn")
    client.post(SECOND_STEP, {"credential": device.use(second_step(client, user))})
    client.post(f"/accounts/mfa/passkeys/{passkey.pk}/rename/", {"name": "go to\nhttps://evil.example"})
    client.post(f"/accounts/mfa/passkeys/{passkey.pk}/remove/")
    assert AccountEvent.objects.filter(action="mfa_removed").get().detail == "Passkey · go to https: evil example"


def test_where_browsers_know_no_passkeys_none_is_offered(settings, signed_in, client):
    settings.PASSKEY_HOST = ""
    settings.MFA_PASSKEY_LOGIN_ENABLED = False
    assert signed_in.get(ADD_PASSKEY).status_code == 404
    assert "passkey" not in words(signed_in.get("/accounts/mfa/"))
    assert "passkey" not in words(Client().get("/accounts/login/"))


# --- What a challenge is for ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """What passkeys are asked for: how that begins, and whether an answer is taken."""

    begin: Callable[[Client, User], str]
    """Returns the challenge."""
    is_taken: Callable[[Client, Device, str], bool]


def begin_to_add(client: Client, user: User) -> str:
    Authenticator.objects.filter(user=user).delete()  # whose second step would come first
    sign_in(client, user)
    client.get(ADD_PASSKEY)
    return challenge_of(client)


def is_added(client: Client, device: Device, challenge: str) -> bool:
    client.post(ADD_PASSKEY, {"credential": device.make(challenge)})
    return Authenticator.objects.filter(user=device.user, type="webauthn").exists()


def is_second_step(client: Client, device: Device, challenge: str) -> bool:
    client.post(SECOND_STEP, {"credential": device.use(challenge)})
    return is_in(client)


def signs_in_alone(client: Client, device: Device, challenge: str) -> bool:
    client.post(PASSKEY_LOGIN, {"credential": device.use(challenge)})
    return is_in(client)


USES = {
    "add": Use(begin_to_add, is_added),
    "second step": Use(second_step, is_second_step),
    "alone": Use(lambda client, _user: alone(client), signs_in_alone),
}


@pytest.mark.parametrize("use", USES)
def test_a_challenge_is_good_for_what_it_was_made_for(use, user, device):
    client = Client()
    assert USES[use].is_taken(client, device, USES[use].begin(client, user))


@pytest.mark.parametrize(("begun", "answered"), list(permutations(USES, 2)))
def test_and_for_nothing_else(begun, answered, user, device):  # security 68
    """Whichever way the state of one gets to the other, it is not accepted there."""
    one, other = Client(), Client()
    challenge = USES[begun].begin(one, user) if begun != "add" else begin_to_add_a_second(one, device)
    USES[answered].begin(other, user)
    session = other.session
    session["mfa.webauthn.state"] = one.session["mfa.webauthn.state"]
    session.save()
    assert not USES[answered].is_taken(other, device, challenge)


def begin_to_add_a_second(client: Client, device: Device) -> str:
    """Which leaves the first one where it is."""
    assert signs_in_alone(client, device, alone(client))
    client.get(ADD_PASSKEY)
    return challenge_of(client)


def test_a_second_step_that_was_given_up_does_not_become_a_sign_in_without_a_password(user, device, client):
    # security 68
    challenge = second_step(client, user)
    client.post("/accounts/logout/", {"next": "/accounts/login/"})  # Cancel
    for flags in (FLAGS.UP, FLAGS.UP | FLAGS.UV):
        client.post(PASSKEY_LOGIN, {"credential": device.use(challenge, flags=flags)})
        assert not is_in(client)
    # Nor does it when the address is opened in between, which asks for nothing; nor one of a version that did not say
    # what a challenge is for.
    challenge = second_step(client, user)
    session = client.session
    state = {name: session["mfa.webauthn.state"][name] for name in ("challenge", "user_verification")}
    for planted in (session["mfa.webauthn.state"], state):
        session["mfa.webauthn.state"] = planted
        session.save()
        client.post("/accounts/logout/", {"next": "/accounts/login/"})
        client.get(PASSKEY_LOGIN)
        client.post(PASSKEY_LOGIN, {"credential": device.use(challenge)})
        assert not is_in(client)


def test_a_challenge_from_before_signing_in_adds_no_passkey(user, client):  # security 68
    challenge = alone(client)
    sign_in(client, user)
    assert challenge_of(client) == challenge
    assert client.post(ADD_PASSKEY, {"credential": Device(user).make(challenge)}).status_code == 422
    assert not user.authenticator_set.exists()


def test_a_challenge_of_a_sign_in_that_was_given_up_is_not_for_the_next_user(user, other_user, device, client):
    # security 68
    others = Device(other_user)
    browser = sign_in(Client(), other_user)
    add(browser, others)
    challenge = second_step(client, user)
    client.post("/accounts/logout/", {"next": "/accounts/login/"})
    client.post("/accounts/login/", {"login": other_user.email, "password": PASSWORD})
    assert not is_second_step(client, others, challenge)


@pytest.mark.parametrize("use", USES)
def test_it_is_used_up_by_a_wrong_answer_and_by_nonsense(use, user, device):  # security 68
    addresses = {"add": ADD_PASSKEY, "second step": SECOND_STEP, "alone": PASSKEY_LOGIN}
    for wrong in (Device(user).use("AAAA"), "not json", ""):
        client = Client()
        challenge = USES[use].begin(client, user)
        client.post(addresses[use], {"credential": wrong})
        assert not USES[use].is_taken(client, device, challenge), wrong


def test_of_two_answers_at_the_same_time_one_is_taken(user, device, client):  # security 68
    """Both find the session as it was when they came."""
    other = Client()
    challenge = alone(client)
    alone(other)
    change_state(other, **client.session["mfa.webauthn.state"])
    assert signs_in_alone(client, device, challenge)
    assert not signs_in_alone(other, device, challenge)


@pytest.mark.parametrize("use", USES)
def test_it_is_good_for_ten_minutes(use, user, device):
    for age, good in ((passkeys.LIFE - 60, True), (passkeys.LIFE + 1, False)):
        client = Client()
        challenge = USES[use].begin(client, user)
        change_state(client, begun=client.session["mfa.webauthn.state"]["begun"] - age)
        assert USES[use].is_taken(client, device, challenge) == good, age


def test_nobody_signs_in_with_the_passkey_of_somebody_else(user, other_user, device, client):
    others = Device(other_user)
    add(sign_in(Client(), other_user), others)
    assert not is_second_step(client, others, second_step(client, user))
    handles = {one: user_pk_to_url_str(one).encode() for one in (user, other_user)}
    for whose, handle in ((device, handles[other_user]), (others, handles[user])):
        answer = whose.use(second_step(client, user), userHandle=handle)
        client.post(SECOND_STEP, {"credential": answer})
        client.post("/accounts/logout/")
        client.post(PASSKEY_LOGIN, {"credential": whose.use(alone(client), userHandle=handle)})
        assert not is_in(client)
    # A security key that is no more than a second step knows no user.
    client.post(SECOND_STEP, {"credential": device.use(second_step(client, user), userHandle=b"")})
    assert is_in(client)


ELSEWHERE: list[dict[str, Any]] = [
    {"origin": "https://evil.keys.example"},
    {"origin": f"https://{HOST}.evil.example"},
    {"origin": f"http://{HOST}"},
    {"origin": "null"},
    {"in_frame": True},
]


@pytest.mark.parametrize("where", [*ELSEWHERE, {"host": "example"}], ids=str)
def test_an_answer_from_elsewhere_is_refused(where, user, device, client):
    client.post(PASSKEY_LOGIN, {"credential": device.use(alone(client), **where)})
    assert not is_in(client)
    client.post(SECOND_STEP, {"credential": device.use(second_step(client, user), **where)})
    assert not is_in(client)


@pytest.mark.parametrize("where", ELSEWHERE, ids=str)
def test_a_passkey_made_elsewhere_is_not_added(where, user, signed_in):
    response = add(signed_in, Device(user), **where)
    assert response.status_code == 422
    assert "That passkey could not be added. Try again." in html(response)
    assert not user.authenticator_set.exists()
