"""manage.py revokekeys: the keys that were asked for, and no other, each as if by staff."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from profiles import rights
from profiles.clients import lifecycle, tokens
from profiles.management.commands import revokekeys
from profiles.models import AccessProfile, ClientSecret, Company, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .conftest import KeyPair, make_client, make_key, make_token, use

pytestmark = pytest.mark.django_db

REASON = ["--reason", "The offices were broken into"]


def revoke(*arguments: str, yes: bool = True) -> str:
    out = StringIO()
    call_command("revokekeys", *REASON, *arguments, *(["--yes"] if yes else []), stdout=out)
    return out.getvalue()


@pytest.fixture
def stranger(access_profile) -> User:
    """Somebody of another company, with a key."""
    company = Company.objects.create(name="Other Ltd")
    stranger = User.objects.create_user("stranger@example.net", name="Sam", company=company)
    make_key(stranger)
    return stranger


def holders() -> set[str]:
    return set(OAuthApplication.objects.values_list("user__email", flat=True))


def test_of_a_company(user, key, stranger):
    assert revoke("--company", "Fleet Ltd").startswith("1 revoked, of 1 key in")
    assert holders() == {stranger.email}


def test_of_one_owner(user, other_user, key):
    make_key(other_user)
    assert revoke("--owner", "USER@example.com").startswith("1 revoked, of 1 key in")
    assert holders() == {other_user.email}


def test_all(key, stranger):
    assert revoke("--all").startswith("2 revoked, of 2 keys in")
    assert holders() == set()


@pytest.mark.parametrize(
    ("made", "used", "revoked"),
    [(100, None, True), (100, 91, True), (100, 89, False), (89, None, False), (89, 95, False)],
    ids=["never used", "long ago", "lately", "new", "new secret"],
)
def test_unused_for(made, used, revoked, user, key):
    def ago(days: int | None):
        return days and timezone.now() - timedelta(days=days)

    OAuthApplication.objects.update(last_used=ago(used))
    ClientSecret.objects.update(created=ago(made))
    revoke("--unused-for", "90")
    assert (lifecycle.of(user) is None) == revoked


# --- Both kinds -------------------------------------------------------------------------------------------


@pytest.fixture
def foreign_client(stranger, client_profile) -> KeyPair:
    """An API Client of the other company."""
    profile = AccessProfile.objects.create(name="Everything", rights=sorted(rights.ALL_RIGHTS))
    maker = User.objects.create_user("max@example.net", name="Max", company=stranger.company, access_profile=profile)
    return make_client(maker, client_profile, "Foreign")


def left() -> set[str]:
    """What is still there: the owners of keys, and the names of API Clients."""
    return {client.name or client.owner.email for client in OAuthApplication.objects.all()}


STRANGE = {"stranger@example.net", "Foreign"}


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        (["--company", "Fleet Ltd"], STRANGE),
        (["--company", "Fleet Ltd", "--kind", "personal"], {*STRANGE, "Nightly export"}),
        (["--company", "Fleet Ltd", "--kind", "company"], {*STRANGE, "user@example.com"}),
        (["--all"], set()),
        (["--all", "--kind", "personal"], {"Nightly export", "Foreign"}),
        (["--all", "--kind", "company"], {"user@example.com", "stranger@example.net"}),
        (["--owner", "user@example.com"], {*STRANGE, "Nightly export"}),
        (["--unused-for", "90"], STRANGE),
        (["--unused-for", "90", "--kind", "personal"], {*STRANGE, "Nightly export"}),
        (["--listed", "FILE"], STRANGE),
        (["--listed", "FILE", "--kind", "company"], {*STRANGE, "user@example.com"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_choice_by_kind(which, kept, key, api_client, stranger, foreign_client, tmp_path):
    client_ids = [key.client_id, api_client.client_id]
    ClientSecret.objects.filter(client_id__in=client_ids).update(created=timezone.now() - timedelta(days=100))
    (tmp_path / "ids").write_text("\n".join(client_ids))
    revoke(*(str(tmp_path / "ids") if word == "FILE" else word for word in which))
    assert left() == kept


def test_an_api_client_is_revoked_as_by_staff(manager, api_client):
    token = make_token(api_client)
    assert revoke("--all").startswith("1 revoked, of 1 API Client in")
    event = KeyEvent.objects.latest("pk")
    assert (event.action, event.via, event.actor) == ("revoked", "command", None)
    assert (event.client_id, event.client_name) == (api_client.client_id, "Nightly export")
    assert (event.owner, event.owner_uid, event.reason) == (None, manager.company.uid, REASON[1])
    assert tokens.find(token) is None
    assert not OAuthApplication.objects.exists()


def test_both_kinds_are_listed_and_counted(key, api_client, monkeypatch):
    out = revoke("--all", "--dry-run")
    assert f"{api_client.client_id}  Nightly export · Fleet Ltd  never used\n" in out
    assert out.endswith("1 key and 1 API Client would be revoked.\n")
    asked: list[str] = []

    def agree(question: str) -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", agree)
    assert revoke("--all", yes=False).startswith("2 revoked, of 1 key and 1 API Client in")
    assert asked[0].startswith("Revoke 1 key and 1 API Client?")


def test_an_api_client_made_while_it_runs_stays(manager, client_profile, api_client, monkeypatch):
    def confirm_slowly(_: str) -> str:
        make_client(manager, client_profile, "Newer")
        return "y"

    monkeypatch.setattr("builtins.input", confirm_slowly)
    revoke("--all", yes=False)
    assert left() == {"Newer"}


def test_an_owner_has_no_api_client(manager, api_client):
    with pytest.raises(CommandError, match="the API Clients are the company's"):
        revoke("--owner", manager.email, "--kind", "company")


# ----------------------------------------------------------------------------------------------------------


def test_listed(user, key, stranger, tmp_path):
    file = tmp_path / "ids"
    file.write_text(f"{key.client_id}\n{'0' * 32}\n\n{key.client_id}\n")
    assert revoke("--listed", str(file)).startswith("1 revoked, of 1 key in")
    assert holders() == {stranger.email}


def test_a_list_longer_than_one_part(key, stranger, tmp_path, monkeypatch):
    monkeypatch.setattr(revokekeys, "KEYS_AT_A_TIME", 1)
    file = tmp_path / "ids"
    file.write_text("\n".join(OAuthApplication.objects.values_list("client_id", flat=True)))
    assert revoke("--listed", str(file)).startswith("2 revoked, of 2 keys in")


def test_what_is_no_client_id_is_refused_before_anything_is_done(user, key, tmp_path):
    file = tmp_path / "ids"
    file.write_text(f"{key.client_id}\nuser@example.com\n")
    with pytest.raises(CommandError, match="entry 2 is no Client ID"):
        revoke("--listed", str(file))
    assert lifecycle.of(user)


def test_it_is_a_revocation_with_event_reason_and_mail(
    user, key, token, django_capture_on_commit_callbacks, mailoutbox
):  # security 16, 61
    with django_capture_on_commit_callbacks(execute=True):
        revoke("--all")
    event = user.key_events.first()
    assert (event.action, event.via, event.actor) == ("revoked", "command", None)
    assert event.reason == REASON[1]
    assert event.user_agent.startswith("manage.py revokekeys, run by ")
    assert tokens.find(token) is None
    assert [mail.to for mail in mailoutbox] == [[user.email]]
    assert REASON[1] in mailoutbox[0].body


def test_a_dry_run_lists_and_revokes_nothing(user, key):
    out = revoke("--all", "--dry-run")
    assert key.client_id in out
    assert user.email in out
    assert "1 key would be revoked" in out
    assert lifecycle.of(user)


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("Yes", True), ("", False), ("n", False), ("maybe", False)])
def test_it_asks(answer, done, user, key, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: answer)
    if done:
        revoke("--all", yes=False)
    else:
        with pytest.raises(CommandError, match="Nothing was revoked"):
            revoke("--all", yes=False)
    assert (lifecycle.of(user) is None) == done


def test_without_a_terminal_it_does_nothing_unless_told_not_to_ask(user, key, monkeypatch):
    def no_terminal(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", no_terminal)
    with pytest.raises(CommandError, match="--yes"):
        revoke("--all", yes=False)
    assert lifecycle.of(user)


def test_a_key_made_while_it_runs_stays(user, key, monkeypatch):
    def confirm_slowly(_: str) -> str:
        lifecycle.delete(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
        make_key(user)
        return "y"

    monkeypatch.setattr("builtins.input", confirm_slowly)
    assert revoke("--all", yes=False).startswith("0 revoked, of 1 key in")
    assert lifecycle.of(user)


def test_a_key_that_is_used_after_it_was_read_stays(user, key, monkeypatch):
    ClientSecret.objects.update(created=timezone.now() - timedelta(days=100))
    real = revokekeys._in_parts

    def read_then_used(selected):
        for found in real(selected):
            make_token(key)
            use(key)
            yield found

    monkeypatch.setattr(revokekeys, "_in_parts", read_then_used)
    assert revoke("--unused-for", "90").startswith("0 revoked, of 1 key in")
    assert lifecycle.of(user)


def test_stopped_by_hand_what_is_done_is_done(user, stranger, key, monkeypatch):
    real = lifecycle.revoke

    def revoke_one_then_stop(**arguments) -> None:
        if arguments["owner"] == user:
            raise KeyboardInterrupt
        real(**arguments)

    monkeypatch.setattr(lifecycle, "revoke", revoke_one_then_stop)
    with pytest.raises(CommandError, match=r"Stopped: 1 revoked, of 2 keys in .* Run it again"):
        revoke("--all")
    assert holders() == {user.email}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([], "one of the arguments"),
        (["--all", "--company", "Fleet Ltd"], "not allowed"),
        (["--company", "Nobody Ltd"], "no company named"),
        (["--owner", "nobody@example.com"], "No user has"),
        (["--unused-for", "0"], "please"),
        (["--listed", "/no/such/file"], "could not be read"),
        (["--all", "--reason", " "], "please"),
        (["--all", "--reason", "x" * 201], "please"),
        (["--all", "--reason", "two\nlines"], "please"),
    ],
)
def test_what_cannot_be_right_is_refused(wrong, why, user, key):
    with pytest.raises(CommandError, match=why):
        revoke(*wrong)
    assert lifecycle.of(user)
