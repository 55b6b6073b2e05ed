"""Guessing passwords: whoever guesses is stopped, the owner is not."""

from __future__ import annotations

import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from profiles.limits import known_browsers
from profiles.models import AccountEvent, Attempts

from .conftest import PASSWORD, sign_in
from .page import PROFILE, REGENERATE, html, long_ago, words
from .server import Server, postgres_url, running, sqlite_url
from .visitor import Visitor

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
REAUTHENTICATE = "/accounts/reauthenticate/"
CHANGE_PASSWORD = "/accounts/password/change/"
NEW = "Another long enough passw0rd"
HERE, THERE = "198.51.100.1", "203.0.113.9"
KNOWN = "known"


def give(client: Client, email: str, password: str = "wrong", address: str = HERE) -> int:
    status: int = client.post(LOGIN, {"login": email, "password": password}, REMOTE_ADDR=address).status_code
    return status


# One for all: setting a browser up reads all static files.
_stranger = Client()


def guess(email: str, password: str = "wrong", address: str = HERE) -> int:
    """A password in a browser that is new here."""
    _stranger.cookies.clear()
    return give(_stranger, email, password, address)


def flood(email: str, *, addresses: int, each: int = 5) -> None:
    """Wrong passwords from so many addresses."""
    for number in range(addresses):
        for _ in range(each):
            guess(email, address=f"203.0.113.{number}")


def later(**time_gone: float) -> None:
    """Let time go by for all counters."""
    for counter in Attempts.objects.all():
        counter.ends -= timedelta(**time_gone)
        counter.save()


@pytest.fixture
def at_home(user) -> Client:
    """The owner's browser, signed out: it has signed in before."""
    browser = sign_in(Client(), user)
    browser.post("/accounts/logout/")
    return browser


# --- Signing in -----------------------------------------------------------------------------------------------


def test_guesses_from_one_address_are_stopped_and_the_owner_elsewhere_is_not(user):  # security 71
    assert [guess(user.email) for _ in range(7)] == [200] * 5 + [429] * 2
    assert guess(user.email, PASSWORD) == 429
    assert guess(user.email, PASSWORD, THERE) == 302


def test_guesses_from_many_addresses_are_stopped_and_the_owners_browser_is_not(user, at_home):  # security 71
    flood(user.email, addresses=11)
    assert guess(user.email, PASSWORD, THERE) == 429  # whoever is new here waits
    assert give(at_home, user.email, PASSWORD, THERE) == 302


def test_neighbours_at_the_owners_address_do_not_stop_the_owners_browser(user, at_home):  # security 71
    for number in range(12):
        guess(f"nobody{number}@example.com")
    assert guess("anybody@example.com") == 429
    for _ in range(6):
        guess(user.email)
    assert give(at_home, user.email, PASSWORD) == 302


def test_one_address_alone_never_fills_what_all_share(user):  # security 71
    for _ in range(60):
        guess(user.email)
        later(minutes=1)
    assert guess(user.email, PASSWORD) == 429
    assert guess(user.email, PASSWORD, THERE) == 302


def test_an_attack_over_a_day_is_stopped_at_a_hundred_guesses(user, at_home):  # security 71
    for _ in range(6):
        flood(user.email, addresses=10, each=4)
        later(minutes=15)
    assert AccountEvent.objects.filter(owner=user, action="sign_in_failed").count() == 100
    response = Client().post(LOGIN, {"login": user.email, "password": PASSWORD}, REMOTE_ADDR=THERE)
    assert "Wait until tomorrow, then try again." in words(response)
    assert 12 * 3600 < int(response.headers["Retry-After"]) <= 24 * 3600
    assert give(at_home, user.email, PASSWORD, THERE) == 302
    later(days=1)
    assert guess(user.email, PASSWORD, THERE) == 302  # it never stops for good


