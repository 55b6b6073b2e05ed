"""Passkeys, as a device of our own makes and uses them; and answers that no device gives."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from allauth.account.utils import user_pk_to_url_str
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

from profiles.models import AccountEvent, User

from .conftest import PASSWORD
from .page import PROFILE, words

pytestmark = pytest.mark.django_db

HOST, ORIGIN = "keys.example", "https://keys.example"
ADD = "/accounts/mfa/passkeys/add/"
SECOND_STEP = "/accounts/login/second-factor/"
PASSKEY_LOGIN = "/accounts/login/passkey/"
FLAGS = AuthenticatorData.FLAG


class Device:
    """Makes one passkey, and signs with it."""

    def __init__(self, user: User) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(16)
        self.user = user

    def make(self, challenge: str, origin: str = ORIGIN) -> str:
        data = AttestedCredentialData.create(b"\0" * 16, self.id, ES256.from_cryptography_key(self.key.public_key()))
        flags = FLAGS.UP | FLAGS.UV | FLAGS.AT
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": AuthenticatorData.create(sha256(HOST.encode()), flags, 0, data),
        }
        return self._answer("webauthn.create", challenge, origin, attestationObject=cbor.encode(attestation))

    def use(self, challenge: str, origin: str = ORIGIN, flags: FLAGS = FLAGS.UP | FLAGS.UV, **changed: bytes) -> str:
        data = AuthenticatorData.create(sha256(HOST.encode()), flags, 1)
        signed = data + sha256(self._client_data("webauthn.get", challenge, origin))
        parts = {
            "authenticatorData": data,
            "signature": self.key.sign(signed, ec.ECDSA(hashes.SHA256())),
            "userHandle": user_pk_to_url_str(self.user).encode(),
            **changed,
        }
        return self._answer("webauthn.get", challenge, origin, **parts)

    def _client_data(self, kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()

    def _answer(self, kind: str, challenge: str, origin: str, **parts: bytes) -> str:
        parts["clientDataJSON"] = self._client_data(kind, challenge, origin)
        identity = websafe_encode(self.id)
        response = {name: websafe_encode(value) for name, value in parts.items()}
        return json.dumps({"id": identity, "rawId": identity, "type": "public-key", "response": response})


@pytest.fixture(autouse=True)
def _with_a_name(settings: Any) -> None:
    settings.PASSKEY_HOST = HOST
    settings.MFA_PASSKEY_LOGIN_ENABLED = True


def challenge_of(client: Client) -> str:
    challenge: str = client.session["mfa.webauthn.state"]["challenge"]
    return challenge


def add(client: Client, device: Device, **extra: str) -> Any:
    client.get(ADD)
    return client.post(ADD, {"name": "Blue key", "credential": device.make(challenge_of(client), **extra)})


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


def is_in(client: Client) -> bool:
    return client.get(PROFILE).status_code == 200


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
    client.get(ADD)
    assert client.post(ADD, {"credential": credential}).status_code == 422


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
    assert signed_in.get(ADD).status_code == 404
    assert "passkey" not in words(signed_in.get("/accounts/mfa/"))
    assert "passkey" not in words(Client().get("/accounts/login/"))
