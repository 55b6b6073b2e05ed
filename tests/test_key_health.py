"""Key health: which clients are at risk, told to administrators by numbers and lists, and to owners of unused ones."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from profiles.admin import health as on_index
from profiles.admin.key_export import COLUMNS
from profiles.clients import ages, health, lifecycle
from profiles.clients import company as company_clients
from profiles.clients.health import Risk
from profiles.models import AccessToken, ClientSecret, Finding, KeyEvent, OAuthApplication, OldSecret, User
from profiles.origin import Origin

from .admin_site import browser_of, make_staff, permit
from .conftest import KeyPair, make_client, make_key, make_token, use
from .policies import lay_down

pytestmark = pytest.mark.django_db

INDEX = "/admin/"
KEYS = "/admin/profiles/oauthapplication/"
EXPORT = "/admin/profiles/oauthapplication/export/"
DAY = timedelta(days=1)


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


def by(user: User | None) -> Origin:
    return Origin(actor=user, via=KeyEvent.Via.PAGE)


def maintain() -> None:
    call_command("maintain", stdout=StringIO(), stderr=StringIO())


def was_made(pair: KeyPair, *, days_ago: float) -> None:
    moment = timezone.now() - days_ago * DAY
    ClientSecret.objects.filter(application=pair.key).update(created=moment)


def was_used(pair: KeyPair, *, days_ago: float) -> None:
    """As if it was used then for the last time; it was made before that."""
    moment = timezone.now() - days_ago * DAY
    ClientSecret.objects.filter(application=pair.key).update(created=moment - DAY, first_used=moment, last_used=moment)
    OAuthApplication.objects.filter(pk=pair.key.pk).update(last_used=moment)


def risks(pair: KeyPair) -> list[Risk]:
    return health.risks_of([pair.key.pk]).get(pair.key.pk, [])


def index(client: Client) -> dict[str, str]:
    """The numbers on the index of the admin site; each list has as many."""
    numbers = {line.risk: line.number for line in client.get(INDEX).context["health"]}
    for line in client.get(INDEX).context["health"]:
        assert len(client.get(line.address).context["cl"].result_list) == int(line.number), line.risk
    return {str(risk): number for risk, number in numbers.items() if number != "0"}


@pytest.fixture(params=["few rows", "many rows"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows that all are looked through when somebody asks, or more than that."""
    if request.param == "many rows":
        monkeypatch.setattr(health, "LOOKED_THROUGH_AT_MOST", 0)


@pytest.fixture
def many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOKED_THROUGH_AT_MOST", 0)


# --- The rules ------------------------------------------------------------------------------------------------------


def test_a_new_key_is_one_that_was_never_used(key):
    assert risks(key) == [Risk.NEVER_USED]
    use(key)
    assert risks(key) == []


def test_a_new_secret_of_a_used_key_is_not_never_used(user, key):
    use(key)
    lifecycle.regenerate(owner=user, origin=by(user))
    assert risks(key) == []


def test_a_secret_that_is_older_than_180_days(user, key):
    use(key)
    was_made(key, days_ago=179)
    assert risks(key) == []
    was_made(key, days_ago=181)
    assert risks(key) == [Risk.OLD_SECRET]
    lifecycle.regenerate(owner=user, old_secret=OldSecret.DAY, origin=by(user))
    assert risks(key) == []


def test_a_leaked_key_until_it_is_regenerated(user, key):
    use(key)
    now = timezone.now()
    ClientSecret.objects.update(ends=now, ended=True, end_reason=ClientSecret.EndReason.LEAKED)
    assert risks(key) == [Risk.LEAKED]
    lifecycle.regenerate(owner=user, origin=by(user))
    assert risks(key) == []


def test_a_leaked_key_whose_old_secret_still_works(user, key):
    use(key)
    lifecycle.regenerate(owner=user, old_secret=OldSecret.DAY, origin=by(user))
    secret = ClientSecret.objects.get(application=key.key, ends=None)
    ClientSecret.objects.filter(pk=secret.pk).update(
        ends=timezone.now(), ended=True, end_reason=ClientSecret.EndReason.LEAKED
    )
    assert risks(key) == [Risk.LEAKED]


