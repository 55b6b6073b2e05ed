"""A fast hasher for client secrets, as somebody would write it who found the default too slow."""

import hashlib
from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher, mask_hash
from django.utils.crypto import constant_time_compare


class Sha256(BasePasswordHasher):
    algorithm = "sha256"

    def encode(self, password: str, salt: str) -> str:
        return f"sha256${salt}${hashlib.sha256((salt + password).encode()).hexdigest()}"

    def decode(self, encoded: str) -> dict[str, str]:
        algorithm, salt, hash_ = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": hash_}

    def verify(self, password: str, encoded: str) -> bool:
        return constant_time_compare(encoded, self.encode(password, self.decode(encoded)["salt"]))

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        return {"hash": mask_hash(self.decode(encoded)["hash"])}

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing to do: it is fast either way."""
