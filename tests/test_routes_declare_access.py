"""Every route says who gets in, and what it says is true."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from profiles.http.access import Access, declared, declares

from .access import FOREIGN, access_of, declaring, undeclared
from .conftest import sign_in
from .oauth import GRANT, post
from .page import Response, by_htmx
from .routes import Route, names, routes

pytestmark = pytest.mark.django_db

SIGN_IN = "/accounts/login/"


def each(*access: Access) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", declaring(*access), ids=lambda route: route.name)


def refused_method(response: Response) -> bool:
    return response.status_code == 405


def leads_to_sign_in(response: Response) -> bool:
    """By a redirect, or by what htmx takes for one."""
    wanted = response.headers.get("HX-Redirect") or response.headers.get("Location", "")
    return response.status_code in (200, 302) and wanted.partition("?")[0] == SIGN_IN


def assert_leads_to_sign_in(route: Route) -> None:
    """A form and a link, from a browser and from htmx, as far as they are taken there."""
    client = Client()
    address = route.address()
    answers = [client.get(address), client.post(address), by_htmx(client, address), by_htmx(client, address, {})]
    assert not all(map(refused_method, answers))
    for response in answers:
        assert leads_to_sign_in(response) or refused_method(response), (response.status_code, response.headers)


# --- Everybody says so ----------------------------------------------------------------------------------------


def test_every_route_says_who_gets_in():
    assert undeclared() == []


def test_what_is_known_of_a_view_that_is_not_ours_is_said_of_one_that_exists_and_says_nothing_itself():
    assert set(FOREIGN) <= set(names())
    assert [route.name for route in routes() if route.name in FOREIGN and declared(route.view)] == []


@pytest.mark.parametrize("access", Access)
def test_there_is_a_route_of_each_kind(access):
    assert declaring(access)


# --- It is true -----------------------------------------------------------------------------------------------


@each(Access.SIGNED_IN)
def test_nobody_gets_in_where_one_must_be_signed_in(route):
    assert_leads_to_sign_in(route)


@each(Access.SIGNING_IN)
def test_nobody_gets_to_the_second_step_without_the_first(route):
    assert_leads_to_sign_in(route)


@each(Access.STAFF)
def test_nobody_but_staff_gets_into_the_admin_site(route, client, user):
    for method in (client.get, client.post):
        response = method(route.address(), follow=True)
        assert response.redirect_chain[-1][0].partition("?")[0] == SIGN_IN
    sign_in(client, user)
    for method in (client.get, client.post):
        assert method(route.address(), follow=True).status_code == 403


@each(Access.BEARER)
def test_nobody_gets_an_answer_of_the_api_without_a_token(route, client):  # security 48
    response = client.get(route.address())
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer ")
    assert refused_method(client.post(route.address()))


@each(Access.CLIENT)
def test_no_client_gets_an_answer_without_its_credentials(route, client):
    response = post(route.address(), [GRANT, ("token", "x")])
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Basic ")
    assert refused_method(client.get(route.address()))


@each(Access.ANYONE)
def test_where_anyone_gets_in_nobody_is_asked_to_sign_in_first(route, client):
    for response in (client.get(route.address()), client.post(route.address())):
        assert response.status_code not in (401, 403)
        assert not response.headers.get("Location", "").startswith(f"{SIGN_IN}?next=")


# --- Seen to fail ---------------------------------------------------------------------------------------------


def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open to the world")


open_door = declares(Access.SIGNED_IN)(lambda request: HttpResponse("open to the world"))

# A URLconf of the site and what somebody may add to it one day.
urlpatterns = [
    path("", include("airvantage_keys.urls")),
    path("profile/forgotten/", forgotten, name="forgotten"),
    path("profile/open/", open_door, name="open"),
    path("api/v1/nameless", forgotten),
]


def test_a_route_that_says_nothing_is_found(settings):
    settings.ROOT_URLCONF = __name__
    assert undeclared() == ["/api/v1/nameless", "forgotten"]


def test_a_route_that_lets_in_others_than_it_says_is_found(settings):
    settings.ROOT_URLCONF = __name__
    (route,) = [route for route in routes() if route.name == "open"]
    assert access_of(route) is Access.SIGNED_IN
    with pytest.raises(AssertionError, match="200"):
        assert_leads_to_sign_in(route)
