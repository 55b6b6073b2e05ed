"""A person at a browser without JavaScript: follows forms as they are in the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import requests

from .server import DEMO_PASSWORD


@dataclass
class Form:
    action: str
    fields: dict[str, str]


class _Forms(HTMLParser):
    """Every form of a page with its hidden and filled fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(values.get("action", ""), {})
            self.forms.append(self._open)
        elif tag == "input" and self._open and "name" in values:
            if values.get("type") in ("radio", "checkbox") and "checked" not in values:
                return
            self._open.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class Visitor:
    """`get`, `submit` and what the key section shows. Not for use by several threads."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.session = requests.Session()

    def copy(self) -> Visitor:
        """The same browser in another window: the same cookies."""
        other = Visitor(self.site)
        other.session.cookies.update(self.session.cookies)
        return other

    def get(self, path: str) -> requests.Response:
        return self.session.get(urljoin(self.site, path), timeout=60)

    def form(self, path: str, action: str) -> Form:
        """The form on the page at `path` that leads to `action`."""
        response = self.get(path)
        assert response.ok, response.status_code
        return form_on(response.text, action, path)

    def submit(self, path: str, action: str, **filled: str) -> requests.Response:
        """Open `path`, fill in the form that leads to `action`, send it."""
        return self.send(self.form(path, action), action, **filled)

    def send(self, form: Form, action: str, **filled: str) -> requests.Response:
        return self.post(action, form.fields | filled)

    def post(self, path: str, fields: dict[str, str], **options: Any) -> requests.Response:
        """Send these fields; `options` are those of `requests`."""
        headers = {"Referer": self.site, "Origin": self.site.rstrip("/")}
        return self.session.post(urljoin(self.site, path), data=fields, headers=headers, **{"timeout": 60, **options})

    def sign_in(self, email: str, password: str = DEMO_PASSWORD) -> Visitor:
        response = self.submit("/accounts/login/", "/accounts/login/", login=email, password=password)
        assert response.url.endswith("/profile/"), response.url
        return self

    def create(self) -> tuple[str, str]:
        return credentials_on(self.submit("/profile/", "/profile/api-key/create/"))

    def regenerate(self, old_secret: str = "now") -> tuple[str, str]:
        return credentials_on(self.submit(*["/profile/api-key/regenerate/"] * 2, old_secret=old_secret))

    def delete(self) -> None:
        response = self.submit(*["/profile/api-key/delete/"] * 2)
        assert response.ok, response.status_code

    def has_key(self) -> bool:
        return 'data-action="regenerate"' in self.get("/profile/").text


def form_on(page: str, action: str, path: str = "/") -> Form:
    """The form on this page, which is at `path`, that leads to `action`."""
    forms = [form for form in _Forms(page).forms if urljoin(path, form.action) == action]
    assert forms, f"no form for {action} at {path}"
    return forms[0]


def client_id_in(page: str) -> str | None:
    """The Client ID that a page, or the beginning of one, shows."""
    found = re.search(r'data-field="client-id"[^>]*?(?:value="|>)\s*([0-9a-f]{32})\b', page)
    return found and found.group(1)


def secret_in(page: str) -> str | None:
    """The secret that a page, or the beginning of one, shows in full."""
    found = re.search(r'data-field="secret-key"[^>]*?(?:value="|>)\s*(avs_[0-9A-Za-z]{49})\b', page)
    return found and found.group(1)


def credentials_on(response: requests.Response) -> tuple[str, str]:
    """Client ID and secret, as the answer to Create or Regenerate shows them."""
    assert response.status_code == 200, (response.status_code, response.text[:500])
    client_id, secret = client_id_in(response.text), secret_in(response.text)
    assert client_id, response.text[:500]
    assert secret, response.text[:500]
    return client_id, secret
