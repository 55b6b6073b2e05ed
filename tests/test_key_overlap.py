"""Regenerate with a later end for the old secret, and ending that one now: what the page asks and tells."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from profiles.clients import lifecycle, tokens, usage
from profiles.models import ClientSecret, KeyEvent, OldSecret, User
from profiles.origin import Origin
from profiles.templatetags.moments import absolute

from .conftest import PASSWORD, KeyPair, make_key, make_token, sign_in, use, works
from .page import (
    END_OLD,
    PROFILE,
    REGENERATE,
    SECTION,
    Response,
    Tags,
    by_htmx,
    html,
    is_whole_page,
    long_ago,
    secrets_in,
    version,
    words,
)

LATER = [OldSecret.FIRST_USE, OldSecret.DAY]
LABELS = {
    "now": "Stops at once",
    "first-use": "Stops when the new one is first used, in 7 days at the latest",
    "24h": "Stops in 24 hours",
}


def regenerate(user: User, old_secret: OldSecret = OldSecret.DAY) -> KeyPair:
    origin = Origin(actor=user, via=KeyEvent.Via.PAGE)
    return KeyPair(*lifecycle.regenerate(owner=user, origin=origin, old_secret=old_secret))


def refuse(pair: KeyPair, **when: object) -> None:
    """As if a program had shown this secret after its end."""
    (row,) = [it for it in pair.key.secrets.all() if it.hint == pair.secret[-4:]]
    usage.note_refusal(row.pk, address="198.51.100.9", user_agent="cron/1")
    ClientSecret.objects.filter(pk=row.pk).update(**when)


def chosen(response: Response) -> str:
    (one,) = [
        its["value"] for its in Tags(html(response))["input"] if its.get("name") == "old_secret" and "checked" in its
    ]
    return one


def ask_in_both_ways(client: Client, path: str) -> tuple[Response, Response]:
    return client.get(path), by_htmx(client, path)


def post(client: Client, path: str, data: dict[str, object]) -> Response:
    return client.post(path, data)


both_ways = pytest.mark.parametrize("send", [post, by_htmx])


# --- The choice ------------------------------------------------------------------------------------------------


def test_the_prompt_has_one_choice_of_three_with_the_first_one_made(signed_in, key):  # page 30
    for response in ask_in_both_ways(signed_in, REGENERATE):
        assert "<legend>The old secret key</legend>" in html(response)
        radios = [its for its in Tags(html(response))["input"] if its["type"] == "radio"]
        assert {its["value"]: its["name"] for its in radios} == dict.fromkeys(LABELS, "old_secret")
        assert chosen(response) == "now"
        for its in radios:
            label = html(response).partition(f'<label for="{its["id"]}">')[2].partition("</label>")[0]
            assert label.endswith(f"<span>{LABELS[its['value']]}</span>")


def test_the_choice_belongs_to_the_form(signed_in, key):
    for response in ask_in_both_ways(signed_in, REGENERATE):
        tags = Tags(html(response))
        (form,) = [its for its in tags["form"] if its["method"] == "post" and its["action"] == REGENERATE]
        assert {its["form"] for its in tags["input"] if its["type"] == "radio"} == {form["id"]}


def test_the_prompt_says_what_each_choice_does(signed_in, key):  # page 30
    text = words(signed_in.get(REGENERATE))
    assert "The old secret key stops working at once, unless you choose otherwise." in text
    assert "stops working when the new one is first used, in 7 days at the latest" in text
    assert "stops working in 24 hours" in text
    assert "The secret key before that one" not in text


def test_the_prompt_says_that_an_older_one_ends_in_any_case(signed_in, user, key):  # security 27
    regenerate(user)
    text = words(signed_in.get(REGENERATE))
    assert f"The secret key before that one, which ends in …{key.secret[-4:]} , stops at once in any case." in text


def test_enter_in_a_choice_does_not_regenerate(signed_in, user, key):  # page 33
    tags = Tags(html(signed_in.get(REGENERATE)))
    form = next(number for number, (_, its) in enumerate(tags.found) if its.get("id") == "confirm")
    first, second, *_ = [its for name, its in tags.found[form:] if name == "button" and "form" not in its]
    assert "disabled" in first
    assert "disabled" not in second
    sent = {"version": version(user), "old_secret": "24h", second["name"]: ""}
    response = signed_in.post(REGENERATE, sent)
    assert response.status_code == 200
    assert chosen(response) == "24h"
    assert not secrets_in(response)
    assert user.key_events.count() == 1


@both_ways
@pytest.mark.parametrize("choice", LATER)
def test_a_later_end_is_kept_and_said(signed_in, user, key, token, send, choice):
    response = send(signed_in, REGENERATE, {"version": version(user), "old_secret": choice.value})
    (new,) = secrets_in(response)
    assert works(key.client_id, new)
    assert tokens.find(token)
    old = ClientSecret.objects.exclude(ends=None).get()
    assert old.ends
    until = "the new one is first used, at the latest until " if choice == OldSecret.FIRST_USE else ""
    assert f"The old secret key works until {until}{absolute(old.ends)}." in words(response)
    assert "no longer work" not in words(response)
    assert KeyEvent.objects.latest("id").old_secret == choice


@both_ways
@pytest.mark.parametrize("choice", [{}, {"old_secret": ""}, {"old_secret": "now"}])
def test_at_once_is_what_nobody_has_to_choose(signed_in, user, key, token, send, choice):  # security 20
    response = send(signed_in, REGENERATE, {"version": version(user), **choice})
    assert "The old secret key and its access tokens no longer work." in words(response)
    assert 'data-action="end-old"' not in html(response)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None


@both_ways
@pytest.mark.parametrize("invented", ["never", "NOW", "7d", "\x00", "x" * 300])
def test_an_invented_choice_changes_nothing(signed_in, user, key, send, invented):
    before = version(user)
    response = send(signed_in, REGENERATE, {"version": before, "old_secret": invented})
    assert response.status_code == 422
    (group,) = Tags(html(response))["fieldset"]
    assert f'id="{group["aria-describedby"]}"' in html(response)
    assert "is not one of the available choices." in words(response)
    assert version(user) == before
    assert works(key.client_id, key.secret)


def test_of_two_choices_the_last_one_counts(signed_in, user, key):
    signed_in.post(REGENERATE, {"old_secret": ["now", "24h"]})
    assert works(key.client_id, key.secret)


@both_ways
def test_the_choice_stays_when_the_password_is_asked_for(signed_in, user, key, send):  # page 34; security 67
    form = {"version": version(user), "old_secret": "24h"}
    asked = send(long_ago(signed_in), REGENERATE, form)
    assert asked.status_code == 200
    assert "Your password" in words(asked)
    assert chosen(asked) == "24h"
    wrong = send(signed_in, REGENERATE, {**form, "password": "wrong"})
    assert wrong.status_code == 422
    assert chosen(wrong) == "24h"
    (field,) = [its for its in Tags(html(wrong))["input"] if its.get("type") == "password"]
    assert "autofocus" in field
    right = send(signed_in, REGENERATE, {**form, "password": PASSWORD})
    assert len(secrets_in(right)) == 1
    assert works(key.client_id, key.secret)


def test_the_choice_is_in_no_query(signed_in, key):
    assert chosen(signed_in.get(f"{REGENERATE}?old_secret=24h")) == "now"


# --- The section while both are good ---------------------------------------------------------------------------


def test_the_section_tells_of_the_old_one(signed_in, user, key):
    regenerate(user)
    response = signed_in.get(PROFILE)
    old = ClientSecret.objects.exclude(ends=None).get()
    assert old.ends
    text = words(response).partition("The old secret key still works")[2].partition("End it now")[0]
    assert f"ends in …{key.secret[-4:]}" in text.replace("ends in  …", "ends in …")
    assert f"Stops {absolute(old.ends)}" in text
    assert "Last used Never used" in text
    (control,) = Tags(html(response)).with_attribute("data-action", "end-old")
    assert control["type"] == "submit"


def test_the_section_says_that_the_first_use_ends_it(signed_in, user, key):
    regenerate(user, OldSecret.FIRST_USE)
    assert "Stops When the new one is first used, at the latest on" in words(signed_in.get(PROFILE))


def test_the_section_says_who_used_which_of_the_two(signed_in, user, key):
    new = regenerate(user)
    use(key, address="203.0.113.7", user_agent="old-job/1")
    use(new, address="203.0.113.8", user_agent="new-job/1")
    text = words(signed_in.get(PROFILE))
    of_old = text.partition("The old secret key still works")[2].partition("End it now")[0]
    assert "from 203.0.113.7, old-job/1" in of_old
    assert "new-job/1" not in of_old
    assert "from 203.0.113.8, new-job/1" in text.partition("End it now")[2]


def test_the_section_tells_of_no_old_one_once_it_has_ended(signed_in, user, key):
    regenerate(user)
    ClientSecret.objects.exclude(ends=None).update(ends=timezone.now())
    assert "still works" not in words(signed_in.get(PROFILE))
    assert 'data-action="end-old"' not in html(signed_in.get(PROFILE))


def test_events_say_what_was_chosen_and_what_ended_it(signed_in, user, key):
    new = regenerate(user, OldSecret.FIRST_USE)
    use(new, user_agent="new-job/1")
    text = words(signed_in.get(PROFILE))
    assert f"Secret key regenerated. The old secret key: {LABELS['first-use']}" in text
    assert "Old secret key ended" in text
    assert "By the first use of the new secret key, from 203.0.113.7" in text


# --- End it now ------------------------------------------------------------------------------------------------


def test_ending_is_asked_for_in_two_shells(signed_in, user, key):
    regenerate(user)
    page, part = ask_in_both_ways(signed_in, END_OLD)
    assert is_whole_page(page)
    assert not is_whole_page(part)
    assert part.headers["HX-Retarget"] == "#key-dialog-body"
    for response in (page, part):
        assert response.status_code == 200
        assert "no-store" in response.headers["Cache-Control"]
        text = words(response)
        assert "End the old secret key now?" in text
        assert (
            f"The old secret key, which ends in …{key.secret[-4:]} , and the access tokens obtained with it stop"
            in text
        )
        assert "The new one goes on working." in text
        assert "data-confirm>End it now</button>" in html(response)
        (focused,) = Tags(html(response)).with_attribute("autofocus")
        assert "data-close-dialog" in focused  # page 26
    assert works(key.client_id, key.secret)


def test_the_prompt_warns_when_the_new_one_was_never_used(signed_in, user, key):
    new = regenerate(user)
    assert "The new secret key has not been used yet." in words(signed_in.get(END_OLD))
    use(new)
    assert "has not been used yet" not in words(signed_in.get(END_OLD))


def test_ends_the_old_one_and_says_so(signed_in, user, key, token):  # security 27
    new = regenerate(user)
    fresh = make_token(new)
    response = signed_in.post(END_OLD, {"version": version(user)})
    assert (response.status_code, response.headers["Location"]) == (302, SECTION)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    assert works(new.client_id, new.secret)
    assert tokens.find(fresh)
    assert "The old secret key was ended on" in words(signed_in.get(PROFILE))
    assert "was ended on" not in words(signed_in.get(PROFILE))


def test_htmx_gets_the_section_with_the_focus_on_its_heading(signed_in, user, key):  # page 27
    regenerate(user)
    response = by_htmx(signed_in, END_OLD, {"version": version(user)})
    assert (response.status_code, response.headers["HX-Retarget"]) == (200, "#api-key")
    assert "The old secret key was ended on" in words(response)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["id"] == "api-key-title"  # the opener is gone
    assert 'data-action="end-old"' not in html(response)


@both_ways
def test_the_form_sent_again_changes_nothing(signed_in, user, key, send):  # page 8, 44
    new = regenerate(user)
    form = {"version": version(user)}
    send(signed_in, END_OLD, form)
    again = send(signed_in, END_OLD, form)
    assert again.status_code == 409
    assert "The old secret key of this key stopped at" in words(again)
    assert "Nothing was done now." in words(again)
    assert "can no longer be shown" not in words(again)  # it was not about that
    assert works(new.client_id, new.secret)
    assert KeyEvent.objects.filter(action="old_secret_ended").count() == 1


def test_a_form_of_before_another_regenerate_ends_nothing(signed_in, user, key):  # page 44
    first = regenerate(user)
    form = {"version": version(user)}
    regenerate(user)
    assert signed_in.post(END_OLD, form).status_code == 409
    assert works(first.client_id, first.secret)


@pytest.mark.parametrize("ask", [Client.get, Client.post, by_htmx, lambda client, path: by_htmx(client, path, {})])
def test_without_an_old_one_there_is_none_to_end(signed_in, user, key, ask):
    response = ask(signed_in, END_OLD)
    assert response.status_code == 409
    assert "Nothing was done: there is no old secret key that still works." in words(response)
    assert works(key.client_id, key.secret)


def test_without_a_key_there_is_none_to_end(signed_in):
    for response in ask_in_both_ways(signed_in, END_OLD):
        assert response.status_code == 409
        assert "you don’t have a personal API access key" in words(response)


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_only_a_post_ends_it(signed_in, user, key, method):  # security 33
    regenerate(user)
    response = getattr(signed_in, method)(END_OLD)
    assert response.status_code == (200 if method in ("get", "head") else 405)
    assert works(key.client_id, key.secret)


def test_the_anonymous_end_nothing(client, user, key):
    regenerate(user)
    assert client.get(END_OLD).headers["Location"] == f"/accounts/login/?next={END_OLD}"
    assert client.post(END_OLD).headers["Location"] == "/accounts/login/?next=/profile/"
    assert by_htmx(client, END_OLD, {}).headers["HX-Redirect"] == "/accounts/login/?next=/profile/"
    assert works(key.client_id, key.secret)


def test_somebody_else_ends_only_what_is_their_own(client, user, key, other_user):  # security 34
    regenerate(user)
    make_key(other_user)
    response = sign_in(client, other_user).post(END_OLD, {"client_id": key.client_id})
    assert response.status_code == 409
    assert works(key.client_id, key.secret)


def test_needs_the_token_of_the_form(user, key):  # security 33
    regenerate(user)
    browser = sign_in(Client(), user)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(END_OLD).status_code == 403
    assert works(key.client_id, key.secret)


def test_asks_for_the_password_if_that_was_long_ago(signed_in, user, key):  # security 30
    regenerate(user)
    form = {"version": version(user)}
    assert "Your password" in words(long_ago(signed_in).post(END_OLD, form))
    assert signed_in.post(END_OLD, {**form, "password": "wrong"}).status_code == 422
    assert works(key.client_id, key.secret)
    assert signed_in.post(END_OLD, {**form, "password": PASSWORD}).status_code == 302
    assert not works(key.client_id, key.secret)


# --- A secret that was tried after its end ---------------------------------------------------------------------


def test_the_owner_is_told_that_it_was_tried(signed_in, user, key):  # security 28
    regenerate(user, OldSecret.NOW)
    refuse(key)
    row = ClientSecret.objects.exclude(ends=None).get()
    assert row.last_refused
    text = words(signed_in.get(PROFILE))
    assert (
        f"An ended secret key, which ends in …{key.secret[-4:]} , was last refused on {absolute(row.last_refused)}"
        in text
    )
    assert "from 198.51.100.9, cron/1." in text


def test_a_secret_that_was_never_tried_is_not_told_of(signed_in, user, key):
    regenerate(user, OldSecret.NOW)
    assert "last refused" not in words(signed_in.get(PROFILE))


def test_the_newest_of_several_is_told(signed_in, user, key):
    second = regenerate(user, OldSecret.NOW)
    regenerate(user, OldSecret.NOW)
    refuse(second, last_refused=timezone.now() - timedelta(hours=1))
    refuse(key)
    text = words(signed_in.get(PROFILE))
    assert text.count("last refused") == 1
    assert f"…{key.secret[-4:]} , was last refused" in text


@pytest.mark.parametrize(("days", "told"), [(29, True), (30, False)])
def test_that_is_told_for_thirty_days(signed_in, user, key, days, told):  # security 28
    regenerate(user, OldSecret.NOW)
    refuse(key, last_refused=timezone.now() - timedelta(days=days))
    assert ("last refused" in words(signed_in.get(PROFILE))) == told


def test_nobody_else_is_told(client, user, key, other_user):  # security 28
    make_key(other_user)
    regenerate(user, OldSecret.NOW)
    refuse(key)
    assert "last refused" not in words(sign_in(client, other_user).get(PROFILE))


# --- A key whose secret was reported as leaked -----------------------------------------------------------------


@pytest.fixture
def leaked(key) -> KeyPair:
    ClientSecret.objects.update(ended=True, ends=timezone.now(), end_reason=ClientSecret.EndReason.LEAKED)
    return key


def test_a_leaked_secret_is_said_in_words_and_regenerate_is_the_way_on(signed_in, leaked):
    response = signed_in.get(PROFILE)
    text = words(response)
    assert "The secret key was reported as leaked, and ended on" in text
    assert "Secret key None that works" in text
    assert '<span class="badge on">' not in html(response)
    assert [its["data-action"] for its in Tags(html(response)).with_attribute("data-action")] == [
        "regenerate",
        "check",
        "delete",
    ]


def test_that_a_leaked_secret_was_tried_is_told_for_thirty_days_too(signed_in, leaked):
    refuse(leaked)
    text = words(signed_in.get(PROFILE))
    assert "last refused" in text
    assert "give it the current one" not in text  # there is none
    refuse(leaked, last_refused=timezone.now() - timedelta(days=31))
    assert "last refused" not in words(signed_in.get(PROFILE))


def test_with_no_live_secret_there_is_nothing_to_choose(signed_in, user, leaked):
    asked = signed_in.get(REGENERATE)
    assert "No secret key of this key works any more." in words(asked)
    assert not Tags(html(asked))["fieldset"]
    (new,) = secrets_in(signed_in.post(REGENERATE, {"version": version(user)}))
    assert works(leaked.client_id, new)
    assert "reported as leaked" not in words(signed_in.get(PROFILE))
