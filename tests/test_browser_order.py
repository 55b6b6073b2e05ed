"""A slow network, a slow browser, a quick user: whichever comes first, the answer or the next key, nothing is lost.

The focus is on what has changed, or where it was; never on the body.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from .browser import NO_KEY, Held, Visit, action, assert_focused, credentials, dialog, open_dialog

pytestmark = pytest.mark.browser

PATHS = {name: f"/profile/api-key/{name}/" for name in ("create", "regenerate", "delete")}
CONFIRM = {"regenerate": "Regenerate", "delete": "Confirm", "create": "Create"}
TROUBLE = r"net::ERR_|^htmx:|^Response Status Error Code 5|status of 50[03] "
NEITHER = "Nothing was done: your password is missing or was not accepted."

both = pytest.mark.parametrize("name", ["regenerate", "delete"])


def by_escape(page: Page) -> None:
    page.keyboard.press("Escape")


def by_cancel(page: Page) -> None:
    dialog(page).get_by_role("button", name="Cancel").click()


each_way = pytest.mark.parametrize("close", [by_escape, by_cancel])


def hang(page: Page, milliseconds: int = 1500) -> None:
    """Keep the page's one thread busy from now on: what happens meanwhile, it hears of all at once."""
    page.evaluate(
        """(milliseconds) => {
          setTimeout(() => {
            for (const end = performance.now() + milliseconds; performance.now() < end;);
          });
        }""",
        milliseconds,
    )


def confirm(page: Page, name: str) -> None:
    dialog(page).get_by_role("button", name=CONFIRM[name]).click()


def assert_focus_stays(page: Page, where: str) -> None:
    """Once all that was under way is over."""
    page.wait_for_timeout(300)
    assert_focused(page, where)


def assert_done(person: Visit, name: str) -> None:
    page = person.page
    expect(dialog(page)).to_have_count(0)
    if name == "delete":
        expect(page.locator("#api-key")).to_contain_text(NO_KEY)
        assert_focus_stays(page, "Personal API access key")
    else:
        page.locator("#fresh-title").wait_for()
        person.site.assert_works(*credentials(page), person.person)
        done = "Your key has been created" if name == "create" else "The secret key has been regenerated"
        assert_focus_stays(page, done)


# --- Closed before the answer, which is a good one -------------------------------------------------------------


@both
@each_way
def test_a_dialog_closed_before_the_answer(visit, name, close):
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    close(page)
    expect(action(page, name)).to_be_focused()
    held.release()
    assert_done(person, name)


CLOSE_TOLD_LATE = """() => addEventListener("close", (event) => {
  if (!event.isTrusted) return;
  event.stopImmediatePropagation();
  document.addEventListener(
    "htmx:afterRequest",
    () => setTimeout(() => event.target.dispatchEvent(new Event("close"))),
    {once: true}
  );
}, true)"""


@both
@each_way
def test_a_dialog_of_which_the_page_hears_only_after_the_answer_that_it_was_closed(visit, name, close):
    """The order in which a slow browser tells of them, now and then: one in seventy, six times slower than this one."""
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    page.evaluate(CLOSE_TOLD_LATE)
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    close(page)
    held.release()
    assert_done(person, name)


@both
def test_escape_pressed_while_the_browser_is_busy_with_the_answer(visit, name):
    """The answer is there when the key is pressed, and the page gets to know of the key first."""
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    with page.expect_response(f"**{PATHS[name]}"):
        hang(page)
        held.release()
    page.keyboard.press("Escape")
    assert_done(person, name)


def test_escape_while_create_with_a_password_runs(visit):
    person = visit(session="stale")
    page = person.open()
    open_dialog(page, "create").get_by_label("Your password").fill("A long enough demo password")
    held = Held(page, PATHS["create"])
    confirm(page, "create")
    held.wait()
    page.keyboard.press("Escape")
    expect(action(page, "create")).to_be_focused()
    held.release()
    assert_done(person, "create")


@both
@each_way
@pytest.mark.parametrize("running", [False, True])
def test_the_focus_is_back_as_soon_as_the_dialog_is_closed(visit, name, close, running):
    """Not a moment later, on the body in between: the next key, or what a screen reader says, would go astray."""
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    page.evaluate(
        """() => {
          const dialog = document.querySelector("dialog");
          new MutationObserver(() => { if (!dialog.open) window.focusThen ??= document.activeElement.dataset.action; })
            .observe(dialog, {attributeFilter: ["open"]});
        }"""
    )
    held = Held(page, PATHS[name])
    if running:
        confirm(page, name)
        held.wait()
    close(page)
    page.wait_for_function("'focusThen' in window")
    assert page.evaluate("focusThen") == name
    held.release()
    if running:
        assert_done(person, name)


@both
@pytest.mark.parametrize("rate", [4, 20])
def test_a_slow_processor(visit, name, rate):
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
    confirm(page, name)
    page.keyboard.press("Escape")
    assert_done(person, name)


# --- Closed before the answer, which is a refusal --------------------------------------------------------------


def give_a_wrong_password(person: Visit, name: str) -> None:
    person.grow_stale()
    person.open()
    open_dialog(person.page, name).get_by_label("Your password").fill("certainly not it")


def grow_stale_meanwhile(person: Visit, name: str) -> None:
    open_dialog(person.page, name)
    person.grow_stale()


