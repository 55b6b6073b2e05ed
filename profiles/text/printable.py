"""Text for a line of a terminal or a log, which no character in it can begin, end or change (CWE-117)."""

import unicodedata


def printable(text: str) -> str:
    """The text in one line, without control sequences for a terminal: other characters as Python escapes them."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # a space of some kind
        return character
    return character.encode("unicode_escape").decode()
