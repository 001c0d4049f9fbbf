"""ConnectWise Manage as a `kisi.psa.Psa`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from kisi.errors import ConfigError
from kisi.model import Agreement, Finding, Hold, PlannedLine, WriteResult
from kisi.psa.connectwise.checks import check_online
from kisi.psa.connectwise.read import (
    Reads,
)
from kisi.psa.connectwise.settings import ConnectWiseSettings
from kisi.psa.connectwise.wire import Wire, request_headers
from kisi.psa.connectwise.write import write
from kisi.transport import Client, Clock, Limits


class ConnectWise(Reads):
    """One ConnectWise instance: reads agreements and additions, creates and changes additions.

    Safe to use from several threads. What each method promises is said in `kisi.psa.Psa`.

    Args:
        wire: Where requests go.
        workers: How many agreements may be read, and clients written, at once.
        clock: For `check_online` alone.
    """

    accounts_word = "company"
    if_others_change = ""

    def __init__(self, wire: Wire, *, workers: int, clock: Clock) -> None:
        super().__init__(wire)
        self.workers = workers
        self._clock = clock

    def withheld(self) -> Hold | None:
        """None: there is no report-only mode here."""
        return None

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        return write(self._wire, line, agreement, today)

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Login, clock, release and rights, for `kisi check --online`; changes nothing."""
        return check_online(self._wire, self._clock, agreement)

    def close(self) -> None:
        """Closes connections. Safe to call twice."""
        self._wire.close()


def open_psa(
    name: str,
    settings: ConnectWiseSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,  # noqa: ARG001  # no setting here names a file
    clock: Clock,
    limits: Limits,
) -> ConnectWise:
    """The ConnectWise of `[psa.NAME]`; sends nothing yet.

    Args:
        name: The section's name.
        settings: The section.
        secrets: `public_key`, `private_key` and `client_id`, resolved.
        base: The folder that relative paths start from.
        clock: For time-outs and `kisi check --online`.
        limits: For every request.

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
