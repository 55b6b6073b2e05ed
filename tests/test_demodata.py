"""manage.py demodata."""

import io
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command

from profiles.models import AccessProfile, Company, User

from .server import Server, postgres_url, sqlite_url

pytestmark = pytest.mark.django_db

EMAILS = ["admin@demo.example", "other@demo.example", "user@demo.example"]


@pytest.fixture(autouse=True)
def _no_password(monkeypatch):
    monkeypatch.delenv("DEMO_PASSWORD", raising=False)


def demodata() -> str:
    out = io.StringIO()
    call_command("demodata", stdout=out, stderr=out)
    return out.getvalue()


def everything() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Company, AccessProfile, User)]


@pytest.mark.parametrize("existing", [True, False], ids=["there", "not there"])
def test_none_is_made_or_changed_where_others_reach_the_site(existing, settings, monkeypatch):  # security 90
    if existing:
        demodata()
    before = everything()
    settings.REACHABLE = True
    monkeypatch.setenv("DEMO_PASSWORD", "another that was chosen 1")
    with pytest.raises(CommandError, match=r"Others can reach the site, .* docs/deploy\.md tells"):
        demodata()
    assert everything() == before


def test_makes_the_cast():
    demodata()
    assert list(User.objects.order_by("email").values_list("email", flat=True)) == EMAILS
    assert AccessProfile.objects.count() == 3
    assert Company.objects.count() == 1
    user, other, admin = (User.objects.get(email=f"{name}@demo.example") for name in ("user", "other", "admin"))
    assert user.company == other.company == admin.company
    assert {"accountNetwork.users.view", "accountNetwork.profiles.view"} <= user.rights
    assert "accountNetwork.users.view" not in other.rights
    assert other.rights < user.rights
    assert (admin.is_superuser, admin.is_staff) == (True, True)
    assert not user.is_staff
    for profile in AccessProfile.objects.all():
        profile.full_clean()


def test_the_random_password_is_printed_once_and_works():
    (password,) = re.findall(r"Their password is (\S+) \(shown this once\)", demodata())
    assert len(password) >= 20
    assert all(user.check_password(password) for user in User.objects.all())
    assert password not in demodata()


def test_again_changes_nothing():
    demodata()
    before = everything()
    assert "nothing was changed" in demodata()
    assert everything() == before


def test_what_was_edited_stays_edited():
    demodata()
    AccessProfile.objects.filter(name="Operator").update(rights=[])
    User.objects.filter(email="admin@demo.example").update(is_superuser=False, is_active=False)
    before = everything()
    demodata()
    assert everything() == before


def test_the_password_can_be_given(monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "a password that was chosen")
    assert "a password that was chosen" not in demodata()
    assert all(user.check_password("a password that was chosen") for user in User.objects.all())


def test_a_given_password_replaces_that_of_existing_demo_users(monkeypatch):
    demodata()
    monkeypatch.setenv("DEMO_PASSWORD", "a password that was chosen")
    assert "was set for user@demo.example, other@demo.example, admin@demo.example" in demodata()
    assert all(user.check_password("a password that was chosen") for user in User.objects.all())
    before = everything()
    demodata()
    assert everything() == before  # not hashed anew, which would sign everybody out


def test_a_weak_password_is_taken_and_told(monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "demo")
    assert "DEMO_PASSWORD is weak" in demodata()
    assert User.objects.get(email="user@demo.example").check_password("demo")


def test_users_of_others_are_left_alone(user, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "a password that was chosen")
    before = everything()
    assert "the database holds users of its own" in demodata()
    assert everything() == before


def test_users_made_later_do_not_matter(other_company_user, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "a password that was chosen")
    demodata()
    assert not other_company_user.check_password("a password that was chosen")
    other_company_user.refresh_from_db()
    assert not other_company_user.check_password("a password that was chosen")


@pytest.fixture
def other_company_user(db) -> User:
    demodata()
    return User.objects.create_user(
        "real@example.com", "x" * 20, name="Real", company=Company.objects.create(name="Real")
    )


def test_a_demo_user_moved_to_another_company_keeps_their_password(monkeypatch):
    demodata()
    User.objects.filter(email="user@demo.example").update(company=Company.objects.create(name="Real"))
    before = everything()
    monkeypatch.setenv("DEMO_PASSWORD", "a password that was chosen")
    with pytest.raises(CommandError, match="its password is left as it is"):
        demodata()
    assert everything() == before


def test_a_missing_demo_user_comes_back():
    demodata()
    User.objects.get(email="other@demo.example").delete()
    assert "Demo users made: other@demo.example." in demodata()


@pytest.mark.parametrize("wrong", ["x" * 5000, "two\nlines", "a tab\t", "bell\a", "no UTF-8 \udcff"])
def test_a_password_that_is_none_is_refused(wrong, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", wrong)
    with pytest.raises(CommandError, match=r"^DEMO_PASSWORD must be one line of printable text"):
        demodata()


@pytest.mark.parametrize("password", ["$HOME sweet $HOME", "  blanks around it  ", "schlüssel & \"'#%\\ 日本"])
def test_the_password_is_taken_to_the_letter(password, monkeypatch, client):
    monkeypatch.setenv("DEMO_PASSWORD", password)
    demodata()
    done = client.post("/accounts/login/", {"login": "user@demo.example", "password": password})
    assert done.status_code == 302


def test_an_empty_password_is_none_and_one_is_made(monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "  ")
    assert "(shown this once)" in demodata()


def at_once(server: Server) -> list[str]:
    server.manage("migrate", "--verbosity", "0")
    with ThreadPoolExecutor() as pool:
        return [future.result() for future in [pool.submit(server.manage, "demodata") for _ in range(3)]]


def test_three_at_once_make_one_cast_on_sqlite(tmp_path):
    said = at_once(Server(tmp_path, sqlite_url(tmp_path)))
    assert sorted("Demo users made" in text for text in said) == [False, False, True]


@pytest.mark.postgres
def test_three_at_once_make_one_cast_on_postgresql(tmp_path):
    with postgres_url() as url:
        said = at_once(Server(tmp_path, url))
    assert sorted("Demo users made" in text for text in said) == [False, False, True]
