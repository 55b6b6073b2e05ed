"""A new password, as a person sets it: with the rules beside it, and a way back when it is refused."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .browser import DARK, LIGHT, NARROW, WIDE, Visit, assert_no_axe_violations, assert_no_sideways_scroll
from .server import DEMO_PASSWORD

pytestmark = pytest.mark.browser

CHANGE = "/accounts/password/change/"
NEW = "Another long enough passw0rd"
either_way = pytest.mark.parametrize("script", [True, False])


def send(person: Visit, first: str, second: str) -> None:
    person.page.get_by_label("New password", exact=True).fill(first)
    person.page.get_by_label("New password, once more").fill(second)
    person.page.get_by_role("button", name="Reset Password", exact=True).click()


@either_way
def test_a_password_is_changed_from_my_profile(visit, script):
    person = visit(script=script)
    page = person.page
    made = person.make_key() if script else None
    person.grow_stale()
    person.open()
    page.get_by_role("link", name="Change password").click()
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("heading", name="Change your password")).to_be_visible()
    send(person, "too short", "too short")
    field = page.get_by_label("New password", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    send(person, NEW, NEW)
    page.wait_for_url("**/profile/")
    expect(page.locator("main")).to_contain_text("Your password was changed")
    if made:
        person.site.assert_works(*made, person.person)
        page.get_by_role("link", name="Regenerate it").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Regenerate")


def test_the_rules_tell_which_are_met_and_say_it_when_typing_pauses(visit):
    person = visit()
    page = person.open(CHANGE)
    heard = person.listen("#announcement")
    done = page.locator(".rules strong:visible")
    expect(done).to_have_count(0)
    field = page.get_by_label("New password", exact=True)
    field.press_sequentially("only small letters")
    expect(done).to_have_count(1)
    field.press_sequentially("X1")
    expect(done).to_have_count(2)
    expect(page.locator("#announcement")).to_contain_text("Done.")
    assert heard()[-1].count("Done.") == 2
    field.fill("Xx1")
    expect(done).to_have_count(1)


@pytest.mark.parametrize(("width", "scheme"), [(NARROW, DARK), (WIDE, LIGHT)])
def test_the_page_is_clean(visit, width, scheme):
    person = visit(width=width, scheme=scheme)
    page = person.open(CHANGE)
    page.get_by_label("New password", exact=True).fill("Xx1")
    page.locator(".rules strong:visible").wait_for()
    assert_no_axe_violations(page)
    assert_no_sideways_scroll(page)
    send(person, "too short", "and another")
    expect(page.locator(".field-error")).to_have_count(1)
    assert_no_axe_violations(page)
    assert_no_sideways_scroll(page)
