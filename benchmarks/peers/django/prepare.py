"""Make the tables, and the client of the environment with its owner."""

import os

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402 - needs the set-up
from oauth2_provider.models import Application  # noqa: E402

Application.objects.create(
    user=User.objects.create_user("bench", "bench@example.com"),
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
)
