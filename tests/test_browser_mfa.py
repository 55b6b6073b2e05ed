"""Multi-factor authentication in a browser: turned on and used at sign-in, with scripts and without; passkeys."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from .browser import (
    DARK,
    LIGHT,
    NARROW,
    WIDE,
    Site,
    Visit,
    assert_no_axe_violations,
    assert_no_sideways_scroll,
    fill_in_sign_in,
)
from .mfa import current_code
from .server import DEMO_PASSWORD, Server, sqlite_url

pytestmark = pytest.mark.browser

MFA = "/accounts/mfa/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site under a name: browsers know no passkeys at an address."""
    folder: Path = tmp_path_factory.mktemp("mfa")
    server = Server(folder, sqlite_url(folder), REAUTHENTICATION_TIMEOUT="3600")
    server.url = server.environment["BASE_URL"] = f"http://localhost:{server.port}"
    server.prepare()
    server.start(workers=1)
    yield Site(server)
    server.stop()


def mailed_code(person: Visit) -> str:
    """The code in the newest mail to this person."""
    for _ in range(100):
        mails = sorted((person.site.server.folder / "mail").glob("*"), key=lambda file: file.stat().st_mtime_ns)
        for text in (file.read_text() for file in reversed(mails)):
            found = re.findall(r"^\d{4}-\d{4}$", text, re.MULTILINE)
            if found and f"To: {person.person.email}" in text:
                return str(found[-1])
        time.sleep(0.05)
    raise AssertionError("no mail with a code")


def look(page: Page, *, script: bool = True) -> None:
    assert_no_sideways_scroll(page)
    if script:
        assert_no_axe_violations(page)


def enter_code(page: Page, code: str, button: str) -> None:
    page.get_by_label("Code", exact=True).fill(code)
    page.get_by_role("button", name=button, exact=True).click()


def sign_out_and_in(person: Visit) -> Page:
    """To the second step of signing in."""
    person.context.clear_cookies(name="session")
    page = person.open("/accounts/login/")
    fill_in_sign_in(page, person.person)
    page.wait_for_url(re.compile("/accounts/login/(second-factor|mailed-code)/"))
    return page


@pytest.mark.parametrize(
    ("script", "scheme", "width"), [(True, LIGHT, WIDE), (True, DARK, NARROW), (False, LIGHT, NARROW)]
)
def test_from_off_to_a_code_by_email_an_app_and_recovery_codes(visit, script, scheme, width):
    person: Visit = visit(script=script, scheme=scheme, width=width)
    page = person.open()
    page.get_by_role("link", name="Enable multi-factor authentication").click()
    look(page, script=script)
    page.get_by_role("button", name="Send the code").click()
    look(page, script=script)
    enter_code(page, "1", "Turn on")
    expect(page.get_by_label("Code", exact=True)).to_have_attribute("aria-invalid", "true")
    enter_code(page, mailed_code(person), "Turn on")
    page.wait_for_url("**/profile/#security")
    expect(page.get_by_text("Multi-factor authentication is on")).to_be_visible()

    page = sign_out_and_in(person)
    look(page, script=script)
    enter_code(page, mailed_code(person), "Sign in")
    page.get_by_role("link", name="Manage multi-factor authentication").click()
    look(page, script=script)

    page.get_by_role("link", name="Set up an authenticator app").click()
    look(page, script=script)
    secret = page.locator(".secret").inner_text().replace(" ", "")
    enter_code(page, current_code(secret, -1), "Confirm")
    codes = page.locator("#codes code").all_inner_texts()
    assert len(codes) == 10
    look(page, script=script)
    expect(page.get_by_role("button", name="Copy")).to_have_count(1 if script else 0)
    page.get_by_role("link", name="I have stored them").click()
    look(page, script=script)

    page = sign_out_and_in(person)
    look(page, script=script)
    enter_code(page, current_code(secret, 0), "Sign in")
    page.wait_for_url("**/profile/")
    person.open(MFA)
    page.get_by_role("link", name="Make new recovery codes").click()
    look(page, script=script)
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="Remove the authenticator app").click()
    look(page, script=script)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("It is removed")).to_be_visible()


