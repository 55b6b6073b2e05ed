"""A credential that somebody has found: whoever has it ends it, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import urlize

from profiles import credentials
from profiles.clients import company, leaks, lifecycle, tokens
from profiles.clients.leaks import Found
from profiles.models import AccessToken, ClientSecret, Company, KeyEvent, OldSecret, User
from profiles.origin import Origin
from profiles.templatetags.moments import absolute

from .admin_site import browser_of
from .api_clients import at_once
from .conftest import KeyPair, make_client, make_key, make_token, sign_in, works
from .page import PROFILE, words
from .test_notices import parts

pytestmark = pytest.mark.django_db

ADDRESS, AGENT = "198.51.100.9", "GitHub-Hookshot/1"
ORIGIN = Origin(None, KeyEvent.Via.REPORT, ADDRESS, AGENT)
PAGE = Origin(None, KeyEvent.Via.PAGE)
KEYS = "/admin/profiles/oauthapplication/"
PUBLIC = Found("", "airvantage_secret", "https://github.example/a/b/blob/main/.env", "content")


def report(*texts: str) -> leaks.Outcome:
    return leaks.end(map(Found, texts), origin=ORIGIN)


def events() -> list[str]:
    """The actions of the events of leaks, the oldest first."""
    return list(KeyEvent.objects.filter(action__contains="leaked").order_by("id").values_list("action", flat=True))


@pytest.fixture(params=["key", "api_client"])
def pair(request) -> KeyPair:
    """A client of each kind."""
    found: KeyPair = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def replace(pair, manager) -> Callable[..., KeyPair]:
    """Regenerates it, as its people do."""

    def regenerate(old_secret: OldSecret = OldSecret.NOW) -> KeyPair:
        if pair.key.is_companys:
            of: dict[str, Any] = {"company": pair.key.company, "client_id": pair.client_id}
            origin = Origin(manager, KeyEvent.Via.CLIENTS)
            return KeyPair(*company.regenerate(**of, origin=origin, old_secret=old_secret))
        return KeyPair(*lifecycle.regenerate(owner=pair.key.owner, origin=PAGE, old_secret=old_secret))

    return regenerate


# --- What ends --------------------------------------------------------------------------------------------------


def test_a_live_secret_ends_with_its_tokens_and_the_client_stays(pair, replace):  # security 65
    token = make_token(pair)
    assert report(pair.secret) == leaks.Outcome(secrets=1, credentials=1)
    assert tokens.find(token) is None
    with pytest.raises(tokens.SecretEnded) as refused:
        tokens.authenticate(client_id=pair.client_id, secret=pair.secret)
    assert refused.value.end.reason == "leaked"
    event = KeyEvent.objects.get(action=KeyEvent.Action.LEAKED)
    assert (event.client_id, event.via, event.address, event.user_agent) == (pair.client_id, "report", ADDRESS, AGENT)
    assert (event.actor_uid, event.client_name) == ("", pair.key.name)
    new = replace(OldSecret.DAY)
    assert works(new.client_id, new.secret)
    assert new.client_id == pair.client_id
    assert not works(pair.client_id, pair.secret)


def test_a_second_report_changes_nothing(pair, django_capture_on_commit_callbacks, mailoutbox):  # security 65
    token = make_token(pair)
    with django_capture_on_commit_callbacks(execute=True):
        report(token)
        report(pair.secret)
    before, mails = list(ClientSecret.objects.values()), len(mailoutbox)
    assert mails
    with django_capture_on_commit_callbacks(execute=True):
        assert report(pair.secret, token, pair.secret) == leaks.Outcome(credentials=2)
    assert list(ClientSecret.objects.values()) == before
    assert events() == ["token_leaked", "leaked"]
    assert len(mailoutbox) == mails


def test_what_ended_before_stays_as_it_was(pair, replace):  # security 65
    new = replace()
    before = list(ClientSecret.objects.values())
    assert report(pair.secret, credentials.new_secret(), credentials.new_token()).secrets == 0
    assert (list(ClientSecret.objects.values()), events()) == (before, [])
    assert works(new.client_id, new.secret)


def test_a_client_that_is_gone_has_nothing_to_end(user, key):
    token = make_token(key)
    lifecycle.delete(owner=user, origin=PAGE)
    assert report(key.secret, token) == leaks.Outcome(credentials=2)
    assert events() == []


@pytest.mark.parametrize("choice", [OldSecret.DAY, OldSecret.FIRST_USE])
def test_of_two_live_secrets_the_one_that_was_found_ends(pair, replace, choice):
    token = make_token(pair)
    new = replace(choice)
    assert report(pair.secret).secrets == 1
    assert (works(pair.client_id, pair.secret), tokens.find(token)) == (False, None)
    assert works(new.client_id, new.secret)
    assert events() == ["old_secret_leaked"]
    assert not ClientSecret.objects.leaked().exists()


def test_of_two_live_secrets_the_new_one_can_be_the_one_that_was_found(pair, replace):
    new = replace(OldSecret.DAY)
    assert report(new.secret).secrets == 1
    assert (works(pair.client_id, pair.secret), works(new.client_id, new.secret)) == (True, False)
    assert events() == ["leaked"]
    assert ClientSecret.objects.leaked().exists()
    newest = replace(OldSecret.DAY)
    assert [works(it.client_id, it.secret) for it in (pair, new, newest)] == [False, False, True]


def test_the_old_one_that_is_found_after_the_new_one_is_not_told_as_if_that_still_worked(pair, replace):
    new = replace(OldSecret.DAY)
    for secret in (new.secret, pair.secret):
        assert report(secret).secrets == 1
    assert events() == ["leaked", "leaked"]


def test_both_at_once_are_one_event(pair, replace):
    new = replace(OldSecret.DAY)
    assert report(pair.secret, new.secret).secrets == 2
    assert events() == ["leaked"]


def test_a_token_ends_alone(pair):  # security 65
    found, other = make_token(pair), make_token(pair)
    assert report(found) == leaks.Outcome(tokens=1, credentials=1)
    assert tokens.find(found) is None
    assert tokens.find(other)
    assert works(pair.client_id, pair.secret)
    event = KeyEvent.objects.get(action=KeyEvent.Action.TOKEN_LEAKED)
    assert (event.client_id, event.detail) == (pair.client_id, "1 access token")


def test_a_token_whose_secret_was_found_too_is_not_told_again(pair):
    assert report(make_token(pair), pair.secret) == leaks.Outcome(secrets=1, credentials=2)
    assert events() == ["leaked"]


def test_what_is_switched_off_ends_too_for_it_could_be_switched_on_again(api_client, manager):
    token = make_token(api_client)
    of: dict[str, Any] = {"company": manager.company, "client_id": api_client.client_id}
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    company.switch(enabled=False, origin=origin, **of)
    assert report(token).tokens == 1
    assert report(api_client.secret).secrets == 1
    company.switch(enabled=True, origin=origin, **of)
    assert tokens.find(token) is None
    assert not works(api_client.client_id, api_client.secret)


def test_a_token_that_has_expired_is_nothing_to_end(pair):
    token = make_token(pair)
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert report(token).tokens == 0
    assert events() == []


@pytest.mark.parametrize("around", ["  {}\n", "https://x:{}@keys.example/", '"SECRET={}";', "avs_{}", "{}avt_", "x{}x"])
def test_a_credential_is_found_whatever_stands_around_it(key, around):
    assert report(around.format(key.secret)).secrets == 1


def test_what_can_be_no_credential_never_reaches_the_database(key, django_assert_num_queries):  # security 86
    swapped = key.secret[:-1] + ("A" if key.secret[-1] != "A" else "B")
    with django_assert_num_queries(0):
        assert report("", "x", swapped, key.secret[:-1], key.client_id, "\ud800", "avs_" * 300).credentials == 0


def test_unknown_ones_take_two_statements_whatever_their_number(key, django_assert_num_queries):  # security 86
    for number in (1, 1000):
        unknown = [credentials.new_secret() for _ in range(number)] + [credentials.new_token() for _ in range(number)]
        with django_assert_num_queries(2):
            report(*unknown)


def test_the_tokens_of_a_client_end_by_one_change_whatever_their_number(key):
    def statements(number: int) -> int:
        found = [make_token(key) for _ in range(number)]
        with CaptureQueriesContext(connection) as done:
            assert report(*found).tokens == number
        return len(done)

    few = statements(10)
    assert statements(1000) < few + 25  # Django deletes a hundred rows at a time
    told = KeyEvent.objects.filter(action=KeyEvent.Action.TOKEN_LEAKED).values_list("detail", flat=True)
    assert list(told) == ["1,000 access tokens", "10 access tokens"]


def test_each_client_has_an_event_of_its_own(key, other_user, api_client):
    other = make_key(other_user)
    assert report(key.secret, other.secret, api_client.secret).secrets == 3
    assert set(KeyEvent.objects.filter(action="leaked").values_list("client_id", flat=True)) == {
        key.client_id,
        other.client_id,
        api_client.client_id,
    }


@pytest.mark.server
def test_two_reports_at_once_and_a_regenerate_end_each_secret_once(server):  # security 65
    """Whoever comes first: the secret is dead afterwards, and at most one report has ended it."""
    before = """
