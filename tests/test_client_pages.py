"""The pages of an API Client, by a browser without JavaScript and by htmx: who gets what, and what is done."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from profiles import credentials
from profiles.clients import company, tokens
from profiles.models import AccessProfile, AccountEvent, ClientSecret, Company, KeyEvent, OAuthApplication, OldSecret
from profiles.models import User as AnyUser
from profiles.origin import Origin

from .conftest import PASSWORD, KeyPair, make_client, make_key, make_token, sign_in, use, works
from .page import Response, Tags, by_htmx, html, is_whole_page, long_ago, secrets_in, words

pytestmark = pytest.mark.django_db

LIST = "/develop/api/clients/"
CREATE = f"{LIST}create/"
# Each action of a client, with the right that it needs.
RIGHT = {
    "edit": "edit",
    "regenerate": "edit",
    "end-old": "edit",
    "disable": "edit",
    "enable": "edit",
    "delete": "delete",
}
# What takes access from somebody, and gives none.
TAKING = {"disable", "delete"}
each_action = pytest.mark.parametrize("action", RIGHT)
either_way = pytest.mark.parametrize("by", [Client.get, Client.post, by_htmx], ids=["get", "post", "htmx"])


def page_of(pair: KeyPair, action: str = "") -> str:
    return f"{LIST}{pair.client_id}/{action and action + '/'}"


def right(verb: str) -> str:
    return f"accountNetwork.apiClients.{verb}"


def version(pair: KeyPair) -> int:
    return company.version(pair.client_id)


def by(actor: AnyUser) -> Origin:
    return Origin(actor, KeyEvent.Via.CLIENTS)


def change(pair: KeyPair, actor: AnyUser) -> dict[str, Any]:
    return {"company": actor.company, "client_id": pair.client_id, "origin": by(actor)}


def form_of(pair: KeyPair, **more: object) -> dict[str, object]:
    """What each action takes, whichever it is."""
    profile = pair.key.access_profile
    assert profile
    about = {"name": "Renamed", "note": "Ask Mia.", "access_profile": profile.uid}
    return {"version": version(pair), **about, **more}


def ready_for(action: str, pair: KeyPair, actor: AnyUser) -> None:
    """Bring the client into the state in which there is something to do."""
    if action == "enable":
        company.switch(**change(pair, actor), enabled=False)
    if action == "end-old":
        company.regenerate(**change(pair, actor), old_secret=OldSecret.DAY)


def state() -> Any:
    """All clients with their secrets, and what happened to them."""
    models: list[Any] = [OAuthApplication, ClientSecret, KeyEvent]
    return [list(model.objects.order_by("pk").values_list()) for model in models]


def offered(response: Response) -> set[str]:
    return {its["data-action"] for its in Tags(html(response)).with_attribute("data-action")}


@pytest.fixture
def browser(client: Client, manager: AnyUser) -> Client:
    """A browser in which `manager` has just signed in."""
    return sign_in(client, manager)


@pytest.fixture
def let(manager: AnyUser) -> Callable[..., None]:
    """Let the manager hold these rights alone."""

    def only(*rights: str) -> None:
        assert manager.access_profile
        manager.access_profile.rights = list(rights)
        manager.access_profile.save()

    return only


def new(profile: AccessProfile, maker: AnyUser, **more: object) -> dict[str, object]:
    """What the form for a new client sends."""
    assert maker.company
    last = company.last_made(maker.company, maker)
    form = {"version": last.pk if last else 0, "name": "Billing", "note": "", "access_profile": profile.uid}
    return {**form, **more}


# --- Who gets in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["", "check", *RIGHT])
@either_way
def test_who_may_not_view_gets_no_page(browser, let, api_client, manager, by, action):
    ready_for(action, api_client, manager)
    let(right("create"), right("edit"), right("delete"), "entities.systems.view")
    before = state()
    args = (form_of(api_client),) if by is not Client.get else ()
    response = by(browser, page_of(api_client, action), *args)
    assert response.status_code == (405 if not action and by is not Client.get else 403)
    assert api_client.client_id not in html(response)
    assert state() == before


@pytest.mark.parametrize("path", [LIST, CREATE, f"{LIST}{'0' * 32}/"])
def test_without_a_company_there_is_no_page(client, admin_user, access_profile, path):
    admin_user.access_profile = AccessProfile.objects.create(name="All", rights=[right("view"), right("create")])
    admin_user.save()
    assert sign_in(client, admin_user).get(path).status_code == 403


@pytest.mark.parametrize("action", ["", "check", *RIGHT])
@either_way
def test_a_client_of_another_company_is_not_there(browser, other_manager, client_profile, by, action):
    foreign = make_client(other_manager, client_profile)
    ready_for(action, foreign, other_manager)
    before = state()
    args = (form_of(foreign),) if by is not Client.get else ()
    response = by(browser, page_of(foreign, action), *args)
    assert response.status_code == (405 if not action and by is not Client.get else 404)
    assert foreign.key.name not in html(response)
    assert state() == before


def test_neither_is_an_unknown_one_nor_a_personal_key(browser, key):
    assert browser.get(page_of(key)).status_code == 404
    for unknown in ("0" * 32, "x", "é", "0" * 3000):
        assert browser.get(f"{LIST}{unknown}/").status_code == 404


@each_action
@either_way
def test_who_lacks_the_right_is_not_asked_and_does_nothing(browser, let, api_client, manager, by, action):
    ready_for(action, api_client, manager)
    others = [right(verb) for verb in ("view", "create", "edit", "delete") if verb != RIGHT[action]]
    let(*others, "entities.systems.view")
    before = state()
    assert action not in offered(browser.get(page_of(api_client)))
    args = (form_of(api_client),) if by is not Client.get else ()
    assert by(browser, page_of(api_client, action), *args).status_code == 403
    assert state() == before


@each_action
@either_way
def test_nobody_hands_out_more_than_they_hold(browser, let, api_client, manager, by, action):  # security 83
    """Who lacks a right of the client's access profile takes access away at most."""
    ready_for(action, api_client, manager)
    let(*map(right, ("view", "create", "edit", "delete")))
    before = state()
    assert (action in offered(browser.get(page_of(api_client)))) == (action in TAKING)
    args = (form_of(api_client),) if by is not Client.get else ()
    response = by(browser, page_of(api_client, action), *args)
    assert (response.status_code == 403) == (action not in TAKING)
    assert (state() == before) == (action not in TAKING or by is Client.get)


