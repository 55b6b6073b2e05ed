"""The prompts as dialogs, and where the focus is before, while and after."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .browser import NO_KEY, Visit, action, assert_focused, credentials, dialog, focused, open_dialog

pytestmark = pytest.mark.browser

TITLES = {
    "regenerate": "Regenerate the secret key?",
    "end-old": "End the old secret key now?",
    "delete": "Delete your personal API access key?",
}
CONFIRM = {"regenerate": "Regenerate", "end-old": "End it now", "delete": "Confirm"}
each = pytest.mark.parametrize("name", TITLES)


def make_key(person: Visit, name: str) -> tuple[str, str]:
    """A key that there is something to ask about. Returns the credentials that the prompt's button would end."""
    made = person.make_key()
    if name == "end-old":
        person.regenerate("Stops in 24 hours")
    return made


@each
def test_a_prompt_is_a_modal_dialog_with_name_and_description(visit, name):  # page 25, 29
    person = visit()
    make_key(person, name)
    prompt = open_dialog(person.page, name)
    assert prompt.evaluate("element => element.tagName === 'DIALOG' && element.matches(':modal')")
    expect(prompt).to_have_accessible_name(TITLES[name])
    expect(prompt).to_have_accessible_description(person.page.locator("#confirm-text").inner_text())
    assert person.page.url.endswith("/profile/")


@pytest.mark.parametrize("name", ["regenerate", "delete"])
def test_a_prompt_says_what_would_be_cut_off(visit, site, name):  # page 30, 31
    person = visit()
    client_id, secret = person.make_key()
    prompt = open_dialog(person.page, name)
    expect(prompt).to_contain_text("Never used")
    prompt.get_by_role("button", name="Cancel").click()
    site.assert_works(client_id, secret, person.person)
    site.assert_works(client_id, secret, person.person)
    prompt = open_dialog(person.page, name)
    expect(prompt).to_contain_text("2 access tokens end")
    expect(prompt).to_contain_text("from 127.0.0.1, python-requests")


@each
def test_the_focus_begins_on_cancel_and_stays_inside(visit, name):  # page 25, 26
    person = visit()
    make_key(person, name)
    page = person.page
    open_dialog(page, name)
    assert_focused(page, "Cancel")
    seen = set()
    for key in ["Tab"] * 5 + ["Shift+Tab"] * 5:
        page.keyboard.press(key)
        seen.add(focused(page))
    # "body": after the last stop it is the turn of the browser's own bar.
    choice = {"Stops at once"} if name == "regenerate" else set()
    assert seen - {"body"} == {"Cancel", CONFIRM[name]} | choice


@each
@pytest.mark.parametrize("way", ["Escape", "Enter", "Cancel"])
def test_a_cancelled_prompt_changes_nothing_and_returns_the_focus(visit, site, name, way):  # page 26, 27
    person = visit()
    client_id, secret = make_key(person, name)
    page = person.page
    action(page, name).focus()
    page.keyboard.press("Enter")
    prompt = dialog(page)
    prompt.wait_for()
    if way == "Cancel":
        prompt.get_by_role("button", name="Cancel").click()
    else:
        page.keyboard.press(way)
    prompt.wait_for(state="hidden")
    expect(action(page, name)).to_be_focused()
    site.assert_works(client_id, secret, person.person)
    open_dialog(page, name)  # and it can be opened again
    assert_focused(page, "Cancel")


@each
def test_enter_on_the_page_of_a_prompt_cancels_too(visit, site, name):  # page 26
    person = visit(script=False)
    client_id, secret = make_key(person, name)
    page = person.page
    action(page, name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLES[name])
    assert_focused(page, "Cancel")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/profile/\??#api-key$"))
    site.assert_works(client_id, secret, person.person)


