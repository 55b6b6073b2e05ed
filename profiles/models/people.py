"""Who there is: users, their companies, and the access profiles that give them rights."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from django_countries.fields import CountryField

from .. import rights
from ..text import spelling
from ..text.fields import AddressField, FoldedNameField, NameField, PhoneNumberField


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


class CompanyQuerySet(models.QuerySet["Company"]):
    def update(self, **kwargs: Any) -> int:
        """As Django's, but where a company is switched off or on, no session of before goes on."""
        if "is_active" not in kwargs:
            return super().update(**kwargs)
        with transaction.atomic():
            # In the order in which API Clients are changed, too: the company first, then its users.
            companies = list(self.order_by("pk").values_list("pk", flat=True))
            changed = super().update(**kwargs)
            User.objects.filter(company__in=companies).update(session_salt=new_uid())
            return changed


class Company(Named):
    """The tenant a user belongs to."""

    uid = models.CharField(_("uid"), max_length=32, unique=True, default=new_uid, editable=False)
    name = NameField(_("name"), max_length=150, unique=True)
    require_mfa = models.BooleanField(
        _("multi-factor authentication required"),
        default=False,
        help_text=_("Its users must set up a second factor when they sign in. API access keys are not affected."),
    )
    is_active = models.BooleanField(
        pgettext_lazy("company", "active"),
        default=True,
        db_default=True,
        help_text=_("Without it, neither its users nor their keys nor its API Clients get in."),
    )
    policy = models.TextField(_("policy for the API"), blank=True, default="", db_default="", editable=False)
    """As `profiles.policy` writes it; "" where there is none."""

    objects = CompanyQuerySet.as_manager()

    class Meta:
        verbose_name = _("company")
        verbose_name_plural = _("companies")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it; where it is switched off, the sessions of its users are over, also once it is on again."""
        fields = kwargs.get("update_fields")
        ends_sessions = not self._state.adding and not self.is_active and (fields is None or "is_active" in fields)
        with transaction.atomic():
            super().save(*args, **kwargs)
            if ends_sessions:
                self.users.update(session_salt=new_uid())


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


def let_in(path: str = "") -> Q:
    """`User.is_let_in` in a query; `path` leads to the user, and ends with two underscores."""
    no_company, active_company = Q(**{f"{path}company": None}), Q(**{f"{path}company__is_active": True})
    return Q(**{f"{path}is_active": True}) & (no_company | active_company)


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
        with transaction.atomic(using=self._db):
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
    mail_new_address = models.BooleanField(_("mail about new addresses"), default=False, db_default=False)
    """Whether they are mailed when their key is used from an address that it has not been used from in 90 days."""
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
        """Save all but `session_salt`, which changes and never goes back.

        A copy of it that was read a moment ago must not be written back: it would revive the sessions that were ended
        in between. Who is saved as one who is not let in has no session of before, however they were made so.
        """
        fields = kwargs.get("update_fields")
        if not self._state.adding:
            if fields is None:
                loaded = {field.attname for field in self._meta.concrete_fields} - self.get_deferred_fields()
                fields = loaded - {self._meta.pk.attname, "session_salt"}
            if {"is_active", "company", "company_id"}.intersection(fields) and not self.is_let_in:
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
    def is_let_in(self) -> bool:
        """Whether this user and their key get in anywhere: they are active, and so is their company, if they have one.

        Whatever asks whether somebody may sign in, is in, or gets mail, asks this. `let_in` says it in a query, and
        `clients.tokens` in SQL.
        """
        return self.is_active and (self.company is None or self.company.is_active)

    @property
    def rights(self) -> frozenset[str]:
        """What the access profile allows at this moment."""
        profile = self.access_profile
        return rights.ALL_RIGHTS.intersection(profile.rights) if profile else frozenset()

    def language_read(self, *, otherwise: str | None = None) -> str:
        """The language in which this user reads pages and mails: the one they chose, if the site has it.

        Who has chosen none reads `otherwise`, which is what their browser asks for where there is a page; where there
        is none, the language of the site.
        """
        chosen = self.language if self.language in dict(settings.LANGUAGES) else ""
        return chosen or otherwise or settings.LANGUAGE_CODE

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
    def digest_of_state(user: User, secret: str | bytes | None = None) -> str:
        """What must stay as it is for a link to go on working; made with SECRET_KEY, or with a former one."""
        state = f"{user.email}:{user.password}"
        return salted_hmac("profiles.EmailChange", state, secret=secret, algorithm="sha256").hexdigest()

    @property
    def until(self) -> datetime:
        """When the link ends: as soon as one that sets a password."""
        return self.asked + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)

    @property
    def is_open(self) -> bool:
        digests = [self.digest_of_state(self.user, secret) for secret in (None, *settings.SECRET_KEY_FALLBACKS)]
        return (
            self.user.is_let_in
            and timezone.now() < self.until
            and any(constant_time_compare(self.state_digest, digest) for digest in digests)
        )
