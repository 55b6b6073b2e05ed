"""Which room may use which: what keeps the rules of the domain apart from the doors that lead to them.

The rooms are the folders and modules of `profiles`. A rule holds for imports anywhere in a file, those in functions and
for type checkers included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOORS = {"account", "admin", "api", "management", "oauth", "pages"}


@dataclass(frozen=True)
class Rule:
    """What the modules of some rooms may not import; where `only` is given, that is all of `profiles` but these."""

    rooms: set[str]
    why: str
    never: frozenset[str] | set[str] = frozenset()
    only: frozenset[str] | set[str] = frozenset()

    def forbids(self, room: str, imported: str) -> bool:
        if room not in self.rooms or imported == room:
            return False
        return imported not in self.only if self.only else imported in self.never


RULES = [
    Rule(
        {"models"},
        "Models are the ground: what they need knows nothing of them, so that nothing goes round in a circle.",
        only={"credentials", "rights", "text"},
    ),
    Rule(
        {"credentials", "policy", "rights", "text"},
        "They are rules about values: usable without a database, and before Django's models are there.",
        only={"credentials", "rights", "text"},
    ),
    Rule(
        {"statements"},
        "How a statement is sent has nothing to do with what it says.",
        only={"statements"},
    ),
    Rule(
        {"clients"},
        "The life of a key is the same by whatever door it is changed, so it knows neither doors nor HTTP.",
        never=DOORS | {"http"},
    ),
    Rule(
        {"batches", "compiled", "origin", "reach", "events", "mail", "http", "limits"},
        "What several doors use knows none of them: else a change of one door could change another.",
        never=DOORS,
    ),
    Rule(
        {"account", "pages"},
        "Pages are for people and their sessions; the errors and shapes of programs are those of the API alone.",
        never={"api", "oauth"},
    ),
    Rule(
        {"api", "oauth"},
        "A program needs neither session nor page; what it does not import cannot open a door to it (ASVS 3.5.1).",
        never={"account", "admin", "pages"},
    ),
]

# (who, what is imported) -> why it is so all the same. One that is not there any more must leave this list.
EXCEPTIONS = {
    ("profiles.api.views", "profiles.account.session_store"): "a browser sends no token for the picture on a page",
    (
        "profiles.api.pictures",
        "profiles.account.pictures",
    ): "who sees a picture: one rule for both",
}


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules below this folder but migrations, by their dotted names."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if ".migrations." not in name:
            yield name, ast.parse(path.read_text())


def matching(pattern: re.Pattern[str], *folders: str) -> set[str]:
    """The files below these folders in which the pattern is found."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in paths if pattern.search(path.read_text())}


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """All that a module imports, with full names: `from ..http import errors` is `profiles.http.errors`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    return [*name.split("."), ""][1]


def broken(rule: Rule) -> list[tuple[str, str]]:
    """Who imports what against a rule, the exceptions included."""
    return [
        (name, imported)
        for name, tree in modules("profiles")
        for imported in imports(name, tree)
        if imported.startswith("profiles.") and rule.forbids(room_of(name), room_of(imported))
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(sorted(rule.rooms)))
def test_the_rooms_keep_to_their_rules(rule):
    assert [one for one in broken(rule) if one not in EXCEPTIONS] == [], rule.why


def test_each_exception_is_still_needed():
    assert set(EXCEPTIONS) <= {one for rule in RULES for one in broken(rule)}


def test_each_room_of_a_rule_is_there():
    rooms = {room_of(name) for name, _ in modules("profiles")}
    assert {room for rule in RULES for room in {*rule.rooms, *rule.never, *rule.only}} <= rooms


def test_the_project_imports_the_application_and_never_the_reverse():
    """`airvantage_keys` puts the application together: it has to know `profiles`, which then must do without it."""
    found = [(name, it) for name, tree in modules("profiles") for it in imports(name, tree) if "airvantage_keys" in it]
    assert found == []


def test_query_strings_and_forms_of_programs_are_parsed_in_one_place():  # security 37, 39, 47
    """Two parsers would come to differ in what they refuse, and what one lets pass the other could act on."""
    reads = re.compile(r"\b(parse_qsl?|QueryDict|QUERY_STRING)\b|\brequest\.(GET|POST|body|read)\b")
    assert matching(reads, "profiles/api", "profiles/http", "profiles/oauth") == {"profiles/http/parameters.py"}


def test_events_are_stored_in_one_place():  # security 59
    """Else one could miss who did it, or have no line in the log."""
    stored = re.compile(r"(Key|Account)Event\.objects\.\w*create|force_insert")
    assert matching(stored, "profiles") == {"profiles/events/record.py"}


def test_the_walk_sees_every_way_to_import():
    text = """
from __future__ import annotations
import a.b
from .. import credentials
from . import near
from ..models import User
from profiles.api import views
if TYPE_CHECKING:
    from .other import Type
def function():
    from ...far import it
"""
    assert set(imports("profiles.account.mfa.pages", ast.parse(text))) == {
        "__future__.annotations",
        "a.b",
        "profiles.account.credentials",
        "profiles.account.mfa.near",
        "profiles.account.models.User",
        "profiles.api.views",
        "profiles.account.mfa.other.Type",
        "profiles.far.it",
    }