@either_way
def test_who_may_not_create_is_not_asked_and_makes_nothing(browser, let, manager, client_profile, by):
    let(right("view"), right("edit"), right("delete"), "entities.systems.view")
    assert "create-client" not in offered(browser.get(LIST))
    args = (new(client_profile, manager),) if by is not Client.get else ()
    assert by(browser, CREATE, *args).status_code == 403
    assert not OAuthApplication.objects.exists()


@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_a_right_that_was_lost_a_moment_ago_gives_nothing(browser, let, api_client, manager, monkeypatch, by):
    """The rules look once more, in the change itself."""
    form = form_of(api_client)
    regenerate = company.regenerate

    def meanwhile(**given: Any) -> Any:
        let(right("view"))
        return regenerate(**given)

    monkeypatch.setattr(company, "regenerate", meanwhile)
    response = by(browser, page_of(api_client, "regenerate"), form)
    assert response.status_code == 403
    assert works(api_client.client_id, api_client.secret)


def test_a_client_that_was_deleted_a_moment_ago_is_not_there(browser, api_client, manager, monkeypatch):
    edit = company.edit

    def meanwhile(**given: Any) -> Any:
        company.delete(**change(api_client, manager))
        return edit(**given)

    monkeypatch.setattr(company, "edit", meanwhile)
    assert browser.post(page_of(api_client, "edit"), form_of(api_client)).status_code == 404


def test_a_viewer_sees_all_and_is_offered_nothing_but_the_check(browser, let, api_client):
    let(right("view"))
    response = browser.get(page_of(api_client))
    assert offered(response) == {"check"}
    assert api_client.client_id in html(response)
    assert offered(browser.get(LIST)) == set()


def test_the_menu_leads_there_who_may_view_them(browser, let, signed_in, user):
    menu = '<a href="/develop/api/clients/">'
    assert menu not in html(sign_in(Client(), user).get("/profile/"))
    page = html(sign_in(browser, AnyUser.objects.get(email="manager@example.com")).get("/profile/"))
    assert page.index("My Profile</a>") < page.index(menu) < page.index("Sign out")
    let()
    assert menu not in html(browser.get("/profile/"))


@pytest.mark.parametrize("action", ["", *RIGHT, "check"])
def test_an_ended_session_leads_to_sign_in_and_back_to_the_client(client, api_client, action):
    response = client.get(page_of(api_client, action))
    assert response.headers["Location"] == f"/accounts/login/?next={page_of(api_client, action)}"
    if action:
        response = client.post(page_of(api_client, action), form_of(api_client))
        assert response.headers["Location"] == f"/accounts/login/?next={page_of(api_client)}"
    response = by_htmx(client, page_of(api_client, action))
    assert response.headers["HX-Redirect"] == f"/accounts/login/?next={page_of(api_client)}"


def test_nothing_was_done_in_an_ended_session(client, manager, client_profile):
    assert client.post(CREATE, {"name": "x"}).headers["Location"] == f"/accounts/login/?next={CREATE}"
    assert "You had been signed out, so nothing was done." in words(client.get("/accounts/login/"))


# --- Create -------------------------------------------------------------------------------------------------