def test_an_ipv6_network_is_one_address(user):  # security 71, 76
    tries = [guess(user.email, address=f"2001:db8:1:2::{n:x}") for n in range(1, 8)]
    assert tries == [200] * 5 + [429] * 2
    assert guess(user.email, PASSWORD, "2001:db8:1:3::1") == 302
    assert guess(user.email, address="::ffff:198.51.100.7") == 200
    assert [guess(user.email, address="198.51.100.7") for _ in range(5)] == [200] * 4 + [429]


def test_the_refusal_is_kind_and_names_the_ways_in(user):
    for _ in range(5):
        guess(user.email)
    response = Client().post(LOGIN, {"login": user.email, "password": PASSWORD}, REMOTE_ADDR=HERE)
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert "Too many attempts. Wait a minute, then try again." in words(response)
    assert "in a browser in which you have signed in before" in words(response)
    assert 'href="/accounts/password/reset/"' in html(response)


def test_a_new_browser_gets_in_by_a_mailed_link_whoever_is_at_the_door(user, at_home):  # security 71
    flood(user.email, addresses=11)
    visitor = Client()
    visitor.post("/accounts/password/reset/", {"email": user.email})
    (link,) = re.findall(r"http://\S+/password/reset/key/\S+", str(mail.outbox.pop().body))
    visitor.post(visitor.get(link).headers["Location"], {"password1": NEW, "password2": NEW})
    assert guess(user.email, NEW, THERE) == 429
    assert give(visitor, user.email, NEW, THERE) == 302


def test_success_takes_back_its_own_try_and_no_others(user):  # security 71
    for _ in range(4):
        guess(user.email)
    assert guess(user.email, PASSWORD) == 302
    assert [guess(user.email) for _ in range(2)] == [200, 429]


def test_success_in_a_known_browser_forgets_its_own_failures(user, at_home):
    for _ in range(3):
        assert [give(at_home, user.email) for _ in range(9)] == [200] * 9
        assert give(at_home, user.email, PASSWORD) == 302
        at_home.post("/accounts/logout/")


def test_all_addresses_of_an_account_count_together(user):
    EmailAddress.objects.create(user=user, email="former@example.com", verified=True)
    tries = [guess(email) for email in (user.email, "former@example.com", "USER@example.com") * 2]
    assert tries == [200] * 5 + [429]


def test_accounts_that_nobody_has_are_limited_alike(user):  # security 71
    for email in (user.email, "nobody@example.com"):
        Attempts.objects.all().delete()
        _stranger.cookies.clear()
        answers = [_stranger.post(LOGIN, {"login": email, "password": "wrong"}) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in answers[5:])
        assert not any(KNOWN in answer.cookies for answer in answers)


def test_a_wrong_password_asks_the_database_as_much_whether_there_is_an_account(
    user, django_assert_num_queries
):  # security 8, 71
    for email in (user.email, "nobody@example.com"):
        for _ in range(2):
            # 1, 2 whose address it is, 3 the counters, 4 count, 5, 6 whose password it is, 7 the event, or a counter
            with django_assert_num_queries(7):
                guess(email)


def test_no_address_of_anybody_is_in_the_counters(user):
    guess("somebody@example.com")
    assert "somebody" not in str(list(Attempts.objects.values_list()))
    assert HERE not in str(list(Attempts.objects.values_list()))


def test_limits_can_be_switched_off(user, settings):
    settings.RATE_LIMITS = False
    assert [guess(user.email) for _ in range(12)] == [200] * 12
    assert not Attempts.objects.exists()


def test_counters_whose_time_is_over_are_cleared(user):
    from django.core.management import call_command

    guess(user.email)
    later(minutes=2)
    call_command("clearsessions")
    left = Attempts.objects.values_list("ends", flat=True)
    assert left
    assert min(left) > timezone.now()


# --- The cookie of known browsers -------------------------------------------------------------------------------


def test_the_cookie_is_for_the_server_alone_and_for_half_a_year(user):  # security 71
    cookie = sign_in(Client(), user).cookies[KNOWN]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Strict", "/", "")
    assert cookie["max-age"] == 180 * 24 * 3600
    for told in (user.email, user.uid):
        assert told not in cookie.value.split(":")[0]


