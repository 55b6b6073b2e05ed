"""My Profile: who you are, what you may do, and the way there."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse
from django.views import defaults

from profiles.models import User

from .conftest import KeyPair, sign_in
from .page import PROFILE, SECTION, Tags, by_htmx, html, is_whole_page, words


@pytest.fixture
def described(user: User) -> User:
    user.job_title, user.phone_number, user.country = "Dispatcher", "+33123456789", "FR"
    user.save()
    return user


def test_shows_who_you_are_and_what_you_may_do(described, signed_in):
    text = words(signed_in.get(PROFILE))
    for fact in (
        "User Profile",
        "Uma User",
        "user@example.com",
        "Dispatcher",
        "Fleet Ltd",
        "Operator",
        "View users",
        "accountNetwork.users.view",
        "+33123456789",
        "France",
    ):
        assert fact in text
    assert "Create a system" not in text


def test_a_user_without_anything_has_a_page_too(admin_user, client):
    text = words(sign_in(client, admin_user).get(PROFILE))
    assert "You have no access profile yet" in text


def test_an_access_profile_without_rights_says_so(user, access_profile, signed_in):
    access_profile.rights = []
    access_profile.save()
    assert "This access profile gives no rights yet" in words(signed_in.get(PROFILE))


def test_what_a_user_typed_is_shown_as_text(user, signed_in):
    user.name = "<img src=x onerror=alert(1)>"
    user.save()
    page = html(signed_in.get(PROFILE))
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_the_key_section_is_the_last_and_can_be_jumped_to(signed_in):  # page 2
    tags = Tags(html(signed_in.get(PROFILE)))
    assert tags["section"][-1]["id"] == "api-key"
    assert [a for a in tags["a"] if a.get("href") == "#api-key"]


def test_the_menu_is_a_button_with_one_link_to_my_profile(signed_in):  # page 1
    page = html(signed_in.get(PROFILE))
    (button,) = Tags(page).with_attribute("popovertarget", "menu")
    assert "aria-expanded" not in button  # the browser says it
    assert page.count("My Profile") == 1
    assert "Admin site" not in page


def test_staff_find_the_admin_site_in_the_menu(admin_user, client):
    page = html(sign_in(client, admin_user).get(PROFILE))
    assert reverse("admin:index") in page


def test_the_skip_link_comes_first(signed_in):
    tags = Tags(html(signed_in.get(PROFILE)))
    first = next(its for name, its in tags.found if name in ("a", "button", "input"))
    assert first["href"] == "#content"
    assert tags.with_attribute("id", "content")


def test_the_regions_that_tell_of_a_change_are_there_and_empty(signed_in):  # page 15
    page = html(signed_in.get(PROFILE))
    assert '<div id="announcement" class="visually-hidden" role="status"></div>' in page
    assert Tags(page).with_attribute("data-failure")[0]["role"] == "alert"


def test_everything_comes_from_our_own_files(key, signed_in):  # security 56
    tags = Tags(html(signed_in.get(PROFILE)))
    assert all(script["src"].startswith("/static/") for script in tags["script"])
    assert tags["style"] == []
    for _, attributes in tags.found:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith(("on", "hx-on"))]


def test_is_kept_by_nobody(signed_in):  # security 55
    response = signed_in.get(PROFILE)
    assert "no-store" in response.headers["Cache-Control"]
    assert "HX-Request" in response.headers["Vary"]


def test_the_anonymous_sign_in_first_and_come_back(client, user):
    response = client.get(PROFILE)
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/login/?next=/profile/")
    assert "no-store" in response.headers["Cache-Control"]
    assert "Sign in to go on" in words(client.get(response.headers["Location"]))


def test_home_leads_to_the_profile(signed_in):
    assert signed_in.get("/").headers["Location"] == PROFILE


@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
def test_any_other_method_is_refused_with_a_page(signed_in, method):
    response = getattr(signed_in, method)(PROFILE)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert "That is not how this page works" in words(response)


def test_htmx_gets_the_section_alone(signed_in, key):
    response = by_htmx(signed_in, PROFILE)
    assert not is_whole_page(response)
    assert html(response).lstrip().startswith('<section id="api-key"')
    assert response.headers["HX-Retarget"] == "#api-key"


def test_htmx_gets_the_whole_page_for_a_boosted_link_or_a_step_back(signed_in):
    for header in ("HX-Boosted", "HX-History-Restore-Request"):
        assert is_whole_page(by_htmx(signed_in, PROFILE, headers={header: "true"}))


def test_an_expired_session_leads_htmx_to_sign_in_as_a_whole_page(client, user):
    response = by_htmx(client, PROFILE)
    assert response.headers["HX-Redirect"] == "/accounts/login/?next=/profile/"
    assert response.content == b""


def test_the_page_comes_compressed_and_its_size_tells_nothing(signed_in, key):
    answers = [signed_in.get(PROFILE, headers={"Accept-Encoding": "gzip"}) for _ in range(20)]
    assert {answer["Content-Encoding"] for answer in answers} == {"gzip"}
    assert all("Accept-Encoding" in answer["Vary"] for answer in answers)
    sizes = {len(answer.content) for answer in answers}
    assert max(sizes) < 10_000
    assert len(sizes) > 5  # random, against BREACH: the page is the same each time


def test_six_queries_make_the_page(signed_in, key, django_assert_num_queries):
    # 1 the session, 2 its user with company, access profile and key, 3 the last events, 4 the key's secrets, 5 the days
    # and 6 the addresses of its use
    with django_assert_num_queries(6):
        signed_in.get(PROFILE)


def test_shows_nothing_of_anybody_else(client, key: KeyPair, other_user, admin_user):  # security 34
    for somebody in (other_user, admin_user):
        page = html(sign_in(Client(), somebody).get(PROFILE))
        assert key.client_id not in page
        assert "Uma" not in page


def test_messages_are_shown_once(client, user):
    client.post("/profile/api-key/delete/")  # signed out: nothing is done
    sign_in(client, user)
    assert "You had been signed out, so nothing was done." in words(client.get(PROFILE))
    assert "You had been signed out" not in words(client.get(PROFILE))


def test_pages_of_the_account_are_the_designed_ones_only(client, signed_in):
    for path in ("login", "logout", "inactive", "signup", "reauthenticate", "password/reset", "password/change"):
        response = signed_in.get(f"/accounts/{path}/", follow=True)
        assert response.status_code == 200, path
        assert "css/site" in html(response), path
    for path in ("email", "confirm-email", "login/code/confirm"):
        assert signed_in.get(f"/accounts/{path}/").status_code == 404, path


def test_signing_up_says_who_makes_accounts(client, db):
    response = client.get("/accounts/signup/")
    assert "Accounts are made by administrators" in words(response)
    client.post("/accounts/signup/", {"email": "new@example.com", "password1": "p" * 20, "password2": "p" * 20})
    assert not User.objects.exists()


def test_a_wrong_password_at_sign_in_is_told_at_the_form(client, user):
    response = client.post("/accounts/login/", {"login": user.email, "password": "wrong"})
    assert "The email address and/or password you specified are not correct." in words(response)
    (field,) = [its for its in Tags(html(response))["input"] if its.get("type") == "password"]
    assert field["autocomplete"] == "current-password"


def test_a_page_that_does_not_exist_is_ours_too(signed_in):
    response = signed_in.get("/nowhere/")
    assert response.status_code == 404
    assert "There is no such page" in words(response)


def test_the_section_is_where_links_from_outside_point(signed_in):
    assert SECTION.startswith(PROFILE)
    assert Tags(html(signed_in.get(SECTION))).with_attribute("id", SECTION.partition("#")[2])


@pytest.mark.parametrize("view", [defaults.bad_request, defaults.permission_denied, defaults.server_error])
def test_what_went_wrong_is_said_on_a_page_of_ours(rf, view):
    exception = () if view is defaults.server_error else (Exception("why"),)
    request = rf.get("/")
    request.user = AnonymousUser()
    response = view(request, *exception)
    assert is_whole_page(response)
    assert "Go to My Profile" in words(response)
    assert "why" not in words(response)


def test_too_many_sign_ins_are_told_kindly(client, user):
    form = {"login": "nobody@example.com", "password": "wrong"}
    for _ in range(30):
        client.post("/accounts/login/", form)
    response = client.post("/accounts/login/", form)
    assert response.status_code == 429
    assert "Wait a minute, then try again." in words(response)
