"""API Clients in a browser: from the list to a client and back, by keyboard, without JavaScript, small and dark."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .browser import (
    DARK,
    LIGHT,
    NARROW,
    WIDE,
    Person,
    Site,
    Visit,
    action,
    assert_focus_is_visible,
    assert_focused,
    assert_no_axe_violations,
    assert_no_sideways_scroll,
    credentials,
    dialog,
    focused,
    go_back,
    html_of,
    open_dialog,
)
from .test_browser_layout import LENGTHEN, cut_off, sizes
from .valid_html import assert_valid

pytestmark = pytest.mark.browser

LIST = "/develop/api/clients/"


@pytest.fixture
def people(site: Site) -> list[Person]:
    """Two who may do everything to the API Clients of a company, which has no others."""
    return site.manager(count=2)


@pytest.fixture
def enter(visit, people) -> Callable[..., Visit]:
    """Let the first of them come with a browser."""

    def come(person: Person = people[0], **options: object) -> Visit:
        came: Visit = visit(person=person, **options)
        return came

    return come


def page_of(client_id: str, name: str = "") -> str:
    return f"{LIST}{client_id}/{name and name + '/'}"


def assert_accepted(site: Site, client_id: str, secret: str) -> str:
    """The credentials give a token. Returns it."""
    answer = site.token(client_id, secret)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def press(page: Page, key: str, until: str) -> None:
    """Go on by this key until what has the focus is called so."""
    for _ in range(60):
        if focused(page) == until:
            assert_focus_is_visible(page)
            return
        page.keyboard.press(key)
    raise AssertionError(f"{until!r} was never reached")


# --- The whole life -------------------------------------------------------------------------------------------


def test_a_client_by_keyboard_alone(enter, site):
    person = enter()
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = person.open()
    press(page, "Tab", "Menu")
    page.keyboard.press("Enter")
    press(page, "Tab", "API Clients")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{LIST}")
    press(page, "Tab", "Create")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{LIST}create/")

    assert_focused(page, "Name")
    page.keyboard.type("Nightly export")
    page.keyboard.press("Tab")
    page.keyboard.type("Operator")
    page.keyboard.press("Tab")
    page.keyboard.type("Host 7")
    press(page, "Tab", "Create")
    page.keyboard.press("Enter")
    page.locator("#fresh-title").wait_for()
    assert_focused(page, "The API Client has been created")
    client_id, secret = credentials(page)
    token = assert_accepted(site, client_id, secret)
    assert site.current_user(token).json()["name"] == "Nightly export"

    press(page, "Tab", "Copy secret key")
    page.keyboard.press("Enter")
    expect(page.locator("#announcement")).to_have_text("Secret key copied.")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    press(page, "Tab", "I have stored the secret")
    page.keyboard.press("Enter")
    expect(page.locator('[data-field="secret-key"]')).to_contain_text("ends in")
    expect(page).to_have_url(f"{site.url}{page_of(client_id)}")
    assert_focused(page, "Nightly export")


def test_another_secret_by_keyboard_alone(enter, site):
    person = enter()
    client_id, secret = person.make_client()
    token = assert_accepted(site, client_id, secret)
    page = person.open(page_of(client_id))
    press(page, "Tab", "Regenerate")
    page.keyboard.press("Enter")
    dialog(page).wait_for()
    assert_focused(page, "Cancel")
    press(page, "Shift+Tab", "Stops at once")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    press(page, "Tab", "Regenerate")
    page.keyboard.press("Enter")
    page.locator("#fresh-title").wait_for()
    assert_focused(page, "The secret key has been regenerated")
    expect(page.locator("#api-key")).to_contain_text("This secret is shown only to you, Petra Person")
    _, new_secret = credentials(page)
    assert_accepted(site, client_id, secret)
    press(page, "Tab", "End it now")
    page.keyboard.press("Enter")
    dialog(page).wait_for()
    press(page, "Tab", "End it now")
    page.keyboard.press("Enter")
    expect(page.locator("#api-key")).to_contain_text("The old secret key was ended on")
    assert_focused(page, "Nightly export")
    site.assert_refused(client_id, secret, token)
    assert_accepted(site, client_id, new_secret)


def test_on_off_edited_and_deleted_by_keyboard_alone(enter, site):
    person = enter()
    client_id, secret = person.make_client()
    token = assert_accepted(site, client_id, secret)
    page = person.open(page_of(client_id))
    for name, label, said in (("disable", "Disable", "was disabled on"), ("enable", "Enable", "was enabled on")):
        heard = person.listen("#announcement")
        press(page, "Tab", label)
        page.keyboard.press("Enter")
        dialog(page).wait_for()
        expect(dialog(page)).to_have_accessible_name(f"{label} this API Client?")
        assert_focused(page, "Cancel")
        press(page, "Tab", label)
        page.keyboard.press("Enter")
        expect(page.locator("#announcement")).to_contain_text(said)
        assert_focused(page, "Nightly export")
        assert len(heard()) == 1
        if name == "disable":
            site.assert_refused(client_id, secret, token)
    assert site.current_user(token).status_code == 200

    press(page, "Tab", "Edit")
    page.keyboard.press("Enter")
    dialog(page).wait_for()
    assert_focused(page, "Name")
    page.keyboard.type("Weekly export")  # what was there is selected
    page.keyboard.press("Enter")
    expect(page.locator("#api-key")).to_contain_text("The API Client was saved.")
    expect(page).to_have_title(re.compile("Weekly export"))
    assert "Weekly export" in focused(page)

    press(page, "Tab", "Delete")
    page.keyboard.press("Enter")
    dialog(page).wait_for()
    press(page, "Tab", "Confirm")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{LIST}")
    expect(page.locator("main")).to_contain_text("was deleted on")
    assert_focused(page, "API Clients")
    site.assert_refused(client_id, secret, token)


def test_the_whole_life_without_javascript(enter, site):
    person = enter(script=False)
    client_id, secret = person.make_client()
    page = person.page
    expect(page.get_by_role("button", name="Copy client ID")).to_have_count(0)
    assert_accepted(site, client_id, secret)
    page.get_by_role("button", name="I have stored the secret").click()
    expect(page).to_have_url(re.compile(re.escape(page_of(client_id))))

    action(page, "regenerate").click()
    page.get_by_label("Stops in 24 hours").check()
    page.get_by_role("button", name="Regenerate", exact=True).click()
    _, new_secret = credentials(page)
    page.goto(page_of(client_id))
    action(page, "end-old").click()
    page.get_by_role("button", name="End it now").click()
    expect(page.locator("#api-key")).to_contain_text("The old secret key was ended on")
    site.assert_refused(client_id, secret)

    for name, label in (("disable", "Disable"), ("enable", "Enable")):
        action(page, name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{label} this API Client?")
        assert_focused(page, "Cancel")
        page.get_by_role("button", name=label, exact=True).click()
        expect(page.locator("#api-key")).to_contain_text(f"The API Client was {label.lower()}d on")
    assert_accepted(site, client_id, new_secret)

    action(page, "edit").click()
    page.get_by_label("Name", exact=True).fill("Weekly export")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Weekly export")
    action(page, "check").click()
    page.get_by_label("Secret key to check").fill(new_secret)
    page.get_by_role("button", name="Check").click()
    expect(page.locator("main")).to_contain_text("It is the current one.")
    page.get_by_role("button", name="Close").click()
    action(page, "delete").click()
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(f"**{LIST}")
    site.assert_refused(client_id, new_secret)


# --- The dialogs ----------------------------------------------------------------------------------------------

DIALOGS = ("edit", "regenerate", "disable", "delete", "check")


@pytest.mark.parametrize("name", DIALOGS)
def test_each_prompt_is_a_modal_dialog_that_can_be_left(enter, name):
    person = enter()
    client_id, _ = person.make_client()
    page = person.open(page_of(client_id))
    action(page, name).focus()
    page.keyboard.press("Enter")
    prompt = dialog(page)
    prompt.wait_for()
    assert prompt.evaluate("element => element.tagName === 'DIALOG' && element.matches(':modal')")
    expect(prompt).to_have_accessible_description(page.locator("#confirm-text").inner_text())
    page.keyboard.press("Escape")
    prompt.wait_for(state="hidden")
    expect(action(page, name)).to_be_focused()
    expect(page).to_have_url(re.compile(f"{re.escape(page_of(client_id))}$"))


def test_a_wrong_name_is_told_in_the_dialog_and_the_focus_is_on_it(enter):
    person = enter()
    person.make_client("Other")
    client_id, _ = person.make_client()
    page = person.open(page_of(client_id))
    prompt = open_dialog(page, "edit")
    prompt.get_by_label("Name", exact=True).fill("OTHER")
    prompt.get_by_role("button", name="Save").click()
    field = prompt.get_by_label("Name", exact=True)
    expect(field).to_have_accessible_description(re.compile("Another API Client of your company has this name."))
    expect(field).to_be_focused()


def test_the_password_is_asked_in_the_dialog(enter, site):
    person = enter()
    client_id, secret = person.make_client()
    person.grow_stale()
    page = person.open(page_of(client_id))
    prompt = open_dialog(page, "disable")
    prompt.get_by_label("Your password").fill("certainly not it")
    prompt.get_by_role("button", name="Disable").click()
    expect(prompt).to_contain_text("That is not your password.")
    assert_accepted(site, client_id, secret)


def test_of_two_windows_the_second_does_nothing(enter, site):
    person = enter()
    client_id, secret = person.make_client()
    page = person.open(page_of(client_id))
    other = person.another_window(page_of(client_id))
    prompt = open_dialog(page, "delete")
    open_dialog(other, "disable").get_by_role("button", name="Disable").click()
    expect(other.locator("#api-key")).to_contain_text("was disabled on")
    prompt.get_by_role("button", name="Confirm").click()
    expect(page.locator("#api-key")).to_contain_text("This API Client was disabled at")
    expect(page.locator("#api-key")).to_contain_text("Nothing was done now.")
    assert_focused(page, "Nightly export")
    site.assert_refused(client_id, secret)


def test_a_client_that_is_gone_is_told_in_the_page(enter):
    person = enter()
    person.expects("status of 404 |Response Status Error Code 404")
    client_id, _ = person.make_client()
    page = person.open(page_of(client_id))
    other = person.another_window(page_of(client_id))
    open_dialog(other, "delete").get_by_role("button", name="Confirm").click()
    other.wait_for_url(f"**{LIST}")
    action(page, "regenerate").click()
    expect(page.locator("#failure")).to_contain_text("This page is out of date, so nothing was done.")


def test_reloading_the_answer_of_create_makes_no_second(enter):
    person = enter()
    person.make_client()
    page = person.page
    page.reload()
    expect(page.locator("main")).to_contain_text("You created “Nightly export” at")
    expect(page.locator('[data-field="secret-key"]')).to_have_count(0)
    page.goto(LIST)
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_secret_does_not_come_back_with_the_page(enter):
    """From the page that the browser kept, one comes to the client as it is now, not to My Profile."""
    person = enter()
    client_id, secret = person.make_client()
    page = person.page
    page.goto(LIST)
    if go_back(page):
        page.wait_for_url(f"**{page_of(client_id)}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Nightly export")
    assert secret not in html_of(page)


# --- The list -------------------------------------------------------------------------------------------------


def test_the_client_id_is_copied_from_its_row(enter):
    person = enter()
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.make_client("First")
    client_id, _ = person.make_client("Second")
    page = person.open(LIST)
    row = page.get_by_role("row", name="Second")
    button = row.get_by_role("button", name="Copy client ID", exact=True)
    expect(button).to_have_accessible_description("Second")
    button.click()
    expect(page.locator("#announcement")).to_have_text("Client ID copied.")
    assert page.evaluate("navigator.clipboard.readText()") == client_id


def test_the_client_id_can_be_copied_by_hand_where_the_script_may_not(enter):
    person = enter()
    client_id, _ = person.make_client()
    page = person.open(LIST)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.get_by_role("button", name="Copy client ID").click()
    expect(page.locator("#announcement")).to_contain_text("Copying did not work; the text is selected.")
    assert page.evaluate("getSelection().toString()") == client_id


def test_whose_secret_somebody_knows_who_has_left_is_told_to_the_others(enter, site, people):
    first, second = people
    client_id, _ = enter(first).make_client()
    site.leave(first)
    page = enter(second).open(LIST)
    alert = page.locator(".alert.warning")
    expect(alert).to_contain_text("Nightly export: shown to Petra Person, who has left")
    alert.get_by_role("link", name="Nightly export").click()
    page.wait_for_url(f"**{page_of(client_id)}")
    expect(page.locator("#api-key")).to_contain_text("was shown to Petra Person, who has left.")
    assert_no_axe_violations(page)


# --- How it looks ---------------------------------------------------------------------------------------------


def states(person: Visit, colleague: Person | None = None) -> Iterator[tuple[str, Page]]:
    """The pages in one state after the other: (name of the state, page)."""
    page = person.open(LIST)
    yield "empty list", page
    page.get_by_role("button", name="Menu", exact=True).click()
    page.get_by_role("link", name="API Clients", exact=True).wait_for()
    yield "menu", page
    person.open(f"{LIST}create/")
    yield "create", page
    page.get_by_role("button", name="Create").evaluate("button => button.form.noValidate = true")
    page.get_by_role("button", name="Create").click()
    page.locator(".field-error").first.wait_for()
    yield "create with errors", page
    note = "Runs on host 7 in the cellar of the depot in Lyon.\nAsk Petra, or whoever has the pager."
    client_id, _ = person.make_client("Nightly export of all systems to the warehouse of the company", note)
    yield "created", page
    person.make_client("Billing")
    page.reload()
    page.locator(".alert.warning").wait_for()
    yield "created again", page
    person.open(f"{LIST}{client_id}/")
    for summary in page.locator("#api-key summary").all():
        summary.click()
    yield "client", page
    for name in DIALOGS:
        person.open(f"{LIST}{client_id}/")
        open_dialog(page, name)
        yield f"{name} dialog", page
    person.open(f"{LIST}{client_id}/")
    prompt = open_dialog(page, "regenerate")
    prompt.get_by_label("Stops in 24 hours").check()
    prompt.get_by_role("button", name="Regenerate").click()
    page.locator("#fresh-title").wait_for()
    yield "regenerated", page
    person.open(f"{LIST}{client_id}/")
    open_dialog(page, "disable").get_by_role("button", name="Disable").click()
    expect(page.locator("#api-key")).to_contain_text("was disabled on")
    yield "disabled", page
    open_dialog(page, "enable")
    yield "enable dialog", page
    person.open(f"{LIST}{client_id}/delete/")
    yield "delete page", page
    person.open(f"{LIST}{client_id}/edit/")
    yield "edit page", page
    person.open(LIST)
    yield "list", page
    person.open(f"{LIST}?q=nothing+of+this+name")
    yield "nothing found", page
    person.grow_stale()
    person.open(f"{LIST}{client_id}/")
    open_dialog(page, "edit")
    yield "edit dialog with password", page


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, LIGHT), (NARROW, DARK)])
def test_every_state_is_clean(enter, width, scheme):  # page 38, 42
    """SCREENSHOTS=folder keeps a picture of each."""
    for name, page in states(enter(width=width, scheme=scheme)):
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], name
        assert_no_axe_violations(page)
        assert_valid(page.content())
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder, f"{name} {width}.png"), full_page="dialog" not in name, caret="initial")


def test_what_can_be_pressed_is_large_enough_and_longer_words_fit(enter):  # page 22, 41
    for name, page in states(enter(width=NARROW, has_touch=True)):
        small = [it for it in sizes(page) if it[1] < 43.5 or it[2] < 43.5]
        assert small == [], name
        page.evaluate(LENGTHEN)
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], name
        page.evaluate("window.shorten()")


def test_french_words_fit(enter, people, site):
    """SCREENSHOTS=folder keeps a picture of each."""
    folder = os.environ.get("SCREENSHOTS")

    def look(name: str) -> None:
        assert person.page.locator("html").get_attribute("lang") == "fr"
        assert_no_sideways_scroll(person.page)
        assert cut_off(person.page) == [], name
        if folder:
            person.page.screenshot(path=Path(folder, f"{name} fr.png"), full_page="dialog" not in name)

    person = enter(width=NARROW, locale="fr-FR")
    page = person.open(LIST)
    look("empty list")
    person.open(f"{LIST}create/")
    look("create")
    client_id, _ = enter(people[1]).make_client("Nightly export of all systems to the warehouse", "Runs on host 7.")
    site.leave(people[1])
    person.open(LIST)
    look("list")
    person.open(f"{LIST}{client_id}/")
    for summary in page.locator("#api-key summary").all():
        summary.click()
    look("client")
    for name in DIALOGS:
        person.open(f"{LIST}{client_id}/")
        open_dialog(page, name)
        look(f"{name} dialog")
    person.open(f"{LIST}{client_id}/")
    open_dialog(page, "regenerate").locator('[value="24h"]').check()
    page.locator("[data-confirm]").click()
    page.locator("#fresh-title").wait_for()
    look("regenerated")
    person.open(LIST)
    look("list with two secrets")
    person.open(f"{LIST}{client_id}/")
    look("two secrets")
    open_dialog(page, "disable").locator("[data-confirm]").click()
    expect(page.locator("#api-key")).to_contain_text("Ce Client API est désactivé.")
    look("disabled")
    person.open(LIST)
    look("list with one that is disabled")
