"""Queries that are compiled once: they give what the ORM gives, with the values of each run."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import BigAutoField, DateTimeField, Model
from django.utils import timezone

from profiles.compiled import CompiledQuery, Given
from profiles.models import ClientSecret, User
from profiles.pages import section

from .conftest import make_key

pytestmark = pytest.mark.django_db


def users() -> CompiledQuery[User]:
    return CompiledQuery(lambda: User.objects.with_all().filter(pk=Given("pk", BigAutoField())))


def contents(found: Model) -> dict[str, object]:
    """All that an object holds, with what was read along with it."""
    cache = found._state.fields_cache
    related = {name: contents(it) if it else None for name, it in cache.items() if name != "user"}
    return {**{name: it for name, it in vars(found).items() if name != "_state"}, **related}


def test_it_gives_what_the_orm_gives_of_each(user, other_user, admin_user, key):
    query = users()
    for one in (user, admin_user, other_user, user):
        (found,) = query.run(pk=one.pk)
        assert contents(found) == contents(User.objects.with_all().get(pk=one.pk))
        assert (found._state.db, found._state.adding) == ("default", False)


def test_what_is_read_along_needs_no_further_query(user, key, django_assert_num_queries):
    query = users()
    query.run(pk=user.pk)
    with django_assert_num_queries(1):
        (found,) = query.run(pk=user.pk)
        assert found.company == user.company
        assert found.key.user is found
        assert found.has_authenticator is False


def test_who_is_not_there_is_not_found(user):
    assert users().run(pk=user.pk + 1) == []


def test_moments_and_truths_come_as_the_orm_has_them(key):
    since = CompiledQuery(lambda: ClientSecret.objects.filter(created__gte=Given("at", DateTimeField())))
    (secret,) = since.run(at=timezone.now() - timedelta(minutes=1))
    assert contents(secret) == contents(ClientSecret.objects.get())
    for zone in ("UTC", "Asia/Kolkata"):
        with timezone.override(zone):
            assert since.run(at=timezone.localtime(secret.created)) == [secret]
            assert since.run(at=timezone.localtime(secret.created) + timedelta(microseconds=1)) == []


def test_it_is_built_once(user):
    built = []

    def build():
        built.append(1)
        return User.objects.filter(pk=Given("pk", BigAutoField()))

    query = CompiledQuery(build)
    assert built == []
    assert query.run(pk=user.pk) == query.run(pk=user.pk) == [user]
    assert len(built) == 1


def test_order_and_limit_are_kept(user, other_user):
    query = CompiledQuery(lambda: User.objects.filter(pk__gte=Given("pk", BigAutoField())).order_by("-pk")[:1])
    assert query.run(pk=user.pk) == [max(user, other_user, key=lambda one: one.pk)]


def test_a_value_that_is_missing_is_an_error(user):
    with pytest.raises(KeyError):
        users().run()


def test_each_thread_asks_by_its_own_connection(user):
    query = users()
    query.run(pk=user.pk)

    class Asked(Exception):
        pass

    def refuse(*statement):
        raise Asked

    def elsewhere():
        try:
            with connection.execute_wrapper(refuse), pytest.raises(Asked):
                query.run(pk=user.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(elsewhere).result()
    assert query.run(pk=user.pk) == [user]


def test_the_section_tells_of_these_secrets_the_newest_first(user, other_user):
    key, _stranger, now = make_key(user).key, make_key(other_user), timezone.now()
    ago, long_ago = now - timedelta(minutes=1), now - timedelta(days=365)
    ended = {"ends": ago, "ended": True, "end_reason": ClientSecret.EndReason.ENDED}
    made = {
        "ended": ended,
        "tried lately": {**ended, "last_refused": ago},
        "tried long ago": {**ended, "last_refused": long_ago},
        "leaked": {**ended, "end_reason": ClientSecret.EndReason.LEAKED},
        "live for a while": {"ends": now + timedelta(hours=1), "end_reason": ClientSecret.EndReason.REPLACED},
    }
    names = {key.secrets.get().pk: "current"}
    for name, values in made.items():
        secret = ClientSecret.objects.create(
            application=key, client_id=key.client_id, digest=f"{name:*<64}", hint="0000", created=now, **values
        )
        names[secret.pk] = name
    found = section._SECRETS.run(client=key.pk, now=now, since=now - section.REFUSAL_SHOWN_FOR)
    assert [names[secret.pk] for secret in found] == ["live for a while", "leaked", "tried lately", "current"]
