"""`kisi statement`: what a client used in a month and pays for it, fit to be sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import chain, count

from kisi.counting import Days, Period, category_of, identity, number_of
from kisi.counting import readings as readings_of
from kisi.csv_table import CsvStyle
from kisi.formats import Made, described, document
from kisi.journal import ClientRecord, LineHistory
from kisi.json_text import Json
from kisi.model import (
    TODAY,
    Category,
    CountingRules,
    Evidence,
    KeyEvidence,
    TenantRef,
    TenantUsage,
    Terms,
    Unit,
    category_text,
)
from kisi.render.export import csv_of
from kisi.render.formatting import (
    billed_as,
    in_all,
    local_day,
    money,
    per,
    plural,
    quantity,
    told_days,
)
from kisi.render.report import Chart, Entry, Item, Report, Section, Span, Tone, table

BEFORE = timedelta(days=31)
"""How long before a month a tenant must have been read for a day without a reading to be a gap."""
_ONE_DAY = timedelta(days=1)
_POLICIES = {
    TODAY: "the number of the last day that is known",
    "peak": "the highest number since the invoice period began",
    "average": "the mean, rounded half up, of the days since the invoice period began",
}
Readings = Iterable[tuple[date, date, TenantUsage]]
"""What a tenant used, with the evidence, and the first and last day on which it was so."""


@dataclass(frozen=True, slots=True)
class Month:
    """The days of a month up to today, or any span of days."""

    first: date
    last: date

    @classmethod
    def of(cls, first: date, today: date) -> Month:
        """The month that begins with a day; `ValueError` if it has not begun."""
        if first > today:
            raise ValueError(f"{first:%Y-%m} has not begun")
        following = (first + timedelta(days=32)).replace(day=1)
        return cls(first, min(following - _ONE_DAY, today))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    def between(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """The instants at which it begins and is over."""
        begins, after = (self.first, self.last + _ONE_DAY)
        return datetime.combine(begins, time(), zone), datetime.combine(after, time(), zone)

    @property
    def days(self) -> tuple[date, ...]:
        """Each of them."""
        return tuple(self.first + n * _ONE_DAY for n in range((self.last - self.first).days + 1))


@dataclass(frozen=True, slots=True)
class StatementLine:
    """What one line bills: how much on which day, and what it costs."""

    application: str
    categories: tuple[Category, ...]
    product: str
    terms: Terms
    days: tuple[tuple[date, Decimal | int | None], ...]
    """None: a gap, no complete reading, or it is not known what the PSA held."""
    quantity: Decimal | int | None = None
    """The policy's number at the month's end; None: no day is known."""

    @property
    def amount(self) -> Decimal | None:
        """What that costs in a billing cycle; None: not known."""
        return self.terms.amount(self.quantity)


@dataclass(frozen=True, slots=True)
class StatementDevice:
    """A device that was counted in the month."""

    number: int
    item: Evidence
    line: StatementLine
    last_seen: date | None
    first: date
    """The first and the last day of the month on which it was counted."""
    last: date


@dataclass(frozen=True, slots=True)
class Statement:
    """A client's month."""

    company: str
    month: Month
    lines: tuple[StatementLine, ...] = ()
    devices: tuple[StatementDevice, ...] = ()
    used: Mapping[str, int] = field(default_factory=dict)
    """The highest number of the month by application; of one that no day is known of, none."""
    keys: tuple[KeyEvidence, ...] = ()
    """Of the client's tenants, as last read in the month."""


