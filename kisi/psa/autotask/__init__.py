"""Autotask PSA: lines are services of Recurring Service contracts, changed by adjustments.

Here is its section of kisi.toml, `adapter.Autotask` is the `kisi.psa.Psa`. `docs/autotask.md` says
what is assumed about Autotask, and how to prove it on one's own system.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from kisi.config.settings import SecretRef, Section, ServerUrl
from kisi.secrets import is_loopback

_ZONES_OF = ".autotask.net"
ACTIVE = 1
"""`status` of a contract in force; evidenced by callers, see docs/autotask.md."""


class Effective(StrEnum):
    """From when on a changed quantity counts."""

    PERIOD_START = "period_start"
    """An increase counts from the start of the running period; from the next where it is posted."""
    DAY = "day"
    """Both count from today on; Autotask prorates."""
    NEXT_PERIOD = "next_period"


def trusted_zone(url: str) -> str:
    """The base address of a zone; `ValueError` where a secret must not be sent to it."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    plain = parts.scheme == "http" and is_loopback(host)
    if not plain and (parts.scheme != "https" or not host.endswith(_ZONES_OF) or parts.port):
        raise ValueError("An Autotask zone is an https:// address of a host under autotask.net.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("The address of a zone ends with its path, /atservicesrest.")
    return url.rstrip("/")


class AutotaskSettings(Section):
    """Which Autotask database it is, who kisi is there, and from when on changes count."""

    kind: Literal["autotask"]
    user: SecretRef = None
    secret: SecretRef = None
    integration_code: SecretRef = None
    """The API user's tracking identifier; a custom one, not a vendor's."""
    zone: Annotated[ServerUrl, AfterValidator(trusted_zone)] | None = None
    """The base address of the zone; Autotask is asked for it where it is missing."""
    effective: Effective = Effective.PERIOD_START
    """From when on an increase counts; a decrease: from the next period, except with `day`."""
    workers: int = Field(default=2, ge=1, le=3)
    """Requests at once; Autotask takes three for each endpoint."""
    active_status: int = ACTIVE
    """The `status` of an active contract: evidenced, not documented."""
