"""`kisi statement`: what a client used in a month and pays for it, fit to be sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import chain, count

from kisi.counting import Days, category_of, number_of
from kisi.csv_table import CsvStyle
from kisi.journal import ClientRecord, LineHistory
from kisi.json_text import FORMAT_VERSION, Json, fields, plain
from kisi.model import (
    TODAY,
    Category,
    CountingRules,
    Evidence,
    TenantRef,
    TenantUsage,
    Terms,
    Unit,
    category_text,
)
from kisi.render.export import csv_of_fields
from kisi.render.formatting import billed_as, in_all, money, plural, quantity, told_days
from kisi.render.report import Chart, Entry, Grid, Item, Report, Section, Span, Tone, row
from kisi.run.document import Fields, terms_fields

STATEMENT_COLUMNS = (
    "kind company month application category product policy date quantity unit_price included"
    " billable amount currency billing_cycle number name operating_system last_seen first last"
    " period_begins"
)
"""`kind` is line, day or device."""
BEFORE = timedelta(days=31)
"""How long before a month a tenant must have been read for a day without a reading to be a gap."""
_ONE_DAY = timedelta(days=1)
_POLICIES = {
    TODAY: "the number of the last day that was read",
    "peak": "the highest number since the invoice period began",
    "average": "the mean of the days since the invoice period began, rounded half up",
}
Readings = Iterable[tuple[date, date, TenantUsage]]
"""What a tenant used, with the evidence, and the first and last day on which it was so."""


@dataclass(frozen=True, slots=True)
class Month:
    """The days of a month up to today."""

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
    days: tuple[tuple[date, int | None], ...]
    """None: a gap, no complete reading."""
    quantity: int | None = None
    """The policy's number at the month's end; None: no day was read."""

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
    last seen. A tenant counts on the days on which it was read for this client, and a line that
    held 0, or was not there while another one billed its application, bills nothing on that day.
    """
    rules, zone = settings
    latest = {line.product: (line, terms) for line, terms in lines}  # one made anew replaces it
    readings, billed = tuple(readings), []
    read: dict[TenantRef, set[date]] = {}
    for first, last, usage in readings:
        span = range((last - first).days + 1)
        read.setdefault(usage.tenant.ref, set()).update(first + n * _ONE_DAY for n in span)
    first_day = min([month.first, *(x.begins for _, x in latest.values() if x.begins)])
    every = replace(month, first=first_day).days
    held = {line.product: _held(line, every, zone) for line, _ in latest.values()}
    for line, terms in latest.values():
        rivals = [
            held[other.product]
            for other, _ in latest.values()
            if other is not line and other.application == line.application
        ]
        counted = tuple(
            (day, 0 if idle else _counted(client, line, days, read, day))
            for day in every
            for own in [held[line.product].get(day)]
            for idle in [own == 0 or (own is None and any(x.get(day) for x in rivals))]
        )
        number = _by_policy(terms, month, counted, held[line.product])
        in_month = tuple(one for one in counted if one[0] >= month.first)
        known = (line.application, line.categories, line.product)
        billed.append(StatementLine(*known, terms, in_month, number))
    billed.sort(key=lambda line: (line.application, line.categories))
    # Where a product was exchanged, a device belongs to the line that bills it now.
    billing_first = sorted(billed, key=lambda line: not line.quantity)
    devices = _devices(billing_first, month, days, readings, seen, rules)
    return Statement(client.name, month, tuple(billed), tuple(devices))


def _by_policy(
    terms: Terms,
    month: Month,
    counted: Iterable[tuple[date, int | None]],
    held: Mapping[date, Decimal],
) -> int | None:
    """The policy's number; before its day has been read, what the line held."""
    days = {day: number for day, number in counted if number is not None}
    number = number_of(terms.policy, terms.begins or month.first, days)
    if number is None and terms.policy != TODAY and month.last in held:
        return int(held[month.last])
    return number


def _held(line: LineHistory, days: Iterable[date], zone: tzinfo) -> Mapping[date, Decimal]:
    """What a line held at the end of each day, from the first on on which it is known."""
    since = {one.first_at.astimezone(zone).date(): one.quantity for one in line.quantities}
    known = ((day, [at for at in since if at <= day]) for day in days)
    return {day: since[max(before)] for day, before in known if before}