def statement_of(
    client: ClientRecord,
    month: Month,
    lines: Iterable[tuple[LineHistory, Terms]],
    days: Days,
    readings: Readings,
    seen: Mapping[str, date],
    settings: tuple[CountingRules, tzinfo],
) -> Statement:
    """A client's month from what the journal keeps: its lines, each with its terms at that time.

    The `days` and the client's own `readings` begin `BEFORE` the month; `seen` is when devices were
    last seen. A tenant counts on the days on which it was read for this client. A line that held
    another number than kisi's (people manage it, or changed it) bills that number; one that held 0,
    or was not there while another one billed its application, bills nothing on that day.
    """
    rules, zone = settings
    latest: dict[str, tuple[LineHistory, Terms]] = {}
    for line, terms in lines:  # one made anew replaces it, with what was before
        before = latest[line.product][0] if line.product in latest else None
        latest[line.product] = (_joined(before, line, zone) if before else line, terms)
    readings, billed = tuple(readings), []
    read: dict[TenantRef, set[date]] = {}
    for first, last, usage in readings:
        read.setdefault(usage.tenant.ref, set()).update(Month(first, last).days)
    tenants = [x for x in read if x in client.tenants or max(read[x]) >= month.last]
    first_day = min([month.first, *(x.begins for _, x in latest.values() if x.begins)])
    every = replace(month, first=first_day).days
    held = {line.product: _held(line, every, zone) for line, _ in latest.values()}
    for line, terms in latest.values():
        rivals = [
            held[other.product]
            for other, _ in latest.values()
            if other is not line and other.application == line.application
        ]
        own, billing = held[line.product], (line.application, line.categories)
        idle = {
            x for x in every if own.get(x) == 0 or (x not in own and any(o.get(x) for o in rivals))
        }
        counted = {x: _counted(client, *billing, days, read, x) for x in every}
        if terms.begins:  # as it is planned: over the tenants that the client has in the end
            known = readings_of(tenants, *billing, days)
            counted = {x: known.get(x) for x in every}
        counted |= dict.fromkeys(idle, 0)
        billed.append(_line(line, terms, counted, own, idle, month, zone))
    billed.sort(key=lambda line: (line.application, line.categories))
    # Where a product was exchanged, a device belongs to the line that bills it now.
    billing_first = sorted(billed, key=lambda line: not line.quantity)
    devices = _devices(billing_first, month, days, readings, seen, rules)
    used = {}
    for name in {application for _, application in days}:
        numbers = (_counted(client, name, (Category.ALL,), days, read, day) for day in month.days)
        if known_numbers := [number for number in numbers if number is not None]:
            used[name] = max(known_numbers)
    newest = {usage.tenant.ref: usage for _, end, usage in readings if end >= month.first}
    keys = tuple(key for ref, x in newest.items() if ref in client.tenants for key in x.keys)
    return Statement(client.name, month, tuple(billed), tuple(devices), used, keys)


def _joined(before: LineHistory, after: LineHistory, zone: tzinfo) -> LineHistory:
    """A line with the history of the one that it replaces, up to its own first day."""
    begins = local_day(after.quantities[0].first_at, zone)
    found = {day: number for day, number in before.found.items() if day < begins}
    quantities = (*before.quantities, *after.quantities)
    return replace(after, quantities=quantities, found={**found, **after.found})


def _line(
    line: LineHistory,
    terms: Terms,
    counted: Mapping[date, int | None],
    held: Mapping[date, Decimal],
    idle: Collection[date],
    month: Month,
    zone: tzinfo,
) -> StatementLine:
    """What was counted each day, or what the PSA held if it was something else.

    Its quantity is the policy's number on the last of the days. Where the PSA held a number of its
    own on the last day that is known, it invoices that one, whatever the policy. Before the day of
    `day:N` has been read, it is what the line held.
    """
    # the days on which it held what it should, or a day between two such
    spans = (
        Month(local_day(x.first_at, zone), local_day(x.last_at, zone)) for x in line.quantities
    )
    proven = {day for span in spans for day in span.days}

    def billed(day: date) -> Decimal | int | None:
        used, other = counted[day], line.found.get(day)
        if other is not None and (used is not None or other != held.get(day)):
            return other
        unknown = other is not None or (day not in proven and (day in held or used))
        return None if unknown and day not in idle else used

    days = tuple((day, billed(day)) for day in month.days)
    known = [(day, number) for day, number in days if number is not None]
    last, number = known[-1] if known else (month.last, None)
    if terms.begins is None or last in line.found:
        terms = replace(terms, policy=TODAY, begins=None)
    else:
        read = {day: used for day, used in counted.items() if used is not None and day <= last}
        period = Period(terms.begins, terms.ends)
        if period.counts(terms.policy, last):
            terms = replace(terms, ends=None)
        by_policy = number_of(terms.policy, period, read)
        number = held.get(month.last) if by_policy is None else by_policy
    return StatementLine(line.application, line.categories, line.product, terms, days, number)


