"""ConnectWise Manage as a `kisi.psa.Psa`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

from kisi.errors import ConfigError, KisiError
from kisi.model import Agreement, AgreementRef, Finding, Hold, Line, PlannedLine, WriteResult
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise.checks import check_online
from kisi.psa.connectwise.read import (
    agreements_of,
    all_agreements,
    all_companies,
    all_products,
    read_agreements,
    read_line,
    read_lines,
    read_products,
)
from kisi.psa.connectwise.settings import ConnectWiseSettings
from kisi.psa.connectwise.wire import Wire, request_headers
from kisi.psa.connectwise.write import write
from kisi.transport import Client, Clock, Limits


class ConnectWise:
    """One ConnectWise instance: reads agreements and additions, creates and changes additions.

    Safe to use from several threads. What each method promises is said in `kisi.psa.Psa`.

    Args:
        wire: Where requests go.
        workers: How many agreements may be read, and clients written, at once.
        clock: For `check_online` alone.
    """

    accounts_word = "company"

    def __init__(self, wire: Wire, *, workers: int, clock: Clock) -> None:
        self.name = wire.name
        self.workers = workers
        self._wire = wire
        self._clock = clock

    def withheld(self) -> Hold | None:
        """None: there is no report-only mode here."""
        return None

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        """Each agreement, judged; one request for about 150 of them."""
        return read_agreements(self._wire, refs, today)

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """The active agreements of PSA companies; one request for about 150 of them."""
        return agreements_of(self._wire, companies, today)

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additions of one agreement (or of `products`); one request for each 1,000 of them."""
        return read_lines(self._wire, ref, products)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One addition by its id."""
        return read_line(self._wire, ref, line_id)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        return read_products(self._wire, ids)

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        return write(self._wire, line, agreement, today)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company, those in the recycle bin as inactive."""
        return all_companies(self._wire)

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, those that are cancelled or expired as inactive."""
        return all_agreements(self._wire)

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every catalog item; inactive ones and bundles, which cannot be additions, as inactive."""
        return all_products(self._wire)

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
