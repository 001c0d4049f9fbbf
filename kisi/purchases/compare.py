"""Bought against licensed, used and billed, by client and application. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import chain

from kisi.counting import Matcher
from kisi.csv_table import fold
from kisi.mapping.similarity import parse_name, suggest_companies, suggest_products
from kisi.model import Application, BillingMapping
from kisi.purchases.file import Purchase, PurchaseFile

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of a client's month, by application."""

    licensed: Mapping[str, int]
    used: Mapping[str, int]
    """The highest number of the month: what a distributor bills."""
    billed: Mapping[str, tuple[Decimal | None, Decimal | None, str]]
    """Units, money and the billing cycle with its currency; None: not known."""
    why_unknown: str = ""
    """Why nothing is known of what is billed; empty: an application without a line bills 0."""
    by_hand: Collection[str] = ()
    """Applications whose lines people manage."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One application of one client."""

    company: str
    application: str
    bought: Decimal
    licensed: int | None
    used: int | None
    billed: Decimal | None
    cost: Decimal | None
    revenue: Decimal | None
    cycle: str = ""
    """For which time the revenue is, and its currency: `EUR a month`."""
    price: Decimal | None = None
    """What a unit costs, by the file."""
    note: str = ""

    @property
    def difference(self) -> Decimal | None:
        """Units that are bought and not billed; negative: billed and not bought."""
        return None if self.billed is None else self.bought - self.billed

    @property
    def worth(self) -> Decimal | None:
        """What the difference costs, at the price of the file."""
        units = self.difference
        return None if units is None or self.price is None else units * self.price

    @property
    def differs(self) -> bool:
        """Whether a person must look: numbers differ, or it is not known what is billed.

        A key for more than that is no difference: its other licences are free.
        """
        known = {x for x in (self.bought, self.used, self.billed) if x is not None}
        short = self.licensed is not None and self.licensed < max(known)
        return len(known) > 1 or short or bool(self.note and self.bought)

    @property
    def rank(self) -> tuple[Decimal, Decimal]:
        """The money, then the units of the difference, and of the largest gap."""
        units = self.bought if self.difference is None else self.difference
        price = self.price or _ZERO
        return abs(units) * price, abs(units)


@dataclass(frozen=True, slots=True)
class Compared:
    """A whole file, held against the month."""

    file: PurchaseFile
    invoice: str
    month: str
    matched: tuple[Purchase, ...]
    unmatched: tuple[Purchase, ...]
    """Rows whose client or application is not known, with the `problem`."""
    companies: tuple[Comparison, ...]

    @property
    def differing(self) -> tuple[Comparison, ...]:
        """Those that a person must look at, the most expensive first."""
        return tuple(one for one in self.companies if one.differs)


def compare(
    file: PurchaseFile,
    invoice: str,
    month: str,
    mapping: BillingMapping,
    known: Mapping[str, Known],
) -> Compared:
    """Matches each row, and compares what is bought with what is known, by client's name."""
    match = _Match(mapping)
    bought: dict[tuple[str, str], list[Purchase]] = defaultdict(list)
    unmatched = []
    for row in file.purchases:
        company, application, problem = match.of(row)
        if problem:
            unmatched.append((replace(row, problem=problem), company, application))
        else:
            bought[company, application].append(row)
    keys = {
        (name, x) for name, one in known.items() for x in (*one.licensed, *one.used, *one.billed)
    }
    own = {one.name: one for one in mapping.applications}
    nothing = Known({}, {}, {}, "no run has read it yet")
    prices = _prices(bought)
    rows = [
        _comparison(key, bought.get(key, ()), known.get(key[0], nothing), own[key[1]], prices)
        for key in keys | bought.keys()
        if key[1] in own
    ]
    rows = [x for x in rows if any((x.bought, x.licensed, x.used, x.billed, x.cost))]
    rows.sort(key=lambda x: (*(-y for y in x.rank), x.company, x.application))
    matched = tuple(chain.from_iterable(bought.values()))
    return Compared(file, invoice, month, matched, tuple(match.suggested(unmatched)), tuple(rows))