def plug_in(page: Page) -> tuple[Any, str]:
    """A device that makes passkeys and always says yes."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, device["authenticatorId"]


def assert_codes_can_be_stored(person: Visit) -> None:
    """Copied and saved as they stand there, and said so."""
    page = person.page
    heard = person.listen("#announcement")
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("The recovery codes are copied.").first.wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert copied == [*page.locator("#codes code").all_inner_texts(), ""]
    page.wait_for_timeout(100)
    assert heard() == ["The recovery codes are copied."]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.path().read_text().split("\n") == copied


def test_a_passkey_is_added_used_renamed_and_removed(visit):
    person: Visit = visit()
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = person.open(MFA)
    devtools, device = plug_in(page)
    page.get_by_role("link", name="Use a passkey or security key").click()
    look(page)
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Add").click()

    page.locator("#codes").wait_for()
    assert_codes_can_be_stored(person)
    page.get_by_role("link", name="I have stored them").click()
    look(page)

    # Twice the same device: there is nothing to gain.
    page.get_by_role("link", name="Add a passkey or security key").click()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("That device has a passkey for your account already.")).to_be_visible()
    expect(page.get_by_role("button", name="Add")).to_be_focused()

    # As the second step, and instead of a password.
    page = sign_out_and_in(person)
    look(page)
    page.get_by_role("button", name="Use your passkey or security key").click()
    page.wait_for_url("**/profile/")
    person.context.clear_cookies(name="session")
    person.open("/accounts/login/")
    look(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/profile/")

    person.open(MFA)
    page.get_by_role("link", name="Rename Laptop").click()
    look(page)
    page.get_by_label("Name").fill("Old laptop")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Remove Old laptop").click()
    look(page)
    page.get_by_role("button", name="Remove").click()
    page.wait_for_url("**/profile/#security")
    expect(page.get_by_role("link", name="Enable multi-factor authentication")).to_be_visible()

    # Removed here, it is of no use there.
    person.context.clear_cookies(name="session")
    person.open("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("That passkey was not accepted.")).to_be_visible()
    # And when it is not at hand, nothing is lost.
    devtools.send("WebAuthn.clearCredentials", {"authenticatorId": device})
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("The browser was not given a passkey.")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_be_focused()


def unverified_answer(page: Page) -> str:
    """What the device answers to the challenge in the page when it is not to check who holds it."""
    answer: str = page.evaluate(
        """async () => {
          const plain = (text) => atob(text.replaceAll("-", "+").replaceAll("_", "/"));
          const bytes = (text) => Uint8Array.from(plain(text), (char) => char.charCodeAt(0));
          const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
            .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
          const { challenge } = JSON.parse(document.querySelector("#webauthn-options").textContent).publicKey;
          const publicKey = { challenge: bytes(challenge), userVerification: "discouraged" };
          const made = await navigator.credentials.get({ publicKey });
          const response = {};
          for (const part of ["clientDataJSON", "authenticatorData", "signature", "userHandle"]) {
            if (made.response[part]) response[part] = text(made.response[part]);
          }
          return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
        }"""
    )
    return answer


def test_a_device_that_checked_nobody_is_a_second_step_and_no_more(visit):  # security 68
    person: Visit = visit()
    page = person.open("/accounts/mfa/passkeys/add/")
    devtools, device = plug_in(page)
    page.get_by_role("button", name="Add").click()
    page.locator("#codes").wait_for()
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})

    # The challenge of a second step, given up, and sent to the address where a passkey is all that is asked for.
    page = sign_out_and_in(person)
    answer = unverified_answer(page)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/accounts/login/")
    page.evaluate(
        """(answer) => {
          const form = document.querySelector("form[data-webauthn=get]");
          form.elements.credential.value = answer;
          form.submit();
        }""",
        answer,
    )
    expect(page.get_by_text("That passkey was not accepted.")).to_be_visible()

    # The right challenge, asked for in the wrong way.
    def ask_for_less(route: Route) -> None:
        if route.request.method != "GET":
            route.fallback()
            return
        answer = route.fetch()
        options = answer.json()
        options["request_options"]["publicKey"]["userVerification"] = "discouraged"
        route.fulfill(response=answer, json=options)

    page.route("**/accounts/login/passkey/", ask_for_less)
    with page.expect_navigation():  # the sentence stands there already
        page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("That passkey was not accepted.")).to_be_visible()
    person.open()
    page.wait_for_url("**/accounts/login/?next=/profile/")

    fill_in_sign_in(page, person.person)
    page.get_by_role("button", name="Use your passkey or security key").wait_for()
    page.evaluate(
        """(answer) => {
          const form = document.querySelector("form[data-webauthn=get]");
          form.elements.credential.value = answer;
          form.submit();
        }""",
        unverified_answer(page),
    )
    page.wait_for_url("**/profile/")


@pytest.mark.parametrize("script", [True, False])
def test_with_an_old_proof_a_factor_is_removed_after_one_password(visit, script):  # security 30, 67
    person: Visit = visit(script=script, width=NARROW)
    page = person.open(MFA)
    page.get_by_role("button", name="Send the code").click()
    enter_code(page, mailed_code(person), "Turn on")
    page.wait_for_url("**/profile/#security")
    # A factor that is added ends the other sessions, so the one kept for this, too.
    stale = person.site.stale(person.person)
    person.context.add_cookies([{"name": "session", "value": stale, "url": person.site.url}])
    person.open(MFA)
    page.get_by_role("link", name="Turn off codes by e-mail").click()
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Confirm", exact=True).click()
    look(page, script=script)
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_text("It is removed")).to_be_visible()


def test_without_javascript_a_passkey_page_says_what_it_needs(visit):
    page = visit(script=False).open("/accounts/mfa/passkeys/add/")
    expect(page.get_by_text("Passkeys need JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Add")).to_have_count(0)
    assert_no_sideways_scroll(page)
