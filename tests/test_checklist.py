"""`docs/checklist.md` and the tests say the same: what is promised has a test, and what a test names is promised."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A comment such as `# page 8; security 30, 55`, which may go on after that.
COMMENT = re.compile(r"# (?:security|page) \d.*")
LINES = re.compile(r"(security|page) (\d+(?:, \d+)*)")


def promised() -> Iterator[tuple[str, int]]:
    kind = ""
    for line in (ROOT / "docs" / "checklist.md").read_text().splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ").lower()
        elif number := re.match(r"(\d+)\. ", line):
            yield kind, int(number[1])


def named() -> set[tuple[str, int]]:
    source = "".join(path.read_text() for path in (ROOT / "tests").glob("**/*.py"))
    comments = " ".join(COMMENT.findall(source))
    return {(kind, int(number)) for kind, numbers in LINES.findall(comments) for number in numbers.split(", ")}


def test_each_line_stands_once_and_in_order():
    lines = list(promised())
    assert lines == sorted(set(lines), key=lambda line: (line[0] == "page", line[1]))


@pytest.mark.parametrize("kind", ["security", "page"])
def test_each_line_has_a_test_that_names_it(kind):
    assert {line for line in promised() if line[0] == kind} - named() == set()


def test_each_line_that_a_test_names_is_promised():
    assert named() - set(promised()) == set()
