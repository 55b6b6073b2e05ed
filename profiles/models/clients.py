"""OAuth clients, their secrets, and the access tokens obtained with these. Their life is in `profiles.clients`.

Everything hangs on the secret. A token carries the number of the secret that it was obtained with, and is accepted
while that secret is live: so whatever ends a secret ends all its tokens by one row, whatever their number, and at no
moment is the change visible and an old token still good.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self, cast

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    ApplicationManager,
    TokenChecksumField,
)

from .. import credentials
from ..text.fields import NameField
from .people import AccessProfile, Company, Named, User, let_in


class OldSecret(models.TextChoices):
    """What becomes of the secret that is replaced: the one choice of Regenerate."""

    NOW = "now", _("Stops at once")
    FIRST_USE = "first-use", _("Stops when the new one is first used, in 7 days at the latest")
    DAY = "24h", _("Stops in 24 hours")


class OAuthApplication(Named, AbstractApplication):
    """An OAuth client for the client-credentials grant alone: the key of one owner, or an API Client of a company.

    The toolkit's application model, made to hold nothing else. It has no secret of its own: see `ClientSecret`. The
    rules of its life are in `profiles.clients`: `lifecycle` for keys, `company` for API Clients.
    """

    user = models.OneToOneField(
        User, models.CASCADE, null=True, blank=True, related_name="key", verbose_name=_("owner")
    )
    company = models.ForeignKey(
        Company, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("company")
    )
    client_id = models.CharField(
        _("Client ID"), max_length=32, unique=True, default=credentials.new_client_id, editable=False
    )
    # The toolkit's column for one secret; here there are rows.
    client_secret = None
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
    # Of a company's client only; a key is known by its owner, and has their rights.
    name = NameField(_("name"), max_length=150, blank=True, default="", db_default="")
    note = models.TextField(_("note"), max_length=1000, blank=True, default="", db_default="")
    access_profile = models.ForeignKey(
        AccessProfile, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("access profile")
    )
    maker = models.ForeignKey(
        User,
        models.SET_NULL,
        null=True,
        blank=True,
        db_constraint=False,
        editable=False,
        related_name="+",
        verbose_name=_("made by"),
    )
    disabled = models.BooleanField(_("disabled"), default=False, db_default=False, editable=False)
    may_introspect = models.BooleanField(
        _("may introspect tokens"),
        default=False,
        db_default=False,
        help_text=_("For a resource server: it may ask about every access token of this site (RFC 7662)."),
    )
    # Of a company's client; of a key its owner says it (`User.mail_new_address`).
    mail_new_address = models.BooleanField(
        _("mail about new addresses"), default=False, db_default=False, editable=False
    )
    # Of whichever secret; kept here too, so that unused clients are found without a look at all secrets.
    last_used = models.DateTimeField(_("last used"), null=True, editable=False)
    last_used_address = models.GenericIPAddressField(_("last used from"), null=True, editable=False)
    last_used_agent = models.CharField(_("last used by"), max_length=200, editable=False)

    objects: ClassVar[ApplicationManager] = ApplicationManager()

    class Meta:
        # Either kind; in the admin site they are one list.
        verbose_name = _("client")
        verbose_name_plural = _("keys and API Clients")
        ordering = ("-created",)
        default_permissions = ("view",)
        permissions = (("revoke_oauthapplication", "Can revoke keys and API Clients, and disable these"),)
        constraints = (
            models.CheckConstraint(
                name="key_is_for_client_credentials_only",
                condition=Q(
                    client_type=AbstractApplication.CLIENT_CONFIDENTIAL,
                    authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    hash_client_secret=True,
                ),
            ),
            models.CheckConstraint(
                name="client_of_a_user_or_a_company",
                condition=Q(user__isnull=False, company__isnull=True, access_profile__isnull=True)
                | (Q(user__isnull=True, company__isnull=False, access_profile__isnull=False) & ~Q(name="")),
            ),
            models.UniqueConstraint(
                name="client_name_unique_in_company",
                fields=("company", "name_folded"),
                condition=Q(company__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.client_id

    @property
    def owner(self) -> User:
        """The owner of a personal key."""
        return cast("User", self.user)

    @property
    def is_companys(self) -> bool:
        """Whether this is an API Client of a company, and no personal key."""
        return self.company_id is not None

    def natural_key(self) -> tuple[str]:
        return (self.client_id,)

    def get_absolute_url(self) -> str:
        """Where staff see it; the toolkit's own page for applications is not mounted."""
        return reverse("admin:profiles_oauthapplication_change", args=[self.pk])

    def is_usable(self, request: object) -> bool:
        """The toolkit's question before it issues or accepts a token: not when it or whom it belongs to is off."""
        return not self.disabled and self.is_owner_active

    @property
    def is_owner_active(self) -> bool:
        """Whether whom it belongs to is let in: its user, or its company."""
        return self.company.is_active if self.company else self.owner.is_let_in


