"""docs/operations.md: the commands and options that it tells to type are there."""

from __future__ import annotations

import re

import pytest
from django.core.management import get_commands, load_command_class

from .server import ROOT

TEXT = (ROOT / "docs/operations.md").read_text()
# A command with its options, in a line of its own or in the text.
TOLD = sorted(set(re.findall(r"(?:\bmanage|manage\.py) ([a-z]+)((?: +[^`|>\n]*)?)", TEXT)))


@pytest.mark.parametrize(("command", "arguments"), TOLD)
def test_a_command_that_is_told_exists_with_its_options(command, arguments):
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    for option in re.findall(r"--[a-z-]+", arguments):
        assert option in parser._option_string_actions, option


def test_it_tells_of_every_command_of_upkeep():
    ours = {path.stem for path in (ROOT / "profiles/management/commands").glob("[a-z]*.py")}
    assert ours - {command for command, _ in TOLD} == {"demodata"}
