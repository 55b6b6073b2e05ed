"""How django-allauth behaves here."""

import pytest
from allauth.account.adapter import get_adapter

from profiles.models import User

pytestmark = pytest.mark.django_db


def test_a_password_reset_does_not_undo_a_deactivation(user):  # security 21
    read_before = User.objects.get(pk=user.pk)
    User.objects.filter(pk=user.pk).update(is_active=False)
    get_adapter().set_password(read_before, "another long enough password")
    user.refresh_from_db()
    assert not user.is_active
    assert user.check_password("another long enough password")
