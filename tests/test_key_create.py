"""Create: one click, one key, the secret this one time."""

import re
from html import unescape

import pytest
from django.test import Client

from profiles.clients import tokens
from profiles.http.snippets import snippets
from profiles.models import ClientSecret, KeyEvent, OAuthApplication

from .conftest import PASSWORD, sign_in
from .page import (
    CREATE,
    PROFILE,
    SECTION,
    Tags,
    by_htmx,
    html,
    is_whole_page,
    long_ago,
    secrets_in,
    version,
    words,
)


def test_makes_the_key_and_shows_it_at_once(signed_in, user):  # page 6
    response = signed_in.post(CREATE, {"version": version(user)})
    assert response.status_code == 200
    (secret,) = secrets_in(response)
    (client_id,) = re.findall(r'data-field="client-id"[^>]*>([0-9a-f]{32})<', html(response))
    assert tokens.issue(client_id=client_id, secret=secret, scope="inherit").token


def test_the_warning_comes_before_the_secret(signed_in):  # page 7
    text = words(signed_in.post(CREATE))
    assert text.index("shown only once: copy it now") < text.index("avs_")


def test_records_who_did_it_and_from_where(signed_in, user):
    signed_in.post(CREATE, REMOTE_ADDR="203.0.113.7", headers={"User-Agent": "Firefox"})
    event = KeyEvent.objects.get()
    assert (event.action, event.actor, event.address, event.user_agent) == ("created", user, "203.0.113.7", "Firefox")


def test_the_answer_is_kept_by_nobody(signed_in):  # security 55
    response = signed_in.post(CREATE)
    assert secrets_in(response)
    assert "no-store" in response.headers["Cache-Control"]


def test_the_secret_is_on_no_later_page_and_in_no_cookie(signed_in):  # security 3
    (secret,) = secrets_in(signed_in.post(CREATE))
    for path in (PROFILE, "/profile/api-key/regenerate/", "/profile/api-key/delete/", "/accounts/logout/"):
        assert secret not in html(signed_in.get(path))
    assert secret not in str(dict(signed_in.session.items()))
    assert secret not in str(signed_in.cookies)


def test_the_secret_is_text_and_in_no_attribute(signed_in):  # security 57
    response = signed_in.post(CREATE)
    (secret,) = secrets_in(response)
    assert not [its for _, its in Tags(html(response)).found if secret in "".join(its.values())]


def test_htmx_gets_the_section_alone(signed_in, user):
    response = by_htmx(signed_in, CREATE, {"version": version(user)})
    assert not is_whole_page(response)
    assert len(secrets_in(response)) == 1
    assert Tags(html(response)).with_attribute("hx-history", "false")
    assert "HX-Request" in response.headers["Vary"]


def test_the_focus_goes_to_a_heading_that_names_the_result(signed_in):  # page 9
    response = signed_in.post(CREATE)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert (focused["id"], focused["tabindex"]) == ("fresh-title", "-1")
    assert "Your key has been created" in words(response)


def test_the_examples_have_the_real_client_id_and_address_and_no_secret(signed_in, user, settings):  # page 11
    page = html(signed_in.post(CREATE))
    shown = {name: unescape(text) for name, text in re.findall(r'id="sample-(\w+)"[^>]*>(.*?)</code>', page, re.DOTALL)}
    assert shown == {it.id: it.text for it in snippets(user.key.client_id)}
    for text in shown.values():
        assert user.key.client_id in text
        assert f"{settings.BASE_URL}/api/oauth/token" in text
        assert "CLIENT_SECRET" in text
        assert "avs_" not in text
    assert f'href="/api/collections/{user.key.client_id}.json"' in page
    assert f'href="{settings.BASE_URL}/api/openapi.json"' in page


def test_what_needs_a_script_is_hidden_until_there_is_one(signed_in):  # page 18
    buttons = [
        its for its in Tags(html(signed_in.post(CREATE))).found if "data-copy" in its[1] or "data-mask" in its[1]
    ]
    assert buttons
    assert all("hidden" in attributes for _, attributes in buttons)


def test_nothing_of_the_form_decides_on_the_credentials(signed_in, user):  # security 10
    signed_in.post(CREATE, {"client_id": "f" * 32, "client_secret": "mine", "user": 1, "scope": "everything"})
    assert user.key.client_id != "f" * 32


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_does_nothing_and_leads_to_the_section(signed_in, method):  # security 33
    response = getattr(signed_in, method)(CREATE)
    assert (response.status_code, response.headers["Location"]) == (302, SECTION)
    assert not OAuthApplication.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_other_methods_are_refused(signed_in, method):
    response = getattr(signed_in, method)(CREATE)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert not OAuthApplication.objects.exists()


