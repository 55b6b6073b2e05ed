"""Keys, access tokens and key events in the admin site: found, revoked with a reason, exported."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from profiles import credentials
from profiles.admin.keys import KeyAdmin
from profiles.clients import lifecycle, tokens
from profiles.events.export import COLUMNS, harmless
from profiles.models import AccessToken, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .admin_site import browser_of, make_staff, permit
from .conftest import make_key, make_token

pytestmark = pytest.mark.django_db

KEYS = "/admin/profiles/oauthapplication/"
REVOKE = "/admin/profiles/oauthapplication/revoke/"
TOKENS = "/admin/profiles/accesstoken/"
EVENTS = "/admin/profiles/keyevent/"
EXPORT = "/admin/profiles/keyevent/export/"


@pytest.fixture
def staff(db) -> User:
    return make_staff()


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


def origin(user: User) -> Origin:
    return Origin(actor=user, via=KeyEvent.Via.PAGE, address="203.0.113.7", user_agent="Browser/1")


def result(client: Client, address: str, **query: Any) -> list[Any]:
    return list(client.get(address, query).context["cl"].result_list)


# --- Looking ----------------------------------------------------------------------------------------------


def test_keys_are_found(superuser, user, key, other_user):
    other = make_key(other_user)
    for word in (
        key.client_id,
        key.client_id[:12],
        key.client_id.upper(),
        "user@example.com",
        "user@",
        "Uma",
        user.uid,
    ):
        assert result(superuser, KEYS, q=word) == [key.key], word
    assert result(superuser, KEYS, q="Fleet") == [other.key, key.key]
    assert result(superuser, KEYS, q="Fleet Uma") == [key.key]
    assert result(superuser, KEYS, q=key.client_id[1:13]) == []


def test_keys_are_filtered_by_use(superuser, key, other_user):
    other = make_key(other_user)

    def used(value: str) -> list[object]:
        return result(superuser, KEYS, used=value)

    assert used("never") == [other.key, key.key]
    assert used("not-90") == []  # unused, but not for long
    OAuthApplication.objects.filter(pk=key.key.pk).update(last_used=timezone.now() - timedelta(days=5))
    assert used("never") == [other.key]
    assert [used(days) for days in ("1", "7", "30", "90")] == [[], [key.key], [key.key], [key.key]]
    OAuthApplication.objects.filter(pk=key.key.pk).update(last_used=timezone.now() - timedelta(days=91))
    assert used("90") == []
    assert used("not-90") == [key.key]
    OAuthApplication.objects.filter(pk=other.key.pk).update(created=timezone.now() - timedelta(days=91))
    assert used("not-90") == [other.key, key.key]


def test_keys_are_filtered_by_company(superuser, company, key, admin_user):
    make_key(admin_user)
    assert result(superuser, KEYS, company=company.pk) == [key.key]


def test_a_key_is_shown_with_its_use_and_active_tokens(superuser, user, key):
    for _ in range(3):
        make_token(key)
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    OAuthApplication.objects.update(last_used=at, last_used_address="203.0.113.7", last_used_agent="curl/8")
    assert result(superuser, KEYS)[0].active_tokens == 3
    page = superuser.get(f"{KEYS}{key.key.pk}/change/").content.decode()
    for text in (user.email, "Fleet Ltd", "2026-03-01 12:30:00", "203.0.113.7", "curl/8", ">3<"):
        assert text in page, text
    user.is_active = False
    user.save()
    assert result(superuser, KEYS)[0].active_tokens == 0


def test_the_list_counts_active_tokens_only_so_far(superuser, key, monkeypatch):
    monkeypatch.setattr("profiles.admin.keys.ACTIVE_TOKENS_IN_LIST", 2)
    for _ in range(3):
        make_token(key)
    assert '<td class="field-active_tokens">2+</td>' in superuser.get(KEYS).content.decode()


def test_the_list_never_loads_a_secret(superuser, key, token):  # security 64
    assert {"password"} <= result(superuser, KEYS)[0].user.get_deferred_fields()
    assert {"token", "token_checksum"} <= result(superuser, TOKENS)[0].get_deferred_fields()


def test_tokens_are_found_by_key_and_owner(superuser, key, token, other_user):
    make_token(make_key(other_user))
    mine = AccessToken.objects.get(application=key.key)
    for word in (key.client_id, "user@example.com", "uma"):
        assert result(superuser, TOKENS, q=word) == [mine], word
    assert result(superuser, TOKENS, application=key.key.pk) == [mine]
    assert result(superuser, TOKENS, q=token) == []


def test_a_token_is_shown_live_until_its_key_changes(superuser, user, key, token):
    row = AccessToken.objects.get()
    page = superuser.get(f"{TOKENS}{row.pk}/change/").content.decode()
    assert key.client_id in page
    assert 'alt="True"' in page
    lifecycle.regenerate(owner=user, origin=origin(user))
    assert 'alt="False"' in superuser.get(f"{TOKENS}{row.pk}/change/").content.decode()


def test_a_token_of_a_deleted_key_can_still_be_looked_at(superuser, user, key, token):
    lifecycle.delete(owner=user, origin=origin(user))
    row = AccessToken.objects.get()
    for address in (TOKENS, f"{TOKENS}{row.pk}/change/"):
        page = superuser.get(address)
        assert page.status_code == 200
        assert "(deleted)" in page.content.decode()


# --- Revoking ---------------------------------------------------------------------------------------------


def revoke(client: Client, *pks: object, reason: str = "Found in a public repository") -> str:
    return client.post(REVOKE, {"key": pks, "reason": reason}, follow=True).content.decode()


def test_revoking_asks_first_and_tells_what_will_happen(superuser, user, key, token):
    assert f"{REVOKE}?key={key.key.pk}" in superuser.get(f"{KEYS}{key.key.pk}/change/").content.decode()
    page = superuser.get(REVOKE, {"key": key.key.pk}).content.decode()
    for text in (key.client_id, user.email, "Fleet Ltd", "<td>1</td>", "This cannot be undone"):
        assert text in page, text
    assert lifecycle.of(user)


def test_revoking_ends_the_key_and_records_why(superuser, admin_user, user, key, token):  # security 59, 64
    page = revoke(superuser, key.key.pk)
    assert "1 client was revoked." in page
    assert lifecycle.of(user) is None
    assert tokens.find(token) is None
    event = KeyEvent.objects.latest("pk")
    assert (event.action, event.actor, event.via, event.reason) == (
        "revoked",
        admin_user,
        "admin",
        "Found in a public repository",
    )
    assert event.address == "127.0.0.1"
    assert LogEntry.objects.get().object_repr == key.client_id


def test_several_are_revoked_by_the_action(superuser, key, other_user, admin_user):
    other, third = make_key(other_user), make_key(admin_user)
    data = {"action": "revoke_selected", "_selected_action": [key.key.pk, other.key.pk]}
    page = superuser.post(KEYS, data).content.decode()
    assert "The 2 clients are deleted" in page
    assert OAuthApplication.objects.count() == 3
    assert "2 clients were revoked." in revoke(superuser, key.key.pk, other.key.pk)
    assert OAuthApplication.objects.get() == third.key


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "a\0b", "\x1b[31mred", "it was {secret}, leaked", "{token}"])
def test_a_reason_is_needed_and_holds_no_secret(superuser, user, key, token, reason):  # security 3
    page = superuser.post(REVOKE, {"key": key.key.pk, "reason": reason.format(secret=key.secret, token=token)})
    assert page.status_code == 200
    assert page.context["form"].errors["reason"]
    assert lifecycle.of(user)
    assert credentials.is_secret(key.secret)


def test_a_key_that_is_gone_is_told(superuser, user, key, other_user):
    gone = make_key(other_user)
    lifecycle.delete(owner=other_user, origin=origin(other_user))
    page = revoke(superuser, key.key.pk, gone.key.pk)
    assert "1 client was revoked." in page
    assert "1 of the chosen clients was gone already." in page
    assert "1 of the chosen clients was gone already." in revoke(superuser, gone.key.pk)


def test_the_key_that_an_owner_made_instead_is_not_revoked(superuser, user, key):
    lifecycle.delete(owner=user, origin=origin(user))
    newer = make_key(user)
    assert "was gone already" in revoke(superuser, key.key.pk)
    assert lifecycle.of(user) == newer.key


def test_a_key_replaced_during_the_deed_is_not_revoked(superuser, user, key, monkeypatch):
    original = KeyAdmin._do

    def overtaken(self, request, deed, found, reason):
        lifecycle.delete(owner=user, origin=origin(user))
        make_key(user)
        return original(self, request, deed, found, reason)

    monkeypatch.setattr(KeyAdmin, "_do", overtaken)
    assert "was gone already" in revoke(superuser, key.key.pk)
    assert lifecycle.of(user)


@pytest.mark.parametrize("chosen", [[], ["x"], ["9" * 40], ["-1"], ["\0"], ["٣"]])
@pytest.mark.parametrize("method", ["get", "post"])
def test_strange_choices_are_told(superuser, key, chosen, method):
    response = getattr(superuser, method)(REVOKE, {"key": chosen, "reason": "x"}, follow=True)
    assert response.status_code == (400 if (method, chosen) == ("get", ["\0"]) else 200)
    assert OAuthApplication.objects.exists()


def test_revoking_needs_its_permission(staff, key):
    client = permit(staff, "view_oauthapplication", "view_user", "change_user", "delete_user")
    for response in (
        client.get(REVOKE, {"key": key.key.pk}),
        client.post(REVOKE, {"key": key.key.pk, "reason": "x"}),
    ):
        assert response.status_code == 403
    page = client.get(KEYS).content.decode()
    assert "revoke_selected" not in page
    assert "Revoke" not in client.get(f"{KEYS}{key.key.pk}/change/").content.decode()
    assert OAuthApplication.objects.exists()
    # And to revoke what one may not see is no way to see it.
    assert permit(staff, "revoke_oauthapplication").get(REVOKE, {"key": key.key.pk}).status_code == 403
    assert "1 client was revoked." in revoke(
        permit(staff, "view_oauthapplication", "revoke_oauthapplication"), key.key.pk
    )


def test_revoking_needs_the_csrf_token(admin_user, key):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(REVOKE, {"key": key.key.pk, "reason": "x"}).status_code == 403
    assert client.get(REVOKE, {"key": key.key.pk, "reason": "x"}).status_code == 200
    assert OAuthApplication.objects.exists()


# --- Events -----------------------------------------------------------------------------------------------


@pytest.fixture
def events(user, other_user, key, admin_user) -> dict[str, KeyEvent]:
    command = Origin(actor=None, via=KeyEvent.Via.COMMAND, user_agent="=cmd|' /C calc'!A0")
    lifecycle.regenerate(owner=user, origin=command)
    make_key(other_user)
    staff_origin = Origin(actor=admin_user, via=KeyEvent.Via.ADMIN, address="2001:db8::7")
    lifecycle.revoke(owner=other_user, origin=staff_origin, reason='-2+3, a "quoted"\nreason')
    names = ("created", "regenerated", "other", "revoked")
    return dict(zip(names, KeyEvent.objects.order_by("id"), strict=True))


def test_events_are_found(superuser, events, user, key, admin_user):
    mine = [events["regenerated"], events["created"]]
    for word in (key.client_id, key.client_id[:12], "user@example.com", user.uid, "uma"):
        assert result(superuser, EVENTS, q=word) == mine, word
    assert result(superuser, EVENTS, q="2001:0db8::0007") == [events["revoked"]]
    assert result(superuser, EVENTS, q="admin@example.com") == [events["revoked"]]
    assert result(superuser, EVENTS, q=admin_user.uid) == [events["revoked"]]


def test_events_of_a_deleted_user_are_found_by_uid(superuser, events, user):  # security 22
    User.objects.get(pk=user.pk).delete()
    assert result(superuser, EVENTS, q=user.uid) == [events["regenerated"], events["created"]]


def test_events_are_filtered(superuser, events, company):
    assert result(superuser, EVENTS, action="revoked") == [events["revoked"]]
    assert result(superuser, EVENTS, via="command") == [events["regenerated"]]
    assert len(result(superuser, EVENTS, company=company.pk)) == 4
    today, tomorrow = (datetime.now(UTC).date() + timedelta(days=days) for days in (0, 1))
    assert len(result(superuser, EVENTS, since=today, until=today)) == 4
    assert result(superuser, EVENTS, since=tomorrow) == []
    assert result(superuser, EVENTS, until=today - timedelta(days=1)) == []


def exported(client: Client, **query: Any) -> list[dict[str, str]]:
    response = client.get(EXPORT, query)
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"].startswith("attachment;")
    text = response.getvalue().decode()
    assert text.startswith("\ufefftime,")  # by which Excel knows that it is UTF-8
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_export_holds_every_event_of_the_search(superuser, events, user, key):
    rows = exported(superuser)
    assert tuple(rows[0]) == COLUMNS
    assert [row["action"] for row in rows] == ["revoked", "created", "regenerated", "created"]
    assert rows[3]["client_id"] == key.client_id
    assert rows[3]["owner_email"] == user.email
    assert datetime.fromisoformat(rows[3]["time"]).utcoffset() == timedelta(0)
    assert [row["action"] for row in exported(superuser, q="user@example.com", action="created")] == ["created"]


def test_export_goes_on_past_one_part_and_past_the_pages(superuser, events, monkeypatch):
    monkeypatch.setattr("profiles.events.export.ROWS_AT_A_TIME", 2)
    monkeypatch.setattr("profiles.admin.base.CappedPaginator.at_most", 1)
    assert len(exported(superuser)) == 4


def test_no_cell_is_a_formula(superuser, events):
    rows = exported(superuser)
    assert rows[2]["user_agent"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["reason"] == '\'-2+3, a "quoted"\nreason'
    assert [harmless(cell) for cell in ("=1", "+1", "-1", "@x", "\tx", "\rx", "a=1", "")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "'\rx",
        "a=1",
        "",
    ]


def test_export_needs_the_permission_to_look(staff, events):
    assert permit(staff, "view_user", "view_oauthapplication").get(EXPORT).status_code == 403
    assert len(exported(permit(staff, "view_keyevent"))) == 4


@pytest.mark.parametrize("query", [{"action": "x"}, {"since": "x"}, {"company": "x"}])
def test_export_of_a_strange_filter_exports_nothing(superuser, events, query):
    assert superuser.get(EXPORT, query).url == reverse("admin:profiles_keyevent_changelist") + "?e=1"


def test_the_button_exports_what_the_list_shows(superuser, events):
    page = superuser.get(EVENTS, {"q": "uma", "via": "command"}).content.decode()
    assert f'href="{EXPORT}?q=uma&amp;via=command"' in page


def test_the_form_of_dates_keeps_the_other_filters(superuser, events):
    page = superuser.get(EVENTS, {"q": "uma", "via": "command", "since": "2026-01-01"}).content.decode()
    page = page[page.index('<form class="period"') :]
    assert '<input type="hidden" name="via" value="command">' in page
    assert '<input type="hidden" name="since"' not in page
    assert '<input type="date" name="since" value="2026-01-01">' in page
