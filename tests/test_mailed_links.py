"""Every link in every mail begins with BASE_URL, whatever the request says about host, port and scheme."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.test import Client
from django.test.signals import template_rendered
from django.urls import reverse

from profiles.models import User

from .conftest import PASSWORD, sign_in
from .page import version

pytestmark = pytest.mark.django_db

BASE_URL = "https://keys.example"
# What a proxy, or whoever wants to be taken for one, may send.
HOSTILE = {
    "another port": {"host": "keys.example:9999"},
    "capital letters": {"host": "KEYS.Example:443"},
    "another name of ours": {"host": "other.example"},
    "forwarded": {
        "host": "keys.example",
        "x-forwarded-host": "evil.example",
        "x-forwarded-port": "9999",
        "x-forwarded-proto": "http",
        "forwarded": "host=evil.example;proto=http",
        "x-original-url": "//evil.example/",
        "referer": "https://evil.example/",
    },
}


@pytest.fixture(params=list(HOSTILE.values()), ids=list(HOSTILE))
def browser(request: pytest.FixtureRequest, settings: Any) -> Callable[[], Client]:
    """Makes browsers whose requests say this, to a site at BASE_URL."""
    settings.BASE_URL = BASE_URL
    settings.ALLOWED_HOSTS = ["keys.example", "other.example"]
    settings.TRUSTED_PROXIES = 1
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    own = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(time.time_ns())}
    settings.CACHES = {"default": own, "once": own}
    return lambda: Client(headers=request.param)


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    """The names of the templates of mails that were used."""
    names: set[str] = set()

    def note(template: Any, **_: Any) -> None:
        names.add(template.name)

    template_rendered.connect(note)
    yield names
    template_rendered.disconnect(note)


def templates_of_mails() -> set[str]:
    folder = Path(django_settings.BASE_DIR) / "templates"
    return {str(path.relative_to(folder)) for path in [*folder.glob("mail/*"), *folder.glob("account/email/*")]}


def text_of(mail: EmailMessage) -> str:
    """All that it says, plain and as HTML."""
    parts = [cast("Any", part) for part in mail.message().walk() if part.get_content_maintype() == "text"]
    return "\n".join([str(mail.subject), *(part.get_payload(decode=True).decode() for part in parts)])


def test_every_mail_links_to_base_url_alone(  # security 74
    browser, user, other_user, admin_user, rendered, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        browser().post("/accounts/password/reset/", {"email": user.email})

        owner = sign_in(browser(), user)
        owner.post("/profile/api-key/create/", {"version": version(user)})
        owner.post("/profile/email/", {"email": "new@example.com"})
        owner.post("/accounts/mfa/email/")
        User.objects.filter(pk=other_user.pk).update(email_codes=True)
        browser().post("/accounts/login/", {"login": other_user.email, "password": PASSWORD})

        staff = sign_in(browser(), admin_user)
        staff.post(
            reverse("admin:profiles_user_add"), {"email": "invited@example.com", "name": "Ina", "is_active": "on"}
        )
        moved = {"email": "moved@example.com", "name": other_user.name, "is_active": "on"}
        staff.post(reverse("admin:profiles_user_change", args=[other_user.pk]), moved)

    unused = templates_of_mails() - rendered
    assert unused == {"account/email/base_notification.txt"}  # which only mails of allauth's extend that are turned off
    for mail in mailoutbox:
        links = re.findall(r"""(?:\w+:)?//[^\s"'<>]*""", text_of(mail))
        assert links or "code" in mail.subject
        for link in links:
            assert re.match(rf"{BASE_URL}(/|,|$)", link), (mail.subject, link)
        assert not re.search(r"evil|9999|other\.example", str(mail.message()), re.IGNORECASE)