def test_an_api_client_whose_secret_somebody_knows_who_has_left(api_client, manager):
    use(api_client)
    assert risks(api_client) == []
    User.objects.filter(pk=manager.pk).update(is_active=False)
    assert risks(api_client) == [Risk.KNOWN_OUTSIDE]


@pytest.mark.usefixtures("size")
def test_more_than_a_hundred_active_tokens(user, key):
    for _ in range(health.MANY_TOKENS):
        make_token(key)
    use(key)
    maintain()
    assert risks(key) == []
    make_token(key)
    maintain()
    maintain()
    assert risks(key) == [Risk.MANY_TOKENS]
    lifecycle.regenerate(owner=user, origin=by(user))  # which ends them
    maintain()
    assert risks(key) == []
    assert AccessToken.objects.count() == health.MANY_TOKENS + 1
    assert not Finding.objects.exists()


@pytest.mark.usefixtures("size")
def test_unused_for_90_days(key):
    was_used(key, days_ago=89)
    maintain()
    assert risks(key) == []
    was_used(key, days_ago=91)
    maintain()
    assert risks(key) == [Risk.UNUSED]
    use(key)
    assert risks(key) == []  # at once, and not when the upkeep looks again


@pytest.mark.usefixtures("size")
def test_a_key_that_was_never_used_is_unused_90_days_after_its_secret_was_made(key):
    was_made(key, days_ago=89)
    maintain()
    assert risks(key) == [Risk.NEVER_USED]
    was_made(key, days_ago=91)
    maintain()
    assert risks(key) == [Risk.UNUSED, Risk.NEVER_USED]


@pytest.mark.usefixtures("size")
def test_what_would_be_refused_is_no_risk(user, key, api_client, manager):
    for pair in (key, api_client):
        was_made(pair, days_ago=200)
    maintain()
    assert risks(key) == risks(api_client) == [Risk.OLD_SECRET, Risk.UNUSED, Risk.NEVER_USED]
    OAuthApplication.objects.filter(pk=api_client.key.pk).update(disabled=True)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert risks(key) == risks(api_client) == []
    User.objects.filter(pk=user.pk).update(is_active=True)
    OAuthApplication.objects.update(disabled=False)
    assert risks(key) == risks(api_client) == [Risk.OLD_SECRET, Risk.UNUSED, Risk.NEVER_USED]
    lay_down(manager.company, days=30)
    assert risks(key) == risks(api_client) == []
    lay_down(manager.company, no_keys=True)
    assert (risks(key), risks(api_client)) == ([], [Risk.OLD_SECRET, Risk.UNUSED, Risk.NEVER_USED])
    lay_down(manager.company)
    type(manager.company).objects.update(is_active=False)
    assert risks(key) == risks(api_client) == []


def test_what_finds_the_refused_does_not_grow_with_the_companies(company, other_manager):
    def parameters() -> int:
        return len(OAuthApplication.objects.filter(ages.refused()).query.sql_with_params()[1])

    lay_down(company, no_keys=True, days=30)
    of_one = parameters()
    lay_down(other_manager.company, no_keys=True, days=30)
    assert parameters() == of_one


def test_to_tell_of_many_finds_the_refused_once(key, api_client, manager, monkeypatch):
    for pair in (key, api_client):
        was_made(pair, days_ago=91)
    list(health.look())
    refused = Mock(wraps=ages.refused)
    monkeypatch.setattr(ages, "refused", refused)
    assert sum(health.tell(origin=by(None))) == 2
    assert refused.call_count == 1


# --- For administrators ---------------------------------------------------------------------------------------------


