"""Signed-in browsers and security activity, as a person sees and uses them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .browser import DARK, LIGHT, NARROW, WIDE, assert_no_axe_violations, assert_no_sideways_scroll

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("script", "width", "scheme"), [(True, WIDE, LIGHT), (False, NARROW, DARK)])
def test_another_browser_is_signed_out(visit, script, width, scheme):
    person = visit(width=width, scheme=scheme, script=script)
    other = visit(person=person.person, session="")
    other.sign_in()
    page = person.open()
    page.get_by_role("link", name="Show browsers").click()
    expect(page.locator(".rows > li")).to_have_count(2)
    expect(page.get_by_text("This browser")).to_have_count(1)
    assert_no_sideways_scroll(page)
    if script:
        assert_no_axe_violations(page)
    page.locator(".rows").get_by_role("button", name="Sign out").click()
    expect(page.locator(".alert.success")).to_contain_text("That browser is signed out.")
    other.open()
    other.page.wait_for_url("**/accounts/login/?next=/profile/")


@pytest.mark.parametrize(("width", "scheme"), [(NARROW, DARK), (WIDE, LIGHT)])
def test_the_activity_is_clean(visit, width, scheme):
    person = visit(width=width, scheme=scheme, session="")
    person.sign_in()
    page = person.page
    page.get_by_role("link", name="Show activity").click()
    expect(page.locator(".events > li").first).to_contain_text("Signed in")
    assert_no_axe_violations(page)
    assert_no_sideways_scroll(page)
    page.goto("/accounts/sessions/")
    assert_no_axe_violations(page)
    assert_no_sideways_scroll(page)