def test_with_https_it_has_the_prefix_that_binds_it_to_the_host(user, settings):
    settings.KNOWN_BROWSER_COOKIE_NAME, settings.HTTPS = "__Host-known", True
    cookie = sign_in(Client(), user).cookies["__Host-known"]
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def thief_with(cookie: str) -> Client:
    thief = Client()
    thief.cookies[KNOWN] = cookie
    return thief


def test_a_stolen_cookie_is_worth_some_guesses_and_does_not_stop_the_owner(user, at_home):  # security 71
    flood(user.email, addresses=11)
    thief = thief_with(at_home.cookies[KNOWN].value)
    assert thief.get(PROFILE).status_code == 302  # it opens nothing
    tries = [give(thief, user.email, address=f"192.0.2.{n}") for n in range(12)]
    assert tries == [200] * 10 + [429] * 2
    later(minutes=15)
    for n in range(60):
        give(thief, user.email, address=f"192.0.2.{n}")
    later(minutes=5)
    assert give(at_home, user.email, PASSWORD) == 302


def test_another_accounts_cookie_and_a_forged_one_are_none(user, other_user):
    flood(user.email, addresses=11)
    others = sign_in(Client(), other_user).cookies[KNOWN].value
    for cookie in (others, others[:-1], "", "~~~~", "a:b:c", "\xff", "x" * 4000):
        assert give(thief_with(cookie), user.email, PASSWORD, THERE) == 429


def test_a_changed_password_ends_the_cookies_of_all_browsers_but_the_one_that_did_it(user):  # security 71
    old, doing = sign_in(Client(), user), sign_in(Client(), user)
    doing.post(CHANGE_PASSWORD, {"password1": NEW, "password2": NEW})
    doing.post("/accounts/logout/")
    flood(user.email, addresses=11)
    assert give(thief_with(old.cookies[KNOWN].value), user.email, NEW, THERE) == 429
    assert give(doing, user.email, NEW, THERE) == 302


def test_it_ends_with_its_time(user, at_home, monkeypatch):
    flood(user.email, addresses=11)
    monkeypatch.setattr(known_browsers, "AGE", -1)
    assert give(at_home, user.email, PASSWORD, THERE) == 429


def test_one_browser_is_known_to_the_accounts_of_several_people(user, other_user):
    shared = Client()
    for owner in (user, other_user, user):
        sign_in(shared, owner)
        shared.post("/accounts/logout/")
    assert len(shared.cookies[KNOWN].value.split("~")) == 2
    for owner in (user, other_user):
        flood(owner.email, addresses=11)
        assert give(shared, owner.email, PASSWORD, THERE) == 302
        shared.post("/accounts/logout/")
        Attempts.objects.all().delete()


# --- The password once more --------------------------------------------------------------------------------------


def prove(client: Client, password: str = "wrong", address: str = HERE) -> int:
    status: int = client.post(REAUTHENTICATE, {"password": password}, REMOTE_ADDR=address).status_code
    return status


def regenerate(client: Client, password: str = "wrong", address: str = HERE) -> int:
    status: int = client.post(REGENERATE, {"password": password}, REMOTE_ADDR=address).status_code
    return status


@pytest.mark.parametrize("door", [prove, regenerate])
def test_wrong_passwords_of_a_session_stop_neither_signing_in_nor_another_session(door, user, key):  # security 32, 71
    thief, owner = (long_ago(sign_in(Client(), user)) for _ in range(2))
    tries = [door(thief) for _ in range(12)]
    assert tries[9] in (200, 422)
    assert tries[10:] == [429, 429]
    assert door(thief, PASSWORD) == 429
    assert door(owner, PASSWORD) in (200, 302)
    assert guess(user.email, PASSWORD) == 302


