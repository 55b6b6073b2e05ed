"""The names of the routes of operations: each has its own, though it is made of the path."""

from __future__ import annotations

from types import ModuleType

import pytest

from profiles.api.operation import public
from profiles.http import calls
from profiles.http.calls import Answer, Call
from profiles.http.operations import routes


def module(*paths: str) -> ModuleType:
    """A module that declares an operation at each path."""
    made = ModuleType("profiles.api.some")
    for number, path in enumerate(paths):

        def function(call: Call) -> Answer:
            return calls.json({})

        function.__module__ = made.__name__
        setattr(made, f"get_{number}", public(path, summary="Some", shape=dict)(function))
    return made


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/users", "api-users"),
        ("/api/v1/users/{uid}", "api-users-uid"),
        ("/api/v1/users/{uid}/picture", "api-users-uid-picture"),
        ("/api/v1/users/picture", "api-users-picture"),
        ("/api/openapi.json", "api-openapi"),
        ("/api/oauth/token", "oauth-token"),
    ],
)
def test_a_name_is_made_of_the_path_and_its_parameters(path, name):
    assert [route.name for route in routes(module(path))] == [name]


def test_two_operations_with_the_same_name_stop_the_start():
    with pytest.raises(ValueError, match="api-users-uid"):
        routes(module("/api/v1/users/{uid}"), module("/api/v1/users/uid"))
