"""People are mailed what happened to their key or account: what, when, by whom, from where, what to do (ASVS 6.3.7).

Of an API Client the one who did it is mailed, and who else may edit the API Clients of the company.

A mail never delays or fails the change that it is about. It goes out after the commit, from a thread of its own: a mail
server that is slow or down fails nothing, and no answer (with a new secret, say) waits for it. The threads are joined
when the process ends, so that a command, or a server that is stopped, still sends what waits.

No notice is lost. With the event, in its transaction, a row says who is to be told (`UnsentNotice`), and goes when the
mail has left. What stays, because the mail server was away or the process was killed, `manage maintain` sends later
(`send_unsent`). Whoever sends a notice first takes its row for a time, by an update that only one can make, so no two
send it at once. It is sent once too often only where the mail server has taken the mail and we do not know: the process
is killed before the row goes, or no answer comes in `smtp.TAKEN_WITHIN`. Both mails then have the same Message-ID.

django-allauth's mails go the same way (`post`), but not later: an answer must not reveal whether there is an account to
mail, or a mail server; and the link in them is a credential, which is kept nowhere.

No notice holds a secret, because none is passed to this module.
"""

from __future__ import annotations

import logging
import re
import smtplib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from .. import reach, rights
from ..models import AccountEvent, Company, Event, KeyEvent, OldSecret, UnsentNotice, User
from . import smtp

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.utils.functional import _StrPromise

logger = logging.getLogger(__name__)

# Some 10 MB. Only reached if the mail server is down for hours, or very many keys are revoked: then `send_unsent` has
# the rest.
WAITING_AT_MOST = 10_000

# How long what could not be sent is tried again, and with what pauses: each as long as all before it together.
TRIED_FOR = timedelta(days=7)
PAUSE_AT_LEAST, PAUSE_AT_MOST = timedelta(minutes=5), timedelta(hours=6)
AT_A_TIME = 100

Fact: TypeAlias = "tuple[_StrPromise, str | _StrPromise]"  # its label and its value

_mailers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="notices")
_waiting: set[Future[None]] = set()


_ACCOUNT_USED = _("If this was not you, somebody else is using your account:")
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
    # The sentence for the case that it was not the owner.
    otherwise: _StrPromise = _ACCOUNT_USED


class MailServerFailed(Exception):
    """The mail server takes no mail at all, so the rest waits."""


# Done by somebody who was not signed in, and may be the owner.
_NOT_SIGNED_IN = {AccountEvent.Action.SIGN_IN_FAILED, AccountEvent.Action.MFA_STOPPED}


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


def mail_owner(event: KeyEvent | AccountEvent, *, email: str = "") -> None:
    """Mail the owner about this event once it is committed, if it is one of `WORDS`.

    To `email`, if that is given: the former address, when the address was changed. An owner who is not let in gets no
    mail: they cannot sign in to do anything about it, their key is refused already, and it is not known who reads the
    mailbox of somebody who has left. But a changed address is mailed to them too: otherwise an administrator could take
    over an account unnoticed by making it inactive first.
    """
    owner = event.owner
    if event.action not in WORDS or owner is None or not (owner.is_let_in or email):
        return
    _mail(event, [_notice(event, owner, is_actor=_by_owner(event), former=email)])


def mail_company(event: KeyEvent, company: Company) -> None:
    """Mail whom this event of an API Client concerns once it is committed, if it is one of `CLIENT_WORDS`.

    That is the one of the company who did it, and everybody else of it who may edit API Clients. Not staff from
    elsewhere: as of keys, what they do is theirs to know. Who is not let in gets no mail, as in `mail_owner`.
    """
    if event.action not in CLIENT_WORDS:
        return
    readers = {holder.pk: holder for holder in reach.holders(rights.EDIT_CLIENTS, company)}
    actor = event.actor
    if actor is not None and actor.company_id == company.pk and actor.is_let_in:
        readers[actor.pk] = actor
    _mail(event, [_notice(event, reader, is_actor=reader == actor) for reader in readers.values()])


