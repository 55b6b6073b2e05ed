"""Signing in while others try to, in a browser: refused kindly where it is new, let in where it is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .browser import NARROW, WIDE, Site, Visit, assert_no_axe_violations, assert_no_sideways_scroll, fill_in_sign_in
from .server import Server, sqlite_url
from .visitor import Visitor

pytestmark = pytest.mark.browser

LOGIN = "/accounts/login/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with its limits on."""
    folder: Path = tmp_path_factory.mktemp("lockout")
    server = Server(folder, sqlite_url(folder), RATE_LIMITS="on")
    server.prepare()
    server.start(workers=1)
    yield Site(server)
    server.stop()


@pytest.mark.parametrize(("script", "width"), [(True, WIDE), (False, NARROW)])
def test_the_owners_browser_gets_in_past_those_who_guess_at_the_same_address(visit, script, width):  # security 71
    person: Visit = visit(script=script, width=width, session="")
    person.sign_in()
    (cookie,) = [it for it in person.context.cookies() if it.get("name") == "known"]
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    guesser = Visitor(person.site.url)
    form = guesser.form(LOGIN, LOGIN)
    answers = [guesser.send(form, LOGIN, login=person.person.email, password="wrong") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]

    new: Visit = visit(script=script, width=width, session="", person=person.person)
    page = new.open(LOGIN)
    fill_in_sign_in(page, new.person)
    expect(page.get_by_text("Too many attempts.")).to_be_visible()
    expect(page.locator("main").get_by_role("link", name="set a new password")).to_be_visible()
    assert_no_sideways_scroll(page)
    if script:
        assert_no_axe_violations(page)

    person.context.clear_cookies(name="session")
    person.sign_in()
    expect(person.page).to_have_url(f"{person.site.url}/profile/")
