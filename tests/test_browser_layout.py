"""Small screens, large text, longer words, forced colours, fingers: nothing is cut off, covered or too small."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .browser import (
    DARK,
    LIGHT,
    NARROW,
    PHONE,
    WIDE,
    Visit,
    action,
    assert_focus_is_visible,
    assert_no_sideways_scroll,
    dialog,
    focused,
    open_dialog,
)

pytestmark = pytest.mark.browser

# All that can be pressed and is not a word in running text (WCAG 2.5.8 excepts that).
TARGETS = "a, button, summary, input:not([type=hidden])"
TEXTS = "button, a, summary, h1, h2, h3, p, dt, dd, li, code, time, label, .badge"


def states(person: Visit):
    """The page in one state after the other: (name of the state, page)."""
    page = person.open()
    yield "none", page
    person.create()
    yield "created", page
    person.open()
    for summary in page.locator("#api-key summary").all():
        summary.click()
    yield "active", page
    open_dialog(page, "regenerate")
    yield "regenerate dialog", page
    page.locator("[name=old_secret][value=first-use]").check()
    page.locator("[data-confirm]").click()
    page.locator("#fresh-title").wait_for()
    yield "regenerated", page
    person.open()
    yield "two secrets", page
    for name in ("end-old", "check", "delete"):
        open_dialog(page, name)
        yield f"{name} dialog", page
        page.keyboard.press("Escape")
        expect(dialog(page)).to_have_count(0)
    person.open("/profile/api-key/delete/")
    yield "delete page", page
    person.grow_stale()
    person.open()
    open_dialog(page, "delete")
    yield "password dialog", page
    person.open("/accounts/logout/")
    yield "sign out", page


def style(page: Page, rules: str) -> None:
    page.evaluate(
        """(rules) => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(rules);
          document.adoptedStyleSheets = [sheet];
        }""",
        rules,
    )


def cut_off(page: Page) -> list[str]:
    """Controls and texts whose content is wider or higher than they show."""
    found: list[str] = page.evaluate(
        """(texts) => [...document.querySelectorAll(texts)]
          .filter((it) => it.checkVisibility() && it.clientWidth > 1 && getComputedStyle(it).display !== "inline")
          .filter((it) => it.scrollWidth > it.clientWidth + 2 || it.scrollHeight > it.clientHeight + 6)
          .filter((it) => !it.querySelector(".tooltip, .bubble") && !it.closest(".visually-hidden, .skip"))
          .map((it) => it.outerHTML.slice(0, 120))""",
        TEXTS,
    )
    return found


@pytest.mark.parametrize(
    ("width", "height", "rules"),
    [
        pytest.param(NARROW, 256, "", id="400 % zoom"),
        pytest.param(PHONE, 844, "html { font-size: 200% !important }", id="text twice as large"),
        pytest.param(
            NARROW,
            800,
            "* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"
            " p { margin-bottom: 2em !important }",
            id="text spacing",
        ),
    ],
)
def test_nothing_is_cut_off(visit, width, height, rules):  # page 38; WCAG 1.4.4, 1.4.10, 1.4.12
    for name, page in states(visit(width=width, height=height)):
        style(page, rules)
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], name


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_words_of_other_languages_fit(visit, width):  # page 41
    for name, page in states(visit(width=width)):
        page.evaluate(LENGTHEN)
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], name
        page.evaluate("window.shorten()")


def test_french_words_fit(visit):
    person = visit(width=NARROW, locale="fr-FR")
    for name, page in states(person):
        assert page.locator("html").get_attribute("lang") == "fr"
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], name
    for path in ("/accounts/mfa/", "/accounts/mfa/totp/", "/profile/edit/", "/profile/email/", "/profile/picture/"):
        page = person.open(path)
        assert_no_sideways_scroll(page)
        assert cut_off(page) == [], path


LENGTHEN = """() => {
  const changed = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || node.parentElement.closest("code, .brand, [translate=no]")) continue;
    changed.push([node, node.data]);
    node.data = node.data.replace(/\\p{L}+/gu, (word) => word + word.slice(0, Math.ceil(word.length * 0.4)));
  }
  window.shorten = () => changed.forEach(([node, text]) => { node.data = text; });
}"""


def sizes(page: Page) -> list[tuple[str, float, float]]:
    """What can be pressed, with its size; running text apart. A radio button is pressed anywhere on its label."""
    found = page.evaluate(
        """(targets) => [...document.querySelectorAll(targets)]
          .filter((it) => it.checkVisibility({visibilityProperty: true}) && !it.matches(".skip"))
          .filter((it) => !document.querySelector("dialog[open]") || it.closest("dialog"))
          .filter((it) => !(it.matches("p a, li a, dd a") && getComputedStyle(it).display === "inline"))
          .map((it) => [it, (it.closest("label") ?? it).getBoundingClientRect()])
          .map(([it, box]) => [it.outerHTML.slice(0, 100), box.width, box.height])""",
        TARGETS,
    )
    return [tuple(it) for it in found]


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_whatever_can_be_pressed_is_large_enough_for_a_finger(visit, width):  # page 22
    person = visit(width=width, has_touch=True)
    for name, page in states(person):
        small = [it for it in sizes(page) if it[1] < 43.5 or it[2] < 43.5]
        assert small == [], name
    page.get_by_role("button", name="Menu", exact=True).click()
    assert [it for it in sizes(page) if it[1] < 43.5 or it[2] < 43.5] == []


@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_menu_is_in_the_top_right_corner_of_the_window(visit, locale, scheme):
    """At every width, and opens below its icon; the text of the page stays in the middle."""
    page = visit(scheme=scheme, locale=locale).open()
    button = page.get_by_role("button", name="Menu", exact=True)
    for width in (NARROW, PHONE, 768, WIDE, 1920, 3840):
        page.set_viewport_size({"width": width, "height": 700})
        button.click()
        page.locator("#menu").wait_for()
        window, icon, menu, bar, main = page.evaluate(
            """() => [
              {right: document.documentElement.clientWidth},
              ...[".menu-button", "#menu", ".bar", "main"]
                .map((it) => document.querySelector(it).getBoundingClientRect().toJSON()),
            ]"""
        )
        assert (bar["left"], bar["right"], bar["top"]) == (0, window["right"], 0)
        assert 8 <= window["right"] - icon["right"] <= 24, width
        assert icon["top"] <= 24
        assert menu["right"] == pytest.approx(icon["right"])
        assert menu["left"] >= 8
        assert menu["width"] <= 420
        assert 0 < menu["top"] - icon["bottom"] <= 24
        assert (main["left"] + main["right"]) / 2 == pytest.approx(window["right"] / 2, abs=1)
        assert_no_sideways_scroll(page)
        page.keyboard.press("Escape")


def test_delete_stands_apart_from_regenerate(visit):  # page 22
    person = visit(width=NARROW)
    person.make_key()
    regenerate, delete = (action(person.page, name).bounding_box() for name in ("regenerate", "delete"))
    assert regenerate is not None
    assert delete is not None
    assert delete["y"] - regenerate["y"] - regenerate["height"] > 44


@pytest.mark.parametrize("name", ["regenerate", "delete"])
def test_nothing_hides_what_has_the_focus_in_a_low_dialog(visit, name):  # page 39
    """As with a keyboard on the screen of a telephone, or at 400 % zoom."""
    person = visit(width=NARROW, height=256)
    person.make_key()
    person.grow_stale()
    page = person.page
    open_dialog(page, name)
    for key in ["Tab"] * 4 + ["Shift+Tab"] * 4:
        page.keyboard.press(key)
        if focused(page) == "body":
            continue
        seen = page.evaluate(
            """() => {
              const box = document.activeElement.getBoundingClientRect();
              const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
              return box.top >= 0 && box.bottom <= innerHeight && document.activeElement.contains(at);
            }"""
        )
        assert seen, focused(page)


COVERED = """(element) => {
  const box = element.getBoundingClientRect();
  const at = (y) => document.elementFromPoint(box.x + box.width / 2, y);
  return [box.top + 2, box.bottom - 2].some((y) => !element.contains(at(y)));
}"""


@pytest.mark.parametrize("height", [420, 700])
@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
def test_what_is_told_at_the_end_of_the_page_hides_nothing_that_has_the_focus(visit, height, locale):  # page 39
    person = visit(width=NARROW, height=height, locale=locale)
    person.expects(r"net::ERR_|^htmx:")
    page = person.open()
    person.context.set_offline(True)
    action(page, "create").click()
    expect(page.locator("#failure")).not_to_be_empty()
    expect(action(page, "create")).to_be_focused()
    page.wait_for_timeout(200)
    assert not action(page, "create").evaluate(COVERED)
    assert_no_sideways_scroll(page)


@pytest.mark.parametrize("height", [360, 560, 640, 700, 800])
def test_the_error_of_a_password_is_seen_above_the_buttons(visit, height):  # page 34, 39
    person = visit(width=PHONE, height=height)
    person.make_key()
    person.grow_stale()
    prompt = open_dialog(person.page, "delete")
    prompt.get_by_label("Your password").fill("certainly not it")
    prompt.get_by_role("button", name="Confirm").click()
    error = prompt.locator(".field-error p")
    error.wait_for()
    assert not error.evaluate(COVERED)
    assert not prompt.get_by_label("Your password").evaluate(COVERED)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_forced_colours_show_every_control_and_the_focus(visit, scheme):  # page 40
    person = visit(scheme=scheme, forced_colors="active", reduced_motion="no-preference")
    for name, page in states(person):
        borderless = page.evaluate(
            """() => [...document.querySelectorAll(".button, .icon-button, input, dialog")]
              .filter((it) => !["hidden", "radio"].includes(it.type))
              .filter((it) => it.checkVisibility() && parseFloat(getComputedStyle(it).borderTopWidth) < 1)
              .map((it) => it.outerHTML.slice(0, 100))"""
        )
        assert borderless == [], name
        page.keyboard.press("Tab")
        if focused(page) != "body":
            assert_focus_is_visible(page)


def test_who_wants_no_motion_gets_none(visit):  # page 40
    person = visit(reduced_motion="reduce")
    person.make_key()
    open_dialog(person.page, "delete")
    assert person.page.evaluate(
        """() => document.getAnimations().every((it) => it.effect.getComputedTiming().duration <= 1)"""
    )


def test_an_icon_button_shows_its_name_on_focus_and_on_hover(visit):  # page 22; WCAG 1.4.13
    person = visit()
    person.make_key()
    page = person.page
    button = action(page, "regenerate")
    expect(button).to_have_accessible_name("Regenerate")
    tooltip = button.locator(".tooltip")
    expect(tooltip).to_have_css("opacity", "0")
    page.locator('[data-copy="client-id"]').focus()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    expect(tooltip).to_have_css("opacity", "1")
    page.keyboard.press("Escape")
    expect(tooltip).to_have_css("opacity", "0")
    button.hover()
    expect(tooltip).to_have_css("opacity", "1")
