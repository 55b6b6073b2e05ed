"""What goes wrong: impatience, other windows, the way back, an ended session, a lost network, a server in trouble.

The user sees what happened, and nothing is lost.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .browser import (
    NO_KEY,
    Held,
    Visit,
    action,
    credentials,
    dialog,
    fill_in_sign_in,
    go_back,
    lose_answers,
    open_dialog,
)

pytestmark = pytest.mark.browser

PATHS = {name: f"/profile/api-key/{name}/" for name in ("create", "regenerate", "delete")}
CONFIRM = {"regenerate": "Regenerate", "delete": "Confirm"}
LOST = r"^Failed to load resource: net::ERR_|^htmx:(afterRequest|sendError)"
SERVER_TROUBLE = r"status of 50[03] |^Response Status Error Code 50[03]"

either_way = pytest.mark.parametrize("script", [True, False])
each_action = pytest.mark.parametrize("name", ["create", "regenerate", "delete"])


def start(visit: Visit, name: str) -> tuple[str, str] | None:
    """The page from which an action is confirmed by `press`; the key there is, if any."""
    made = None
    if name == "create":
        visit.open()
    else:
        made = visit.make_key()
        open_dialog(visit.page, name)
    return made


def press(page: Page, name: str) -> None:
    button(page, name).click()


def button(page: Page, name: str):
    return action(page, "create") if name == "create" else dialog(page).get_by_role("button", name=CONFIRM[name])


def told(page: Page, name: str):
    """The live region where a failure of this action is heard: not behind an open dialog."""
    return page.locator("body > [role=alert]") if name == "create" else dialog(page).get_by_role("alert")


def assert_unchanged(visit: Visit, made: tuple[str, str] | None) -> None:
    if made:
        visit.site.assert_works(*made, visit.person)
    else:
        page = visit.context.new_page()
        page.goto("/profile/")
        expect(page.locator("#api-key")).to_contain_text(NO_KEY)
        page.close()


def assert_done(visit: Visit, name: str, before: tuple[str, str] | None) -> None:
    page = visit.page
    if name == "delete":
        expect(page.locator("#api-key")).to_contain_text(NO_KEY)
    else:
        page.locator("#fresh-title").wait_for()
        visit.site.assert_works(*credentials(page), visit.person)
    if before:
        visit.site.assert_refused(*before)


# --- Impatience and other windows ----------------------------------------------------------------------------


def test_a_double_click_on_create_is_one_request(visit):  # page 8; security 36
    person = visit()
    page = person.open()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    action(page, "create").dblclick()
    page.locator("#fresh-title").wait_for()
    assert len(sent) == 1
    person.site.assert_works(*credentials(page), person.person)


def test_a_double_click_on_create_without_javascript_makes_one_key(visit):  # page 8; security 36
    person = visit(script=False)
    page = person.open()
    action(page, "create").dblclick()
    action(page, "regenerate").wait_for()
    if page.locator("#fresh-title").count():
        person.site.assert_works(*credentials(page), person.person)
    else:  # the answer to the second click
        expect(page.locator("#api-key")).to_contain_text("The secret key can no longer be shown.")


@either_way
def test_create_in_a_second_window_changes_nothing_and_says_so(visit, script):  # page 44; security 36
    person = visit(script=script)
    person.open()
    other = person.another_window()
    made = person.create()
    action(other, "create").click()
    section = other.locator("#api-key")
    expect(section).to_contain_text(re.compile(r"This key was created at \d\d:\d\d UTC, in another window"))
    expect(section).to_contain_text("Nothing was done now.")
    expect(section).to_contain_text("The secret key can no longer be shown. If you have not stored it, regenerate it.")
    expect(action(other, "regenerate")).to_be_visible()
    expect(other.locator("#api-key-title")).to_be_focused()
    person.site.assert_works(*made, person.person)


@either_way
@pytest.mark.parametrize("name", ["regenerate", "delete"])
def test_a_prompt_of_before_a_change_changes_nothing_and_says_so(visit, script, name):  # page 44; security 36
    person = visit(script=script)
    old = person.make_key()
    other = person.another_window()
    action(other, name).click()
    confirm = other.locator("[data-confirm]")
    confirm.wait_for()

    action(person.page, "regenerate").click()
    person.page.locator("[data-confirm]").click()
    person.page.locator("#fresh-title").wait_for()
    new = credentials(person.page)

    confirm.click()
    section = other.locator("#api-key")
    expect(section).to_contain_text(re.compile(r"This key was changed at \d\d:\d\d UTC, in another window"))
    expect(section).to_contain_text("Nothing was done now.")
    expect(dialog(other)).to_have_count(0)
    expect(other.locator("#api-key-title")).to_be_focused()
    person.site.assert_works(*new, person.person)
    person.site.assert_refused(*old)


@either_way
@pytest.mark.parametrize("name", ["regenerate", "delete"])
def test_a_key_that_is_gone_cannot_be_changed_and_the_page_says_so(visit, script, name):  # page 44
    person = visit(script=script)
    old = person.make_key()
    other = person.another_window()
    action(person.page, "delete").click()
    person.page.locator("[data-confirm]").click()
    action(person.page, "create").wait_for()

    action(other, name).click()
    section = other.locator("#api-key")
    expect(section).to_contain_text("Nothing was done")
    expect(section).to_contain_text(NO_KEY)
    expect(dialog(other)).to_have_count(0)
    expect(other.locator("#api-key-title")).to_be_focused()
    person.site.assert_refused(*old)


# --- The way back --------------------------------------------------------------------------------------------


@either_way
def test_reloading_after_create_makes_no_second_key_and_shows_no_secret(visit, script):  # page 8
    person = visit(script=script)
    page = person.open()
    made = person.create()
    page.reload()
    action(page, "regenerate").wait_for()
    assert made[1] not in page.content()
    assert page.locator('[data-field="client-id"]').inner_text() == made[0]
    if not script:  # the form was sent again
        expect(page.locator("#api-key")).to_contain_text("The secret key can no longer be shown.")
    person.site.assert_works(*made, person.person)


@either_way
def test_reloading_after_regenerate_changes_nothing_more(visit, script):  # page 8
    person = visit(script=script)
    page = person.page
    person.make_key()
    action(page, "regenerate").click()
    page.locator("[data-confirm]").click()
    page.locator("#fresh-title").wait_for()
    made = credentials(page)
    page.reload()
    action(page, "regenerate").wait_for()
    assert made[1] not in page.content()
    person.site.assert_works(*made, person.person)


@either_way
def test_going_back_and_forward_shows_no_secret_and_changes_nothing(visit, script):  # page 8; security 55
    person = visit(script=script)
    page = person.open()
    made = person.create()
    page.goto("/api/docs")
    if go_back(page):
        expect(action(page, "regenerate")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text(made[1])
    page.go_forward(wait_until="commit")
    expect(page.locator("h1")).to_contain_text("API")
    page.goto("/profile/")
    expect(action(page, "regenerate")).to_be_visible()
    assert page.locator('[data-field="client-id"]').inner_text() == made[0]
    person.site.assert_works(*made, person.person)


@either_way
def test_going_back_after_sign_out_shows_no_secret(visit, script):  # security 55
    person = visit(script=script)
    page = person.open()
    _, secret = person.create()
    page.get_by_role("button", name="Menu", exact=True).click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/accounts/login/")
    if not go_back(page):
        expect(page.locator("body")).not_to_contain_text(secret)
        go_back(page)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text(secret)
    expect(page.locator("body")).not_to_contain_text(person.person.email)


# --- A session that ended ------------------------------------------------------------------------------------


def sign_out_elsewhere(person: Visit) -> Page:
    other = person.another_window()
    other.get_by_role("button", name="Menu", exact=True).click()
    other.get_by_role("button", name="Sign out", exact=True).click()
    other.wait_for_url("**/accounts/login/")
    return other


@either_way
@each_action
def test_an_action_after_the_session_ended_leads_by_sign_in_back_and_does_nothing(visit, script, name):  # page 43
    person = visit(script=script)
    page = person.page
    if name == "create":
        made = None
        person.open()
    else:
        made = person.make_key()
        action(page, name).click()
        page.locator("[data-confirm]").wait_for()
    sign_out_elsewhere(person)
    (action(page, "create") if name == "create" else page.locator("[data-confirm]")).click()
    page.wait_for_url("**/accounts/login/?next=/profile/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")  # as a whole page
    fill_in_sign_in(page, person.person)
    page.wait_for_url("**/profile/")
    expect(page.locator("main")).to_contain_text("You had been signed out, so nothing was done.")
    assert_unchanged(person, made)


def test_opening_a_prompt_after_the_session_ended_leads_by_sign_in_back(visit):
    person = visit()
    person.make_key()
    person.context.clear_cookies(name="session")  # as when it expires
    action(person.page, "delete").click()
    person.page.wait_for_url("**/accounts/login/?next=/profile/")
    fill_in_sign_in(person.page, person.person)
    person.page.wait_for_url("**/profile/")
    expect(action(person.page, "delete")).to_be_visible()


@either_way
def test_a_form_of_before_sign_in_elsewhere_does_nothing_and_says_so(visit, script):
    person = visit(script=script)
    person.expects("status of 403 |Response Status Error Code 403")
    page = person.open()
    other = sign_out_elsewhere(person)
    fill_in_sign_in(other, person.person)
    other.wait_for_url("**/profile/")
    action(page, "create").click()
    if script:
        expect(told(page, "create")).to_contain_text("This page is out of date, so nothing was done.")
    else:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("main")).to_contain_text("Nothing was done.")
    assert_unchanged(person, None)
    person.open()
    person.create()


# --- A network that fails, a server in trouble ---------------------------------------------------------------


@each_action
def test_a_lost_network_is_told_and_loses_nothing(visit, name):
    person = visit()
    person.expects(LOST)
    page = person.page
    made = start(person, name)
    person.context.set_offline(True)
    press(page, name)
    expect(told(page, name)).to_contain_text("The server could not be reached")
    expect(button(page, name)).to_be_enabled()
    expect(button(page, name)).to_be_focused()
    expect(button(page, name)).not_to_have_attribute("aria-busy", "true")
    person.context.set_offline(False)
    assert_unchanged(person, made)
    press(page, name)
    assert_done(person, name, made)
    expect(page.locator("body > [role=alert]")).to_be_empty()


@pytest.mark.parametrize("name", ["regenerate", "delete"])
def test_a_prompt_that_cannot_be_fetched_is_told_in_the_page(visit, name):
    person = visit()
    person.expects(LOST)
    person.make_key()
    page = person.page
    person.context.set_offline(True)
    action(page, name).click()
    expect(page.locator("body > [role=alert]")).to_contain_text("The server could not be reached")
    expect(action(page, name)).to_be_focused()
    person.context.set_offline(False)
    open_dialog(page, name)
    expect(page.locator("body > [role=alert]")).to_be_empty()


@each_action
def test_a_lost_answer_is_told_and_the_next_try_says_what_was_done(visit, name):
    person = visit()
    person.expects(LOST)
    page = person.page
    start(person, name)
    lose_answers(page, PATHS[name])
    press(page, name)
    expect(told(page, name)).to_contain_text("The server could not be reached, or its answer was lost.")
    page.unroute_all()
    press(page, name)
    expect(page.locator("#api-key")).to_contain_text("by an earlier click")
    expect(dialog(page)).to_have_count(0)
    expect(page.locator("#api-key-title")).to_be_focused()


@each_action
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_is_told_and_loses_nothing(visit, name, status):  # page 35
    person = visit()
    person.expects(SERVER_TROUBLE)
    page = person.page
    made = start(person, name)
    page.route(f"**{PATHS[name]}", lambda route: route.fulfill(status=status, body="<h1>Trouble</h1>"))
    press(page, name)
    expect(told(page, name)).to_contain_text("Something went wrong on our side")
    expect(page.locator("body")).not_to_contain_text("Trouble")
    expect(button(page, name)).to_be_enabled()
    page.unroute_all()
    assert_unchanged(person, made)
    press(page, name)
    assert_done(person, name, made)


def test_a_whole_page_where_a_part_was_asked_for_is_not_put_into_the_page(visit):
    person = visit()
    made = start(person, "delete")
    page = person.page
    whole = "<!doctype html><html><body><h1>Gateway</h1></body></html>"
    page.route(f"**{PATHS['delete']}", lambda route: route.fulfill(status=200, content_type="text/html", body=whole))
    press(page, "delete")
    expect(told(page, "delete")).to_contain_text("Something went wrong on our side")
    expect(page.locator("body")).not_to_contain_text("Gateway")
    page.unroute_all()
    assert_unchanged(person, made)


@each_action
def test_while_a_request_runs_its_button_says_so(visit, name):  # page 35
    person = visit()
    made = start(person, name)
    page = person.page
    held = Held(page, PATHS[name])
    label = button(page, name).inner_text()
    press(page, name)
    held.wait()
    expect(button(page, name)).to_be_disabled()
    expect(button(page, name)).to_have_attribute("aria-busy", "true")
    expect(button(page, name)).to_have_accessible_name(label)
    held.release()
    assert_done(person, name, made)


def test_closing_the_dialog_while_its_request_runs_does_not_lose_the_secret(visit):
    person = visit()
    made = start(person, "regenerate")
    page = person.page
    held = Held(page, PATHS["regenerate"])
    press(page, "regenerate")
    held.wait()
    page.keyboard.press("Escape")
    held.release()
    assert_done(person, "regenerate", made)
    expect(page.locator("#fresh-title")).to_be_focused()
    expect(dialog(page)).to_have_count(0)


# --- Scripts that do not come --------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["htmx", "site", "key", "*"])
def test_it_works_with_whatever_script_is_missing(visit, missing):  # page 36
    person = visit()
    person.expects(LOST)
    person.page.route(re.compile(rf"/static/.*{missing.replace('*', '')}.*\.js"), lambda route: route.abort())
    page = person.open()
    client_id, secret = person.create()
    action(page, "regenerate").click()
    page.locator("[data-confirm]").click()
    page.wait_for_function("secret => !document.body.innerText.includes(secret)", arg=secret)
    page.locator("#fresh-title").wait_for()
    same, new = credentials(page)
    assert same == client_id
    person.site.assert_works(client_id, new, person.person)
    action(page, "delete").click()
    page.locator("[data-confirm]").click()
    expect(page.locator("#api-key")).to_contain_text(NO_KEY)
