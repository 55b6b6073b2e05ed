"""Chromium, used as a person would: the fixtures and helpers of the browser tests.

A `Visit` is one person's browser. It is watched all the time: an error or a warning in the console (where a violation
of the content security policy is shown), an exception in a script or a request to another host fails the test, unless
the test said that it expects it.

Each test has a person of its own, so no test finds what another one left.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, sync_playwright

from .server import DEMO_PASSWORD, Server, running, sqlite_url

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

NO_KEY = "You don\N{RIGHT SINGLE QUOTATION MARK}t have a personal API access key."
LIGHT, DARK = "light", "dark"
WIDE, PHONE, NARROW = 1280, 390, 320
PATIENCE = 10_000  # milliseconds for a condition to come true
# No screen, no sandbox (as root), none of Chromium's own background requests.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Chromium reports these answers as errors, but we give them on purpose; the tests check their content.
REFUSALS = re.compile(r"^Failed to load resource: the server responded with a status of 4(09|22|29) ")


@dataclass(frozen=True)
class Person:
    email: str
    fresh: str
    """Key of a session in which the password was given just now."""
    stale: str
    """Key of a session in which that was long ago."""


class Site:
    """The running server with people to visit it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self._people: list[Person] = []

    def person(self) -> Person:
        if not self._people:
            made = self._run("make(100)")
            self._people = [Person(**person) for person in json.loads(made.splitlines()[-1])]
        return self._people.pop()

    def manager(self, company: str = "", count: int = 1) -> list[Person]:
        """People who may do everything to the API Clients of a company of their own."""
        company = company or f"Company {uuid.uuid4().hex[:8]}"
        made = self._run(f"make({count}, 'Administrator', {company!r})")
        return [Person(**person) for person in json.loads(made.splitlines()[-1])]

    def leave(self, person: Person) -> None:
        self._run(f"leave({person.email!r})")

    def stale(self, person: Person) -> str:
        return self._run(f"stale({person.email!r})").splitlines()[-1]

    def revoke(self, person: Person, reason: str) -> None:
        self._run(f"revoke({person.email!r}, {reason!r})")

    def use(self, person: Person) -> None:
        self._run(f"used({person.email!r})")

    def _run(self, call: str) -> str:
        return self.server.manage("shell", "--no-imports", "-c", f"from tests.browser_people import *; {call}")

    # What a program does with a key.

    def token(self, client_id: str, secret: str) -> requests.Response:
        return requests.post(
            f"{self.url}/api/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(client_id, secret),
            timeout=60,
        )

    def current_user(self, token: str) -> requests.Response:
        url = f"{self.url}/api/v1/users/current"
        return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def assert_works(self, client_id: str, secret: str, owner: Person) -> str:
        """The key gives a token, and that acts as its owner. Returns the token."""
        answer = self.token(client_id, secret)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        user = self.current_user(token)
        assert user.status_code == 200, user.text
        assert user.json()["email"] == owner.email
        return token

    def assert_refused(self, client_id: str, secret: str, *tokens: str) -> None:
        answer = self.token(client_id, secret)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        for token in tokens:
            assert self.current_user(token).status_code == 401


