"""The password again, when it was given long ago: in the dialog of the key, or before a form of the account."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from .browser import (
    NARROW,
    NO_KEY,
    WIDE,
    Visit,
    action,
    assert_focused,
    assert_no_axe_violations,
    assert_no_sideways_scroll,
    credentials,
    dialog,
)
from .server import DEMO_PASSWORD

pytestmark = pytest.mark.browser

CONFIRM = {"create": "Create", "regenerate": "Regenerate", "delete": "Confirm"}
each_action = pytest.mark.parametrize("name", ["create", "regenerate", "delete"])
either_way = pytest.mark.parametrize("script", [True, False])


def start(person: Visit, name: str) -> tuple[str, str] | None:
    """The prompt of an action when the password is due; the key there is, if any."""
    made = None if name == "create" else person.make_key()
    person.grow_stale()
    person.open()
    action(person.page, name).click()
    person.page.get_by_label("Your password").wait_for()
    return made


def prompt_of(person: Visit, *, script: bool) -> Locator:
    return dialog(person.page) if script else person.page.locator("main")


def session_of(person: Visit) -> str:
    (cookie,) = [it for it in person.context.cookies() if it.get("name") == "session"]
    return cookie.get("value", "")


def assert_unchanged(person: Visit, made: tuple[str, str] | None) -> None:
    if made:
        person.site.assert_works(*made, person.person)
    else:
        window = person.another_window()
        expect(window.locator("#api-key")).to_contain_text(NO_KEY)
        window.close()


@each_action
@either_way
def test_a_wrong_password_does_nothing_and_the_right_one_does_it(visit, name, script):  # page 34; security 30, 31
    person = visit(script=script)
    page = person.page
    made = start(person, name)
    prompt = prompt_of(person, script=script)
    field = prompt.get_by_label("Your password")
    confirm = prompt.get_by_role("button", name=CONFIRM[name], exact=True)
    expect(field).to_have_attribute("autocomplete", "current-password")
    before = session_of(person)

    field.fill("certainly not it")
    confirm.click()
    expect(field).to_have_accessible_description("That is not your password. Try again.")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    assert_unchanged(person, made)

    field.fill(DEMO_PASSWORD)
    confirm.click()
    if name == "delete":
        expect(page.locator("#api-key")).to_contain_text(NO_KEY)
    else:
        page.locator("#fresh-title").wait_for()
        person.site.assert_works(*credentials(page), person.person)
    if made:
        person.site.assert_refused(*made)
    expect(dialog(page)).to_have_count(0)
    assert session_of(person) != before
    # The proof counts from now on.
    action(page, "create" if name == "delete" else "delete").click()
    page.locator("#fresh-title" if name == "delete" else "[data-confirm]").wait_for()
    expect(page.get_by_label("Your password")).to_have_count(0)


@each_action
@either_way
def test_enter_in_the_password_field_destroys_nothing(visit, name, script):  # page 26, 33
    person = visit(script=script)
    page = person.page
    made = start(person, name)
    field = page.get_by_label("Your password")
    field.fill(DEMO_PASSWORD)
    field.press("Enter")
    if name == "create":  # which destroys nothing
        page.locator("#fresh-title").wait_for()
    elif script:
        assert_focused(page, CONFIRM[name])
        assert_unchanged(person, made)
        page.keyboard.press("Enter")
        action(page, "create" if name == "delete" else "regenerate").wait_for()
        expect(dialog(page)).to_have_count(0)
        assert made is not None
        person.site.assert_refused(*made)
    else:
        assert_unchanged(person, made)
        expect(field).to_have_value(DEMO_PASSWORD)


@pytest.mark.parametrize("name", ["create", "regenerate", "delete"])
def test_the_password_can_be_given_up(visit, name):  # page 26, 27
    person = visit()
    made = start(person, name)
    person.page.keyboard.press("Escape")
    expect(dialog(person.page)).to_have_count(0)
    expect(action(person.page, name)).to_be_focused()
    assert_unchanged(person, made)


@each_action
def test_no_password_is_asked_for_nothing(visit, name):
    """An empty field is refused by the browser or by us, and does nothing."""
    person = visit()
    made = start(person, name)
    dialog(person.page).get_by_role("button", name=CONFIRM[name], exact=True).click()
    field = dialog(person.page).get_by_label("Your password")
    expect(field).to_be_focused()
    assert_unchanged(person, made)


def test_the_session_ending_while_the_password_is_asked_for(visit):  # page 43
    person = visit()
    made = start(person, "regenerate")
    person.context.clear_cookies(name="session")
    dialog(person.page).get_by_label("Your password").fill(DEMO_PASSWORD)
    dialog(person.page).get_by_role("button", name="Regenerate", exact=True).click()
    person.page.wait_for_url("**/accounts/login/?next=/profile/")
    assert_unchanged(person, made)


# --- The pages of the account ---------------------------------------------------------------------------------

EMAIL = "/profile/email/"
SESSIONS = "/accounts/sessions/"
NOTHING_DONE = "Nothing was done. Confirm that it is you, then do it once more."


def give_password(page: Page) -> None:
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Confirm", exact=True).click()


@pytest.mark.parametrize(("script", "width"), [(True, WIDE), (True, NARROW), (False, NARROW)])
def test_with_an_old_proof_the_address_is_changed_after_one_password(visit, script, width):  # security 30, 67
    person = visit(script=script, width=width)
    person.grow_stale()
    page = person.open()
    page.get_by_role("link", name="Change e-mail address").click()
    expect(page.get_by_text(NOTHING_DONE)).to_have_count(0)  # nothing was asked for yet
    assert_no_sideways_scroll(page)
    give_password(page)
    page.get_by_label("New e-mail address").fill("moved@demo.example")
    page.get_by_role("button", name="Change Email").click()
    page.wait_for_url("**/profile/")
    expect(page.get_by_text("Follow the link that we sent to moved@demo.example")).to_be_visible()


@pytest.mark.parametrize(("script", "width"), [(True, WIDE), (True, NARROW), (False, NARROW)])
def test_a_form_that_is_sent_too_late_says_so_and_is_empty_after_the_password(visit, script, width):  # security 67
    person = visit(script=script, width=width)
    page = person.open(EMAIL)
    page.get_by_label("New e-mail address").fill("late@demo.example")
    person.grow_stale()
    page.get_by_role("button", name="Change Email").click()
    expect(page.get_by_text(NOTHING_DONE)).to_be_visible()
    assert_no_sideways_scroll(page)
    if script:
        assert_no_axe_violations(page)
    give_password(page)
    page.wait_for_url(f"**{EMAIL}")
    expect(page.get_by_label("New e-mail address")).to_have_value("")
    expect(page.get_by_text(NOTHING_DONE)).to_have_count(0)
    person.open()
    expect(page.get_by_text("late@demo.example")).to_have_count(0)


@either_way
def test_with_an_old_proof_a_browser_is_signed_out_after_one_password_and_a_click(visit, script):  # security 67
    person = visit(script=script)
    person.open()  # so that this session is one of the list
    person.grow_stale()
    page = person.open(SESSIONS)
    sign_out = page.get_by_role("button", name="Sign out Mozilla")
    sign_out.click()
    expect(page.get_by_text(NOTHING_DONE)).to_be_visible()
    give_password(page)
    page.wait_for_url(f"**{SESSIONS}")
    expect(sign_out).to_have_count(1)
    sign_out.click()
    expect(page.get_by_text("That browser is signed out.")).to_be_visible()
    expect(sign_out).to_have_count(0)


def test_the_password_page_can_be_left(visit):
    person = visit()
    person.grow_stale()
    page = person.open(EMAIL)
    page.get_by_role("link", name="Back to My Profile").click()
    page.wait_for_url("**/profile/")