def _counted(
    client: ClientRecord,
    line: LineHistory,
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
        counted = days.get((tenant, line.application), {})
        if day in counted and day in mine:
            every = Category.ALL in line.categories
            total = (total or 0) + sum(
                number
                for category, number in counted[day].items()
                if every or category in line.categories
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
                line = _line_for(lines, used.application, category) if item.counted else None
                if line is None:
                    continue
                key = (ref.source, item.device, line.product)
                begins = found[key].first if key in found else read[0]
                found[key] = StatementDevice(
                    0, item, line, seen.get(item.device), min(begins, read[0]), read[-1]
                )
    ordered = sorted(
        found.values(),
        key=lambda x: (lines.index(x.line), x.item.name.casefold(), x.item.device),
    )
    return (replace(device, number=number) for number, device in enumerate(ordered, 1))


def _line_for(
    lines: Iterable[StatementLine], application: str, category: Category
) -> StatementLine | None:
    for line in lines:
        if line.application == application and {Category.ALL, category} & {*line.categories}:
            return line
    return None


def statement_fields(statement: Statement) -> Fields:
    """A statement as plain data."""
    return {
        "month": str(statement.month),
        "company": statement.company,
        "lines": [
            {
                **_line_fields(line),
                "days": [{"date": day, "quantity": number} for day, number in line.days],
            }
            for line in statement.lines
        ],
        "devices": [_device_fields(device) for device in statement.devices],
    }


def statement_document(statements: Sequence[Statement], *, one: bool) -> Json:
    """A statement as a JSON document; several (not `one`) are in a list."""
    found = [statement_fields(statement) for statement in statements]
    content = found[0] if one else {"statements": found}
    return {"format_version": FORMAT_VERSION, **plain(content)}


def _line_fields(line: StatementLine) -> Fields:
    return {
        **fields(line, "application product policy=terms.policy quantity"),
        "period_begins": line.terms.begins,
        "category": category_text(line.categories),
        **terms_fields(line.terms),
        "amount": line.amount,
    }


def _device_fields(device: StatementDevice) -> Fields:
    return {
        **fields(device, "number name=item.name operating_system=item.os_name last_seen"),
        "application": device.line.application,
        "category": category_text(device.line.categories),
        **fields(device, "first last"),
    }


def statement_csv(statements: Iterable[Statement], style: CsvStyle) -> str:
    """A row for each line, for each day of it, and for each device."""
    rows = chain.from_iterable(map(_rows, statements))
    return csv_of_fields(STATEMENT_COLUMNS, rows, style)


def _rows(statement: Statement) -> Iterable[Fields]:
    where = {"company": statement.company, "month": str(statement.month)}
    for line in statement.lines:
        known = {**where, **_line_fields(line)}
        yield {**known, "kind": "line"}
        for day, number in line.days:
            billed = {name: known[name] for name in ("application", "category", "product")}
            yield {**where, **billed, "kind": "day", "date": day, "quantity": number}
    for device in statement.devices:
        yield {**where, **_device_fields(device), "kind": "device"}


def statement_report(statements: Sequence[Statement]) -> Report:
    """What the client reads; of several clients, one after another."""
    sections = [one for statement in statements for one in _sections(statement)]
    title = "Statements"
    facts: tuple[str, ...] = ()
    if statements:
        month = statements[0].month
        names = [one.company for one in statements]
        title = f"{names[0] if len(names) == 1 else title}, {month}"
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
    rows = []
    for device in statement.devices:
        item, line = device.item, device.line
        days = f"{device.first:%d} to {device.last:%d}"
        known = (
            item.name or item.device,
            item.os_name,
            billed_as(line.application, line.categories),
        )
        seen = str(device.last_seen or "")
        rows.append(row(str(device.number), *known, days, seen))
    if rows:
        headers = ("number", "device", "operating system", "counted for", "days", "last seen")
        grid = Grid(headers, tuple(rows), (0,), (1, 2, 3))
        yield Section(plural(len(rows), "device"), (statement.company,), (grid,))


def _policy(terms: Terms) -> str:
    name = terms.policy.removeprefix("day:")
    said = _POLICIES.get(name, f"the first number from day {name} of the invoice period on")
    return f"{said} ({terms.begins})" if terms.begins else said


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
    chart = Chart((*points, *points[-1:]), told_days(line.days))
    return Entry("=", Tone.DIM, label, after=shown, change=said, chart=chart)


def file_name(statement: Statement, taken: Mapping[str, object], suffix: str) -> str:
    """A file name that no other client has: `contoso-gmbh-2026-11.html`."""
    letters = "".join(x if x.isalnum() else " " for x in statement.company.casefold())
    name = "-".join(letters.split())[:60] or "client"
    others = (f"{name}-{number}" for number in count(2))
    names = (f"{one}-{statement.month}.{suffix}" for one in chain([name], others))
    return next(one for one in names if one not in taken)
