"""Make the tables, and the client and the owner of the environment."""

import json
import os

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402 - needs the set-up
from oauth2_provider.models import Application  # noqa: E402

owner = json.loads(os.environ["OWNER"])
first_name, last_name = owner["name"].split()
Application.objects.create(
    user=User.objects.create_user(owner["uid"], owner["email"], first_name=first_name, last_name=last_name),
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
)
