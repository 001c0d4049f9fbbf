"""Loopback addresses, and the proxies of the environment."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies


def is_loopback(host: str) -> bool:
    """Says whether `host` is this machine itself: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def proxies_for(url: str) -> dict[str, str]:
    """The proxies that the environment names for `url` (`HTTPS_PROXY`, `NO_PROXY` and so on).

    A loopback address is never asked for through a proxy.
    """
    host = urlsplit(url).hostname or ""
    return {} if is_loopback(host) else dict(get_environ_proxies(url))