@both
@pytest.mark.parametrize("before", [give_a_wrong_password, grow_stale_meanwhile])
def test_a_password_that_is_not_good_is_told_though_the_dialog_was_closed(
    visit, site, name, before: Callable[[Visit, str], None]
):
    person = visit()
    made = person.make_key()
    page = person.page
    before(person, name)
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    page.keyboard.press("Escape")
    held.release()
    expect(page.locator("#failure")).to_have_text(NEITHER)
    expect(dialog(page)).to_have_count(0)
    expect(action(page, name)).to_be_focused()
    expect(page.locator("input[type=password]")).to_have_count(0)
    site.assert_works(*made, person.person)
    page.unroute_all()
    open_dialog(page, name).get_by_label("Your password").wait_for()
    expect(page.locator("#failure")).to_be_empty()


@both
def test_a_key_changed_elsewhere_is_told_though_the_dialog_was_closed(visit, name):
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    other = person.another_window()
    open_dialog(other, "regenerate").get_by_role("button", name="Regenerate").click()
    other.locator("#fresh-title").wait_for()
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    page.keyboard.press("Escape")
    held.release()
    expect(page.locator("#api-key")).to_contain_text("Nothing was done now.")
    assert_focus_stays(page, "Personal API access key")


@both
@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_trouble_is_told_though_the_dialog_was_closed(visit, site, name, status):
    person = visit()
    person.expects(TROUBLE)
    made = person.make_key()
    page = person.page
    open_dialog(page, name)
    held = Held(page, PATHS[name])
    confirm(page, name)
    held.wait()
    page.keyboard.press("Escape")
    held.answer(status, '<section class="confirm">Trouble</section>')
    expect(page.locator("#failure")).not_to_be_empty()
    assert_focus_stays(page, action(page, name).inner_text())
    page.unroute_all()
    site.assert_works(*made, person.person)
    open_dialog(page, name)
    confirm(page, name)
    assert_done(person, name)


# --- The next action before the answer -------------------------------------------------------------------------


def test_of_two_actions_in_quick_succession_the_first_is_asked_about(visit, site):
    """Else a second prompt would take the place of the first under the pointer that is on its way to confirm."""
    person = visit()
    made = person.make_key()
    page = person.page
    held = Held(page, PATHS["regenerate"])
    action(page, "regenerate").click()
    held.wait()
    action(page, "delete").click()
    page.wait_for_timeout(300)
    held.release()
    expect(dialog(page)).to_have_accessible_name("Regenerate the secret key?")
    page.wait_for_timeout(300)
    expect(dialog(page)).to_have_accessible_name("Regenerate the secret key?")
    page.keyboard.press("Escape")
    expect(action(page, "regenerate")).to_be_focused()
    expect(dialog(page)).to_have_count(0)
    site.assert_works(*made, person.person)


@pytest.mark.parametrize("then", ["regenerate", "delete"])
def test_another_action_while_a_closed_dialog_waits_for_its_answer(visit, then):
    """The answer has a secret that is shown once: no prompt may take the place of what waits for it."""
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, "regenerate")
    held = Held(page, PATHS["regenerate"])
    confirm(page, "regenerate")
    held.wait()
    page.keyboard.press("Escape")
    action(page, then).click()
    page.wait_for_timeout(300)
    held.release()
    assert_done(person, "regenerate")


@both
def test_a_second_click_on_confirm_is_none(visit, name):
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    dialog(page).get_by_role("button", name=CONFIRM[name]).dblclick()
    assert_done(person, name)
    assert len(sent) == 1


def click(page: Page, target: Locator, count: int = 1) -> None:
    """Like the `count`-th of clicks that follow each other quickly."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    click_again(page, count)


def click_again(page: Page, count: int) -> None:
    page.mouse.down(click_count=count)
    page.mouse.up(click_count=count)


@both
def test_the_second_half_of_a_double_click_does_not_meet_the_page_beneath(visit, name):
    person = visit()
    person.make_key()
    page = person.page
    open_dialog(page, name)
    click(page, dialog(page).get_by_role("button", name=CONFIRM[name]))
    assert_done(person, name)
    click_again(page, 2)
    assert_done(person, name)


@both
def test_the_second_half_of_a_double_click_does_not_confirm(visit, name):
    person = visit()
    person.make_key()
    page = person.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    click(page, action(page, name))
    button = dialog(page).get_by_role("button", name=CONFIRM[name])
    expect(button).to_be_visible()
    click(page, button, 2)
    page.wait_for_timeout(300)
    expect(dialog(page)).to_be_visible()
    assert not sent


@pytest.mark.parametrize("name", ["create", "regenerate", "delete"])
def test_leaving_before_the_answer(visit, name):
    """The page that one comes back to says how things are, and works."""
    person = visit()
    person.expects("status of 409 |^Response Status Error Code 409")
    page = person.page
    if name == "create":
        person.open()
    else:
        person.make_key()
        open_dialog(page, name)
    with page.expect_request(f"**{PATHS[name]}"):
        if name == "create":
            action(page, name).click(no_wait_after=True)
        else:
            dialog(page).get_by_role("button", name=CONFIRM[name]).click(no_wait_after=True)
    page.goto("/api/docs")
    page.go_back(wait_until="commit")
    expect(dialog(page)).to_have_count(0)
    left = action(page, "create").or_(action(page, "delete"))
    expect(left).to_be_visible()
    # What was left may be done only now, after this page was made: then the page says so, and does nothing.
    told = page.locator("#api-key").get_by_text("Nothing was done")
    if left.get_attribute("data-action") == "create":
        action(page, "create").click()
        expect(page.locator("#fresh-title").or_(told)).to_be_visible()
        return
    action(page, "delete").click()
    expect(dialog(page).or_(told)).to_be_visible()
    if told.count() == 0:
        confirm(page, "delete")
        expect(page.locator("#api-key").get_by_text(NO_KEY).or_(told).first).to_be_visible()
