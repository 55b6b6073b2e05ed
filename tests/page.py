"""What the tests of My Profile have in common: its addresses, and how to look at an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from django.test import Client

from profiles.clients import lifecycle
from profiles.models import User

PROFILE = "/profile/"
CREATE = "/profile/api-key/create/"
REGENERATE = "/profile/api-key/regenerate/"
END_OLD = "/profile/api-key/end-old/"
DELETE = "/profile/api-key/delete/"
CHECK = "/profile/api-key/check/"
ACTIONS = (CREATE, REGENERATE, END_OLD, DELETE, CHECK)
SECTION = "/profile/#api-key"

Response = Any  # what the test client returns has a type of its own

SECRET = re.compile(r"av[sc]_[0-9A-Za-z]{49}")


class Tags(HTMLParser):
    """All start tags of a page, in order, as (name, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def __getitem__(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]

    def with_attribute(self, name: str, value: str | None = None) -> list[dict[str, str]]:
        return [its for _, its in self.found if name in its and value in (None, its[name])]


def html(response: Response) -> str:
    return response.content.decode()


def words(response: Response) -> str:
    """The text of an answer, in one line."""
    return text_of(html(response))


def text_of(markup: str) -> str:
    """The text of some HTML, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", markup).split())


def secrets_in(response: Response) -> list[str]:
    return SECRET.findall(html(response))


def is_whole_page(response: Response) -> bool:
    return html(response).lstrip().startswith("<!doctype html>")


def by_htmx(
    client: Client, path: str, data: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """What htmx would send: a POST with `data`, or else a GET."""
    headers = {"HX-Request": "true", **(headers or {})}
    return client.get(path, headers=headers) if data is None else client.post(path, data, headers=headers)


def version(user: User) -> int:
    """The version that a page opened now would carry."""
    return lifecycle.version(user)


def long_ago(client: Client) -> Client:
    """As if the password had been given an hour ago."""
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()
    return client


def is_in(client: Client) -> bool:
    """Whether somebody is signed in."""
    return client.get(PROFILE).status_code == 200
