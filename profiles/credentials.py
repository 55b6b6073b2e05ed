"""The three credentials: their formats, how they are made, and the one digest under which they are kept.

    Client ID      32 lower-case hex characters                                      (128 bits)
    Secret key     avs_ + 43 base62 characters + 6 base62 characters of CRC32        (256 bits)
                   avc_ + the same, where the client is a company's API Client
    Access token   avt_ + the same                                                   (256 bits)

The CRC32 covers all that stands before it, prefix included. It tells a mistyped or truncated credential from
a wrong one without a look at the database, and lets secret scanners drop false finds. Only `[A-Za-z0-9_]` is
used, so that form-encoding, HTTP Basic and shells never change a credential (RFC 6749 section 2.3.1).
"""

import hashlib
import re
import secrets
import string
from zlib import crc32

from oauth2_provider.generators import BaseHashGenerator

SECRET_PREFIX = "avs_"  # noqa: S105 - published, not secret
COMPANY_SECRET_PREFIX = "avc_"  # noqa: S105 - published, not secret
TOKEN_PREFIX = "avt_"  # noqa: S105 - published, not secret

CLIENT_ID_PATTERN = r"[0-9a-f]{32}"
KEY_SECRET_PATTERN = SECRET_PREFIX + r"[0-9A-Za-z]{49}"
COMPANY_SECRET_PATTERN = COMPANY_SECRET_PREFIX + r"[0-9A-Za-z]{49}"
SECRET_PATTERN = f"(?:{SECRET_PREFIX}|{COMPANY_SECRET_PREFIX})" + r"[0-9A-Za-z]{49}"
TOKEN_PATTERN = TOKEN_PREFIX + r"[0-9A-Za-z]{49}"

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY, _CRC = 43, 6  # 62**43 > 2**256 and 62**6 > 2**32
_DIGIT_OF_BYTE = bytes(ord(_BASE62[byte % 62]) for byte in range(256))
_UNFAIR = bytes(range(256 // 62 * 62, 256))

_is_client_id = re.compile(CLIENT_ID_PATTERN).fullmatch
_is_secret = re.compile(SECRET_PATTERN).fullmatch
_is_token = re.compile(TOKEN_PATTERN).fullmatch
_in_text = re.compile(f"{SECRET_PATTERN}|{TOKEN_PATTERN}")
_in_row = re.compile(f"(?=({SECRET_PATTERN}|{TOKEN_PATTERN}))")


def new_client_id() -> str:
    return secrets.token_hex(16)


def new_secret(prefix: str = SECRET_PREFIX) -> str:
    return _new(prefix)


def new_token() -> str:
    return _new(TOKEN_PREFIX)


def is_client_id(text: str) -> bool:
    return _is_client_id(text) is not None


def is_secret(text: str) -> bool:
    """Whether this can be a secret at all: its form and its CRC are right."""
    return _is_secret(text) is not None and _crc_holds(text)


def is_token(text: str) -> bool:
    """Whether this can be an access token at all: its form and its CRC are right."""
    return _is_token(text) is not None and _crc_holds(text)


def holds_credential(text: str) -> bool:
    """Whether a secret or a token stands in this text.

    By its form alone, because one letter that was mistyped makes it no less readable. In pieces too, as a mail program
    or a terminal breaks a long line; then the CRC tells it from letters that only happen to stand so.
    """
    if _in_text.search(text):
        return True
    return any(_crc_holds(found[1]) for found in _in_row.finditer(re.sub("[^0-9A-Za-z_]", "", text)))


def found_in(text: str) -> list[str]:
    """The secrets and tokens that stand in this text, each once: what is around them, an address say, does not matter.

    Only what can be one at all: its CRC is right.
    """
    return list(dict.fromkeys(found[1] for found in _in_row.finditer(text) if _crc_holds(found[1])))


def masked(text: str) -> str:
    """The text with nothing left of secrets and tokens in it but their prefix."""
    return _in_text.sub(lambda found: found[0][:4] + "***", text)


def digest(credential: str) -> str:
    """The SHA-256 of a secret or token, 64 hex characters: the form in which both are stored.

    Plain, because 256 random bits cannot be guessed, however fast the hash (ASVS 6.5.2, 11.4.2).
    """
    return hashlib.sha256(credential.encode()).hexdigest()


def hint(secret: str) -> str:
    """The last four characters, by which an owner can tell two secrets apart. They are of the CRC only."""
    return secret[-4:]


def _new(prefix: str) -> str:
    text = prefix + _random_body()
    return text + _crc(text)


def _random_body() -> str:
    """Digits of base 62, each from one random byte; a byte above the last multiple of 62 is dropped, for fairness."""
    body = b""
    while len(body) < _BODY:
        body += secrets.token_bytes(64).translate(_DIGIT_OF_BYTE, delete=_UNFAIR)
    return body[:_BODY].decode()


def _crc(text: str) -> str:
    number, digits = crc32(text.encode()), ""
    for _ in range(_CRC):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _crc_holds(text: str) -> bool:
    return _crc(text[:-_CRC]) == text[-_CRC:]


class ClientIdGenerator(BaseHashGenerator):
    """The toolkit's hook for Client IDs."""

    def hash(self) -> str:
        return new_client_id()


def oauthlib_access_token(*_: object) -> str:
    """oauthlib's hook for access tokens."""
    return new_token()
