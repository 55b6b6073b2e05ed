"""The policy of a company on the pages: administrators lay it down, its people read it, what it forbids is not done."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from profiles import rights
from profiles.admin.access import CompanyAdmin
from profiles.admin.policy_form import PolicyForm
from profiles.clients import lifecycle
from profiles.models import AccessProfile, AccountEvent, ClientSecret, Company, OAuthApplication, OldSecret
from profiles.policy import Policy
from profiles.templatetags.moments import absolute

from .admin_site import browser_of, make_staff, permit
from .conftest import make_token, sign_in, use, works
from .page import CHECK, CREATE, PROFILE, REGENERATE, html, secrets_in, words
from .policies import lay_down, make_older
from .test_notices import by

pytestmark = pytest.mark.django_db

NETWORKS = ("203.0.113.0/24", "2001:db8::/32")
FORBIDDEN = "Your company allows no personal API access keys."


# --- No personal keys -------------------------------------------------------------------------------------


def test_none_is_made_and_it_is_said_why(company, user, signed_in):
    lay_down(company, no_keys=True)
    page = signed_in.get(PROFILE)
    assert FORBIDDEN in words(page)
    assert 'data-action="create"' not in html(page)
    refused = signed_in.post(CREATE)
    assert refused.status_code == 409
    assert "Nothing was done: your company allows no personal API access keys." in words(refused)
    assert not OAuthApplication.objects.exists()
    with pytest.raises(CommandError, match=r"Fleet Ltd, the company of user@example\.com, allows no personal keys"):
        call_command("createkey", user.email)
    lay_down(company)
    assert secrets_in(signed_in.post(CREATE))


def test_one_that_is_there_is_told_to_be_refused_and_gets_no_new_secret(company, key, signed_in):
    assert ">Active<" in html(signed_in.get(PROFILE))
    lay_down(company, no_keys=True)
    page = signed_in.get(PROFILE)
    assert f"{FORBIDDEN} This key and its access tokens are refused." in words(page)
    assert ">Active<" not in html(page)
    assert 'data-action="regenerate"' not in html(page)
    assert 'data-action="delete"' in html(page)
    for answer in (signed_in.get(REGENERATE), signed_in.post(REGENERATE)):
        assert answer.status_code == 409
        assert "Nothing was done" in words(answer)
    assert "It is refused: your company allows no personal" in words(signed_in.post(CHECK, {"secret": key.secret}))
    lay_down(company)
    assert works(key.client_id, key.secret)


def test_it_says_nothing_of_api_clients(company, manager, api_client, client):
    lay_down(company, no_keys=True)
    page = sign_in(client, manager).get(f"/develop/api/clients/{api_client.client_id}/")
    assert FORBIDDEN not in words(page)
    assert ">Enabled<" in html(page)
    assert 'data-action="regenerate"' in html(page)


# --- Age --------------------------------------------------------------------------------------------------


def test_the_section_says_until_when_a_secret_is_good(company, signed_in):
    lay_down(company, days=90)
    made = signed_in.post(CREATE)
    end = absolute(ClientSecret.objects.get().created + timedelta(days=90))
    for page in (made, signed_in.get(PROFILE)):
        assert f"Your company’s secret keys are good for 90 days: this one stops on {end}" in words(page)


def test_one_that_is_too_old_says_so_and_regenerate_is_the_way_on(company, key, signed_in):
    make_older(key.key, days=10)
    lay_down(company, days=9)
    page = signed_in.get(PROFILE)
    since = absolute(ClientSecret.objects.get().created + timedelta(days=9))
    assert "The secret key is older than the 9 days that your company allows." in words(page)
    assert f"refused since {since}. Regenerate it to use this key again." in words(page)
    assert ">Active<" not in html(page)
    assert f"(9 days), and has been refused since {since}" in words(signed_in.post(CHECK, {"secret": key.secret}))
    assert "No secret key of this key works any more." in words(signed_in.get(REGENERATE))
    [secret] = secrets_in(signed_in.post(REGENERATE))
    assert works(key.client_id, secret)


def test_an_api_client_says_the_same_on_its_page_and_in_the_list(company, manager, api_client, client):
    sign_in(client, manager)
    make_older(api_client.key, days=10)
    lay_down(company, days=9)
    page = client.get(f"/develop/api/clients/{api_client.client_id}/")
    assert "The secret key is older than the 9 days that your company allows." in words(page)
    for shown in (page, client.get("/develop/api/clients/")):
        assert "No secret key that works" in words(shown)


def test_the_old_secret_stays_good_for_no_longer_than_the_company_allows(company, user, key):
    make_older(key.key, days=6)
    lay_down(company, days=7)
    user.refresh_from_db()
    lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.FIRST_USE)
    old = ClientSecret.objects.earliest("pk")
    assert old.ends == old.created + timedelta(days=7)


def test_the_old_secret_ends_at_once_if_it_is_too_old(company, user, key):
    make_older(key.key, days=7)
    lay_down(company, days=7)
    user.refresh_from_db()
    lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.DAY)
    assert ClientSecret.objects.earliest("pk").ended
    assert user.key_events.first().old_secret == OldSecret.NOW


# --- Networks ---------------------------------------------------------------------------------------------


def test_the_section_names_the_networks_and_the_pages_stay_open(company, key, signed_in):
    lay_down(company, networks=NETWORKS)
    page = signed_in.get(PROFILE)
    assert "Allowed networks 203.0.113.0/24 2001:db8::/32" in words(page)
    assert secrets_in(signed_in.post(REGENERATE))


# --- In the admin site ------------------------------------------------------------------------------------


def address(company: Company) -> str:
    return f"/admin/profiles/company/{company.pk}/change/"


def save(client: Client, company: Company, **said: Any) -> Any:
    """The answer to the form of this company with this policy, which takes effect at the first or the second time.

    The form was opened when the policy was as `company` has it.
    """
    answer = client.post(address(company), {"name": company.name, "is_active": "on", "before": company.policy} | said)
    company.refresh_from_db()
    return answer


def form_of(answer: Any) -> dict[str, str]:
    """What a browser sends with the next Save of what nobody typed."""
    form = answer.context["adminform"].form
    return {name: form[name].value() or "" for name in ("before", "seen")}


@pytest.fixture
def superuser(admin_user) -> Client:
    return browser_of(admin_user)


def test_an_administrator_lays_it_down_with_an_event(superuser, company):
    said = {"no_keys": "on", "days": "90", "networks": "203.0.113.9/24,2001:DB8::/32\r\n203.0.113.0/24 "}
    assert save(superuser, company, **said).status_code == 302
    assert company.policy == str(Policy(no_keys=True, days=90, networks=NETWORKS))
    page = html(superuser.get(address(company)))
    assert "203.0.113.0/24\n2001:db8::/32</textarea>" in page
    save(superuser, company)
    assert company.policy == ""
    stored = '{"no_keys":true,"days":90,"networks":["203.0.113.0/24","2001:db8::/32"]}'
    events = AccountEvent.objects.filter(action="company_edited").order_by("pk").values_list("detail", "actor__email")
    assert list(events) == [
        (f"Fleet Ltd: policy: - → {stored}", "admin@example.com"),
        (f"Fleet Ltd: policy: {stored} → -", "admin@example.com"),
    ]


def test_the_form_says_what_networks_do_not_do(superuser, company):
    page = words(superuser.get(address(company)))
    assert "IPv4 and IPv6 each need their own lines." in page
    assert "A resource server that introspects a token does not know from where it was used." in page


def test_the_event_says_it_in_words(superuser, company):
    company.name = 'Fleet {"no_keys":0} {}'
    company.save()
    save(superuser, company, days="90", networks="203.0.113.0/24")
    event = AccountEvent.objects.get(action="company_edited")
    said = 'Fleet {"no_keys":0} {}: policy: - → secret keys of at most 90 days; networks: 203.0.113.0/24'
    for page in ("", f"{event.pk}/change/"):
        assert said in unescape(words(superuser.get(f"/admin/profiles/accountevent/{page}")))


def test_a_new_company_may_have_one_too(superuser):
    superuser.post("/admin/profiles/company/add/", {"name": "New Ltd", "days": "30"})
    assert Company.objects.get().policy == str(Policy(days=30))


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"networks": "10.0.0.0/8 example.com"}, "This is no network: example.com."),
        ({"networks": " ".join(f"10.0.0.{number}" for number in range(51))}, "At most 50 networks."),
        ({"networks": "1" * 5001}, "at most 5000 characters"),
        ({"days": "0"}, "greater than or equal to 1"),
        ({"days": "3651"}, "less than or equal to 3650"),
        ({"days": "1e3"}, "whole number"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_reason(superuser, company, said, wrong):
    assert wrong in words(save(superuser, company, **said))
    assert company.policy == ""


def test_whom_it_refuses_is_told_before_it_is_saved(superuser, company, key, api_client):
    make_older(key.key, days=100)
    make_older(api_client.key, days=100)
    use(api_client, address="198.51.100.9")
    said = {"no_keys": "on", "days": "90", "networks": "203.0.113.0/24"}
    first = save(superuser, company, **said)
    assert (
        "This policy refuses at once: 1 personal key; 1 client whose secret key is too old; "
        "1 client that was last used from elsewhere. Nothing was saved yet." in words(first)
    )
    assert company.policy == ""
    seen = form_of(first)["seen"]
    assert "Nothing was saved yet" in words(save(superuser, company, **{**said, "days": "80", "seen": seen}))
    assert save(superuser, company, **said, seen=seen).status_code == 302
    assert company.policy
    assert save(superuser, company, **said).status_code == 302  # nobody more is refused by what is there already


def test_each_number_counts_those_alone_that_are_refused_by_it(superuser, company, key, api_client):
    make_older(key.key, days=100)
    lay_down(company, days=90, networks=("203.0.113.0/24",))
    use(key, address="198.51.100.9")  # is refused already
    make_older(api_client.key, days=50)
    use(api_client, address="203.0.113.7")
    said = words(save(superuser, company, days="40", networks="203.0.113.0/25"))
    assert "refuses at once: 1 client whose secret key is too old." in said
    said = words(save(superuser, company, days="90", networks="203.0.113.128/25"))
    assert "refuses at once: 1 client that was last used from elsewhere." in said


@pytest.mark.parametrize("of_company", [True, False])
def test_who_lacks_a_right_may_narrow_it_and_not_widen_it(company, key, of_company):
    """The rights are those of the company's people: what lets their keys in gives them to whoever has these."""
    profile = AccessProfile.objects.create(name="Little", rights=["entities.systems.view"])
    staff = make_staff(access_profile=profile, company=company if of_company else None)
    client = permit(staff, "view_company", "change_company")
    for said in ({"days": "90"}, {"days": "80", "networks": "10.0.0.0/8"}):
        before = company.policy
        first = save(client, company, **said)
        assert "You cannot take this back: for that you lack rights. Nothing was saved yet." in words(first)
        assert company.policy == before
        assert save(client, company, **said, seen=form_of(first)["seen"]).status_code == 302
        assert company.policy != before
    narrow = company.policy
    for said in ({"days": "81", "networks": "10.0.0.0/8"}, {"days": "80"}, {"networks": "10.0.0.0/8"}, {}):
        assert "You may only narrow the policy." in words(save(client, company, **said))
        assert company.policy == narrow
    profile.rights = sorted(rights.ALL_RIGHTS)
    profile.save()
    assert save(client, company).status_code == 302
    assert company.policy == ""


