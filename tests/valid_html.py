"""What is wrong with the HTML of a page: errors of the standard's parser, and violations of "ARIA in HTML".

Browsers repair malformed HTML, each differently. And ARIA must not repeat what an element already expresses: a script
would have to keep it correct, and assistive technology trusts it even when it is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import html5lib
from html5lib.constants import E as MESSAGES

# ARIA attribute -> the elements, or the attributes of elements, that already express it.
NATIVE = {
    "aria-checked": {"input"},
    "aria-disabled": {"[disabled]"},
    "aria-expanded": {"summary", "[popovertarget]"},
    "aria-haspopup": {"[popovertarget]"},
    "aria-hidden": {"[hidden]"},
    "aria-level": {"h1", "h2", "h3", "h4", "h5", "h6"},
    "aria-modal": {"dialog"},
    "aria-multiselectable": {"select"},
    "aria-placeholder": {"[placeholder]"},
    "aria-readonly": {"[readonly]"},
    "aria-required": {"[required]"},
    "aria-selected": {"option"},
    "aria-valuemax": {"input", "meter", "progress"},
    "aria-valuemin": {"input", "meter", "progress"},
    "aria-valuenow": {"input", "meter", "progress"},
}
# The implicit role of an element.
ROLES = {
    "a": "link",
    "article": "article",
    "aside": "complementary",
    "button": "button",
    "details": "group",
    "dialog": "dialog",
    "fieldset": "group",
    "figure": "figure",
    "footer": "contentinfo",
    "form": "form",
    "h1": "heading",
    "h2": "heading",
    "h3": "heading",
    "h4": "heading",
    "header": "banner",
    "hr": "separator",
    "img": "img",
    "li": "listitem",
    "main": "main",
    "nav": "navigation",
    "ol": "list",
    "option": "option",
    "output": "status",
    "p": "paragraph",
    "progress": "progressbar",
    "search": "search",
    "section": "region",
    "select": "combobox",
    "table": "table",
    "tbody": "rowgroup",
    "td": "cell",
    "textarea": "textbox",
    "th": "columnheader",
    "thead": "rowgroup",
    "tr": "row",
    "ul": "list",
}
# Attributes that refer to other elements of the page by id.
REFERENCES = (
    "aria-controls",
    "aria-describedby",
    "aria-details",
    "aria-errormessage",
    "aria-labelledby",
    "aria-owns",
    "for",
    "form",
    "headers",
    "list",
    "popovertarget",
)
# aria-label is only for roles that can have a name.
NAMELESS = {"b", "code", "dd", "div", "dt", "em", "i", "p", "span", "strong"}
INTERACTIVE = {"a", "button", "details", "input", "label", "select", "textarea"}
HTML = "{http://www.w3.org/1999/xhtml}"

Element = Any  # of xml.etree


def problems(page: str, *, part: bool = False) -> list[str]:
    """The problems of a whole page, or of a fragment of one (`part`)."""
    parser = html5lib.HTMLParser()
    root = parser.parseFragment(page, container="div") if part else parser.parse(page)
    malformed = [f"{place}: {MESSAGES[code] % values}" for place, code, values in parser.errors]
    return malformed + list(_of_elements(list(_elements(root)), part=part))


def _elements(root: Element) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """Each element as (tag, attributes, the tags around it)."""

    def below(element: Element, around: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
        for child in element:
            if isinstance(child.tag, str):  # a comment has none
                tag = child.tag.removeprefix(HTML)
                yield tag, dict(child.attrib), around
                yield from below(child, (*around, tag))

    return below(root, ())


def _of_elements(found: list[tuple[str, dict[str, str], tuple[str, ...]]], *, part: bool) -> Iterator[str]:
    ids = Counter(its["id"] for _, its, _ in found if "id" in its)
    yield from (f"id {name!r} is used {count} times" for name, count in ids.items() if count > 1)
    for tag, its, around in found:
        shown = f"<{tag} {' '.join(f'{name}={value!r}' for name, value in its.items())}>"
        yield from (f"{shown}: {problem}" for problem in _of_element(tag, its, around))
        if not part:
            named = {name: id_ for name in REFERENCES for id_ in its.get(name, "").split() if name in its}
            yield from (f"{shown}: there is no {id_!r}" for id_ in named.values() if id_ not in ids)


def _of_element(tag: str, its: dict[str, str], around: tuple[str, ...]) -> Iterator[str]:
    is_ = {tag, *(f"[{name}]" for name in its)}
    yield from (f"{name} repeats what the element already expresses" for name in its if is_ & NATIVE.get(name, set()))
    yield from (f"{name} is refused by browsers" for name in its if name == "style" or name.startswith("on"))
    if its.get("role") == ROLES.get(tag, "none of these"):
        yield "has this role implicitly"
    if "aria-label" in its and tag in NAMELESS and "role" not in its:
        yield "cannot have a name"
    if its.get("aria-hidden") == "true" and (tag in INTERACTIVE or "tabindex" in its):
        yield "is hidden, but can have the focus"
    if tag in INTERACTIVE and tag != "label" and INTERACTIVE & set(around) - {"details", "label"}:
        yield f"is interactive, within {around}"
    if int(its.get("tabindex", 0)) > 0:
        yield "has a positive tabindex"


def assert_valid(page: str, *, part: bool = False) -> None:
    found = [re.sub(r"\s+", " ", problem)[:300] for problem in problems(page, part=part)]
    assert found == [], "\n".join(found)