def test_create_shows_the_secret_to_its_maker_once(browser, manager, client_profile):
    response = browser.post(CREATE, new(client_profile, manager, note="Runs on\r\nhost 7"))
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    (secret,) = secrets_in(response)
    made = OAuthApplication.objects.get()
    assert secret.startswith("avc_")
    assert works(made.client_id, secret)
    assert (made.name, made.note, made.access_profile) == ("Billing", "Runs on\nhost 7", client_profile)
    assert (made.company, made.maker, made.user) == (manager.company, manager, None)
    text = words(response)
    assert "The API Client has been created" in text
    assert "This secret is shown only to you, Mia Manager: nobody else in Fleet Ltd can see it." in text
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["id"] == "fresh-title"
    event = KeyEvent.objects.get()
    assert (event.action, event.via, event.actor, event.client_name) == ("created", "clients", manager, "Billing")
    for path in (LIST, f"{LIST}{made.client_id}/", CREATE, f"{LIST}{made.client_id}/regenerate/"):
        assert secret not in html(browser.get(path))
    assert secret not in str(dict(browser.session.items()))


def test_the_form_says_the_flow_as_a_fact_and_offers_what_may_be_given(browser, manager, client_profile):
    AccessProfile.objects.create(name="Stronger", rights=["entities.systems.edit"])
    response = browser.get(CREATE)
    tags = Tags(html(response))
    assert "Flow Client Credentials" in words(response)
    offered_ones = {option["value"] for option in tags["option"]}
    assert offered_ones == {"", client_profile.uid, manager.access_profile.uid}
    sent = [its["name"] for its in tags["input"] + tags["select"] + tags["textarea"]]
    assert sorted(sent) == sorted(
        ["csrfmiddlewaretoken"] * 2 + ["version", "name", "note", "access_profile", "mail_new_address"]
    )
    (focused,) = tags.with_attribute("autofocus")
    assert focused["name"] == "name"


def test_neither_client_id_nor_secret_nor_company_is_taken_from_a_form(browser, manager, client_profile):  # security 10
    other = Company.objects.create(name="Other Ltd")
    own = {"client_id": "0" * 32, "client_secret": "avc_x", "company": other.pk, "may_introspect": "on", "maker": "1"}
    browser.post(CREATE, {**new(client_profile, manager), **own})
    made = OAuthApplication.objects.get()
    assert made.client_id != "0" * 32
    assert (made.company, made.maker, made.may_introspect) == (manager.company, manager, False)


def test_a_form_that_is_sent_again_makes_no_second_client(browser, manager, client_profile):
    form = new(client_profile, manager)
    browser.post(CREATE, form)
    assert browser.post(CREATE, form).status_code == 409
    response = browser.post(CREATE, form)
    assert response.status_code == 409
    assert not secrets_in(response)
    made = OAuthApplication.objects.get()
    assert re.search(
        r"You created “Billing” at \S+ UTC, after this form was opened\. Nothing was done", words(response)
    )
    assert f'href="{LIST}{made.client_id}/"' in html(response)


@pytest.mark.parametrize("fate", ["renamed", "deleted"])
def test_nor_does_it_when_the_first_was_renamed_or_deleted(browser, manager, client_profile, fate):
    form = new(client_profile, manager)
    browser.post(CREATE, form)
    made = KeyPair(OAuthApplication.objects.get(), "")
    if fate == "renamed":
        browser.post(page_of(made, "edit"), form_of(made))
    else:
        browser.post(page_of(made, "delete"), {"version": version(made)})
    count = OAuthApplication.objects.count()
    response = browser.post(CREATE, form)
    assert response.status_code == 409
    assert OAuthApplication.objects.count() == count


def test_another_form_that_was_open_beside_it_loses_nothing(browser, manager, client_profile):
    """Two tabs: the second is told, keeps what was typed, and makes its client when it is sent once more."""
    second = new(client_profile, manager, name="Second", note="Of the second tab")
    browser.post(CREATE, new(client_profile, manager))
    response = browser.post(CREATE, second)
    assert response.status_code == 409
    page = html(response)
    assert 'value="Second"' in page
    assert "Of the second tab" in page
    (sent,) = [its["value"] for its in Tags(page)["input"] if its["name"] == "version"]
    response = browser.post(CREATE, {**second, "version": sent})
    assert (response.status_code, len(secrets_in(response))) == (200, 1)
    assert OAuthApplication.objects.filter(name="Second").exists()


def test_what_a_colleague_makes_meanwhile_is_in_nobodys_way(browser, manager, user, client_profile):
    form = new(client_profile, manager)
    user.access_profile = manager.access_profile
    user.save()
    make_client(user, client_profile)
    assert browser.post(CREATE, form).status_code == 200


