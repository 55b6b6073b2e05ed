"""English and French: every word is in the catalogue, and pages, mails and the API speak the language they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from functools import cache
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import timezone, translation
from django.utils.html import escape

from profiles.clients import company, health, leaks, lifecycle
from profiles.clients.company import About
from profiles.mail import invitations
from profiles.models import (
    AccessProfile,
    ClientSecret,
    Company,
    KeyEvent,
    OAuthApplication,
    OldSecret,
    UsedFrom,
    UsedOn,
    User,
)
from profiles.origin import Origin
from profiles.policy import Policy

from . import test_client_notices as notices_of_clients
from .conftest import PASSWORD, KeyPair, make_client, make_token, sign_in
from .page import CHECK, CREATE, DELETE, END_OLD, PROFILE, REGENERATE, Response, html, text_of, version
from .routes import PROGRAMS, addresses
from .test_notices import parts

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


# To be pasted: it is in English, comments and all.
PROGRAM = re.compile(r'<code[^>]* lang="en">.*?</code>', re.DOTALL)


@cache
def english_words() -> tuple[str, ...]:
    """All that French has other words for and that is of two words at least; around what is filled in, of three."""
    parts = set()
    for entry in french():
        for english, translated in said(entry).items():
            pieces = [piece.strip() for piece in FIXED.split(english)]
            least = 1 if len(pieces) == 1 else 2
            parts |= {part for part in pieces if part.count(" ") >= least and part not in translated}
    return tuple(sorted(parts))


def english_in(text: str) -> list[str]:
    return [english for english in english_words() if english in text]


def assert_in_french(response: Response, *shown: str) -> None:
    """The page says all of `shown`, and nothing that the catalogue has other words for."""
    assert response.status_code < 500
    assert '<html lang="fr"' in html(response)
    for words_shown in shown:
        assert escape(words_shown) in html(response), (response.request["PATH_INFO"], words_shown)
    assert english_in(text_of(PROGRAM.sub("", html(response)))) == [], response.request["PATH_INFO"]


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


def lay_down(**what: object) -> None:
    Company.objects.update(policy=str(Policy(**what)))  # type: ignore[arg-type]


def use(pair: KeyPair) -> None:
    """As if it took a token for each call, and once from somewhere else."""
    now = timezone.now()
    UsedOn.objects.create(application=pair.key, day=now.date(), tokens=200, calls=200)
    UsedFrom.objects.create(application=pair.key, address="203.0.113.7", user_agent="curl/8", last_used=now)


def leak(pair: KeyPair) -> None:
    leaks.end([leaks.Found(pair.secret)], origin=Origin(None, KeyEvent.Via.REPORT, "203.0.113.7", "curl/8"))


def test_what_is_said_of_use_policy_and_leak_of_a_key_is_french_too(client, user, key):
    User.objects.update(language="fr")
    sign_in(client, user)
    use(key)
    lay_down(days=90, networks=("203.0.113.0/24",))
    used = (
        "200 jetons d’accès dans les 30 derniers jours",
        "200 appels ont été faits avec eux",
        "Vous n’êtes pas averti",
    )
    assert_in_french(client.get(PROFILE), *used, "sont valables 90 jours", "Réseaux autorisés")
    lay_down(no_keys=True)
    assert_in_french(client.get(PROFILE), "Votre société n’autorise pas les clés d’API personnelles.")
    assert_in_french(client.get(REGENERATE), "Rien n’a été fait\u202f: votre société n’autorise pas")
    assert_in_french(client.post(CHECK, {"secret": key.secret}), "Elle est refusée\u202f: votre société")
    ClientSecret.objects.update(created=timezone.now() - timedelta(days=2))
    lay_down(days=1)
    assert_in_french(client.get(PROFILE), "La clé secrète a plus d’un jour", "sont refusés depuis le")
    assert_in_french(client.post(CHECK, {"secret": key.secret}), "que ne l’autorise votre société (1 jour)")
    lay_down()
    leak(key)
    leaked = "Clé divulguée\u202f: à régénérer", "Clé secrète signalée comme divulguée", "Par un signalement"
    assert_in_french(client.get(PROFILE), *leaked)
    assert_in_french(client.get("/accounts/activity/"), "Par un signalement de divulgation")


CLIENTS = "/develop/api/clients/"


@pytest.fixture
def manager_in_french(client, manager):
    """Who may do everything to the API Clients of a company, and chose French; `client` is their browser."""
    User.objects.update(language="fr")
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    sign_in(client, manager)
    return manager


def test_the_pages_for_a_new_api_client_are_french_too(client, manager_in_french, client_profile, settings):
    assert_in_french(client.get(PROFILE), "Clients API")
    nothing = "Votre société n’a pas de Clients API.", "Une clé d’API personnelle agit au nom d’une personne"
    assert_in_french(client.get(CLIENTS), "Clients API de Fleet Ltd", *nothing)
    form = {"version": 0, "name": "Nocturne", "note": "", "access_profile": client_profile.uid}
    new = f"{CLIENTS}create/"
    fields = "Profil d’accès", "Choisissez-en un", "Note (facultative)", "Flux", "«\u202fExport nocturne\u202f»"
    assert_in_french(client.get(new), "Créer un Client API", *fields)
    wrong = "Saisissez un nom.", "Choisissez un profil d’accès."
    assert_in_french(client.post(new, {"version": 0}), *wrong)
    gone = client.post(new, {**form, "name": "a\x00b", "note": "a\x00b", "access_profile": "0" * 32})
    assert_in_french(gone, "Écrivez-le sans caractères de contrôle.", "Ce profil d’accès n’existe plus")
    assert_in_french(client.post(new, form), "Le Client API a été créé", "montrée qu’à vous, Mia Manager")
    assert_in_french(client.post(new, form), "Vous avez créé «\u202fNocturne\u202f»", "Aller à «\u202fNocturne\u202f»")
    form["version"] = KeyEvent.objects.latest("id").pk
    assert_in_french(client.post(new, form), "Un autre Client API de votre société porte ce nom.")
    settings.API_CLIENTS_AT_MOST = 1
    assert_in_french(client.post(new, {**form, "name": "Autre"}), "Votre société a 1 Clients API")


def test_the_pages_of_an_api_client_are_french_too(client, manager_in_french, api_client, client_profile, settings):
    page = f"{CLIENTS}{api_client.client_id}/"

    def sent(action: str, **more: object) -> Response:
        changed = KeyEvent.objects.filter(client_id=api_client.client_id).latest("id")
        return client.post(f"{page}{action}/", {"version": changed.pk, **more}, follow=True)

    row = "Profil d’accès", "Dernière utilisation", "Jamais", "Créé par", "État", "Activé"
    assert_in_french(client.get(CLIENTS), *row, "Événements récents", "Client API créé")
    assert_in_french(client.get(f"{CLIENTS}?q=zz"), "Rechercher", "Nom ou Client ID", "Aucun Client API n’a cela")
    facts = (
        "Il agit au nom de la société",
        "Flux",
        "Identifiants",
        "Clé secrète montrée à",
        "Un client désactivé",
    )
    assert_in_french(client.get(page), *facts, "Comment utiliser ce Client API", "Modifier", "Vous êtes ici")
    for action, shown in {
        "edit": "Modifier le Client API",
        "regenerate": "Régénérer la clé secrète\u202f?",
        "end-old": "Rien n’a été fait",
        "disable": "Désactiver ce Client API\u202f?",
        "enable": "Rien n’a été fait\u202f: ce Client API est déjà activé.",
        "delete": "Supprimer ce Client API\u202f?",
        "check": "savoir si elle appartient à ce Client API",
    }.items():
        assert_in_french(client.get(f"{page}{action}/"), shown)
    assert_in_french(sent("check", secret="avc_"), "Ce n’est pas une clé secrète de ce Client API")
    assert_in_french(sent("edit", name="", access_profile=client_profile.uid), "Saisissez un nom.")
    more = AccessProfile.objects.create(name="Autre", rights=["entities.systems.view"])
    edited = sent("edit", name="Autre", note="Oui", access_profile=more.uid)
    assert_in_french(edited, "Le Client API a été enregistré.", "; profil d’accès: Integration → Autre; note")
    assert_in_french(sent("regenerate", old_secret="24h"), "L’ancienne clé secrète fonctionne jusqu’au")
    assert_in_french(client.get(f"{page}end-old/"), "Invalider l’ancienne clé secrète maintenant\u202f?")
    assert_in_french(sent("end-old"), "L’ancienne clé secrète a été invalidée le")
    old = KeyEvent.objects.filter(action=KeyEvent.Action.EDITED).latest("id").pk
    assert_in_french(client.post(f"{page}disable/", {"version": old}), "L’ancienne clé secrète de ce")
    assert_in_french(sent("disable"), "Le Client API a été désactivé le", "Ce Client API est désactivé.")
    assert_in_french(client.get(CLIENTS), "Désactivé", "Client API désactivé")
    assert_in_french(
        client.get(f"{page}enable/"), "Activer ce Client API\u202f?", "«\u202fAutre\u202f» est de nouveau accepté"
    )
    assert_in_french(client.get(f"{page}disable/"), "ce Client API est déjà désactivé.")
    assert_in_french(sent("enable"), "Le Client API a été activé le")
    assert_in_french(sent("delete"), "Le Client API «\u202fAutre\u202f» a été supprimé le", "Client API supprimé")


@pytest.mark.parametrize("gone", ["inactive", "deleted"])
def test_who_knows_a_secret_and_has_left_is_told_in_french(client, manager_in_french, user, client_profile, gone):
    user.access_profile = manager_in_french.access_profile
    user.save()
    pair = make_client(user, client_profile)
    if gone == "deleted":
        user.delete()
    else:
        User.objects.filter(pk=user.pk).update(is_active=False)
    who = "à quelqu’un qui n’est plus là" if gone == "deleted" else "à Uma User, qui n’est plus là"
    known = "Quelqu’un qui n’est plus là connaît une clé secrète qui fonctionne encore."
    assert_in_french(client.get(CLIENTS), known, f"{who}\u202f: à régénérer")
    page = f"{CLIENTS}{pair.client_id}/"
    assert_in_french(client.get(page), f"a été montrée {who}.", "jusqu’à ce qu’elle soit régénérée.")
    made = {"company": manager_in_french.company, "client_id": pair.client_id}
    by_manager = Origin(actor=manager_in_french, via=KeyEvent.Via.CLIENTS)
    company.regenerate(**made, old_secret=OldSecret.DAY, origin=by_manager)
    assert_in_french(client.get(CLIENTS), who, "Invalidez l’ancienne clé secrète.")
    assert_in_french(client.get(page), f"a été montrée {who}.", "Invalidez-la dès que vos applications")
    ClientSecret.objects.update(ended=True, ends=timezone.now())
    assert_in_french(client.get(CLIENTS), "Sans clé secrète valide")


def test_pages_of_the_list_of_api_clients_are_french_too(client, manager_in_french, client_profile):
    for number in range(26):
        make_client(manager_in_french, client_profile, f"Export {number}")
    assert_in_french(client.get(CLIENTS), "1 à 25 sur 26", "Suivants")
    assert_in_french(client.get(f"{CLIENTS}?page=2"), "26 à 26 sur 26", "Précédents")


ADMIN = "/admin/profiles/"
ADMIN_CLIENTS = f"{ADMIN}oauthapplication/"


@pytest.fixture
def staff_in_french(client, admin_user):
    """A browser of a superuser."""
    client.force_login(admin_user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "fr"
    return client


def test_the_admin_site_shows_both_kinds_in_french(staff_in_french, manager, user, key, api_client):
    make_token(key)
    make_token(api_client)
    about = About("Nightly export", "", AccessProfile.objects.create(name="Autre", rights=[]))
    by_manager = Origin(actor=manager, via=KeyEvent.Via.CLIENTS)
    company.edit(company=manager.company, client_id=api_client.client_id, about=about, origin=by_manager)
    edited = f"keyevent/{KeyEvent.objects.latest('id').pk}/change/"
    filters = ("Clés personnelles", "Clients API des sociétés", "Sans clé secrète valide", "clé secrète montrée à")
    actions = ("Désactiver les Clients API sélectionnés…", "Ne plus autoriser les Clients API sélectionnés")
    for path, shown in {
        "oauthapplication/": ("Clés et Clients API", "À qui", "État", "Activé", *filters, *actions),
        f"oauthapplication/{key.key.pk}/change/": ("Révoquer…", "Propriétaire", "État"),
        f"oauthapplication/{api_client.key.pk}/change/": ("Désactiver…", "Peut inspecter les jetons", "Créé par"),
        "accesstoken/": ("À qui", "nom du Client API"),
        "keyevent/": ("Client API créé", "profil d’accès: Integration → Autre"),
        edited: ("Client API modifié", "profil d’accès: Integration → Autre"),
        "company/": ("Clients API", "Active"),
        f"company/{user.company.pk}/change/": ("ses Clients API sont refusés aussitôt",),
        "accessprofile/add/": ("Voir les Clients API", "Supprimer des Clients API"),
    }.items():
        assert_in_french(staff_in_french.get(ADMIN + path), *shown)
    # Permissions have Django's names, which are English in every language.
    page = html(staff_in_french.get(f"{ADMIN}user/{user.pk}/change/"))
    assert "Les Clients API de la société continuent de fonctionner." in page


@pytest.mark.parametrize(
    ("deed", "of_one", "of_two", "done"),
    [
        ("disable", "Désactiver ce Client API", "Désactiver ces Clients API", "a été désactivé."),
        ("introspect", "Autoriser ce Client API", "Autoriser ces Clients API", "peut désormais inspecter"),
        ("no-introspect", "Ne plus autoriser ce", "Ne plus autoriser ces", "que ses propres jetons."),
        ("revoke", "Révoquer ce client", "Révoquer ces clients", "a été révoqué."),
    ],
)
def test_what_staff_do_to_api_clients_is_asked_and_told_in_french(
    staff_in_french, manager, key, api_client, client_profile, deed, of_one, of_two, done
):
    second = make_client(manager, client_profile, "Second")
    OAuthApplication.objects.update(may_introspect=deed == "no-introspect")

    def act(*pairs: KeyPair) -> Response:
        form = {"key": [pair.key.pk for pair in pairs], "reason": "Divulgué"}
        return staff_in_french.post(f"{ADMIN_CLIENTS}{deed}/", form, follow=True)

    one, two = f"{ADMIN_CLIENTS}{deed}/?key={api_client.key.pk}", f"&key={second.key.pk}"
    assert_in_french(staff_in_french.get(one), of_one, "Les clients choisis", "À qui")
    assert_in_french(staff_in_french.get(one + two), of_two)
    assert_in_french(act(api_client), done)
    if deed == "revoke":
        assert_in_french(act(api_client), "1 des clients choisis n’existait déjà plus.")
        assert_in_french(act(), "Aucun client n’a été choisi.")
        assert_in_french(staff_in_french.get(f"{ADMIN}keyevent/"), "Client API révoqué par un administrateur")
    else:
        assert_in_french(act(api_client), "1 client a été laissé de côté")
        assert_in_french(staff_in_french.get(f"{ADMIN_CLIENTS}{api_client.key.pk}/history/"))


def test_staff_are_told_in_french_what_somebody_knows_who_leaves(staff_in_french, manager, api_client):
    known = "clé secrète montrée à Mia Manager, qui n’est plus là\u202f: à régénérer"
    asked = staff_in_french.get(f"{ADMIN}user/{manager.pk}/delete/")
    assert_in_french(asked, "Quelqu’un que vous supprimez connaît une clé secrète valide", known)
    form = {"action": "deactivate", "_selected_action": [manager.pk]}
    done = staff_in_french.post(f"{ADMIN}user/", form, follow=True)
    assert_in_french(done, "Quelqu’un qui n’est plus là connaît", known, "Tous")
    assert_in_french(staff_in_french.get(f"{ADMIN_CLIENTS}{api_client.key.pk}/change/"), known)


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


def test_key_health_and_policies_are_french_in_the_admin_site(staff_in_french, user, key, api_client, monkeypatch):
    monkeypatch.setattr(health, "LOOKED_THROUGH_AT_MOST", -1)  # so that the upkeep has to look
    assert_in_french(
        staff_in_french.get("/admin/"), "Santé des clés", "Sans aucune utilisation", "Pas encore recherché"
    )
    use(key)
    leak(api_client)
    filters = "Par santé", "Clé secrète divulguée et non régénérée", "Jamais"
    assert_in_french(staff_in_french.get(ADMIN_CLIENTS), *filters)
    assert_in_french(staff_in_french.get(f"{ADMIN_CLIENTS}{key.key.pk}/change/"), "Utilisation et adresses", "Santé")
    page = f"{ADMIN}company/{user.company.pk}/change/"
    assert_in_french(staff_in_french.get(page), "Politique d’accès à l’API", "Âge maximal d’une clé secrète")
    form = {"name": "Fleet Ltd", "is_active": "on", "no_keys": "on"}
    assert_in_french(staff_in_french.post(page, form), "Cette politique refuse aussitôt\u202f: 1 clé personnelle.")
    assert_in_french(staff_in_french.post(page, {**form, "networks": "x"}), "Ceci n’est pas un réseau\u202f: x.")


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


@pytest.mark.parametrize("action", [*notices_of_clients.BY_PEOPLE, *notices_of_clients.BY_STAFF])
def test_mails_about_api_clients_are_french_too(
    manager, user, admin_user, api_client, action, mailoutbox, django_capture_on_commit_callbacks
):
    user.access_profile = manager.access_profile
    user.save()
    User.objects.update(language="fr")
    manager.refresh_from_db()
    AccessProfile.objects.create(name="Strong.example", rights=[])
    if action in notices_of_clients.BEFORE:
        notices_of_clients.do(notices_of_clients.BEFORE[action], api_client, manager, admin_user)
    with django_capture_on_commit_callbacks(execute=True):
        notices_of_clients.do(action, api_client, manager, admin_user)
    assert sorted(mail.to for mail in mailoutbox) == [[manager.email], [user.email]]
    for mail in mailoutbox:
        assert "Client API de votre société" in mail.subject
        for text in parts(mail):
            assert english_in(" ".join(text.split())) == []
            assert "parce que vous vous occupez de Clients API de votre société" in text
            assert ("profil d’accès: Integration → Strong example" in text) == (action == "edited")


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
