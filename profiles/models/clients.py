"""OAuth clients and what they hold: access tokens. Their life is in `profiles.clients`."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    ApplicationManager,
    ClientSecretField,
    TokenChecksumField,
)

from .. import credentials
from .people import User


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