def test_two_creates_between_look_and_act_make_one(browser, manager, client_profile, monkeypatch):
    form = new(client_profile, manager)
    create = company.create

    calls: list[str] = []

    def once(**given: Any) -> Any:
        if not calls:
            calls.append("")
            create(**{**given, "about": company.About("First", "", client_profile)})
        return create(**given)

    monkeypatch.setattr(company, "create", once)
    response = browser.post(CREATE, form)
    assert response.status_code == 409
    assert "You created “First”" in words(response)
    assert OAuthApplication.objects.count() == 1


WRONG = {
    "no name": ({"name": " \u200b "}, "Enter a name."),
    "a name of two lines": ({"name": "a\nb"}, "Write it in one line, without control characters."),
    "a long name": ({"name": "x" * 151}, "at most 150 characters"),
    "a name taken": ({"name": " NIGHTLY\u00a0 export"}, "Another API Client of your company has this name."),
    "no profile": ({"access_profile": ""}, "Choose an access profile."),
    "a profile that is gone": ({"access_profile": "0" * 32}, "This access profile is gone, or it holds a right"),
    "a long note": ({"note": "x" * 1001}, "at most 1000 characters"),
    "a note that reverses": ({"note": "a \u202e b"}, "Write it without control characters."),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("where", ["create", "edit"])
def test_what_is_wrong_is_said_at_its_field_and_the_rest_stays(browser, manager, api_client, what, where):
    changed, said = WRONG[what]
    other = make_client(manager, api_client.key.access_profile, name="Other")
    form = {**form_of(other, version=new(api_client.key.access_profile, manager)["version"]), "note": "Keep this"}
    path = CREATE
    if where == "edit":
        path, form = page_of(other, "edit"), {**form, "version": version(other)}
    before = state()
    response = browser.post(path, {**form, **changed})
    assert response.status_code == 422
    page = html(response)
    assert said in words(response)
    (wrong,) = Tags(page).with_attribute("aria-invalid")
    assert wrong["name"] == next(iter(changed))
    assert "autofocus" in wrong
    assert "note" in changed or "Keep this" in page
    assert state() == before


def test_a_note_of_many_lines_is_counted_as_it_is_typed(browser, manager, client_profile):
    note = "\r\n".join(["12345678"] * 111)  # 998 characters, as the browser counts them
    assert browser.post(CREATE, new(client_profile, manager, note=note)).status_code == 200


@pytest.mark.parametrize("where", ["create", "edit"])
def test_a_profile_that_one_lacks_a_right_of_is_not_given(browser, manager, api_client, where):  # security 83
    stronger = AccessProfile.objects.create(name="Stronger", rights=["entities.systems.edit"])
    path = CREATE if where == "create" else page_of(api_client, "edit")
    form = new(stronger, manager) if where == "create" else form_of(api_client, access_profile=stronger.uid)
    before = state()
    response = browser.post(path, form)
    assert response.status_code == 422
    assert "holds a right that you lack" in words(response)
    assert state() == before


@pytest.mark.parametrize("where", ["create", "edit"])
def test_a_profile_that_goes_between_look_and_act_is_told(browser, manager, api_client, monkeypatch, where):
    gone = AccessProfile.objects.create(name="Gone soon", rights=[])
    path = CREATE if where == "create" else page_of(api_client, "edit")
    form = new(gone, manager) if where == "create" else form_of(api_client, access_profile=gone.uid)
    act = getattr(company, where)

    def meanwhile(**given: Any) -> Any:
        AccessProfile.objects.filter(name="Gone soon").delete()
        return act(**given)

    monkeypatch.setattr(company, where, meanwhile)
    response = browser.post(path, form)
    assert response.status_code == 422
    assert "This access profile is gone" in words(response)


def test_more_than_so_many_are_refused_with_a_word_on_what_to_do(browser, manager, api_client, settings):
    settings.API_CLIENTS_AT_MOST = 1
    response = browser.post(CREATE, new(api_client.key.access_profile, manager))
    assert response.status_code == 422
    assert "Your company has 1 API Clients, and may have no more. Delete one" in words(response)
    assert 'value="Billing"' in html(response)


@pytest.mark.parametrize("due", [False, True])
@pytest.mark.parametrize("field", ["name", "note"])
@pytest.mark.parametrize("where", ["create", "edit"])
def test_a_credential_in_a_text_is_refused_and_repeated_nowhere(browser, manager, api_client, where, field, due):
    text = f"Secret: {api_client.secret}"  # security 80
    path = CREATE if where == "create" else page_of(api_client, "edit")
    form = new(api_client.key.access_profile, manager) if where == "create" else form_of(api_client)
    if due:
        long_ago(browser)
    before = state()
    for by in (Client.post, by_htmx):
        response = by(browser, path, {**form, field: text})
        assert response.status_code == 422
        assert "holds a secret key or an access token" in words(response)
        assert api_client.secret not in html(response)
    assert state() == before


def test_a_credential_in_a_stale_form_is_not_repeated_either(browser, manager, api_client):
    form = new(api_client.key.access_profile, manager, version=0, note=api_client.secret)
    response = browser.post(CREATE, form)
    assert response.status_code == 409
    assert api_client.secret not in html(response)


# --- The password -------------------------------------------------------------------------------------------


def test_create_asks_for_the_password_in_the_form(browser, manager, client_profile):
    long_ago(browser)
    assert "Your password" in words(browser.get(CREATE))
    form = new(client_profile, manager)
    response = browser.post(CREATE, form)  # opened when it was not due
    assert response.status_code == 200
    assert 'value="Billing"' in html(response)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["name"] == "password"
    assert not OAuthApplication.objects.exists()
    response = browser.post(CREATE, {**form, "password": "wrong"})
    assert response.status_code == 422
    assert "That is not your password." in words(response)
    assert AccountEvent.objects.filter(action="password_refused", owner=manager).count() == 1
    assert len(secrets_in(browser.post(CREATE, {**form, "password": PASSWORD}))) == 1


def test_a_password_that_was_accepted_is_not_asked_again_for_what_else_is_wrong(browser, manager, api_client):
    long_ago(browser)
    form = new(api_client.key.access_profile, manager, name="Nightly export", password=PASSWORD)
    response = browser.post(CREATE, form)
    assert response.status_code == 422
    assert "Another API Client of your company has this name." in words(response)
    assert "Your password" not in words(response)


@each_action
@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_each_action_asks_for_the_password_in_its_prompt(browser, manager, api_client, action, by):
    ready_for(action, api_client, manager)
    form = form_of(api_client)
    long_ago(browser)
    before = state()
    path = page_of(api_client, action)
    assert "Your password" in words(browser.get(path))
    assert "Your password" in words(by(browser, path, form))
    assert state() == before
    response = by(browser, path, {**form, "password": "wrong"})
    assert response.status_code == 422
    assert "That is not your password." in words(response)
    refused = KeyEvent.objects.filter(action="password_refused").get()
    assert refused.what == "Wrong password for a change of the API Client"
    assert (refused.via, refused.actor, refused.client_name) == ("clients", manager, "Nightly export")
    assert state()[:2] == before[:2]
    response = by(browser, path, {**form, "password": PASSWORD})
    assert response.status_code in (200, 302)
    assert state()[:2] != before[:2]


# --- The prompts, in two shells -----------------------------------------------------------------------------


TITLES = {
    "edit": "Edit API Client",
    "regenerate": "Regenerate the secret key?",
    "end-old": "End the old secret key now?",
    "disable": "Disable this API Client?",
    "enable": "Enable this API Client?",
    "delete": "Delete this API Client?",
    "check": "Check a secret key",
}


@pytest.mark.parametrize("action", TITLES)
def test_each_prompt_is_a_page_and_a_dialog_with_the_same_words(browser, manager, api_client, action):
    ready_for(action, api_client, manager)
    path = page_of(api_client, action)
    page, part = browser.get(path), by_htmx(browser, path)
    assert (page.status_code, part.status_code) == (200, 200)
    assert is_whole_page(page)
    assert not is_whole_page(part)
    assert (part.headers["HX-Retarget"], part.headers["HX-Reswap"]) == ("#key-dialog-body", "innerHTML")
    assert f'<h1 id="confirm-title" tabindex="-1">{TITLES[action]}</h1>' in html(page)
    assert f'<h2 id="confirm-title" tabindex="-1">{TITLES[action]}</h2>' in html(part)
    (cancel,) = [its for its in Tags(html(page))["form"] if its.get("id") == "cancel"]
    assert cancel["action"] == page_of(api_client)
    (form,) = [its for its in Tags(html(part))["form"] if its.get("hx-post")]
    assert form["hx-post"] == form["action"] == path
    first = {"edit": "name", "check": "secret"}.get(action)
    (focused,) = Tags(html(part)).with_attribute("autofocus")
    assert focused["name"] == first if first else "data-close-dialog" in focused


@pytest.mark.parametrize("action", ["disable", "enable"])
def test_nothing_is_asked_of_what_is_so_already(browser, manager, api_client, action):
    if action == "disable":
        ready_for("enable", api_client, manager)
    response = browser.get(page_of(api_client, action))
    assert response.status_code == 409
    assert f"Nothing was done: this API Client is {action}d already." in words(response)


def test_there_is_nothing_to_end_without_an_old_secret(browser, api_client):
    response = browser.get(page_of(api_client, "end-old"))
    assert response.status_code == 409
    assert "there is no old secret key that still works" in words(response)


@each_action
@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_a_stale_form_does_nothing_and_is_told(browser, manager, api_client, action, by):
    ready_for(action, api_client, manager)
    form = form_of(api_client)
    about = company.About("Changed meanwhile", "", api_client.key.access_profile)
    company.edit(**change(api_client, manager), about=about)
    before = state()
    response = by(browser, page_of(api_client, action), form)
    assert response.status_code == 409
    assert "This API Client was changed at" in words(response)
    assert "Nothing was done now." in words(response)
    assert state() == before
    if action == "edit":
        return  # the form once more: see below
    assert "Changed meanwhile" in html(response)
    if by is by_htmx:
        assert (response.headers["HX-Retarget"], response.headers["HX-Reswap"]) == ("#api-key", "outerHTML")


@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_what_was_typed_into_a_stale_edit_is_there_to_be_sent_again(browser, manager, api_client, by):
    form = form_of(api_client) | {
        "name": "Depot 7",
        "note": "A long story",
        "access_profile": api_client.key.access_profile.uid,
    }
    company.switch(**change(api_client, manager), enabled=False)
    response = by(browser, page_of(api_client, "edit"), form)
    assert response.status_code == 409
    assert "Look once more, then save." in words(response)
    assert response.context["form"].initial["note"] == "A long story"
    assert "Depot 7" in html(response)
    again = form | {"version": response.context["version"]}
    by(browser, page_of(api_client, "edit"), again)
    assert OAuthApplication.objects.get().note == "A long story"


@pytest.mark.parametrize("page", ["/profile/", None])
def test_what_was_done_to_a_client_is_no_news_of_the_personal_key(browser, manager, api_client, page):
    browser.post(page_of(api_client, "disable"), form_of(api_client))
    response = browser.get(page or page_of(api_client))
    assert "was disabled on" in words(response)
    assert bool(response.context["notices"]) is (page is None)


@each_action
@either_way
def test_what_a_resource_server_learns_is_given_by_superusers_alone(browser, manager, api_client, by, action):
    """Its secret opens what no access profile does: the owners of all tokens of the site."""
    ready_for(action, api_client, manager)
    OAuthApplication.objects.update(may_introspect=True)
    before = state()
    page = browser.get(page_of(api_client))
    assert "May ask about every access token of this site" in words(page)
    assert (action in offered(page)) == (action in TAKING)
    args = (form_of(api_client),) if by is not Client.get else ()
    response = by(browser, page_of(api_client, action), *args)
    assert (response.status_code == 403) == (action not in TAKING)
    assert (state() == before) == (action not in TAKING or by is Client.get)
    manager.is_superuser = True
    manager.save()
    assert browser.get(page_of(api_client, action)).status_code != 403


def test_of_a_resource_server_the_change_itself_looks_too(manager, api_client):
    OAuthApplication.objects.update(may_introspect=True)
    with pytest.raises(company.NotAllowed):
        company.regenerate(**change(api_client, manager))


def test_who_may_not_regenerate_is_not_told_to(browser, let, manager, client_profile):
    let(right("view"), right("create"), "entities.systems.view")
    said = words(browser.post(CREATE, new(client_profile, manager)))
    assert "somebody who may edit API Clients has to regenerate it" in said
    assert "If it is lost, regenerate it" not in said


def test_of_a_colleagues_regeneration_one_is_not_told_that_one_has_missed_it(browser, manager, user, api_client):
    form = form_of(api_client)
    user.access_profile = manager.access_profile
    user.save()
    company.regenerate(**change(api_client, user))
    text = words(browser.post(page_of(api_client, "regenerate"), form))
    assert "The secret key was regenerated at" in text
    assert "If you have not stored it" not in text
    company.regenerate(**change(api_client, manager))
    assert "If you have not stored it, regenerate it." in words(browser.post(page_of(api_client, "regenerate"), form))


# --- What each action does ----------------------------------------------------------------------------------


def test_edit_changes_what_is_said_and_gives_the_rights_of_the_profile(browser, manager, api_client):
    token = make_token(api_client)
    other = AccessProfile.objects.create(name="Nothing", rights=[])
    page = html(browser.get(page_of(api_client, "edit")))
    assert 'value="Nightly export"' in page
    assert re.search(rf'<option value="{api_client.key.access_profile.uid}"\s+selected', page)
    form = form_of(api_client, access_profile=other.uid, name="  Two\u00a0 words ")
    response = browser.post(page_of(api_client, "edit"), form)
    assert (response.status_code, response.headers["Location"]) == (302, page_of(api_client))
    response = browser.get(page_of(api_client))
    text = words(response)
    assert "The API Client was saved." in text
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert focused["id"] == "api-key-title"
    assert "Two words" in text
    assert "Access profile Nothing" in text
    assert "Ask Mia." in text
    assert "name: Nightly export → Two words; access profile: Integration → Nothing; note" in text
    found = tokens.find(token)
    assert found
    assert found.owner.rights == frozenset()


def test_edit_by_htmx_leads_to_the_page_because_its_title_is_another(browser, api_client):
    response = by_htmx(browser, page_of(api_client, "edit"), form_of(api_client))
    assert response.headers["HX-Redirect"] == page_of(api_client)
    assert "<title>Renamed · " in html(browser.get(page_of(api_client)))


@pytest.mark.parametrize("choice", OldSecret.values)
def test_regenerate_has_the_same_choice_for_the_old_secret(browser, api_client, choice):
    response = browser.post(page_of(api_client, "regenerate"), {"version": version(api_client), "old_secret": choice})
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    (secret,) = secrets_in(response)
    assert "This secret is shown only to you, Mia Manager" in words(response)
    assert works(api_client.client_id, secret)
    assert works(api_client.client_id, api_client.secret) == (choice != "now")
    page = browser.get(page_of(api_client))
    assert secret not in html(page)
    assert ("end-old" in offered(page)) == (choice != "now")
    assert ("The old secret key still works" in words(page)) == (choice != "now")


def test_regenerate_by_htmx_gives_the_section(browser, api_client):
    response = by_htmx(browser, page_of(api_client, "regenerate"), {"version": version(api_client)})
    assert not is_whole_page(response)
    assert (response.headers["HX-Retarget"], response.headers["HX-Reswap"]) == ("#api-key", "outerHTML")
    assert len(secrets_in(response)) == 1


@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_end_old_ends_the_old_secret_alone(browser, manager, api_client, by):
    _, new_secret = company.regenerate(**change(api_client, manager), old_secret=OldSecret.DAY)
    response = by(browser, page_of(api_client, "end-old"), {"version": version(api_client)})
    said = "The old secret key was ended on"
    assert said in words(response if by is by_htmx else browser.get(response.headers["Location"]))
    assert not works(api_client.client_id, api_client.secret)
    assert works(api_client.client_id, new_secret)


@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_disable_refuses_it_and_enable_lets_it_in_again(browser, api_client, by):
    token = make_token(api_client)

    def switch(action: str) -> str:
        response = by(browser, page_of(api_client, action), {"version": version(api_client)})
        if by is by_htmx:
            assert response.headers["HX-Retarget"] == "#api-key"
            return words(response)
        assert response.headers["Location"] == page_of(api_client)
        return words(browser.get(page_of(api_client)))

    text = switch("disable")
    assert "The API Client was disabled on" in text
    assert "This API Client is disabled. It and its access tokens are refused until it is enabled again." in text
    assert tokens.find(token) is None
    assert not works(api_client.client_id, api_client.secret)
    assert "Disabled" in words(browser.get(LIST))
    assert {"enable"} == offered(browser.get(page_of(api_client))) & {"enable", "disable"}
    text = switch("enable")
    assert "The API Client was enabled on" in text
    assert "is disabled" not in text
    assert tokens.find(token)
    assert works(api_client.client_id, api_client.secret)


@pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])
def test_delete_leads_to_the_list_which_says_so(browser, api_client, by):
    token = make_token(api_client)
    response = by(browser, page_of(api_client, "delete"), {"version": version(api_client)})
    assert response.headers["HX-Redirect" if by is by_htmx else "Location"] == LIST
    response = browser.get(LIST)
    assert "The API Client “Nightly export” was deleted on" in words(response)
    (focused,) = Tags(html(response)).with_attribute("autofocus")
    assert "tabindex" in focused
    assert "Nightly export : API Client deleted" in words(response)
    assert tokens.find(token) is None
    assert browser.get(page_of(api_client)).status_code == 404


