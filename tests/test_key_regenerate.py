"""Regenerate: asked first, then a new secret, and the old one ends."""

from datetime import timedelta

import pytest
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from profiles.clients import lifecycle, tokens
from profiles.http.requests import origin_of
from profiles.models import AccessToken, KeyEvent, OAuthApplication, User
from profiles.origin import Origin
from profiles.pages import subject

from . import conftest
from .conftest import PASSWORD, KeyPair, make_token, sign_in, use
from .page import (
    PROFILE,
    REGENERATE,
    Tags,
    by_htmx,
    html,
    is_whole_page,
    long_ago,
    secrets_in,
    version,
    words,
)


def works(pair: KeyPair, secret: str | None = None) -> bool:
    return conftest.works(pair.client_id, secret or pair.secret)


def test_shows_a_new_secret_and_ends_the_old_one(signed_in, user, key):
    response = signed_in.post(REGENERATE, {"version": version(user)})
    (secret,) = secrets_in(response)
    assert response.status_code == 200
    assert "The secret key has been regenerated" in words(response)
    assert key.client_id in html(response)
    assert works(key, secret)
    assert not works(key)


def test_ends_the_access_tokens_too(signed_in, user, token):
    signed_in.post(REGENERATE)
    assert tokens.find(token) is None


def test_the_answer_is_kept_by_nobody_and_the_secret_nowhere_else(signed_in, key):  # security 3, 55
    response = signed_in.post(REGENERATE)
    (secret,) = secrets_in(response)
    assert "no-store" in response.headers["Cache-Control"]
    for path in (PROFILE, REGENERATE, "/profile/api-key/delete/"):
        assert secret not in html(signed_in.get(path))
    assert secret not in str(dict(signed_in.session.items()))
    assert secret not in str(signed_in.cookies)


def test_htmx_gets_the_section_in_place_of_the_dialog(signed_in, user, key):
    response = by_htmx(signed_in, REGENERATE, {"version": version(user)})
    assert not is_whole_page(response)
    assert (response.headers["HX-Retarget"], response.headers["HX-Reswap"]) == ("#api-key", "outerHTML")
    assert len(secrets_in(response)) == 1
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["id"] == "fresh-title"


# --- Asking ----------------------------------------------------------------------------------------------------


def test_asking_says_what_will_happen(signed_in, key, token):  # page 29, 30
    make_token(key)
    text = words(signed_in.get(REGENERATE))
    assert "Regenerate the secret key?" in text
    assert "The old secret key stops working at once, unless you choose otherwise." in text
    assert "can then no longer authenticate until you give them the new one" in text
    assert "The Client ID stays the same." in text
    assert "2 access tokens end" in text
    assert "Never used" in text
    assert works(key)


def test_asking_says_who_used_the_key_last(signed_in, key):  # page 30
    use(key, user_agent="python-requests/2.34")
    text = words(signed_in.get(REGENERATE))
    assert "less than a minute ago , from 203.0.113.7, python-requests/2.34" in text


@pytest.mark.parametrize(
    ("live", "said"), [(1, "1 access token ends"), (1000, "1000 access tokens end"), (1001, "More than 1000 end")]
)
def test_asking_counts_tokens_up_to_a_thousand(signed_in, user, key, live, said):
    AccessToken.objects.bulk_create(
        AccessToken(
            token_checksum=f"{number:064x}",
            application=key.key,
            user=user,
            secret=key.key.secrets.get(),
            expires=timezone.now() + timedelta(hours=1),
        )
        for number in range(live)
    )
    assert said in words(signed_in.get(REGENERATE)).replace(",", "")


def test_one_fragment_in_two_shells(signed_in, key):
    page, part = signed_in.get(REGENERATE), by_htmx(signed_in, REGENERATE)
    assert is_whole_page(page)
    assert not is_whole_page(part)
    for response in (page, part):
        tags = Tags(html(response))
        assert tags.with_attribute("id", "confirm-title")
        assert tags.with_attribute("id", "confirm-text")
        assert tags.with_attribute("hx-post", REGENERATE)[0]["action"] == REGENERATE
        assert "no-store" in response.headers["Cache-Control"]
    assert part.headers["HX-Retarget"] == "#key-dialog-body"


