"""Texts that can be written in many forms: one form is stored, any is found, and what shows nothing is refused."""

from __future__ import annotations

import re
import time
import unicodedata
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from profiles.models import AccessProfile, Company, EmailChange, User
from profiles.text import spelling

from .admin_site import browser_of
from .api import CURRENT, get
from .conftest import PASSWORD, make_key, make_token, sign_in
from .page import PROFILE, html, words

pytestmark = pytest.mark.django_db  # security 79

UNICODE, ASCII = "Anna@Bücher.example", "anna@xn--bcher-kva.example"
DECOMPOSED = unicodedata.normalize("NFD", UNICODE)
every_form = pytest.mark.parametrize("typed", [UNICODE, ASCII, ASCII.upper(), DECOMPOSED, " anna@BÜCHER.EXAMPLE "])

LOGIN, RESET, CHANGE_EMAIL, CHANGE_PASSWORD = (
    "/accounts/login/",
    "/accounts/password/reset/",
    "/profile/email/",
    "/accounts/password/change/",
)
EDIT, ADD = "/profile/edit/", "/admin/profiles/user/add/"
NEW = {"email": "new@example.com", "name": "Nora New"}


@pytest.fixture
def anna(company, access_profile) -> User:
    return User.objects.create_user(UNICODE, PASSWORD, name="Anna", company=company, access_profile=access_profile)


def stored(user: User, field: str = "email") -> Any:
    return User.objects.values_list(field, flat=True).get(pk=user.pk)


def sign_in_with(password: str, login: str = "user@example.com") -> int:
    return Client().post(LOGIN, {"login": login, "password": password}).status_code


# --- E-mail addresses -------------------------------------------------------------------------------------


@every_form
def test_one_address_is_one_account_on_every_way_in(typed, anna, mailoutbox):
    assert stored(anna) == anna.email == ASCII
    assert sign_in_with(PASSWORD, typed) == 302
    Client().post(RESET, {"email": typed})
    (mail,) = mailoutbox
    assert mail.to == [ASCII]
    assert "/accounts/password/reset/key/" in mail.body
    assert User.objects.get_by_natural_key(typed) == User.objects.get(email=typed) == anna


@every_form
def test_one_address_is_one_account_for_commands_and_the_api(typed, anna):
    out = StringIO()
    call_command("createkey", typed, stdout=out)
    assert "CLIENT_SECRET=avs_" in out.getvalue()
    call_command("revokekeys", "--owner", typed, "--reason", "test", "--yes", stdout=StringIO())
    anna.refresh_from_db()
    assert get(CURRENT, make_token(make_key(anna))).json()["email"] == ASCII


@every_form
def test_one_address_makes_no_second_account(typed, anna, admin_user):
    admin = browser_of(admin_user)
    assert "email" in admin.post(ADD, {**NEW, "email": typed}).context["adminform"].form.errors
    with pytest.raises(Exception, match="already taken"):
        call_command("createsuperuser", email=typed, name="Anna", interactive=False, stdout=StringIO())
    assert User.objects.filter(email=typed).count() == 1


@every_form
def test_an_administrator_finds_and_gives_it_in_any_form(
    typed, anna, admin_user, mailoutbox, django_capture_on_commit_callbacks
):
    admin = browser_of(admin_user)
    found = admin.get("/admin/profiles/user/", {"q": typed}).context["cl"].queryset
    assert list(found) == [anna]
    User.objects.filter(pk=anna.pk).delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert admin.post(ADD, {**NEW, "email": typed}).status_code == 302
    (invitation,) = mailoutbox
    assert invitation.to == [ASCII]
    assert User.objects.get(email=typed).email == ASCII


def test_the_end_of_an_address_is_found_in_either_form(anna, admin_user):
    for typed in ("@bücher.example", "@xn--bcher-kva.example"):
        assert list(browser_of(admin_user).get("/admin/profiles/user/", {"q": typed}).context["cl"].queryset) == [anna]


