"""Changing the e-mail address: asked for on My Profile, done by following the link that was sent to the new address.

Whoever has the address of an account can have a new password sent to it. So the owner proves their password before
asking, a notice goes to the current address before anything happens, and nothing changes until somebody who reads the
mail of the new address confirms. The key goes on working: it belongs to the user, not to the address.
"""

from __future__ import annotations

import logging
import secrets

from allauth.core import ratelimit
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from .. import credentials
from ..http.requests import UserRequest, client_address, origin_of, user_agent
from ..mail import invitations
from ..models import AccountEvent, EmailChange, Event, User
from ..origin import Origin
from ..pages import reauthentication
from ..pages.base import page
from ..text.fields import AddressFormField
from ..text.free_text import FreeTextForm
from . import activity, sessions

logger = logging.getLogger(__name__)

Action = AccountEvent.Action
EMAIL_LENGTH = 254


class LinkDead(Exception):
    """No pending change has this link."""


class EmailTaken(Exception):
    """Somebody else has the e-mail address now."""


@sensitive_variables("link")
def ask(*, owner: User, email: str, origin: Origin) -> None:
    """Send the link to the new address, and a notice to the current one. An earlier pending change is replaced.

    The mail goes out first: if the mail server refuses it, nothing is stored and nobody is notified. The link does
    not work before the change is stored. Raises MailFailed.
    """
    link = secrets.token_urlsafe(32)
    asked = timezone.now()
    change = EmailChange(
        user=owner,
        email=email,
        asked=asked,
        link_digest=credentials.digest(link),
        state_digest=EmailChange.digest_of_state(owner),
    )
    url = f"{settings.BASE_URL}{reverse('email-confirm', args=[link])}"
    # It contains no text by the owner: it goes, in our name, to any address that they enter.
    invitations.mail(email, _("Confirm your new e-mail address"), "email_change", {"link": url, "until": change.until})
    with transaction.atomic():
        EmailChange.objects.update_or_create(
            user=owner,
            defaults={name: getattr(change, name) for name in ("email", "asked", "link_digest", "state_digest")},
        )
        activity.record(Action.EMAIL_CHANGE_ASKED, owner=owner, origin=origin, detail=email)


def cancel(*, owner: User, origin: Origin) -> bool:
    """Cancel the pending change. False if there is none."""
    with transaction.atomic():
        change = EmailChange.objects.select_for_update().filter(user=owner).first()
        if change is None:
            return False
        change.delete()
        activity.record(Action.EMAIL_CHANGE_CANCELLED, owner=owner, origin=origin, detail=change.email)
    return True


def waiting(link: str) -> EmailChange:
    """The pending change of this link, locked until the end of the transaction. Raises LinkDead."""
    changes = EmailChange.objects.select_related("user").filter(link_digest=credentials.digest(link))
    if transaction.get_connection().in_atomic_block:
        changes = changes.select_for_update()
    change = changes.first()
    if change is None or not change.is_open:
        raise LinkDead
    return change


def confirm(*, link: str, address: str | None, agent: str) -> None:
    """Change the e-mail address, as the link says; the request came from `address`. Raises LinkDead or EmailTaken."""
    with transaction.atomic():
        change = waiting(link)
        owner, before = change.user, change.user.email
        owner.email = change.email
        try:
            with transaction.atomic():
                owner.save(update_fields=["email"])
        except IntegrityError:
            raise EmailTaken from None
        change.delete()
        invitations.forget_former_emails(owner)
        sessions.end_all(owner, but=None)
        activity.record(
            Action.EMAIL_CHANGED,
            owner=owner,
            # Whoever follows the link need not be signed in: having it counts as being the owner.
            origin=Origin(actor=owner, via=Event.Via.PAGE, address=address, user_agent=agent),
            detail=f"{before} → {owner.email}",
            email=before,
        )


# --- Pages ------------------------------------------------------------------------------------------------


class EmailForm(FreeTextForm, forms.Form):
    email = AddressFormField(
        label=gettext_lazy("New e-mail address"),
        max_length=EMAIL_LENGTH,
        error_messages={
            "required": gettext_lazy("Enter your new e-mail address."),
            "invalid": gettext_lazy("Enter an e-mail address, such as name@example.com."),
        },
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )

    def __init__(self, *args: object, request: UserRequest, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.request = request

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email == self.request.user.email:
            raise ValidationError(_("This is your e-mail address already."))
        # Each attempt counts, so that nobody can test many addresses for accounts.
        if not ratelimit.consume(self.request, action="change_email"):
            raise ValidationError(_("Too many attempts. Wait an hour, then try again."), code="limited")
        if User.objects.filter(email=email).exists():
            raise ValidationError(_("This address belongs to another account. Choose another one."))
        return email


@page("GET", "HEAD", "POST")
@reauthentication.required()
def change(request: UserRequest) -> HttpResponse:
    form = EmailForm(request.POST if request.method == "POST" else None, request=request)
    status = 200
    if form.is_bound:
        if form.is_valid():
            try:
                ask(owner=request.user, email=form.cleaned_data["email"], origin=origin_of(request))
            except invitations.MailFailed:
                form.add_error(None, _("The mail could not be sent, so nothing was changed. Try again in a while."))
                return render(request, "profiles/email.html", {"form": form}, status=503)
            messages.success(request, _("A mail with a link is on its way to %(email)s.") % form.cleaned_data)
            return redirect("profile")
        status = 429 if form.has_error("email", "limited") else 422
    return render(request, "profiles/email.html", {"form": form}, status=status)


@page("POST")
@reauthentication.required(back="profile")
def cancel_change(request: UserRequest) -> HttpResponse:
    if cancel(owner=request.user, origin=origin_of(request)):
        messages.success(request, _("The change of your e-mail address was cancelled. Its link no longer works."))
    return redirect("profile")


@page("GET", "HEAD", "POST", anyone=True)
@sensitive_variables("link")
def follow(request: HttpRequest, link: str) -> HttpResponse:
    """The page of the link: a button, so that a program which opens links in mails changes nothing."""
    template = "profiles/email_confirm.html"
    try:
        if request.method != "POST":
            return render(request, template, {"change": waiting(link)})
        confirm(link=link, address=client_address(request), agent=user_agent(request))
    except LinkDead:
        return render(request, template, {"dead": True}, status=410)
    except EmailTaken:
        return render(request, template, {"taken": True}, status=409)
    # Whoever is signed in here: the next step is to sign in with the new address.
    logout(request)
    messages.success(
        request,
        _("Your e-mail address was changed. Sign in with the new one.") + " " + _("All browsers are signed out."),
    )
    return HttpResponseRedirect(reverse("account_login"))
