"""Who there is (users, companies, access profiles) and what they hold (keys, access tokens, key events).

One number ties them together. `User.key_version` counts the changes ever made to a user's key. Every form of
the page and every access token carries the version under which it was made and is worth nothing under
another. So a change of the key ends all tokens and all open forms by adding one to one row, whatever their
number, and no moment exists at which the old ones are still good and the change is already visible.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django_countries.fields import CountryField
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    ApplicationManager,
    ClientSecretField,
    TokenChecksumField,
)

from . import credentials, rights, spelling
from .fields import AddressField, FoldedNameField, NameField, PhoneNumberField


def new_uid() -> str:
    """The public name of a user, company or access profile: 32 lower-case hex characters, never used again."""
    return uuid.uuid4().hex


def validate_rights(value: object) -> None:
    """Refuse anything but a list of rights out of the catalogue."""
    if not isinstance(value, list) or not all(isinstance(right, str) for right in value):
        raise ValidationError(_("The rights are a list of names."))
    if unknown := sorted(set(value) - rights.ALL_RIGHTS):
        raise ValidationError(_("No such right: %(names)s."), params={"names": ", ".join(unknown)})


class Named(models.Model):
    """Something with a `name`, by which it is searched and ordered without regard to case, on every database alike."""

    # Folding can make three letters of one.
    name_folded = FoldedNameField(max_length=450, editable=False, default="", db_default="")

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is not None and "name" in fields:
            kwargs["update_fields"] = {*fields, "name_folded"}
        super().save(*args, **kwargs)


class Company(Named):
    """The tenant a user belongs to."""

    uid = models.CharField(_("uid"), max_length=32, unique=True, default=new_uid, editable=False)
    name = NameField(_("name"), max_length=150, unique=True)
    require_mfa = models.BooleanField(
        _("multi-factor authentication required"),
        default=False,
        help_text=_("Its users must set up a second factor when they sign in. API access keys are not affected."),
    )

    class Meta:
        verbose_name = _("company")
        verbose_name_plural = _("companies")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class AccessProfile(Named):
    """A named set of rights that an administrator gives to users."""

    uid = models.CharField(_("uid"), max_length=32, unique=True, default=new_uid, editable=False)
    name = NameField(_("name"), max_length=150, unique=True)
    rights = models.JSONField(_("rights"), default=list, blank=True, validators=[validate_rights])

    class Meta:
        verbose_name = _("access profile")
        verbose_name_plural = _("access profiles")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


def authenticators() -> models.QuerySet[Any]:
    """The second factors that allauth keeps; recovery codes are no factor of their own."""
    from allauth.mfa.models import Authenticator

    return Authenticator.objects.exclude(type=Authenticator.Type.RECOVERY_CODES)


class UserQuerySet(models.QuerySet["User"]):
    def update(self, **kwargs: Any) -> int:
        """As Django's, but who is switched off or on has no session of before."""
        if "is_active" in kwargs:
            kwargs.setdefault("session_salt", new_uid())
        return super().update(**kwargs)


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Make a user who signs in with `email`; without a password only an invitation can open the account."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, **{"is_staff": True, "is_superuser": True, **fields})

    def with_all(self) -> models.QuerySet[User]:
        """With what the user's pages show: company, access profile, key, a change of e-mail, and second factors."""
        users = self.select_related("company", "access_profile", "key", "email_change")
        return users.annotate(  # type: ignore[no-redef]  # it fills the cached property
            has_authenticator=models.Exists(authenticators().filter(user=models.OuterRef("pk")))
        )

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=username or "")


