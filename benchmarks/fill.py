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
from django.db.models.expressions import DatabaseDefault

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
    from profiles.models import AccessToken, ClientSecret, Company, OAuthApplication, User

    now = timezone.now()
    company = Company.objects.get()
    first_user = _next_id(User)
    owner = User(name="Nobody", company=company, date_joined=now)
    owner.set_unusable_password()
    _copy(
        owner,
        ({"email": f"u{n:012x}@filled.example", "uid": f"{n:016x}{secrets.token_hex(8)}"} for n in range(keys)),
        keys,
        "users",
    )
    sample = min(SAMPLE, keys)
    known = [(secrets.token_hex(16), credentials.new_secret()) for _ in range(sample)]
    every = max(1, keys // sample)
    # In the order of the index, as far as that goes: otherwise the filling takes hours, and ends the same.
    client_ids = [f"{n:08x}{secrets.token_hex(12)}" for n in range(keys)]
    client_ids[: sample * every : every] = [client_id for client_id, _ in known]
    first_key = _next_id(OAuthApplication)
    _copy(
        OAuthApplication(),
        ({"user_id": first_user + n, "client_id": client_id} for n, client_id in enumerate(client_ids)),
        keys,
        "keys",
    )

    first_secret = _next_id(ClientSecret)

    def rows_of_secrets() -> Iterator[dict[str, Any]]:
        for n, client_id in enumerate(client_ids):
            number, own = divmod(n, every)
            digest = f"{n * 2**64 // keys:016x}{secrets.token_hex(24)}"
            if own == 0 and number < sample:
                digest = credentials.digest(known[number][1])
            key = {"application_id": first_key + n, "client_id": client_id, "shown_to_id": first_user + n}
            yield {**key, "digest": digest}

    # They have been used, for they have tokens.
    _copy(ClientSecret(hint="0000", created=now, first_used=now), rows_of_secrets(), keys, "secrets")

    heavy = User.objects.get(email=HEAVY)
    heavy_secret = ClientSecret.objects.filter(application__user=heavy).first()
    expires = now - timedelta(hours=1) if expired else now + timedelta(days=7)
    real = [credentials.new_token() for _ in range(min(SAMPLE, tokens))]

    def of(n: int) -> dict[str, int]:
        return {"application_id": first_key + n, "user_id": first_user + n, "secret_id": first_secret + n}

    def rows_of_tokens() -> Iterator[dict[str, Any]]:
        for n in range(tokens - len(real)):
            digest = f"{n * 2**64 // tokens:016x}{secrets.token_hex(24)}"
            row = {"token_checksum": digest, **of(n * keys // tokens)}
            if n % 10 == 0 and heavy_secret:
                row |= {
                    "application_id": heavy_secret.application_id,
                    "user_id": heavy.pk,
                    "secret_id": heavy_secret.pk,
                }
            yield row
        for n, token in enumerate(real):
            yield {"token_checksum": credentials.digest(token), **of(n % keys)}

    _copy(AccessToken(scope="inherit", expires=expires), rows_of_tokens(), tokens, "tokens")
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
    values = {field: field.pre_save(prototype, add=True) for field in fields}
    like = {
        field.column: field.get_db_prep_save(value, connection)
        for field, value in values.items()
        if not isinstance(value, DatabaseDefault)
    }
    table = prototype._meta.db_table  # noqa: SLF001 - documented
    sql = f"COPY {table} ({', '.join(like)}) FROM STDIN"
    rows = iter(rows)
    done = 0
    with connection.cursor() as cursor:
        # Those of the migrations keep the columns of the version before; the rows that they would change twice are not
        # to be measured.
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        while done < number:
            with cursor.copy(sql) as copy:
                for row in (next(rows) for _ in range(min(BATCH, number - done))):
                    copy.write_row([*{**like, **row}.values()])
                    done += 1
            report.bar(done, number, what)
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def main() -> None:
    django.setup()
    keys, tokens, *rest = sys.argv[1:]
    sys.stdout.write(json.dumps(fill(int(keys), int(tokens), expired=rest == ["expired"])))


if __name__ == "__main__":
    main()
