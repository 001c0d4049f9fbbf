"""Which changes must wait for a person? A plan and the journal's facts in, holds out. Pure.

A guard looks at one changing line and says why it must wait, or nothing; the first one in the order
of `GUARDS` names the hold. What waits for a held line follows from the pools that they share
(`kisi.planning.order`). Failures (a source or agreement that cannot be trusted) are decided earlier
and have no lines here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from kisi.model import (
    Action,
    Baseline,
    CompanyPlan,
    CountingRules,
    GuardRules,
    Hold,
    LineSlot,
    OwnedLine,
    Plan,
    PlannedLine,
    Status,
)
from kisi.planning.ids import named
from kisi.planning.lines import with_lines
from kisi.planning.order import spread, with_commands


@dataclass(frozen=True, slots=True)
class GuardContext:
    """What guards may look at besides the line.

    Args:
        empty_sources: Sources of which every tenant counts 0 although there was more.
        unshown: New lines that an earlier run sent and that the PSA does not show.
        elsewhere: For each line that rises, why it waits for lines that this run does not plan.
        twice: Lines of whose devices more than was accepted are counted in other places too: how
            many, and where.
        lasting: As in `Arrangement`.
    """

    rules: GuardRules
    counting: CountingRules
    facts: OwnedLines
    empty_sources: frozenset[str] = frozenset()
    unshown: frozenset[LineSlot] = frozenset()
    elsewhere: Mapping[LineSlot, str] = field(default_factory=dict)
    twice: Mapping[LineSlot, str] = field(default_factory=dict)
    lasting: Mapping[LineSlot, tuple[PlannedLine, ...]] = field(default_factory=dict)


class OwnedLines:
    """The journal's facts, by line and by product."""

    def __init__(self, facts: Iterable[OwnedLine]) -> None:
        self._lines: dict[tuple[str, str, str], OwnedLine] = {}
        self._products: dict[LineSlot, OwnedLine] = {}
        for fact in facts:
            self._lines[fact.psa, fact.agreement, fact.line_id] = fact
            self._products[fact.slot] = fact

    def of_line(self, line: PlannedLine) -> OwnedLine | None:
        """What is known of exactly this line."""
        return self._lines.get((line.psa, line.agreement, line.line_id or ""))

    def of_product(self, line: PlannedLine) -> OwnedLine | None:
        """What is known of a line that kisi once had for this product on this agreement."""
        return self._products.get(line.slot)


@dataclass(frozen=True, slots=True)
class Guard:
    """A rule that can hold a line: its name, when it fires (with the reason), what releases it."""

    name: str
    fires: Callable[[PlannedLine, CompanyPlan, GuardContext], str | None]
    remedy: str
    """`{accept}` stands for the command that releases exactly this."""
    releasable: bool = True
    of_count: bool = False
    """It judges today's reading, also where a line's quantity stays as it is for now."""


def _number(value: Decimal | float) -> str:
    return format(Decimal(str(value)).normalize(), "f")


