"""What happened: to keys, to accounts, and to what gives them rights. Appended, never changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .clients import OldSecret
from .people import User

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class EventQuerySet(models.QuerySet[Any]):
    def update(self, **kwargs: Any) -> int:
        raise TypeError("Events are never changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("Events are never deleted.")


class Event(models.Model):
    """What happened, by whom and from where: appended, never changed.

    The users' uids are copied, because the event outlives the users. They are no personal data by themselves: once a
    user is deleted, a uid leads nowhere.
    """

    class Via(models.TextChoices):
        PAGE = "page", _("My Profile")
        CLIENTS = "clients", _("API Clients")
        ADMIN = "admin", _("Admin site")
        COMMAND = "command", _("Command line")
        OAUTH = "oauth", _("Token endpoint")
        REPORT = "report", _("Leak report")

    kind: ClassVar[str]

    time = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    owner_uid = models.CharField(_("owner's uid"), max_length=32, db_index=True)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))
    actor_uid = models.CharField(_("actor's uid"), max_length=32, blank=True)
    via = models.CharField(_("via"), max_length=10, choices=Via)
    address = models.GenericIPAddressField(_("address"), null=True)
    user_agent = models.CharField(_("client"), max_length=200, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Events are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Events are never deleted.")


class KeyEvent(Event):
    """What happened to a client. The Client ID is copied, because the event outlives the client.

    Of an API Client `owner` is None and `owner_uid` the uid of its company; its name at that time is copied too.
    """

    class Action(models.TextChoices):
        CREATED = "created", _("Key created")
        REGENERATED = "regenerated", _("Secret key regenerated")
        OLD_SECRET_ENDED = "old_secret_ended", _("Old secret key ended")
        DELETED = "deleted", _("Key deleted")
        REVOKED = "revoked", _("Key revoked by an administrator")
        PASSWORD_REFUSED = "password_refused", _("Wrong password for a change of the key")
        LEAKED = "leaked", _("Secret key reported as leaked, and ended")
        OLD_SECRET_LEAKED = "old_secret_leaked", _("Old secret key reported as leaked, and ended")
        TOKEN_LEAKED = "token_leaked", _("Access token reported as leaked, and ended")
        NEW_ADDRESS = "new_address", _("Used from a new address")
        UNUSED = "unused", _("Not used for 90 days")
        # Of API Clients only.
        EDITED = "edited", _("API Client edited")
        DISABLED = "disabled", _("API Client disabled")
        ENABLED = "enabled", _("API Client enabled")
        INTROSPECTION_GIVEN = "introspection_given", _("May introspect tokens from now on")
        INTROSPECTION_TAKEN = "introspection_taken", _("May no longer introspect tokens")
        SECRET_TOO_OLD = "secret_too_old", _("Told that the secret key will be too old")

    kind = "key"

    action = models.CharField(_("what"), max_length=20, choices=Action)
    client_id = models.CharField(_("Client ID"), max_length=32, blank=True, db_index=True)
    owner = models.ForeignKey(
        User, models.SET_NULL, null=True, db_index=False, related_name="key_events", verbose_name=_("owner")
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    old_secret = models.CharField(_("old secret key"), max_length=10, choices=OldSecret, blank=True, db_default="")
    """Of a regeneration: what was chosen for the secret that it replaced."""
    client_name = models.CharField(_("name"), max_length=150, blank=True, db_default="")
    detail = models.TextField(_("detail"), blank=True, db_default="")
    """Of an edit: what was changed. Of a leak: what its reporter says of it (see `clients.leaks`). Of a secret that is
    told to stop: when it does."""

    class Meta:
        verbose_name = _("key event")
        verbose_name_plural = _("key events")
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (models.Index(fields=("owner", "id"), name="key_event_of_owner"),)

    def __str__(self) -> str:
        return f"{self.what} · {self.client_id or self.owner_uid}"

    @property
    def what(self) -> str:
        """What happened, in words."""
        words = OF_API_CLIENTS.get(self.action) if self.client_name else None
        return str(words or self.get_action_display())

    @property
    def difference(self) -> str:
        """What an edit changed: `detail`, with the names of fields in the language of the page.

        Of anything else `detail` as it is: it can be somebody's text.
        """
        if self.action != self.Action.EDITED:
            return self.detail
        return _name_of_field.sub(lambda found: gettext(found[0]), self.detail)


# What nobody does: it is the time that passes.
BY_TIME = {KeyEvent.Action.SECRET_TOO_OLD, KeyEvent.Action.UNUSED}

# As `clients.company` writes it.
_name_of_field = re.compile("(?:(?<=^)|(?<=; ))(?:name|access profile|note|mail about new addresses)(?=[:;]|$)")

# The actions of both kinds, in the words for an API Client.
OF_API_CLIENTS: dict[str, _StrPromise] = {
    KeyEvent.Action.CREATED: _("API Client created"),
    KeyEvent.Action.DELETED: _("API Client deleted"),
    KeyEvent.Action.REVOKED: _("API Client revoked by an administrator"),
    KeyEvent.Action.PASSWORD_REFUSED: _("Wrong password for a change of the API Client"),
}


class AccountEvent(Event):
    """What happened to an account, apart from its key: sign-ins, and changes of the account and of what protects it.

    Also of a company, an access profile or a group of staff, because that changes many accounts: then `owner` is None
    and `owner_uid` the uid of the company or the profile; a group has none.
    """

    class Action(models.TextChoices):
        SIGNED_IN = "signed_in", _("Signed in")
        SIGN_IN_FAILED = "sign_in_failed", _("Failed sign-in")
        PASSWORD_CHANGED = "password_changed", _("Password changed")
        PASSWORD_RESET = "password_reset", _("Password set by a link from a mail")
        EMAIL_CHANGE_ASKED = "email_change_asked", _("Change of the e-mail address asked for")
        EMAIL_CHANGE_CANCELLED = "email_change_cancelled", _("Change of the e-mail address cancelled")
        EMAIL_CHANGED = "email_changed", _("E-mail address changed")
        MFA_ADDED = "mfa_added", _("Second factor added")
        MFA_REMOVED = "mfa_removed", _("Second factor removed")
        MFA_RESET = "mfa_reset", _("Second factors removed by an administrator")
        RECOVERY_CODES_MADE = "recovery_codes_made", _("Recovery codes made")
        RECOVERY_CODE_USED = "recovery_code_used", _("Recovery code used")
        MFA_STOPPED = "mfa_stopped", _("Second factor refused from now on: too many wrong attempts")
        PASSWORD_REFUSED = "password_refused", _("Wrong password when asked once more")
        SESSION_ENDED = "session_ended", _("Browser signed out")
        SESSIONS_ENDED = "sessions_ended", _("All other browsers signed out")
        SESSIONS_ENDED_BY_ADMIN = "sessions_ended_by_admin", _("All browsers signed out by an administrator")
        ACCOUNT_CREATED = "account_created", _("Account created")
        ACCOUNT_DELETED = "account_deleted", _("Account deleted")
        INVITED = "invited", _("Invitation sent")
        DEACTIVATED = "deactivated", _("Account deactivated")
        REACTIVATED = "reactivated", _("Account reactivated")
        NAME_CHANGED = "name_changed", _("Name changed")
        DETAILS_CHANGED = "details_changed", _("Profile edited")
        PICTURE_CHANGED = "picture_changed", _("Picture changed")
        PICTURE_REMOVED = "picture_removed", _("Picture removed")
        PASSKEY_RENAMED = "passkey_renamed", _("Passkey renamed")
        COMPANY_CHANGED = "company_changed", _("Moved to another company")
        ACCESS_PROFILE_CHANGED = "access_profile_changed", _("Access profile changed")
        STAFF_CHANGED = "staff_changed", _("Staff permissions changed")
        COMPANY_CREATED = "company_created", _("Company created")
        COMPANY_EDITED = "company_edited", _("Company edited")
        COMPANY_DELETED = "company_deleted", _("Company deleted")
        PROFILE_CREATED = "profile_created", _("Access profile created")
        PROFILE_EDITED = "profile_edited", _("Access profile edited")
        PROFILE_DELETED = "profile_deleted", _("Access profile deleted")
        GROUP_CREATED = "group_created", _("Group created")
        GROUP_EDITED = "group_edited", _("Group edited")
        GROUP_DELETED = "group_deleted", _("Group deleted")

    kind = "account"

    action = models.CharField(_("what"), max_length=30, choices=Action)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, related_name="account_events", verbose_name=_("owner"))
    detail = models.TextField(_("detail"), blank=True)

    class Meta:
        verbose_name = _("account event")
        verbose_name_plural = _("account events")
        ordering = ("-id",)
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.get_action_display()} · {self.owner_uid}"
