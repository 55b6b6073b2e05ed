"""Where a request comes from, and what may be stored of it."""

import pytest
from django.test import RequestFactory

from profiles.http.requests import client_address, user_agent


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "address"),
    [
        (0, "203.0.113.7", "", "203.0.113.7"),
        (0, "203.0.113.7", "198.51.100.1", "203.0.113.7"),
        (1, "10.0.0.1", "198.51.100.1", "198.51.100.1"),
        (1, "10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (2, "10.0.0.1", "198.51.100.1", "10.0.0.1"),
        (1, "10.0.0.1", "<script>", None),
        (0, "", "", None),
        (0, "2001:DB8:0::1", "", "2001:db8::1"),
        (0, "::ffff:203.0.113.7", "", "203.0.113.7"),
        (1, "10.0.0.1", "6.6.6.6, 198.51.100.1:1234 ", "198.51.100.1"),
        (1, "10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        (1, "10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        (1, "10.0.0.1", "[::ffff:198.51.100.1%eth0]:443", "198.51.100.1"),
        (1, "10.0.0.1", "[2001:db8::1]x", None),
        (1, "10.0.0.1", "198.51.100.1:", None),
        (1, "10.0.0.1", "198.51.100.1%eth0", None),
        (1, "10.0.0.1", ",", None),
        (1, "10.0.0.1", "198.51.100.1" + "0" * 100_000, None),
    ],
)
def test_only_the_configured_proxies_are_believed(settings, proxies, remote, forwarded, address):  # security 60, 77
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == address


def test_a_request_that_came_past_the_proxy_has_its_own_address(settings):  # security 60
    settings.TRUSTED_PROXIES = 1
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="203.0.113.7")) == "203.0.113.7"


def test_the_user_agent_is_one_short_printable_line():  # security 59
    request = RequestFactory().get("/", HTTP_USER_AGENT="curl/8\r\nINFO forged\x00\x1b[31m" + "x" * 500)
    text = user_agent(request)
    assert text.startswith("curl/8??INFO forged??[31m")
    assert len(text) == 200
