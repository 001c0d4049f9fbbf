"""`kisi reconcile`: what is bought against what is licensed, used and billed, as people read it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from kisi.csv_table import CsvStyle
from kisi.formats import described, document
from kisi.json_text import Json
from kisi.purchases.compare import Compared, Comparison
from kisi.render.export import csv_of
from kisi.render.formatting import money, plural, quantity
from kisi.render.report import Item, Report, Section, Span, Tone, table


def _parts(found: Compared) -> dict[str, Json]:
    """What of the file was read, matched and not: rows, units and money."""
    file = found.file.purchases
    parts = {}
    for name, rows in (("read", file), ("matched", found.matched), ("unmatched", found.unmatched)):
        units = sum((row.quantity or Decimal(0) for row in rows), Decimal(0))
        amounts = [row.amount for row in rows if row.amount is not None]
        sums = {"quantity": units, "amount": sum(amounts) if amounts else None}
        parts[name] = {"rows": len(rows), **sums}
    return parts


def reconcile_document(found: Compared, code: int) -> Json:
    """The comparison as plain JSON data."""
    file = found.file
    parts = _parts(found)
    rows = {name: part.pop("rows") for name, part in parts.items()}
    rows["ignored"] = len(file.left_out) + file.blank
    return document("reconcile", found, exit_code=code, rows=rows, totals=parts)


def reconcile_csv(found: Compared, style: CsvStyle) -> str:
    """A row for each client and application, and for each row of the file without them."""
    rows: list[Json] = [
        {"kind": "application", **described("compared", one)} for one in found.companies
    ]
    for one in found.unmatched:
        row = described("unmatched_purchase", one, suggestions="; ".join(one.suggestions))
        rows.append({"kind": "unmatched", **row})
    rows += ({"kind": "ignored", **described("left_out", one)} for one in found.file.left_out)
    return csv_of("reconcile", rows, style)


def summary(found: Compared) -> str:
    """The comparison in a sentence."""
    read, missed = plural(len(found.file.purchases), "row"), len(found.unmatched)
    matched = f"{read} of {found.file.name}: {len(found.matched)} matched, {missed} unmatched"
    differ = f"{len(found.differing)} of {len(found.companies)} differ"
    return f"{matched}; {differ}."


def reconcile_report(found: Compared, *, detailed: bool) -> Report:
    """What an operator reads: the most expensive difference first."""
    file = found.file
    rest = [one for one in found.companies if not one.differs]
    sections = []
    for title, rows in (("What differs", found.differing), ("As it should be", rest)):
        if rows and (detailed or rows is not rest):
            sections.append(Section(title, (plural(len(rows), "row"),), _grid(rows)))
    if found.unmatched:
        rows_ = [
            (
                str(one.line),
                one.customer,
                " ".join(filter(None, (one.article, one.name))),
                _units(one.quantity),
                _money(one.amount),
                one.problem + (f": {' or '.join(one.suggestions)}?" if one.suggestions else ""),
            )
            for one in found.unmatched
        ]
        heads = "line# | customer~ | article~ | units# | cost# | why~"
        title = "Rows without a client or an application"
        sections.append(Section(title, (), table(heads, rows_), Tone.HELD))
    if detailed and file.left_out:
        left = [(str(one.line), one.kind, one.text) for one in file.left_out]
        sections.append(Section("Rows that bill nothing", (), table("line# | kind | ~", left)))
    sections.append(_totals(found))
    return Report(f"Invoice {found.invoice}, {found.month}", tuple(sections), (file.name,))


def _totals(found: Compared) -> Section:
    file = found.file
    rows = []
    for name, part in _parts(found).items():
        units, cost = quantity(part["quantity"]), _money(part["amount"])
        rows.append((name, str(part["rows"]), units, cost))
    sums_ = sum(one.kind == "sum" for one in file.left_out)
    left = f"Left out: {plural(len(file.left_out) + file.blank, 'row')} that bill nothing"
    left += f", {sums_} of them sums that agree with the rows." if sums_ else "."
    decimal = f', decimal sign "{file.decimal}"' if file.decimal else ""
    signs = f'{file.encoding}, delimiter "{file.delimiter}"{decimal}'.replace("\t", "tab")
    items = (*table("rows | # | units# | cost#", rows), Span(left, Tone.DIM))
    return Section(f"Totals of {file.name}", (found.month, signs), items)


def _grid(rows: Iterable[Comparison]) -> tuple[Item, ...]:
    cells = [
        (
            f"{one.company}: {one.application}",
            quantity(one.bought),
            _units(one.licensed),
            _units(one.used),
            _units(one.billed) or one.note,
            _money(one.cost),
            f"{_money(one.revenue)} {one.cycle}".strip(),
            _money(one.worth),
        )
        for one in rows
    ]
    heads = "client, application~ | bought# | licensed# | used# | billed# | cost# | revenue~"
    return table(f"{heads} | worth#", cells)


def _units(value: Decimal | int | None) -> str:
    return "" if value is None else quantity(value)


def _money(value: Decimal | None) -> str:
    return "" if value is None else money(value)
