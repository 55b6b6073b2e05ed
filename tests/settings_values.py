"""What every variable of the README takes, with the resulting setting; and what must be refused.

`POSTGRES`, `MAIL` and `REDIS` stand for several settings together: see `test_settings`.
"""

from __future__ import annotations

from typing import Any

from .server import ROOT

# fmt: off
GOOD: dict[str, list[tuple[str, str, Any]]] = {
    "HOST": [
        ("", "BASE_URL", "http://127.0.0.1:8000"),
        ("localhost", "BASE_URL", "http://localhost:8000"),
        ("LOCALHOST", "BASE_URL", "http://localhost:8000"),
        (" 192.0.2.7 ", "BASE_URL", "http://192.0.2.7:8000"),
        ("::1", "ALLOWED_HOSTS", ["[::1]"]),
        ("[::1]", "BASE_URL", "http://[::1]:8000"),
        ("0:0:0:0:0:0:0:1", "BASE_URL", "http://[::1]:8000"),
    ],
    "PORT": [
        ("", "BASE_URL", "http://127.0.0.1:8000"),
        ("9000", "BASE_URL", "http://127.0.0.1:9000"),
        ("80", "BASE_URL", "http://127.0.0.1"),
        ("\t65535\n", "BASE_URL", "http://127.0.0.1:65535"),
    ],
    "BASE_URL": [
        ("", "BASE_URL", "http://127.0.0.1:8000"),
        (" http://keys.example\n", "BASE_URL", "http://keys.example"),
        ("http://[::1]:8131", "ALLOWED_HOSTS", ["[::1]"]),
        ("http://[2001:db8::7]", "ALLOWED_HOSTS", ["[2001:db8::7]"]),
        ("http://192.0.2.7:81", "ALLOWED_HOSTS", ["192.0.2.7"]),
        ("http://xn--bcher-kva.example:443", "ALLOWED_HOSTS", ["xn--bcher-kva.example"]),
        ("http://a-b.3com.example", "CSRF_TRUSTED_ORIGINS", ["http://a-b.3com.example"]),
    ],
    "ALLOWED_HOSTS": [
        ("", "ALLOWED_HOSTS", ["127.0.0.1"]),
        ("a.example, b.example", "ALLOWED_HOSTS", ["a.example", "b.example"]),
        (" A.example , .B.example,", "ALLOWED_HOSTS", ["a.example", ".b.example"]),
        ("::1,[2001:DB8:0::7], *", "ALLOWED_HOSTS", ["[::1]", "[2001:db8::7]", "*"]),
        ("192.0.2.7", "ALLOWED_HOSTS", ["192.0.2.7"]),
    ],
    "TRUSTED_PROXIES": [
        ("", "TRUSTED_PROXIES", 0),
        ("0", "TRUSTED_PROXIES", 0),
        (" 2", "TRUSTED_PROXIES", 2),
    ],
    "SECRET_KEY": [
        ("$ecret", "SECRET_KEY", "$ecret"),
        ("$HOME", "SECRET_KEY", "$HOME"),
        ("$$", "SECRET_KEY", "$$"),
        ('{a} \\n \'b\' "c" #d =e', "SECRET_KEY", '{a} \\n \'b\' "c" #d =e'),
        ("schlüssel", "SECRET_KEY", "schlüssel"),
    ],
    "SECRET_KEY_FALLBACKS": [
        ("", "SECRET_KEY_FALLBACKS", []),
        (" before, ,$2 ", "SECRET_KEY_FALLBACKS", ["before", "$2"]),
    ],
    "DATABASE_URL": [
        ("", "DATABASES['default']['NAME']", str(ROOT / "var/db.sqlite3")),
        ("sqlite:///keys.sqlite3", "DATABASES['default']['NAME']", str(ROOT / "keys.sqlite3")),
        ("sqlite:////tmp/a+b%23c%25d.sqlite3", "DATABASES['default']['NAME']", "/tmp/a+b#c%d.sqlite3"),
        ('sqlite:////tmp/é ü&=\'";$x\\y.sqlite3', "DATABASES['default']['NAME']", '/tmp/é ü&=\'";$x\\y.sqlite3'),
        ("sqlite://:memory:", "DATABASES['default']['NAME']", ":memory:"),
        ("postgres://$u:$p#?x@h/db", "POSTGRES", ("$u", "$p#?x", "h", "", "db")),
        ("postgres://u:a%40b%2Fc%25d%20e@h:5433/db", "POSTGRES", ("u", "a@b/c%d e", "h", "5433", "db")),
        ("postgresql://u@[::1]/db", "POSTGRES", ("u", "", "::1", "", "db")),
        ("postgres://u:pä+ss=&@h/d%C3%A9", "POSTGRES", ("u", "pä+ss=&", "h", "", "dé")),
        ("postgres:///db?host=/run/postgresql", "POSTGRES", ("", "", "/run/postgresql", "", "db")),
        ("postgres://%2Frun%2Fpostgresql/db", "POSTGRES", ("", "", "/run/postgresql", "", "db")),
        ("postgres://a:1,b:2/db", "POSTGRES", ("", "", "a,b", "1,2", "db")),
        ("postgres://h/db?ssl=true", "DATABASES['default']['OPTIONS']['sslmode']", "require"),
        ("postgres://h/db?sslmode=verify-full", "DATABASES['default']['OPTIONS']['sslmode']", "verify-full"),
        ("postgres://h/db", "DATABASES['default']['OPTIONS']['connect_timeout']", 5),
        ("postgres://h/db?connect_timeout=3", "DATABASES['default']['OPTIONS']['connect_timeout']", "3"),
        ("postgres://h/db", "DATABASES['default']['OPTIONS']['tcp_user_timeout']", 10_000),
        ("postgres://h/db?tcp_user_timeout=0", "DATABASES['default']['OPTIONS']['tcp_user_timeout']", "0"),
        ("postgres:///?service=keys", "DATABASES['default']['OPTIONS']['service']", "keys"),
    ],
    "MAINTENANCE_DATABASE_URL": [
        ("", "_maintenance_database['NAME']", str(ROOT / "var/db.sqlite3")),
        ("postgres://u:a%40b@h:5433/db", "_maintenance_database['PASSWORD']", "a@b"),
    ],
    "MEDIA_ROOT": [
        ("", "str(MEDIA_ROOT)", str(ROOT / "var/media")),
        ("var/a b#c?d%2Fe", "str(MEDIA_ROOT)", str(ROOT / "var/a b#c?d%2Fe")),
        ("/tmp/media/of/keys", "str(MEDIA_ROOT)", "/tmp/media/of/keys"),
        ("$HOME", "str(MEDIA_ROOT)", str(ROOT / "$HOME")),
    ],
    "CONN_MAX_AGE": [
        ("", "DATABASES['default']['CONN_MAX_AGE']", 600),
        ("0", "DATABASES['default']['CONN_MAX_AGE']", 0),
        ("060", "DATABASES['default']['CONN_MAX_AGE']", 60),
    ],
    "TRANSACTION_POOLING": [
        ("", "TRANSACTION_POOLING", False),
        ("ON", "TRANSACTION_POOLING", True),
    ],
    "CACHE_URL": [
        ("", "CACHES['default']['LOCATION']", "cache"),
        ("redis://h", "CACHES['once']['LOCATION']", "cache"),
        ("dbcache://keys_cache", "CACHES['default']['LOCATION']", "keys_cache"),
        ("locmemcache://", "CACHES['default']['BACKEND'][-11:]", "LocMemCache"),
        ("redis://h", "REDIS", {"host": "h"}),
        ("redis://h:6380/3", "REDIS", {"host": "h", "port": 6380, "db": 3}),
        ("redis://[::1]", "REDIS", {"host": "::1"}),
        ("redis://my_redis/", "REDIS", {"host": "my_redis"}),
        ("redis://:$a,b;c%23%40%2F@h/0", "REDIS", {"host": "h", "password": "$a,b;c#@/", "db": 0}),
        ("redis://u:p@h?socket_timeout=2.5", "REDIS", {"username": "u", "password": "p", "socket_timeout": 2.5}),
        ("redis://h?retry_on_timeout=no", "REDIS", {"retry_on_timeout": False}),
        ("rediss://u:p@h:6380", "REDIS", {"host": "h", "port": 6380, "TLS": True}),
    ],
    "WEB_CONCURRENCY": [
        ("", "WEB_CONCURRENCY", 2),
        ("1", "WEB_CONCURRENCY", 1),
        (" 8 ", "WEB_CONCURRENCY", 8),
    ],
    "SERVER_HOSTS": [
        ("", "SERVER_HOSTS", 1),
        ("1", "SERVER_HOSTS", 1),
    ],
    "ACCESS_TOKEN_EXPIRE_SECONDS": [
        ("", "OAUTH2_PROVIDER['ACCESS_TOKEN_EXPIRE_SECONDS']", 3600),
        ("1", "OAUTH2_PROVIDER['ACCESS_TOKEN_EXPIRE_SECONDS']", 1),
    ],
    "API_CLIENTS_AT_MOST": [
        ("", "API_CLIENTS_AT_MOST", 200),
        ("1", "API_CLIENTS_AT_MOST", 1),
    ],
    "REAUTHENTICATION_TIMEOUT": [
        ("", "ACCOUNT_REAUTHENTICATION_TIMEOUT", 900),
        ("0", "ACCOUNT_REAUTHENTICATION_TIMEOUT", 0),
    ],
    "SESSION_COOKIE_AGE": [
        ("", "SESSION_COOKIE_AGE", 43200),
        ("60", "SESSION_COOKIE_AGE", 60),
    ],
    "SESSION_LIFETIME": [
        ("", "SESSION_LIFETIME", 86400),
        ("60", "SESSION_LIFETIME", 60),
    ],
    "CLIENT_FAILURES_PER_MINUTE": [
        ("", "CLIENT_FAILURES_PER_MINUTE", 20),
        ("1", "CLIENT_FAILURES_PER_MINUTE", 1),
    ],
    "ADDRESS_FAILURES_PER_MINUTE": [
        ("", "ADDRESS_FAILURES_PER_MINUTE", 60),
        ("1", "ADDRESS_FAILURES_PER_MINUTE", 1),
    ],
    "RATE_LIMITS": [
        ("", "RATE_LIMITS", True),
        ("Off", "RATE_LIMITS", False),
        (" 1 ", "RATE_LIMITS", True),
    ],
    "EMAIL_URL": [
        ("", "EMAIL_BACKEND", "airvantage_keys.logs.MailToLog"),
        ("smtp://h", "MAIL", ("h", 25, "", "", False, False)),
        ("smtp+tls://h", "MAIL", ("h", 587, "", "", True, False)),
        ("smtp+ssl://h/", "MAIL", ("h", 465, "", "", False, True)),
        ("smtps://h", "MAIL", ("h", 465, "", "", False, True)),
        ("smtp+tls://u:$p@h:2525", "MAIL", ("h", 2525, "u", "$p", True, False)),
        ("smtp+tls://u%40x.example:a%23b%25c%2Fd@h", "MAIL", ("h", 587, "u@x.example", "a#b%c/d", True, False)),
        ("smtp+tls://u@x.example:p@ss:w@h", "MAIL", ("h", 587, "u@x.example", "p@ss:w", True, False)),
        ("smtp://[::1]:26", "MAIL", ("::1", 26, "", "", False, False)),
        ("filemail:////tmp/a%23b", "EMAIL_FILE_PATH", "/tmp/a#b"),
        ("dummymail://", "EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend"),
    ],
    "EMAIL_TIMEOUT": [
        ("", "EMAIL_TIMEOUT", 10),
        ("1", "EMAIL_TIMEOUT", 1),
    ],
    "DEFAULT_FROM_EMAIL": [
        ("", "DEFAULT_FROM_EMAIL", "AirVantage Keys <no-reply@localhost>"),
        ("$ales <sales@keys.example>", "DEFAULT_FROM_EMAIL", "$ales <sales@keys.example>"),
        ("keys@keys.example", "SERVER_EMAIL", "keys@keys.example"),
        ('"Keys, Inc." <keys@keys.example>', "DEFAULT_FROM_EMAIL", '"Keys, Inc." <keys@keys.example>'),
        ("Schlüssel <keys@bücher.example>", "DEFAULT_FROM_EMAIL", "Schlüssel <keys@bücher.example>"),
    ],
    "LOG_LEVEL": [
        ("", "LOGGING['root']['level']", "INFO"),
        ("debug", "LOGGING['root']['level']", "DEBUG"),
        (" Warning ", "LOGGING['root']['level']", "WARNING"),
    ],
    "LOG_FORMAT": [
        ("", "LOGGING['formatters']['ours']['()']", "airvantage_keys.logs.LineFormatter"),
        ("json", "LOGGING['formatters']['ours']['()']", "airvantage_keys.logs.JsonFormatter"),
        (" Line ", "LOG_FORMAT", "LINE"),
    ],
    "LOG_CALLS": [
        ("", "LOG_CALLS", 1.0),
        ("0", "LOG_CALLS", 0.0),
        ("1.0", "LOG_CALLS", 1.0),
        (" 0.001 ", "LOG_CALLS", 0.001),
    ],
    "METRICS_HOST": [
        ("", "METRICS_HOST", "127.0.0.1"),
        ("[::1]", "METRICS_HOST", "::1"),
        ("192.0.2.7", "METRICS_HOST", "192.0.2.7"),
    ],
    "METRICS_PORT": [
        ("", "METRICS_PORT", 0),
        ("0", "METRICS_PORT", 0),
        ("9100", "METRICS_PORT", 9100),
    ],
    "DEBUG": [
        ("", "DEBUG", False),
        ("yes", "DEBUG", True),
        ("0", "DEBUG", False),
    ],
}

