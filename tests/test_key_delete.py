"""Delete: asked first, then nothing is left but what happened."""

import pytest
from django.test import Client

from profiles.clients import lifecycle, tokens
from profiles.models import KeyEvent, OAuthApplication
from profiles.origin import Origin

from .conftest import PASSWORD, sign_in, works
from .page import (
    DELETE,
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


def test_deletes_the_key_and_says_so_in_the_section(signed_in, user, key):  # page 37
    response = signed_in.post(DELETE, {"version": version(user)})
    assert (response.status_code, response.headers["Location"]) == (302, SECTION)
    assert not OAuthApplication.objects.exists()
    text = words(signed_in.get(PROFILE))
    assert "Your personal API access key was deleted on" in text
    assert "You don’t have a personal API access key." in text
    assert text.index("accountNetwork.users.view") < text.index("was deleted on")  # in the section, not above all
    assert "was deleted on" not in words(signed_in.get(PROFILE))


def test_ends_secret_and_tokens(signed_in, key, token):
    signed_in.post(DELETE)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None


def test_htmx_gets_the_section_in_place_of_the_dialog(signed_in, user, key):
    response = by_htmx(signed_in, DELETE, {"version": version(user)})
    assert response.status_code == 200
    assert not is_whole_page(response)
    assert (response.headers["HX-Retarget"], response.headers["HX-Reswap"]) == ("#api-key", "outerHTML")
    assert "was deleted on" in words(response)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["id"] == "api-key-title"  # the opener is gone (page 27)
    assert "was deleted on" not in words(signed_in.get(PROFILE))


def test_is_kept_by_nobody(signed_in, key):
    for response in (signed_in.get(DELETE), signed_in.post(DELETE)):
        assert "no-store" in response.headers["Cache-Control"]


def test_asking_says_what_will_happen(signed_in, key, token):  # page 29, 31
    text = words(signed_in.get(DELETE))
    assert "Delete your personal API access key?" in text
    assert "Access is revoked immediately for every application that uses this client’s credentials." in text
    assert "This cannot be undone." in text
    assert "You can create a new key later; it will have a different Client ID." in text
    assert "1 access token ends" in text
    assert "Last used Never used" in text


def test_the_button_reads_confirm_and_the_focus_is_on_cancel(signed_in, key):  # page 26, 32
    page = html(by_htmx(signed_in, DELETE))
    assert "data-confirm>Confirm</button>" in page
    (focused,) = Tags(page).with_attribute("autofocus")
    assert "data-close-dialog" in focused


def test_one_fragment_in_two_shells(signed_in, key):
    page, part = signed_in.get(DELETE), by_htmx(signed_in, DELETE)
    assert is_whole_page(page)
    assert not is_whole_page(part)
    assert Tags(html(page)).with_attribute("hx-post", DELETE) != []
    assert Tags(html(part)).with_attribute("hx-post", DELETE) != []


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_only_a_post_deletes(signed_in, key, method):  # security 33
    response = getattr(signed_in, method)(DELETE)
    assert response.status_code == (200 if method in ("get", "head") else 405)
    assert OAuthApplication.objects.exists()


def test_the_anonymous_delete_nothing(client, key):
    assert client.post(DELETE).headers["Location"] == "/accounts/login/?next=/profile/"
    assert by_htmx(client, DELETE, {}).headers["HX-Redirect"] == "/accounts/login/?next=/profile/"
    assert OAuthApplication.objects.exists()


def test_somebody_else_deletes_only_what_is_their_own(client, key, other_user):  # security 34
    response = sign_in(client, other_user).post(DELETE, {"user": key.key.user_id, "client_id": key.client_id})
    assert response.status_code == 409
    assert OAuthApplication.objects.exists()


def test_twice_with_the_same_form_is_told(signed_in, user, key):
    form = {"version": version(user)}
    signed_in.post(DELETE, form)
    again = by_htmx(signed_in, DELETE, form)
    assert again.status_code == 409
    assert "This key was deleted at" in words(again)
    assert KeyEvent.objects.filter(action="deleted").count() == 1


def test_without_a_key_there_is_nothing_to_delete(signed_in):
    for response in (signed_in.get(DELETE), signed_in.post(DELETE), by_htmx(signed_in, DELETE)):
        assert response.status_code == 409
        assert "you don’t have a personal API access key" in words(response)


def test_a_form_of_before_a_regenerate_deletes_nothing(signed_in, user, key):  # page 44
    form = {"version": version(user)}
    lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    response = signed_in.post(DELETE, form)
    assert response.status_code == 409
    assert "This key was changed at" in words(response)
    assert OAuthApplication.objects.exists()


def test_a_key_that_staff_revoked_meanwhile_is_told_as_that(signed_in, user, key, admin_user):
    form = {"version": version(user)}
    lifecycle.revoke(
        owner=user, origin=Origin(actor=admin_user, via=KeyEvent.Via.ADMIN), reason="Found in a public repository"
    )
    text = words(signed_in.post(DELETE, form))
    assert "This key was revoked by an administrator at" in text
    assert "Reason: Found in a public repository" in text


def test_needs_the_token_of_the_form(user, key):  # security 33
    browser = sign_in(Client(), user)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(DELETE).status_code == 403
    assert OAuthApplication.objects.exists()


def test_asks_for_the_password_if_that_was_long_ago(signed_in, user, key):  # security 30
    response = long_ago(signed_in).post(DELETE, {"version": version(user)})
    assert "Your password" in words(response)
    assert OAuthApplication.objects.exists()


def test_a_wrong_password_deletes_nothing(signed_in, key):
    response = long_ago(signed_in).post(DELETE, {"password": "wrong"})
    assert response.status_code == 422
    assert "That is not your password." in words(response)
    assert OAuthApplication.objects.exists()


def test_the_right_password_deletes_without_another_click(signed_in, key):  # security 31
    before = long_ago(signed_in).session.session_key
    signed_in.post(DELETE, {"password": PASSWORD})
    assert not OAuthApplication.objects.exists()
    assert signed_in.session.session_key != before


def test_no_secret_is_anywhere(signed_in, user, key):
    for response in (signed_in.get(DELETE), signed_in.post(DELETE, follow=True)):
        assert not secrets_in(response)
