"""What a notice says, in the language of its reader: its words by what happened, and the facts of the event.

It holds no secret, because none is passed to this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from ..models import BY_TIME, AccountEvent, Event, KeyEvent, OldSecret, UnsentNotice

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Fact: TypeAlias = "tuple[_StrPromise, str | _StrPromise]"  # its label and its value

_ACCOUNT_USED = _("If this was not you, somebody else is using your account:")
_UNEXPECTED = _("If you did not expect this, ask your administrator. You can act at once:")
_PASSWORD_KNOWN = _("If this was not you, somebody else knows your password:")
_OTHERS_END = _("All other browsers are signed out.")
_ALL_END = _("All browsers are signed out.")


@dataclass(frozen=True, slots=True)
class Words:
    subject: _StrPromise
    effect: _StrPromise
    # What it did to the owner's browsers, if anything.
    browsers: _StrPromise | str = ""
    # What to do on My Profile if this was a surprise, and in which part of it; "" if there is nothing to do there.
    remedy: _StrPromise | str = ""
    section: str = "api-key"
    # Whether this address can still get a link for a new password: the former address cannot.
    reset: bool = True
    # What comes before the remedy, where somebody else did it.
    lead: _StrPromise = _UNEXPECTED
    # The sentence for the case that it was not the owner.
    otherwise: _StrPromise = _ACCOUNT_USED


# Done by somebody who was not signed in, and may be the owner.
_NOT_SIGNED_IN = {AccountEvent.Action.SIGN_IN_FAILED, AccountEvent.Action.MFA_STOPPED}


# Their detail is what a stranger wrote.
LEAKS = {KeyEvent.Action.LEAKED, KeyEvent.Action.OLD_SECRET_LEAKED, KeyEvent.Action.TOKEN_LEAKED}

# Ways that no user goes: what came by them tells where from, and not who.
_BY_NO_USER = {Event.Via.OAUTH, Event.Via.REPORT}
_BY: dict[str, _StrPromise] = {
    Event.Via.PAGE: _("you, on the page My Profile"),
    Event.Via.CLIENTS: _("you, on the page API Clients"),
    Event.Via.ADMIN: _("you, in the admin site"),
    Event.Via.REPORT: _("whoever found it"),
    Event.Via.OAUTH: _("the first use of the new secret key"),
}

# By action, of either kind of event. What is not here is not mailed.
WORDS: dict[str, Words] = {
    KeyEvent.Action.CREATED: Words(
        subject=_("Your personal API access key was created"),
        effect=_("Whoever has its Client ID and its secret key can use the API as you, with your rights."),
        remedy=_("Delete the key; that ends every access token too:"),
    ),
    KeyEvent.Action.REGENERATED: Words(
        subject=_("The secret key of your personal API access key was regenerated"),
        effect=_(
            "The old secret key, and every access token obtained with it, is refused from now on. The Client ID "
            "stays the same."
        ),
        remedy=_("Regenerate the secret key again, or delete the key; that ends every access token too:"),
    ),
    KeyEvent.Action.OLD_SECRET_ENDED: Words(
        subject=_("The old secret key of your personal API access key was ended"),
        effect=_(
            "The old secret key, and every access token obtained with it, is refused from now on. The new one goes on "
            "working."
        ),
        remedy=_("Regenerate the secret key again, or delete the key; that ends every access token too:"),
    ),
    KeyEvent.Action.DELETED: Words(
        subject=_("Your personal API access key was deleted"),
        effect=_("The key, and every access token obtained with it, is refused from now on."),
    ),
    KeyEvent.Action.REVOKED: Words(
        subject=_("Your personal API access key was revoked by an administrator"),
        effect=_("The key, and every access token obtained with it, is refused from now on."),
    ),
    KeyEvent.Action.LEAKED: Words(
        subject=_("The secret key of your personal API access key was found by somebody, and has been ended"),
        effect=_(
            "Somebody found the secret key and reported it as leaked. It, and every access token obtained with it, is "
            "refused from now on. If an old secret key was to work for a while, it still does, unless it was found "
            "too. The key and its Client ID stay. Find out where the secret key could be read, and take it away there; "
            "the recent events of the key and its last use tell whether somebody else used it."
        ),
        remedy=_("Regenerate the secret key, to use the key again:"),
    ),
    KeyEvent.Action.OLD_SECRET_LEAKED: Words(
        subject=_("The old secret key of your personal API access key was found by somebody, and has been ended"),
        effect=_(
            "Somebody found the old secret key, which still worked, and reported it as leaked. It, and every access "
            "token obtained with it, is refused from now on. The new one goes on working. Find out whether it could be "
            "read in the same place."
        ),
        remedy=_("If the new one was there too, regenerate the secret key:"),
    ),
    KeyEvent.Action.TOKEN_LEAKED: Words(
        subject=_("An access token of your personal API access key was found by somebody, and has been ended"),
        effect=_(
            "Somebody found an access token and reported it as leaked. It is refused from now on. The secret key goes "
            "on working, and so does every other access token. Find out where the token could be read, and whether "
            "the secret key was there too. There are at most three such mails in 24 hours; the recent events on the "
            "page tell the rest."
        ),
        remedy=_("If in doubt, regenerate the secret key; that ends every access token too:"),
    ),
    KeyEvent.Action.NEW_ADDRESS: Words(
        subject=_("Your personal API access key was used from a new address"),
        effect=_(
            "It had not been used from this address in the past 90 days. You get at most three such mails a day, and "
            "one about each address; My Profile shows the latest addresses, and Edit profile there stops these mails."
        ),
        remedy=_("Regenerate the secret key, or delete the key; that ends every access token too:"),
    ),
    KeyEvent.Action.SECRET_TOO_OLD: Words(
        subject=_("The secret key of your personal API access key will soon be too old"),
        effect=_(
            "Your company lets a secret key live for a limited time. Then this one, and every access token obtained "
            "with it, is refused. It is not replaced by itself; the Client ID stays the same."
        ),
        lead=_("Choose how long the old one stays good meanwhile, and nothing stands still."),
        remedy=_("Regenerate the secret key, and give your applications the new one:"),
    ),
    KeyEvent.Action.UNUSED: Words(
        subject=_("Your personal API access key has not been used for 90 days"),
        effect=_(
            "Nothing was changed, and nothing will be by itself: whoever has its secret key can still use the API as "
            "you."
        ),
        lead=_("If nobody needs it any more, end it. You can make a new one at any time."),
        remedy=_("Delete the key:"),
    ),
    AccountEvent.Action.EMAIL_CHANGE_ASKED: Words(
        subject=_("A change of your e-mail address was asked for"),
        effect=_("Nothing has changed yet: it does when the link that was sent to the new address is followed."),
        remedy=_("Cancel the change:"),
        section="about",
    ),
    AccountEvent.Action.EMAIL_CHANGED: Words(
        subject=_("Your e-mail address was changed"),
        effect=_(
            "From now on you sign in with the new address, and this one gets no more mail about the account. Your "
            "personal API access key, if you have one, goes on working."
        ),
        browsers=_ALL_END,
        reset=False,
    ),
    AccountEvent.Action.REACTIVATED: Words(
        subject=_("Your account was reactivated"),
        effect=_("You can sign in again. Your personal API access key, if you have one, works as before."),
        remedy=_("See what else was done, and regenerate the secret key of your API access key if in doubt:"),
        section="security",
    ),
    AccountEvent.Action.COMPANY_CHANGED: Words(
        subject=_("You were moved to another company"),
        effect=_("From now on you, and your personal API access key, see what belongs to that company."),
    ),
    AccountEvent.Action.ACCESS_PROFILE_CHANGED: Words(
        subject=_("Your access profile was changed"),
        effect=_("Your rights, and those of your personal API access key, are those of the new access profile."),
    ),
    AccountEvent.Action.STAFF_CHANGED: Words(
        subject=_("Your permissions in the admin site were changed"),
        effect=_("What the admin site opens to you has changed."),
    ),
    AccountEvent.Action.MFA_ADDED: Words(
        subject=_("A second factor was added to your account"),
        effect=_("Signing in takes your password and a second factor. Your API access key is not affected."),
        browsers=_OTHERS_END,
        remedy=_("Remove it:"),
        section="security",
    ),
    AccountEvent.Action.MFA_REMOVED: Words(
        subject=_("A second factor was removed from your account"),
        effect=_("It is no longer accepted when you sign in."),
        browsers=_OTHERS_END,
        remedy=_("Add it again:"),
        section="security",
    ),
    AccountEvent.Action.MFA_RESET: Words(
        subject=_("Your second factors were removed by an administrator"),
        effect=_("Signing in takes your password alone until you set up multi-factor authentication again."),
        browsers=_ALL_END,
        remedy=_("Set up multi-factor authentication again:"),
        section="security",
    ),
    AccountEvent.Action.RECOVERY_CODES_MADE: Words(
        subject=_("Recovery codes were made for your account"),
        effect=_("Each signs you in once in place of your second factor. Recovery codes made before no longer work."),
        browsers=_OTHERS_END,
        remedy=_("Make new recovery codes; those made now then no longer work:"),
        section="security",
    ),
    AccountEvent.Action.RECOVERY_CODE_USED: Words(
        subject=_("A recovery code was used to sign in to your account"),
        effect=_("That code no longer works; the others do."),
        remedy=_("Make new recovery codes; the others then no longer work:"),
        section="security",
    ),
    # Only for sign-ins that failed at the second step; `account.mfa` decides for which of them.
    AccountEvent.Action.SIGN_IN_FAILED: Words(
        subject=_("A sign-in to your account failed at the second step"),
        effect=_(
            "Somebody gave your right password and then a wrong second factor, so they are not in. Of more such "
            "attempts you are told once an hour at most."
        ),
        otherwise=_PASSWORD_KNOWN,
    ),
    AccountEvent.Action.MFA_STOPPED: Words(
        subject=_("A second factor of your account is no longer accepted"),
        effect=_(
            "There were too many wrong attempts in a row by somebody who gave your right password. Sign in with a "
            "recovery code, then remove the factor and add it again. Without a recovery code, ask your administrator "
            "to reset your multi-factor authentication."
        ),
        otherwise=_PASSWORD_KNOWN,
    ),
    AccountEvent.Action.SESSIONS_ENDED_BY_ADMIN: Words(
        subject=_("You were signed out everywhere by an administrator"),
        effect=_(
            "All browsers are signed out, and you can sign in again at once. Your personal API access key, if you have "
            "one, goes on working."
        ),
        remedy=_("See what else was done:"),
        section="security",
    ),
    AccountEvent.Action.PASSWORD_CHANGED: Words(
        subject=_("Your password was changed"),
        effect=_("All other browsers are signed out. Your personal API access key, if you have one, goes on working."),
        remedy=_("See what else was done, and regenerate the secret key of your API access key if in doubt:"),
        section="security",
    ),
    AccountEvent.Action.PASSWORD_RESET: Words(
        subject=_("Your password was set by a link from a mail"),
        effect=_(
            "All browsers that were signed in are signed out. Your personal API access key, if you have one, goes on "
            "working."
        ),
        remedy=_("See what else was done, and regenerate the secret key of your API access key if in doubt:"),
        section="security",
    ),
}


# Of an API Client, by action; an edit only where it chose another access profile (see `clients.company`).
CLIENT_WORDS: dict[str, Words] = {
    KeyEvent.Action.CREATED: Words(
        subject=_("An API Client of your company was created"),
        effect=_(
            "Whoever has its Client ID and its secret key can use the API for your company, with the rights of its "
            "access profile."
        ),
        remedy=_("See what it may do; disable or delete it, and every access token ends too:"),
    ),
    KeyEvent.Action.EDITED: Words(
        subject=_("An API Client of your company has another access profile"),
        effect=_(
            "Its rights are those of the new access profile, also for access tokens that it has already. Client ID and "
            "secret key stay the same."
        ),
        remedy=_("See what it may do; disable it, and every access token is refused too:"),
    ),
    KeyEvent.Action.REGENERATED: Words(
        subject=_("The secret key of an API Client of your company was regenerated"),
        effect=WORDS[KeyEvent.Action.REGENERATED].effect,
        remedy=_("Regenerate the secret key again, or disable the client; that ends every access token too:"),
    ),
    KeyEvent.Action.OLD_SECRET_ENDED: Words(
        subject=_("The old secret key of an API Client of your company was ended"),
        effect=WORDS[KeyEvent.Action.OLD_SECRET_ENDED].effect,
        remedy=_("Regenerate the secret key again, or disable the client; that ends every access token too:"),
    ),
    KeyEvent.Action.DISABLED: Words(
        subject=_("An API Client of your company was disabled"),
        effect=_("The client, and every access token obtained with it, is refused until it is enabled again."),
        remedy=_("Enable it again:"),
    ),
    KeyEvent.Action.ENABLED: Words(
        subject=_("An API Client of your company was enabled"),
        effect=_("The client is accepted again, and so are its access tokens that have not expired."),
        remedy=_("Disable it again:"),
    ),
    KeyEvent.Action.DELETED: Words(
        subject=_("An API Client of your company was deleted"),
        effect=_("The client, and every access token obtained with it, is refused from now on, for good."),
        remedy=_("If it is still needed, create a new one, which will have another Client ID:"),
    ),
    KeyEvent.Action.REVOKED: Words(
        subject=_("An API Client of your company was revoked by an administrator"),
        effect=_("The client, and every access token obtained with it, is refused from now on, for good."),
        remedy=_("If it is still needed, create a new one, which will have another Client ID:"),
    ),
    KeyEvent.Action.LEAKED: Words(
        subject=_("The secret key of an API Client of your company was found by somebody, and has been ended"),
        effect=_(
            "Somebody found the secret key and reported it as leaked. It, and every access token obtained with it, is "
            "refused from now on. If an old secret key was to work for a while, it still does, unless it was found "
            "too. The API Client and its Client ID stay. Find out where the secret key could be read, and take it away "
            "there; the recent events of the API Client and its last use tell whether somebody else used it."
        ),
        remedy=_("Regenerate the secret key, to use the API Client again:"),
    ),
    KeyEvent.Action.OLD_SECRET_LEAKED: Words(
        subject=_("The old secret key of an API Client of your company was found by somebody, and has been ended"),
        effect=WORDS[KeyEvent.Action.OLD_SECRET_LEAKED].effect,
        remedy=WORDS[KeyEvent.Action.OLD_SECRET_LEAKED].remedy,
    ),
    KeyEvent.Action.TOKEN_LEAKED: Words(
        subject=_("An access token of an API Client of your company was found by somebody, and has been ended"),
        effect=WORDS[KeyEvent.Action.TOKEN_LEAKED].effect,
        remedy=WORDS[KeyEvent.Action.TOKEN_LEAKED].remedy,
    ),
    KeyEvent.Action.NEW_ADDRESS: Words(
        subject=_("An API Client of your company was used from a new address"),
        effect=_(
            "It had not been used from this address in the past 90 days. There are at most three such mails a day, and "
            "one about each address; the page of the client shows the latest addresses, and Edit there stops these "
            "mails."
        ),
        remedy=_("Regenerate its secret key, or disable the client; that ends every access token too:"),
    ),
    KeyEvent.Action.UNUSED: Words(
        subject=_("An API Client of your company has not been used for 90 days"),
        effect=_(
            "Nothing was changed, and nothing will be by itself: whoever has its secret key can still use the API for "
            "your company."
        ),
        lead=_("If nobody needs it any more, end its access."),
        remedy=_("Disable or delete it:"),
    ),
    KeyEvent.Action.INTROSPECTION_GIVEN: Words(
        subject=_("An API Client of your company may introspect access tokens"),
        effect=_("As a resource server it may ask about every access token of this site: whose it is, and its scope."),
        remedy=_("See whether it should; disable it, and it may ask no more:"),
    ),
    KeyEvent.Action.INTROSPECTION_TAKEN: Words(
        subject=_("An API Client of your company may no longer introspect access tokens"),
        effect=_("It may ask about the access tokens that it obtained itself, and about no others."),
        remedy=_("See the client:"),
    ),
    KeyEvent.Action.SECRET_TOO_OLD: Words(
        subject=_("The secret key of an API Client of your company will soon be too old"),
        effect=WORDS[KeyEvent.Action.SECRET_TOO_OLD].effect,
        lead=_("Choose how long the old one stays good meanwhile, and nothing stands still."),
        remedy=_("Regenerate the secret key, and give your applications the new one:"),
    ),
}

# When the old secret key stops, if not at once.
_STOPS_LATER = {
    OldSecret.FIRST_USE: _(
        "The old secret key, and every access token obtained with it, stops when the new one is first used, in 7 days "
        "at the latest. The Client ID stays the same."
    ),
    OldSecret.DAY: _(
        "The old secret key, and every access token obtained with it, stops in 24 hours. The Client ID stays the same."
    ),
}


def words_of(event: KeyEvent | AccountEvent) -> Words:
    words = CLIENT_WORDS[event.action] if _is_of_client(event) else WORDS[event.action]
    later = _STOPS_LATER.get(OldSecret(event.old_secret)) if isinstance(event, KeyEvent) and event.old_secret else None
    return replace(words, effect=later) if later else words


def written(notice: UnsentNotice, event: KeyEvent | AccountEvent) -> EmailMessage:
    with translation.override(notice.language):
        context = _context(event, notice)
        return EmailMultiAlternatives(
            str(words_of(event).subject),
            render_to_string("mail/notice.txt", context),
            to=[notice.email],
            connection=get_connection(patient=True),
            alternatives=[(render_to_string("mail/notice.html", context), "text/html")],
            headers={
                "Auto-Submitted": "auto-generated",  # no automatic reply is sent to this (RFC 3834)
                "Message-ID": _message_id(notice, event),
            },
        )


def _message_id(notice: UnsentNotice, event: KeyEvent | AccountEvent) -> str:
    """By it a mail can be traced to its event, and two of one notice are known to be the same."""
    host = urlsplit(settings.BASE_URL).hostname
    return f"<{notice.kind}-event-{notice.number}.{event.time.timestamp():.6f}.{notice.pk}@{host}>"


def _is_of_client(event: KeyEvent | AccountEvent) -> TypeGuard[KeyEvent]:
    """Whether this is about an API Client, which has a name."""
    return isinstance(event, KeyEvent) and bool(event.client_name)


def _context(event: KeyEvent | AccountEvent, reader: UnsentNotice) -> dict[str, object]:
    """The context, from the event alone: its users may be deleted."""
    words = words_of(event)
    facts: list[Fact] = [(_("When"), f"{event.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")]
    about, link = "account", f"{reverse('profile')}#{words.section}"
    if _is_of_client(event):
        about, link = "client", _page_of_client(event)
        facts += [(_("API Client"), without_links(event.client_name))]
    if isinstance(event, KeyEvent):
        about = about if _is_of_client(event) else "key"
        facts += [(_("Client ID"), event.client_id)]
    if event.detail and event.action in LEAKS:
        facts += [(_("Reported"), defanged(event.detail))]
    elif event.action == KeyEvent.Action.SECRET_TOO_OLD:
        facts += [(_("Stops"), event.detail)]
    elif event.detail:
        facts += [
            (_("Changed"), without_links(event.difference)) if _is_of_client(event) else (_("Which"), event.detail)
        ]
    facts += _by_whom(event, reader)
    if isinstance(event, KeyEvent) and event.reason:
        facts += [(_("Reason"), event.reason)]
    return {
        "words": words,
        "facts": facts,
        "by_reader": reader.is_actor,
        "site": settings.BASE_URL,
        "about": about,
        "link": f"{settings.BASE_URL}{link}",
        "password_link": f"{settings.BASE_URL}{reverse('account_reset_password')}",
    }


def by_owner(event: KeyEvent | AccountEvent) -> bool:
    """Whether the owner did it, or somebody who acts as the owner."""
    own = event.actor_uid == event.owner_uid and event.action != KeyEvent.Action.REVOKED
    return own or event.action in _NOT_SIGNED_IN


def _page_of_client(event: KeyEvent) -> str:
    """The page of an API Client; of one that is gone, the list of them."""
    gone = event.action in {KeyEvent.Action.DELETED, KeyEvent.Action.REVOKED}
    return reverse("clients") if gone else reverse("client", args=[event.client_id])


def _by_whom(event: KeyEvent | AccountEvent, reader: UnsentNotice) -> list[Fact]:
    """Who did it, unless nobody did; and from where, unless it was an administrator."""
    if event.action in BY_TIME:
        return []
    by_colleague = event.via == Event.Via.CLIENTS and not reader.is_actor
    if not reader.is_actor and not by_colleague and event.via not in _BY_NO_USER:
        command = event.via == Event.Via.COMMAND
        return [(_("By"), _("an administrator, on the command line") if command else _("an administrator"))]
    from_where: list[Fact] = [
        (_("From"), event.address or _("an unknown address")),
        (_("With"), without_links(event.user_agent) or _("an unknown client")),
    ]
    if event.action == KeyEvent.Action.NEW_ADDRESS:
        return from_where
    if by_colleague:
        return [(_("By"), without_links(event.actor.name) if event.actor else event.actor_uid), *from_where]
    if event.action in _NOT_SIGNED_IN:
        by = _("you, or somebody who knows your password")
    elif event.action == AccountEvent.Action.PASSWORD_RESET:
        by = _("you, or whoever opened the link that was mailed to you")
    else:
        by = _BY.get(event.via, _BY[Event.Via.PAGE])
    return [(_("By"), by), *from_where]


def without_links(text: str) -> str:
    """The text without anything that a mail program would turn into a link.

    Somebody with a stolen session can choose this text, and whoever reads the mail trusts it.
    """
    return re.sub(r"[@/:.](?=[^\W\d])|//", " ", text)


def defanged(text: str) -> str:
    """The text as mails about security have it: all of it can be read, and no mail program makes a link of any of it.

    A stranger wrote it, and whoever reads the mail has to find the place: `hxxps://keys[.]example/a[.]txt`.
    """
    text = re.sub(r"http(?=s?:)", "hxxp", text, flags=re.IGNORECASE)
    text = re.sub(r"(hxxps?)?:(?=//|[^\W\d])", lambda found: found[0] if found[1] else "[:]", text)
    return re.sub(r"[.@](?=\w)", r"[\g<0>]", text)
