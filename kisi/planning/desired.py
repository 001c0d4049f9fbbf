"""What each of a client's products should bill: usage and the mapping in, quantities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kisi.counting import ClientUsage
from kisi.model import (
    SPLIT,
    TODAY,
    BillingMapping,
    Category,
    Company,
    Failure,
    PeriodCount,
    ProductRow,
    UnmappedUse,
)


@dataclass(frozen=True, slots=True)
class DesiredLine:
    """What one product should bill for one client."""

    product: str
    application: str
    categories: tuple[Category, ...]
    quantity: int
    unknown_devices: tuple[str, ...] = ()
    policy: str = TODAY
    period: PeriodCount | None = None
    """What the quantity was worked out from; None: it is today's reading."""
    keeps: bool = False
    """Its policy's day has not come: the quantity is what the line holds, whatever is counted."""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything that should be billed for one client."""

    lines: tuple[DesiredLine, ...]
    unmapped: tuple[UnmappedUse, ...] = ()
    managed_by_hand: frozenset[str] = frozenset()
    """Applications with `bill = false` for this client: people keep their lines."""
    products_by_hand: frozenset[str] = frozenset()
    """What bills them for other clients: an application's new name changes nothing."""
    failure: Failure | None = None


def rows_of(mapping: BillingMapping, company: Company) -> Mapping[str, ProductRow]:
    """The product rows in force for a client, by application: its exceptions win."""
    known = {app.name for app in mapping.applications if app.bill}
    general = {row.application: row for row in mapping.products if row.psa == company.psa}
    own = {row.application: row.over(general.get(row.application)) for row in company.exceptions}
    return {name: row for name, row in {**general, **own}.items() if name in known}


def billed_applications(mapping: BillingMapping, *, by_category: bool = False) -> frozenset[str]:
    """Applications that some product bills for some client; or only those split by category."""
    rows = [row for company in mapping.companies for row in rows_of(mapping, company).values()]
    bill = [row for row in (*rows, *mapping.products) if row.bill]
    return frozenset(
        row.application for row in bill if not by_category or Category.ALL not in row.products
    )


def desired_state(
    mapping: BillingMapping, company: Company, usages: Sequence[ClientUsage]
) -> DesiredState:
    """Distributes a client's usage over its products.

    Every product that may bill the client is in the result, with 0 where nothing is used, so that a
    line that kisi wrote earlier is brought down too.
    """
    rows = rows_of(mapping, company)
    by_name = {usage.application: usage for usage in usages}
    lines: list[DesiredLine] = []
    unmapped: list[UnmappedUse] = []
    for name, row in rows.items():
        usage = by_name.get(name, ClientUsage(name, {}))
        if not row.bill:
            continue
        if Category.ALL not in row.products:
            if usage.quantities.get(Category.ALL):
                return DesiredState((), failure=_total_only(name))
            unmapped += (
                UnmappedUse(company.name, name, quantity, estimated=False, category=category)
                for category in SPLIT
                if category not in row.products and (quantity := usage.quantities.get(category, 0))
            )
        lines += _desired_lines(row, usage)
    for usage in usages:
        total = sum(usage.quantities.values())
        if usage.application not in rows and total:
            unmapped.append(UnmappedUse(company.name, usage.application, total, estimated=False))
    left = managed_by_hand(mapping, company)
    return DesiredState(tuple(lines), tuple(unmapped), left, products_by_hand(mapping, company))


def managed_by_hand(mapping: BillingMapping, company: Company) -> frozenset[str]:
    """Applications with `bill = false` for a client, used or not."""
    return frozenset(name for name, row in rows_of(mapping, company).items() if not row.bill)


def products_by_hand(mapping: BillingMapping, company: Company) -> frozenset[str]:
    """What bills these applications for other clients: a new name of one changes nothing."""
    left = managed_by_hand(mapping, company)
    return frozenset(
        product
        for row in mapping.products
        if row.psa == company.psa and row.application in left
        for product in row.products.values()
    )


def _total_only(application: str) -> Failure:
    return Failure(
        guard="category",
        reason=f"the report has only a total for {application}, which is billed by category",
        remedy="Map the application to one product (`all = ...`) for this client, or export a "
        "report with a category or one row a device.",
    )


def _desired_lines(row: ProductRow, usage: ClientUsage) -> Iterable[DesiredLine]:
    products: dict[str, list[Category]] = {}
    for category in (Category.ALL, *SPLIT):
        if category in row.products:
            products.setdefault(row.products[category], []).append(category)
    for product, categories in products.items():
        quantity = sum(
            number
            for category, number in usage.quantities.items()
            if category in categories or Category.ALL in categories
        )
        yield DesiredLine(
            *(product, row.application, tuple(categories), quantity, usage.unknown_devices),
            policy=row.count or TODAY,
        )
