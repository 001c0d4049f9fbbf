"""What each of a client's products should bill: usage and the mapping in, quantities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kisi.counting import ClientUsage
from kisi.errors import ExitCode
from kisi.model import (
    SPLIT,
    BillingMapping,
    Category,
    Company,
    Failure,
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


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything that should be billed for one client."""

    lines: tuple[DesiredLine, ...]
    unmapped: tuple[UnmappedUse, ...] = ()
    left_to_people: frozenset[str] = frozenset()
    """Applications whose lines people keep for this client (`bill = false` in an exception)."""
    left_products: frozenset[str] = frozenset()
    """What bills them for other clients: an application's new name changes nothing."""
    failure: Failure | None = None


def rows_of(mapping: BillingMapping, company: Company) -> Mapping[str, ProductRow]:
    """The product rows in force for a client, by application: its exceptions win."""
    known = {app.name for app in mapping.applications if app.bill}
    general = {row.application: row for row in mapping.products if row.psa == company.psa}
    own = {row.application: row for row in company.exceptions}
    return {name: row for name, row in {**general, **own}.items() if name in known}


def billed_applications(mapping: BillingMapping) -> frozenset[str]:
    """Applications that some product bills for some client."""
    rows = [row for company in mapping.companies for row in rows_of(mapping, company).values()]
    return frozenset(row.application for row in (*rows, *mapping.products) if row.bill)


def desired_state(
    mapping: BillingMapping, company: Company, usages: Sequence[ClientUsage]
) -> DesiredState:
    """Distributes a client's usage over its products.

    Every product that may bill the client is in the result, with 0 where nothing is used, so that a
    line that kisi wrote earlier is brought down too.
    """
    rows = rows_of(mapping, company)
    by_name = {usage.application: usage for usage in usages}
    wanted: list[DesiredLine] = []
    unmapped: list[UnmappedUse] = []
    for name, row in rows.items():
        usage = by_name.get(name)
        if not row.bill:
            continue
        if usage is not None and Category.ALL not in row.products and _unsplit(usage):
            return DesiredState((), failure=_total_only(usage))
        wanted += _row_wants(row, usage)
        unmapped += _unbilled_categories(company, row, usage)
    for usage in usages:
        total = sum(usage.quantities.values())
        if usage.application not in rows and total:
            unmapped.append(UnmappedUse(company.name, usage.application, total, estimated=False))
    left = left_to_people(mapping, company)
    return DesiredState(tuple(wanted), tuple(unmapped), left, left_products(mapping, company))


def left_to_people(mapping: BillingMapping, company: Company) -> frozenset[str]:
    """Applications that kisi leaves alone for a client, used or not."""
    return frozenset(name for name, row in rows_of(mapping, company).items() if not row.bill)


def left_products(mapping: BillingMapping, company: Company) -> frozenset[str]:
    """What bills these applications for other clients: a new name of one changes nothing."""
    left = left_to_people(mapping, company)
    return frozenset(
        product
        for row in mapping.products
        if row.psa == company.psa and row.application in left
        for product in row.products.values()
    )


def _unsplit(usage: ClientUsage) -> int:
    return usage.quantities.get(Category.ALL, 0)


def _total_only(usage: ClientUsage) -> Failure:
    return Failure(
        guard="category",
        reason=f"the report has only a total for {usage.application}, which is billed by category",
        remedy="Map the application to one product (`all = ...`) for this client, or export a "
        "report with a category or one row a device.",
        exit_code=ExitCode.WITHHELD,
    )


def _row_wants(row: ProductRow, usage: ClientUsage | None) -> Iterable[DesiredLine]:
    products: dict[str, list[Category]] = {}
    for category in (Category.ALL, *SPLIT):
        if category in row.products:
            products.setdefault(row.products[category], []).append(category)
    for product, categories in products.items():
        yield DesiredLine(
            product=product,
            application=row.application,
            categories=tuple(categories),
            quantity=_quantity(usage, categories),
            unknown_devices=usage.unknown_devices if usage else (),
        )


def _quantity(usage: ClientUsage | None, categories: Sequence[Category]) -> int:
    if usage is None:
        return 0
    if Category.ALL in categories:
        return sum(usage.quantities.values())
    return sum(usage.quantities.get(category, 0) for category in categories)


def _unbilled_categories(
    company: Company, row: ProductRow, usage: ClientUsage | None
) -> Iterable[UnmappedUse]:
    if usage is None or Category.ALL in row.products:
        return
    for category in SPLIT:
        quantity = usage.quantities.get(category, 0)
        if quantity and category not in row.products:
            yield UnmappedUse(
                company.name, row.application, quantity, estimated=False, category=category
            )