class User(AbstractBaseUser, PermissionsMixin, Named):
    """A person, who signs in by e-mail address."""

    uid = models.CharField(_("uid"), max_length=32, unique=True, default=new_uid, editable=False)
    email = AddressField(_("e-mail address"), unique=True)
    name = NameField(_("name"), max_length=150)
    job_title = NameField(_("job title"), max_length=150, blank=True)
    phone_number = PhoneNumberField(
        _("phone number"), max_length=20, blank=True, help_text=_("International form, such as +33 1 23 45 67 89.")
    )
    # The stubs do not know that this label may be lazy, too.
    country = CountryField(_("country"), blank=True, blank_label=_("No country"))  # type: ignore[call-overload]
    picture = models.FileField(_("picture"), upload_to="pictures/", blank=True, editable=False)
    company = models.ForeignKey(
        Company, models.PROTECT, null=True, blank=True, related_name="users", verbose_name=_("company")
    )
    access_profile = models.ForeignKey(
        AccessProfile,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="users",
        verbose_name=_("access profile"),
    )
    marketing = models.BooleanField(_("news and offers by e-mail"), default=False)
    # "" stands for the browser's language, and for UTC.
    language = models.CharField(_("language"), max_length=10, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)
    email_codes = models.BooleanField(_("codes by e-mail"), default=False, editable=False)
    """Whether signing in takes a code that is sent by e-mail: the first of the second factors."""
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Without it, neither the user nor their key gets in.")
    )
    is_staff = models.BooleanField(_("staff"), default=False, help_text=_("Opens the admin site."))
    date_joined = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    key_version = models.PositiveBigIntegerField(_("key version"), default=0, editable=False)
    session_salt = models.CharField(max_length=32, blank=True, default="", db_default="", editable=False)
    """Part of what each session of the user must know: with another one here, all sessions of before are over."""

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        ordering = ("email",)
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case"),)

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save all but `key_version`, which `keys` alone counts, and `session_salt`, which changes and never goes back.

        A copy of them that was read a moment ago must not be written back: it would revive the tokens, or the
        sessions, that were ended in between. Who is saved as inactive has no session of before, however they were
        made so.
        """
        fields = kwargs.get("update_fields")
        if not self._state.adding:
            if fields is None:
                loaded = {field.attname for field in self._meta.concrete_fields} - self.get_deferred_fields()
                fields = loaded - {self._meta.pk.attname, "key_version", "session_salt"}
            if "is_active" in fields and not self.is_active:
                self.session_salt = new_uid()
                fields = {*fields, "session_salt"}
            kwargs["update_fields"] = fields
        super().save(*args, **kwargs)

    @classmethod
    def normalize_username(cls, username: str) -> str:
        return spelling.address(username)

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password and spelling.password(raw_password))

    def check_password(self, raw_password: str | None) -> bool:
        """Whether this is the password, in whichever form of Unicode it is typed.

        What was stored before passwords were brought to one form is also taken exactly as it was typed then. It stays
        so until the next change: to store it anew would end the owner's sessions in the middle of what they do.
        """
        password = raw_password and spelling.password(raw_password)
        return super().check_password(password) or (password != raw_password and super().check_password(raw_password))

    def has_password(self, raw_password: str) -> bool:
        """The same, of somebody who is signed in: `check_password` may store the password anew, as a newer hasher does
        it, and that would sign them out.
        """
        forms = {spelling.password(raw_password), raw_password}
        return any(hashers.check_password(each, self.password) for each in forms)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """What a session keeps and must match: Django's hash of the password, and `session_salt`."""
        key_salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        value = self.password + self.session_salt
        return salted_hmac(key_salt, value, secret=secret, algorithm="sha256").hexdigest()

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name

    @property
    def initials(self) -> str:
        """What stands in for a picture: the first letters of the first name and of the last."""
        words = (self.name or self.email).split()
        return "".join(word[0] for word in words[:: max(1, len(words) - 1)]).upper()

    @property
    def rights(self) -> frozenset[str]:
        """What the access profile allows at this moment."""
        profile = self.access_profile
        return rights.ALL_RIGHTS.intersection(profile.rights) if profile else frozenset()

    @property
    def mail_language(self) -> str:
        """The language of mails to this user: the one they chose, else the site's."""
        return self.language if self.language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE

    @property
    def pending_email(self) -> str:
        """The address that becomes this user's once the link that was sent there is followed, or ""."""
        change: EmailChange | None = getattr(self, "email_change", None)
        return change.email if change and change.is_open else ""

    @cached_property
    def has_authenticator(self) -> bool:
        """Whether there is a second factor beside codes by e-mail; `with_all` reads it along with the user."""
        return authenticators().filter(user=self).exists()

    @property
    def has_second_factor(self) -> bool:
        return self.email_codes or self.has_authenticator

    @property
    def needs_second_factor(self) -> bool:
        """Whether the company asks for one."""
        return self.company is not None and self.company.require_mfa