def _held(line: LineHistory, days: Iterable[date], zone: tzinfo) -> Mapping[date, Decimal]:
    """What a line held at the end of each day, from the first on on which it is known."""
    since = {one.first_at.astimezone(zone).date(): one.quantity for one in line.quantities}
    known = ((day, [at for at in since if at <= day]) for day in days)
    return {day: since[max(before)] for day, before in known if before}


def _counted(
    client: ClientRecord,
    application: str,
    categories: Collection[Category],
    days: Days,
    read: Mapping[TenantRef, Collection[date]],
    day: date,
) -> int | None:
    """The sum over the client's tenants on a day; None where one of them was not read.

    A tenant that was not read for it before that day was not the client's yet, and one that is
    another's by now is not missing afterwards.
    """
    total: int | None = None
    for tenant, mine in read.items():
        counted = days.get((tenant, application), {})
        if day in counted and day in mine:
            every = Category.ALL in categories
            total = (total or 0) + sum(
                number
                for category, number in counted[day].items()
                if every or category in categories
            )
        elif (tenant in client.tenants or day < max(mine)) and any(
            known < day for known in counted if known in mine
        ):
            return None
    return total


def _devices(
    lines: Sequence[StatementLine],
    month: Month,
    days: Days,
    readings: Readings,
    seen: Mapping[str, date],
    rules: CountingRules,
) -> Iterable[StatementDevice]:
    """Each device once for each line that it was counted for, on days that no guard held."""
    found: dict[tuple[str, str, str], StatementDevice] = {}
    for first, last, usage in readings:
        ref = usage.tenant.ref
        for used in usage.applications:
            counted = days.get((ref, used.application), {})
            read = [day for day in month.days if first <= day <= last and day in counted]
            for item in used.evidence if read else ():
                by_category = used.unit is Unit.DEVICE
                category = category_of(item.device_class, rules) if by_category else Category.ALL
                billing = (
                    line
                    for line in lines
                    if line.application == used.application
                    and {Category.ALL, category} & {*line.categories}
                )
                line = next(billing, None) if item.counted else None
                if line is None:
                    continue
                key = (ref.source, identity(ref, item.device), line.product)
                begins = found[key].first if key in found else read[0]
                found[key] = StatementDevice(
                    0, item, line, seen.get(item.device), min(begins, read[0]), read[-1]
                )
    ordered = sorted(
        found.values(),
        key=lambda x: (lines.index(x.line), x.item.name.casefold(), x.item.device),
    )
    return (replace(device, number=number) for number, device in enumerate(ordered, 1))


def billed_in_all(
    statements: Iterable[Statement],
) -> dict[str, tuple[Decimal | None, Decimal | None, str]]:
    """By application: units, money, and the billing cycle with its currency, as `per` has it.

    None: not known, or of several cycles, which are not to be added up.
    """
    billed: dict[str, tuple[Decimal | None, Decimal | None, str]] = {}
    for line in chain.from_iterable(one.lines for one in statements):
        cycle = per(line.terms.currency, line.terms.cycle)
        units, worth, before = billed.get(line.application, (Decimal(0), Decimal(0), cycle))
        amount = line.amount if before == cycle else None
        units = None if units is None or line.quantity is None else units + line.quantity
        worth = None if worth is None or amount is None else worth + amount
        billed[line.application] = (units, worth, cycle)
    return billed


_MADE: Made = {
    "statement.month": lambda statement: str(statement.month),
    "statement_line.category": lambda line: category_text(line.categories),
    "statement_line.days": lambda line: [{"date": day, "quantity": x} for day, x in line.days],
    "statement_device.category": lambda device: category_text(device.line.categories),
}