def test_nobody_reaches_the_policy_of_another_company(company, other_manager):
    lay_down(company, days=90)
    client = permit(make_staff(company=other_manager.company), "view_company", "change_company")
    save(client, company)
    assert company.policy == str(Policy(days=90))


def test_who_may_only_look_reads_it_in_words(company):
    lay_down(company, no_keys=True, days=90, networks=NETWORKS)
    client = permit(make_staff(), "view_company")
    page = client.get(address(company))
    said = "no personal API access keys; secret keys of at most 90 days; networks: 203.0.113.0/24 2001:db8::/32"
    assert said in words(page)
    save(client, company)
    assert company.policy
    lay_down(company)
    assert "Policy: None" in words(client.get(address(company)))


def test_a_credential_in_the_form_is_refused_and_not_repeated(superuser, company, key):
    answer = save(superuser, company, networks=key.secret)
    assert "Take the secret key for leaked" in words(answer)
    assert key.secret not in html(answer)


@pytest.mark.parametrize("said", [{}, {"days": "90"}])
def test_who_changes_something_else_leaves_the_policy_of_somebody_else_alone(superuser, company, said):
    """Even where the form was opened before that was laid down."""
    lay_down(company, **({"days": 90} if said else {}))
    opened = form_of(superuser.get(address(company)))
    lay_down(company, no_keys=True)
    assert save(superuser, company, require_mfa="on", **said, **opened).status_code == 302
    assert company.require_mfa
    assert company.policy == str(Policy(no_keys=True))
    assert "policy" not in AccountEvent.objects.get(action="company_edited").detail


