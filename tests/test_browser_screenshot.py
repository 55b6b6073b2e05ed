"""The picture in the README. To make it anew: `SCREENSHOTS=docs script/test tests/test_browser_screenshot.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .browser import WIDE, open_dialog

pytestmark = pytest.mark.browser

MOST_BYTES = 200_000
MARGIN = 24  # of the page around the section, in pixels


def test_the_picture_of_a_created_key(visit, site, tmp_path):
    """The section just after Create. The secret in it is dead by the time the test ends."""
    person = visit(width=WIDE, height=900)
    page = person.open()
    made = person.create()
    section = page.locator("#api-key").bounding_box()
    foot = page.locator("#api-key .sample").first.bounding_box()
    assert section is not None
    assert foot is not None
    picture = Path(os.environ.get("SCREENSHOTS") or tmp_path) / "key-created.png"
    page.screenshot(
        path=picture,
        full_page=True,
        caret="hide",
        clip={
            "x": section["x"] - MARGIN,
            "y": section["y"] - MARGIN + page.evaluate("scrollY"),
            "width": section["width"] + 2 * MARGIN,
            "height": foot["y"] + foot["height"] - section["y"] + 2 * MARGIN,
        },
    )
    person.open()
    open_dialog(page, "delete").get_by_role("button", name="Confirm").click()
    page.get_by_text("was deleted on").wait_for()
    site.assert_refused(*made)
    assert 10_000 < picture.stat().st_size < MOST_BYTES
