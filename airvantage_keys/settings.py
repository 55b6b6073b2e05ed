"""Settings of AirVantage Keys: one file, every value from an environment variable, safe when empty.

`environment` reads them, and the README lists each. A value that cannot be right stops the start with one sentence
instead of failing at the first request; `tests/test_settings.py` has right and wrong values of every variable.
"""

import ipaddress
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from . import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent


# --- The site ---------------------------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", "debug-only-not-a-secret" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is not set. script/server makes one; in production set your own.")
# Former keys, with which nothing new is signed, and what was still holds (see "Change SECRET_KEY" in
# docs/operations.md).
SECRET_KEY_FALLBACKS = env.texts("SECRET_KEY_FALLBACKS")

# Where the server listens, and with how many processes; script/server and script/serve tell it so.
HOST = env.host("HOST", "127.0.0.1")
PORT = env.number("PORT", default=8000, least=1, most=65535)
WEB_CONCURRENCY = env.number("WEB_CONCURRENCY", default=2, least=1, most=1000)
# The public origin: the OAuth issuer, every absolute link, and the reason for secure cookies and HSTS.
BASE_URL = env.origin("BASE_URL", env.origin_of("http", HOST, PORT))
_base = urlsplit(BASE_URL)
_base_host = str(_base.hostname)
HTTPS = _base.scheme == "https"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# The domain to which passkeys are bound; none where browsers know no passkeys: at an address, or on plain http.
PASSKEY_HOST = _base_host
if _is_address(PASSKEY_HOST) or not (HTTPS or PASSKEY_HOST == "localhost" or PASSKEY_HOST.endswith(".localhost")):
    PASSKEY_HOST = ""

ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", [env.in_address(_base_host)])
CSRF_TRUSTED_ORIGINS = [BASE_URL]
# How many proxies of ours stand in front and append to X-Forwarded-For; 0 trusts the connection alone.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", default=0, least=0, most=100)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

ROOT_URLCONF = "airvantage_keys.urls"
WSGI_APPLICATION = "airvantage_keys.wsgi.application"
APPEND_SLASH = True

# --- Apps and middleware ----------------------------------------------------------------------------------

INSTALLED_APPS = [
    # First, so that profiles.admin can unregister its admin pages.
    "oauth2_provider",
    "profiles",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "django_countries",
    "django_htmx",
]

# These add headers, to every answer, of pages and of the API: see `api_way`.
HEADERS_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "airvantage_keys.api_way.security_headers",
]
MIDDLEWARE = [
    # These first, so that the answers of all others pass here.
    "airvantage_keys.middleware.seen_from_outside",
    "airvantage_keys.middleware.no_store",
    # Before the redirect to https, which could loop.
    "airvantage_keys.middleware.explain_unknown_proxy",
    *HEADERS_MIDDLEWARE,
    # Everything under /api and /.well-known is answered here: no session, cookie, CSRF, message or htmx.
    "airvantage_keys.api_way.api_without_session",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Of random length, as Django does it, and each page has another CSRF token: its size tells nothing (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "profiles.account.session_store.AuthenticationMiddleware",
    "airvantage_keys.middleware.user_preferences",
    "django.contrib.messages.middleware.MessageMiddleware",
    # After the middleware that its error pages need.
    "airvantage_keys.middleware.no_nul",
    "airvantage_keys.middleware.same_site_only",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "profiles.account.sessions.note_browser",
    "profiles.account.mfa.second_step.required_first",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            # Django's tags, but a text or address that stands in a template is looked up once; and icons.
            "builtins": ["profiles.templatetags.fixed"],
            "libraries": dict.fromkeys(("i18n", "static"), "profiles.templatetags.fixed"),
        },
    },
]

# --- Data -------------------------------------------------------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", BASE_DIR / "var" / "db.sqlite3", base=BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_database = DATABASES["default"]
# Past a pooler, for what changes tables or moves the whole database: `direct` uses it, and here it is checked.
_maintenance_database = _database
if env.text("MAINTENANCE_DATABASE_URL"):
    _maintenance_database = env.database("MAINTENANCE_DATABASE_URL", BASE_DIR, base=BASE_DIR)
