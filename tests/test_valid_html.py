"""Every page is valid HTML, in every state that it is served in. What scripts make of it: see test_browser_axe.

PAGES=folder keeps the pages there, for another validator.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from profiles.clients import company
from profiles.mail import invitations
from profiles.models import User

from .admin_site import browser_of
from .conftest import make_key, sign_in
from .mfa import give_password, set_up_totp
from .page import CHECK, CREATE, DELETE, END_OLD, PROFILE, REGENERATE, Response, by_htmx, html, long_ago, version
from .routes import PEOPLE, PROGRAMS, routes
from .valid_html import assert_valid, problems

pytestmark = pytest.mark.django_db


def check(response: Response, *, part: bool = False) -> None:
    if response.content and response.headers["Content-Type"].startswith("text/html"):
        if folder := os.environ.get("PAGES"):
            kept = Path(folder, "parts" if part else "pages")
            kept.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"\W+", "-", response.request["PATH_INFO"]) + f"{len(response.content)}.html"
            (kept / name).write_bytes(response.content)
        assert_valid(html(response), part=part)


def check_all(client: Client) -> None:
    for route in routes(*PEOPLE, *PROGRAMS):
        check(client.get(route.address()))
        if route.name != "account_logout":
            check(client.post(route.address()))  # of every form, what it says of missing fields; or 405


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (
            '<button type="button" popovertarget="a" aria-expanded="false"></button><p id="a" popover></p>',
            "already expresses",
        ),
        ('<dialog aria-modal="true"></dialog>', "already expresses"),
        ('<dialog role="dialog"></dialog>', "implicitly"),
        ('<input required aria-required="true">', "already expresses"),
        ('<button type="submit" disabled aria-disabled="true"></button>', "already expresses"),
        ('<label for="nothing">a</label>', "there is no 'nothing'"),
        ('<p id="a"></p><p id="a"></p>', "2 times"),
        ('<a href="/"><button type="button"></button></a>', "interactive"),
        ("<p><div></p>", "Unexpected"),
        ("<p class=a class=b>", "uplicate"),
        ("<section></div></section>", "too early"),
    ],
)
def test_what_is_not_valid_is_found(page, problem):
    assert problem in "\n".join(problems(f"<!doctype html><title>a</title>{page}"))


def test_every_page_for_everybody(client):
    check_all(client)
    check(client.get("/nowhere"))
    check(client.post("/accounts/login/", {"login": "nobody", "password": "x"}))
    check(client.post("/accounts/password/reset/", {"email": "nobody"}))


def test_every_page_for_a_user(signed_in):
    check_all(signed_in)
    check(signed_in.get("/nowhere"))
    check_all(long_ago(signed_in))


def test_every_state_of_the_key(user, signed_in, key):
    check(signed_in.get(PROFILE))
    check(signed_in.post(REGENERATE, {"version": 0}))
    check(signed_in.post(REGENERATE, {"version": version(user)}))
    check(signed_in.post(REGENERATE, {"version": version(user), "old_secret": "first-use"}))
    check(by_htmx(signed_in, REGENERATE, {"version": version(user), "old_secret": "24h"}), part=True)
    check(by_htmx(signed_in, REGENERATE, {"old_secret": "never"}), part=True)
    check(signed_in.get(PROFILE))
    for path in (REGENERATE, END_OLD, DELETE, CHECK):
        check(signed_in.get(path))
        check(by_htmx(signed_in, path), part=True)
    for secret in (key.secret, "avs_", ""):
        check(signed_in.post(CHECK, {"secret": secret}))
        check(by_htmx(signed_in, CHECK, {"secret": secret}), part=True)
    check(by_htmx(signed_in, REGENERATE, {"version": 0}), part=True)
    check(by_htmx(signed_in, END_OLD, {"version": version(user)}), part=True)
    check(by_htmx(signed_in, END_OLD, {"version": version(user)}), part=True)
    check(by_htmx(signed_in, DELETE, {"version": version(user)}), part=True)
    check(signed_in.get(PROFILE))
    check(by_htmx(signed_in, CREATE, {"version": version(user)}), part=True)
    signed_in.post(REGENERATE, {"version": version(user), "old_secret": "24h"})
    long_ago(signed_in)
    for path in (REGENERATE, END_OLD, DELETE):
        check(by_htmx(signed_in, path), part=True)
        wrong = {"version": version(user), "password": "x"}
        check(by_htmx(signed_in, path, wrong), part=True)
        check(signed_in.post(path, wrong))
    User.objects.filter(pk=user.pk).update(picture="pictures/u.png", access_profile=None, company=None)
    check(signed_in.get(PROFILE))


def test_every_state_of_an_api_client(client, manager, api_client):
    sign_in(client, manager)
    home = f"/develop/api/clients/{api_client.client_id}/"

    def form(**more: object) -> dict[str, object]:
        return {"version": company.version(api_client.client_id), **more}

    check_all(client)
    for path in ("edit", "regenerate", "disable", "delete", "check"):
        check(client.get(f"{home}{path}/"))
        check(by_htmx(client, f"{home}{path}/"), part=True)
        check(by_htmx(client, f"{home}{path}/", {"version": "1"}), part=True)
    check(client.post(f"{home}edit/", form(name="", note="<b>")))
    check(by_htmx(client, f"{home}edit/", form(name="", note="<b>")), part=True)
    check(by_htmx(client, f"{home}regenerate/", form(old_secret="24h")), part=True)
    check(by_htmx(client, f"{home}end-old/"), part=True)
    check(by_htmx(client, f"{home}disable/", form()), part=True)
    check(by_htmx(client, f"{home}enable/"), part=True)
    User.objects.filter(pk=manager.pk).update(name="<i>")
    for address in (home, "/develop/api/clients/", "/develop/api/clients/?q=x", "/develop/api/clients/create/"):
        check(client.get(address))
    long_ago(client)
    for path in ("edit", "regenerate", "end-old", "enable", "delete"):
        check(by_htmx(client, f"{home}{path}/"), part=True)
        check(client.post(f"{home}{path}/", form(password="x")))


def test_second_factors(user, client, signed_in):
    set_up_totp(signed_in)
    for address in ("/accounts/mfa/", "/accounts/mfa/recovery-codes/", "/accounts/mfa/totp/remove/", PROFILE):
        check(signed_in.get(address))
    check(signed_in.post("/accounts/mfa/recovery-codes/"))
    other = Client()
    give_password(other, user)
    check(other.get("/accounts/login/second-factor/"))
    check(other.post("/accounts/login/second-factor/", {"code": "000000"}))
    user.email_codes = True
    user.save()
    check(other.post("/accounts/login/second-factor/by-email/", follow=True))
    check(signed_in.get("/accounts/mfa/"))


def test_a_link_from_a_mail(client, user, mailoutbox):
    invitations.send(user)
    (link,) = re.findall(rf"{re.escape(settings.BASE_URL)}(/\S+)", mailoutbox[0].body)[:1]
    check(client.get(link, follow=True))
    check(client.post(client.get(link).headers["Location"], {"password1": "x", "password2": "y"}))


def test_mails(user, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        make_key(user)
    (mail,) = mailoutbox
    found = problems(mail.alternatives[0].content)
    assert [it for it in found if "style is refused" not in it] == []  # mail programs read nothing else


def test_our_pages_of_the_admin_site(admin_user, key, user):
    staff = browser_of(admin_user)
    for address in (
        "/admin/profiles/oauthapplication/",
        f"/admin/profiles/oauthapplication/{key.key.pk}/change/",
        f"/admin/profiles/oauthapplication/revoke/?key={key.key.pk}",
        "/admin/profiles/user/",
        f"/admin/profiles/user/{user.pk}/change/",
        f"/admin/profiles/user/{user.pk}/delete/",
        "/admin/profiles/keyevent/",
        "/admin/profiles/accessprofile/add/",
    ):
        response = staff.get(address)
        assert response.status_code == 200, address
        check(response)
