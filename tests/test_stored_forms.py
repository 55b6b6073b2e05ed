"""What earlier releases encrypted, signed or counted is still read: the salts of it are part of the data."""

from __future__ import annotations

import pytest

from profiles.account.adapter import MFAAdapter
from profiles.limits import attempts, known_browsers
from profiles.models import User


@pytest.fixture(autouse=True)
def _secret_key_of_then(settings):
    settings.SECRET_KEY = "of an earlier release"


def test_a_second_factor_is_decrypted():
    stored = (
        "gAAAAABrB6Owi_3swuJD9_L_NOWfjNDlI7abzDu475r-rVQZqbngejtaYYvY"
        "cbxVdZ6qtwuLR2Nmy-Imf_mGAxilQJ2pyONuPBcg-TYIcpyQo2s--vHf-Ww="
    )
    assert MFAAdapter().decrypt(stored) == "JBSWY3DPEHPK3PXP"


def test_a_counter_has_the_name_it_had():
    assert attempts._name("user:1") == "63546565bb2e65c8004ea9b881f4538887d44673dfc758785e940ee4cedb657e"


def test_a_browser_that_was_known_stays_known():
    owner = User(uid="a" * 32, password="pbkdf2")
    cookie = "browser:1xWPui:0WTF-9QX9S6IksYPOX4H2IjzC3F51sIPY_3ki9bBX0c"
    assert known_browsers._signer(owner).unsign(cookie) == "browser"
