"""Changes of API Clients at the same moment, on a real database: each sees the one before, and nobody gets more for it.

Each deed has a connection of its own; see `api_clients.at_once`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from .api_clients import at_once

pytestmark = pytest.mark.server

CREATE = "company.create(about=company.About({name}, '', profile), **of)"
# Each deed by somebody else, with access profiles of its own: else those would wait for each other by the locks
# on these alone.
PEOPLE = """
import uuid
def own(): return AccessProfile.objects.create(name=uuid.uuid4().hex, rights=rights)
people = [
    User.objects.create(email=f"{uuid.uuid4().hex}@demo.example", name="P", company=of["company"], access_profile=own())
    for _ in range(8)
]
def by(which): return {"company": of["company"], "origin": Origin(actor=people[which], via="clients")}
"""
MAKE = """
import uuid
client, secret = company.create(about=company.About(uuid.uuid4().hex, "", profile), **of)
one = {"client_id": client.client_id, **of}
seen = company.version(client.client_id)
won, knows = [], []
"""
# All that is left of a client: its row, its secrets without an end, those that are live, its events.
LEFT = """[
    OAuthApplication.objects.filter(pk=client.pk).count(),
    ClientSecret.objects.filter(client_id=client.client_id, ends=None).count(),
    ClientSecret.objects.filter(client_id=client.client_id).live().count(),
    [event.action for event in KeyEvent.objects.filter(client_id=client.client_id).order_by("id")],
]"""


def create(which: int, name: str) -> str:
    """One of `PEOPLE` makes a client of this name."""
    return f"company.create(about=company.About({name}, '', people[{which}].access_profile), **by({which}))"


def test_of_many_who_create_the_same_name_one_does(server):
    before = PEOPLE + "name = 'x' + uuid.uuid4().hex"
    names = ["name", "name.upper()"] * 4
    deeds = [create(which, name) for which, name in enumerate(names)]
    after = """[
        OAuthApplication.objects.filter(name_folded=name).count(),
        ClientSecret.objects.filter(application__name_folded=name).count(),
        KeyEvent.objects.filter(client_name__in=[name, name.upper()]).count(),
    ]"""
    for outcomes, left in at_once(server, deeds, before=before, after=after):
        assert Counter(outcomes) == {"done": 1, "NameTaken": 7}
        assert left == [1, 1, 1]


def test_never_are_there_more_than_a_company_may_have(server):
    before = """
from django.conf import settings
names = [uuid.uuid4().hex for _ in range(8)]
made = OAuthApplication.objects.filter(company=manager.company)
settings.API_CLIENTS_AT_MOST = made.count() + 2
"""
    deeds = [create(which, f"names[{which}]") for which in range(8)]
    for outcomes, left in at_once(
        server, deeds, before=PEOPLE + before, after="made.count() - settings.API_CLIENTS_AT_MOST"
    ):
        assert Counter(outcomes) == {"done": 2, "TooMany": 6}
        assert left == 0


@pytest.mark.parametrize("old_secret", ["NOW", "FIRST_USE", "DAY"])
def test_of_many_who_regenerate_from_one_page_one_does(server, old_secret):  # security 14, 27
    # The secret that the answer to the winner has is the one that is accepted.
    deeds = [
        f"won.append(company.regenerate(version=seen, old_secret=OldSecret.{old_secret}, **one | by({which}))[1])"
        for which in range(6)
    ]
    accepted = "tokens.authenticate(client_id=str(client), secret=won[0]) is not None"
    for outcomes, (left, is_accepted) in at_once(server, deeds, before=PEOPLE + MAKE, after=f"[{LEFT}, {accepted}]"):
        assert Counter(outcomes) == {"done": 1, "Changed": 5}
        assert left == [1, 1, 1 if old_secret == "NOW" else 2, ["created", "regenerated"]]
        assert is_accepted


@pytest.mark.parametrize("version", ["seen", "None"], ids=["from one page", "whatever it is now"])
def test_a_regenerate_beside_a_delete_revives_nothing(server, version):  # security 19
    verbs = enumerate(("regenerate", "delete"))
    deeds = [f"company.{verb}(version={version}, **one | by({which}))" for which, verb in verbs]
    for (regenerated, deleted), (row, *secrets, events) in at_once(
        server, deeds, before=PEOPLE + MAKE, after=LEFT, rounds=5
    ):
        if version == "seen" and regenerated == "done":
            assert (deleted, row, secrets, events) == ("Changed", 1, [1, 1], ["created", "regenerated"])
        else:
            assert (deleted, row, secrets) == ("done", 0, [0, 0])
            assert regenerated in ("done", "NoClient")
            assert events[-1] == "deleted"


# What takes a right from the manager, or gives one to the access profile that they choose.
TAKE = {
    "the right": "AccessProfile.objects.filter(pk=manager.access_profile_id).update(rights=[])",
    "the access profile": "User.objects.filter(pk=manager.pk).update(access_profile=None)",
    "the user's access": "User.objects.filter(pk=manager.pk).update(is_active=False)",
    # As the admin site does.
    "the user": "with transaction.atomic(): User.objects.select_for_update().get(pk=manager.pk).delete()",
    "the company": "User.objects.filter(pk=manager.pk).update(company=None)",
    "the company's access": "Company.objects.filter(pk=manager.company_id).update(is_active=False)",
    "by saving the company": "off = Company.objects.get(pk=manager.company_id); off.is_active = False; off.save()",
    "by more rights": "AccessProfile.objects.filter(pk=wider.pk).update(rights=['entities.systems.edit'])",
}
OF_ITS_OWN = (
    """
