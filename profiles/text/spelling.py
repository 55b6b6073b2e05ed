"""Normal forms for what people write in different ways: names, e-mail addresses, passwords, phone numbers.

For each kind there is a function that brings a text to its normal form and never refuses, so that every look-up uses
the stored form; and, except for passwords, one that refuses what nobody may have. The classes in `fields` call both.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

import idna
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

# Longer than any text of these kinds. The time to compose grows with the square of the number of marks on one
# letter: a form with a million of them would keep a thread busy for an hour.
_LENGTH_AT_MOST = 1000


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text) if len(text) <= _LENGTH_AT_MOST else text


# --- Names ------------------------------------------------------------------------------------------------

# White space except what ends a line. `\s` alone would take in line breaks and control characters, too.
_BLANK = r"[^\S\x0a-\x0d\x1c-\x1f\x85\u2028\u2029]"
_blanks = re.compile(f"{_BLANK}+")
# They have no width and mean nothing in a name; texts copied from pages are full of them.
_WITHOUT_WIDTH = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))
# They also reverse the order of the text beside the name (Trojan Source, CVE-2021-42574).
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, line and paragraph separators, surrogates.
_NO_TEXT = frozenset(("Cc", "Zl", "Zp", "Cs"))
# Letters and symbols by category, but invisible: Hangul fillers, an empty Braille cell, a null notehead.
_EMPTY = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")


def name(value: str) -> str:
    """The name in Unicode's form C, without white space around it, and with one space for any within."""
    return _blanks.sub(" ", _composed(value.translate(_WITHOUT_WIDTH))).strip(" ")


def validate_name(value: str) -> None:
    """Refuse a name that cannot be seen or that would break out of its line.

    Joiners (U+200C, U+200D) and marks are part of Indic and Persian names and of emoji: they may stand beside what can
    be seen.
    """
    if any(unicodedata.category(each) in _NO_TEXT or each in _DIRECTIONS for each in value):
        raise ValidationError(_("Write it in one line, without control characters."), code="unprintable")
    if not any(unicodedata.category(each)[0] in "LNPS" and each not in _EMPTY for each in value):
        raise ValidationError(_("Write something that can be seen."), code="invisible")


def note(value: str) -> str:
    """A text of several lines in Unicode's form C, with one kind of line break and no white space around it."""
    return _composed(value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def validate_note(value: str) -> None:
    """Refuse what would not be seen, or break out of its place."""
    if any(unicodedata.category(each) in _NO_TEXT or each in _DIRECTIONS for each in value.replace("\n", "")):
        raise ValidationError(_("Write it without control characters."), code="unprintable")


def folded(value: str) -> str:
    """The text without regard to case, for searching and ordering: Unicode's default case folding, in form C.

    The databases differ here: SQLite folds ASCII alone, PostgreSQL what the locale of the database says. Accents
    count, and no language has rules of its own: "ß" is "ss", "İ" is "i" with a dot above.
    """
    return _composed(_composed(value).casefold())


# --- E-mail addresses -------------------------------------------------------------------------------------

# It cannot begin like an option or a formula, and has no character with a meaning for a shell or a mail server.
_is_local_part = re.compile(r"(?=.{1,64}\Z)[a-z0-9_][a-z0-9_'&=#~/+-]*(\.[a-z0-9_'&=#~/+-]+)*", re.ASCII).fullmatch
_is_domain = re.compile(r"[a-z0-9.-]+", re.ASCII).fullmatch


def address(value: str) -> str:
    """The e-mail address in lower case, its domain in ASCII (IDNA 2008, mapped as browsers do by UTS 46).

    That is the form that browsers send, mail servers take and databases compare alike, and nothing in it looks like
    something else. Without such a form it is left as it is: `validate_address` refuses it, and a look-up finds nobody.
    """
    local, at, domain = _composed(value.strip()).rpartition("@")
    return f"{local.lower()}@{_ascii(domain)}" if at else domain.lower()


def _ascii(domain: str) -> str:
    if not domain.isascii():
        with suppress(UnicodeError):  # not a domain; or too long for one, which is refused at once
            domain = idna.encode(domain, uts46=True).decode()
    return domain.lower()


def validate_address(value: str) -> None:
    """Refuse what is not an e-mail address, and unusual forms that no mail program makes.

    Django's check accepts quoted local parts, IP addresses for a domain, and before the @ four letters that are
    the upper or lower case of others, so that one person would get another's mail.
    """
    validate_email(value)
    local, _at, domain = value.rpartition("@")
    if not _is_local_part(local):
        raise ValidationError(
            _(
                "Before the @, an address may have the letters a to z, digits and . _ - + ' & = # ~ / only. It begins "
                "with a letter, a digit or _."
            ),
            code="local_part",
        )
    try:
        # Punycode labels (xn--) must be in their one valid form.
        written_right = _is_domain(domain) and all(
            idna.ulabel(label) for label in domain.split(".") if label.startswith("xn--")
        )
    except UnicodeError:
        written_right = False
    if not written_right:
        raise ValidationError(_("What stands after the @ is not the name of a domain."), code="domain")


# --- Passwords --------------------------------------------------------------------------------------------


def password(value: str) -> str:
    """The password in Unicode's form C (NIST SP 800-63B-4 section 3.1.1.2): a keyboard makes "é" of one code or two."""
    return _composed(value)


# --- Phone numbers ----------------------------------------------------------------------------------------

# Spaces and dashes of all kinds, dots, and the direction marks that are copied along with a number.
_between_digits = re.compile(
    rf"{_BLANK}|[.\-\u00ad\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
# Where the 0 before a city is dialled from abroad, too, so that "(0)" can mean either.
_KEEP_THEIR_ZERO = ("+39", "+378", "+379")
_is_phone_number = re.compile(r"(\+[1-9])[0-9]{0,18}", re.ASCII).fullmatch


def phone_number(value: str) -> str:
    """The number in its international form, without what is written between digits to read them more easily.

    "(0)" after the country is the 0 that is not dialled from abroad. What could be meant in two ways is left as it is,
    for `validate_phone_number` to refuse: who knows from which country "00" or "011" leads out?
    """
    plain = _between_digits.sub("", value)
    if not plain.startswith(_KEEP_THEIR_ZERO):
        plain = plain.replace("(0)", "", 1)
    if "(0" in plain:
        return plain
    return re.sub(r"\(([^()]*)\)", r"\1", plain)


def validate_phone_number(value: str) -> None:
    if not _is_phone_number(value):
        raise ValidationError(
            _("Write the number in its international form: + and the country first, such as +33 1 23 45 67 89."),
            code="invalid",
        )
