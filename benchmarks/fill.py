"""python -m benchmarks.fill KEYS TOKENS [expired]: fill a prepared database by COPY; prints a sample as JSON.

In the product's own process, so that the rows have the columns and values its models give them.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import django

from . import report

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")
BATCH = 20_000
# Keys and tokens whose secrets are known. Few enough that recording the use of each once a minute does not matter.
SAMPLE = 200
HEAVY = "user@demo.example"  # has a tenth of the tokens


def fill(keys: int, tokens: int, *, expired: bool) -> dict[str, Any]:
    from django.db import connection
    from django.utils import timezone

    from profiles import credentials
    from profiles.models import AccessToken, Company, OAuthApplication, User

    now = timezone.now()
    company = Company.objects.get()
    first_user = _next_id(User)
    owner = User(name="Nobody", company=company, date_joined=now, key_version=1)
    owner.set_unusable_password()
    _copy(
        owner,
        ({"email": f"u{n:012x}@filled.example", "uid": f"{n:016x}{secrets.token_hex(8)}"} for n in range(keys)),
        keys,
        "users",
    )
    sample = min(SAMPLE, keys)
    known = [(secrets.token_hex(16), credentials.new_secret()) for _ in range(sample)]
    first_key = _next_id(OAuthApplication)

    def rows_of_keys() -> Iterator[dict[str, Any]]:
        every = max(1, keys // sample)
        for n in range(keys):
            number, own = divmod(n, every)
            # Roughly in the order of the index: a random order takes hours, with the same result.
            client_id, stored = f"{n:08x}{secrets.token_hex(12)}", f"sha256_client_secret$${secrets.token_hex(32)}"
            if own == 0 and number < sample:
                client_id, stored = known[number][0], credentials.stored_secret(known[number][1])
            yield {"user_id": first_user + n, "client_id": client_id, "client_secret": stored}

    key = OAuthApplication(secret_created=now, created=now, updated=now)
    _copy(key, rows_of_keys(), keys, "keys")

    heavy = User.objects.get(email=HEAVY)
    heavy_key = OAuthApplication.objects.filter(user=heavy).values_list("pk", flat=True).first() or 0
    expires = now - timedelta(hours=1) if expired else now + timedelta(days=7)
    real = [credentials.new_token() for _ in range(min(SAMPLE, tokens))]

    def rows_of_tokens() -> Iterator[dict[str, Any]]:
        for n in range(tokens - len(real)):
            digest = f"{n * 2**64 // tokens:016x}{secrets.token_hex(24)}"
            key_id, user_id = first_key + n * keys // tokens, first_user + n * keys // tokens
            if n % 10 == 0 and heavy_key:
                key_id, user_id = heavy_key, heavy.pk
            yield {"token_checksum": digest, "application_id": key_id, "user_id": user_id}
        for n, token in enumerate(real):
            yield {
                "token_checksum": credentials.digest(token),
                "application_id": first_key + n % keys,
                "user_id": first_user + n % keys,
            }

    token = AccessToken(scope="inherit", key_version=1, expires=expires, created=now, updated=now)
    _copy(token, rows_of_tokens(), tokens, "tokens")
    report.progress("VACUUM ANALYZE, CHECKPOINT")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    report.progress("")
    return {"keys": known, "tokens": real}


def _next_id(model: Any) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {model._meta.db_table}")  # noqa: S608, SLF001 - ours
        return int(cursor.fetchone()[0])


def _copy(prototype: Any, rows: Iterable[dict[str, Any]], number: int, what: str) -> None:
    """COPY rows that are like the prototype but for the columns given."""
    from django.db import connection

    fields = [field for field in prototype._meta.concrete_fields if not field.primary_key]  # noqa: SLF001 - documented
    columns = [field.column for field in fields]
    like = {field.column: field.get_db_prep_save(getattr(prototype, field.attname), connection) for field in fields}
    table = prototype._meta.db_table  # noqa: SLF001 - documented
    sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    rows = iter(rows)
    done = 0
    with connection.cursor() as cursor:
        while done < number:
            with cursor.copy(sql) as copy:
                for row in (next(rows) for _ in range(min(BATCH, number - done))):
                    copy.write_row([*{**like, **row}.values()])
                    done += 1
            report.bar(done, number, what)


def main() -> None:
    django.setup()
    keys, tokens, *rest = sys.argv[1:]
    sys.stdout.write(json.dumps(fill(int(keys), int(tokens), expired=rest == ["expired"])))


if __name__ == "__main__":
    main()