def test_check_tells_a_viewer_which_secret_one_is(browser, let, manager, api_client, user):
    let(right("view"))
    check = page_of(api_client, "check")
    assert "one of this API Client’s" in words(browser.get(check))
    assert "It is the current one." in words(browser.post(check, {"secret": api_client.secret}))
    said = words(by_htmx(browser, check, {"secret": make_key(user).secret}))
    assert "It is not one of this API Client’s." in said
    assert "not a whole secret key at all" in words(browser.post(check, {"secret": api_client.secret[:-1]}))
    assert browser.post(check, {"secret": ""}).status_code == 422


def test_check_says_of_an_old_one_when_and_how_it_ended(browser, manager, api_client):
    company.regenerate(**change(api_client, manager), old_secret=OldSecret.DAY)
    company.end_old_secret(**change(api_client, manager))
    text = words(browser.post(page_of(api_client, "check"), {"secret": api_client.secret}))
    assert re.search(r"It was replaced on .* UTC, and ended on .* UTC\.", text)


# --- What the page tells ------------------------------------------------------------------------------------


def test_the_page_says_to_whom_the_secret_was_shown_and_who_made_it(browser, manager, user, api_client):
    user.access_profile = manager.access_profile
    user.save()
    company.regenerate(**change(api_client, user))
    text = words(browser.get(page_of(api_client)))
    assert "Made by Mia Manager" in text
    assert re.search(r"Secret key shown to Uma User \d+ \w+ \d{4}, \d\d:\d\d UTC", text)
    assert "It acts as the company, with the rights that this profile has at each request." in text
    assert "Flow Client Credentials" in text


