"""axe-core finds nothing: in every state of the section, dialog and page, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import RequestFactory
from django.views import defaults
from playwright.sync_api import Page, expect

from profiles.http.access import Access

from .access import declaring
from .browser import (
    DARK,
    LIGHT,
    NARROW,
    NO_KEY,
    WIDE,
    Visit,
    action,
    assert_no_axe_violations,
    assert_no_sideways_scroll,
    open_dialog,
)
from .routes import PROGRAMS, named, routes
from .server import DEMO_PASSWORD
from .valid_html import assert_valid

pytestmark = pytest.mark.browser


def no_key(person: Visit) -> None:
    person.open()
    expect(person.page.locator("#api-key")).to_contain_text(NO_KEY)


def created(person: Visit) -> None:
    person.open()
    person.create()
    person.page.get_by_text("Python", exact=True).click()


def hidden_and_copied(person: Visit) -> None:
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    created(person)
    person.page.get_by_role("button", name="Hide secret key").click()
    person.page.get_by_role("button", name="Copy secret key").click()
    person.page.locator(".bubble").wait_for()


def regenerated(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "regenerate").get_by_role("button", name="Regenerate").click()
    person.page.locator("#fresh-title").wait_for()


def active(person: Visit) -> None:
    person.site.assert_works(*person.make_key(), person.person)
    person.open()
    for summary in person.page.locator("#api-key summary").all():
        summary.click()


def used(person: Visit) -> None:
    person.make_key()
    person.site.use(person.person)
    person.open()
    person.page.get_by_text("Used from", exact=True).click()
    expect(person.page.get_by_text("2001:db8:ffff:ffff:ffff:ffff:ffff:fff3")).to_be_visible()
    expect(person.page.locator(".hint")).to_be_visible()


def two_secrets(person: Visit) -> None:
    person.site.assert_works(*person.make_key(), person.person)
    person.regenerate("Stops when the new one is first used, in 7 days at the latest")
    expect(person.page.locator("#api-key")).to_contain_text("The old secret key still works")


def two_secrets_and_the_new_one_is_shown(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "regenerate").get_by_label("Stops in 24 hours").check()
    person.page.get_by_role("alertdialog").get_by_role("button", name="Regenerate").click()
    person.page.locator("#fresh-title").wait_for()


def ended_and_tried(person: Visit) -> None:
    old = person.make_key()
    person.regenerate("Stops in 24 hours")
    open_dialog(person.page, "end-old").get_by_role("button", name="End it now").click()
    expect(person.page.locator("#api-key")).to_contain_text("was ended on")
    person.site.assert_refused(*old)
    person.open()
    expect(person.page.locator("#api-key")).to_contain_text("was last refused on")


def revoked(person: Visit) -> None:
    person.make_key()
    person.site.revoke(person.person, "It was found in a public repository.")
    person.open()
    expect(person.page.locator("#api-key")).to_contain_text("It was found in a public repository.")


def stale(person: Visit) -> None:
    person.open()
    other = person.another_window()
    action(other, "create").click()
    other.locator("#fresh-title").wait_for()
    other.close()
    action(person.page, "create").click()
    expect(person.page.locator("#api-key")).to_contain_text("in another window")


def deleted(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "delete").get_by_role("button", name="Confirm").click()
    expect(person.page.locator("#api-key")).to_contain_text("was deleted on")


def regenerate_dialog(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "regenerate")


def regenerate_dialog_with_a_choice(person: Visit) -> None:
    two_secrets(person)
    open_dialog(person.page, "regenerate").get_by_label("Stops in 24 hours").check()


def end_old_dialog(person: Visit) -> None:
    two_secrets(person)
    open_dialog(person.page, "end-old")


def end_old_page(person: Visit) -> None:
    two_secrets(person)
    person.open("/profile/api-key/end-old/")


def delete_dialog(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "delete")


def check_dialog(person: Visit) -> None:
    person.make_key()
    open_dialog(person.page, "check")


def checked_in_dialog(person: Visit) -> None:
    _, secret = person.make_key()
    prompt = open_dialog(person.page, "check")
    prompt.get_by_label("Secret key to check").fill(secret)
    prompt.get_by_role("button", name="Check").click()
    expect(prompt).to_contain_text("It is the current one.")


def checked_on_the_page(person: Visit) -> None:
    _, secret = person.make_key()
    person.regenerate("Stops in 24 hours")
    page = person.open("/profile/api-key/check/")
    page.get_by_label("Secret key to check").fill(secret)
    page.get_by_role("button", name="Check").click()
    expect(page.locator("main")).to_contain_text("It is the old one, good until")


def refused_check(person: Visit) -> None:
    person.make_key()
    prompt = open_dialog(person.page, "check")
    prompt.get_by_label("Secret key to check").fill("   ")
    prompt.get_by_role("button", name="Check").click()
    expect(prompt).to_contain_text("Paste a secret key.")


def lost_network_in_dialog(person: Visit) -> None:
    person.expects(r"net::ERR_|^htmx:")
    delete_dialog(person)
    person.context.set_offline(True)
    person.page.get_by_role("alertdialog").get_by_role("button", name="Confirm").click()
    expect(person.page.get_by_role("alertdialog").get_by_role("alert")).to_contain_text("could not be reached")
    person.context.set_offline(False)


def lost_network(person: Visit) -> None:
    person.expects(r"net::ERR_|^htmx:")
    person.open()
    person.context.set_offline(True)
    action(person.page, "create").click()
    expect(person.page.locator("#failure")).to_contain_text("could not be reached")
    person.context.set_offline(False)


def password_dialog_for_create(person: Visit) -> None:
    person.grow_stale()
    person.open()
    open_dialog(person.page, "create").get_by_label("Your password").wait_for()


def wrong_password_in_dialog(person: Visit) -> None:
    person.make_key()
    person.grow_stale()
    prompt = open_dialog(person.page, "delete")
    prompt.get_by_label("Your password").fill("certainly not it")
    prompt.get_by_role("button", name="Confirm").click()
    expect(prompt).to_contain_text("That is not your password.")


def wrong_password_beside_a_choice(person: Visit) -> None:
    person.make_key()
    person.grow_stale()
    prompt = open_dialog(person.page, "regenerate")
    prompt.get_by_label("Stops in 24 hours").check()
    prompt.get_by_label("Your password").fill("certainly not it")
    prompt.get_by_role("button", name="Regenerate").click()
    expect(prompt).to_contain_text("That is not your password.")


def regenerate_page(person: Visit) -> None:
    person.make_key()
    person.open("/profile/api-key/regenerate/")


def delete_page_with_wrong_password(person: Visit) -> None:
    person.make_key()
    person.grow_stale()
    page = person.open("/profile/api-key/delete/")
    page.get_by_label("Your password").fill("certainly not it")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("main")).to_contain_text("That is not your password.")


def menu(person: Visit) -> None:
    person.open().get_by_role("button", name="Menu", exact=True).click()
    person.page.get_by_role("link", name="My Profile", exact=True).wait_for()


STATES = [
    no_key,
    created,
    hidden_and_copied,
    regenerated,
    active,
    used,
    two_secrets,
    two_secrets_and_the_new_one_is_shown,
    ended_and_tried,
    revoked,
    stale,
    deleted,
    regenerate_dialog,
    regenerate_dialog_with_a_choice,
    end_old_dialog,
    end_old_page,
    delete_dialog,
    check_dialog,
    checked_in_dialog,
    checked_on_the_page,
    refused_check,
    lost_network,
    lost_network_in_dialog,
    password_dialog_for_create,
    wrong_password_in_dialog,
    wrong_password_beside_a_choice,
    regenerate_page,
    delete_page_with_wrong_password,
    menu,
]


def assert_clean(page: Page) -> None:
    """Wide and light, narrow and dark: what one of the two does, it does whatever the other."""
    for width, scheme in ((WIDE, LIGHT), (NARROW, DARK)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function("() => document.getAnimations().every((it) => it.playState === 'finished')")
        assert_no_sideways_scroll(page)
        assert_no_axe_violations(page)
    assert_valid(page.content())


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_profile_is_clean(visit, state: Callable[[Visit], None]):  # page 42
    person = visit()
    state(person)
    assert_clean(person.page)


# What a browser does not show as a page.
NO_PAGE = {
    "home": "leads to My Profile",
    "mfa_login_webauthn": "JSON, for a script",
    **{route.name: "JSON" for route in routes(*PROGRAMS) if route.name != "api-docs"},
}
# Where the page is one that says why there is no other: it takes only a form, or the sample names nothing.
REFUSED = {
    **{route.name: 404 for route in declaring(Access.SIGNED_IN) if "client_id" in route.parameters},
    "account-session-end": 405,
    "account-sessions-end": 405,
    "email-cancel": 405,
    "email-confirm": 410,
    "mfa_passkey_add": 404,  # passkeys need a name, and this site has an IP address
    "mfa_passkey_rename": 404,
    "picture-remove": 405,
}
FOR_EVERYBODY = [route.name for route in declaring(Access.ANYONE) if route.name not in NO_PAGE]
SIGNED_IN = [route.name for route in declaring(Access.SIGNED_IN)]


def open_route(person: Visit, name: str) -> Page:
    if name in REFUSED:
        person.expects(f"status of {REFUSED[name]} ")
    return person.open(named(name).address())


@pytest.mark.parametrize("name", FOR_EVERYBODY)
def test_every_page_for_everybody_is_clean(visit, name):
    assert_clean(open_route(visit(session=""), name))


def test_sign_in_with_a_way_to_go_on_is_clean(visit):
    assert_clean(visit(session="").open("/accounts/login/?next=/profile/"))


@pytest.mark.parametrize("name", [*SIGNED_IN, "account_logout"])
def test_every_page_of_an_account_is_clean(visit, name):
    assert_clean(open_route(visit(), name))


def test_a_refused_sign_in_is_clean(visit):
    page = visit(session="").open("/accounts/login/")
    page.locator("[name=login]").fill("nobody@demo.example")
    page.locator("[name=password]").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("not correct").wait_for()
    assert_clean(page)


def test_a_page_that_is_not_there_is_clean(visit):
    person = visit()
    person.expects("status of 404 ")
    page = person.open("/nowhere")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert_clean(page)


@pytest.mark.parametrize(
    ("status", "view"),
    [(400, defaults.bad_request), (403, defaults.permission_denied), (500, defaults.server_error)],
)
def test_every_error_page_is_clean(visit, status, view):
    """Those that a working site does not show: rendered here, served in its place."""
    error = PermissionError("no") if status != 500 else None
    response = view(RequestFactory().get("/"), *([error] if error else []))
    person = visit(session="")
    person.expects(f"status of {status} ")
    person.page.route(
        "**/trouble", lambda route: route.fulfill(status=status, content_type="text/html", body=response.content)
    )
    page = person.open("/trouble")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert_clean(page)