class ClientSecretQuerySet(models.QuerySet["ClientSecret"]):
    def live(self, at: datetime | None = None) -> Self:
        """The secrets that are accepted at this moment. `clients.tokens` has the same rule in SQL."""
        return self.filter(Q(ends__isnull=True) | Q(ends__gt=at or timezone.now()), ended=False)

    def leaked(self) -> Self:
        """Those that were reported as leaked, of clients that have had no new one since."""
        current = ClientSecret.objects.filter(application=OuterRef("application"), ends=None)
        leaked = ClientSecret.EndReason.LEAKED
        return self.filter(~Exists(current), end_reason=leaked, application__isnull=False)

    def known_outside(self) -> Self:
        """Those of API Clients whom somebody has seen who is no longer of the company, or not active any more."""
        has_left = Q(shown_to=None) | Q(shown_to__is_active=False) | ~Q(shown_to__company=F("application__company"))
        return self.filter(has_left, application__company__isnull=False)


class ClientSecret(models.Model):
    """One secret that was ever made for a client, kept as its digest.

    At most one secret of a client is good until further notice (`ends` is null), by constraint. At most one more is
    live until its end comes, by the rule of `clients.changes`. Its row stays when the client is deleted, without a
    link, so that whoever still shows it can be told what has become of it.
    """

    class EndReason(models.TextChoices):
        REPLACED = "replaced", _("Replaced by a new one")
        ENDED = "ended", _("Ended by its owner")
        DELETED = "deleted", _("Key deleted")
        REVOKED = "revoked", _("Key revoked by an administrator")
        LEAKED = "leaked", _("Reported as leaked")

    # Without constraints in the database for the two links, as for `maker` above: servers of the version before delete
    # keys and users, and know nothing of them.
    application = models.ForeignKey(
        OAuthApplication, models.SET_NULL, null=True, db_constraint=False, related_name="secrets"
    )
    client_id = models.CharField(_("Client ID"), max_length=32)
    digest = models.CharField(max_length=64)
    hint = models.CharField(max_length=4)
    created = models.DateTimeField(_("created"), default=timezone.now)
    shown_to = models.ForeignKey(
        User, models.SET_NULL, null=True, db_constraint=False, related_name="+", verbose_name=_("shown to")
    )
    ends = models.DateTimeField(_("ends"), null=True)
    """Until when it is good, or was; null until further notice."""
    ended = models.BooleanField(default=False, db_default=False)
    """Whether it was ended before its time, by somebody: then no clock is asked, for no two are alike."""
    ends_at_first_use = models.BooleanField(default=False, db_default=False)
    """Whether the first use of its successor ends it, if that comes before `ends`."""
    end_reason = models.CharField(_("why it ends"), max_length=10, choices=EndReason, blank=True, db_default="")
    warned = models.DateTimeField(null=True)
    """The last of the moments to say that it will be too old for its company at which it was said: `clients.ages`."""
    first_used = models.DateTimeField(_("first used"), null=True)
    last_used = models.DateTimeField(_("last used"), null=True)
    last_used_address = models.GenericIPAddressField(_("last used from"), null=True)
    last_used_agent = models.CharField(_("last used by"), max_length=200, blank=True, db_default="")
    last_refused = models.DateTimeField(_("last refused"), null=True)
    """When it was last tried after its end."""
    last_refused_address = models.GenericIPAddressField(_("last refused from"), null=True)
    last_refused_agent = models.CharField(_("last refused to"), max_length=200, blank=True, db_default="")

    objects = ClientSecretQuerySet.as_manager()

    class Meta:
        verbose_name = _("secret key")
        verbose_name_plural = _("secret keys")
        ordering = ("-id",)
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("digest",), name="client_secret_unique_digest"),
            models.UniqueConstraint(
                fields=("application",), condition=Q(ends__isnull=True), name="one_secret_without_end"
            ),
            models.CheckConstraint(name="ended_secret_has_its_end", condition=Q(ended=False) | Q(ends__isnull=False)),
        )
        # For `clients.health`. None has a column that the note of a use writes each minute, so that stays as cheap.
        indexes = (
            models.Index(fields=("application",), condition=Q(ends=None, first_used=None), name="secret_never_used"),
            models.Index(fields=("created",), condition=Q(ends=None), name="secret_by_age"),
            models.Index(fields=("application",), condition=Q(end_reason="leaked"), name="secret_leaked"),
        )

    def __str__(self) -> str:
        return f"{self.client_id} · {self.pk}"

    @property
    def is_live(self) -> bool:
        return not self.ended and (self.ends is None or self.ends > timezone.now())


