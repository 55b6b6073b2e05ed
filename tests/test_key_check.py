"""Check a secret key: which one of the key it is, and nothing of it is shown, kept or logged."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from profiles import credentials
from profiles.clients import lifecycle
from profiles.models import ClientSecret, KeyEvent, OldSecret, User
from profiles.origin import Origin
from profiles.templatetags.moments import absolute

from .conftest import KeyPair, make_key, sign_in
from .page import CHECK, PROFILE, Response, Tags, by_htmx, html, is_whole_page, long_ago, version, words


def post(client: Client, path: str, data: dict[str, object]) -> Response:
    return client.post(path, data)


both_ways = pytest.mark.parametrize("send", [post, by_htmx])


def regenerate(user: User, old_secret: OldSecret = OldSecret.NOW) -> KeyPair:
    origin = Origin(actor=user, via=KeyEvent.Via.PAGE)
    return KeyPair(*lifecycle.regenerate(owner=user, origin=origin, old_secret=old_secret))


def answer(client: Client, secret: str) -> str:
    """What is told of a secret."""
    response = client.post(CHECK, {"secret": secret})
    assert response.status_code == 200
    (told,) = re.findall(r'<p id="confirm-text" tabindex="-1" autofocus>(.*?)</p>', html(response))
    return told.replace("&#x27;", "'")


def end_of(pair: KeyPair) -> str:
    row = ClientSecret.objects.get(digest=credentials.digest(pair.secret))
    assert row.ends
    return absolute(row.ends)


# --- Asking ----------------------------------------------------------------------------------------------------


def test_the_section_offers_it(signed_in, key):
    (control,) = Tags(html(signed_in.get(PROFILE))).with_attribute("data-action", "check")
    assert control["type"] == "submit"


def test_it_is_a_labelled_field_in_two_shells(signed_in, key):
    page, part = signed_in.get(CHECK), by_htmx(signed_in, CHECK)
    assert is_whole_page(page)
    assert not is_whole_page(part)
    assert part.headers["HX-Retarget"] == "#key-dialog-body"
    for response in (page, part):
        assert "no-store" in response.headers["Cache-Control"]
        (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "secret"]
        assert f'<label for="{field["id"]}">Secret key to check</label>' in html(response)
        assert (field["type"], field["autocomplete"]) == ("password", "off")
        assert "autofocus" in field


# --- The answers -----------------------------------------------------------------------------------------------


def test_the_current_one(signed_in, key):
    assert answer(signed_in, key.secret) == "It is the current one."


@pytest.mark.parametrize("blanks", [" {} ", "\t{}\r\n", "\N{NO-BREAK SPACE}{}"])
def test_blanks_around_it_do_no_harm(signed_in, key, blanks):
    assert answer(signed_in, blanks.format(key.secret)) == "It is the current one."


def test_the_old_one_with_its_end(signed_in, user, key):
    new = regenerate(user, OldSecret.DAY)
    assert answer(signed_in, key.secret) == f"It is the old one, good until {end_of(key)}."
    assert answer(signed_in, new.secret) == "It is the current one."


def test_the_old_one_that_the_first_use_ends(signed_in, user, key):
    regenerate(user, OldSecret.FIRST_USE)
    told = "It is the old one, good until the new one is first used, at the latest until"
    assert answer(signed_in, key.secret) == f"{told} {end_of(key)}."


def test_one_that_was_replaced(signed_in, user, key):
    regenerate(user)
    assert answer(signed_in, key.secret) == f"It was replaced on {end_of(key)}. It no longer works."


def test_one_that_worked_for_a_while_after_it_was_replaced(signed_in, user, key):
    regenerate(user, OldSecret.DAY)
    replaced = timezone.now() - timedelta(hours=30)
    ClientSecret.objects.filter(ends=None).update(created=replaced)
    ClientSecret.objects.exclude(ends=None).update(ends=replaced + timedelta(hours=24))
    told = f"It was replaced on {absolute(replaced)}, and stopped working on {end_of(key)}."
    assert answer(signed_in, key.secret) == told
    regenerate(user)
    assert answer(signed_in, key.secret) == told  # by the one after it, not by the newest


def test_one_that_its_owner_ended(signed_in, user, key):
    regenerate(user, OldSecret.DAY)
    lifecycle.end_old_secret(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    told = answer(signed_in, key.secret)
    assert told.startswith("It was replaced on ")
    assert told.endswith(f", and you ended it on {end_of(key)}.")


def test_one_that_was_reported_as_leaked(signed_in, key):
    ClientSecret.objects.update(ended=True, ends=timezone.now(), end_reason=ClientSecret.EndReason.LEAKED)
    assert answer(signed_in, key.secret) == f"It was reported as leaked on {end_of(key)}. It no longer works."


def test_one_that_nobody_has(signed_in, key):
    assert answer(signed_in, credentials.new_secret()) == "It is not one of this key’s."


def test_one_of_somebody_else_is_as_one_that_nobody_has(signed_in, key, other_user):  # security 34
    assert answer(signed_in, make_key(other_user).secret) == "It is not one of this key’s."


def test_one_of_a_key_that_was_deleted_is_not_one_of_its_successor(signed_in, user, key):
    origin = Origin(actor=user, via=KeyEvent.Via.PAGE)
    lifecycle.delete(owner=user, origin=origin)
    make_key(user)
    assert answer(signed_in, key.secret) == "It is not one of this key’s."


@pytest.mark.parametrize("damage", ["{:.52}", "{:.52}0", "CLIENT_SECRET={}", "{}🔑", '"{}"'])
def test_one_that_is_not_whole_is_told(signed_in, key, damage):
    told = "It is not one of this key’s, and not a whole secret key at all. Was it copied in full?"
    assert answer(signed_in, damage.format(key.secret)) == told


def test_one_of_a_token_is_told_too(signed_in, key, token):
    assert "not a whole secret key at all" in answer(signed_in, token)


@pytest.mark.parametrize("wrong", ["", "   ", "x" * 201, "avs_\x00"])
@both_ways
def test_what_cannot_be_one_is_told_at_the_field(signed_in, key, send, wrong):
    response = send(signed_in, CHECK, {"secret": wrong})
    assert response.status_code == 422
    (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "secret"]
    assert field["aria-invalid"] == "true"
    assert f'id="{field["aria-describedby"].split()[-1]}"' in html(response)
    assert "confirm-text" in html(response)


# --- Nothing of it is left -------------------------------------------------------------------------------------


@both_ways
def test_it_is_never_shown_again(signed_in, user, key, send):  # security 3
    """Nor is a part of it: only the end, by which the section tells secrets apart."""
    regenerate(user, OldSecret.DAY)
    for shown in (key.secret, f" {key.secret}", key.secret[:-1], credentials.new_secret(), "x" * 60 + key.secret * 4):
        response = send(signed_in, CHECK, {"secret": shown})
        said = html(response) + str(dict(response.items())) + html(signed_in.get(PROFILE))
        parts = [shown.strip()[start : start + 6] for start in range(4, len(shown.strip()) - 6)]
        assert [part for part in parts if part in said] == []
        (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "secret"]
        assert not field.get("value")


def test_it_is_in_no_session_and_no_log(signed_in, key, caplog):  # security 3
    signed_in.post(CHECK, {"secret": key.secret})
    assert key.secret not in str(dict(signed_in.session.items()))
    assert key.secret not in caplog.text


def test_it_is_in_no_report_of_a_failure(signed_in, key, monkeypatch, settings):  # security 58
    settings.DEBUG = True

    def fail(*args):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(credentials, "digest", fail)
    signed_in.raise_request_exception = False
    for shown in (key.secret, key.secret[4:]):
        response = signed_in.post(CHECK, {"secret": shown})
        assert response.status_code == 500
        assert shown not in html(response)


def test_a_query_is_not_asked(signed_in, key):  # security 57
    response = signed_in.get(f"{CHECK}?secret={key.secret}")
    assert "It is the current one." not in words(response)


def test_it_changes_nothing(signed_in, user, key):
    before = version(user)
    signed_in.post(CHECK, {"secret": key.secret})
    assert version(user) == before
    assert user.key_events.count() == 1
    assert not ClientSecret.objects.exclude(last_used=None, last_refused=None).exists()


# --- Who may, and how often ------------------------------------------------------------------------------------


def test_it_needs_a_session_and_no_password(signed_in, key):
    assert "It is the current one." in words(long_ago(signed_in).post(CHECK, {"secret": key.secret}))


def test_the_anonymous_are_told_nothing(client, key):
    assert client.get(CHECK).headers["Location"] == f"/accounts/login/?next={CHECK}"
    assert client.post(CHECK, {"secret": key.secret}).headers["Location"] == "/accounts/login/?next=/profile/"
    assert by_htmx(client, CHECK, {}).headers["HX-Redirect"] == "/accounts/login/?next=/profile/"


def test_needs_the_token_of_the_form(user, key):  # security 33
    browser = sign_in(Client(), user)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(CHECK, {"secret": key.secret}).status_code == 403


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_other_methods_are_refused(signed_in, key, method):
    response = getattr(signed_in, method)(CHECK)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_without_a_key_there_is_nothing_to_check(signed_in):
    for response in (signed_in.get(CHECK), signed_in.post(CHECK, {"secret": "x"}), by_htmx(signed_in, CHECK)):
        assert response.status_code == 409
        assert "you don’t have a personal API access key" in words(response)


@both_ways
def test_too_many_have_to_wait_even_with_the_right_one(signed_in, key, send):  # security 32
    for _ in range(10):
        assert send(signed_in, CHECK, {"secret": credentials.new_secret()}).status_code == 200
    response = send(signed_in, CHECK, {"secret": key.secret})
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert "Too many attempts. Wait a minute, then try again." in words(response)
    assert "It is the current one." not in words(response)
    (field,) = [its for its in Tags(html(response))["input"] if its["name"] == "secret"]
    assert field["aria-invalid"] == "true"  # the focus goes there, and it says why


def test_another_session_of_the_same_user_does_not_wait(signed_in, user, key):
    """Whoever sits in a stolen session must not keep the owner from checking."""
    for _ in range(11):
        signed_in.post(CHECK, {"secret": "avs_"})
    assert sign_in(Client(), user).post(CHECK, {"secret": key.secret}).status_code == 200


def test_an_empty_field_is_no_attempt(signed_in, key):
    for _ in range(11):
        signed_in.post(CHECK, {"secret": ""})
    assert answer(signed_in, key.secret) == "It is the current one."


def test_somebody_else_does_not_wait(signed_in, key, client, other_user):
    for _ in range(11):
        signed_in.post(CHECK, {"secret": "avs_"})
    other = make_key(other_user)
    assert answer(sign_in(Client(), other_user), other.secret) == "It is the current one."
