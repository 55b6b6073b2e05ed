"""All that we take from inside django-allauth, where it has no public door; beside each name, what it is needed for.

Nothing promises that these stay as they are: look at them with every update of django-allauth. No other module imports
from an `internal` package of it; `tests/test_allauth_internals.py` watches that.
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
from allauth.account.internal.userkit import (
    filter_users_by_email,  # finds the account as signing in does; the public function of this name compares otherwise
)
from allauth.core.internal.cryptokit import (
    compare_user_code,  # takes the time that does not tell how much of a code is right
    normalize_user_code,  # leaves out what people write between digits, as allauth does when it compares a code
)
from allauth.mfa.recovery_codes.internal.auth import (
    RecoveryCodes,  # makes the row of recovery codes: the public model does not say what is in it
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
    begin_registration as begin_passkey,  # allauth has it in a view of its own only, and the page is ours
)
from allauth.mfa.webauthn.internal.auth import (
    clear_state as clear_passkey_challenge,  # a challenge is for one answer
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
