"""Loopback addresses, and the proxies of the environment."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from kisi.errors import NotSent


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

    Raises:
        NotSent: It is a SOCKS proxy. What would carry its connections knows nothing of pins.
    """
    host = urlsplit(url).hostname or ""
    proxies = {} if is_loopback(host) else dict(get_environ_proxies(url))
    if (select_proxy(url, proxies) or "").lower().startswith("socks"):
        raise NotSent(
            "the environment names a SOCKS proxy, which kisi does not speak to. Nothing was sent.",
            remedy="For the user that runs kisi, name an HTTP proxy in HTTPS_PROXY, or the server "
            "in NO_PROXY.",
        )
    return proxies
