"""Tags that are found once give what Django's own give, whatever the language and what is around them."""

import re

import pytest
from django.conf import settings
from django.core import checks
from django.template import Context, Engine, Node
from django.utils import translation

from profiles.templatetags import fixed

FOLDER = settings.BASE_DIR / "templates"
LANGUAGES = ("en", "fr", "en")
LOAD = "{% load i18n static %}"
TAGS = [
    '{% translate "Sign out" %}',
    "{% trans 'Sign out' %}",
    '{% translate "Sign out"|upper %}',
    '{% translate "Sign out"|default:"Menu" %}',
    '{% translate "Sign out" as text %}{{ text }}',
    '{% translate "Sign out" noop %}',
    '{% translate "Sign out" context "nowhere" %}',
    '{% translate "No such text: 100% <b>" %}',
    "{% translate word %}",
    "{% blocktranslate with address=word %}from {{ address }}{% endblocktranslate %}",
    '{% url "profile" %}',
    '{% url "admin:index" %}',
    '{% url "profile" as address %}{{ address }}',
    '{% url "mfa_passkey_remove" number %}',
    "{% url name %}",
    '{% static "css/site.css" %}',
    "{% static path %}",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.get_default()


@pytest.fixture(scope="module")
def plain() -> Engine:
    """Django's own tags."""
    return Engine(libraries={name: f"django.templatetags.{name}" for name in ("i18n", "static")})


CONTEXTS = [
    {"word": "Menu", "number": 1, "name": "profile", "path": "css/site.css"},
    {"word": "<Sign out>", "number": 2, "name": "mfa_index", "path": "js/site.js"},
]


@pytest.mark.parametrize("tag", TAGS)
def test_each_gives_what_django_gives(engine, plain, tag):
    ours, theirs = engine.from_string(LOAD + tag), plain.from_string(LOAD + tag)
    for language in LANGUAGES:
        for values in CONTEXTS:
            with translation.override(language):
                assert ours.render(Context(values)) == theirs.render(Context(values))


def test_a_text_follows_the_language(engine):
    template = engine.from_string(LOAD + '{% translate "Sign out" %}')
    found = []
    for language in LANGUAGES:
        with translation.override(language):
            found.append(template.render(Context()))
    assert found == ["Sign out", "Se déconnecter", "Sign out"]


@pytest.mark.parametrize("tag", ['translate "Sign out"', 'url "profile"', 'static "css/site.css"'])
def test_it_is_found_once_for_each_language(engine, monkeypatch, tag):
    found = []

    class Counted(Node):
        def __init__(self, node):
            self.node = node

        def render(self, context):
            found.append(translation.get_language())
            return self.node.render(context)

    (node,) = engine.from_string("{% load i18n static %}{% " + tag + " %}").nodelist[1:]
    monkeypatch.setattr(node, "_node", Counted(node._node))
    for language in LANGUAGES:
        with translation.override(language):
            node.render(Context())
    assert found == ["en", "fr"]


def test_an_icon_is_its_drawing(engine):
    assert engine.from_string('{% icon "key" %}').render(Context()) == (FOLDER / "icons" / "key.svg").read_text()


def test_an_icon_that_is_not_there_is_found_when_its_template_is_first_used(engine):
    with pytest.raises(FileNotFoundError):
        engine.from_string('{% icon "nothing" %}')


def test_each_icon_is_there_and_used():
    pages = "".join(path.read_text() for path in FOLDER.rglob("*.html"))
    assert set(re.findall(r'{% icon "([^"]*)" %}', pages)) == {path.stem for path in (FOLDER / "icons").iterdir()}


def test_what_is_not_one_text_in_quotes_is_not_fixed():
    for text in ("name", '"a"|upper', '"a"|default:"b"', "1", "'a", "\"a'"):
        assert not fixed._is_constant(text)
    for text in ('"a"', "'a'", '"a|b"', '"it\'s"', '""'):
        assert fixed._is_constant(text)


def test_no_other_library_takes_the_name_of_one():
    """The settings silence Django's warning, which is meant for a name that is taken by accident."""
    warnings = [it.msg for it in checks.run_checks() if it.id == "templates.W003"]
    assert [text.split("'")[1] for text in warnings] == ["i18n", "static"]
