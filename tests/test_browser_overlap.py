"""Two secrets for a while, and checking one, as people do it: by hand, by keyboard, with and without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .browser import (
    DARK,
    LIGHT,
    NARROW,
    WIDE,
    action,
    assert_focus_is_visible,
    assert_focused,
    assert_no_sideways_scroll,
    credentials,
    dialog,
    open_dialog,
)

pytestmark = pytest.mark.browser

AT_ONCE = "Stops at once"
FIRST_USE = "Stops when the new one is first used, in 7 days at the latest"
DAY = "Stops in 24 hours"

with_and_without_script = pytest.mark.parametrize("script", [True, False])


def ask(page: Page, name: str, *, script: bool) -> Locator:
    """Open a prompt: a dialog, or the page that it is without JavaScript."""
    if script:
        return open_dialog(page, name)
    action(page, name).click()
    page.locator("main #confirm-title").wait_for()
    return page.locator("main")


def regenerate(page: Page, choice: str, *, script: bool) -> tuple[str, str]:
    prompt = ask(page, "regenerate", script=script)
    expect(prompt.get_by_role("radio", name=AT_ONCE, exact=True)).to_be_checked()
    prompt.get_by_role("group", name="The old secret key").get_by_label(choice, exact=True).check()
    prompt.get_by_role("button", name="Regenerate").click()
    page.locator("#fresh-title").wait_for()
    return credentials(page)


def check(prompt: Locator, secret: str) -> None:
    prompt.get_by_label("Secret key to check").fill(secret)
    prompt.get_by_role("button", name="Check", exact=True).click()


# --- Rotation without an outage --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "width", "scheme"),
    [(True, WIDE, DARK), (True, NARROW, LIGHT), (False, WIDE, LIGHT), (False, NARROW, DARK)],
)
def test_a_day_with_two_secrets_until_the_old_one_is_ended(visit, site, script, width, scheme):  # page 36, 38
    person = visit(script=script, width=width, scheme=scheme)
    old = person.make_key()
    page, owner = person.page, person.person
    new = regenerate(page, DAY, script=script)
    expect(page.locator(".fresh")).to_contain_text(re.compile(r"The old secret key works until \d+ \w+ \d{4}"))
    assert_no_sideways_scroll(page)
    site.assert_works(*old, owner)
    site.assert_works(*new, owner)

    person.open()
    box = page.get_by_role("region", name="The old secret key still works")
    expect(box).to_contain_text(f"…{old[1][-4:]}")
    expect(box).to_contain_text("from 127.0.0.1, python-requests")
    prompt = ask(page, "end-old", script=script)
    assert_focused(page, "Cancel")
    assert_no_sideways_scroll(page)
    site.assert_works(*old, owner)
    prompt.get_by_role("button", name="End it now").click()
    expect(page.locator("#api-key")).to_contain_text("The old secret key was ended on")
    expect(action(page, "end-old")).to_have_count(0)
    if script:
        expect(page.locator("#api-key-title")).to_be_focused()  # page 27
    else:  # the address names the section: Tab goes on from there
        page.keyboard.press("Tab")
        assert_focused(page, "Regenerate")
    site.assert_refused(*old)
    site.assert_works(*new, owner)

    person.open()
    expect(page.locator("#api-key")).to_contain_text(f"…{old[1][-4:]}, was last refused on")
    assert_no_sideways_scroll(page)


@with_and_without_script
def test_the_first_use_of_the_new_one_ends_the_old_one(visit, site, script):
    person = visit(script=script)
    old = person.make_key()
    page, owner = person.page, person.person
    new = regenerate(page, FIRST_USE, script=script)
    expect(page.locator(".fresh")).to_contain_text("works until the new one is first used, at the latest until")
    token = site.assert_works(*old, owner)
    person.open()
    expect(page.locator(".old-secret")).to_contain_text("When the new one is first used, at the latest on")
    site.assert_works(*new, owner)
    site.assert_refused(*old, token)
    person.open()
    expect(page.locator(".old-secret")).to_have_count(0)


def test_ending_an_old_secret_that_just_ended_is_told(visit, site):  # page 44
    person = visit()
    person.make_key()
    new = person.regenerate(FIRST_USE)
    prompt = open_dialog(person.page, "end-old")
    site.assert_works(*new, person.person)
    prompt.get_by_role("button", name="End it now").click()
    expect(person.page.locator("#api-key")).to_contain_text("The old secret key of this key stopped at")
    expect(person.page.locator("#api-key-title")).to_be_focused()
    site.assert_works(*new, person.person)


def test_ending_is_announced(visit):
    person = visit()
    person.make_key()
    person.regenerate(DAY)
    heard = person.listen("#announcement")
    open_dialog(person.page, "end-old").get_by_role("button", name="End it now").click()
    expect(person.page.locator("#announcement")).to_contain_text("The old secret key was ended on")
    assert len(heard()) == 1


# --- The choice ------------------------------------------------------------------------------------------------


@with_and_without_script
def test_the_sentence_above_the_choice_follows_it(visit, script):  # page 30
    person = visit(script=script)
    person.make_key()
    prompt = ask(person.page, "regenerate", script=script)
    sentence = prompt.locator("#confirm-text")
    for choice, said in {
        DAY: "The old secret key stops working in 24 hours.",
        FIRST_USE: "The old secret key stops working when the new one is first used, in 7 days at the latest.",
        AT_ONCE: "The old secret key stops working at once, unless you choose otherwise.",
    }.items():
        prompt.get_by_label(choice, exact=True).check()
        assert sentence.inner_text().startswith(said)
        assert sentence.inner_text().count("The old secret key stops") == 1


@with_and_without_script
def test_the_choice_is_made_by_keyboard_and_enter_in_it_does_nothing(visit, site, script):  # page 33, 40
    person = visit(script=script, width=NARROW)
    old = person.make_key()
    page = person.page
    ask(page, "regenerate", script=script)
    page.keyboard.press("Shift+Tab")
    assert_focused(page, AT_ONCE)
    assert_focus_is_visible(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert_focused(page, DAY)
    assert_focus_is_visible(page)
    page.keyboard.press("Enter")
    if not script:  # asked again
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Tab")
    expect(page.locator("[data-confirm]")).to_be_focused()
    expect(page.locator("#confirm-title")).to_have_text("Regenerate the secret key?")
    expect(page.get_by_label(DAY)).to_be_checked()
    page.keyboard.press("Enter")
    page.locator("#fresh-title").wait_for()
    site.assert_works(*old, person.person)
    site.assert_works(*credentials(page), person.person)


@pytest.mark.parametrize("height", [640, 900])
def test_the_choice_is_in_sight_on_a_phone(visit, height):  # page 38, 39
    person = visit(width=NARROW, height=height)
    person.make_key()
    prompt = open_dialog(person.page, "regenerate")
    actions = prompt.locator(".actions").bounding_box()
    for label in prompt.locator(".choice label").all():
        box = label.bounding_box()
        assert actions is not None
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= actions["y"]


@pytest.mark.parametrize("height", [600, 900])
def test_a_long_prompt_begins_at_its_title(visit, height):  # page 38, 39
    person = visit(width=390, height=height)
    person.make_key()
    person.open()
    prompt = ask(person.page, "regenerate", script=True)
    assert_focused(person.page, "Cancel")
    expect(prompt.get_by_role("heading", name="Regenerate the secret key?")).to_be_in_viewport(ratio=1)
    expect(prompt.get_by_role("button", name="Cancel")).to_be_in_viewport(ratio=1)


@with_and_without_script
def test_a_wrong_password_leaves_the_choice(visit, site, script):  # page 34
    person = visit(script=script)
    old = person.make_key()
    person.grow_stale()
    page = person.page
    prompt = ask(page, "regenerate", script=script)
    prompt.get_by_label(DAY).check()
    prompt.get_by_label("Your password").fill("certainly not it")
    prompt.get_by_role("button", name="Regenerate").click()
    field = page.get_by_label("Your password")
    expect(field).to_have_accessible_description("That is not your password. Try again.")
    expect(field).to_be_focused()
    expect(page.get_by_label(DAY)).to_be_checked()
    site.assert_works(*old, person.person)


# --- Check a secret key ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "width"), [(True, WIDE), (True, NARROW), (False, WIDE), (False, NARROW)])
def test_a_secret_is_checked(visit, site, script, width):  # page 36, 38
    person = visit(script=script, width=width)
    page = person.page
    _, ended = person.make_key()
    _, old = person.regenerate(AT_ONCE)
    _, new = person.regenerate(DAY)
    prompt = ask(page, "check", script=script)
    field = prompt.get_by_label("Secret key to check")
    expect(field).to_be_focused()
    for secret, told in {
        new: "It is the current one.",
        f"  {old} ": "It is the old one, good until",
        ended: "It was replaced on",
        old[:-1] + "~": "not a whole secret key at all",
    }.items():
        check(prompt, secret)
        answer = page.locator("#confirm-text")
        expect(answer).to_contain_text(told)
        expect(answer).to_be_focused()  # so it is read
        expect(field).to_have_value("")
        assert_no_sideways_scroll(page)
        assert secret.strip() not in page.content()
    prompt.get_by_role("button", name="Close").click()
    expect(page.locator("#api-key-title")).to_be_visible()
    if script:
        expect(action(page, "check")).to_be_focused()


def test_a_secret_is_checked_by_keyboard(visit):  # page 40
    person = visit()
    _, secret = person.make_key()
    page = person.page
    action(page, "check").focus()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_have_accessible_name("Check a secret key")
    assert_focused(page, "Secret key to check")
    page.keyboard.insert_text(secret)
    page.keyboard.press("Enter")
    expect(page.locator("#confirm-text")).to_be_focused()
    assert_focus_is_visible(page)
    expect(dialog(page)).to_have_accessible_description("It is the current one.")
    page.keyboard.press("Tab")
    assert_focused(page, "Secret key to check")
    page.keyboard.press("Tab")
    assert_focused(page, "Close")
    page.keyboard.press("Enter")
    expect(action(page, "check")).to_be_focused()


def test_what_was_typed_is_gone_when_the_dialog_is_closed(visit):
    person = visit()
    _, secret = person.make_key()
    open_dialog(person.page, "check").get_by_label("Secret key to check").fill(secret)
    person.page.keyboard.press("Escape")
    dialog(person.page).wait_for(state="hidden")
    expect(action(person.page, "check")).to_be_focused()
    expect(person.page.locator("input[type=password]")).to_have_count(0)


def test_a_check_that_is_refused_is_told_at_its_field(visit):
    person = visit()
    person.make_key()
    prompt = open_dialog(person.page, "check")
    field = prompt.get_by_label("Secret key to check")
    check(prompt, "   ")
    expect(field).to_have_accessible_description(re.compile("Paste a secret key."))
    expect(field).to_be_focused()
    assert field.get_attribute("aria-invalid") == "true"


# --- In French -------------------------------------------------------------------------------------------------


def test_longer_words_find_their_place(visit, site):  # page 41
    person = visit(width=NARROW, locale="fr-FR")
    old = person.make_key()
    page = person.page
    action(page, "regenerate").click()
    page.get_by_label("S’arrête dans 24 heures").check()
    assert_no_sideways_scroll(page)
    page.locator("[data-confirm]").click()
    page.locator("#fresh-title").wait_for()
    assert_no_sideways_scroll(page)
    site.assert_works(*old, person.person)
    for name in ("end-old", "check"):
        open_dialog(page, name)
        assert_no_sideways_scroll(page)
        page.keyboard.press("Escape")
        dialog(page).wait_for(state="hidden")
        person.open()