class Visit:
    """One person's browser. `page` is its first window."""

    def __init__(self, browser: Browser, site: Site, person: Person, *, session: str, **options: Any) -> None:
        self.site, self.person = site, person
        self._problems: list[str] = []
        self._expected: list[re.Pattern[str]] = [REFUSALS]
        self.context = browser.new_context(base_url=site.url, **options)
        self.context.set_default_timeout(PATIENCE)
        self.context.on("console", self._on_console)
        self.context.on("weberror", lambda error: self._problems.append(f"exception: {error.error}"))
        self.context.on("request", lambda request: self._on_request(request.url))
        if session:
            self.context.add_cookies([{"name": "session", "value": session, "url": site.url}])
        self.page = self.context.new_page()

    # --- Watched ---------------------------------------------------------------------------------------------

    def expects(self, problem: str) -> None:
        """This test causes a problem on purpose; `problem` is a regular expression."""
        self._expected.append(re.compile(problem))

    @property
    def problems(self) -> list[str]:
        return [it for it in self._problems if not any(expected.search(it) for expected in self._expected)]

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._problems.append(message.text)

    def _on_request(self, url: str) -> None:
        if not url.startswith((f"{self.site.url}/", "blob:", "data:")):
            self._problems.append(f"request to another host: {url}")

    # --- Moving around ---------------------------------------------------------------------------------------

    def open(self, path: str = "/profile/") -> Page:
        self.page.goto(path)
        return self.page

    def another_window(self, path: str = "/profile/") -> Page:
        page = self.context.new_page()
        page.goto(path)
        return page

    def sign_in(self) -> Page:
        self.page.goto("/accounts/login/")
        fill_in_sign_in(self.page, self.person)
        self.page.wait_for_url("**/profile/")
        return self.page

    def grow_stale(self) -> None:
        """Let so much time go by that the password has to be given again."""
        self.context.add_cookies([{"name": "session", "value": self.person.stale, "url": self.site.url}])

    def listen(self, selector: str) -> Callable[[], list[str]]:
        """Listen to a live region of the page from now on, as a screen reader does. Returns a reader of its texts."""
        self.page.evaluate(
            """(selector) => {
              const region = document.querySelector(selector);
              const heard = (window.heard ??= {})[selector] = [];
              new MutationObserver(() => {
                if (region.textContent.trim()) heard.push(region.textContent.trim());
              }).observe(region, {childList: true, characterData: true, subtree: true});
            }""",
            selector,
        )
        return lambda: self.page.evaluate("(selector) => window.heard[selector]", selector)

    def create(self) -> tuple[str, str]:
        """From the page without a key to its Client ID and secret."""
        action(self.page, "create").click()
        self.page.locator("#fresh-title").wait_for()
        return credentials(self.page)

    def make_key(self) -> tuple[str, str]:
        """A new key, and the page as it is when one comes back later."""
        self.open()
        made = self.create()
        self.open()
        return made

    def make_client(self, name: str = "Nightly export", note: str = "") -> tuple[str, str]:
        """A new API Client, and its page as it answered."""
        self.open("/develop/api/clients/create/")
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_label("Note (optional)").fill(note)
        self.page.get_by_label("Access profile").select_option("Operator")
        self.page.get_by_role("button", name="Create").click()
        self.page.locator("#fresh-title").wait_for()
        return credentials(self.page)

    def regenerate(self, old_secret: str) -> tuple[str, str]:
        """Another secret, with this choice for the one before; and the page as it is when one comes back later."""
        action(self.page, "regenerate").click()
        self.page.get_by_label(old_secret, exact=True).check()
        self.page.locator("[data-confirm]").click()
        self.page.locator("#fresh-title").wait_for()
        made = credentials(self.page)
        self.open()
        return made


def fill_in_sign_in(page: Page, person: Person) -> None:
    page.get_by_label(re.compile("^E-?mail")).fill(person.email)
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Sign in").click()


# --- Parts of the page --------------------------------------------------------------------------------------


def action(page: Page, name: str) -> Locator:
    """The control that starts create, regenerate, end-old, delete or check."""
    return page.locator(f'[data-action="{name}"]')


def dialog(page: Page) -> Locator:
    """The open dialog. By its role: it is found only if assistive technology finds it."""
    return page.get_by_role("alertdialog")


def open_dialog(page: Page, name: str) -> Locator:
    action(page, name).click()
    dialog(page).wait_for()
    return dialog(page)


def credentials(page: Page) -> tuple[str, str]:
    """Client ID and secret that the page shows."""
    client_id = page.locator('[data-field="client-id"]').inner_text()
    secret = page.locator('[data-field="secret-key"]').inner_text()
    assert re.fullmatch(r"[0-9a-f]{32}", client_id), client_id
    assert re.fullmatch(r"av[sc]_[0-9A-Za-z]{49}", secret), secret
    return client_id, secret


# --- Checks ---------------------------------------------------------------------------------------------------