def _prices(bought: Mapping[tuple[str, str], Sequence[Purchase]]) -> dict[str, Decimal]:
    """What a unit of each application costs in the mean of the file."""
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [_ZERO, _ZERO])
    for (_, application), rows in bought.items():
        for row in rows:
            if row.amount is not None and row.quantity is not None:
                sums[application][0] += row.amount
                sums[application][1] += row.quantity
    return {name: money / units for name, (money, units) in sums.items() if units}


def _comparison(
    key: tuple[str, str],
    rows: Sequence[Purchase],
    known: Known,
    application: Application,
    prices: Mapping[str, Decimal],
) -> Comparison:
    name = key[1]
    units = sum((row.quantity or _ZERO for row in rows), _ZERO)
    amounts = [row.amount for row in rows]
    cost = None if None in amounts else sum(filter(None, amounts), _ZERO)
    note = known.why_unknown or ("people manage its lines" if name in known.by_hand else "")
    billed, revenue, cycle = known.billed.get(name, (None if note else _ZERO, None, ""))
    if not application.bill:  # on purpose: there is nothing to compare
        billed, note = None, ""
    price = cost / units if cost is not None and units else prices.get(name)
    licensed, used = known.licensed.get(name), known.used.get(name)
    note = note if billed is None else ""
    return Comparison(*key, units, licensed, used, billed, cost, revenue, cycle, price, note)


class _Match:
    """Who is meant by a customer, and which application by an article."""

    def __init__(self, mapping: BillingMapping) -> None:
        self._clients: dict[tuple[str, str], set[str]] = defaultdict(set)
        """By the name itself, folded, and by what identifies a company in it."""
        self._called: dict[str, str] = {}
        for company in mapping.companies:
            for name in company.purchased_as or (company.name,):
                self._called[name] = company.name
                for key in _keys(name):
                    self._clients[key].add(company.name)
        self._applications = {one.name: one.name for one in mapping.applications}
        self._matcher = Matcher(
            Application(one.name, one.articles or one.globs) for one in mapping.applications
        )

    def of(self, row: Purchase) -> tuple[str, str, str]:
        """The client, the application (each empty if it is not known), and why not."""
        clients = next(filter(None, map(self._clients.get, _keys(row.customer))), ())
        texts = filter(None, (row.article, row.name))
        found = next(filter(None, map(self._matcher.matches, texts)), ())
        reasons = [row.problem] if row.problem else []
        for what, names in (("customer", sorted(clients)), ("article", [x.name for x in found])):
            if len(names) > 1:
                reasons.append(f"its {what} may be {' or '.join(names)}")
            elif not names:
                reasons.append(f"its {what} is not known")
        company, application = next(iter(clients), ""), found[0].name if found else ""
        return company, application, "; ".join(reasons)

    def suggested(self, rows: Iterable[tuple[Purchase, str, str]]) -> Iterator[Purchase]:
        """The rows with what their customer or article may be."""
        rows = list(rows)
        unknown = {row.customer: row.customer for row, company, _ in rows if not company}
        near = suggest_companies(unknown, {name: name for name in self._called})
        products = cache(lambda text: suggest_products(text, self._applications))
        for row, company, application in rows:
            clients = () if company else near[row.customer][:2]
            articles = () if application else products(row.name or row.article)[:2]
            said = [f"purchased_as of {self._called[one.id]}" for one in clients]
            said += [f"articles of {one.id}" for one in articles]
            yield replace(row, suggestions=tuple(dict.fromkeys(said)))


def _keys(name: str) -> tuple[tuple[str, str], ...]:
    """What a company is found by: its name, then what identifies it in that."""
    key = parse_name(name).key
    return (("name", fold(name)), *([("key", key)] if key else []))
