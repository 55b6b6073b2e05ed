"""What the page does with the credentials: copying, saving, hiding, selecting; and its examples, which are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from profiles.http.snippets import snippets, text_of

from .browser import Visit, assert_no_sideways_scroll, credentials

pytestmark = pytest.mark.browser

CLIPBOARD = ["clipboard-read", "clipboard-write"]


def clipboard(page: Page) -> str:
    text: str = page.evaluate("(window.realClipboard ?? navigator.clipboard).readText()")
    return text


def selection(page: Page) -> str:
    text: str = page.evaluate("getSelection().toString()")
    return text


@pytest.fixture
def person(visit) -> Visit:
    """Somebody with a key that was made just now, who lets the page use the clipboard."""
    person: Visit = visit(permissions=CLIPBOARD)
    person.open()
    person.create()
    return person


@pytest.mark.parametrize(
    ("name", "said", "field"),
    [("Copy client ID", "Client ID copied.", "client-id"), ("Copy secret key", "Secret key copied.", "secret-key")],
)
def test_copying_is_exact_and_announced_each_time(person, name, said, field):  # page 14, 15, 17
    page = person.page
    value = page.locator(f'[data-field="{field}"]').inner_text()
    heard = person.listen("#announcement")
    button = page.get_by_role("button", name=name, exact=True)
    for times in (1, 2):
        button.click()
        page.wait_for_function("times => window.heard['#announcement'].length === times", arg=times)
    assert heard() == [said, said]
    assert clipboard(page) == value
    assert page.locator("#announcement").get_attribute("role") == "status"
    expect(button).to_have_accessible_name(name)
    expect(button).to_be_focused()


def test_what_was_copied_is_seen_for_five_seconds_and_moves_nothing(visit):  # page 19
    person = visit(permissions=CLIPBOARD)
    person.page.clock.install()
    page = person.open()
    person.create()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    section = page.locator("#api-key").bounding_box()
    page.get_by_role("button", name="Copy secret key").click()
    bubble = page.locator("#api-key .bubble")
    expect(bubble).to_have_text("Copied")
    assert page.locator("#api-key").bounding_box() == section
    page.clock.run_for(5_000)
    expect(bubble).to_be_visible()
    page.clock.run_for(5_000)
    expect(bubble).to_have_count(0)
    page.get_by_role("button", name="Copy secret key").click()
    page.get_by_role("button", name="Copy client ID").click()  # the next action ends it
    expect(bubble).to_have_count(1)


def test_the_secret_can_be_hidden_and_is_copied_all_the_same(person):  # page 13
    page = person.page
    _, secret = credentials(page)
    hide = page.get_by_role("button", name="Hide secret key", exact=True)
    expect(hide).to_have_attribute("aria-pressed", "false")
    hide.press("Enter")
    expect(hide).to_have_attribute("aria-pressed", "true")
    assert secret not in page.content()
    page.get_by_role("button", name="Copy secret key", exact=True).click()
    expect(page.locator("#announcement")).to_have_text("Secret key copied.")
    assert clipboard(page) == secret
    assert secret not in page.content()
    hide.press("Enter")
    assert credentials(page)[1] == secret


def test_both_values_as_lines_for_the_environment(person):  # page 11
    page = person.page
    client_id, secret = credentials(page)
    lines = f"CLIENT_ID={client_id}\nCLIENT_SECRET={secret}\n"
    page.get_by_role("button", name="Copy as .env lines").click()
    expect(page.locator("#announcement")).to_have_text("Both lines copied.")
    assert clipboard(page) == lines
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .env file").click()
    assert download.value.suggested_filename == "airvantage.env"
    assert Path(download.value.path()).read_text() == lines
    expect(page.locator("#announcement")).to_have_text("File saved.")


@pytest.mark.parametrize("snippet", snippets(), ids=lambda it: it.id)
def test_each_example_is_copied_whole(person, snippet, settings):  # page 11
    page = person.page
    settings.BASE_URL = person.site.url
    client_id, secret = credentials(page)
    page.locator("#api-key summary").get_by_text(snippet.name, exact=True).click()
    page.get_by_role("button", name=f"Copy {snippet.name} example", exact=True).click()
    expect(page.locator("#announcement")).to_have_text("Example copied.")
    assert clipboard(page) == text_of(snippet.id, client_id)
    assert secret not in clipboard(page)


def test_the_copied_curl_example_says_who_the_owner_is(person):  # page 11
    page = person.page
    _, secret = credentials(page)
    page.locator("#api-key summary").get_by_text("curl", exact=True).click()
    page.get_by_role("button", name="Copy curl example").click()
    expect(page.locator("#announcement")).to_have_text("Example copied.")
    done = subprocess.run(
        ["bash", "-c", clipboard(page)],
        env=os.environ | {"CLIENT_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    )
    expect(page.locator(".identity h2")).to_have_text(done.stdout.splitlines()[0])


@pytest.mark.parametrize("script", [True, False])
def test_the_collection_of_the_key_is_downloaded(visit, script):
    person = visit(script=script)
    page = person.open()
    client_id, secret = person.create()
    with page.expect_download() as download:
        page.get_by_role("link", name="Collection for Bruno and Postman").click()
    assert download.value.suggested_filename == "airvantage.postman_collection.json"
    text = Path(download.value.path()).read_text()
    assert client_id in text
    assert secret not in text


NO_CLIPBOARD = """
  window.realClipboard = navigator.clipboard;
  Object.defineProperty(navigator, "clipboard", {value: undefined});
