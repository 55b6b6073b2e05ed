"""The user guide, step by step and in its words; after each step a program tries what the page shows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page

from .browser import (
    DARK,
    LIGHT,
    NARROW,
    NO_KEY,
    PHONE,
    WIDE,
    action,
    assert_focus_is_visible,
    assert_focused,
    assert_no_sideways_scroll,
    credentials,
    dialog,
    focused,
)
from .server import DEMO_PASSWORD

pytestmark = pytest.mark.browser

MOST_TABS = 60  # more than any of our pages has stops


class ByPointer:
    """How a person presses what they see: with a mouse or a finger."""

    def press(self, control: Locator) -> None:
        control.click()


class ByKeyboard:
    """With Tab and Enter alone. Every stop on the way must be seen."""

    def press(self, control: Locator) -> None:
        page = control.page
        control.wait_for()
        for _ in range(MOST_TABS):
            if control.evaluate("element => element === document.activeElement"):
                break
            page.keyboard.press("Tab")
            if focused(page) != "body":  # after the last stop the browser's own bar has its turn
                assert_focus_is_visible(page)
        else:
            raise AssertionError(f"Tab never came to {control}")
        assert_focus_is_visible(page)
        page.keyboard.press("Enter")


HANDS = {"pointer": ByPointer(), "keyboard": ByKeyboard()}


def button(where: Page | Locator, name: str) -> Locator:
    return where.get_by_role("button", name=name, exact=True)


def follow_to_the_section(page: Page, hands: ByPointer | ByKeyboard) -> None:
    """Accessing the Personal API Access Key Section."""
    width = page.viewport_size["width"] if page.viewport_size else 0
    # 1. Click the Menu icon in the top right corner of the AirVantage interface.
    menu_button = page.get_by_role("button", name="Menu", exact=True)
    box = menu_button.bounding_box()
    assert box is not None
    assert box["y"] < 80
    assert box["x"] + box["width"] > width - 100
    assert menu_button.locator("svg").is_visible()
    hands.press(menu_button)
    # 2. Select My Profile from the righthand side menu.
    menu = page.get_by_role("navigation", name="User menu").bounding_box()
    assert menu is not None
    assert menu["x"] + menu["width"] > width - 100
    assert menu["x"] + menu["width"] / 2 > width / 2 - 1
    hands.press(page.get_by_role("link", name="My Profile", exact=True))
    page.wait_for_url("**/profile/")
    assert page.get_by_role("heading", level=1).inner_text() == "User Profile"
    # 3. You will see the Personal API access key section at the bottom of the page.
    last = page.locator("main section").last
    assert last.get_attribute("id") == "api-key"
    assert last.get_by_role("heading", level=2).first.inner_text() == "Personal API access key"


@pytest.mark.parametrize(
    ("hands", "script", "width", "scheme"),
    [
        ("pointer", True, WIDE, LIGHT),
        ("pointer", True, PHONE, DARK),
        ("pointer", True, NARROW, LIGHT),
        ("pointer", False, WIDE, DARK),
        ("pointer", False, PHONE, LIGHT),
        ("pointer", False, NARROW, DARK),
        ("keyboard", True, WIDE, DARK),
        ("keyboard", True, NARROW, LIGHT),
        ("keyboard", False, WIDE, LIGHT),
    ],
)
def test_the_guide(visit, site, hands, script, width, scheme):  # page 36, 38, 40
    person = visit(width=width, scheme=scheme, script=script, session="", has_touch=hands == "pointer" and width < WIDE)
    page, hands, owner = person.page, HANDS[hands], person.person
    person.open("/")
    page.get_by_label(re.compile("^E-?mail")).fill(owner.email)
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    hands.press(button(page, "Sign in"))
    page.wait_for_url("**/profile/")

    # Creating a new personal API access key.
    # 1. Navigate to your User Profile. You will see a message indicating that you don't have a key.
    follow_to_the_section(page, hands)
    assert NO_KEY in page.locator("#api-key").inner_text()
    # 2. Click Create. Your key will be displayed with your Client ID and Secret key.
    hands.press(button(page, "Create"))
    page.locator("#fresh-title").wait_for()
    assert_no_sideways_scroll(page)
    section = page.locator("#api-key").inner_text()
    assert "Client ID" in section
    assert "Secret key" in section
    client_id, secret = credentials(page)
    token = site.assert_works(client_id, secret, owner)

    # Regenerating the secret key.
    # 1. Navigate to your User Profile.
    follow_to_the_section(page, hands)
    assert secret not in page.content()
    # 2. Click the Regenerate icon next to the Secret key. A prompt will be displayed.
    assert is_next_to_the_secret_key(page)
    hands.press(button(page, "Regenerate"))
    prompt = dialog(page) if script else page.locator("main")
    assert_prompt(prompt, "Regenerate the secret key?")
    assert_no_sideways_scroll(page)
    site.assert_works(client_id, secret, owner)  # nothing is done yet
    # 3. Click Regenerate to generate a new secret key.
    hands.press(button(prompt, "Regenerate"))
    page.locator("#fresh-title").wait_for()
    same_client_id, new_secret = credentials(page)
    assert same_client_id == client_id
    assert new_secret != secret
    site.assert_refused(client_id, secret, token)
    token = site.assert_works(client_id, new_secret, owner)

    # Deleting a personal API access key.
    # 1. Navigate to your User Profile.
    follow_to_the_section(page, hands)
    # 2. Click Delete. A prompt will be displayed.
    hands.press(button(page, "Delete"))
    assert_prompt(prompt, "Delete your personal API access key?")
    assert_no_sideways_scroll(page)
    site.assert_works(client_id, new_secret, owner)
    # 3. Click Confirm to permanently remove the personal API access key.
    hands.press(button(prompt, "Confirm"))
    action(page, "create").wait_for()
    section = page.locator("#api-key").inner_text()
    assert NO_KEY in section
    assert re.search(r"Your personal API access key was deleted on \d+ \w+ \d{4}, \d\d:\d\d UTC", section)  # page 37
    assert_no_sideways_scroll(page)
    site.assert_refused(client_id, new_secret, token)

    # "By deleting, access cannot be undone": a new key is another one.
    hands.press(button(page, "Create"))
    page.locator("#fresh-title").wait_for()
    assert credentials(page)[0] != client_id


def is_next_to_the_secret_key(page: Page) -> bool:
    secret = page.locator('[data-field="secret-key"]').bounding_box()
    button = action(page, "regenerate").bounding_box()
    assert secret is not None
    assert button is not None
    beside = abs(secret["y"] + secret["height"] / 2 - button["y"] - button["height"] / 2) < 40
    below = 0 <= button["y"] - secret["y"] - secret["height"] < 24
    return beside or below


def assert_prompt(prompt: Locator, title: str) -> None:
    prompt.get_by_role("heading", name=title, exact=True).wait_for()
    assert prompt.get_by_role("button", name="Cancel", exact=True).is_visible()


def test_the_first_tab_stop_skips_to_the_content(visit):
    page = visit().open()
    page.keyboard.press("Tab")
    assert_focused(page, "Skip to content")
    assert_focus_is_visible(page)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert_focused(page, "Go to your API access key")


@pytest.mark.parametrize("script", [True, False])
def test_escape_closes_the_menu_and_returns_the_focus(visit, script):  # page 1
    page = visit(script=script).open()
    menu_button = page.get_by_role("button", name="Menu", exact=True)
    menu_button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="My Profile", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert_focused(page, "My Profile")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="My Profile", exact=True).wait_for(state="hidden")
    assert_focused(page, "Menu")


@pytest.mark.parametrize("script", [True, False])
def test_the_menu_button_says_whether_the_menu_is_open(visit, script):  # page 1
    """The browser says it of a button with `popovertarget`, to assistive technology and to nobody else."""
    person = visit(script=script)
    page = person.open()
    devtools = person.context.new_cdp_session(page)

    def is_expanded() -> bool:
        [button] = [
            node
            for node in devtools.send("Accessibility.getFullAXTree")["nodes"]
            if (node["role"]["value"], node.get("name", {}).get("value")) == ("button", "Menu")
        ]
        [expanded] = [its["value"]["value"] for its in button["properties"] if its["name"] == "expanded"]
        return bool(expanded)

    assert not is_expanded()
    page.get_by_role("button", name="Menu", exact=True).press("Enter")
    page.get_by_role("link", name="My Profile", exact=True).wait_for()
    assert is_expanded()
    page.keyboard.press("Escape")
    page.locator("#menu").wait_for(state="hidden")
    assert not is_expanded()
    assert_focused(page, "Menu")


def test_the_profile_has_a_link_to_the_section(visit):  # page 2
    page = visit(width=PHONE, height=600).open()
    page.get_by_role("link", name="Go to your API access key").click()
    top = page.locator("#api-key").bounding_box()
    assert top is not None
    assert top["y"] < 300