def _notice(event: KeyEvent | AccountEvent, reader: User, *, is_actor: bool, former: str = "") -> UnsentNotice:
    """The row for this reader: as they are now, even if this request changes them later."""
    return UnsentNotice(
        kind=event.kind,
        number=event.pk,
        email=former or reader.email,
        language=reader.language_read(),
        is_actor=is_actor,
        uid="" if former else reader.uid,
        again=timezone.now() + _time_to_send(),
    )


def _mail(event: KeyEvent | AccountEvent, notices: list[UnsentNotice]) -> None:
    """Write down who is to be told, in the transaction of the event, and send it when that is committed."""
    for notice in UnsentNotice.objects.bulk_create(notices):
        transaction.on_commit(partial(_send_soon, notice, event), robust=True)


def waiting() -> int:
    """How many mails of this process are still to be sent."""
    return len(_waiting)


def post(mail: EmailMessage, *, about: str) -> None:
    """Send this mail as the others are sent, from a thread, but once: it is not kept. `about` is what the log calls it.

    For mails with a link that opens something. Whoever gets none asks for another.
    """
    if not _post(about, mail.send):
        logger.error("mail about %s not sent: too many are waiting", about)


def _send_soon(notice: UnsentNotice, event: KeyEvent | AccountEvent) -> None:
    def send() -> None:
        with suppress(MailServerFailed):  # that is in the log already
            _send(notice, event)

    if not _post(str(notice), send):
        logger.warning("mail about %s is left to manage maintain: too many are waiting", notice)


def _post(about: str, send: Callable[[], object]) -> bool:
    """Have one of the threads do this, unless too many wait: then False."""
    if len(_waiting) >= WAITING_AT_MOST:
        return False
    mail = _mailers.submit(_in_thread, about, send)
    _waiting.add(mail)
    mail.add_done_callback(_waiting.discard)
    return True


def _in_thread(about: str, send: Callable[[], object]) -> None:
    try:
        send()
    except Exception as error:  # noqa: BLE001 - any error: the change is committed, and nothing else would report it
        logger.error("mail about %s not sent: %r", about, error)  # noqa: TRY400 - one line, no traceback
    else:
        logger.debug("mail about %s dealt with", about)
    finally:
        # The next mail may be days away. (Without a thread, as in tests, the connection is that of a transaction.)
        if not connection.in_atomic_block:
            connection.close()


# --- What has not left ------------------------------------------------------------------------------------


def send_unsent() -> Iterator[None]:
    """Send the notices that wait and are with nobody, and stop after each that has left.

    Raises MailServerFailed. One that cannot be sent for a reason of its own is tried again later, for `TRIED_FOR`; that
    is told in the log. Whoever is no longer let in is not told any more, as in `mail_owner`; but what was still to be
    said to somebody who is deleted is said, because it may be just that.
    """
    last = 0
    while due := list(unsent().filter(pk__gt=last).order_by("pk")[:AT_A_TIME]):
        last = due[-1].pk  # now: a row that is deleted has none
        for notice in due:
            event = _event_of(notice)
            if event is None or _is_shut_out(notice.uid):
                logger.info("mail about %s not sent: nobody is to be told any more", notice)
                notice.delete()
            elif _send(notice, event):
                yield


def unsent() -> QuerySet[UnsentNotice]:
    """The notices that anybody may send now."""
    return UnsentNotice.objects.filter(again__lte=timezone.now())


def _event_of(notice: UnsentNotice) -> KeyEvent | AccountEvent | None:
    """The event that this is about; None if it was erased."""
    events = KeyEvent.objects if notice.kind == KeyEvent.kind else AccountEvent.objects
    found: KeyEvent | AccountEvent | None = events.select_related("actor").filter(pk=notice.number).first()
    return found


def _is_shut_out(uid: str) -> bool:
    user = User.objects.select_related("company").filter(uid=uid).first()
    return user is not None and not user.is_let_in