# Behind a pooler that lends a connection for one transaction, and does not know prepared statements.
TRANSACTION_POOLING = env.flag("TRANSACTION_POOLING", default=False)
_database["CONN_MAX_AGE"] = env.number("CONN_MAX_AGE", default=600, least=0)
_database["CONN_HEALTH_CHECKS"] = True
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database.setdefault("OPTIONS", {}).update(
        # Take the write lock at BEGIN: a transaction that reads first and writes later can otherwise fail
        # with "database is locked", whatever its time-out.
        transaction_mode="IMMEDIATE",
        timeout=20,
        # FULL, not NORMAL: a revocation that was answered must survive a power cut. A token need not (`statements`).
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    )

elif _database["ENGINE"] == "django.db.backends.postgresql":
    # Seconds for a new connection; and milliseconds, and seconds, after which one to a machine that has gone is
    # given up. Without these a request would wait for minutes. Statements have no time-out: see docs/operations.md.
    _patience = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 5}
    _database["OPTIONS"] = _patience | _database.get("OPTIONS", {})
    # Nothing here reads row by row but the lists in forms, which are short: a cursor would be three requests instead of
    # one, and is lost behind every pooler that lends a connection for a transaction.
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
    if TRANSACTION_POOLING:
        # The next statement may run in another connection, where this prepared statement does not exist.
        _database["OPTIONS"].update(prepare_threshold=None)
    else:
        # Repeated statements are planned once a connection: those of the token endpoint then cost the database a third.
        _database["OPTIONS"].update(server_side_binding=True, prepare_threshold=5)

# Shared by all server processes, so that limits hold across them: the database, or Redis.
CACHES = {"default": env.cache("CACHE_URL")}
# Many, so that what limits signing in is not evicted before it expires (`profiles.limits` counts elsewhere).
_many = {"MAX_ENTRIES": 50_000}
if CACHES["default"]["BACKEND"].endswith(".RedisOrTable"):
    # Seconds: a Redis that hangs must not keep requests waiting (see `profiles.limits.shared_cache`).
    CACHES["default"]["OPTIONS"] = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
    # For what Redis must not forget, and for everything while it is away.
    CACHES["once"] = env.cache_table() | {"OPTIONS": _many}
else:
    CACHES["default"]["OPTIONS"] = _many
    CACHES["once"] = CACHES["default"]

