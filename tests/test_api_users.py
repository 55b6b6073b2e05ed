"""Who am I, to a script."""

from __future__ import annotations

import json

import pytest

from profiles.account import pictures
from profiles.api import schemas
from profiles.models import User

from .api import CURRENT, RIGHTS, get
from .conftest import make_key, make_token

pytestmark = pytest.mark.django_db


def test_current_is_the_owner_in_this_form(token, user):
    User.objects.filter(pk=user.pk).update(phone_number="+33123456789", picture="pictures/u.png")
    answer = get(CURRENT, token).content.decode()
    paths = f"/users/{user.uid}/picture"
    # As text: clients were seen to rely on the order, and on there being no blanks.
    assert answer == json.dumps(
        {
            "company": {"uid": user.company.uid, "name": "Fleet Ltd"},
            "uid": user.uid,
            "email": "user@example.com",
            "name": "Uma User",
            "phoneNumber": "+33123456789",
            "profile": {"uid": user.access_profile.uid, "name": "Operator"},
            "picture": {"icon": f"{paths}/icon", "normal": f"{paths}/normal", "small": f"{paths}/small"},
        },
        separators=(",", ":"),
    )


def test_a_picture_has_the_sizes_that_are_made():
    assert schemas.Picture.__struct_fields__ == pictures.SIZES


def test_what_an_owner_does_not_have_is_null(admin_user):
    answer = get(CURRENT, make_token(make_key(admin_user))).json()
    assert (answer["company"], answer["profile"], answer["picture"], answer["phoneNumber"]) == (None, None, None, "")


def test_a_name_is_text_whatever_it_is(token, user):
    name = 'Ünë "quoted" </script> 😀 \\'
    User.objects.filter(pk=user.pk).update(name=name)
    assert get(CURRENT, token).json()["name"] == name


def test_an_unknown_parameter_does_no_harm(token, user):
    assert get(CURRENT, token, "company=5b0c2a9de3f84f6f9a5a0d7c1e2b3f40&x").json()["uid"] == user.uid


def test_rights_are_a_bare_sorted_array(token):
    assert get(RIGHTS, token).content == b'["accountNetwork.users.view","entities.systems.view"]'


def test_a_right_that_left_the_catalogue_is_none(token, access_profile):
    access_profile.rights = ["entities.spaceships.view", "entities.systems.view"]
    access_profile.save()
    assert get(RIGHTS, token).json() == ["entities.systems.view"]
