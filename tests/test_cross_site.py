"""What another site's page sends is refused, on every page and before anything else is asked."""

import pytest
from django.test import Client

from profiles.models import User

from .conftest import PASSWORD, sign_in
from .page import words
from .routes import PEOPLE, Surface, addresses

pytestmark = pytest.mark.django_db

FROM_ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


def test_a_form_of_another_site_is_refused(admin_user):  # security 33
    browser = sign_in(Client(), admin_user)
    for path in addresses(*PEOPLE, Surface.ADMIN):
        for method in (browser.post, browser.put, browser.delete):
            response = method(path, headers=FROM_ELSEWHERE)
            assert response.status_code == 403, path
            assert "Nothing was done." in words(response)


def test_nobody_is_signed_in_by_another_site(user):  # security 33
    visitor = Client()
    form = {"login": user.email, "password": PASSWORD}
    assert visitor.post("/accounts/login/", form, headers=FROM_ELSEWHERE).status_code == 403
    assert "_auth_user_id" not in visitor.session
    for site in ("same-origin", "none", ""):
        assert Client().post("/accounts/login/", form, headers={"Sec-Fetch-Site": site}).status_code == 302


def test_a_link_from_another_site_opens_the_page(signed_in, user: User):
    assert signed_in.get("/profile/", headers=FROM_ELSEWHERE).status_code == 200