def left(person: AnyUser, how: str) -> None:
    if how == "deleted":
        person.delete()
    elif how == "inactive":
        AnyUser.objects.filter(pk=person.pk).update(is_active=False)
    else:
        AnyUser.objects.filter(pk=person.pk).update(company=Company.objects.create(name="Other Ltd"))


@pytest.mark.parametrize("how", ["deleted", "inactive", "moved"])
def test_a_secret_that_somebody_knows_who_has_left_is_told(browser, let, manager, user, api_client, how):
    user.access_profile = manager.access_profile
    user.save()
    company.regenerate(**change(api_client, user), old_secret=OldSecret.NOW)
    left(user, how)
    who = "somebody who has left" if how == "deleted" else "Uma User, who has left"
    assert f"was shown to {who}. It works until it is regenerated." in words(browser.get(page_of(api_client)))
    assert f"Nightly export : shown to {who}: regenerate" in words(browser.get(LIST))
    let(right("view"))  # who cannot do anything about it is not told in the list
    assert "who has left" not in words(browser.get(LIST))
    let(*map(right, ("view", "edit")))  # as little as who lacks a right of its profile
    assert "who has left" not in words(browser.get(LIST))


def test_once_it_is_regenerated_nothing_is_told_any_more(browser, manager, user, api_client):
    user.access_profile = manager.access_profile
    user.save()
    company.regenerate(**change(api_client, user))
    left(user, "inactive")
    company.regenerate(**change(api_client, manager), old_secret=OldSecret.DAY)
    assert "End it as soon as your applications have the new one." in words(browser.get(page_of(api_client)))
    assert "who has left . End the old secret key." in words(browser.get(LIST)).replace("left.", "left .")
    company.end_old_secret(**change(api_client, manager))
    assert "who has left" not in words(browser.get(page_of(api_client)))
    assert "who has left" not in words(browser.get(LIST))


