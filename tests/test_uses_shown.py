"""What the section on a client and its admin page tell of its use, and who is mailed what."""

from __future__ import annotations

import re
from datetime import UTC, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from profiles.clients import company as company_clients
from profiles.models import KeyEvent, OAuthApplication, UsedFrom, UsedOn, User
from profiles.pages.uses import Uses

from .admin_site import browser_of, make_staff, permit
from .conftest import KeyPair, sign_in
from .page import PROFILE, Tags, html, words
from .valid_html import assert_valid

pytestmark = pytest.mark.django_db

HINT = "access tokens were taken"
LONG = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"


def use_on(pair: KeyPair, days_ago: int, tokens: int, calls: int = 0) -> None:
    day = timezone.now().astimezone(UTC).date() - timedelta(days=days_ago)
    UsedOn.objects.create(application=pair.key, day=day, tokens=tokens, calls=calls)


def use_from(pair: KeyPair, address: str, days_ago: float = 0, agent: str = "curl/8") -> None:
    moment = timezone.now() - timedelta(days=days_ago)
    UsedFrom.objects.create(application=pair.key, address=address, user_agent=agent, last_used=moment)


def page_of(pair: KeyPair) -> str:
    return f"/develop/api/clients/{pair.client_id}/"


def test_five_addresses_the_latest_first(signed_in, key):
    for number in range(6):
        use_from(key, f"192.0.2.{number}", days_ago=number)
    use_from(key, LONG, days_ago=0.5, agent="<i>")
    found = re.findall(r"192\.0\.2\.\d|2001:[0-9a-f:]+", html(signed_in.get(PROFILE)))
    assert found == ["192.0.2.0", LONG, "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert "<i>" not in html(signed_in.get(PROFILE))


def test_an_address_of_long_ago_is_not_told(signed_in, key):
    use_from(key, "192.0.2.1", days_ago=91)
    assert "Used from" not in words(signed_in.get(PROFILE))


def test_each_of_thirty_days_today_included(signed_in, key):
    for days_ago in (0, 29, 30):
        use_on(key, days_ago, tokens=1000 + days_ago, calls=7)
    page = html(signed_in.get(PROFILE))
    assert "2029 access tokens in the past 30 days" in page
    assert page.count("</title></rect>") == 2
    assert page.count('<th scope="row">') == 30
    shown = Uses.of(key.key).days
    assert [(day.tokens, day.calls) for day in (shown[0], shown[-1])] == [(1029, 7), (1000, 7)]
    assert shown[-1].day == timezone.now().astimezone(UTC).date()


def test_the_bars_fit_and_one_token_is_seen(key):
    use_on(key, 0, tokens=1)
    use_on(key, 1, tokens=10**9)
    use_on(key, 29, tokens=0, calls=1)
    shown = Uses.of(key.key)
    assert [day.height for day in (shown.days[0], shown.days[-2], shown.days[-1])] == [0, shown.height, 1]
    for day in shown.days:
        assert day.y + day.height == shown.height
        assert day.x >= 0
        assert day.x + shown.bar <= shown.width


def test_nothing_is_told_of_a_key_that_was_not_used(signed_in, key):
    assert "Used from" not in words(signed_in.get(PROFILE))
    assert not Uses.of(key.key)


def test_nothing_is_told_beside_a_secret(signed_in, user, key):
    use_from(key, LONG)
    answer = signed_in.post("/profile/api-key/regenerate/", {"version": KeyEvent.objects.latest("pk").pk})
    assert "The secret key has been regenerated" in words(answer)
    assert LONG not in html(answer)


def test_it_needs_no_style_of_its_own(signed_in, key):
    use_on(key, 0, tokens=5)
    page = html(signed_in.get(PROFILE))
    assert "style=" not in page
    assert "<style" not in page
    assert_valid(page)
    (chart,) = [tag for tag in Tags(page)["svg"] if "chart" in tag.get("class", "")]
    assert chart["aria-hidden"] == "true"  # the table says it


@pytest.mark.parametrize(
    ("tokens", "calls", "days_ago", "is_told"),
    [(100, 199, 6, True), (100, 0, 0, True), (99, 0, 0, False), (100, 200, 0, False), (100, 0, 7, False)],
)
def test_who_takes_a_token_for_each_call_is_told(signed_in, key, tokens, calls, days_ago, is_told):
    use_on(key, days_ago, tokens=tokens, calls=calls)
    assert (HINT in words(signed_in.get(PROFILE))) == is_told


@pytest.mark.parametrize(("calls", "said"), [(0, "0 calls made"), (1, "1 call made"), (2, "2 calls made")])
def test_one_call_is_no_calls(signed_in, key, calls, said):
    use_on(key, 0, tokens=100, calls=calls)
    assert f"100 access tokens were taken, and {said} with them" in words(signed_in.get(PROFILE))


def test_an_api_client_has_the_same(client, manager, api_client):
    use_from(api_client, LONG)
    use_on(api_client, 0, tokens=200)
    page = sign_in(client, manager).get(page_of(api_client))
    assert LONG in html(page)
    assert HINT in words(page)
    assert "Nobody is mailed when it is used from a new address" in words(page)
    assert_valid(html(page))


def test_staff_see_it_in_the_admin_site(admin_user, key, api_client):
    for pair in (key, api_client):
        use_from(pair, LONG)
        use_on(pair, 0, tokens=200)
        page = html(browser_of(admin_user).get(f"/admin/profiles/oauthapplication/{pair.key.pk}/change/"))
        assert LONG in page
        assert "200 access tokens in the past 30 days" in page
        assert_valid(page)


def test_nobody_else_does(client, key, api_client, other_user, other_manager):
    use_from(key, "192.0.2.1")
    use_from(api_client, "192.0.2.2")
    for somebody in (other_user, other_manager):
        browser = sign_in(Client(), somebody)
        assert "192.0.2" not in html(browser.get(PROFILE))
        assert "192.0.2" not in html(browser.get(page_of(api_client)))


def test_staff_of_another_company_do_not(key, other_manager):
    use_from(key, "192.0.2.1")
    browser = permit(make_staff(company=other_manager.company), "view_oauthapplication")
    page = browser.get(f"/admin/profiles/oauthapplication/{key.key.pk}/change/", follow=True)
    assert "192.0.2" not in html(page)


# --- Whether to be mailed ---------------------------------------------------------------------------------


def test_mails_are_off_until_somebody_asks_for_them(user, key, api_client):
    assert not user.mail_new_address
    assert not api_client.key.mail_new_address


def test_the_section_says_whether_the_owner_is_mailed(signed_in, user, key):
    use_from(key, LONG)
    assert "You are not mailed when it is used from a new address." in words(signed_in.get(PROFILE))
    User.objects.filter(pk=user.pk).update(mail_new_address=True)
    page = signed_in.get(PROFILE)
    assert "You are mailed when it is used from a new address." in words(page)
    assert '<a href="/profile/edit/">Change that</a>' in html(page)


def test_it_is_chosen_in_the_form_of_an_api_client(client, manager, api_client):
    browser = sign_in(client, manager)
    form = {"name": api_client.key.name, "note": "", "access_profile": api_client.key.access_profile.uid}

    def save(**more: str) -> bool:
        version = company_clients.version(api_client.client_id)
        assert browser.post(f"{page_of(api_client)}edit/", {**form, **more, "version": version}).status_code == 302
        return OAuthApplication.objects.get().mail_new_address

    assert save(mail_new_address="on")
    assert KeyEvent.objects.latest("pk").detail == "mail about new addresses: on"
    page = html(browser.get(f"{page_of(api_client)}edit/"))
    (field,) = [tag for tag in Tags(page)["input"] if tag.get("name") == "mail_new_address"]
    assert "checked" in field
    assert not save()
    assert KeyEvent.objects.latest("pk").detail == "mail about new addresses: off"


def test_what_was_ticked_is_not_lost_in_a_form_that_is_refused(client, manager, api_client):
    form = {"name": "", "note": "", "access_profile": "", "version": "1", "mail_new_address": "on"}
    page = html(sign_in(client, manager).post(f"{page_of(api_client)}edit/", form))
    (field,) = [tag for tag in Tags(page)["input"] if tag.get("name") == "mail_new_address"]
    assert "checked" in field


def test_the_list_of_events_says_from_where(signed_in, user, key):
    from profiles.clients import uses

    from .test_uses import written

    User.objects.filter(pk=user.pk).update(mail_new_address=True)
    written(key, "192.0.2.1")
    written(key, LONG)
    uses.write()
    page = words(signed_in.get(PROFILE))
    assert "Used from a new address" in page
    assert f"From {LONG}, curl/8" in page
    assert "By the first use" not in page