from profiles.clients import leaks
from profiles.models import OldSecret
client, secret = company.create(about=company.About(f"Leaked {number}", "", profile), **of)
def report(): return leaks.end([leaks.Found(secret)], origin=Origin(None, "report"))
"""
    regenerate = "company.regenerate(client_id=client.client_id, old_secret=OldSecret.DAY, **of)"
    after = """[
        ClientSecret.objects.live().filter(digest=credentials.digest(secret)).count(),
        ClientSecret.objects.filter(client_id=client.client_id, ends=None).count(),
        KeyEvent.objects.filter(client_id=client.client_id, action__contains="leaked").count(),
    ]""".replace("credentials.", "__import__('profiles.credentials').credentials.")
    for outcomes, left in at_once(server, ["report()", regenerate, "report()"], before=before, after=after, rounds=5):
        assert outcomes == ["done"] * 3
        assert left == [0, 1, 1]


# --- How it is read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"credentials": []}, []),
        ({"credentials": ["a", "b"], "more": 1}, [Found("a"), Found("b")]),
        ([], []),
        ([{"token": "a"}], [Found("a")]),
        ([{"token": "a", "type": None, "url": "u", "source": "s", "more": [1]}], [Found("a", "", "u", "s")]),
        ([{"token": "a", "type": 1, "url": ["u"], "source": {"s": "s"}}], [Found("a")]),
        ([{"token": "a", "type": "t", "url": False}, {"token": "b"}], [Found("a", "t"), Found("b")]),
    ],
)
def test_both_forms_are_read(sent, found):
    body = json.dumps(sent).encode()
    assert leaks.read(body) == found
    assert leaks.read(b"\xef\xbb\xbf" + body) == found  # as some programs of Windows write UTF-8


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"avs_x",
        b"\xff",
        '{"credentials": ["a"]}'.encode("utf-16"),
        b'{"credentials": ["a"], "credentials": ["b"]}',
        b'[{"token": "a", "token": "b"}]',
        b'{"credentials": [NaN]}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"1" * 60_000,
    ],
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(leaks.NotJson):
        leaks.read(body)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        1,
        "avs_x",
        {},
        {"credentials": None},
        {"credentials": "avs_x"},
        {"credentials": {"0": "avs_x"}},
        {"credentials": [1]},
        {"credentials": ["a", None]},
        {"credentials": [["a"]]},
        ["avs_x"],
        [{}],
        [{"token": None}],
        [{"token": 1}],
        [{"token": "a"}, 1],
        {"credentials": ["a"] * 1001},
        [{"token": "a"}] * 1001,
    ],
)
def test_what_is_no_list_of_credentials_is_refused(sent):
    with pytest.raises(leaks.NoList):
        leaks.read(json.dumps(sent).encode())


# --- What its people are told -----------------------------------------------------------------------------------


def test_what_the_reporter_says_is_kept_as_text(key):  # security 78, 80
    said = Found(
        f"x {key.secret}",
        "a\nb; url: \x1b[31m\u202e",
        f"https://github.example/?token={credentials.new_token()}&<b>",
        "x" * 1000,
    )
    leaks.end([said], origin=ORIGIN)
    detail = KeyEvent.objects.get(action="leaked").detail
    assert detail == (
        f"type: a b, url: \\x1b[31m\\u202e; url: https://github.example/?token=avt_***&<b>; source: {'x' * 60}"
    )


def test_of_many_places_the_first_are_told(key):
    leaks.end([Found(key.secret, url=f"u{n}") for n in (1, 1, 2, 3, 4, 5)], origin=ORIGIN)
    assert KeyEvent.objects.get(action="leaked").detail == "url: u1 / url: u2 / url: u3 / and 2 more"


def said_of(pair: KeyPair) -> None:
    leaks.end([PUBLIC._replace(text=pair.secret)], origin=ORIGIN)


def test_the_owner_is_mailed_when_how_and_what_to_do(
    user, key, django_capture_on_commit_callbacks, mailoutbox
):  # security 61, 65
    with django_capture_on_commit_callbacks(execute=True):
        said_of(key)
    event = KeyEvent.objects.get(action="leaked")
    (mail,) = mailoutbox
    assert mail.to == [user.email]
    for text in parts(mail):
        assert f"{event.time:%Y-%m-%d %H:%M:%S} UTC" in text
        assert "whoever found it" in text
        assert ADDRESS in text
        assert AGENT in text
        # Complete, and no program makes a link of it.
        where = "hxxps://github[.]example/a/b/blob/main/[.]env"
        assert f"type: airvantage_secret; url: {where}; source: content" in text
        assert "github.example" not in text
        assert "Regenerate the secret key, to use the key again:" in " ".join(text.split())
        assert "If an old secret key was to work for a while, it still does" in " ".join(text.split())
        assert "http://127.0.0.1:8000/profile/#api-key" in text
        assert key.secret not in text


@pytest.mark.parametrize(
    ("said", "mailed"),
    [
        (
            "https://github.com/octocat/Hello-World/blob/12/foo.txt",
            "hxxps://github[.]com/octocat/Hello-World/blob/12/foo[.]txt",
        ),
        ("HTTP://Keys.example:8080/?a=1.2#b.", "hxxp://Keys[.]example:8080/?a=1[.]2#b."),
        ("https://me:word@192.0.2.1/http://b", "hxxps://me[:]word[@]192[.]0[.]2[.]1/hxxp://b"),
        ("ftp://files.example/x", "ftp[:]//files[.]example/x"),
        ("mailto:me@keys.example", "mailto[:]me[@]keys[.]example"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("//keys.example www.keys.example", "//keys[.]example www[.]keys[.]example"),
        ("a commit at 12:30, in version 2", "a commit at 12:30, in version 2"),
    ],
)
def test_a_place_is_mailed_complete_and_is_no_link(said, mailed, key, django_capture_on_commit_callbacks, mailoutbox):
    with django_capture_on_commit_callbacks(execute=True):
        leaks.end([Found(key.secret, url=said)], origin=ORIGIN)
    assert urlize(mailed) == mailed
    text, html = parts(mailoutbox[0])
    assert f"Reported: url: {mailed}\n" in text
    assert f">url: {mailed}</td>" in html


def test_who_may_edit_an_api_client_is_mailed(
    api_client, manager, django_capture_on_commit_callbacks, mailoutbox
):  # security 61, 65
    with django_capture_on_commit_callbacks(execute=True):
        said_of(api_client)
        report(make_token(make_client(manager, api_client.key.access_profile, "Other")))
    leaked, token = [mail for mail in mailoutbox if "found by somebody" in mail.subject]
    assert leaked.to == token.to == [manager.email]
    for text in parts(leaked):
        assert "If an old secret key was to work for a while, it still does" in " ".join(text.split())
        assert f"/develop/api/clients/{api_client.client_id}/" in text
        assert "Regenerate the secret key, to use the API Client again:" in " ".join(text.split())
    for text in parts(token):
        assert "1 access token" in text


def test_three_mails_a_day_whatever_the_number_of_tokens(
    pair, other_user, django_capture_on_commit_callbacks, mailoutbox
):
    """Who holds one secret can take tokens and report them, one by one."""
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(5):
            report(make_token(pair))
    assert events() == ["token_leaked"] * 5
    assert len(mailoutbox) == 3
    with django_capture_on_commit_callbacks(execute=True):
        report(make_token(make_key(other_user)))  # another client has mails of its own
        report(pair.secret)  # and this is worse
    assert len([mail for mail in mailoutbox if "found by somebody" in mail.subject]) == 5


def test_a_day_later_a_leaked_token_is_mailed_again(pair, django_capture_on_commit_callbacks, mailoutbox, monkeypatch):
    now = timezone.now()
    with django_capture_on_commit_callbacks(execute=True):
        for hours in (0, 0, 0, 23, 48):
            monkeypatch.setattr(timezone, "now", lambda hours=hours: now + timedelta(hours=hours))
            report(make_token(pair))
    assert len(mailoutbox) == 4
    assert "at most three such mails in 24 hours" in " ".join(str(mailoutbox[0].body).split())


def test_my_profile_says_leaked_and_how(user, client, key):  # page 3; security 65
    said_of(key)
    response = sign_in(client, user).get(PROFILE)
    text = words(response)
    assert "Leaked: regenerate" in text
    assert "The secret key was reported as leaked, and ended on" in text
    assert "Secret key reported as leaked, and ended" in text
    assert f"By a report of whoever found it, from {ADDRESS}. type: airvantage_secret; url: {PUBLIC.url}" in text
    assert f'href="{PUBLIC.url}' not in response.content.decode()
    lifecycle.regenerate(owner=user, origin=PAGE)
    assert "Leaked: regenerate" not in words(client.get(PROFILE))


@pytest.mark.parametrize("choice", [OldSecret.DAY, OldSecret.FIRST_USE])
def test_that_the_old_secret_still_works_is_told_with_the_leak_of_the_new_one(pair, replace, manager, client, choice):
    """Of both kinds of client, on its page and in each prompt; and nothing of a first use, which cannot come."""
    said_of(replace(choice))
    old = ClientSecret.objects.live().get()
    assert old.ends
    is_companys = pair.key.is_companys
    address = f"/develop/api/clients/{pair.client_id}/" if is_companys else PROFILE
    prompts = address if is_companys else f"{PROFILE}api-key/"
    browser = sign_in(client, manager if is_companys else pair.key.owner)
    text = words(browser.get(address))
    assert "The new secret key was reported as leaked, and ended on" in text
    said = f"The old one still works until {absolute(old.ends)}. Regenerate the secret key before then."
    assert said in text
    assert "Secret key The new one no longer works" in text
    assert "None that works" not in text
    assert "to use this" not in text.partition(said)[0]
    assert "The old secret key still works" in text
    regenerate, end_old = (words(browser.get(f"{prompts}{name}/")) for name in ("regenerate", "end-old"))
    assert "The new secret key was reported as leaked, and no longer works." in regenerate
    assert f"The old one, which ends in …{old.hint} , still does, but stops at once" in regenerate
    assert "No secret key of" not in regenerate
    assert "Then none works until the secret key is regenerated." in end_old
    assert "goes on working" not in end_old
    assert "has not been used yet" not in end_old
    checked = words(browser.post(f"{prompts}check/", {"secret": pair.secret}))
    assert f"It is the old one, good until {absolute(old.ends)}." in checked
    assert "When the new one is first used" not in text  # the event of Regenerate says what was chosen
    assert "first used" not in regenerate + end_old + checked


def test_a_form_from_before_the_report_does_nothing(signed_in, user, key):  # page 44
    version = lifecycle.version(user)
    said_of(key)
    response = signed_in.post("/profile/api-key/regenerate/", {"version": version, "old_secret": "24h"})
    assert response.status_code == 409
    assert "The secret key of this key was reported as leaked at" in words(response)


def test_the_list_of_api_clients_and_their_page_say_leaked(api_client, manager, client):
    said_of(api_client)
    browser = sign_in(client, manager)
    for address in ("/develop/api/clients/", f"/develop/api/clients/{api_client.client_id}/"):
        text = words(browser.get(address))
        assert "Leaked: regenerate" in text
        assert "By a report of whoever found it" in text


def test_activity_tells_it(signed_in, user, key):
    said_of(key)
    assert "By a report of whoever found it" in words(signed_in.get("/accounts/activity/"))


def test_the_admin_site_has_them_in_one_list(key, other_user, api_client, admin_user):
    make_key(other_user)
    said_of(key)
    said_of(api_client)
    admin = browser_of(admin_user)

    def listed(state: str) -> set[str]:
        return {found.client_id for found in admin.get(f"{KEYS}?state={state}").context["cl"].result_list}

    assert "Its programs stand still, or soon will, until it is regenerated." in words(admin.get("/admin/"))
    assert listed("leaked") == listed("no-secret") == {key.client_id, api_client.client_id}
    assert len(listed("enabled")) == 1
    assert "Leaked and not regenerated" in words(admin.get(f"{KEYS}?state=leaked"))
    lifecycle.regenerate(owner=key.key.owner, origin=PAGE)
    assert listed("leaked") == {api_client.client_id}
    assert key.client_id in listed("enabled")


def test_events_tell_staff_what_the_reporter_says(key, admin_user):
    said_of(key)
    event = KeyEvent.objects.get(action="leaked")
    page = browser_of(admin_user).get(f"/admin/profiles/keyevent/{event.pk}/change/")
    assert PUBLIC.url in words(page)
    assert f'href="{PUBLIC.url}' not in page.content.decode()


def test_an_owner_who_is_not_let_in_gets_no_mail_but_the_secret_ends(
    user, key, django_capture_on_commit_callbacks, mailoutbox
):
    Company.objects.update(is_active=False)
    User.objects.filter(pk=user.pk).update(is_active=False)
    with django_capture_on_commit_callbacks(execute=True):
        assert report(key.secret).secrets == 1
    assert mailoutbox == []
