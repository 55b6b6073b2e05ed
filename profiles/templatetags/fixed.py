"""Tags that give the same at every rendering, or the same in each language: found once, and then kept.

The settings put them in the place of Django's own `translate`, `url` and `static`, which look up the same texts and
addresses at every request, some eighty on My Profile. `icon` is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.template import Context, Library, Node, TemplateSyntaxError, defaulttags
from django.template.base import Parser, TextNode, Token
from django.templatetags import i18n, static
from django.utils.translation import get_language

register = Library()
# This also stands for these libraries of Django's, so it has all of theirs.
for library in (i18n.register, static.register):
    register.tags.update(library.tags)
    register.filters.update(library.filters)


class Fixed(Node):
    """What another node gives, found once for each language."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._found: dict[str | None, str] = {}

    def render(self, context: Context) -> str:
        language = get_language()
        if language not in self._found:
            self._found[language] = self._node.render(context)
        return self._found[language]


def fixed(tag: Callable[[Parser, Token], Node]) -> Callable[[Parser, Token], Node]:
    """This tag of Django's, fixed where it is given one text in quotes and nothing else.

    So an address is one without arguments, and the site is mounted at the root: it cannot change.
    """

    def compile_tag(parser: Parser, token: Token) -> Node:
        node = tag(parser, token)
        _name, *given = token.split_contents()
        return Fixed(node) if len(given) == 1 and _is_constant(given[0]) else node

    return compile_tag


def _is_constant(text: str) -> bool:
    """Whether this is a text in quotes, without a filter."""
    quote = text[0]
    return quote in "\"'" and text.endswith(quote) and quote not in text[1:-1]


register.tag("translate", fixed(i18n.do_translate))
register.tag("trans", fixed(i18n.do_translate))
register.tag("url", fixed(defaulttags.url))
register.tag("static", fixed(static.do_static))


@register.tag
def icon(parser: Parser, token: Token) -> Node:
    """`{% icon "key" %}`: a drawing of `templates/icons`, as it is."""
    _name, of = token.split_contents()
    if not _is_constant(of):
        raise TemplateSyntaxError("The tag icon takes a name in quotes.")
    return TextNode((settings.BASE_DIR / "templates" / "icons" / f"{of[1:-1]}.svg").read_text(encoding="utf-8"))
