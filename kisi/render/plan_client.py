"""One client of a plan as a person reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

from kisi.model import Action, CompanyPlan, Failure, Hold, Line, Outcome, PlannedLine, Status
from kisi.reconcile.verdict import UNWRITTEN
from kisi.render.figures import money, quantity, signed, signed_money
from kisi.render.plan_view import (
    accept_command,
    money_after,
    money_before,
    released_by_id,
)
from kisi.render.report import Entry, Figures, Item, Listing, Remark, Section, Tone
from kisi.render.words import billed_as, unmapped_as

_IN_FULL = "This agreement does not prorate: what changes counts in full on its next invoice."


def client_section(
    company: CompanyPlan, common: Collection[Hold] = (), *, verbose: bool = False
) -> Section:
    """A client: where it is billed, its lines, and what else a person should know.

    Args:
        company: The client's plan.
        common: Holds that the report explains once, for all clients.
        verbose: Also show the lines that are as they should be.
    """
    return Section(
        title=company.company.name,
        facts=tuple(_facts(company)),
        items=(
            *((failure_entry(company.failure),) if company.failure else ()),
            *_lines(company, common, verbose=verbose),
            *_beside(company),
        ),
        tone=Tone.BAD if company.status is Status.FAILED else Tone.STRONG,
    )


def _facts(company: CompanyPlan) -> Iterable[str]:
    client = company.company
    yield client.psa
    name = f"{company.agreement_name} " if company.agreement_name else ""
    yield f"{name}({client.agreement})" if name else f"agreement {client.agreement}"
    if company.status is Status.OFF:
        yield "billing off"
    if released_by_id(company):
        yield f"plan {company.plan_id}"


def failure_entry(failure: Failure) -> Entry:
    """Why a client, or a whole source, failed, and what to do now."""
    remarks = (Remark(failure.remedy),) if failure.remedy else ()
    return Entry("✗", Tone.BAD, f"{failure.guard}: {failure.reason}", remarks=remarks)


def _lines(company: CompanyPlan, common: Collection[Hold], *, verbose: bool) -> Iterable[Item]:
    shown = [line for line in company.lines if verbose or line.changes or line.hold]
    for line, following in zip_longest(shown, shown[1:]):
        yield _entry(line, following, company, common)
    if any(line.changes and line.prorated is False for line in company.lines):
        yield Remark(_IN_FULL, Tone.DIM)
    released = released_by_id(company)
    if released > 1:
        text = f"Plan {company.plan_id} releases all {released} held lines of this client at once."
        yield Remark(text, Tone.DIM)


def _entry(
    line: PlannedLine,
    following: PlannedLine | None,
    company: CompanyPlan,
    common: Collection[Hold],
) -> Entry:
    mark, tone = _mark(line)
    label = billed_as(line.application, line.categories)
    if line.orphaned:
        label += f" (line {line.line_id})"
    return Entry(
        mark=mark,
        tone=tone,
        label=label,
        figures=line_figures(line),
        state=line.outcome if line.outcome in {Outcome.APPLIED, *UNWRITTEN} else "",
        remarks=tuple(_remarks(line, following, company, common)),
    )


def _mark(line: PlannedLine) -> tuple[str, Tone]:
    if line.outcome is Outcome.FAILED:
        return "✗", Tone.BAD
    if line.outcome is Outcome.UNKNOWN:
        return "?", Tone.BAD
    if line.orphaned:
        return "-", Tone.ORPHANED
    if line.hold is not None:
        return "!", Tone.HELD
    if line.action is Action.CREATE:
        return "+", Tone.GOOD
    return ("~", Tone.CHANGE) if line.changes else ("=", Tone.DIM)


def line_figures(line: PlannedLine) -> Figures:
    """The line's quantity before and after, and the difference in units and money."""
    after = quantity(line.after)
    if not line.changes:
        return Figures("", after, "" if line.billable else "not billable")
    before = "new" if line.before is None else quantity(line.before)
    return Figures(before, after, ", ".join((signed(line.delta), *_money(line))))


def _money(line: PlannedLine) -> Iterable[str]:
    was, will_be = money_before(line), money_after(line)
    if not line.billable:
        yield "not billable"
    elif was is not None and will_be is not None:
        yield f"{signed_money(will_be - was)} a month"


def _remarks(
    line: PlannedLine,
    following: PlannedLine | None,
    company: CompanyPlan,
    common: Collection[Hold],
) -> Iterable[Remark]:
    """What is to be said of a line; what the following line says too is left to it."""
    if line.detail and (following is None or following.detail != line.detail):
        yield Remark(line.detail, Tone.BAD if line.outcome in UNWRITTEN else Tone.PLAIN)
    hold = line.hold
    if hold is None:
        return
    if accept_command(company) not in hold.remedy:
        yield Remark(_to_write_by_hand(line))
    if hold in common:
        yield Remark(f"{hold.guard} (see below)", Tone.HELD)
        return
    yield Remark(f"{hold.guard}: {hold.reason}", Tone.HELD)
    if following is None or following.hold is None or following.hold.remedy != hold.remedy:
        yield from _release(hold.remedy, company)


def _to_write_by_hand(line: PlannedLine) -> str:
    """Which line it is, for whoever makes a change that no id releases."""
    which = "a new line" if line.line_id is None else f"line {line.line_id}"
    return f"{which} of product {line.product}"


def _release(remedy: str, company: CompanyPlan) -> Iterable[Remark]:
    """The remedy, with the command that releases the hold on a line of its own."""
    command = accept_command(company)
    lead, found, rest = remedy.partition(command)
    if not found:
        yield Remark(remedy)
        return
    yield Remark(lead.strip())
    yield Remark(command, Tone.COMMAND)
    rest = rest.strip(" ;,.")
    if rest:
        yield Remark(rest[0].upper() + rest[1:])


def _beside(company: CompanyPlan) -> Iterable[Item]:
    if company.unmapped:
        rows = tuple((quantity(use.quantity), unmapped_as(use)) for use in company.unmapped)
        yield Listing("Used, and billed by no row of mapping.toml (`kisi map`):", rows, Tone.HELD)
    if company.others:
        yield Listing("Also on this agreement, and not kisi's:", _others(company.others), Tone.DIM)
    if company.left:
        rows = tuple((quantity(line.after), _place(line)) for line in company.left)
        yield Listing("Left to people:", rows, Tone.DIM)
    for note in company.notes:
        yield Remark(f"Note: {note}", Tone.DIM)


def _others(lines: Sequence[Line]) -> tuple[tuple[str, str], ...]:
    return tuple((quantity(line.quantity), _other(line)) for line in lines)


def _other(line: Line) -> str:
    price = f" at {money(line.unit_price)}" if line.unit_price is not None else ""
    billable = "" if line.billable else ", not billable"
    name = line.description or f"product {line.product}"
    return f"{name}{price} (product {line.product}, line {line.id}{billable})"


def _place(line: PlannedLine) -> str:
    name = billed_as(line.application, line.categories)
    return f"{name} (product {line.product}, line {line.line_id})"
