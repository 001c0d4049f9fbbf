"""The proxies of the environment."""

from __future__ import annotations

from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from kisi.errors import NotSent
from kisi.loopback import is_loopback


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