NO_NUMBERS = [
    "-1", "1.5", "1e3", "abc", "٣", "²", "0x10", "1_000", "1,000", "+5", "1 0", "None", "$PORT", "9" * 13, "9" * 5000,
]
NO_FLAGS = ["maybe", "banana", "2", "-1", "$DEBUG", "\u043e\u043d", "on off"]

BAD: dict[str, list[str]] = {
    "HOST": [
        "a b", "-", "a..b", "keys.example:80", "http://keys.example", "256.0.0.1", "[::1", "fe80::1%eth0", "$HOST",
        "bücher",
    ],
    "PORT": [*NO_NUMBERS, "0", "65536", "8o80"],
    "BASE_URL": [
        "keys.example", "https://", "ftp://keys.example", "$BASE_URL", "https://*", "https://.keys.example",
        "https://keys.example/", "https://keys.example/keys", "https://keys.example?", "https://keys.example#x",
        "https://user:hunter2@keys.example", "https://user@keys.example", "https://@keys.example",
        "https://keys.example:0", "https://keys.example:8o80", "https://keys.example:99999", "https://keys.example:",
        "https://keys.example:-1", "https://keys.example:٨٠", "http://keys.example:080", "https://keys.example:443",
        "http://keys.example:80", "HTTPS://keys.example", "https://Keys.example", "https://bücher.example",
        "https://\uff4beys.example", "https://keys .example", "https://keys_1.example", "https://keys.example.",
        "https://-k.example", "https://keys..example", f"https://{'k' * 64}.example", "https://[::1", "https://::1",
        "https://[::g]", "http://[::0001]", "https://[fe80::1%25eth0]", "http://127.1", "http://0x7f.1",
        "http://256.0.0.1", "https://keys.example\nx", "https:keys.example",
    ],
    "ALLOWED_HOSTS": [
        ",", "a b", "a;b", "https://a.example", "a.example:443", "[::1]:80", "*.example.com", "..a", ".::1",
        "bücher.example", "a_b", "$HOST", "['a']", "a/b",
    ],
    "TRUSTED_PROXIES": [*NO_NUMBERS, "101"],
    "SECRET_KEY": ["", "  ", "a\nb", "a\x07b", "a\udcffb"],
    "SECRET_KEY_FALLBACKS": ["a\nb", "a\x07b", "a\udcffb"],
    "DATABASE_URL": [
        "nonsense", "$DATABASE_URL", "://", "postgres:/h/db", "oracle5://user:hunter2@host/name",
        "oracle://user:hunter2@host/name", "mysql://user:hunter2@host/name", "mariadb://h/n", "mssql://h/n",
        "sqlite3:///x", "POSTGRES//h/db", "postgres://h", "postgres://h/", "postgres://u:hunter2%zz@h/db",
        "postgres://u:hunter2@x@h/db", "postgres://u:hunter2/x@h/db", "postgres://u:12/hunter2@h/db",
        "postgres://u:12?hunter2@h/db?x", "postgres://h:0/db", "postgres://h:99999/db", "postgres://h:8o80/db",
        "postgres://h/db?nonsense=1", "postgres://h/db#x", "postgres://u:hunter2 x@h/db", "postgres://[::1/db",
        "postgres://h/db?sslmode", "sqlite://", "sqlite:///", "sqlite://keys.sqlite3", "sqlite:///no/such/folder/db",
        "sqlite:////tmp/a#b", "sqlite:////tmp/a?b", "sqlite:////tmp/100%", "sqlite:////tmp",
        "sqlite:////etc/passwd", "sqlite:///README.md", "sqlite:///README.md/db", "sqlite:////tmp/x%00y",
        "sqlite:///x?timeout=5",
    ],
    "MAINTENANCE_DATABASE_URL": ["nonsense", "postgres://h", "postgres://u:hunter2@x@h/db", "postgres://h/db?nonsense=1"],
    "MEDIA_ROOT": ["README.md", "README.md/media", "/dev/null/media", "~/media", "a\nb"],
    "CONN_MAX_AGE": [*NO_NUMBERS, "none"],
    "TRANSACTION_POOLING": NO_FLAGS,
    "CACHE_URL": [
        "nonsense://user:hunter2@host", "$CACHE_URL", "redis", "redis:", "redis://", "redis://h/abc", "redis://h/0/1",
        "redis://h:0", "redis://h:99999", "redis://:hunter2#x@h", "redis://:hunter2/x@h", "redis://:12/hunter2@h",
        "redis://:hunter2%@h", "redis://a,b", "redis://h?nonsense=1", "redis://h?socket_timeout=x", "redis://h#0",
        "rediss://h?ssl_cert_reqs=nonsense", "valkey://h", "unix:///run/redis", "memcache://h", "filecache:///tmp/x",
        "dbcache://", "dbcache://a b", "dbcache://a;b", "locmem://", "locmemcache://x",
    ],
    "WEB_CONCURRENCY": [*NO_NUMBERS, "0", "1001", "auto"],
    "SERVER_HOSTS": [*NO_NUMBERS, "0"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": [*NO_NUMBERS, "an hour", "0", "999999999999"],
    "API_CLIENTS_AT_MOST": [*NO_NUMBERS, "0", "1.5"],
    "REAUTHENTICATION_TIMEOUT": [*NO_NUMBERS, "15m"],
    "SESSION_COOKIE_AGE": [*NO_NUMBERS, "59", "999999999999"],
    "SESSION_LIFETIME": [*NO_NUMBERS, "59", "999999999999"],
    "CLIENT_FAILURES_PER_MINUTE": [*NO_NUMBERS, "0"],
    "ADDRESS_FAILURES_PER_MINUTE": [*NO_NUMBERS, "0"],
    "RATE_LIMITS": NO_FLAGS,
    "EMAIL_URL": [
        "nonsense://user:hunter2@host", "$EMAIL_URL", "smtp", "smtp://", "h:25", "smtp://user@h", "smtp://:hunter2@h",
        "smtp://h:0", "smtp://h:99999", "smtp://u:hunter2#x@h", "smtp://u:hunter2/x@h", "smtp://u:12/hunter2@h",
        "smtp://u:hunter2%x@h", "smtp://u:hunter2?@h", "smtp://h/x", "smtp://h?use_tls=yes", "smtp://a,b",
        "smtp://a b", "smtp://u:pässwörd@h", "imap://h", "consolemail://x", "consolemail", "filemail://",
        "filemail:///",
    ],
    "EMAIL_TIMEOUT": [*NO_NUMBERS, "0"],
    "DEFAULT_FROM_EMAIL": [
        "nobody", "Keys", "Keys <keys>", "@keys.example", "keys@", "a@b@c", "Keys, Inc. <keys@keys.example>",
        "a@keys.example, b@keys.example", "Keys <keys@keys.example>\nBcc: all@keys.example",
        "Keys <keys@keys.example", "ü@keys.example", "$DEFAULT_FROM_EMAIL", "a b@keys.example",
    ],
    "LOG_LEVEL": ["nonsense", "$LOG_LEVEL", "10", "INFO DEBUG", "trace"],
    "LOG_FORMAT": ["nonsense", "$LOG_FORMAT", "logfmt", "line json", "1"],
    "LOG_CALLS": ["all", "on", "-1", "1.1", "2", "0,5", ".5", "50%", "1e-3", "nan", "inf"],
    "METRICS_HOST": ["nonsense host", "http://h", "h:1", "*", "$HOST"],
    "METRICS_PORT": [*NO_NUMBERS, "65536", "http"],
    "DEBUG": NO_FLAGS,
}
# fmt: on