"""


@pytest.mark.parametrize("why", ["undefined", "denied"])
@pytest.mark.parametrize(("name", "field"), [("Copy client ID", "client-id"), ("Copy secret key", "secret-key")])
def test_when_copying_fails_the_text_is_selected_and_the_keys_are_named(visit, site, why, name, field):  # page 16
    person = visit(permissions=CLIPBOARD)
    page = person.page
    if why == "undefined":  # as on plain http
        page.add_init_script(NO_CLIPBOARD)
    person.open()
    person.create()
    value = page.locator(f'[data-field="{field}"]').inner_text()
    if why == "denied":
        set_permission(person, "denied")
    heard = person.listen("#announcement")
    page.get_by_role("button", name="Hide secret key").click()
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#announcement")).to_contain_text("Press Ctrl+C to copy")
    expect(page.locator("#api-key .bubble")).to_have_text("Press Ctrl+C to copy")
    assert value not in "".join(heard())
    assert selection(page) == value
    if why == "denied":
        set_permission(person, "granted")
    page.keyboard.press("Control+C")
    assert clipboard(page) == value


def test_when_copying_the_lines_fails_the_lines_are_what_is_selected(visit):  # page 16
    person = visit(permissions=CLIPBOARD)
    page = person.page
    page.add_init_script(NO_CLIPBOARD)
    person.open()
    client_id, secret = person.create()
    page.get_by_role("button", name="Copy as .env lines").click()
    expect(page.locator("#announcement")).to_contain_text("Press Ctrl+C to copy")
    page.keyboard.press("Control+C")
    assert client_id in clipboard(page)
    assert secret in clipboard(page)


def set_permission(person: Visit, setting: str) -> None:
    session = person.context.new_cdp_session(person.page)
    context = session.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    for name in CLIPBOARD:
        asked = {
            "permission": {"name": name},
            "setting": setting,
            "origin": person.site.url,
            "browserContextId": context,
        }
        session.send("Browser.setPermission", asked)


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("clicks", [2, 3])
@pytest.mark.parametrize("width", [1280, 320])
def test_a_double_or_triple_click_selects_the_whole_secret(visit, script, clicks, width):  # page 12, 38
    person = visit(script=script, width=width, permissions=CLIPBOARD)
    page = person.open()
    _, secret = person.create()
    assert_no_sideways_scroll(page)
    page.locator('[data-field="secret-key"]').click(click_count=clicks)
    assert selection(page) == secret
    page.keyboard.press("Control+C")
    assert clipboard(page) == secret


def test_without_javascript_there_is_nothing_to_copy_with(visit):  # page 18
    person = visit(script=False)
    page = person.open()
    person.create()
    expect(page.get_by_role("button", name=re.compile("copy|hide|download", re.IGNORECASE))).to_have_count(0)


@pytest.mark.parametrize("script", [True, False])
def test_the_secret_stands_in_the_text_of_the_page_and_nowhere_else(visit, script):  # security 57; page 12
    person = visit(script=script)
    page = person.open()
    _, secret = person.create()
    found = page.evaluate(
        """(secret) => ({
          attributes: [...document.querySelectorAll("*")].flatMap((element) =>
            [...element.attributes].filter((it) => it.value.includes(secret)).map((it) => it.name)),
          fields: [...document.querySelectorAll("input, textarea")].filter((it) => it.value.includes(secret)).length,
          title: document.title.includes(secret),
          url: location.href.includes(secret),
          stored: JSON.stringify({...localStorage, ...sessionStorage}) + JSON.stringify(history.state),
          announced: document.querySelector("#announcement").textContent,
          occurrences: document.documentElement.textContent.split(secret).length - 1,
        })""",
        secret,
    )
    assert secret not in found.pop("stored") + found.pop("announced")
    assert found == {"attributes": [], "fields": 0, "title": False, "url": False, "occurrences": 1}
    assert secret not in json.dumps(person.context.cookies())
    field = page.locator('[data-field="secret-key"]')
    expect(field).to_have_attribute("translate", "no")
    expect(field).to_have_attribute("spellcheck", "false")
