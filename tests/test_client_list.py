"""The list of API Clients: rows, search, pages, what happened, and what there is before the first."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from profiles.clients import company
from profiles.models import ClientSecret, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .conftest import KeyPair, make_client, make_key, sign_in
from .page import Tags, html, words

pytestmark = pytest.mark.django_db

LIST = "/develop/api/clients/"


@pytest.fixture
def browser(client: Client, manager: User) -> Client:
    return sign_in(client, manager)


def rows(client: Client, query: str = "") -> list[str]:
    """The names in the list, in its order."""
    return re.findall(r'<th scope="row"[^>]*><a href="[^"]*">([^<]*)</a>', html(client.get(LIST + query)))


def test_the_empty_list_explains_the_difference_to_the_personal_key(browser, manager):
    response = browser.get(LIST)
    text = words(response)
    assert "Your company has no API Clients." in text
    assert "A personal API access key acts as one person and ends with their account; an API Client acts as" in text
    assert not Tags(html(response))["table"]
    assert not Tags(html(response)).with_attribute("role", "search")
    (create,) = Tags(html(response)).with_attribute("data-action", "create-client")
    assert create["href"] == f"{LIST}create/"


def test_a_row_says_what_the_client_is(browser, manager, api_client):
    used = timezone.now() - timedelta(hours=3, minutes=1)
    OAuthApplication.objects.update(last_used=used)
    response = browser.get(LIST)
    page = html(response)
    assert f'<a href="{LIST}{api_client.client_id}/">Nightly export</a>' in page
    text = words(response).replace("\xa0", " ").replace("&nbsp;", " ")
    for said in (api_client.client_id, "Integration", "3 hours ago", "Mia Manager", "Enabled"):
        assert said in text
    (copy,) = Tags(page).with_attribute("data-copy")
    assert copy["data-copy"] == f"id-{api_client.client_id}"
    assert "hidden" in copy
    assert copy["aria-describedby"] == f"name-{api_client.client_id}"
    assert api_client.secret not in page


def test_each_state_has_its_own_words(browser, manager, api_client, client_profile):
    def states() -> list[str]:
        return re.findall(r'<span class="badge[^"]*">([^<]*)</span>', html(browser.get(LIST)))

    assert states() == ["Enabled"]
    change = {"company": manager.company, "client_id": api_client.client_id}
    company.switch(**change, enabled=False, origin=Origin(manager, KeyEvent.Via.CLIENTS))
    assert states() == ["Disabled"]
    company.switch(**change, enabled=True, origin=Origin(manager, KeyEvent.Via.CLIENTS))
    ClientSecret.objects.update(ended=True, ends=timezone.now())
    assert states() == ["No secret key that works"]


def test_only_the_companys_are_there_by_their_names(browser, manager, other_manager, client_profile, user):
    for name in ("beta", "Alpha", "gamma"):
        make_client(manager, client_profile, name=name)
    make_key(user)
    foreign = make_client(other_manager, client_profile, name="Foreign")
    assert rows(browser) == ["Alpha", "beta", "gamma"]
    assert foreign.client_id not in html(browser.get(LIST))
    assert "Foreign" not in html(browser.get(LIST))


def test_search_finds_by_name_and_by_client_id(browser, manager, api_client, client_profile):
    make_client(manager, client_profile, name="Straße 7")
    assert rows(browser, "?q=NIGHTLY") == ["Nightly export"]
    assert rows(browser, "?q=strasse") == ["Straße 7"]
    assert rows(browser, f"?q={api_client.client_id}") == ["Nightly export"]
    assert rows(browser, f"?q={api_client.client_id[:12].upper()}") == ["Nightly export"]
    assert rows(browser, "?q=%25") == []
    response = browser.get(f"{LIST}?q=nothing+here")
    assert "No API Client has this in its name or its Client ID." in words(response)
    assert 'value="nothing here"' in html(response)
    assert "Show all" in words(response)


def test_a_credential_that_is_sought_is_not_repeated(browser, api_client):  # security 80
    response = browser.get(LIST, {"q": api_client.secret})
    assert response.status_code == 422
    assert "holds a secret key" in words(response)
    assert api_client.secret not in html(response)


def test_the_list_has_pages_that_keep_the_search(browser, manager, client_profile):
    for number in range(60):
        make_client(manager, client_profile, name=f"Export & {number:02}")
    assert rows(browser) == [f"Export &amp; {number:02}" for number in range(25)]
    response = browser.get(f"{LIST}?page=2&q=export+%26")
    assert "26 to 50 of 60" in words(response)
    (before,) = Tags(html(response)).with_attribute("rel", "prev")
    (after,) = Tags(html(response)).with_attribute("rel", "next")
    assert rows(browser, before["href"])[0] == "Export &amp; 00"
    assert rows(browser, after["href"]) == [f"Export &amp; {number:02}" for number in range(50, 60)]
    for strange in ("0", "-1", "x", "9" * 40):
        assert rows(browser, f"?page={strange}")


def test_the_last_events_are_there_also_of_deleted_clients(browser, manager, api_client, user):
    make_key(user)  # nobody else's matter
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    company.delete(company=manager.company, client_id=api_client.client_id, origin=origin)
    text = words(browser.get(LIST))
    assert text.index("Nightly export : API Client deleted") < text.index("Nightly export : API Client created")
    assert "Key created" not in text
    assert "Your company has no API Clients." in text


def test_events_of_another_company_are_not(browser, other_manager, client_profile):
    make_client(other_manager, client_profile)
    assert "Recent events" not in words(browser.get(LIST))


def test_an_administrators_reason_is_read_by_the_company(browser, admin_user, api_client):
    company.revoke(client=api_client.key, origin=Origin(admin_user, KeyEvent.Via.ADMIN), reason="Left open")
    text = words(browser.get(LIST))
    assert "API Client revoked by an administrator" in text
    assert "By an administrator. Reason: Left open" in text


@pytest.mark.parametrize("count", [1, 25])
def test_the_number_of_queries_does_not_grow(browser, manager, user, client_profile, django_assert_num_queries, count):
    pairs: list[KeyPair] = [make_client(manager, client_profile, name=f"Export {number}") for number in range(count)]
    ClientSecret.objects.update(shown_to=user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert pairs
    # 1 the session, 2 its user, 3 how many clients, 4 those of the page, 5 whose secret is known outside, 6 events
    with django_assert_num_queries(6):
        response = browser.get(LIST)
    assert words(response).count("who has left") == count + 1