@every_form
def test_changing_to_it_stores_the_one_form(typed, user, signed_in, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        assert signed_in.post(CHANGE_EMAIL, {"email": typed}).status_code == 302
    (body,) = [str(mail.body) for mail in mailoutbox if mail.to == [ASCII]]
    assert EmailChange.objects.get().email == ASCII
    signed_in.post(re.findall(r"/accounts/email/confirm/[\w-]+/", body)[0])
    assert stored(user) == ASCII
    assert sign_in_with(PASSWORD, typed) == 302


@every_form
def test_changing_to_ones_own_or_anothers_is_refused_in_any_form(typed, anna, signed_in):
    assert "belongs to another account" in words(signed_in.post(CHANGE_EMAIL, {"email": typed}))
    assert "your e-mail address already" in words(sign_in(Client(), anna).post(CHANGE_EMAIL, {"email": typed}))


def test_failed_sign_ins_of_one_address_are_counted_together(anna):  # security 71, 79
    """Five in a minute, from one address for one account."""
    for typed in (UNICODE, ASCII, UNICODE, ASCII, UNICODE):
        assert Client().post(LOGIN, {"login": typed, "password": "wrong"}).status_code == 200
    assert Client().post(LOGIN, {"login": DECOMPOSED, "password": "wrong"}).status_code == 429
    assert anna.account_events.filter(action="sign_in_failed").count() == 5


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("a@straße.de", "a@xn--strae-oqa.de"),  # as browsers do, and not strasse.de, which is somebody else
        ("a@\uff45\uff58ample\u3002com", "a@example.com"),
        ("a@ΟΔΟΣ.gr", "a@xn--pxavbq.gr"),
        ("\u212aelvin@example.com", "kelvin@example.com"),  # Unicode says that the sign is that letter
        ("O'Brien+tag@Example.com", "o'brien+tag@example.com"),
    ],
)
def test_an_address_is_mapped_as_browsers_map_it(typed, form):
    assert spelling.address(typed) == form
    spelling.validate_address(form)
    assert spelling.address(form) == form


