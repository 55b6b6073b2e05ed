"""All that we import from django-allauth's internal modules; beside each name, what it is needed for.

Nothing promises that these stay as they are: look at them with every update of django-allauth. No other module imports
from an `internal` package of it; `tests/test_allauth_internals.py` checks that.
"""

from allauth.account.internal.flows.code_verification import (
    AbstractCodeVerificationProcess,  # the code that proves a mailbox is limited like those of signing in
)
from allauth.account.internal.flows.reauthentication import (
    STATE_SESSION_KEY as KEPT_FORM,  # where a session of an earlier release may keep a form, which is thrown away
)
from allauth.account.internal.flows.reauthentication import (
    reauthenticate_by_password,  # our dialogs ask for the password themselves, and note the proof where allauth does
)
from allauth.account.internal.stagekit import (
    clear_login,  # ends a sign-in in progress, as allauth does for an inactive user
)
from allauth.account.internal.userkit import (
    filter_users_by_email,  # finds the account as signing in does, unlike the public function of this name
)
from allauth.core.internal.cryptokit import (
    compare_user_code,  # compares in constant time
    normalize_user_code,  # removes separators between digits, as allauth does when it compares a code
)
from allauth.mfa.recovery_codes.internal.auth import (
    RecoveryCodes,  # makes the row of recovery codes: the content of the public model is not documented
)
from allauth.mfa.totp.internal.auth import (
    TOTP,  # makes the row of an authenticator app
    generate_totp_secret,  # allauth's form keeps the secret as it is in the session, and our page encrypts it
    validate_totp_code,  # the first code is checked before there is a row
)
from allauth.mfa.webauthn.internal.auth import (
    STATE_SESSION_KEY as PASSKEY_CHALLENGE,  # where the session keeps a challenge, which ends with a proof
)
from allauth.mfa.webauthn.internal.auth import (
    WebAuthn,  # makes the row of a passkey
)
from allauth.mfa.webauthn.internal.auth import (
    begin_registration as begin_passkey,  # allauth calls it only from its own view, and the page is ours
)
from allauth.mfa.webauthn.internal.auth import (
    clear_state as clear_passkey_challenge,  # a challenge may be answered once
)
from allauth.mfa.webauthn.internal.auth import (
    get_state as get_passkey_challenge,  # to see what a challenge is for
)
from allauth.mfa.webauthn.internal.auth import (
    set_state as set_passkey_challenge,  # to note what a challenge is for
)

__all__ = [
    "KEPT_FORM",
    "PASSKEY_CHALLENGE",
    "TOTP",
    "AbstractCodeVerificationProcess",
    "RecoveryCodes",
    "WebAuthn",
    "begin_passkey",
    "clear_login",
    "clear_passkey_challenge",
    "compare_user_code",
    "filter_users_by_email",
    "generate_totp_secret",
    "get_passkey_challenge",
    "normalize_user_code",
    "reauthenticate_by_password",
    "set_passkey_challenge",
    "validate_totp_code",
]
