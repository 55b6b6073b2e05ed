"""English and French: every word is in the catalogue, and pages, mails and the API speak the language they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation
from django.utils.html import escape

from profiles.clients import lifecycle
from profiles.mail import invitations
from profiles.models import KeyEvent, User
from profiles.origin import Origin

from .conftest import PASSWORD, sign_in
from .page import CHECK, CREATE, DELETE, END_OLD, PROFILE, REGENERATE, Response, html, version, words
from .routes import PROGRAMS, addresses

CATALOGUE = Path(settings.BASE_DIR) / "locale" / "fr" / "LC_MESSAGES" / "django.po"
SOURCES = ("airvantage_keys", "profiles", "templates", "locale")
IN_FRENCH = {"Accept-Language": "fr"}


def french() -> polib.POFile:
    return polib.pofile(str(CATALOGUE))


def said(entry: polib.POEntry) -> dict[str, str]:
    """What is said in place of each form of a message."""
    if not entry.msgid_plural:
        return {entry.msgid: entry.msgstr}
    return {entry.msgid: entry.msgstr_plural[0], entry.msgid_plural: entry.msgstr_plural[1]}


# --- The catalogue ----------------------------------------------------------------------------------------


def test_the_catalogue_has_every_word_of_the_source_and_no_other(tmp_path):
    if shutil.which("xgettext") is None:
        pytest.skip("no GNU gettext")
    for name in SOURCES:
        shutil.copytree(settings.BASE_DIR / name, tmp_path / name)
    shutil.copy(settings.BASE_DIR / "manage.py", tmp_path)
    command = "manage.py makemessages --locale fr --no-location --no-wrap --no-obsolete --verbosity 0"
    subprocess.run([sys.executable, *command.split()], cwd=tmp_path, env=os.environ, check=True)
    collected = polib.pofile(str(tmp_path / CATALOGUE.relative_to(settings.BASE_DIR)))
    there = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in french()}
    wanted = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in collected}
    assert wanted - there == set(), "run makemessages and translate: docs/operations.md"
    assert there - wanted == set()


def test_every_word_is_translated():
    assert [entry.msgid for entry in french() if entry.obsolete or entry.fuzzy or not all(said(entry).values())] == []


def test_what_is_compiled_is_what_is_written():
    compiled = {(e.msgctxt, e.msgid): said(e) for e in polib.mofile(str(CATALOGUE.with_suffix(".mo")))}
    assert compiled == {(e.msgctxt, e.msgid): said(e) for e in french()}, "run compilemessages: docs/operations.md"


# What is filled in, and what is markup.
FIXED = re.compile(r"%\(\w+\)[sd]|%[sd%]|<[^>]*>")


def test_translations_keep_what_is_filled_in_and_the_markup():
    for entry in french():
        for english, translated in said(entry).items():
            assert Counter(FIXED.findall(translated)) == Counter(FIXED.findall(english)), english
            assert [len(text) - len(text.strip()) for text in (english, translated)] in ([0, 0], [2, 2]), english


def test_translations_are_set_as_french_is():
    """Curved apostrophes, and a narrow space that does not break before what stands apart from its word."""
    for entry in french():
        for text in (FIXED.sub("x", translated) for translated in said(entry).values()):
            assert "'" not in text, text
            assert not re.search(r"[^\u202f](?:[;?!»]|:(?=\s|$))|«[^\u202f]", text), text


# --- Pages ------------------------------------------------------------------------------------------------


def assert_in_french(response: Response, *shown: str) -> None:
    """The page says all of `shown`, and nothing that the catalogue has other words for."""
    assert response.status_code < 500
    assert '<html lang="fr"' in html(response)
    text = words(response)
    for words_shown in shown:
        assert escape(words_shown) in html(response), (response.request["PATH_INFO"], words_shown)
    for entry in french():
        for english, translated in said(entry).items():
            if " " in english.strip() and "%" not in english and "<" not in english and english not in translated:
                assert english not in text, (response.request["PATH_INFO"], english)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/accounts/login/", ("Se connecter", "Adresse e-mail", "Mot de passe oublié")),
        ("/accounts/password/reset/", ("Réinitialiser votre mot de passe",)),
        ("/accounts/password/reset/done/", ("Consultez votre messagerie",)),
        ("/accounts/signup/", ("Les comptes sont créés par les administrateurs",)),
        ("/accounts/inactive/", ("Ce compte n’est pas actif",)),
        ("/profile/email/nonsense/", ("Cette page n’existe pas",)),
    ],
)
def test_a_french_browser_gets_french_pages(client, path, shown):
    assert_in_french(client.get(path, headers=IN_FRENCH), *shown)


def test_wrong_input_is_told_in_french(client, user):
    wrong = client.post("/accounts/login/", {"login": user.email, "password": "x"}, headers=IN_FRENCH)
    assert_in_french(wrong, "L’adresse e-mail ou le mot de passe sont incorrects.")
    malformed = client.post("/accounts/login/", {"login": "nobody", "password": "x"}, headers=IN_FRENCH)
    assert_in_french(malformed, "Saisissez une adresse e-mail valide.")


def test_whoever_chose_french_gets_it_on_every_page_of_theirs(client, user, access_profile):
    User.objects.update(language="fr")
    sign_in(client, user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    access_profile.rights = ["entities.systems.view"]
    access_profile.save()
    assert_in_french(client.get(PROFILE), "Profil utilisateur", "Entités", "Voir les systèmes", "Créer")
    assert_in_french(client.post(CREATE, {"version": version(user)}), "La clé secrète ne s’affiche qu’une fois")
    assert_in_french(client.get(PROFILE), "Clé d’API personnelle", "se termine par", "Dernier événement", "Clé créée")
    assert_in_french(client.get(REGENERATE), "Régénérer la clé secrète\u202f?", "Annuler")
    assert_in_french(client.get(DELETE), "Supprimer votre clé d’API personnelle\u202f?", "Confirmer")
    chosen = {"version": version(user), "old_secret": "24h"}
    assert_in_french(client.post(REGENERATE, chosen), "L’ancienne clé secrète fonctionne jusqu’au")
    assert_in_french(client.get(PROFILE), "L’ancienne clé secrète fonctionne encore", "S’arrête dans 24 heures")
    assert_in_french(client.get(END_OLD), "Invalider l’ancienne clé secrète maintenant\u202f?", "Invalider maintenant")
    assert_in_french(client.get(CHECK), "Vérifier une clé secrète", "Clé secrète à vérifier")
    assert_in_french(client.post(CHECK, {"secret": "avs_"}), "Ce n’est pas une clé secrète de cette clé")
    assert_in_french(client.get("/profile/edit/"), "Fuseau horaire", "Océan Indien", "Allemagne")
    assert_in_french(client.get("/profile/email/"), "Changer d’adresse e-mail")
    assert_in_french(client.get("/profile/picture/"), "Changer la photo")
    assert_in_french(client.get("/accounts/mfa/"), "Activer l’authentification multifacteur\u202f?")
    assert_in_french(client.get("/accounts/mfa/totp/"), "Saisissez ensuite le code")
    assert_in_french(client.get("/accounts/password/change/"), "Changer votre mot de passe", "15 caractères")
    assert_in_french(client.get("/accounts/logout/"), "Votre clé continue de fonctionner")


def test_the_admin_site_is_french_too(client, admin_user, key):
    client.force_login(admin_user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "fr"
    for path, shown in {
        "user/": "Dernière connexion (UTC)",
        "company/add/": "Authentification multifacteur exigée",
        "oauthapplication/": "Jetons actifs",
        f"oauthapplication/{key.key.pk}/change/": "Révoquer…",
        "keyevent/": "Clé créée",
        "accessprofile/add/": "Voir les règles d’alerte",
    }.items():
        assert_in_french(client.get(f"/admin/profiles/{path}"), shown)


# --- Mails ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("language", "subject", "text"),
    [
        ("fr", "Votre clé d’API personnelle a été créée", "Définissez un nouveau mot de passe\u202f:"),
        ("", "Your personal API access key was created", "Set a new password:"),
    ],
)
def test_owners_are_mailed_in_their_language(user, mailoutbox, language, subject, text):
    user.language = language
    # Whatever the language of the page: it may be an administrator's, or that of the thread's last page.
    with translation.override("en" if language else "fr"):
        lifecycle.create(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    (mail,) = mailoutbox
    assert mail.subject == subject
    assert text in mail.body
    assert f'<html lang="{language or "en"}">' in mail.alternatives[0].content


def test_invitations_and_mails_of_sign_in_are_in_the_language_of_who_reads_them(client, user, mailoutbox):
    User.objects.update(language="fr")
    user.refresh_from_db()
    invitations.send(user)
    client.post("/accounts/password/reset/", {"email": user.email}, headers={"Accept-Language": "en"})
    user.email_codes = True
    user.save()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD}, headers={"Accept-Language": "en"})
    assert [mail.subject for mail in mailoutbox] == [
        "Votre compte AirVantage Keys",
        "Définissez un nouveau mot de passe pour AirVantage Keys",
        "Votre code de connexion à AirVantage Keys",
    ]
    assert "Bonjour Uma User," in mailoutbox[0].body


def test_a_browser_decides_for_whoever_has_not_chosen(client, user, mailoutbox):
    client.post("/accounts/password/reset/", {"email": user.email}, headers=IN_FRENCH)
    assert mailoutbox[0].subject == "Définissez un nouveau mot de passe pour AirVantage Keys"


# --- The API ----------------------------------------------------------------------------------------------


def test_the_api_speaks_english_whatever_page_the_thread_showed_before(client, db):
    paths = ["/api/docs", "/api/openapi.json", "/api/nothing", *addresses(*PROGRAMS)]
    with translation.override("en"):
        before = [client.get(path).content for path in paths]
        refused = client.post("/api/oauth/token", {"grant_type": "client_credentials"})
    with translation.override("fr"):  # as a page leaves its thread
        after = [client.get(path, headers=IN_FRENCH).content for path in paths]
        refused_after = client.post("/api/oauth/token", {"grant_type": "client_credentials"}, headers=IN_FRENCH)
    assert before == after
    assert refused.content == refused_after.content
    assert all(b"View alert rules" in page for page in after[:2])
    assert b'<html lang="en"' in after[0]