@pytest.fixture
def one_of_each(user, other_user, key, api_client, manager, client_profile) -> dict[str, KeyPair]:
    """A client at each risk, and at no other."""
    old, many, left = make_key(other_user), make_key(manager), make_client(manager, client_profile, "Left")
    never, leaked, unused = api_client, key, make_client(manager, client_profile, "Unused")
    for pair in (old, many, left, leaked, unused):
        use(pair)
    ClientSecret.objects.filter(application=old.key).update(created=timezone.now() - 200 * DAY)
    for _ in range(health.MANY_TOKENS + 1):
        make_token(many)
    gone = User.objects.create_user("gone@example.com", name="Gone", company=manager.company, is_active=False)
    ClientSecret.objects.filter(application=left.key).update(shown_to=gone)
    ClientSecret.objects.filter(application=leaked.key).update(
        ends=timezone.now(), ended=True, end_reason=ClientSecret.EndReason.LEAKED
    )
    was_used(unused, days_ago=100)
    maintain()
    return {
        "leaked": leaked,
        "known-outside": left,
        "many-tokens": many,
        "old-secret": old,
        "unused": unused,
        "never-used": never,
    }


@pytest.mark.usefixtures("size")
def test_each_number_opens_its_list(superuser, one_of_each):
    assert index(superuser) == dict.fromkeys(one_of_each, "1")
    for risk, pair in one_of_each.items():
        found = superuser.get(KEYS, {"health": risk}).context["cl"].result_list
        assert list(found) == [pair.key], risk


def test_it_comes_first_on_the_index(superuser, one_of_each):
    text = superuser.get(INDEX).content.decode()
    assert 0 < text.index("Key health") < text.index("app-profiles")
    assert text.index("Leaked and not regenerated") < text.index("Never used")


def test_a_key_says_why_it_is_risky(superuser, one_of_each):
    def page_of(pair: KeyPair) -> str:
        return superuser.get(f"{KEYS}{pair.key.pk}/change/").content.decode()

    for risk, pair in one_of_each.items():
        assert str(Risk(risk).label) in page_of(pair)
    use(one_of_each["never-used"])
    assert "Nothing to do" in page_of(one_of_each["never-used"])


def test_staff_of_a_company_see_the_numbers_of_that_company(one_of_each, other_manager, access_profile):
    other = make_key(other_manager)
    there = permit(make_staff(company=other_manager.company), "view_oauthapplication")
    assert index(there) == {"never-used": "1"}
    assert other.client_id in there.get(KEYS, {"health": "never-used"}).content.decode()
    User.objects.filter(email="staff@example.com").update(company=one_of_each["leaked"].key.owner.company)
    assert index(there) == dict.fromkeys(one_of_each, "1")


def test_who_may_not_look_at_keys_is_told_no_numbers(one_of_each):
    response = permit(make_staff(), "view_user").get(INDEX)
    assert response.status_code == 200
    assert "Key health" not in response.content.decode()


def test_few_rows_are_looked_through_at_once(superuser, key):
    was_used(key, days_ago=91)
    for _ in range(health.MANY_TOKENS + 1):
        make_token(key)
    assert index(superuser) == {"unused": "1", "many-tokens": "1"}
    assert "upkeep" not in superuser.get(INDEX).content.decode()


def test_many_rows_are_left_to_the_upkeep(superuser, key, monkeypatch):
    was_used(key, days_ago=91)
    make_token(key)
    monkeypatch.setattr(health, "LOOKED_THROUGH_AT_MOST", 1)
    assert health.is_seen_at_once(Risk.UNUSED)
    monkeypatch.setattr(health, "LOOKED_THROUGH_AT_MOST", 0)
    assert not health.is_seen_at_once(Risk.UNUSED)
    assert not health.is_seen_at_once(Risk.MANY_TOKENS)
    assert index(superuser) == {}
    maintain()
    assert index(superuser) == {"unused": "1"}


@pytest.mark.usefixtures("many_rows")
def test_the_index_says_when_the_upkeep_last_looked(superuser, key):
    make_token(key)
    assert "has not run" in superuser.get(INDEX).content.decode()
    maintain()
    text = superuser.get(INDEX).content.decode()
    assert "has not run" not in text
    assert "As found by the upkeep on" in text


def test_a_number_is_counted_up_to_a_limit(superuser, key, api_client, monkeypatch):
    monkeypatch.setattr(on_index, "COUNTED_AT_MOST", 2)
    assert "2+" in {line.number for line in superuser.get(INDEX).context["health"]}