class Attempts(models.Model):
    """How often something was tried that may be tried so often in a time; `account.attempts` counts here."""

    # What is counted, as a keyed hash: no address of anybody stands here.
    name = models.CharField(max_length=64, primary_key=True)
    tried = models.PositiveIntegerField()
    ends = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("attempts")
        verbose_name_plural = _("attempts")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.tried} until {self.ends:%Y-%m-%d %H:%M:%S}"


class FactorFailures(models.Model):
    """How often in a row a second factor of a user was tried in vain, over any time; `account.mfa` counts here."""

    user = models.ForeignKey(User, models.CASCADE, related_name="factor_failures", verbose_name=_("user"))
    factor = models.CharField(max_length=30)
    failures = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("failures of a second factor")
        verbose_name_plural = _("failures of second factors")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("user", "factor"), name="factor_failures_unique"),)

    def __str__(self) -> str:
        return f"{self.user_id} · {self.factor} · {self.failures}"


class EmailChange(models.Model):
    """A change of a user's e-mail address that waits for a link to be followed: one at a time for each user.

    The link is kept as its digest. It is good for the password and the address that the user had when it was asked
    for: with either of them changed it is dead, whoever changed it.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="email_change", verbose_name=_("user"))
    email = AddressField(_("new e-mail address"))
    asked = models.DateTimeField(_("asked for"), default=timezone.now)
    link_digest = models.CharField(max_length=64, unique=True)
    state_digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("change of an e-mail address")
        verbose_name_plural = _("changes of e-mail addresses")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} · {self.email}"

    @staticmethod
    def digest_of_state(user: User) -> str:
        """What must stay as it is for a link to go on working."""
        return salted_hmac("profiles.EmailChange", f"{user.email}:{user.password}", algorithm="sha256").hexdigest()

    @property
    def until(self) -> datetime:
        """When the link ends: as soon as one that sets a password."""
        return self.asked + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)

    @property
    def is_open(self) -> bool:
        return (
            self.user.is_active
            and timezone.now() < self.until
            and constant_time_compare(self.state_digest, self.digest_of_state(self.user))
        )


class OAuthApplication(AbstractApplication):
    """The key: one OAuth client of one owner, for the client-credentials grant alone.

    The toolkit's application model, made to hold nothing else. The rules of its life are in `keys`.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="key", verbose_name=_("owner"))
    client_id = models.CharField(
        _("Client ID"), max_length=32, unique=True, default=credentials.new_client_id, editable=False
    )
    client_secret = ClientSecretField(max_length=128, editable=False)
    client_type = models.CharField(
        max_length=32,
        choices=AbstractApplication.CLIENT_TYPES,
        default=AbstractApplication.CLIENT_CONFIDENTIAL,
        editable=False,
    )
    authorization_grant_type = models.CharField(
        max_length=44,
        choices=AbstractApplication.GRANT_TYPES,
        default=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
        editable=False,
    )
    secret_hint = models.CharField(max_length=4, editable=False)
    secret_created = models.DateTimeField(_("secret created"), editable=False)
    last_used = models.DateTimeField(_("last used"), null=True, editable=False)
    last_used_address = models.GenericIPAddressField(_("last used from"), null=True, editable=False)
    last_used_agent = models.CharField(_("last used by"), max_length=200, editable=False)

    objects: ClassVar[ApplicationManager] = ApplicationManager()

    class Meta:
        verbose_name = _("key")
        verbose_name_plural = _("keys")
        ordering = ("-created",)
        default_permissions = ("view",)
        permissions = (("revoke_oauthapplication", "Can revoke keys"),)
        constraints = (
            models.CheckConstraint(
                name="key_is_for_client_credentials_only",
                condition=models.Q(
                    client_type=AbstractApplication.CLIENT_CONFIDENTIAL,
                    authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    hash_client_secret=True,
                ),
            ),
        )

    def __str__(self) -> str:
        return self.client_id

    def natural_key(self) -> tuple[str]:
        return (self.client_id,)

    def get_absolute_url(self) -> str:
        """Where staff see it; the toolkit's own page for applications is not mounted."""
        return reverse("admin:profiles_oauthapplication_change", args=[self.pk])

    def is_usable(self, request: object) -> bool:
        """The toolkit's question before it issues or accepts a token: not for an owner who is inactive."""
        return self.user.is_active


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def live(self) -> Self:
        """The tokens that are accepted now. `tokens` has the same rule in SQL; a test holds them together."""
        return self.filter(
            expires__gt=timezone.now(),
            application__user__is_active=True,
            application__user__key_version=models.F("key_version"),
        )