def test_the_page_leaves_its_form_to_the_browser(signed_in, key):
    # Its target is the dialog of My Profile, which is not here.
    page = html(signed_in.get(REGENERATE))
    assert page.index("hx-disable") < page.index("hx-post")
    assert 'id="key-dialog-body"' not in page


def test_the_focus_is_on_cancel_first(signed_in, key):  # page 26
    for ask in (signed_in.get, lambda path: by_htmx(signed_in, path), lambda path: long_ago(signed_in).get(path)):
        (focused,) = Tags(html(ask(REGENERATE))).with_attribute("autofocus")
        assert "data-close-dialog" in focused


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_does_nothing(signed_in, user, key, method):  # security 33
    before = version(user)
    assert getattr(signed_in, method)(REGENERATE).status_code == 200
    assert version(user) == before
    assert works(key)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_other_methods_are_refused(signed_in, key, method):
    response = getattr(signed_in, method)(REGENERATE)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert works(key)


# --- Refusing --------------------------------------------------------------------------------------------------


def test_the_anonymous_come_back_to_the_question(client, key):
    assert client.get(REGENERATE).headers["Location"] == f"/accounts/login/?next={REGENERATE}"


def test_the_anonymous_change_nothing(client, key):
    assert client.post(REGENERATE).headers["Location"] == "/accounts/login/?next=/profile/"
    assert works(key)


def test_an_expired_session_changes_nothing_and_says_so_after_sign_in(client, user, key):  # page 43
    for data in (None, {"version": version(user)}):
        assert by_htmx(client, REGENERATE, data).headers["HX-Redirect"] == "/accounts/login/?next=/profile/"
    assert "You had been signed out, so nothing was done." in words(sign_in(client, user).get(PROFILE))
    assert works(key)


@pytest.mark.parametrize("ask", [Client.get, Client.post, by_htmx, lambda client, path: by_htmx(client, path, {})])
def test_without_a_key_there_is_nothing_to_regenerate(signed_in, ask):
    response = ask(signed_in, REGENERATE)
    assert response.status_code == 409
    assert "you don’t have a personal API access key" in words(response)
    assert not OAuthApplication.objects.exists()


def test_the_form_sent_again_changes_nothing(signed_in, user, key):  # page 8, 44
    form = {"version": version(user)}
    (secret,) = secrets_in(signed_in.post(REGENERATE, form))
    again = signed_in.post(REGENERATE, form)
    assert again.status_code == 409
    assert not secrets_in(again)
    text = words(again)
    assert "This key was changed at" in text
    assert "in another window" in text
    assert "The secret key can no longer be shown." in text
    assert works(key, secret)


def test_a_dialog_of_before_a_change_elsewhere_changes_nothing(signed_in, user, key):  # page 44
    form = {"version": version(user)}
    lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.COMMAND))
    response = by_htmx(signed_in, REGENERATE, form)
    assert response.status_code == 409
    assert response.headers["HX-Retarget"] == "#api-key"
    assert KeyEvent.objects.filter(action="regenerated").count() == 1


def test_a_form_of_a_deleted_key_does_not_touch_its_successor(signed_in, user, key):  # security 36
    form = {"version": version(user)}
    origin = Origin(actor=user, via=KeyEvent.Via.PAGE)
    lifecycle.delete(owner=user, origin=origin)
    successor = KeyPair(*lifecycle.create(owner=user, origin=origin))
    assert signed_in.post(REGENERATE, form).status_code == 409
    assert works(successor)


def test_a_change_between_look_and_act_is_seen(signed_in, user, key, monkeypatch):  # security 14
    def meanwhile(request: HttpRequest, **_: object) -> Origin:
        lifecycle.regenerate(owner=User.objects.get(pk=user.pk), origin=origin_of(request))
        return origin_of(request)

    form = {"version": version(user)}
    monkeypatch.setattr(subject, "origin_of", meanwhile)
    assert signed_in.post(REGENERATE, form).status_code == 409
    assert KeyEvent.objects.filter(action="regenerated").count() == 1


