"""The signature that every request to Tigerpaw's REST API carries.

The vendor describes it on the page "REST Examples" of every API server, for example
https://api.paulsonsav.com/gettingstarted/restexamples.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime


def signature(private_key: str, method: str, path: str, date: str) -> str:
    """Sign one request.

    Args:
        private_key: The rep's private key, used as text (it looks like a GUID).
        method: The HTTP method.
        path: The path with its ids, without scheme, host and query.
        date: The value of the `X-TSI-Date` header.

    Returns:
        HMAC-SHA256 over the lower-cased `METHOD|PATH|DATE`, in base64.
    """
    to_sign = f"{method}|{path}|{date}".lower()
    return b64encode(hmac.digest(private_key.encode(), to_sign.encode(), "sha256")).decode()


def signed_headers(
    public_key: str, private_key: str, method: str, path: str, now: datetime
) -> Mapping[str, str]:
    """The headers that identify us: `X-TSI-Date` and `Authorization`.

    `X-TSI-Date` overrides `Date` on the server. `now` is an aware instant; the header shows it in
    UTC, in the form of RFC 1123.
    """
    date = format_datetime(now.astimezone(UTC), usegmt=True)
    pair = f"{public_key}:{signature(private_key, method, path, date)}"
    return {"X-TSI-Date": date, "Authorization": f"TSI {b64encode(pair.encode()).decode()}"}
