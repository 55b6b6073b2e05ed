"""A passkey in software: it registers and signs as a device does, or as no device should."""

from __future__ import annotations

import json
import secrets
from typing import Any

from allauth.account.utils import user_pk_to_url_str
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

from profiles.models import User

from .mfa import ADD_PASSKEY

HOST, ORIGIN = "keys.example", "https://keys.example"
FLAGS = AuthenticatorData.FLAG


def challenge_of(client: Client) -> str:
    """The challenge in the session of this browser."""
    challenge: str = client.session["mfa.webauthn.state"]["challenge"]
    return challenge


class Device:
    """Makes one passkey, and signs with it."""

    def __init__(self, user: User) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(16)
        self.user = user

    def make(self, challenge: str, origin: str = ORIGIN, *, in_frame: bool = False) -> str:
        data = AttestedCredentialData.create(b"\0" * 16, self.id, ES256.from_cryptography_key(self.key.public_key()))
        flags = FLAGS.UP | FLAGS.UV | FLAGS.AT
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": AuthenticatorData.create(sha256(HOST.encode()), flags, 0, data),
        }
        said = self._client_data("webauthn.create", challenge, origin, in_frame=in_frame)
        return self._answer(said, attestationObject=cbor.encode(attestation))

    def use(
        self,
        challenge: str,
        origin: str = ORIGIN,
        flags: FLAGS = FLAGS.UP | FLAGS.UV,
        *,
        host: str = HOST,
        in_frame: bool = False,
        **changed: bytes,
    ) -> str:
        """An answer to `challenge`; `in_frame` is one from a frame in a page of another site."""
        said = self._client_data("webauthn.get", challenge, origin, in_frame=in_frame)
        data = AuthenticatorData.create(sha256(host.encode()), flags, 1)
        signed = data + sha256(said)
        parts = {
            "authenticatorData": data,
            "signature": self.key.sign(signed, ec.ECDSA(hashes.SHA256())),
            "userHandle": user_pk_to_url_str(self.user).encode(),
            **changed,
        }
        return self._answer(said, **parts)

    def _client_data(self, kind: str, challenge: str, origin: str, *, in_frame: bool) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": in_frame}).encode()

    def _answer(self, said: bytes, **parts: bytes) -> str:
        parts["clientDataJSON"] = said
        identity = websafe_encode(self.id)
        response = {name: websafe_encode(value) for name, value in parts.items()}
        return json.dumps({"id": identity, "rawId": identity, "type": "public-key", "response": response})


def add(client: Client, device: Device, **extra: Any) -> Any:
    """Set the passkey up, on the page; `extra` is what the device does differently."""
    client.get(ADD_PASSKEY)
    return client.post(ADD_PASSKEY, {"name": "Blue key", "credential": device.make(challenge_of(client), **extra)})