REFUSED = {
    "quoted": '"a b"@example.com',
    "quoted, needlessly": '"ab"@example.com',
    "line break": "a@example.com\nbcc: b@example.com",
    "line break before the @": "a\r\n@example.com",
    "a name with it": "Anna <a@example.com>",
    "two": "a@example.com,b@example.com",
    "two, with a semicolon": "a@example.com;b@example.com",
    "escape sequence": "\x1b[31ma@example.com",
    "escape sequence after the @": "a@exa\x1b[31mmple.com",
    "NUL": "a\0@example.com",
    "other direction": "a\u202e@example.com",
    "other direction after the @": "a@exam\u202eple.com",
    "without width": "a\u200b@example.com",
    "an option": "-oq@example.com",
    "a formula": "=cmd@example.com",
    "a formula with a plus": "+1@example.com",
    "a command": "a`id`@example.com",
    "a pipe": "|id@example.com",
    "a variable": "a$HOME@example.com",
    "a way to another host": "a%b@example.com",
    "a number for a domain": "a@127.0.0.1",
    "a number in brackets": "a@[127.0.0.1]",
    "a number of six": "a@[IPv6:::1]",
    "dot at the end": "a@example.com.",
    "two dots": "a@example..com",
    "two dots before the @": "a..b@example.com",
    "long label": "a@" + "x" * 64 + ".com",
    "long label of others": "a@" + "ü" * 60 + ".com",
    "long before the @": "x" * 65 + "@example.com",
    "too long": "a@" + ".".join(["x" * 60] * 5) + ".com",
    "dotless i": "\u0131van@example.com",
    "dotted I": "İvan@example.com",
    "long s": "\u017fam@example.com",
    "full width": "\uff41nna@example.com",
    "sharp s before the @": "straße@example.com",
    "label that stands for nothing": "a@xn--a.example",
    "label that stands for a symbol": "a@xn--53h.example",
    "nothing before the @": "@example.com",
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_address_that_is_none_or_carries_something_is_refused(what, signed_in, admin_user, mailoutbox):
    response = signed_in.post(CHANGE_EMAIL, {"email": REFUSED[what]})
    assert response.status_code == 422
    assert 'aria-invalid="true"' in html(response)
    response = browser_of(admin_user).post(ADD, {**NEW, "email": REFUSED[what]})
    assert "email" in response.context["adminform"].form.errors
    with pytest.raises(Exception, match=r"\w"):
        call_command("createsuperuser", email=REFUSED[what], name="x", interactive=False, stdout=StringIO())
    assert not mailoutbox
    assert User.objects.count() == 2


@given(st.text(max_size=80) | st.from_regex(r"[\w.-]{1,9}@[\wü.\-]{1,20}"))
def test_what_is_taken_has_one_form_in_ascii(typed):
    form = spelling.address(typed)
    assert spelling.address(form) == form
    try:
        spelling.validate_address(form)
    except ValidationError:
        return
    assert re.fullmatch(r"[!-~]+@[a-z0-9.-]+", form)
    assert form == form.lower()


# --- Passwords --------------------------------------------------------------------------------------------

COMPOSED_PASSWORD = unicodedata.normalize("NFC", "Pâte à crêpes n° 1")
DECOMPOSED_PASSWORD = unicodedata.normalize("NFD", COMPOSED_PASSWORD)
both_ways = pytest.mark.parametrize(
    ("kept", "typed"),
    [(COMPOSED_PASSWORD, DECOMPOSED_PASSWORD), (DECOMPOSED_PASSWORD, COMPOSED_PASSWORD)],
    ids=["stored composed", "stored decomposed"],
)


@both_ways
def test_a_password_is_one_however_it_is_typed(kept, typed, user, signed_in):
    assert kept != typed
    # Once one way, once the other: the two are the same.
    assert signed_in.post(CHANGE_PASSWORD, {"password1": kept, "password2": typed}).url == PROFILE
    for each in (kept, typed):
        assert sign_in_with(each) == 302
        assert User.objects.get(pk=user.pk).check_password(each)
    again = Client()
    again.force_login(user)
    assert again.post("/accounts/reauthenticate/", {"password": typed}).status_code == 302
    assert sign_in_with(kept + "x") == 200


@both_ways
def test_a_password_of_the_command_line_is_one_too(kept, typed, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", kept)
    call_command("createsuperuser", email="root@example.com", name="Root", interactive=False, stdout=StringIO())
    assert User.objects.get(email="root@example.com").check_password(typed)
    monkeypatch.setenv("DEMO_PASSWORD", kept)
    Company.objects.create(name="Demo Company")
    call_command("demodata", stdout=StringIO())
    assert User.objects.get(email="user@demo.example").check_password(typed)


def test_what_was_stored_before_goes_on_working_as_it_was_typed(user):
    User.objects.filter(pk=user.pk).update(password=make_password(DECOMPOSED_PASSWORD))
    before = stored(user, "password")
    assert sign_in_with(DECOMPOSED_PASSWORD) == 302
    assert stored(user, "password") == before  # else the owner's other browsers would be signed out
    assert sign_in_with(COMPOSED_PASSWORD) == 200


def test_length_and_kinds_count_after_composing():
    with pytest.raises(ValidationError, match="at least 15"):
        validate_password(unicodedata.normalize("NFD", "Éé1" + "é" * 7))
    with pytest.raises(ValidationError, match="three kinds"):
        validate_password(unicodedata.normalize("NFD", "éléphants 1" * 2).replace("1", "é").replace(" ", "é"))


@pytest.mark.parametrize("password", [COMPOSED_PASSWORD, DECOMPOSED_PASSWORD])
def test_an_unknown_address_costs_as_much_as_a_known_one(password, user, monkeypatch):  # security 8
    encode, hashed = MD5PasswordHasher.encode, []

    def counted(self, password, salt):
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    costs = []
    for login in ("user@example.com", "nobody@example.com"):
        hashed.clear()
        Client().post(LOGIN, {"login": login, "password": password})
        costs.append(len(hashed))
    assert costs == [costs[0]] * 2
    assert costs[0] == (1 if password == COMPOSED_PASSWORD else 2)


def test_no_text_keeps_the_server_busy(user):
    """Composing takes the square of the marks on one letter: of a million, an hour."""
    marks = "a" + "\u0301\u0316" * 200_000
    begun = time.monotonic()
    for form in (spelling.password, spelling.name, spelling.address, spelling.folded, spelling.phone_number):
        form(marks)
        form(f"{marks}@{marks}.example")
    assert sign_in_with(marks[:200_000]) in (200, 400)  # 400: more than a form may have
    assert time.monotonic() - begun < 5


# --- Names ------------------------------------------------------------------------------------------------

INVISIBLE = {
    "zero width space": "\u200b",
    "joiners": "\u200c\u200d\ufe0f",
    "fillers": "\u115f\u3164\uffa0",
    "Braille blank": "\u2800",
    "blanks": "\u00a0\u2003\u3000",
    "mark on nothing": "\u0301",
    "tags": "\U000e0041\U000e007f",
    "soft hyphen": "\u00ad",
}
BREAKS_OUT = {
    "line break": "An\nna",
    "carriage return": "An\rna",
    "line separator": "An\u2028na",
    "escape sequence": "\x1b[31mAnna",
    "delete": "An\x7fna",
    "C1": "An\x9bna",
    "override": "Anna\u202egpj",
    "isolate": "Anna\u2066x\u2069",
    "NUL": "An\0na",
}


def edit_form(**fields: str) -> dict[str, str]:
    return {
        "name": "Uma",
        "job_title": "",
        "phone_number": "",
        "country": "",
        "language": "",
        "time_zone": "",
        **fields,
    }


@pytest.mark.parametrize("field", ["name", "job_title"])
@pytest.mark.parametrize("what", [*INVISIBLE, *BREAKS_OUT])
def test_a_name_that_shows_nothing_or_breaks_its_line_is_refused(what, field, user, signed_in):
    typed = {**INVISIBLE, **BREAKS_OUT}[what]
    response = signed_in.post(EDIT, edit_form(**{field: typed}))
    if field == "job_title" and not spelling.name(typed):
        assert response.status_code == 302  # which need not be there
        assert stored(user, field) == ""
    else:
        assert response.status_code == 422
        assert 'aria-invalid="true"' in html(response)
        assert stored(user, "name") == "Uma User"


@pytest.mark.parametrize("what", [*INVISIBLE, *BREAKS_OUT])
def test_administrators_can_give_no_such_name_either(what, admin_user):
    typed = {**INVISIBLE, **BREAKS_OUT}[what]
    admin = browser_of(admin_user)
    for address, fields in (
        (ADD, NEW),
        ("/admin/profiles/company/add/", {}),
        ("/admin/profiles/accessprofile/add/", {"rights": []}),
    ):
        response = admin.post(address, {**fields, "name": typed})
        assert "name" in response.context["adminform"].form.errors
    with pytest.raises(Exception, match=r"\w"):
        call_command("createsuperuser", email="root@example.com", name=typed, interactive=False, stdout=StringIO())
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Zoe\u0308 \u00a0 van\tDam ", "Zoë van Dam"),
        ("An\u200bna\ufeff", "Anna"),
        ("क्‍ष", "क्‍ष"),  # the joiner makes another letter
        ("نامه‌ای", "نامه‌ای"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("山田 太郎", "山田 太郎"),
        (".", "."),
    ],
)
def test_a_name_is_kept_in_one_form(typed, kept, user, signed_in):
    assert signed_in.post(EDIT, edit_form(name=typed, job_title=typed)).status_code == 302
    assert (stored(user, "name"), stored(user, "job_title")) == (kept, kept)
    assert Company.objects.create(name=typed).name == kept
    assert Company.objects.get(name=typed).name == kept


def test_two_forms_of_a_name_are_one_company_and_one_access_profile(admin_user):
    Company.objects.create(name="Zoé")
    AccessProfile.objects.create(name="Zoé")
    admin = browser_of(admin_user)
    for address in ("/admin/profiles/company/add/", "/admin/profiles/accessprofile/add/"):
        response = admin.post(address, {"name": " Zoe\u0301\u200b"})
        assert "already exists" in str(response.context["adminform"].form.errors["name"])


# --- Phone numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("+33 1 23 45 67 89", "+33123456789"),
        ("+33\u00a01\u202f23\u20094567\u00a089", "+33123456789"),
        ("+33.1.23.45.67.89", "+33123456789"),
        ("+33-1-23-45\u201167\u201389", "+33123456789"),
        ("+33 (0)1 23 45 67 89", "+33123456789"),
        ("+1 (212) 555-0100", "+12125550100"),
        ("(+33) 1 23 45 67 89", "+33123456789"),
        ("\u202a+33 1 23 45 67 89\u202c", "+33123456789"),  # as it comes out of an address book
        ("", ""),
    ],
)
def test_a_phone_number_is_taken_as_it_is_written_and_kept_plain(typed, kept, user, signed_in, admin_user):
    assert signed_in.post(EDIT, edit_form(phone_number=typed)).status_code == 302
    assert stored(user, "phone_number") == kept
    browser_of(admin_user).post(ADD, {**NEW, "phone_number": typed})
    assert User.objects.get(email=NEW["email"]).phone_number == kept