def test_a_leaked_one_says_so_and_offers_regenerate_to_who_may(browser, let, api_client):
    ClientSecret.objects.update(ended=True, ends="2026-01-01T00:00Z", end_reason=ClientSecret.EndReason.LEAKED)
    response = browser.get(page_of(api_client))
    assert "was reported as leaked" in words(response)
    assert "Regenerate it to use this API Client again." in words(response)
    assert "Leaked: regenerate" in words(response)
    let(right("view"))
    assert "to use this API Client again" not in words(browser.get(page_of(api_client)))


def test_events_say_who_did_it(browser, manager, user, admin_user, api_client):
    user.access_profile = manager.access_profile
    user.save()
    company.switch(**{**change(api_client, user), "enabled": False})
    company.disable(client=api_client.key, origin=by(admin_user))
    company.let_introspect(
        client=api_client.key, allowed=True, origin=Origin(admin_user, KeyEvent.Via.ADMIN, "198.51.100.9")
    )
    text = words(browser.get(page_of(api_client)))
    assert re.search(r"API Client disabled [^:]*:\d\d UTC By Uma User", text)
    assert re.search(r"May introspect tokens from now on [^:]*:\d\d UTC By an administrator", text)
    assert re.search(r"API Client created [^:]*:\d\d UTC By you", text)
    assert "Ada" not in text
    assert "198.51.100.9" not in text
    user.delete()
    assert "By somebody whose account was deleted" in words(browser.get(page_of(api_client)))


