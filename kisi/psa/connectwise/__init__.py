"""ConnectWise Manage (ConnectWise PSA): lines are Agreement Additions.

Settings are in `settings`, requests in `wire`, reads in `agreements`, `lines` and `catalog`, writes
in `changes`, `writes` and `receipts`, refusals in `refusals`, and `manage.ConnectWise` puts them
behind `kisi.psa.Psa`. `docs/connectwise.md` says what is assumed about ConnectWise, and how to
prove it on one's own system.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kisi.errors import ConfigError
from kisi.psa.connectwise.manage import ConnectWise
from kisi.psa.connectwise.settings import ConnectWiseSettings
from kisi.psa.connectwise.wire import Wire, request_headers
from kisi.transport import Client, Clock, Limits

__all__ = ["SETTINGS", "ConnectWise", "ConnectWiseSettings", "open_psa"]

SETTINGS = ConnectWiseSettings


def open_psa(
    name: str,
    settings: ConnectWiseSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,  # noqa: ARG001  # no setting here names a file
    clock: Clock,
    limits: Limits,
    state: Path | None = None,  # noqa: ARG001  # nothing here is kept between runs
    settles: bool = False,  # noqa: ARG001  # so nothing can be left
) -> ConnectWise:
    """The ConnectWise of `[psa.NAME]`; sends nothing yet.

    Args:
        name: The section's name.
        settings: The section.
        secrets: `public_key`, `private_key` and `client_id`, resolved.
        base: The folder that relative paths start from.
        clock: For time-outs and `kisi check --online`.
        limits: For every request.
        state: The folder for what must be kept.
        settles: Whether what an earlier run left there may be settled.

    Raises:
        ConfigError: A secret cannot be part of a request.
    """
    if not (secrets["client_id"].isascii() and secrets["client_id"].isprintable()):
        raise ConfigError(
            f"[psa.{name}] client_id holds characters that no clientId has.",
            remedy="Copy the clientId from developer.connectwise.com again.",
        )
    if ":" in secrets["public_key"]:
        raise ConfigError(
            f"[psa.{name}] public_key holds a colon, which no public key has.",
            remedy="Copy the API member's public key again.",
        )
    api = f"{settings.url}/{settings.codebase}/apis/3.0"
    headers = request_headers(
        settings.company,
        secrets["public_key"],
        secrets["private_key"],
        secrets["client_id"],
        settings.api_version,
    )
    client = Client(
        api, headers=headers, limits=limits, clock=clock, label=f"ConnectWise (psa.{name})"
    )
    return ConnectWise(
        Wire(client, api, name),
        workers=settings.workers,
        clock=clock,
    )