@pytest.mark.parametrize(
    "typed",
    [
        "01 23 45 67 89",
        "0033 1 23 45 67 89",
        "+0 1 23",
        "+39 (0)6 1234",
        "+44 (020) 7946 0000",
        "+33 1 23 / +33 1 24",
        "+33 1 23\n45",
        "+33 1 ٢٣",
        "+33 1 call me",
        "+33 1 23 ext. 4",
        "+" + "1" * 20,
        "+1 " * 30,
    ],
)
def test_a_phone_number_that_can_mean_two_things_is_refused(typed, user, signed_in, admin_user):
    response = signed_in.post(EDIT, edit_form(phone_number=typed))
    assert response.status_code == 422
    assert "international form" in words(response) or "at most" in words(response)
    assert stored(user, "phone_number") == ""
    response = browser_of(admin_user).post(ADD, {**NEW, "phone_number": typed})
    assert "phone_number" in response.context["adminform"].form.errors


# --- What is there already --------------------------------------------------------------------------------


def write(model: Any, pk: int, field: str, value: str) -> None:
    """As the first version stored it."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET {field} = %s, name_folded = '' WHERE id = %s", [value, pk])


def migrate() -> None:
    import_module("profiles.migrations.0006_one_form_of_text").forwards(apps, None)


def test_the_migration_brings_what_is_there_to_its_form(user, other_user, company, capsys):
    write(User, user.pk, "email", "user@bücher.example")
    write(User, other_user.pk, "name", " Zoe\u0308 ")
    write(Company, company.pk, "name", "Fleet\u200b Ltd")
    EmailAddress.objects.create(user=user, email="user@bücher.example", primary=True)
    migrate()
    assert stored(user) == "user@xn--bcher-kva.example"
    assert stored(other_user, "name") == "Zoë"
    assert stored(other_user, "name_folded") == "zoë"
    assert Company.objects.values_list("name", "name_folded").get(pk=company.pk) == ("Fleet Ltd", "fleet ltd")
    told = capsys.readouterr()
    assert "'user@bücher.example' is written 'user@xn--bcher-kva.example' now" in told.err
    assert not told.out
    user.refresh_from_db()
    sign_in(Client(), user)


def test_the_migration_leaves_two_that_would_be_one_and_tells(user, other_user, admin_user, capsys):
    write(User, user.pk, "email", "x@bücher.example")
    write(User, other_user.pk, "email", "x@xn--bcher-kva.example")
    a, b = (Company.objects.create(name=name) for name in "ab")
    write(Company, a.pk, "name", "Zoe\u0301")
    write(Company, b.pk, "name", " Zoé")
    migrate()
    assert (stored(user), stored(other_user)) == ("x@bücher.example", "x@xn--bcher-kva.example")
    assert set(Company.objects.filter(pk__in=(a.pk, b.pk)).values_list("name", flat=True)) == {"Zoe\u0301", " Zoé"}
    told = capsys.readouterr().err
    assert f"'x@bücher.example' (number {user.pk}) and 'x@xn--bcher-kva.example' (number {other_user.pk})" in told
    assert f"(number {a.pk})" in told
    # Mended by an administrator, who gives one of them another address.
    admin = browser_of(admin_user)
    form = {"email": "y@example.com", "name": "Uma", "is_active": "on"}
    assert admin.post(f"/admin/profiles/user/{user.pk}/change/", form).status_code == 302
    assert stored(user) == "y@example.com"


def test_the_migration_tells_nothing_where_there_is_nothing_to_tell(user, company, capsys):
    migrate()
    assert capsys.readouterr().err == ""
    assert stored(user, "name_folded") == "uma user"
