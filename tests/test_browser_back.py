"""The way back: what was for somebody who was signed in is not shown to whoever sits down next."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from profiles.http.access import Access

from .access import declaring
from .browser import Person, Visit, action, credentials, fill_in_sign_in, go_back, html_of

pytestmark = pytest.mark.browser

# And pages for all that say who is signed in, and pages that there are not.
PAGES = [
    *[route.address() for route in declaring(Access.SIGNED_IN)],
    "/accounts/password/reset/",
    "/accounts/logout/",
    "/profile/nothing-here/",
    "/nothing-here/",
]
ADMIN = "admin@demo.example"
ADMIN_PAGES = ["/admin/", "/admin/profiles/user/", "/admin/profiles/nothing-here/", "/admin/password_change/"]


def sign_out(page: Page) -> None:
    """In another window: this one stays as it is, with the page before it to go back to."""
    other = page.context.new_page()
    other.goto("/accounts/logout/")
    other.get_by_role("main").get_by_role("button", name="Sign out").click()
    other.wait_for_url("**/accounts/login/")
    other.close()


def assert_not_shown_again(person: Visit, path: str, *private: str) -> None:
    page = person.page
    page.goto(path)
    assert any(text in page.content() for text in private), "the page does not say whose it is: look for something else"
    page.goto("/livez")
    sign_out(page)
    go_back(page)
    for text in private:
        expect(page.locator("html")).not_to_contain_text(text)
        assert text not in html_of(page)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_an_account_is_shown_again_after_sign_out(visit, path):  # security 55, 82
    # Where there are scripts, ours asks for a page anew that the browser had kept: here the answer's headers must do.
    person = visit(script=False)
    person.expects(r"status of 40[1345] ")
    assert_not_shown_again(person, path, person.person.email, "Petra Person")


@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_no_page_of_the_admin_site_is_shown_again_after_sign_out(visit, path):  # security 55, 82
    person = visit(session="", script=False)
    person.expects(r"status of 40[134] ")
    fill_in_sign_in(person.open("/accounts/login/?next=/admin/"), Person(ADMIN, "", ""))
    person.page.wait_for_url("**/admin/")
    assert_not_shown_again(person, path, "Ada Admin", ADMIN)


def test_the_secret_can_be_left_without_a_question_and_is_not_shown_again(visit):  # page 10
    person = visit()
    page = person.open()
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    person.create()
    made = credentials(page)
    page.goto("/accounts/activity/")
    assert asked == []
    page.goto("/profile/")
    expect(action(page, "regenerate")).to_be_visible()
    assert made[1] not in html_of(page)


def test_done_ends_the_view_of_the_secret(visit):  # page 10
    person = visit()
    person.open()
    _, secret = person.create()
    person.page.get_by_role("button", name="I have stored the secret").click()
    expect(person.page.get_by_text("ends in")).to_be_visible()
    assert secret not in html_of(person.page)