def test_needs_the_token_of_the_form(user, key):  # security 33
    browser = sign_in(Client(), user)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(REGENERATE).status_code == 403
    assert works(key)


# --- The password, asked for again (the same for all three actions) --------------------------------------------


def test_asks_for_the_password_in_the_same_place(signed_in, key):  # page 34
    for response in (long_ago(signed_in).get(REGENERATE), by_htmx(signed_in, REGENERATE)):
        (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "password"]
        assert (field["type"], field["autocomplete"]) == ("password", "current-password")


def test_enter_in_the_password_field_does_not_regenerate(signed_in, key):  # page 33
    tags = Tags(html(long_ago(signed_in).get(REGENERATE)))
    form = next(
        i for i, (_, its) in enumerate(tags.found) if its.get("method") == "post" and its.get("action") == REGENERATE
    )
    default = next(its for name, its in tags.found[form:] if name == "button" and "form" not in its)
    assert "disabled" in default


def test_a_form_of_before_the_time_was_over_is_asked_for_the_password(signed_in, user, key):  # security 30
    response = long_ago(signed_in).post(REGENERATE, {"version": version(user)})
    assert response.status_code == 200
    assert "Your password" in words(response)
    assert works(key)


def test_the_right_password_acts_without_another_click_under_a_new_session_id(signed_in, user, key):  # security 31
    before = long_ago(signed_in).session.session_key
    response = signed_in.post(REGENERATE, {"version": version(user), "password": PASSWORD})
    assert len(secrets_in(response)) == 1
    assert signed_in.session.session_key != before
    old = Client()
    old.cookies["session"] = before or ""
    assert old.get(PROFILE).status_code == 302
    assert len(secrets_in(signed_in.post(REGENERATE))) == 1  # and the proof holds for a while


@pytest.mark.parametrize("wrong", ["", "wrong", "\x00", PASSWORD.upper(), f"{PASSWORD} ", "x" * 100_000])
def test_a_wrong_password_changes_nothing_and_is_told_at_the_field(signed_in, user, key, wrong):  # page 34
    form = {"version": version(user), "password": wrong}
    for response in (by_htmx(long_ago(signed_in), REGENERATE, form), signed_in.post(REGENERATE, form)):
        assert response.status_code == 422
        (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "password"]
        assert field["aria-invalid"] == "true"
        assert f'id="{field["aria-describedby"]}"' in html(response)
        assert "autofocus" in field
        assert not field.get("value")
    assert works(key)


def test_a_wrong_password_is_an_event(signed_in, user, key):
    long_ago(signed_in).post(REGENERATE, {"password": "wrong"})
    event = KeyEvent.objects.latest("id")
    assert (event.action, event.client_id, event.actor) == ("password_refused", key.client_id, user)


def test_too_many_passwords_have_to_wait_even_the_right_one(signed_in, key):  # security 32
    long_ago(signed_in)
    for _ in range(10):
        assert by_htmx(signed_in, REGENERATE, {"password": "wrong"}).status_code == 422
    response = by_htmx(signed_in, REGENERATE, {"password": PASSWORD})
    assert response.status_code == 429
    assert "Too many attempts." in words(response)
    assert response.headers["Retry-After"] == "60"
    assert works(key)


def test_too_many_passwords_do_not_keep_anybody_from_signing_in(signed_in, user, key):  # security 32
    long_ago(signed_in)
    for _ in range(12):
        signed_in.post(REGENERATE, {"password": "wrong"})
    sign_in(Client(), user)


def test_a_stale_form_is_told_before_a_password_is_asked_for(signed_in, user, key):
    long_ago(signed_in)
    for _ in range(11):  # and is no attempt at the password
        assert signed_in.post(REGENERATE, {"version": version(user) - 1, "password": "wrong"}).status_code == 409
    assert signed_in.post(REGENERATE, {"version": version(user), "password": PASSWORD}).status_code == 200
    assert not KeyEvent.objects.filter(action="password_refused").exists()
