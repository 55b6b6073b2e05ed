"""Events that the database itself refuses to change: triggers on their tables, on SQLite and on PostgreSQL.

Rows are added and stay. One change is allowed, because it is what deleting a user does: the links to the owner and to
the actor become NULL, and nothing else of the row changes. Everything else is refused, whoever asks: UPDATE, DELETE,
PostgreSQL's TRUNCATE, and on SQLite a REPLACE, which deletes the old row.

The triggers are set after every `migrate`, and not by a migration: on SQLite a migration that alters a table makes it
anew, without its triggers. A migration that has to change events calls `lift` before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register  # noqa: A004
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

TABLES = ("profiles_keyevent", "profiles_accountevent")
LINKS = ("owner_id", "actor_id")
TRIGGER = "events_append_only"
REFUSAL = "Events are never changed or deleted."

POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
        AND (NEW.owner_id IS NULL OR NEW.owner_id = OLD.owner_id)
        AND (NEW.actor_id IS NULL OR NEW.actor_id = OLD.actor_id)
        AND to_jsonb(NEW) - 'owner_id' - 'actor_id' = to_jsonb(OLD) - 'owner_id' - 'actor_id'
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation';
END;
$$
"""


def protect(connection: BaseDatabaseWrapper) -> None:
    """Set the triggers that are missing, on the tables that there are."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL_FUNCTION)
        for table in _unprotected(connection):
            for name, statement in _triggers(connection, table).items():
                if connection.vendor == "sqlite":
                    cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                cursor.execute(statement)
                if connection.vendor == "postgresql":
                    # Also in a session that plays back changes (session_replication_role), which skips the others.
                    cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def lift(connection: BaseDatabaseWrapper) -> None:
    """Remove the triggers, until the end of the next `migrate`."""
    with connection.cursor() as cursor:
        for table in _tables(connection):
            for name in _triggers(connection, table):
                on = f" ON {table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")


def protect_after_migrate(using: str, **kwargs: Any) -> None:
    protect(connections[using])


@register("database")
def check(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """`manage.py check --database default`: whether a trigger is missing or switched off."""
    unprotected = [table for using in databases or () for table in _unprotected(connections[using])]
    return [
        Warning(f"The rows of {table} can be changed.", hint="Run manage.py migrate.", id="profiles.W001")
        for table in unprotected
    ]


def _unprotected(connection: BaseDatabaseWrapper) -> list[str]:
    tables = _tables(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgenabled = 'A'")  # A: ENABLE ALWAYS
            there = {name for (name,) in cursor.fetchall()}
            return [table for table in tables if not _triggers(connection, table).keys() <= there]
        # Compare the SQL: a trigger from before a new column does not protect that column.
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        made = cursor.fetchall()
    return [table for table in tables if not _triggers(connection, table).items() <= set(made)]


def _tables(connection: BaseDatabaseWrapper) -> list[str]:
    there = connection.introspection.table_names()
    return [table for table in TABLES if table in there]


def _triggers(connection: BaseDatabaseWrapper, table: str) -> dict[str, str]:
    """The triggers of a table by their names, each with the statement that makes it."""
    row, whole = f"{table}_append_only", f"{table}_no_truncate"
    if connection.vendor == "postgresql":
        make = "CREATE OR REPLACE TRIGGER"
        run = f"EXECUTE FUNCTION {TRIGGER}()"
        return {
            row: f"{make} {row} BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {run}",
            whole: f"{make} {whole} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {run}",
        }
    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
    same = [f"NEW.{name} IS OLD.{name}" for name in columns if name not in LINKS]
    same += [f"(NEW.{name} IS NULL OR NEW.{name} IS OLD.{name})" for name in LINKS]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    is_there = f"NEW.id IN (SELECT id FROM {table})"  # noqa: S608 - a table's name
    return {
        f"{table}_no_update": f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
        f"WHEN NOT ({' AND '.join(same)}) {refuse}",
        f"{table}_no_delete": f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        f"{table}_no_replace": f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {is_there} {refuse}",
    }
