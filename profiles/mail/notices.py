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

What a notice says is in `notice_texts`.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.utils import timezone

from .. import reach, rights
from ..models import AccountEvent, Company, KeyEvent, UnsentNotice, User
from . import notice_texts, smtp

if TYPE_CHECKING:
    from django.db.models import QuerySet

logger = logging.getLogger(__name__)

# Some 10 MB. Only reached if the mail server is down for hours, or very many keys are revoked: then `send_unsent` has
# the rest.
WAITING_AT_MOST = 10_000

# How long what could not be sent is tried again, and with what pauses: each as long as all before it together.
TRIED_FOR = timedelta(days=7)
PAUSE_AT_LEAST, PAUSE_AT_MOST = timedelta(minutes=5), timedelta(hours=6)
AT_A_TIME = 100

_mailers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="notices")
_waiting: set[Future[None]] = set()


class MailServerFailed(Exception):
    """The mail server takes no mail at all, so the rest waits."""


def mail_owner(event: KeyEvent | AccountEvent, *, email: str = "") -> None:
    """Mail the owner about this event once it is committed, if it is one of `notice_texts.WORDS`.

    To `email`, if that is given: the former address, when the address was changed. An owner who is not let in gets no
    mail: they cannot sign in to do anything about it, their key is refused already, and it is not known who reads the
    mailbox of somebody who has left. But a changed address is mailed to them too: otherwise an administrator could take
    over an account unnoticed by making it inactive first.
    """
    owner = event.owner
    if event.action not in notice_texts.WORDS or owner is None or not (owner.is_let_in or email):
        return
    _mail(event, [_notice(event, owner, is_actor=notice_texts.by_owner(event), former=email)])


def mail_company(event: KeyEvent, company: Company) -> None:
    """Mail whom this event of an API Client concerns once it is committed, if it is one of `notice_texts.CLIENT_WORDS`.

    That is the one of the company who did it, and everybody else of it who may edit API Clients. Not staff from
    elsewhere: as of keys, what they do is theirs to know. Who is not let in gets no mail, as in `mail_owner`.
    """
    if event.action not in notice_texts.CLIENT_WORDS:
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
        notice_texts.written(notice, event).send()
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