def test_names_and_notes_are_shown_as_text(browser, manager, client_profile):
    mean = "<script>alert(1)</script>"
    pair = make_client(manager, client_profile, name=mean, note=mean)
    for path in (LIST, page_of(pair), page_of(pair, "edit"), page_of(pair, "disable")):
        assert "<script>alert" not in html(browser.get(path))


def test_the_page_takes_few_queries(browser, manager, api_client, django_assert_num_queries):
    use(api_client)
    # 1 the session, 2 its user, 3 the client, 4 its events, 5 its secrets, 6 the days and 7 the addresses of its use,
    # 8 to whom it was shown, 9 who has left
    with django_assert_num_queries(9):
        browser.get(page_of(api_client))


def test_htmx_gets_the_section_alone_and_the_address_of_the_page(browser, api_client):
    """“I have stored the secret” is asked on the page that answered Create, which has the address of the form."""
    response = by_htmx(browser, page_of(api_client))
    assert not is_whole_page(response)
    assert response.headers["HX-Replace-Url"] == page_of(api_client)


def test_needs_the_token_of_the_form(browser, api_client):  # security 33
    browser.handler.enforce_csrf_checks = True
    before = state()
    for action in RIGHT:
        assert browser.post(page_of(api_client, action), form_of(api_client)).status_code == 403
    assert browser.post(CREATE, {"name": "x"}).status_code == 403
    assert state() == before


def test_it_begins_as_scanners_know_it(api_client):
    assert credentials.is_secret(api_client.secret)