def assert_no_axe_violations(page: Page) -> None:
    """By the rules of axe-core, with its target-size rule, which is off by default."""
    results = Axe().run(page, options={"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}})
    violations = [
        "\n    ".join([f"{it['id']}: {it['help']}", *(node["html"][:300] for node in it["nodes"])])
        for it in results.response["violations"]
    ]
    assert violations == [], "\n".join(violations)


def assert_no_sideways_scroll(page: Page) -> None:
    page.wait_for_load_state()
    page.wait_for_function("() => document.documentElement")  # a click may just have led to another page
    over: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.body.querySelectorAll("*")]
            .filter((element) => element.getBoundingClientRect().right > width + 0.5)
            .map((element) => element.outerHTML.slice(0, 120));
        }"""
    )
    assert over == []


def focused(page: Page) -> str:
    """What has the focus, for people: its text or label; "body" if nothing has it."""
    found: str = page.evaluate(
        """() => {
          const element = document.activeElement;
          if (!element || element === document.body) return "body";
          const label = element.getAttribute("aria-label") || element.labels?.[0]?.innerText;
          return (label || element.innerText || element.id).trim();
        }"""
    )
    return found


def assert_focused(page: Page, name: str) -> None:
    """Browsers move the focus a moment after what they show has changed, so it waits."""
    deadline = time.monotonic() + 5
    while focused(page) != name and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert focused(page) == name


def assert_focus_is_visible(page: Page) -> None:
    ring: dict[str, Any] = page.evaluate(
        """() => {
          const style = getComputedStyle(document.activeElement);
          const box = document.activeElement.getBoundingClientRect();
          return {style: style.outlineStyle, width: parseFloat(style.outlineWidth), size: box.width * box.height};
        }"""
    )
    assert ring["style"] != "none", f"no ring around {focused(page)!r}"
    assert ring["width"] >= 2, f"a thin ring around {focused(page)!r}"
    assert ring["size"] > 0, f"focus on {focused(page)!r}, which cannot be seen"


class Held:
    """Requests to a path, from now on, that wait for the test before they go to the server."""

    def __init__(self, page: Page, path: str) -> None:
        self._page = page
        self._routes: list[Route] = []

        def hold(route: Route) -> None:  # Playwright takes no bound method of a list
            self._routes.append(route)

        page.route(f"**{path}", hold)

    def wait(self) -> None:
        """Wait until there is such a request."""
        while not self._routes:
            self._page.wait_for_timeout(20)

    def release(self) -> None:
        for route in self._routes:
            route.continue_()

    def answer(self, status: int, body: str) -> None:
        """Answer instead of the server; with status 0 the connection fails."""
        for route in self._routes:
            if status:
                route.fulfill(status=status, content_type="text/html", body=body)
            else:
                route.abort("connectionreset")


def go_back(page: Page) -> bool:
    """One page back. False if that is the answer to a form, and Chromium asks whether to send it again."""
    try:
        page.go_back(wait_until="commit")  # a page from the back/forward cache is not loaded again
    except Error as error:
        if "net::ERR_CACHE_MISS" not in error.message:
            raise
        return False
    return True


def html_of(page: Page) -> str:
    """Its HTML, also where a script is about to lead on from the page that the browser had kept."""
    while True:
        try:
            return page.content()
        except Error as error:
            if "the page is navigating" not in error.message:
                raise
            page.wait_for_load_state()


def lose_answers(page: Page, path: str) -> None:
    """Requests to a path reach the server, and their answers get lost."""

    def lose(route: Route) -> None:
        route.fetch(max_redirects=0)
        route.abort("connectionreset")

    page.route(f"**{path}", lose)


# --- Fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; each has windows, cookies and settings of its own."""
    program = os.environ.get("CHROMIUM")
    if not program:
        pytest.skip("CHROMIUM does not name a browser")
    # Between its calls Playwright leaves its event loop marked as running, and Django then refuses to use a database.
    # Browser tests come last, but a worker that is done takes over other tests from one that is not.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        # Playwright turns the back/forward cache off; people have it.
        started = playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("browser")
    with running(folder, sqlite_url(folder), REAUTHENTICATION_TIMEOUT="3600") as server:
        yield Site(server)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Visit]]:
    """Open a browser for a new person; at the end, nothing may have gone wrong in any of them.

    `session` is "fresh", "stale" (the password must be given again) or "" (signed out).
    """
    visits: list[Visit] = []

    def start(
        *,
        width: int = WIDE,
        height: int = 900,
        scheme: str = LIGHT,
        script: bool = True,
        session: str = "fresh",
        person: Person | None = None,
        **options: Any,
    ) -> Visit:
        person = person or site.person()
        visits.append(
            Visit(
                browser,
                site,
                person,
                session=getattr(person, session) if session else "",
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                java_script_enabled=script,
                # Nothing to wait for; what moves otherwise is looked at in test_browser_layout.
                reduced_motion=options.pop("reduced_motion", "reduce"),
                **options,
            )
        )
        return visits[-1]

    yield start
    problems = [problem for visit in visits for problem in visit.problems]
    for visit in visits:
        visit.context.close()
    assert problems == []