def _send(notice: UnsentNotice, event: KeyEvent | AccountEvent) -> bool:
    """Send a notice, unless somebody else does; whether it has left.

    Raises MailServerFailed. In that case too the notice is put off, or given up.
    """
    if not _put_off(notice, _time_to_send()):
        return False
    try:
        _written(notice, event).send()
    except Exception as error:
        age = timezone.now() - event.time
        if age >= TRIED_FOR:
            logger.error("mail about %s given up after %s days: %r", notice, age.days, error)  # noqa: TRY400
            notice.delete()
        else:
            _put_off(notice, min(max(age, PAUSE_AT_LEAST), PAUSE_AT_MOST))
            logger.warning("mail about %s not sent, to be tried again: %r", notice, error)
        if _is_the_servers(error):
            raise MailServerFailed(f"{type(error).__name__}: {error}") from error
        return False
    notice.delete()
    return True


def _put_off(notice: UnsentNotice, pause: timedelta) -> bool:
    """Keep others from this notice for so long; False if another process has it, or has sent it."""
    before, notice.again = notice.again, timezone.now() + pause
    return bool(UnsentNotice.objects.filter(pk=notice.pk, again=before).update(again=notice.again))


def _time_to_send() -> timedelta:
    """How long a notice is with the one who sends it: longer than the mail server's answers to one mail can take."""
    return timedelta(minutes=5, seconds=20 * settings.EMAIL_TIMEOUT + smtp.TAKEN_WITHIN)


def _is_the_servers(error: Exception) -> bool:
    """Whether no other mail would leave either: the mail server did not refuse this one, it is away."""
    return isinstance(error, OSError) and not isinstance(error, smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError)


# --- What it says -----------------------------------------------------------------------------------------


def _written(notice: UnsentNotice, event: KeyEvent | AccountEvent) -> EmailMessage:
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
    if event.detail:
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


def _by_owner(event: KeyEvent | AccountEvent) -> bool:
    """Whether the owner did it, or somebody who acts as the owner."""
    own = event.actor_uid == event.owner_uid and event.action != KeyEvent.Action.REVOKED
    return own or event.action in _NOT_SIGNED_IN


def _page_of_client(event: KeyEvent) -> str:
    """The page of an API Client; of one that is gone, the list of them."""
    gone = event.action in {KeyEvent.Action.DELETED, KeyEvent.Action.REVOKED}
    return reverse("clients") if gone else reverse("client", args=[event.client_id])


def _by_whom(event: KeyEvent | AccountEvent, reader: UnsentNotice) -> list[Fact]:
    """Who did it; and from where, unless it was an administrator."""
    by_colleague = event.via == Event.Via.CLIENTS and not reader.is_actor
    if not reader.is_actor and not by_colleague and event.via != Event.Via.OAUTH:
        command = event.via == Event.Via.COMMAND
        return [(_("By"), _("an administrator, on the command line") if command else _("an administrator"))]
    by: str | _StrPromise = _("you, on the page My Profile")
    if by_colleague:
        by = without_links(event.actor.name) if event.actor else event.actor_uid
    elif event.via == Event.Via.CLIENTS:
        by = _("you, on the page API Clients")
    elif event.via == Event.Via.ADMIN:
        by = _("you, in the admin site")
    elif event.action in _NOT_SIGNED_IN:
        by = _("you, or somebody who knows your password")
    elif event.action == AccountEvent.Action.PASSWORD_RESET:
        by = _("you, or whoever opened the link that was mailed to you")
    elif event.via == Event.Via.OAUTH:
        by = _("the first use of the new secret key")
    return [
        (_("By"), by),
        (_("From"), event.address or _("an unknown address")),
        (_("With"), without_links(event.user_agent) or _("an unknown client")),
    ]


def without_links(text: str) -> str:
    """The text without anything that a mail program would turn into a link.

    Somebody with a stolen session can choose this text, and whoever reads the mail trusts it.
    """
    return re.sub(r"[@/:.](?=[^\W\d])|//", " ", text)
