"""What the proxies in front say about a request: the client's address, and whether it came over https.

Each proxy appends to what it was sent, so with N proxies of ours (`TRUSTED_PROXIES`) the N-th entry from the right was
written by the outermost of them. Entries further left were written by the client and proves nothing (ASVS 4.1.3).
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any

from django.conf import settings

SCHEME = "HTTP_X_FORWARDED_PROTO"
# What proxies add; a browser adds none of these.
ADDED = (SCHEME, "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_FORWARDED")

_ADDRESS_LENGTH = 64
_IN_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?").fullmatch
_WITH_PORT = re.compile(r"([^:]*):[0-9]{1,5}").fullmatch


def client_address(meta: dict[str, Any]) -> str | None:
    """The address of the client, or None where there is none (a Unix socket)."""
    if settings.TRUSTED_PROXIES and "HTTP_X_FORWARDED_FOR" in meta:
        hops = meta["HTTP_X_FORWARDED_FOR"].split(",")
        if len(hops) >= settings.TRUSTED_PROXIES:
            return plain_address(hops[-settings.TRUSTED_PROXIES])
    return plain_address(meta.get("REMOTE_ADDR", ""))


def plain_address(text: str) -> str | None:
    """An address without what some proxies write around it: port, brackets, zone, the form of IPv4 in IPv6."""
    return _plain_address(text.strip()) if len(text) <= _ADDRESS_LENGTH else None


@lru_cache(maxsize=1024)
def _plain_address(text: str) -> str | None:
    if found := _IN_BRACKETS(text) or _WITH_PORT(text):
        text = found[1]
    try:
        address = ipaddress.ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def settle_scheme(meta: dict[str, Any]) -> None:
    """Leave in X-Forwarded-Proto the one entry that counts; Django would take the first, which a client can write.

    There may be fewer entries than proxies: most put theirs in the place of what they were sent.
    """
    if settings.TRUSTED_PROXIES and SCHEME in meta:
        entries = meta[SCHEME].split(",")
        meta[SCHEME] = entries[max(len(entries) - settings.TRUSTED_PROXIES, 0)].strip().lower()


def is_secure(meta: dict[str, Any]) -> bool:
    """Whether it came over https, after `settle_scheme`: what Django's `HttpRequest.is_secure` says."""
    if settings.SECURE_PROXY_SSL_HEADER:
        header, secure_value = settings.SECURE_PROXY_SSL_HEADER
        if header in meta:
            return bool(meta[header].split(",", 1)[0].strip() == secure_value)
    return bool(meta["wsgi.url_scheme"] == "https")


def missing(meta: dict[str, Any]) -> str:
    """The setting or header without which we cannot see that a proxied request came over https; "" if none."""
    if is_secure(meta) or not any(header in meta for header in ADDED):
        return ""
    if not settings.TRUSTED_PROXIES:
        return "TRUSTED_PROXIES"
    return "" if SCHEME in meta else "X-Forwarded-Proto"