def statement_document(statements: Sequence[Statement], *, one: bool) -> Json:
    """A statement as a JSON document; several (not `one`) are in a list."""
    if one:
        return document("statement", statements[0], _MADE)
    return document("statements", {"statements": statements}, _MADE)


def statement_csv(statements: Iterable[Statement], style: CsvStyle) -> str:
    """A row for each line, for each day of it, and for each device."""
    return csv_of("statement", chain.from_iterable(map(_rows, statements)), style)


def _rows(statement: Statement) -> Iterable[Json]:
    where = {"company": statement.company, "month": str(statement.month)}
    for line in statement.lines:
        known = described("statement_line", line, _MADE)
        yield {**where, **known, "kind": "line"}
        billed = {name: known[name] for name in ("application", "category", "product")}
        for day in known["days"]:
            yield {**where, **billed, "kind": "day", **day}
    for device in statement.devices:
        yield {**where, **described("statement_device", device, _MADE), "kind": "device"}


def statement_report(statements: Sequence[Statement]) -> Report:
    """What the client reads; of several clients, one after another."""
    sections = [one for statement in statements for one in _sections(statement)]
    title = "Statements"
    facts: tuple[str, ...] = ()
    if statements:
        month = statements[0].month
        title = f"{statements[0].company if len(statements) == 1 else title}, {month}"
        facts = (f"{month.first} to {month.last}",)
    return Report(title, tuple(sections), facts)


def _sections(statement: Statement) -> Iterable[Section]:
    policies = dict.fromkeys(_policy(line.terms) for line in statement.lines)
    items: list[Item] = list(map(_entry, statement.lines))
    items += [Span(f"Counted: {policy}.", Tone.DIM) for policy in policies]
    worth = in_all((line.terms, line.amount) for line in statement.lines)
    items += [Span(f"In all: {worth}.", Tone.STRONG)] if worth else []
    items = items or [Span("Nothing was billed.")]
    yield Section(statement.company, (str(statement.month),), tuple(items))
    for line in statement.lines:
        rows = []
        for device in statement.devices:
            if device.line is line:
                days = f"{device.first:%d}"
                days += f" to {device.last:%d}" if device.last > device.first else ""
                item, seen = device.item, str(device.last_seen or "")
                rows.append(
                    (str(device.number), item.name or item.device, item.os_name, days, seen)
                )
        if rows:
            label = billed_as(line.application, line.categories)
            heads = "number# | device~ | operating system~ | days | last seen"
            yield Section(plural(len(rows), "device"), (label,), table(heads, rows))


def _policy(terms: Terms) -> str:
    name = terms.policy.removeprefix("day:")
    said = _POLICIES.get(name, f"the first number from day {name} of the invoice period on")
    until = f", until the next one ({terms.ends})" if terms.ends else ""
    return f"{said} ({terms.begins}){until}" if terms.begins else said


def _entry(line: StatementLine) -> Entry:
    label = billed_as(line.application, line.categories)
    terms, amount = line.terms, line.amount
    price = "" if terms.unit_price is None else f"at {money(terms.unit_price)}"
    free = f"{quantity(terms.included)} included" if terms.included else ""
    worth = "not billable" if not terms.billable else ""
    if amount is not None and terms.billable:
        worth = in_all([(terms, amount)])
    said = ", ".join(filter(None, (price, free, worth or "price not known")))
    shown = "not known" if line.quantity is None else quantity(line.quantity)
    points = tuple((day, None if x is None else Decimal(x)) for day, x in line.days)
    chart = Chart((*points, *points[-1:]), told_days(line.days, "not known"))
    return Entry("=", Tone.DIM, label, after=shown, change=said, chart=chart)


def file_name(statement: Statement, taken: Mapping[str, object], suffix: str) -> str:
    """A file name that no other client has: `contoso-gmbh-2026-11.html`."""
    letters = "".join(x if x.isalnum() else " " for x in statement.company.casefold())
    name = "-".join(letters.split())[:60] or "client"
    others = (f"{name}-{number}" for number in count(2))
    names = (f"{one}-{statement.month}.{suffix}" for one in chain([name], others))
    return next(one for one in names if one not in taken)