@each
@pytest.mark.parametrize("script", [True, False])
def test_the_page_of_a_prompt_acts(visit, site, name, script):  # page 36
    """It can be come to with JavaScript too: by its address, or back from sign-in."""
    person = visit(script=script)
    made = make_key(person, name)
    page = person.open(f"/profile/api-key/{name}/")
    page.get_by_role("button", name=CONFIRM[name], exact=True).click()
    if name == "delete":
        expect(page.locator("#api-key")).to_contain_text(NO_KEY)
    elif name == "end-old":
        expect(page.locator("#api-key")).to_contain_text("The old secret key was ended on")
    else:
        page.locator("#fresh-title").wait_for()
        site.assert_works(*credentials(page), person.person)
    site.assert_refused(*made)


@each
def test_a_wrong_password_on_the_page_of_a_prompt_is_told(visit, site, name):  # page 34, 36
    person = visit()
    made = make_key(person, name)
    person.grow_stale()
    page = person.open(f"/profile/api-key/{name}/")
    page.get_by_label("Your password").fill("certainly not it")
    page.get_by_role("button", name=CONFIRM[name], exact=True).click()
    expect(page.get_by_label("Your password")).to_have_accessible_description("That is not your password. Try again.")
    site.assert_works(*made, person.person)


@each
def test_a_click_beside_the_dialog_confirms_nothing_and_keeps_what_was_typed(visit, site, name):  # page 28
    person = visit()
    client_id, secret = make_key(person, name)
    person.grow_stale()
    prompt = open_dialog(person.page, name)
    prompt.get_by_label("Your password").fill("typed, and not sent")
    person.page.mouse.click(5, 400)
    person.page.mouse.click(640, 3)
    expect(prompt.get_by_label("Your password")).to_have_value("typed, and not sent")
    site.assert_works(client_id, secret, person.person)


def test_a_double_click_opens_one_prompt(visit):
    person = visit()
    person.make_key()
    action(person.page, "regenerate").dblclick()
    expect(dialog(person.page)).to_have_count(1)
    assert_focused(person.page, "Cancel")


def test_a_typed_password_is_gone_when_the_prompt_is_closed(visit):
    person = visit()
    person.make_key()
    person.grow_stale()
    open_dialog(person.page, "delete").get_by_label("Your password").fill("typed, and not sent")
    person.page.keyboard.press("Escape")
    dialog(person.page).wait_for(state="hidden")
    expect(person.page.locator("input[type=password]")).to_have_count(0)


def test_the_focus_follows_each_change(visit):  # page 9, 27
    person = visit()
    page = person.open()
    action(page, "create").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#fresh-title")).to_be_focused()
    assert_focused(page, "Your key has been created")

    page.get_by_role("button", name="I have stored the secret").press("Enter")
    expect(page.get_by_text("ends in")).to_be_visible()
    expect(page.locator("#api-key-title")).to_be_focused()

    prompt = open_dialog(page, "regenerate")
    prompt.get_by_label("Stops in 24 hours").check()
    prompt.get_by_role("button", name="Regenerate").press("Enter")
    expect(page.locator("#fresh-title")).to_be_focused()
    assert_focused(page, "The secret key has been regenerated")

    open_dialog(page, "end-old").get_by_role("button", name="End it now").press("Enter")
    expect(page.locator("#api-key")).to_contain_text("The old secret key was ended on")
    expect(page.locator("#api-key-title")).to_be_focused()

    open_dialog(page, "delete").get_by_role("button", name="Confirm").press("Enter")
    expect(page.locator("#api-key")).to_contain_text(NO_KEY)
    expect(page.locator("#api-key-title")).to_be_focused()


def test_the_focus_is_on_the_panel_heading_without_javascript(visit):  # page 9
    person = visit(script=False)
    person.open()
    person.create()
    expect(person.page.locator("#fresh-title")).to_be_focused()
    credentials(person.page)


def test_deleting_is_announced(visit):  # page 37
    person = visit()
    person.make_key()
    heard = person.listen("#announcement")
    open_dialog(person.page, "delete").get_by_role("button", name="Confirm").click()
    expect(person.page.locator("#announcement")).to_contain_text("Your personal API access key was deleted")
    assert len(heard()) == 1