def test_the_index_asks_once_for_each_risk(superuser, one_of_each, django_assert_num_queries):
    superuser.get(INDEX)
    # Session, user, six numbers, for two of them twice whether there is much to look through, policies, recent actions.
    with django_assert_num_queries(len(Risk) + 8):
        superuser.get(INDEX)


# --- As CSV ---------------------------------------------------------------------------------------------------------


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def exported(client: Client, **query: Any) -> list[dict[str, str]]:
    text = text_of(client.get(EXPORT, query))
    assert text.startswith("\ufeffclient_id,")
    return list(csv.DictReader(StringIO(text.removeprefix("\ufeff"))))


def test_a_list_is_exported_as_it_is_filtered(superuser, one_of_each):
    rows = exported(superuser)
    assert {row["client_id"]: row["health"] for row in rows} == {
        pair.client_id: risk for risk, pair in one_of_each.items()
    }
    for risk, pair in one_of_each.items():
        assert [row["client_id"] for row in exported(superuser, health=risk)] == [pair.client_id]
    assert [row["client_id"] for row in exported(superuser, q="user@example.com")] == [one_of_each["leaked"].client_id]


def test_what_is_in_a_row(superuser, user, key, api_client, manager):
    make_token(key)
    use(key)
    [row] = exported(superuser, kind="personal")
    assert tuple(row) == COLUMNS
    key.key.refresh_from_db()
    assert key.key.last_used
    assert row | {"created": "", "secret_created": "", "last_used": ""} == {
        "client_id": key.client_id,
        "kind": "personal",
        "name": "",
        "owner_uid": user.uid,
        "owner_email": "user@example.com",
        "company": "Fleet Ltd",
        "access_profile": "Operator",
        "state": "enabled",
        "health": "",
        "created": "",
        "secret_created": "",
        "secret_shown_to": "user@example.com",
        "last_used": "",
        "last_used_address": "203.0.113.7",
        "last_used_agent": "curl/8",
        "may_introspect": "no",
    }
    assert row["last_used"] == key.key.last_used.isoformat(timespec="seconds")
    [row] = exported(superuser, kind="company")
    assert (row["kind"], row["name"], row["company"]) == ("company", "Nightly export", "Fleet Ltd")
    assert (row["owner_email"], row["access_profile"]) == ("", "Integration")
    assert row["secret_shown_to"] == manager.email


def test_no_secret_and_no_digest_is_exported(superuser, key, token):  # security 3
    secret = ClientSecret.objects.get()
    text = text_of(superuser.get(EXPORT))
    for hidden in (key.secret, key.secret[-4:], secret.digest, token, AccessToken.objects.get().token_checksum):
        assert hidden not in text.replace(key.client_id, "")


def test_a_spreadsheet_runs_nothing_of_it(superuser, manager, client_profile):
    pair = make_client(manager, client_profile, "=HYPERLINK(1)")
    use(pair, user_agent="@SUM(1)")
    [row] = exported(superuser)
    assert (row["name"], row["last_used_agent"]) == ("'=HYPERLINK(1)", "'@SUM(1)")


def test_the_export_reaches_as_far_as_the_list(key, other_manager):
    other = make_key(other_manager)
    there = permit(make_staff(company=other_manager.company), "view_oauthapplication")
    assert [row["client_id"] for row in exported(there)] == [other.client_id]
    assert permit(User.objects.get(email="staff@example.com"), "view_user").get(EXPORT).status_code == 403


def test_an_export_is_read_in_parts(superuser, key, api_client, other_user, monkeypatch):
    monkeypatch.setattr("profiles.events.export.ROWS_AT_A_TIME", 2)
    newest_first = OAuthApplication.objects.order_by("-pk").values_list("client_id", flat=True)
    make_key(other_user)
    assert [row["client_id"] for row in exported(superuser)] == list(newest_first)


def test_a_filter_that_is_not_known_leads_back_to_the_list(superuser, key):
    assert superuser.get(EXPORT, {"health": "fine"}).headers["Location"] == f"{KEYS}?e=1"


