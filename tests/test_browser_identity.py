"""The identity card, by hand: e-mail address, picture and profile, with and without JavaScript, and clean to axe."""

from __future__ import annotations

import re
import uuid
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from .browser import DARK, LIGHT, NARROW, WIDE, Visit, assert_no_axe_violations, assert_no_sideways_scroll
from .server import DEMO_PASSWORD

pytestmark = pytest.mark.browser

with_and_without_script = pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])


def picture() -> dict[str, str | bytes]:
    file = BytesIO()
    Image.linear_gradient("L").resize((400, 300)).save(file, "PNG")
    return {"name": "me.png", "mimeType": "image/png", "buffer": file.getvalue()}


def link_sent_to(person: Visit, address: str) -> str:
    folder = person.site.server.folder / "mail"
    mails = [mail.read_text().replace("=\n", "").replace("\n ", " ") for mail in folder.iterdir()]
    (mail,) = [mail for mail in mails if re.search(rf"To:\s+{address}", mail)]
    found = re.search(r"http://\S+/accounts/email/confirm/[\w-]+/", mail)
    assert found
    return found[0]


def assert_clean(page: Page) -> None:
    for width, scheme in ((WIDE, LIGHT), (NARROW, DARK)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert_no_sideways_scroll(page)
        assert_no_axe_violations(page)


def test_an_address_in_letters_of_ones_language_is_one_address(visit):  # security 79
    """Chromium sends the domain in ASCII from a field for e-mail addresses, others send it as it was typed."""
    person = visit()
    page = person.open("/profile/email/")
    name = uuid.uuid4().hex[:12]
    typed, stored = f"{name}@bücher.example", f"{name}@xn--bcher-kva.example"
    page.get_by_label("New e-mail address").fill(typed)
    page.get_by_role("button", name="Change Email", exact=True).click()
    page.wait_for_url("**/profile/")
    page.goto(link_sent_to(person, stored))
    page.get_by_role("button", name="Confirm the address").click()
    page.wait_for_url("**/accounts/login/")
    for login in (typed, stored):
        page = visit(session="").open("/accounts/login/")
        page.get_by_label("Email").fill(login)
        page.get_by_label("Password", exact=True).fill(DEMO_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/profile/")
        expect(page.locator("#about")).to_contain_text(stored)


def test_a_phone_number_is_taken_as_a_phone_fills_it_in(visit):
    page = visit().open("/profile/edit/")
    page.get_by_label("Phone number").fill("+33 1 23 45 67 89")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/profile/")
    expect(page.locator("#about")).to_contain_text("+33123456789")


@with_and_without_script
def test_the_address_is_changed_by_the_link(visit, script):
    person = visit(script=script)
    page = person.open()
    page.get_by_role("link", name="Change e-mail address").click()
    expect(page.get_by_label("New e-mail address")).to_be_focused()
    new = f"{uuid.uuid4().hex[:12]}@new.example"
    page.get_by_label("New e-mail address").fill(new)
    page.get_by_role("button", name="Change Email", exact=True).click()
    page.wait_for_url("**/profile/")
    expect(page.locator("#about")).to_contain_text(f"Follow the link that we sent to {new}")
    page.goto(link_sent_to(person, new))
    expect(page.locator("main")).to_contain_text(new)
    page.get_by_role("button", name="Confirm the address").click()
    page.wait_for_url("**/accounts/login/")
    expect(page.locator("main")).to_contain_text("Your e-mail address was changed. Sign in with the new one.")


@with_and_without_script
def test_a_picture_is_shown_and_removed(visit, script):
    page = visit(script=script).open()
    page.get_by_role("link", name="Change picture").click()
    page.get_by_label("New picture").set_input_files(picture())
    page.get_by_role("button", name="Save the picture").click()
    page.wait_for_url("**/profile/")
    image = page.locator("#about img")
    expect(image).to_be_visible()
    assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 400
    page.get_by_role("link", name="Change picture").click()
    page.get_by_role("button", name="Remove the picture").click()
    page.wait_for_url("**/profile/")
    expect(page.locator("#about .avatar")).to_have_text("PP")


@with_and_without_script
def test_the_profile_is_edited(visit, script):
    page = visit(script=script).open()
    page.get_by_role("link", name="Edit profile").click()
    page.get_by_label("Phone number").fill("01 23")
    page.get_by_label("Time zone").select_option(label="Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field-error")).to_contain_text("international form")
    expect(page.get_by_label("Phone number")).to_be_focused()
    page.get_by_label("Phone number").fill("+33123456789")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/profile/")
    expect(page.locator("#about")).to_contain_text("+33123456789")
    page.get_by_role("button", name="Create", exact=True).click()
    page.locator("#fresh-title").wait_for()
    page.goto("/profile/")
    expect(page.locator("#api-key")).to_contain_text(" JST")


def test_every_page_of_the_card_is_clean(visit):
    person = visit()
    person.expects("status of 410 ")
    page = person.open("/profile/picture/")
    page.get_by_label("New picture").set_input_files({"name": "a.svg", "mimeType": "image/png", "buffer": b"<svg/>"})
    page.get_by_role("button", name="Save the picture").click()
    expect(page.locator(".field-error")).to_be_visible()
    assert_clean(page)
    page.get_by_label("New picture").set_input_files(picture())
    page.get_by_role("button", name="Save the picture").click()
    page.wait_for_url("**/profile/")
    new = f"{uuid.uuid4().hex}{uuid.uuid4().hex}@new.example"  # as long as addresses get
    page.goto("/profile/email/")
    page.get_by_label("New e-mail address").fill(new[:5] + "@")
    page.locator("form[action$='/email/']").evaluate("(form) => { form.noValidate = true; }")
    page.get_by_role("button", name="Change Email").click()
    expect(page.locator(".field-error")).to_be_visible()
    assert_clean(page)
    page.get_by_label("New e-mail address").fill(new)
    page.get_by_role("button", name="Change Email").click()
    page.wait_for_url("**/profile/")
    assert_clean(page)
    for path in ("/profile/picture/", "/profile/edit/", link_sent_to(person, new), "/accounts/email/confirm/x/"):
        page.goto(path)
        assert_clean(page)
