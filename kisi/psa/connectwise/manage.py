"""ConnectWise Manage as a `kisi.psa.Psa`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from kisi.errors import KisiError
from kisi.model import Agreement, AgreementRef, Finding, Hold, Line, PlannedLine, Receipt
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise import catalog
from kisi.psa.connectwise.agreements import read_agreements, read_agreements_of
from kisi.psa.connectwise.checks import check_online
from kisi.psa.connectwise.lines import read_lines
from kisi.psa.connectwise.wire import Wire
from kisi.psa.connectwise.writes import write
from kisi.transport import Clock


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
        """The agreements of each company that bill today; one request for about 150 companies."""
        return read_agreements_of(self._wire, companies, today)

    def lines(self, ref: AgreementRef) -> tuple[Line, ...]:
        """All additions of one agreement, in one request for each 1,000 of them."""
        return read_lines(self._wire, ref)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        return catalog.read_products(self._wire, ids)

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> Receipt:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        return write(self._wire, line, agreement, today)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company, those in the recycle bin as inactive."""
        return catalog.all_companies(self._wire)

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, those that are cancelled or expired as inactive."""
        return catalog.all_agreements(self._wire)

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every catalog item; inactive ones and bundles, which cannot be additions, as inactive."""
        return catalog.all_products(self._wire)

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Login, clock, release and rights, for `kisi check --online`; changes nothing."""
        return check_online(self._wire, self._clock, agreement)

    def close(self) -> None:
        """Closes connections. Safe to call twice."""
        self._wire.close()
