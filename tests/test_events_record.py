"""Events of both kinds have the same columns about who and where, and lines in the log of one form."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from profiles.account import activity
from profiles.clients import lifecycle
from profiles.models import AccountEvent, KeyEvent
from profiles.origin import Origin

pytestmark = pytest.mark.django_db

LOGGER = "profiles.events.record"  # docs/operations.md tells how to search for it


def test_an_event_has_its_origin_and_a_line_in_the_log(user, admin_user, key, caplog):  # security 59
    caplog.set_level(logging.INFO, logger=LOGGER)
    origin = Origin(admin_user, KeyEvent.Via.ADMIN, "203.0.113.9", "Lynx/2.9")
    lifecycle.revoke(owner=user, origin=origin, reason="Leaked")
    activity.record(AccountEvent.Action.DEACTIVATED, owner=user, origin=origin, detail="left")
    activity.record_about(AccountEvent.Action.GROUP_CREATED, uid="", origin=origin, detail="Support")
    events: list[Any] = [KeyEvent.objects.latest("id"), *AccountEvent.objects.order_by("id")]
    assert [(event.action, event.owner, event.owner_uid) for event in events] == [
        ("revoked", user, user.uid),
        ("deactivated", user, user.uid),
        ("group_created", None, ""),
    ]
    for event in events:
        assert (event.actor, event.actor_uid, event.via) == (admin_user, admin_user.uid, "admin")
        assert (event.address, event.user_agent) == ("203.0.113.9", "Lynx/2.9")
    by = f"actor={admin_user.uid} via=admin address=203.0.113.9"
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        (LOGGER, f"key revoked: client_id={key.client_id} owner={user.uid} {by}"),
        (LOGGER, f"account deactivated: owner={user.uid} {by}"),
        (LOGGER, f"account group_created: owner=- {by}"),
    ]


def test_what_is_not_known_is_a_dash(user, caplog):  # security 59
    caplog.set_level(logging.INFO, logger=LOGGER)
    lifecycle.record_refused_password(owner=user, origin=Origin(None, KeyEvent.Via.COMMAND))
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert record.getMessage() == f"key password_refused: client_id=- owner={user.uid} actor=- via=command address=-"
    assert (KeyEvent.objects.get().actor_uid, KeyEvent.objects.get().address) == ("", None)