@receiver(pre_delete, sender=OAuthApplication)
def end_secrets(instance: OAuthApplication, **kwargs: Any) -> None:
    """End the secrets of a key that is deleted in whatever way, with its user for example; forget where it was used."""
    now = timezone.now()
    instance.secrets.live(now).update(ended=True, ends=now, end_reason=ClientSecret.EndReason.DELETED)
    instance.secrets.update(
        last_used_address=None, last_used_agent="", last_refused_address=None, last_refused_agent=""
    )


# Whom the token's client belongs to is let in: a company that is switched on, or a user.
OF_ACTIVE_OWNER = Q(application__user=None, application__company__is_active=True) | let_in("application__user__")


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def active(self) -> Self:
        """The tokens that are accepted now. `tokens` has the same rule in SQL; a test holds them together."""
        now = timezone.now()
        return self.filter(
            Q(secret__ends__isnull=True) | Q(secret__ends__gt=now),
            OF_ACTIVE_OWNER,
            expires__gt=now,
            secret__ended=False,
            application__disabled=False,
        )


class TokensOfKeys(models.Manager["AccessToken"]):
    """The tokens whose key is there; the rows of the others only wait for the purge."""

    def get_queryset(self) -> models.QuerySet[AccessToken]:
        keys = OAuthApplication.objects.filter(pk=models.OuterRef("application_id"))
        return super().get_queryset().filter(models.Exists(keys))


class AccessToken(AbstractAccessToken):
    """An access token, kept as its digest only.

    Its links are plain numbers for the database: a token of a deleted key finds no key and is dead, so deleting a key
    with a million tokens deletes one row. The purge of expired tokens takes the rest.
    """

    source_refresh_token = None  # the client-credentials grant has no refresh tokens (RFC 6749 section 4.4.3)
    id_token = None  # nor ID tokens
    resource = None  # one resource server: the API beside it
    user = models.ForeignKey(User, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+")
    application = models.ForeignKey(
        OAuthApplication, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    token_checksum = TokenChecksumField(max_length=64, editable=False)
    # Null only for one that a server of the version before has issued during an upgrade: it is not accepted here.
    secret = models.ForeignKey(
        ClientSecret, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )

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
        indexes = (models.Index(fields=("application", "expires"), name="access_token_of_client"),)

    def is_expired(self) -> bool:
        """The toolkit's question before it accepts a token: also true when its secret has ended since."""
        return super().is_expired() or not AccessToken.objects.active().filter(pk=self.pk).exists()
