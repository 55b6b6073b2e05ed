"""django-oauth-toolkit as it comes, and the floors: `startproject`'s settings, with connections that are kept."""

import os
from pathlib import Path

from airvantage_keys import environment

SECRET_KEY = "for-benchmarks-only"  # noqa: S105 - made up
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
DATABASES = {"default": environment.database("DATABASE_URL", Path("unused"), base=Path())}
# Without this, every request would open a connection of its own: five times the cost, and nobody does it.
DATABASES["default"]["CONN_MAX_AGE"] = 600
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "oauth2_provider",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
USE_TZ = True
OAUTH2_PROVIDER = {"SCOPES": {"read": "Read"}, "ACCESS_TOKEN_EXPIRE_SECONDS": 3600}

variant = os.environ["PEER"]
if variant == "toolkit-sha256":
    OAUTH2_PROVIDER["CLIENT_SECRET_HASHER"] = "sha256"  # noqa: S105 - a name
    PASSWORD_HASHERS = ["hashers.Sha256", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
if variant == "floor":
    MIDDLEWARE = []
