"""What a run comes to: counts, units and money."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from kisi.reconcile.verdict import Summary, summarise
from kisi.render.figures import money, plural, quantity, signed, signed_money
from kisi.render.plan_view import Amount, Mode, PlanView, Totals, released_by_id, totals
from kisi.render.report import Cell, Grid, Item, Remark, Section, Tone, row

_BILLED = {Mode.PREVIEW: "to bill", Mode.SYNC: "billed"}


def totals_section(view: PlanView) -> Section:
    """Units and money a month of each PSA, before and after; what is held stands apart."""
    added = totals(view.plan)
    rows = tuple(one for total in added for one in _rows(total, view.mode))
    items: list[Item] = []
    if rows:
        headers = ("", "", "units", "", "money a month", "")
        items.append(Grid(headers, rows, right=frozenset({2, 3, 4, 5})))
    unpriced = sum(
        one.billed.unpriced + one.held.unpriced + one.unwritten.unpriced for one in added
    )
    if unpriced:
        lines = plural(unpriced, "line")
        items.append(Remark(f"The money leaves out {lines} of unknown price.", Tone.DIM))
    if view.accepted:
        items.append(Remark(f"Accepted in this run: {', '.join(view.accepted)}"))
    items += _accept_all(view)
    return Section("Totals", tuple(_counts(summarise(view.plan))), tuple(items))


def _rows(total: Totals, mode: Mode) -> Iterable[tuple[Cell, ...]]:
    parts = (
        (_BILLED[mode], total.billed, Tone.PLAIN),
        ("held", total.held, Tone.HELD),
        ("not written", total.unwritten, Tone.BAD),
    )
    psa = total.psa
    for name, amount, tone in parts:
        if amount.lines:
            yield row(psa, Cell(name, tone), *_units(amount), *_money(amount))
            psa = ""


def _units(amount: Amount) -> tuple[str, str]:
    return _from_to(amount.before, amount.after, quantity, signed)


def _money(amount: Amount) -> tuple[str, str]:
    if amount.unpriced == amount.lines:
        return "", ""
    return _from_to(amount.money_before, amount.money_after, money, signed_money)


def _from_to(
    before: Decimal,
    after: Decimal,
    shown: Callable[[Decimal], str],
    difference: Callable[[Decimal], str],
) -> tuple[str, str]:
    if before == after:
        return shown(after), ""
    return f"{shown(before)} → {shown(after)}", difference(after - before)


def _counts(summary: Summary) -> Iterable[str]:
    counts = {
        "create": summary.create,
        "update": summary.update,
        "applied": summary.applied,
        "held": summary.held,
        "failed": summary.failed,
        "unchanged": summary.unchanged,
    }
    return (f"{number} {what}" for what, number in counts.items() if number)


def _accept_all(view: PlanView) -> Iterable[Remark]:
    """The whole plan's id, where one client's would not be enough."""
    clients = [number for number in map(released_by_id, view.plan.companies) if number]
    if len(clients) > 1:
        lines = plural(sum(clients), "line")
        yield Remark(
            f"To release everything that can be accepted ({lines} of {len(clients)} clients):"
        )
        yield Remark(f"kisi sync --accept {view.plan.plan_id}", Tone.COMMAND)
