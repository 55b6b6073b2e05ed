"""POST /api/oauth/token: what works, what is refused, and in which words."""

import base64
import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.signals import app_authorized

from profiles import credentials
from profiles.clients import tokens, usage
from profiles.models import AccessProfile, AccessToken, ClientSecret, User

from .conftest import basic, use
from .oauth import GRANT, INTROSPECT, TOKEN, ask, assert_oauth_error, post

pytestmark = pytest.mark.django_db


def in_body(pair, **changed: str) -> list[tuple[str, str]]:
    return [GRANT, *({"client_id": pair.client_id, "client_secret": pair.secret} | changed).items()]


def test_basic_and_form_both_get_a_token(key):  # security 38
    for response in (ask(key), post(TOKEN, in_body(key))):
        assert response.status_code == 200
        assert tokens.find(response.json()["access_token"])


def test_the_answer_is_compact_json_in_the_usual_order(key):  # security 24, 25, 41, 43
    response = ask(key)
    body = response.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "scope"]
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, "inherit")
    assert response.content == json.dumps(body, separators=(",", ":")).encode()
    assert response["Content-Type"] == "application/json"
    assert response["Content-Length"] == str(len(response.content))
    assert (response["Cache-Control"], response["Pragma"]) == ("no-store", "no-cache")
    assert not response.cookies


def test_expires_in_is_what_the_settings_say(key, settings):  # security 25
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"ACCESS_TOKEN_EXPIRE_SECONDS": 5}
    body = ask(key).json()
    assert body["expires_in"] == 5
    remaining = AccessToken.objects.get().expires - timezone.now()
    assert timedelta(seconds=3) < remaining <= timedelta(seconds=5)


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
def test_the_scheme_may_be_written_in_any_case(key, scheme):  # security 38
    assert post(TOKEN, [GRANT], f"{scheme} {key.basic.partition(' ')[2]}").status_code == 200


def test_basic_credentials_may_be_form_encoded(key):  # security 2, 38
    encoded = "".join(f"%{ord(character):02x}" for character in key.client_id)
    assert post(TOKEN, [GRANT], basic(encoded, quote(key.secret))).status_code == 200


def test_a_repeated_client_id_of_the_same_client_does_no_harm(key):
    assert ask(key, ("client_id", key.client_id)).status_code == 200


@pytest.mark.parametrize("query", ["company=4e05e8a9a4b44c6d8a9d3a2b1c0d9e8f", "utm=%zz", "a[b]=c"])
def test_an_unknown_parameter_does_no_harm(key, query):  # security 39
    assert ask(key, ("company", "x"), ("scope[a]", "b")).status_code == 200
    assert post(f"{TOKEN}?{query}", [GRANT], key.basic).status_code == 200


def test_an_empty_parameter_counts_as_absent(key):  # security 39
    response = ask(key, ("scope", ""), ("client_secret", ""), ("client_id", ""))
    assert response.status_code == 200
    assert_oauth_error(post(TOKEN, [("grant_type", "")], key.basic), 400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_post_is_taken(key, method):  # security 37
    response = Client().generic(method, TOKEN, headers={"Authorization": key.basic})
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert response["Content-Type"] == "application/json"
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    "name", ["grant_type", "client_id", "client_secret", "access_token", "token", "scope", "refresh_token"]
)
def test_nothing_of_the_protocol_is_read_from_the_query_string(key, name):  # security 37
    description = assert_oauth_error(post(f"{TOKEN}?{name}=x", [GRANT], key.basic), 400, "invalid_request")
    assert name in description
    assert "query string" in description


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_only_forms_are_read(key, content_type):  # security 37
    response = post(TOKEN, b'{"grant_type":"client_credentials"}', key.basic, content_type=content_type)
    assert_oauth_error(response, 400, "invalid_request")


def test_a_charset_beside_the_content_type_is_fine(key):
    response = ask(key, content_type="application/x-www-form-urlencoded; charset=UTF-8")
    assert response.status_code == 200


@pytest.mark.parametrize("again", [GRANT, ("scope", "inherit"), ("company", "x")])
def test_a_parameter_given_twice_is_refused(key, again):  # security 39
    response = ask(key, ("scope", "inherit"), ("company", "x"), again)
    assert "more than once" in assert_oauth_error(response, 400, "invalid_request")


def test_a_missing_grant_type_is_named(key):
    assert "grant_type" in assert_oauth_error(post(TOKEN, [], key.basic), 400, "invalid_request")


