"""The tables, by what they are about. Import them from here."""

from .clients import AccessToken, ClientSecret, OAuthApplication, OldSecret
from .counters import Attempts, FactorFailures, FailureCount
from .events import BY_TIME, AccountEvent, Event, KeyEvent
from .findings import Finding
from .people import AccessProfile, Company, EmailChange, User, authenticators, let_in, new_uid, validate_rights
from .upkeep import UnsentNotice, Upkeep
from .uses import UsedFrom, UsedOn

__all__ = (
    "BY_TIME",
    "AccessProfile",
    "AccessToken",
    "AccountEvent",
    "Attempts",
    "ClientSecret",
    "Company",
    "EmailChange",
    "Event",
    "FactorFailures",
    "FailureCount",
    "Finding",
    "KeyEvent",
    "OAuthApplication",
    "OldSecret",
    "UnsentNotice",
    "Upkeep",
    "UsedFrom",
    "UsedOn",
    "User",
    "authenticators",
    "let_in",
    "new_uid",
    "validate_rights",
)