def test_the_anonymous_make_nothing(client, user):
    response = client.post(CREATE, {"version": 0})
    assert response.headers["Location"] == "/accounts/login/?next=/profile/"
    assert not OAuthApplication.objects.exists()


def test_an_expired_session_makes_nothing_and_says_so_after_sign_in(client, user):  # page 43
    response = by_htmx(client, CREATE, {"version": 0})
    assert response.headers["HX-Redirect"] == "/accounts/login/?next=/profile/"
    client.get(response.headers["HX-Redirect"])
    assert "You had been signed out, so nothing was done." in words(sign_in(client, user).get(PROFILE))
    assert not OAuthApplication.objects.exists()


def test_the_form_sent_again_makes_no_second_key_and_changes_nothing(signed_in, user):  # page 8
    form = {"version": version(user)}
    (secret,) = secrets_in(signed_in.post(CREATE, form))
    again = signed_in.post(CREATE, form)
    assert again.status_code == 409
    assert not secrets_in(again)
    text = words(again)
    assert "This key was created at" in text
    assert "The secret key can no longer be shown. If you have not stored it, regenerate it." in text
    assert ClientSecret.objects.get().hint == secret[-4:]
    assert KeyEvent.objects.count() == 1


def test_a_second_click_by_htmx_gets_the_section_as_it_is(signed_in, user):
    form = {"version": version(user)}
    by_htmx(signed_in, CREATE, form)
    again = by_htmx(signed_in, CREATE, form)
    assert again.status_code == 409
    assert not is_whole_page(again)
    assert Tags(html(again)).with_attribute("data-action", "regenerate")


def test_without_a_version_a_second_key_is_refused_all_the_same(signed_in, key):
    response = signed_in.post(CREATE)
    assert response.status_code == 409
    assert "You already have a personal API access key" in words(response)
    assert OAuthApplication.objects.get() == key.key


@pytest.mark.parametrize("sent", ["1e3", "-1", "x", "1" * 5000, "9223372036854775808", "\x00", "0x0", "1,000"])
def test_a_version_that_no_page_had_changes_nothing(signed_in, user, sent):  # security 36
    response = signed_in.post(CREATE, {"version": sent})
    assert response.status_code == 409
    assert not OAuthApplication.objects.exists()


def test_needs_the_token_of_the_form(user):  # security 33
    browser = sign_in(Client(), user)
    browser.handler.enforce_csrf_checks = True
    response = browser.post(CREATE)
    assert response.status_code == 403
    assert "Nothing was done." in words(response)
    assert not OAuthApplication.objects.exists()


def test_a_form_of_another_site_is_refused_even_with_the_token(signed_in):  # security 33
    response = signed_in.post(CREATE, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert not OAuthApplication.objects.exists()


def test_asks_for_the_password_if_that_was_long_ago(signed_in, user):  # security 30
    response = long_ago(signed_in).post(CREATE, {"version": version(user)})
    assert response.status_code == 200
    assert is_whole_page(response)
    assert "Confirm that it is you" in words(response)
    assert not OAuthApplication.objects.exists()


def test_asks_for_no_password_when_there_is_nothing_to_do(signed_in, key):
    response = long_ago(signed_in).post(CREATE)
    assert response.status_code == 409
    assert "You already have a personal API access key" in words(response)


def test_asks_htmx_in_the_dialog(signed_in, user):  # page 34
    response = by_htmx(long_ago(signed_in), CREATE, {"version": version(user)})
    assert response.headers["HX-Retarget"] == "#key-dialog-body"
    assert not is_whole_page(response)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert (focused["name"], focused["autocomplete"]) == ("password", "current-password")


def test_the_right_password_makes_the_key_without_another_click(signed_in, user):  # page 34
    asked = long_ago(signed_in).post(CREATE, {"version": version(user)})
    (seen,) = [its["value"] for its in Tags(html(asked))["input"] if its.get("name") == "version"]
    response = signed_in.post(CREATE, {"version": seen, "password": PASSWORD})
    assert len(secrets_in(response)) == 1


def test_an_inactive_user_is_no_user(signed_in, user):
    user.is_active = False
    user.save()
    assert signed_in.post(CREATE).status_code == 302
    assert not OAuthApplication.objects.exists()


def test_at_most_fifteen_queries(signed_in, user, django_assert_max_num_queries):
    form = {"version": version(user)}
    # session, user; savepoint, version, version read back, no key yet, key, event, release; user with key, events
    with django_assert_max_num_queries(15):
        signed_in.post(CREATE, form)