@pytest.mark.parametrize(
    "grant",
    ["password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS", "client-credentials", "\x00"],
)
def test_no_other_grant_is_offered(key, grant):  # security 42
    assert_oauth_error(post(TOKEN, [("grant_type", grant)], key.basic), 400, "unsupported_grant_type")


def test_two_ways_of_authentication_at_once_are_refused(key, other_user):  # security 38
    assert_oauth_error(post(TOKEN, in_body(key), key.basic), 400, "invalid_request")
    assert_oauth_error(ask(key, ("client_secret", key.secret)), 400, "invalid_request")
    assert_oauth_error(ask(key, ("client_id", credentials.new_client_id())), 400, "invalid_request")


def test_no_credentials_malformed_and_wrong_are_told_apart(key):  # security 46
    descriptions = {
        assert_oauth_error(post(TOKEN, [GRANT]), 401, "invalid_client"),
        assert_oauth_error(post(TOKEN, in_body(key, client_secret=key.secret[:-1])), 401, "invalid_client"),
        assert_oauth_error(post(TOKEN, in_body(key, client_secret=credentials.new_secret())), 401, "invalid_client"),
    }
    assert len(descriptions) == 3


def test_unknown_client_wrong_secret_and_inactive_owner_are_not_told_apart(user, key):  # security 8, 46
    unknown = post(TOKEN, [GRANT], basic(credentials.new_client_id(), key.secret))
    wrong = post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret()))
    odd = post(TOKEN, [GRANT], basic("nobody", key.secret))
    User.objects.filter(pk=user.pk).update(is_active=False)
    inactive = ask(key)
    for response in (unknown, wrong, odd, inactive):
        assert_oauth_error(response, 401, "invalid_client")
        del response.headers["X-Request-ID"]  # another each time
    assert len({(r.content, *sorted(r.items())) for r in (unknown, wrong, odd, inactive)}) == 1


def test_what_is_stored_does_not_open(key):  # security 6
    presented = credentials.digest(key.secret)
    assert_oauth_error(post(TOKEN, [GRANT], basic(key.client_id, presented)), 401, "invalid_client")


HOSTILE_HEADERS = [
    "",
    "Basic",
    "Basic ",
    "Basic !!!",
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + base64.b64encode(b"\x00:\x00").decode(),
    "Basic " + base64.b64encode(b"a:" + b"s" * 1_000_000).decode(),
    "Basic \u00e9",
    "Bearer abc",
    "Digest username=x",
    "\x00",
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=lambda header: repr(header[:24]))
def test_a_header_that_cannot_be_read_is_refused_calmly(key, header):  # security 40
    assert_oauth_error(post(TOKEN, [GRANT], header), 401, "invalid_client")


HOSTILE_BODIES = [
    b"grant_type=client_credentials&client_id=%ff&client_secret=%fe",
    b"grant_type=client_credentials&client_id=\xff&client_secret=\xfe",
    b"grant_type=client_credentials&" + b"&".join(b"a%d=1" % n for n in range(1000)),
    b"\x00" * 100,
    b"&&&&===&;;;",
    b"grant_type[]=client_credentials",
    b"grant_type=client_credentials&scope=" + b"s" * 20_000,
]


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[-24:]))
def test_a_body_that_cannot_be_read_is_refused_calmly(key, body):  # security 40
    response = post(TOKEN, body, key.basic)
    assert response.status_code in (400, 413)
    assert_oauth_error(response, response.status_code, "invalid_request")


@pytest.mark.parametrize("part", ["client_id", "client_secret"])
@pytest.mark.parametrize("value", ["\x00", "a\x00b", "é", "x" * 10_000, "%00", "' OR 1=1 --"])
def test_strange_credentials_are_wrong_credentials(key, part, value):  # security 40
    assert_oauth_error(post(TOKEN, in_body(key, **{part: value})), 401, "invalid_client")


def test_a_narrower_scope_is_given_as_asked(key):  # security 43
    response = ask(key, ("scope", "accountNetwork.users.view"))
    assert response.json()["scope"] == "accountNetwork.users.view"
    found = tokens.find(response.json()["access_token"])
    assert found is not None
    assert found.rights == {"accountNetwork.users.view"}