# --- Signing in -------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "profiles.User"
AUTHENTICATION_BACKENDS = ["profiles.account.adapter.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "profiles.account.passwords.MinimumLength", "OPTIONS": {"min_length": 15}},
    {"NAME": "profiles.account.passwords.CharacterClasses"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "profile"
LOGOUT_REDIRECT_URL = "account_login"

ACCOUNT_FORMS = {
    "login": "profiles.account.email_forms.LoginForm",
    "reset_password": "profiles.account.email_forms.ResetPasswordForm",
    "confirm_login_code": "profiles.account.mfa.forms.EmailCodeForm",
    "change_password": "profiles.account.passwords.ChangeForm",
    "set_password": "profiles.account.passwords.ChangeForm",
    "reset_password_from_key": "profiles.account.passwords.FromMailForm",
    "user_token": "profiles.account.passwords.LinkForm",
}
ACCOUNT_ADAPTER = "profiles.account.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
# Accounts are made by administrators, who vouch for the address.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _base.scheme
ACCOUNT_SESSION_REMEMBER = False
# To change anything of an account, the password must have been given at most this many seconds ago. A very small value
# leaves no time to fill in the form after that; the dialogs of the key have a password field of their own.
ACCOUNT_REAUTHENTICATION_TIMEOUT = env.number("REAUTHENTICATION_TIMEOUT", default=15 * 60, least=0)

# A code by e-mail at sign-in: eight digits, three attempts at each, sent again twice at most.
ACCOUNT_LOGIN_BY_CODE_FORMAT = {"numeric": True, "length": 8}
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = 10 * 60
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = True

MFA_ADAPTER = "profiles.account.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "profiles.account.mfa.forms.AuthenticatorCodeForm",
    "authenticate_webauthn": "profiles.account.mfa.forms.PasskeyAnswerForm",
    "login_webauthn": "profiles.account.mfa.forms.PasskeyLoginForm",
}
MFA_ALLOW_UNVERIFIED_EMAIL = True  # see ACCOUNT_EMAIL_VERIFICATION
MFA_PASSKEY_LOGIN_ENABLED = bool(PASSKEY_HOST)
MFA_TOTP_ISSUER = "AirVantage Keys"
MFA_TOTP_TOLERANCE = 1  # a phone's clock may be half a minute wrong

RATE_LIMITS = env.flag("RATE_LIMITS", default=True)
# Failed client authentications in a minute, after which further failures are answered with 429.
CLIENT_FAILURES_PER_MINUTE = env.number("CLIENT_FAILURES_PER_MINUTE", default=20, least=1)
ADDRESS_FAILURES_PER_MINUTE = env.number("ADDRESS_FAILURES_PER_MINUTE", default=60, least=1)
# Guesses at passwords and codes are limited by `profiles.limits.attempts`; allauth's let others lock an owner out.
ACCOUNT_RATE_LIMITS = (
    {
        **dict.fromkeys(
            ("login", "login_failed", "reauthenticate", "request_login_code", "reset_password_from_key"), ""
        ),
        "change_password": "",  # it requires a password given a short time ago
        "change_email": "10/h/user",
    }
    if RATE_LIMITS
    else False
)
MFA_RATE_LIMITS = {"webauthn_login": ""}  # a signature cannot be guessed

SESSION_ENGINE = "profiles.account.session_store"
# Seconds: a session ends when it was not used for the first, and always after the second.
SESSION_COOKIE_AGE = env.number("SESSION_COOKIE_AGE", default=12 * 60 * 60, least=60)
SESSION_LIFETIME = env.number("SESSION_LIFETIME", default=24 * 60 * 60, least=60)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
# The cookie by which a browser that has signed in before is recognised; see `profiles.limits.known_browsers`.
KNOWN_BROWSER_COOKIE_NAME = "__Host-known" if HTTPS else "known"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "profiles.pages.base.csrf_failure"

# --- OAuth ------------------------------------------------------------------------------------------------

# Of one company.
API_CLIENTS_AT_MOST = env.number("API_CLIENTS_AT_MOST", default=200, least=1)

OAUTH2_PROVIDER_APPLICATION_MODEL = "profiles.OAuthApplication"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "profiles.AccessToken"  # noqa: S105 - a model's name
OAUTH2_PROVIDER = {
    "ACCESS_TOKEN_EXPIRE_SECONDS": env.number("ACCESS_TOKEN_EXPIRE_SECONDS", default=3600, least=1),
    "CLIENT_ID_GENERATOR_CLASS": "profiles.credentials.ClientIdGenerator",
    "ACCESS_TOKEN_GENERATOR": "profiles.credentials.oauthlib_access_token",
    "SCOPES_BACKEND_CLASS": "profiles.rights.RightsScopes",
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    # RFC 9700 in full, also for what is not mounted here: the deploy check asks for it.
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}
# The toolkit wants the models of access and refresh tokens swapped together, because they refer to each other. Ours
# does not refer to a refresh token (the client-credentials grant has none), so there is no circular reference.
SILENCED_SYSTEM_CHECKS = ["oauth2_provider.W011"]
# Two libraries of tags by one name: ours stands for Django's on purpose (`TEMPLATES`).
SILENCED_SYSTEM_CHECKS += ["templates.W003"]

# --- Pages ------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "var" / "static"
# What users upload: their pictures. The server never serves these by their path (see profiles.account.pictures).
MEDIA_ROOT = env.folder("MEDIA_ROOT", BASE_DIR / "var" / "media", base=BASE_DIR)
# Bytes of a form. A picture's has more on its own page (`wsgi.Application.body_at_most`).
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
FILE_UPLOAD_HANDLERS = ["profiles.account.pictures.BoundedUploadHandler"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# --- Headers and cookies ----------------------------------------------------------------------------------

SECURE_SSL_REDIRECT = HTTPS
SECURE_SSL_HOST = _base.netloc  # with the port of https, not that of the http request
# For people only: a program that sent its credentials over http is refused (`api_way.answer`).
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^\.well-known/", r"^livez$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"

# --- Mail, logs, metrics ----------------------------------------------------------------------------------------

vars().update(env.email("EMAIL_URL"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.sender("DEFAULT_FROM_EMAIL", "AirVantage Keys <no-reply@localhost>")
# Seconds to wait for each answer of the mail server.
EMAIL_TIMEOUT = env.number("EMAIL_TIMEOUT", default=10, least=1)
EMAIL_SUBJECT_PREFIX = ACCOUNT_EMAIL_SUBJECT_PREFIX = ""

LOG_LEVEL = env.choice("LOG_LEVEL", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOG_FORMAT = env.choice("LOG_FORMAT", default="LINE", choices=("LINE", "JSON"))
# Of the calls of the API, the share that has a line: 1 all, 0 none.
LOG_CALLS = env.share("LOG_CALLS", default="1")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ours": {"()": f"airvantage_keys.logs.{LOG_FORMAT.capitalize()}Formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
    "filters": {"outages": {"()": "profiles.http.outages.OneLine"}},
    # Loggers that bring handlers, and so formats, of their own: Django's, those of its server and of ours.
    "loggers": {
        name: {"handlers": [], "propagate": True} for name in ("django", "django.server", "_granian", "granian.access")
    }
    | {"django.request": {"filters": ["outages"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
}

# Where Prometheus finds the metrics of this server; 0 is off. Read by `server` and `exporter`.
METRICS_HOST = env.host("METRICS_HOST", "127.0.0.1")
METRICS_PORT = env.number("METRICS_PORT", default=0, least=0, most=65535)

DEFAULT_EXCEPTION_REPORTER = "airvantage_keys.error_reports.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "airvantage_keys.error_reports.Filter"

# --- What is refused ----------------------------------------------------------------------------------------
# Values that are valid alone, but wrong for this BASE_URL or number of hosts: refused here, so that neither the server
# nor any command runs with them. A short SECRET_KEY is allowed for plain http (loopback); https means production.

# How many machines serve this site. The site cannot detect it, so whoever adds a second one must set it.
SERVER_HOSTS = env.number("SERVER_HOSTS", default=1, least=1)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


# Whether others than this computer may reach the site. Then there is no DEBUG here, and there are no demo users.
REACHABLE = bool(
    HTTPS or TRUSTED_PROXIES or SERVER_HOSTS > 1 or not all(map(_is_loopback, [_base_host, HOST, *ALLOWED_HOSTS]))
)
# The variables that say so, for a message.
REACHABLE_BY = "BASE_URL, HOST, ALLOWED_HOSTS, TRUSTED_PROXIES or SERVER_HOSTS"
if DEBUG and REACHABLE:
    raise ImproperlyConfigured(
        f"DEBUG must be off where others can reach the site, which {REACHABLE_BY} allow: its error pages show data and "
        "settings."
    )


def _is_guessable(key: str) -> bool:
    # Compression detects repetition; fifty random digits are still longer than this.
    return len(key) < 50 or len(zlib.compress(key.encode(), 9)) < 36


if HTTPS and _is_guessable(SECRET_KEY):
    raise ImproperlyConfigured(
        "SECRET_KEY must be 50 random characters or more when BASE_URL is https: it signs sessions and the links that "
        "set passwords."
    )
if HTTPS and any(map(_is_guessable, SECRET_KEY_FALLBACKS)):
    raise ImproperlyConfigured(
        "SECRET_KEY_FALLBACKS must be keys of 50 random characters or more, with commas between them, when BASE_URL is "
        "https: what they have signed holds."
    )
if HTTPS and "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS must be names, not '*', when BASE_URL is https: the redirect from http takes the name that was "
        "asked for."
    )
if SERVER_HOSTS > 1 and _database["ENGINE"] == "django.db.backends.sqlite3":
    raise ImproperlyConfigured(
        "DATABASE_URL must be postgres://... when SERVER_HOSTS is 2 or more: hosts cannot share a SQLite file."
    )
if (HTTPS or SERVER_HOSTS > 1) and CACHES["default"]["BACKEND"].endswith((".LocMemCache", ".DummyCache")):
    raise ImproperlyConfigured(
        "CACHE_URL must be redis://... or unset when BASE_URL is https or SERVER_HOSTS is 2 or more: limits kept in "
        "the memory of one process do not hold for the others."
    )
