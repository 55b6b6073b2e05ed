"""Invitations: a mail with a link by which a new user sets their password.

The link is that of "Forgot your password?": it works once, until the password or the e-mail address changes or
`PASSWORD_RESET_TIMEOUT` is over, and is kept nowhere.
"""

from __future__ import annotations

import logging
from datetime import UTC, timedelta

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from ..models import User

logger = logging.getLogger(__name__)


class MailFailed(Exception):
    """The mail server did not take the mail. The log says why."""


def is_open(user: User) -> bool:
    """Whether the user has yet to set a first password."""
    return not user.has_usable_password()


def send(user: User) -> None:
    """Mail the user a link to set their password. Raises MailFailed."""
    context = {
        "user": user,
        "link": password_link(user_pk_to_url_str(user), default_token_generator.make_token(user)),
        "until": timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT),
        "reset_link": f"{settings.BASE_URL}{reverse('account_reset_password')}",
    }
    with translation.override(user.language_read()):
        mail(user.email, _("Your account at AirVantage Keys"), "invitation", context)
    logger.info("invitation sent: user=%s", user.uid)


def password_link(uid: str, token: str) -> str:
    """Where the user with this number sets a password."""
    path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})
    return f"{settings.BASE_URL}{path}"


def forget_former_emails(user: User) -> None:
    """Delete the user's former e-mail addresses, with which they could still sign in or reset the password."""
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()


def mail(email: str, subject: str, template: str, context: dict[str, object]) -> None:
    """Send a mail now, and wait until the server has taken it. Raises MailFailed."""
    with timezone.override(UTC):  # whatever the zone of the page on which this happens
        body = render_to_string(f"mail/{template}.txt", {**context, "base_url": settings.BASE_URL})
    try:
        EmailMessage(subject, body, to=[email], headers={"Auto-Submitted": "auto-generated"}).send()
    except (OSError, ValueError) as error:  # smtplib's are OSErrors; ValueError: an e-mail address no server could take
        logger.exception("could not send the mail %r", template)
        raise MailFailed from error
