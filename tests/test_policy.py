"""The policy of a company: what the API refuses because of it, and that it accepts it again without it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from profiles import credentials, policy
from profiles.clients import tokens
from profiles.models import AccessToken, ClientSecret, OAuthApplication
from profiles.policy import Policy

from .api import CURRENT, assert_api_error, challenge, get
from .conftest import KeyPair, make_client, make_key, make_token
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, assert_oauth_error, post
from .policies import lay_down, make_older

pytestmark = pytest.mark.django_db

INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.9"
NETWORKS = ("203.0.113.0/24", "2001:db8::/32")


def introspected(asker: KeyPair, token: str, **extra: str) -> dict[str, object]:
    response = post(INTROSPECT, [("token", token)], asker.basic, **extra)
    assert response.status_code == 200, response.content
    found: dict[str, object] = response.json()
    return found


@pytest.fixture
def resource_server(other_manager, client_profile) -> KeyPair:
    """Of another company."""
    other_manager.access_profile.rights.append("entities.systems.view")
    other_manager.access_profile.save()
    pair = make_client(other_manager, client_profile, "Gateway")
    OAuthApplication.objects.filter(pk=pair.key.pk).update(may_introspect=True)
    return pair


@pytest.fixture(params=["key", "api_client"])
def pair(request: pytest.FixtureRequest) -> KeyPair:
    found: KeyPair = request.getfixturevalue(request.param)
    return found


# --- What it says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0::1/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_network_has_one_form(typed, network):
    assert policy.networks([typed, typed]) == (network,)


@pytest.mark.parametrize(
    "typed", ["", "10", "10.0.0.0/33", "10.0.0", "010.0.0.1", "fe80::1%eth0", "example.com", "::/-1", "::ffff:0:0/95"]
)
def test_what_is_no_network_is_refused(typed):
    with pytest.raises(ValueError, match=f"^{typed}$"):
        policy.networks(["10.0.0.0/8", typed])


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ({}, {"no_keys": True, "days": 1, "networks": ("::/0",)}, False),
        ({"no_keys": True}, {}, True),
        ({"days": 30}, {"days": 29}, False),
        ({"days": 30}, {"days": 31}, True),
        ({"days": 30}, {}, True),
        ({"networks": ("10.0.0.0/8", "::1/128")}, {"networks": ("10.1.0.0/16",)}, False),
        ({"networks": ("10.1.0.0/16",)}, {"networks": ("10.0.0.0/8",)}, True),
        ({"networks": ("10.0.0.0/8",)}, {"networks": ("10.0.0.0/8", "::/0")}, True),
        ({"networks": ("10.0.0.0/8",)}, {}, True),
        ({"days": 30}, {"days": 10, "no_keys": True}, False),
    ],
)
def test_what_is_wider(before, after, wider):
    assert Policy(**after).widens(Policy(**before)) == wider


def test_no_policy_is_no_text_and_what_a_later_version_adds_is_left_alone():
    assert str(Policy()) == ""
    assert policy.read("") == Policy()
    assert policy.read(str(Policy(days=3))) == Policy(days=3)
    assert policy.read('{"days":3,"hours":["night"]}') == Policy(days=3)


# --- No personal keys -------------------------------------------------------------------------------------


def test_without_personal_keys_one_and_its_tokens_are_refused_and_come_back(company, key, caplog):
    token = make_token(key)
    lay_down(company, no_keys=True)
    assert "allows no personal keys" in assert_oauth_error(ask(key), 401, "invalid_client")
    assert f"request refused: client_id={key.client_id} address=127.0.0.1 reason=policy_no_keys" in caplog.text
    refused = get(CURRENT, token)
    assert "allows no personal keys" in assert_api_error(refused, 401, "token.invalid")["error_description"]
    assert challenge(refused)["error"] == "invalid_token"
    assert "reason=policy_no_keys" in caplog.text
    lay_down(company)
    assert ask(key).status_code == get(CURRENT, token).status_code == 200


def test_api_clients_and_users_of_no_company_are_not_concerned(company, api_client, admin_user):
    lay_down(company, no_keys=True)
    for pair in (api_client, make_key(admin_user)):
        token = ask(pair).json()["access_token"]
        assert get(CURRENT, token).status_code == 200


# --- Age --------------------------------------------------------------------------------------------------


def test_a_secret_that_is_too_old_is_refused_with_its_tokens(company, pair, caplog):  # security 29
    token = make_token(pair)
    make_older(pair.key, days=30, seconds=5)
    assert ask(pair).status_code == get(CURRENT, token).status_code == 200
    lay_down(company, days=30)
    said = assert_oauth_error(ask(pair), 401, "invalid_client")
    assert said.startswith("The client secret is older than the 30 days that its company allows, since ")
    assert f"{ClientSecret.objects.get().created + timedelta(days=30):%Y-%m-%d at %H:%M:%S} UTC" in said
    assert "reason=policy_secret_too_old" in caplog.text
    refused = assert_api_error(get(CURRENT, token), 401, "token.invalid")
    assert "older than its company allows" in refused["error_description"]
    for url in (REVOKE, INTROSPECT):
        assert_oauth_error(post(url, [("token", token)], pair.basic), 401, "invalid_client")
    lay_down(company, days=31)
    assert ask(pair).status_code == get(CURRENT, token).status_code == 200


def test_a_narrower_scope_is_refused_alike(company, key):
    make_older(key.key, days=2)
    lay_down(company, days=1)
    said = assert_oauth_error(ask(key, ("scope", "accountNetwork.users.view")), 401, "invalid_client")
    assert "older than" in said


def test_a_token_lives_no_longer_than_its_secret_may(company, pair, resource_server):
    made_before = make_token(pair)
    make_older(pair.key, days=30, minutes=-10)
    lay_down(company, days=30)
    answer = ask(pair).json()
    assert 590 <= answer["expires_in"] <= 600
    end = ClientSecret.objects.get(application=pair.key).created + timedelta(days=30)
    assert AccessToken.objects.latest("pk").expires == end
    for token in (made_before, answer["access_token"]):
        assert introspected(resource_server, token)["exp"] == int(end.timestamp())


# --- Networks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [INSIDE, "2001:db8::9", f"::ffff:{INSIDE}", f"{INSIDE}:4711", "[2001:db8::9]:443"])
def test_from_a_network_of_the_company_all_is_as_ever(company, pair, address):
    lay_down(company, networks=NETWORKS)
    token = ask(pair, REMOTE_ADDR=address).json()["access_token"]
    assert get(CURRENT, token, REMOTE_ADDR=address).status_code == 200
    assert introspected(pair, token, REMOTE_ADDR=address)["active"]


@pytest.mark.parametrize("address", [OUTSIDE, "2001:db9::9", f"::ffff:{OUTSIDE}", "", "unix:", "127.0.0.1"])
def test_from_elsewhere_tokens_are_neither_issued_nor_accepted(company, pair, address, caplog):
    token = make_token(pair)
    lay_down(company, networks=NETWORKS)
    for url, form in ((TOKEN, GRANT), (INTROSPECT, ("token", token))):
        said = assert_oauth_error(post(url, [form], pair.basic, REMOTE_ADDR=address), 401, "invalid_client")
        assert said == "The company of this client allows no access from this address."
    assert f"request refused: client_id={pair.client_id}" in caplog.text
    assert AccessToken.objects.count() == 1
    refused = get(CURRENT, token, REMOTE_ADDR=address)
    assert_api_error(refused, 403, "address.not.allowed")
    assert challenge(refused)["error"] == "access_denied"
    assert re.search("token refused: .* reason=policy_network", caplog.text)
    assert ClientSecret.objects.get().last_used is None


def test_access_is_ended_from_everywhere(company, pair):
    token = make_token(pair)
    lay_down(company, networks=NETWORKS)
    assert post(REVOKE, [("token", token)], pair.basic, REMOTE_ADDR=OUTSIDE).status_code == 200
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "status"),
    [
        (0, INSIDE, 401),
        (1, INSIDE, 200),
        (1, f"{INSIDE}, {OUTSIDE}", 401),
        (1, f"{OUTSIDE}, ::ffff:{INSIDE}", 200),
        (2, f"{INSIDE}, {OUTSIDE}", 200),
        (2, f"{INSIDE}", 401),
        (1, "nonsense", 401),
    ],
)
def test_the_address_is_what_our_proxies_say(settings, company, key, proxies, forwarded, status):
    settings.TRUSTED_PROXIES = proxies
    lay_down(company, networks=NETWORKS)
    assert ask(key, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded).status_code == status


def test_a_refusal_by_policy_is_no_wrong_secret(settings, company, key):
    settings.RATE_LIMITS = True
    settings.CLIENT_FAILURES_PER_MINUTE = settings.ADDRESS_FAILURES_PER_MINUTE = 2
    lay_down(company, networks=NETWORKS)
    assert {ask(key, REMOTE_ADDR=OUTSIDE).status_code for _ in range(5)} == {401}
    wrong = KeyPair(key.key, credentials.new_secret())
    assert [ask(wrong, REMOTE_ADDR=OUTSIDE).status_code for _ in range(3)] == [401, 401, 429]


def test_who_has_not_the_secret_learns_of_no_policy(company, key):
    wrong = KeyPair(key.key, credentials.new_secret())
    lay_down(company, networks=NETWORKS, no_keys=True, days=1)
    assert assert_oauth_error(ask(wrong), 401, "invalid_client") == "Client authentication failed."


def test_what_a_resource_server_asks_about_is_judged_by_all_but_the_network(company, key, resource_server):
    token = make_token(key)
    for said, active in (({"networks": NETWORKS}, True), ({"no_keys": True}, False), ({"days": 1}, False), ({}, True)):
        make_older(key.key, days=2)
        lay_down(company, **said)
        assert introspected(resource_server, token, REMOTE_ADDR=OUTSIDE)["active"] is active, said


# --- What it costs, and when it counts --------------------------------------------------------------------


def test_a_policy_costs_two_statements_once(company, key, django_assert_num_queries):
    def issue() -> str:
        return tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit", where=lambda: INSIDE).token

    lay_down(company, networks=NETWORKS, days=100)
    with django_assert_num_queries(3):  # in vain, what the policy is, the token
        issue()
    with django_assert_num_queries(1):
        token = issue()
    with django_assert_num_queries(1):
        assert tokens.find(token, lambda: INSIDE)


def test_every_change_of_it_counts_at_the_next_request(company, key):
    lay_down(company, days=100)
    assert ask(key).status_code == 200
    lay_down(company, networks=NETWORKS)  # what the process has found before is of no use now
    assert ask(key).status_code == 401
    assert ask(key, REMOTE_ADDR=INSIDE).status_code == 200
    lay_down(company, networks=("127.0.0.0/8",))
    assert ask(key, REMOTE_ADDR=INSIDE).status_code == 401
    assert ask(key).status_code == 200
    lay_down(company)
    assert ask(key, REMOTE_ADDR=OUTSIDE).status_code == 200
    assert key.key.secrets.get().digest not in tokens._terms_found


def test_a_policy_that_changes_while_a_token_is_issued_lets_none_through(company, key, monkeypatch):
    """Between the look at the policy and the statement another one is laid down."""
    find_terms = tokens._terms_unless_refused

    def and_then_changed(client_id: str, digest: str, now: datetime) -> policy.Terms | None:
        found = find_terms(client_id, digest, now)
        lay_down(company, no_keys=True)
        return found

    lay_down(company, days=100)
    monkeypatch.setattr(tokens, "_terms_unless_refused", and_then_changed)
    with pytest.raises(tokens.Refused, match=r"policy_no_keys|changed_meanwhile"):
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert not AccessToken.objects.exists()


def test_an_ended_secret_is_told_that_and_nothing_of_a_policy(company, user, key):
    ClientSecret.objects.update(ended=True, ends=timezone.now(), end_reason="replaced")
    lay_down(company, networks=NETWORKS)
    assert "was replaced" in assert_oauth_error(ask(key), 401, "invalid_client")
