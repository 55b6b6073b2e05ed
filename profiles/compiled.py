"""Queries that are compiled once.

The ORM makes the SQL of a query anew each time that it is run. For what every page reads, that took as long as
rendering the page, and several times as long as the database takes. Here it is made at the first run in a process; each
run puts its values into it, and gives what the ORM would: objects, with what `select_related` and `annotate` add.

It uses what Django does not document: a query's compiler, and what makes objects of its rows. `tests/test_compiled.py`
tells whether another version will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

M = TypeVar("M", bound=Model)


class Given(Expression):
    """In a query that is compiled, the place of a value that each run is given by this name.

    It may not be None: SQL does not say `= NULL`. `field` has the type of the value.
    """

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        return "%s", [self]


class _Compiler(SQLCompiler):
    """A compiler that has made its SQL, and now only fills in values."""

    made: tuple[str, tuple[Any, ...]]
    values: Mapping[str, Any]

    def as_sql(self, *args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = self.made
        return sql, tuple(self._filled(it) if isinstance(it, Given) else it for it in parameters)

    def _filled(self, place: Given) -> Any:
        return place.output_field.get_db_prep_value(self.values[place.name], self.connection)


class CompiledQuery(Generic[M]):
    """A query with a `Given` in place of each value that changes. `build` is called at the first run."""

    def __init__(self, build: Callable[[], QuerySet[M]]) -> None:
        self._build = build

    @cached_property
    def _compiler(self) -> _Compiler:
        compiler = _Compiler(self._build().query, connections[DEFAULT_DB_ALIAS], DEFAULT_DB_ALIAS)
        compiler.made = SQLCompiler.as_sql(compiler)
        del compiler.connection  # each run has that of its thread
        return compiler

    def run(self, **values: Any) -> list[M]:
        compiler = copy(self._compiler)
        compiler.connection = connections[DEFAULT_DB_ALIAS]
        compiler.values = values
        # All that is asked of a query set here.
        query = SimpleNamespace(get_compiler=lambda using: compiler)
        rows = SimpleNamespace(db=DEFAULT_DB_ALIAS, query=query, _known_related_objects={})
        return list(ModelIterable(cast("QuerySet[M]", rows)))