@pytest.mark.parametrize("door", [prove, regenerate])
def test_guesses_at_sign_in_do_not_stop_a_session(door, user, key):  # security 32, 71
    owner = long_ago(sign_in(Client(), user))
    flood(user.email, addresses=11)
    for _ in range(6):
        guess(user.email)
    assert door(owner, PASSWORD) in (200, 302)


def test_both_doors_of_a_session_count_together_and_over_all_addresses(user, key):  # security 32
    thief = long_ago(sign_in(Client(), user))
    for n in range(15):
        prove(thief, address=f"192.0.2.{n}")
        regenerate(thief, address=f"192.0.2.{n}")
    assert prove(thief, PASSWORD, THERE) == 429
    assert regenerate(thief, PASSWORD, THERE) == 429


def test_a_wrong_password_of_a_session_is_an_event_and_no_failed_sign_in(user):  # security 59
    prove(long_ago(sign_in(Client(), user)))
    (event,) = user.account_events.exclude(action="signed_in")
    assert (event.action, event.actor) == ("password_refused", user)


def test_a_password_change_is_not_stopped_by_whoever_sits_in_a_session(user):  # security 71
    thief, owner = (sign_in(Client(), user) for _ in range(2))
    for _ in range(8):
        thief.post(CHANGE_PASSWORD, {"password1": "x", "password2": "y"})
    assert owner.post(CHANGE_PASSWORD, {"password1": NEW, "password2": NEW}).status_code == 302


# --- On real servers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def limited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The running site with its limits on, behind a proxy that says who asks."""
    folder: Path = tmp_path_factory.mktemp("limited")
    options = {"RATE_LIMITS": "on", "TRUSTED_PROXIES": "1"}
    if request.param == "sqlite":
        with running(folder, sqlite_url(folder), **options) as server:
            yield server
    else:
        with postgres_url() as url, running(folder, url, **options) as server:
            yield server


def visitor_at(server: Server, address: str) -> Visitor:
    visitor = Visitor(server.url)
    visitor.session.headers["X-Forwarded-For"] = address
    return visitor


def send_wrong_passwords_at_once(visitors: list[Visitor], email: str) -> list[int]:
    barrier = Barrier(len(visitors))
    forms = [visitor.form(LOGIN, LOGIN) for visitor in visitors]

    def send(number: int) -> int:
        barrier.wait()
        return visitors[number].send(forms[number], LOGIN, login=email, password="wrong").status_code

    with ThreadPoolExecutor(len(visitors)) as pool:
        return sorted(pool.map(send, range(len(visitors))))


@pytest.mark.server
def test_many_at_once_pass_the_limit_by_none_and_the_owner_gets_in(limited):  # security 71, 76
    email = "other@demo.example"
    owner = visitor_at(limited, "192.0.2.1").sign_in(email)
    owner.session.cookies.pop("session")
    at_once = send_wrong_passwords_at_once([visitor_at(limited, "192.0.2.2") for _ in range(8)], email)
    assert at_once == [200] * 5 + [429] * 3
    visitor_at(limited, "192.0.2.3").sign_in(email)
    owner.session.headers["X-Forwarded-For"] = "192.0.2.2"
    owner.sign_in(email)


@pytest.mark.server
def test_a_wrong_password_takes_as_long_whether_there_is_an_account(limited):  # security 8, 71
    took: dict[str, list[float]] = {"user@demo.example": [], "nobody@demo.example": []}
    for number in range(20):
        for email, times in took.items():
            visitor = visitor_at(limited, f"2001:db8:{number + 1:x}::1")
            form = visitor.form(LOGIN, LOGIN)
            begun = time.perf_counter()
            assert visitor.send(form, LOGIN, login=email, password="wrong").status_code == 200
            times.append(time.perf_counter() - begun)
    known, unknown = (statistics.median(times) for times in took.values())
    # Hashing takes most of it. Were it left out for one of them, that one would take a tenth.
    assert 0.7 < known / unknown < 1.4, (known, unknown)