class TokensOfKeys(models.Manager["AccessToken"]):
    """The tokens whose key is there; the rows of the others only wait for the purge."""

    def get_queryset(self) -> models.QuerySet[AccessToken]:
        keys = OAuthApplication.objects.filter(pk=models.OuterRef("application_id"))
        return super().get_queryset().filter(models.Exists(keys))


class AccessToken(AbstractAccessToken):
    """An access token, kept as its digest only.

    Its keys to the user and the application are plain numbers for the database: a token of a deleted key finds
    no key and is dead, so deleting a key with a million tokens deletes one row. The purge of expired tokens
    takes the rest.
    """

    source_refresh_token = None  # the client-credentials grant has no refresh tokens (RFC 6749 section 4.4.3)
    id_token = None  # nor ID tokens
    resource = None  # one resource server: the API beside it
    user = models.ForeignKey(User, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    application = models.ForeignKey(
        OAuthApplication, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="access_tokens"
    )
    token_checksum = TokenChecksumField(max_length=64, editable=False)
    key_version = models.PositiveBigIntegerField(editable=False)

    objects = AccessTokenQuerySet.as_manager()
    of_keys = TokensOfKeys()

    class Meta:
        # What Django takes where nobody chooses: for `dumpdata`, which fails at a key that is not there, for one.
        default_manager_name = base_manager_name = "of_keys"
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        default_permissions = ("view",)
        constraints = (
            # As a constraint, not as unique=True, which on PostgreSQL makes a second index to write.
            models.UniqueConstraint(fields=("token_checksum",), name="access_token_unique_checksum"),
        )
        indexes = (models.Index(fields=("application", "key_version", "expires"), name="access_token_of_key"),)

    def is_expired(self) -> bool:
        """The toolkit's question before it accepts a token: also true when the key has changed since."""
        return super().is_expired() or not AccessToken.objects.live().filter(pk=self.pk).exists()


class FailureCount(models.Model):
    """How often client authentication has failed in a minute, for an address or a Client ID: see `limits`."""

    name = models.CharField(primary_key=True, max_length=64)
    minute = models.BigIntegerField()
    number = models.IntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} · {self.number}"


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
        ADMIN = "admin", _("Admin site")
        COMMAND = "command", _("Command line")

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
    """What happened to a key. The Client ID is copied, because the event outlives the key."""

    class Action(models.TextChoices):
        CREATED = "created", _("Key created")
        REGENERATED = "regenerated", _("Secret key regenerated")
        DELETED = "deleted", _("Key deleted")
        REVOKED = "revoked", _("Key revoked by an administrator")
        PASSWORD_REFUSED = "password_refused", _("Wrong password for a change of the key")

    kind = "key"

    action = models.CharField(_("what"), max_length=20, choices=Action)
    client_id = models.CharField(_("Client ID"), max_length=32, blank=True, db_index=True)
    owner = models.ForeignKey(User, models.SET_NULL, null=True, related_name="key_events", verbose_name=_("owner"))
    reason = models.CharField(_("reason"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("key event")
        verbose_name_plural = _("key events")
        ordering = ("-id",)
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.get_action_display()} · {self.client_id or self.owner_uid}"


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
