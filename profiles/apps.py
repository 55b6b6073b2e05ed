from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProfilesConfig(AppConfig):
    name = "profiles"
    verbose_name = "AirVantage Keys"

    def ready(self) -> None:
        from .events import append_only  # and its check

        post_migrate.connect(append_only.protect_after_migrate, sender=self)
