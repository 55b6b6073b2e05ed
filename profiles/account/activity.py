"""What happened to an account: recorded once, mailed to its owner, shown to the owner and to administrators.

The key has events of its own (`keys`); the page puts both in one list.
"""

from __future__ import annotations

import logging

from .. import notices
from ..http import Origin
from ..models import AccountEvent, User

logger = logging.getLogger(__name__)


def record(action: AccountEvent.Action, *, owner: User, origin: Origin, detail: str = "", address: str = "") -> None:
    """Note what was done to the account of `owner`, and mail the owner if it is one of `notices.ACCOUNT_WORDS`.

    `address` is the e-mail address on file before the change, if the change is of that. `detail` says which method,
    which browser, which address: one line, in no language, and never a secret or a code.
    """
    event = AccountEvent.objects.create(
        action=action,
        owner=owner,
        owner_uid=owner.uid,
        actor=origin.actor,
        actor_uid=origin.actor.uid if origin.actor else "",
        via=origin.via,
        address=origin.address,
        user_agent=origin.user_agent,
        detail=detail[: AccountEvent.DETAIL_LENGTH],
    )
    notices.mail_owner(event, address=address)
    logger.info(
        "account %s: owner=%s actor=%s via=%s address=%s",
        action.value,
        owner.uid,
        event.actor_uid or "-",
        origin.via.value,
        origin.address or "-",
    )