import uuid
kept = AccessProfile.objects.create(name=uuid.uuid4().hex, rights=rights)
own = Company.objects.create(name=uuid.uuid4().hex)
manager = User.objects.create(
    email=f"{uuid.uuid4().hex}@demo.example", name="M", company=own, access_profile=kept
)
of = {"company": own, "origin": Origin(actor=manager, via="clients")}
wider = AccessProfile.objects.create(name=uuid.uuid4().hex, rights=rights[:1])
"""
    + MAKE
)
# So that what is done beside it comes between the check of the rights and the change, where that can be.
SLOW = """
if not hasattr(company, "slow"):
    company.slow = company._check_name
    company._check_name = lambda *args, **more: (time.sleep(0.1), company.slow(*args, **more))
"""
EDIT = "company.edit(about=company.About(client.name, '', wider), **one)"


@pytest.mark.parametrize("take", TAKE)
def test_who_loses_a_right_gives_nothing_by_it_from_then_on(server, take):  # security 83
    taken = f"time.sleep(0.03)\n{TAKE[take]}\n"
    knew = "knows.append(OAuthApplication.objects.get(pk=client.pk).access_profile_id == wider.pk)"
    after = "[OAuthApplication.objects.get(pk=client.pk).access_profile_id == wider.pk, knows]"
    deeds = [EDIT, taken + knew]
    for (edited, took), (is_wider, knows) in at_once(server, deeds, before=OF_ITS_OWN + SLOW, after=after):
        assert took == "done"
        assert edited in ("done", "NotAllowed")
        assert is_wider == (edited == "done")
        # Who is told that the right is taken finds all there is by it, and nothing comes later.
        assert knows == [is_wider]


def test_an_access_profile_that_is_deleted_is_not_chosen(server):
    deeds = [EDIT, "AccessProfile.objects.get(pk=wider.pk).delete()"]
    after = "OAuthApplication.objects.select_related('access_profile').get(pk=client.pk).access_profile == wider"
    # The second is what the admin site tells as "in use".
    possible = {("done", "ProtectedError", True), ("done", "IntegrityError", True), ("NoSuchProfile", "done", False)}
    for before in (OF_ITS_OWN, OF_ITS_OWN + SLOW):
        for (edited, deleted), is_wider in at_once(server, deeds, before=before, after=after):
            assert (edited, deleted, is_wider) in possible


def test_a_company_that_is_deleted_gets_no_client(server):
    deeds = [
        CREATE.format(name="uuid.uuid4().hex"),
        "User.objects.filter(pk=manager.pk).update(company=None)\nCompany.objects.get(pk=own.pk).delete()",
    ]
    before = OF_ITS_OWN + "\nOAuthApplication.objects.filter(pk=client.pk).delete()\n"
    after = "[Company.objects.filter(pk=own.pk).count(), OAuthApplication.objects.filter(company=own.pk).count()]"
    possible = {("done", "ProtectedError", 1, 1), ("done", "IntegrityError", 1, 1), ("NotAllowed", "done", 0, 0)}
    for slow in ("", SLOW):
        for (created, deleted), left in at_once(server, deeds, before=before + slow, after=after):
            assert (created, deleted, *left) in possible
