"""The tables, by what they are about. Import them from here."""

from .clients import AccessToken, OAuthApplication
from .counters import Attempts, FactorFailures, FailureCount
from .events import AccountEvent, Event, KeyEvent
from .people import AccessProfile, Company, EmailChange, User, authenticators, new_uid, validate_rights

__all__ = (
    "AccessProfile",
    "AccessToken",
    "AccountEvent",
    "Attempts",
    "Company",
    "EmailChange",
    "Event",
    "FactorFailures",
    "FailureCount",
    "KeyEvent",
    "OAuthApplication",
    "User",
    "authenticators",
    "new_uid",
    "validate_rights",
)