def _baseline(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> Baseline | None:
    """What today's reading is judged by; None: not, because the line is new or to end."""
    if line.before is None or line.orphaned or company.company.left:
        return None
    if line.baseline is not None or line.reversal is not None:
        return line.baseline
    fact, before = context.facts.of_line(line), line.before
    known = (fact.highest, fact.lowest) if fact else (before, before)
    return Baseline(max(before, known[0]), min(before, known[1]), before)


def _counted(line: PlannedLine) -> int:
    """What is judged: today's reading, where there is none the quantity itself."""
    return line.after if line.baseline is None or line.counted is None else line.counted


def _would(line: PlannedLine, verb: str, past: str) -> str:
    """Of a line under another policy than `today`, the count changed, and perhaps nothing more."""
    return f"it would {verb}" if line.baseline is None else f"its count {past}"


def _is_beyond(change: Decimal, base: Decimal, percent: float, units: float) -> bool:
    """Beyond both limits; from 0 every change is beyond the percentage."""
    return change > Decimal(str(units)) and (
        base <= 0 or change / base * 100 > Decimal(str(percent))
    )


def _empty_source(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> str | None:
    empty = {tenant.source for tenant in company.company.counted} & context.empty_sources
    if not empty or line.orphaned or not (line.changes if line.baseline is None else line.drop):
        return None
    several = "source" if len(empty) == 1 else "sources"
    return (
        f"every tenant of {several} {', '.join(sorted(empty))} counts 0, although there was usage "
        "before"
    )


def _left(line: PlannedLine, company: CompanyPlan, _context: GuardContext) -> str | None:
    if not company.company.left or line.before is None:
        return None
    return (
        f"the client left on {company.company.until}; it would go from {_number(line.before)} to "
        f"{line.after}"
    )


def _to_zero(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> str | None:
    base = _baseline(line, company, context)
    if base is None or line.reversal or _counted(line) > 0 or not base.last:
        return None
    return f"{_would(line, 'go', 'went')} from {_number(base.last)} to 0"


def _decrease(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> str | None:
    base, limits = _baseline(line, company, context), context.rules
    if base is None or line.reversal or _counted(line) >= base.last:
        return None
    drop = base.highest - _counted(line)
    if not _is_beyond(drop, base.highest, limits.decrease_percent, limits.decrease_units):
        return None
    share = f"{drop / base.highest * 100:.0f} %"
    return (
        f"{_would(line, 'fall', 'fell')} by {_number(drop)} ({share}) from "
        f"{_number(base.highest)}, its highest of the last {limits.baseline_days} days, to "
        f"{_counted(line)}"
    )


def _increase(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> str | None:
    base, limits = _baseline(line, company, context), context.rules
    if base is None or _counted(line) <= base.last:
        return None
    rise = _counted(line) - base.lowest
    if not _is_beyond(rise, base.lowest, limits.increase_percent, limits.increase_units):
        return None
    share = f" ({rise / base.lowest * 100:.0f} %)" if base.lowest > 0 else ""
    return (
        f"{_would(line, 'rise', 'rose')} by {_number(rise)}{share} from {_number(base.lowest)}, "
        f"its lowest of the last {limits.baseline_days} days, to {_counted(line)}"
    )


def _create(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    limit = context.rules.create_units
    if line.action is not Action.CREATE or line.after <= limit:
        return None
    return f"a new line of {line.after} is above the limit of {_number(limit)}"


def _unknown_device(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> str | None:
    if context.counting.unknown_device != "hold" or line.application not in company.unknown:
        return None
    return "devices with an unknown operating system are among those counted"


def _adopt(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    if not line.adopt or context.rules.adopt == "allow" or line.before is None:
        return None
    return f"kisi has never written this line; it holds {_number(line.before)}, not {line.after}"


def _drift(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    fact = context.facts.of_line(line)
    if context.rules.drift == "overwrite" or fact is None or line.orphaned or line.before is None:
        return None
    if line.before == fact.confirmed:
        unsure = (
            f"the PSA holds {_number(line.before)}, and an earlier write has an unknown outcome"
        )
        return unsure if fact.unsettled else None
    cause = "an earlier write has an unknown outcome" if fact.unsettled else "a person changed it"
    return (
        f"the PSA holds {_number(line.before)}, kisi last confirmed {_number(fact.confirmed)}: "
        f"{cause}"
    )


_UNSHOWN = (
    "an earlier run sent this new line, and the PSA does not show it. If it appears, the next run "
    "takes it over; created again before that, it may be billed twice"
)


def _deleted(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    fact = context.facts.of_product(line)
    if line.action is not Action.CREATE:
        return None
    if fact is None:
        return _UNSHOWN if line.slot in context.unshown else None
    return f"the line {fact.line_id} that kisi kept here is gone or cancelled: a person removed it"


def _reverted(line: PlannedLine, _company: CompanyPlan, _context: GuardContext) -> str | None:
    reversal = line.reversal
    if reversal is None:
        return None
    held = f"{reversal.quantity}, which it held before run {reversal.run}"
    if line.goes_back:
        if line.counted not in (None, reversal.quantity):
            held = f"{held}, although {line.counted} are counted now"
        return f"it would go back to {held} (`kisi sync --revert {reversal.by}` withdraws this)"
    return f"it was brought back to {held}, and stays there until somebody accepts {line.after}"


def _elsewhere(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    return context.elsewhere.get(line.slot) if line.delta > 0 else None


def lasts(line: PlannedLine) -> str:
    """Why a line that rises waits for one that goes on billing its devices."""
    which = f"line {line.line_id}" if line.line_id else f"the new line of product {line.product}"
    if line.excess <= 0:
        return (
            f"{which} on agreement {line.agreement} bills {line.after} x {line.application}, in "
            "part for the devices that this one billed before: the change of that line is to be "
            "reverted first"
        )
    said = "as before a run that was reverted" if line.reversal else f"by `{line.policy}`"
    return (
        f"{which} on agreement {line.agreement} bills {line.after} x {line.application} "
        f"{said} and {line.counted or 0} are counted there now: {line.excess} of it may "
        "be the same devices, until it comes down"
    )


def _lasting(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    others = [x for x in context.lasting.get(line.slot, ()) if x.agreement == line.agreement]
    return "; ".join(map(lasts, others)) if others else None


def _counted_twice(line: PlannedLine, _company: CompanyPlan, context: GuardContext) -> str | None:
    return context.twice.get(line.slot) if line.delta > 0 else None


def _orphaned(line: PlannedLine, _company: CompanyPlan, _context: GuardContext) -> str | None:
    if not line.orphaned or line.goes_back:
        return None
    reason = (
        f"kisi wrote this line of product {line.product} on agreement {line.agreement}, and the "
        "mapping no longer bills it there; it would go to 0 so that nothing is billed twice"
    )
    return f"{reason}; {_ELAPSED}" if line.prorated else reason


_ELAPSED = (
    "the agreement is prorated, and a line that takes its place bills from its own first day on: "
    "what has passed of a period that is not invoiced yet would be on no invoice, unless a person "
    "cancels this line in the PSA as of today instead"
)

_REALLY = "If that is right: {accept}"

GUARDS = (
    # Before all: the id that accepts the fall of the old line must not bill the devices twice.
    Guard(
        "lasting",
        _lasting,
        "It is written by itself once that line comes down: on the day that its policy names, or "
        "when its invoice period turns. No id releases this.",
        releasable=False,
    ),
    # First, so that it names the hold: who accepted a rise has not accepted a second bill for it.
    Guard(
        "elsewhere",
        _elsewhere,
        "Where that line keeps an earlier number by its `count`, wait: this one is written once it "
        "comes down. Otherwise set that line to 0 in its PSA, or run its client too. If both are "
        "to bill: {accept}",
    ),
    Guard(
        "counted-twice",
        _counted_twice,
        "If they moved while kisi read, the next run counts them once; an old record of a device "
        "can be deleted where it was. If both are to bill: {accept}",
    ),
    Guard("empty-source", _empty_source, "Look at the source first. " + _REALLY, of_count=True),
    Guard("left", _left, "Once its last period is invoiced: {accept}"),
    Guard("to-zero", _to_zero, _REALLY, of_count=True),
    Guard("decrease", _decrease, _REALLY, of_count=True),
    Guard("increase", _increase, _REALLY, of_count=True),
    Guard("create", _create, _REALLY),
    Guard("unknown-device", _unknown_device, "See `kisi explain` for the devices. " + _REALLY),
    Guard("adopt", _adopt, "To let kisi keep it from now on: {accept}"),
    Guard(
        "drift",
        _drift,
        "To write kisi's number: {accept}; to keep the person's: `bill = false` for this "
        "application in a [[company.product]] of the client",
    ),
    Guard(
        "deleted",
        _deleted,
        "To create it again: {accept}; to leave it out: `bill = false` for this application in a "
        "[[company.product]] of the client",
    ),
    Guard("reverted", _reverted, _REALLY),
    Guard("orphaned", _orphaned, "To set it to 0 and bill as mapped now: {accept}"),
)


_FALLS = ("empty-source", "to-zero", "decrease")
"""Guards of a count that fell: what is in use and does not count says why."""


def empty_sources(
    counted: Mapping[str, Sequence[int]], companies: Iterable[CompanyPlan], facts: OwnedLines
) -> frozenset[str]:
    """Sources of which every tenant counts 0 although the PSA or the last run had more.

    For each source, `counted` has the total units of each tenant that was read.
    """
    silent = {name for name, totals in counted.items() if totals and not any(totals)}
    had_more = {
        tenant.source
        for company in companies
        for line in company.lines
        if line.before or ((fact := facts.of_line(line)) is not None and fact.confirmed > 0)
        for tenant in company.company.counted
    }
    return frozenset(silent & had_more)


def guard(company: CompanyPlan, context: GuardContext) -> CompanyPlan:
    """Puts holds on the lines of one client that must wait."""
    lines = tuple(_guarded(line, company, context) for line in company.lines)
    return replace(company, lines=lines)


def guard_run(plan: Plan, context: GuardContext) -> Plan:
    """Holds what waits for held lines and what the whole run must not do; sets each status."""
    return _with_status(_hold_run(spread(plan), context))


def _guarded(line: PlannedLine, company: CompanyPlan, context: GuardContext) -> PlannedLine:
    """The first guard names the hold; the others' reasons follow, so that nothing is hidden."""
    if line.hold is not None:
        return line
    reasons = {
        rule: reason
        for rule in GUARDS
        if (line.changes or (rule.of_count and line.baseline is not None))
        and (reason := rule.fires(line, company, context)) is not None
    }
    first = next(iter(reasons), None)
    if first is None:
        return line
    said = "; also ".join(reasons.values())
    why = company.uncounted.get(line.application)
    if why and any(rule.name in _FALLS for rule in reasons):
        said = f"{said}. Not counted: {why}"
    hold = Hold(first.name, said, first.remedy, first.releasable)
    return replace(line, hold=hold)


def _hold_run(plan: Plan, context: GuardContext) -> Plan:
    for psa in sorted({line.psa for line in plan.lines}):
        free = [line for line in plan.lines if line.psa == psa and line.hold is None]
        reason = _run_reason(free, context.rules)
        if reason is not None:
            hold = Hold("run", reason, "Look at the decreases of the whole run first. " + _REALLY)
            plan = spread(_hold_free(plan, psa, hold, decreases=True))
    return plan


def _run_reason(free: Sequence[PlannedLine], limits: GuardRules) -> str | None:
    last = (line.baseline.last if line.baseline else line.before or Decimal(0) for line in free)
    before = sum(last, Decimal(0))
    fall = sum((line.drop for line in free), Decimal(0))
    if before <= 0 or not _is_beyond(fall, before, limits.run_percent, limits.run_units):
        return None
    share = f"{fall / before * 100:.0f} %"
    return f"the whole run would bill {fall:f} units ({share}) fewer than {before:f} now"


def _hold_free(plan: Plan, psa: str, hold: Hold, *, decreases: bool) -> Plan:
    """Holds the changes of a PSA that nothing holds yet: all of them, or those that fall."""

    def held(line: PlannedLine) -> PlannedLine:
        concerned = line.psa == psa and (line.drop > 0 if decreases else line.changes)
        return replace(line, hold=hold) if concerned and line.hold is None else line

    return with_lines(plan, held)


def _with_status(plan: Plan) -> Plan:
    def judged(company: CompanyPlan) -> CompanyPlan:
        if company.status not in {Status.READY, Status.HELD}:
            return company
        held = any(line.hold is not None for line in company.lines)
        return replace(company, status=Status.HELD if held else Status.READY)

    return replace(plan, companies=tuple(map(judged, plan.companies)))


def release(plan: Plan, keys: Collection[str], withheld: Mapping[str, Hold]) -> Plan:
    """Lifts what was accepted, and works out anew what waits.

    `keys` are those of the lines that a person accepted; `withheld` has the hold of each PSA that
    lets kisi write nothing: no id releases it, and it holds nothing of another PSA. Holds that are
    left get new ids, and commands in their remedies.
    """
    guarded = {
        (line.slot, line.line_id): line.hold.key
        for line in plan.lines
        if line.hold is not None and line.hold.key
    }

    def lifted(line: PlannedLine) -> PlannedLine:
        hold = line.hold  # what only waits has no key
        lifts = hold is not None and hold.releasable and (not hold.key or hold.key in keys)
        return replace(line, hold=None) if lifts else line

    def keyed(line: PlannedLine) -> PlannedLine:
        # A line that was accepted and still waits keeps its key: the same id names it next time.
        key = guarded.get((line.slot, line.line_id), "")
        return replace(line, hold=replace(line.hold, key=key)) if line.hold and key else line

    plan = with_lines(plan, lifted)
    for psa, hold in withheld.items():
        plan = _hold_free(plan, psa, replace(hold, releasable=False), decreases=False)
    return _with_status(with_commands(named(with_lines(spread(plan), keyed))))
