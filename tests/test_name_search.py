"""Names are searched and ordered without regard to case, alike on every database and in every locale."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from profiles.models import User
from profiles.text import spelling

from .admin_site import browser_of
from .api import get

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "finds", "not_finds"),
    [
        ("Müller", ["MÜLLER", "üL", "mu\u0308ller", "M"], ["Muller", "%", "_"]),
        ("ÉCOLE", ["école", "É", "e\u0301c"], ["ecole", "Ecole"]),
        ("Straße", ["STRASSE", "straße", "ß"], ["strase"]),
        ("İstanbul", ["İST", "i\u0307stanbul", "STANBUL"], ["\u0131stanbul"]),
        ("ΟΔΟΣ", ["οδος", "οδοσ"], []),
        ("ДМИТРИЙ", ["дмитрий"], []),
        ("100%_\\x", ["%", "_", "\\", "0%_", "\\X"], ["1%0", "_1", "%%", "\\\\"]),
    ],
)
def test_a_name_is_found_without_regard_to_case_on_every_database(name, finds, not_finds, token, user, admin_user):
    user.name = name
    user.save(update_fields=["name"])
    company = user.company
    company.name = name
    company.save()
    group = Group.objects.create(name=name)
    admin = browser_of(admin_user)
    for wanted in (*finds, *not_finds):
        expected = wanted in finds
        found = get("/api/v1/users", token, "name=" + "".join(f"%{byte:02x}" for byte in wanted.encode())).json()
        assert [item["name"] for item in found["items"]] == [name] * expected
        for model, row in (("profiles/user", user), ("profiles/company", company), ("auth/group", group)):
            rows = admin.get(f"/admin/{model}/", {"q": wanted}).context["cl"].queryset
            assert (row in rows) == expected, model


def test_the_order_of_names_is_that_of_code_points_without_regard_to_case(token, user):
    names = ["Ärger", "zoo", "Zebra", "älter", "_", "a b", "AB", "a-c", "Éa"]
    User.objects.bulk_create(
        User(email=f"{number}@example.com", name=name, company=user.company) for number, name in enumerate(names)
    )
    expected = sorted([*names, "Uma User"], key=spelling.folded)
    for query, order in (("", expected), ("orderBy=-name", expected[::-1])):
        items = get("/api/v1/users", token, query).json()["items"]
        assert [item["name"] for item in items] == order


def test_a_renamed_user_is_found_by_the_new_name(user, signed_in, token):
    assert signed_in.post("/profile/edit/", {"name": "ÖZGÜR"}).status_code == 302
    assert get("/api/v1/users", token, "name=%c3%b6zg").json()["count"] == 1
    assert get("/api/v1/users", token, "name=uma").json()["count"] == 0


def test_the_database_is_asked_for_no_case_and_no_order_of_its_own(token):
    """A PostgreSQL made with the locale C knows as little of É as SQLite."""
    with CaptureQueriesContext(connection) as queries:
        get("/api/v1/users", token, "name=%c3%89&orderBy=name,email,uid,phoneNumber")
    sql = queries[1]["sql"]
    assert '"name_folded"' in sql
    assert "UPPER(" not in sql
    assert "LOWER(" not in sql
    assert sql.count('COLLATE "C" ASC') == (4 if connection.vendor == "postgresql" else 0)
