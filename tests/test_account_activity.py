"""What happened to an account: recorded at sign-in too, shown to its owner and to administrators."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from profiles.account import activity
from profiles.clients import lifecycle
from profiles.models import AccountEvent, KeyEvent
from profiles.origin import Origin

from .conftest import PASSWORD, sign_in
from .page import PROFILE, Tags, html, words

pytestmark = pytest.mark.django_db

ACTIVITY = "/accounts/activity/"


def test_my_profile_leads_to_it(signed_in):
    assert [it for it in Tags(html(signed_in.get(PROFILE)))["a"] if it.get("href") == ACTIVITY]
    response = signed_in.get(ACTIVITY)
    assert "no-store" in response.headers["Cache-Control"]
    assert "Signed in" in words(response)


def test_sign_ins_are_recorded_with_address_and_client(user):
    client = Client(headers={"User-Agent": "Lynx/2.9"})
    client.post("/accounts/login/", {"login": "User@Example.com", "password": "wrong"})
    sign_in(client, user)
    failed, done = user.account_events.order_by("id")
    assert (failed.action, failed.actor) == (AccountEvent.Action.SIGN_IN_FAILED, None)
    assert (done.action, done.actor) == (AccountEvent.Action.SIGNED_IN, user)
    for event in (failed, done):
        assert (event.address, event.user_agent) == ("127.0.0.1", "Lynx/2.9")
    assert "Failed sign-in" in words(client.get(ACTIVITY))
    assert words(client.get(ACTIVITY)).count("127.0.0.1, Lynx/2.9") == 2


def test_a_sign_in_to_no_account_is_not_recorded(user):
    Client().post("/accounts/login/", {"login": "nobody@example.com", "password": PASSWORD})
    assert not AccountEvent.objects.exists()


def test_both_kinds_of_events_in_one_list_newest_first(signed_in, user, admin_user, key):
    lifecycle.revoke(owner=user, origin=Origin(admin_user, KeyEvent.Via.ADMIN, "203.0.113.9"), reason="<b>Leaked</b>")
    page = words(signed_in.get(ACTIVITY))
    assert page.index("Key revoked by an administrator") < page.index("Key created") < page.index("Signed in")
    assert "By an administrator. &lt;b&gt;Leaked&lt;/b&gt;" in page
    assert "203.0.113.9" not in page  # where administrators sit is theirs


def test_fifty_a_page_with_older_and_newer(signed_in, user):
    now = timezone.now()
    AccountEvent.objects.bulk_create(
        AccountEvent(
            action="signed_in",
            owner=user,
            owner_uid=user.uid,
            via="page",
            time=now - timedelta(hours=n),
            detail=f"#{n}.",
        )
        for n in range(1, 55)
    )
    first, second = words(signed_in.get(ACTIVITY)), words(signed_in.get(f"{ACTIVITY}?page=2"))
    assert first.count("UTC") == activity.PAGE
    assert "#49." in first
    assert "Older" in first
    assert "Newer" not in first
    assert "#50." in second
    assert second.count("UTC") == 5
    assert "Older" not in second
    assert "Newer" in second


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "9" * 30, "999999", "\u0663"])
def test_a_page_that_is_none_is_no_500(signed_in, page):
    assert signed_in.get(f"{ACTIVITY}?page={page}").status_code == 200


def test_nobody_elses(signed_in, client, other_user, key):
    sign_in(Client(), other_user)
    assert words(signed_in.get(ACTIVITY)).count("Signed in") == 1
    assert "Key created" not in words(sign_in(Client(), other_user).get(ACTIVITY))
    assert Client().get(ACTIVITY).headers["Location"] == f"/accounts/login/?next={ACTIVITY}"


def test_what_another_version_has_written_is_no_500(signed_in, user):
    """Beside it during an upgrade, or before a way back."""
    KeyEvent.objects.create(action="of_later", via="of_later", owner=user, owner_uid=user.uid, client_id="0" * 32)
    for page in (ACTIVITY, PROFILE):
        assert "of_later" in words(signed_in.get(page))


def test_of_what_came_with_time_alone_nobody_is_named(signed_in, user, key):
    KeyEvent.objects.create(action="unused", via="command", owner=user, owner_uid=user.uid, client_id=key.client_id)
    for page in (ACTIVITY, PROFILE):
        said = words(signed_in.get(page))
        assert "Not used for 90 days" in said
        assert "By the command line" not in said


def test_three_queries_make_the_list(signed_in, key, django_assert_num_queries):
    # 1 the session, 2 its user, 3 the events
    with django_assert_num_queries(3):
        signed_in.get(ACTIVITY)


def test_administrators_read_it_in_the_admin_site(admin_user, user, signed_in):
    admin = sign_in(Client(), admin_user)
    page = words(admin.get("/admin/profiles/accountevent/", {"q": user.email}))
    assert "Signed in" in page
    assert "127.0.0.1" in page
    event = user.account_events.get()
    assert admin.get(f"/admin/profiles/accountevent/{event.pk}/change/").status_code == 200
    for path in ("add/", f"{event.pk}/delete/"):
        assert admin.post(f"/admin/profiles/accountevent/{path}").status_code == 403
