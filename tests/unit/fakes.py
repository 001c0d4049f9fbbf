"""An honest source and an honest PSA in memory, with a switch for everything that goes wrong.

Tests judge by what the fake PSA *holds* afterwards (`FakePsa.quantities`), never by what it was
told, and by what the real journal says.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from kisi.errors import ForeignChange, KisiError, PsaError, SourceError
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Hold,
    Line,
    NotBillable,
    PlannedLine,
    Reading,
    Tenant,
    TenantRef,
    WriteResult,
    WriteStatus,
)
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.sources import Select
from tests.unit.build import NOW


class FakeClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self, start: datetime = NOW) -> None:
        self.start = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=sum(self.slept))

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass(frozen=True)
class Reaction:
    """What the fake PSA makes of one write."""

    status: WriteStatus
    lands: bool = False
    """Whether the line is changed, whatever the answer says."""
    message: str = ""
    wait: float = 0.0
    denied: bool = False
    foreign: bool = False
    """`ForeignChange` is raised after the write."""
    stored: int | None = None
    """What the PSA makes of the quantity; None: it takes it as it is."""
    before: Callable[[], object] | None = None
    """Somebody else is faster: called before the write lands."""
    late: float = 0.0
    """Seconds, beside those of the PSA, until a new line is shown."""


DONE = Reaction(WriteStatus.APPLIED, lands=True)
LOST = Reaction(WriteStatus.UNKNOWN, lands=True, message="The answer was lost.")
VANISHED = Reaction(WriteStatus.UNKNOWN, message="The connection broke.")
SAID_DONE = Reaction(WriteStatus.UNKNOWN, message="Success: true.")
REFUSED = Reaction(WriteStatus.REJECTED, message="The item is not active.")
DENIED = Reaction(WriteStatus.REJECTED, message="401: refused keys.", denied=True)
UNREACHED = Reaction(WriteStatus.NOT_SENT, message="Connection refused.")
CHANGED = Reaction(WriteStatus.STALE, message="409: it is not what it was.")
FOREIGN = Reaction(WriteStatus.APPLIED, lands=True, foreign=True)


def busy(wait: float) -> Reaction:
    return Reaction(WriteStatus.THROTTLED, message="429: slow down.", wait=wait)


@dataclass
class _Change:
    visible_at: float
    line_id: str
    line: Line | None


class FakePsa:
    """A PSA that holds lines, and does to a write what its `reactions` say, then `DONE`.

    Attributes:
        if_others_change: Where it is set, `lines` always gives all lines, as the protocol says.
        late: Seconds after which `lines` shows a write.
        reactions: What happens to the next writes, in order.
        broken: `agreements` raises it.
        unlisted: `agreements_of` raises it.
        unreadable: `lines` raises it for an agreement, so many times (None: always).
        report: What `withheld` says.
        busy: What `busy_for` says.
        skew: What `clock_skew` says.
        sent: Every line that `write` got, in order.
        looks: Every agreement that `lines` was asked for, in order.
        asked: The products that each of these looks was for (None: all).
        hidden: Lines that `lines` does not show without a filter, though they exist.
        asked_lines: Every line that `line` was asked for, in order.
        asked_companies: Every company that `agreements_of` was asked for, in order.
    """

    accounts_word = "company"
    if_others_change = ""

    def __init__(
        self, name: str = "cw", *, clock: FakeClock | None = None, workers: int = 1
    ) -> None:
        self.name = name
        self.workers = workers
        self.late = 0.0
        self.reactions: deque[Reaction] = deque()
        self.broken: PsaError | None = None
        self.unreadable: dict[str, tuple[PsaError, int | None]] = {}
        self.report: Hold | None = None
        self.busy = 0.0
        self.skew: timedelta | None = None
        self.prices: dict[str, PsaProduct] | PsaError = {}
        self.missing: set[str] = set()
        self.sent: list[PlannedLine] = []
        self.looks: list[str] = []
        self.asked: list[Collection[str] | None] = []
        self.hidden: set[str] = set()
        self.asked_lines: list[str] = []
        self.asked_companies: list[str] = []
        self.asked_agreements: list[AgreementRef] = []
        self.asked_products: list[str] = []
        self.unlisted: PsaError | None = None
        self.closed = 0
        self._clock = clock or FakeClock()
        self._agreements: dict[str, Agreement] = {}
        self._changes: dict[str, list[_Change]] = defaultdict(list)  # by agreement
        self._made = 300

    # --- what people do -------------------------------------------------------------------------

    def agreement(self, company: str = "250", number: str = "1042", **more: object) -> Agreement:
        """Opens (or changes) an agreement of a company."""
        ref = AgreementRef(self.name, company, number)
        self._agreements[number] = Agreement(ref, **{"name": "Managed Security", **more})
        return self._agreements[number]

    def put(
        self,
        product: str,
        quantity: Decimal | float,
        agreement: str = "1042",
        line_id: str = "",
        **more,
    ):
        """Adds a line, or changes the one with `line_id`, as a person does; seen at once."""
        line = Line(line_id or self._new_id(), agreement, product, Decimal(str(quantity)), **more)
        self._changes[agreement].append(_Change(self._clock.monotonic(), line.id, line))
        return line

    def remove(self, line: Line) -> None:
        """Deletes a line, as a person does."""
        self._changes[line.agreement].append(_Change(self._clock.monotonic(), line.id, None))

    # --- what tests judge by --------------------------------------------------------------------

    def held(self, agreement: str = "1042") -> list[Line]:
        """The lines there really are, also those that `lines` does not show yet."""
        return self._lines(agreement, float("inf"))

    def refs(self) -> tuple[AgreementRef, ...]:
        """Where each agreement is."""
        return tuple(agreement.ref for agreement in self._agreements.values())

    def quantities(self, agreement: str = "1042") -> dict[str, float]:
        """Product to quantity of the lines there really are; no product may have two."""
        lines = self.held(agreement)
        found = {line.product: float(line.quantity) for line in lines}
        assert len(found) == len(lines), lines
        return found

    # --- the protocol ---------------------------------------------------------------------------

    def clock_skew(self) -> timedelta | None:
        return self.skew

    def busy_for(self) -> float:
        return self.busy

    def withheld(self) -> Hold | None:
        return self.report

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        if self.broken is not None:
            raise self.broken
        self.asked_agreements += refs
        return {ref: self._judge(ref) for ref in refs}

    def _judge(self, ref: AgreementRef) -> Agreement:
        found = self._agreements.get(ref.agreement)
        if found is None:
            not_billable = NotBillable(
                "agreement", f"there is no agreement {ref.agreement}", "Correct it."
            )
            return Agreement(ref, not_billable=not_billable, gone=True)
        if found.ref.company != ref.company:
            not_billable = NotBillable(
                "agreement", f"it belongs to company {found.ref.company}", "Correct it."
            )
            return replace(found, ref=ref, not_billable=not_billable)
        return found

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        self.asked_companies += companies
        if self.broken is not None or self.unlisted is not None:
            raise self.broken or self.unlisted
        return {
            company: tuple(
                found
                for found in self._agreements.values()
                if found.ref.company == company and not found.gone
            )
            for company in companies
        }

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        self.looks.append(ref.agreement)
        self.asked.append(products)
        lines = self._readable_lines(ref)
        if products is None:
            return tuple(line for line in lines if line.id not in self.hidden)
        asked = (line for line in lines if self.if_others_change or line.product in products)
        return tuple(asked)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        self.asked_lines.append(line_id)
        return next((line for line in self._readable_lines(ref) if line.id == line_id), None)

    def _readable_lines(self, ref: AgreementRef) -> list[Line]:
        if ref.agreement in self.unreadable:
            error, times = self.unreadable[ref.agreement]
            if times is None or times > 0:
                self.unreadable[ref.agreement] = (error, None if times is None else times - 1)
                raise error
        return self._lines(ref.agreement, self._clock.monotonic())

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        self.asked_products += ids
        if isinstance(self.prices, PsaError):
            raise self.prices
        there = (item for item in ids if item not in self.missing)
        return {item: self.prices.get(item, PsaProduct(item, "")) for item in there}

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        assert agreement.ref == AgreementRef(line.psa, line.company, line.agreement)
        self.sent.append(line)
        reaction = self.reactions.popleft() if self.reactions else DONE
        if reaction.before is not None:
            reaction.before()
        stored = line.after if reaction.stored is None else reaction.stored
        late = self.late + (0 if line.line_id else reaction.late)
        written = self._write(line, stored, today, late) if reaction.lands else None
        if reaction.foreign:
            raise ForeignChange("charge 7 (BACKUP) with quantity 3 is gone", remedy="Restore it.")
        shown = written if reaction.status is WriteStatus.APPLIED else None
        return WriteResult(
            reaction.status,
            reaction.message,
            line_id=shown.id if shown else None,
            quantity=shown.quantity if shown else None,
            wait=reaction.wait,
            denied=reaction.denied,
            request_id=f"request-{len(self.sent)}",
        )

    def _write(self, planned: PlannedLine, quantity: int, today: date, late: float) -> Line:
        line_id = planned.line_id or self._id_of(planned)
        known = {line.id: line for line in self.held(planned.agreement)}
        line = known.get(line_id) or Line(
            line_id, planned.agreement, planned.product, Decimal(0), starts=today
        )
        line = replace(line, quantity=Decimal(quantity))
        seen = self._clock.monotonic() + late
        self._changes[planned.agreement].append(_Change(seen, line_id, line))
        return line

    def _id_of(self, _new: PlannedLine) -> str:
        return self._new_id()

    def all_companies(self) -> tuple[PsaCompany, ...]:
        return tuple(PsaCompany(a.ref.company, a.name) for a in self._agreements.values())

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        found = self._agreements.values()
        return tuple(PsaAgreement(a.ref.agreement, a.ref.company, a.name) for a in found)

    def all_products(self) -> tuple[PsaProduct, ...]:
        return () if isinstance(self.prices, PsaError) else tuple(self.prices.values())

    def close(self) -> None:
        self.closed += 1

    def _lines(self, agreement: str, at: float) -> list[Line]:
        found: dict[str, Line | None] = {}
        for change in self._changes[agreement]:
            if change.visible_at <= at:
                found[change.line_id] = change.line
        return [line for line in found.values() if line is not None]

    def _new_id(self) -> str:
        self._made += 1
        return str(self._made)


@dataclass
class FakeSource:
    """A source of complete readings, or of the errors that say why there is none.

    Attributes:
        answers: What each tenant reports.
        disabled: Tenants that nobody can log in to.
        broken: `tenants` raises it.
        breaks: `read` raises it after so many tenants.
        skew: What `clock_skew` says.
        reads: The tenants of each call of `read`.
    """

    name: str = "hq"
    answers: dict[TenantRef, Reading | KisiError] = field(default_factory=dict)
    disabled: set[TenantRef] = field(default_factory=set)
    broken: SourceError | None = None
    breaks: tuple[SourceError, int] | None = None
    skew: timedelta | None = None
    reads: list[list[TenantRef]] = field(default_factory=list)
    closed: int = 0

    def add(self, reading: Reading) -> None:
        self.answers[reading.tenant.ref] = reading

    def tenants(self) -> tuple[Tenant, ...]:
        if self.broken is not None:
            raise self.broken
        return tuple(
            Tenant(
                ref,
                answer.tenant.name if isinstance(answer, Reading) else ref.tenant,
                enabled=ref not in self.disabled,
            )
            for ref, answer in self.answers.items()
        )

    def read(
        self, tenants: Collection[Tenant], select: Select
    ) -> Iterator[tuple[TenantRef, Reading | KisiError]]:
        self.reads.append([tenant.ref for tenant in tenants])
        for number, tenant in enumerate(reversed(tuple(tenants))):
            if self.breaks is not None and number == self.breaks[1]:
                raise self.breaks[0]
            answer = self.answers[tenant.ref]
            if isinstance(answer, Reading):
                chosen = {key.serial for key in answer.keys if select(key)}
                rows = tuple(row for row in answer.rows if row.serial in chosen)
                answer = replace(answer, rows=rows)
            yield tenant.ref, answer

    def clock_skew(self) -> timedelta | None:
        return self.skew

    def close(self) -> None:
        self.closed += 1


def planned(
    before: float | None,
    after: int,
    product: str = "1200",
    *,
    line_id: str | None = None,
    psa: str = "cw",
    agreement: str = "1042",
    company: str = "250",
    application: str = "KES",
    **more: object,
) -> PlannedLine:
    """A planned line: a create without `line_id`, else an update, or nothing if it is equal."""
    from kisi.model import Category

    action = Action.UPDATE if before != after else Action.NONE
    return PlannedLine(
        psa=psa,
        company=company,
        agreement=agreement,
        application=application,
        categories=(Category.ALL,),
        product=product,
        line_id=line_id,
        action=Action.CREATE if line_id is None else action,
        before=None if before is None else Decimal(str(before)),
        after=after,
        **more,
    )