def test_who_changes_the_policy_is_told_if_somebody_else_has_meanwhile(superuser, company):
    opened = form_of(superuser.get(address(company)))
    lay_down(company, no_keys=True, days=90)
    answer = save(superuser, company, days="30", **opened)
    said = "It is now: no personal API access keys; secret keys of at most 90 days. Nothing was saved yet."
    assert f"Somebody else has changed the policy meanwhile. {said}" in words(answer)
    assert company.policy == str(Policy(no_keys=True, days=90))
    assert 'value="30"' in html(answer)  # nothing that was typed is lost
    assert save(superuser, company, days="30", **form_of(answer)).status_code == 302
    assert company.policy == str(Policy(days=30))


def test_who_lays_down_the_same_as_somebody_else_is_asked_nothing(superuser, company):
    opened = form_of(superuser.get(address(company)))
    lay_down(company, days=30)
    assert save(superuser, company, days="30", **opened).status_code == 302
    assert company.policy == str(Policy(days=30))


def test_one_that_was_narrowed_while_the_form_is_checked_is_not_widened_unseen(company, key, monkeypatch):
    """Somebody else narrows it between the check and the write; here, where that is undone, before the next check."""
    profile = AccessProfile.objects.create(name="Little", rights=[])
    client = permit(make_staff(access_profile=profile), "view_company", "change_company")
    lay_down(company, days=90)
    narrow = str(Policy(days=30))
    seen = form_of(save(client, company, days="80"))["seen"]
    clean, find = PolicyForm.clean, CompanyAdmin.get_object
    looks: list[PolicyForm] = []

    def and_then_narrowed(form: PolicyForm) -> dict[str, Any]:
        looks.append(form)
        cleaned = clean(form)
        Company.objects.update(policy=narrow)
        return cleaned

    def found(*asked: Any) -> Any:
        if looks:
            Company.objects.update(policy=narrow)
        return find(*asked)

    monkeypatch.setattr(PolicyForm, "clean", and_then_narrowed)
    monkeypatch.setattr(CompanyAdmin, "get_object", found)
    answer = save(client, company, days="80", seen=seen)
    assert "Somebody else has changed the policy meanwhile." in words(answer)
    assert len(looks) == 2
    again = save(client, company, days="80", **form_of(answer))
    assert "You may only narrow the policy." in words(again)
    assert not AccountEvent.objects.filter(action="company_edited").exists()


def test_what_was_made_before_is_as_it_was(company, user, key, token):
    """A policy changes no key, secret or token."""
    before = list(ClientSecret.objects.values()), list(OAuthApplication.objects.values())
    lay_down(company, no_keys=True, days=1, networks=NETWORKS)
    assert (list(ClientSecret.objects.values()), list(OAuthApplication.objects.values())) == before
    lay_down(company)
    assert make_token(key)
    assert timezone.now() < ClientSecret.objects.get().created + timedelta(days=1)