# --- For owners -----------------------------------------------------------------------------------------------------


def told(pair: KeyPair) -> int:
    return KeyEvent.objects.filter(client_id=pair.client_id, action=KeyEvent.Action.UNUSED).count()


def test_an_owner_is_told_once_in_each_time_of_disuse(key, user, mailoutbox, django_capture_on_commit_callbacks):
    def look() -> None:
        mailoutbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            maintain()

    was_used(key, days_ago=91)
    look()
    [mail] = mailoutbox
    assert (mail.to, mail.subject) == (
        ["user@example.com"],
        "Your personal API access key has not been used for 90 days",
    )
    for part in (mail.body, mail.alternatives[0][0]):
        assert key.client_id in part
        assert "nothing will be by itself" in part
        assert "Delete the key:" in part
        assert "administrator, on the command line" not in part
    look()
    assert mailoutbox == []
    use(key)
    look()
    was_used(key, days_ago=91)
    look()
    assert (len(mailoutbox), told(key)) == (1, 2)


def test_of_an_api_client_those_are_told_who_may_edit_it(
    api_client, manager, user, mailoutbox, django_capture_on_commit_callbacks
):
    was_used(api_client, days_ago=91)
    with django_capture_on_commit_callbacks(execute=True):
        maintain()
    [mail] = mailoutbox
    assert (mail.to, mail.subject) == (
        [manager.email],
        "An API Client of your company has not been used for 90 days",
    )
    assert "Nightly export" in mail.body
    assert f"/develop/api/clients/{api_client.client_id}/" in mail.body


def test_nothing_else_happens_to_an_unused_key(key, user, signed_in):
    was_used(key, days_ago=1000)
    maintain()
    assert ClientSecret.objects.get().is_live
    assert make_token(key)
    assert "Not used for 90 days" in signed_in.get("/profile/").content.decode()
    # A page that was open before is not out of date: it is no newer version.
    lifecycle.regenerate(owner=user, version=user.key_events.earliest("pk").pk, origin=by(user))


def test_who_was_away_is_told_once_when_back(key, user):
    was_used(key, days_ago=91)
    User.objects.filter(pk=user.pk).update(is_active=False)
    maintain()
    assert told(key) == 0
    User.objects.filter(pk=user.pk).update(is_active=True)
    maintain()
    assert told(key) == 1
    User.objects.filter(pk=user.pk).update(is_active=False)
    maintain()
    User.objects.filter(pk=user.pk).update(is_active=True)
    maintain()
    assert told(key) == 1


def test_of_many_only_so_many_are_told_in_one_run(key, api_client, monkeypatch):
    monkeypatch.setattr(health, "TOLD_AT_MOST", 1)
    was_used(key, days_ago=91)
    was_used(api_client, days_ago=91)
    maintain()
    assert risks(key) == risks(api_client) == [Risk.UNUSED]
    assert told(key) + told(api_client) == 1
    maintain()
    assert told(key) == told(api_client) == 1


def test_all_parts_of_the_table_are_looked_at(key, api_client, other_user):
    other = make_key(other_user)
    for pair in (key, api_client, other):
        was_used(pair, days_ago=91)
    assert list(health.look(rows=1, pause=0, dry_run=True)) == [1, 1, 1, 0]
    assert not Finding.objects.exists()
    assert list(health.look(rows=1, pause=0)) == [1, 1, 1]
    assert [risks(pair) for pair in (key, api_client, other)] == [[Risk.UNUSED]] * 3


def test_the_finding_goes_with_its_client(user, key, api_client, manager):
    for pair in (key, api_client):
        was_used(pair, days_ago=91)
    maintain()
    lifecycle.delete(owner=user, origin=by(user))
    company_clients.revoke(client=api_client.key, origin=by(None), reason="unused")
    assert not Finding.objects.exists()


def test_a_finding_of_a_client_that_another_version_deleted_goes(key):
    Finding.objects.create(client_id=key.key.pk + 1000, kind=Risk.UNUSED)
    assert sum(health.look(pause=0)) == 1
    assert not Finding.objects.exists()