def test_names_in_a_scope_may_repeat_and_their_order_does_not_matter(key):
    scope = "entities.systems.view accountNetwork.users.view  entities.systems.view"
    assert ask(key, ("scope", scope)).json()["scope"] == "entities.systems.view accountNetwork.users.view"


@pytest.mark.parametrize(
    "scope",
    [
        "entities.systems.edit",  # exists, but the owner lacks it
        "accountNetwork.users.view entities.systems.edit",
        "inherit entities.systems.edit",
        "read",
        "INHERIT",
        "entities.systems.view\x00",
        "entities.systems.view,accountNetwork.users.view",
        '"><script>',
    ],
)
def test_a_scope_beyond_the_owners_rights_is_refused(key, scope):  # security 43
    assert_oauth_error(ask(key, ("scope", scope)), 400, "invalid_scope")
    assert not AccessToken.objects.exists()


def test_a_wrong_secret_learns_nothing_about_scopes(key):
    wrong = basic(key.client_id, credentials.new_secret())
    response = post(TOKEN, [GRANT, ("scope", "entities.systems.edit")], wrong)
    assert_oauth_error(response, 401, "invalid_client")


def test_a_right_taken_later_narrows_the_token(key, access_profile: AccessProfile):  # security 23
    token = ask(key, ("scope", "accountNetwork.users.view")).json()["access_token"]
    access_profile.rights = ["entities.systems.view"]
    access_profile.save()
    found = tokens.find(token)
    assert found is not None
    assert found.rights == frozenset()


def test_a_good_request_is_one_statement_and_a_note(key, django_assert_num_queries):
    use(key)  # the first time is more: see test_overlap
    usage._noted.clear()
    ClientSecret.objects.update(last_used=None)
    # Check the client, its secret and its owner and write the token. Once a minute, note the use of secret and key.
    with django_assert_num_queries(3):
        ask(key)
    with django_assert_num_queries(1):
        ask(key)


def test_a_wrong_secret_costs_two_statements_and_a_malformed_one_none(
    key, settings, django_assert_num_queries
):  # security 45
    settings.RATE_LIMITS = False  # what counting costs, and when it stops to, is in test_limits
    with django_assert_num_queries(2):  # whether it is one of this client's, and whether it was
        post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret()))
    with django_assert_num_queries(0):
        post(TOKEN, [GRANT], basic(key.client_id, "guess"))


def test_a_token_request_counts_as_a_use_and_a_refused_one_does_not(key):  # security 62
    post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret()))
    key.key.refresh_from_db()
    assert key.key.last_used is None
    ask(key, HTTP_USER_AGENT="curl/8")
    key.key.refresh_from_db()
    assert (key.key.last_used_address, key.key.last_used_agent) == ("127.0.0.1", "curl/8")


def test_the_toolkits_signal_is_sent(key):
    seen = []

    def receiver(sender, request, token, **kwargs):
        seen.append((request.path, token.application_id, token.user_id))

    app_authorized.connect(receiver)
    try:
        ask(key)
    finally:
        app_authorized.disconnect(receiver)
    assert seen == [(TOKEN, key.key.pk, key.key.user_id)]


def test_issue_and_refusal_are_logged_without_credentials(key, caplog):  # security 3, 59
    caplog.set_level("DEBUG")
    token = ask(key).json()["access_token"]
    wrong = credentials.new_secret()
    post(TOKEN, [GRANT], basic(key.client_id, wrong))
    assert f"token issued: client_id={key.client_id} address=127.0.0.1" in caplog.text
    assert f"client refused: client_id={key.client_id} address=127.0.0.1" in caplog.text
    for credential in (key.secret, wrong, token, credentials.digest(key.secret), credentials.digest(token)):
        assert credential not in caplog.text


def test_a_client_acts_as_its_owner_even_if_somebody_is_called_like_it(user, other_user, key):  # security 11, 49
    """Both names are 32 hex digits, so only what they are looked up in keeps them apart."""
    User.objects.filter(pk=other_user.pk).update(uid=key.client_id)
    token = ask(key).json()["access_token"]
    found = tokens.find(token)
    assert found is not None
    assert (found.owner.pk, found.client_id) == (user.pk, key.client_id)
    told = post(INTROSPECT, [("token", token)], key.basic).json()
    assert (told["sub"], told["username"], told["client_id"]) == (user.uid, user.email, key.client_id)
    assert_oauth_error(post(TOKEN, [GRANT], basic(user.uid, key.secret)), 401, "invalid_client")
