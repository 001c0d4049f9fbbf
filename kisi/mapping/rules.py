"""The rows of mapping.toml, where each stands, and what they must not do, alone or together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import Any, TypeVar

from kisi.config.document import Document
from kisi.config.sentences import Model, did_you_mean, read_table, shorten
from kisi.errors import ConfigError
from kisi.mapping.toml_edit import Part, RowKind, TomlEdit
from kisi.model import Application, Category, Company, IgnoredTenant, ProductRow, TenantRef, Unit

UNTOUCHED = "mapping.toml was left as it is."
Value = TypeVar("Value")
Named = TypeVar("Named", TenantRef, str)
Rows = Sequence[tuple["TableRow", Value]]
"""Rows as they stand in the file, and what they mean."""
Clash = tuple[str, str, str]
"""A product, and two applications that would be billed as it."""


class MappingTable:
    """The rows of a document, and the problems that are found in them."""

    def __init__(self, document: Document) -> None:
        self.problems: list[str] = []
        self._document = document
        for key in document.data:
            if key not in set(RowKind):
                hint = did_you_mean(key, list(RowKind))
                self.problem(f"[[{shorten(key)}]]: Unknown table; {hint}")

    def problem(self, text: str) -> None:
        """Notes a problem of the file."""
        self.problems.append(f"{self._document.path.name}: {text}")

    def rows(self, table: str, parent: TableRow | None = None) -> Iterator[TableRow]:
        """The rows of `[[table]]`, or of `[[parent.table]]` that belong to `parent`."""
        entries = (parent.data if parent else self._document.data).get(table, [])
        name = f"{parent.table}.{table}" if parent else table
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.problem(f"[[{name}]]: Write its rows under [[{name}]], in double brackets.")
            return
        for index, entry in enumerate(entries):
            yield TableRow(self, name, index, entry, parent)

    def line(self, row: TableRow) -> int | None:
        """The line of a row's header, or None for rows that are written without headers."""
        kind = RowKind(row.table.rpartition(".")[2])
        with suppress(ConfigError):
            owner = row.parent.index if row.parent else None
            return self._places(kind, owner)[row.index][0][0].line
        return None

    @cached_property
    def _places(self) -> Callable[[RowKind, int | None], list[list[list[Part]]]]:
        return cache(TomlEdit(self._document.text).places)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row and the place where it stands, for messages."""

    whole: MappingTable
    table: str
    index: int
    data: Mapping[str, Any]
    parent: TableRow | None

    def __str__(self) -> str:
        """The row as messages name it: `[[company]] "Contoso" (row 3, line 41)`."""
        key = {"product": "application", "tenant": "id"}.get(self.table.rpartition(".")[2], "name")
        name = self.data.get(key)
        named = f' "{shorten(name)}"' if isinstance(name, str) and name else ""
        line = self.whole.line(self)
        where = f"row {self.index + 1}" + (f", line {line}" if line else "")
        owner = f"{self.parent}, " if self.parent else ""
        return f"{owner}[[{self.table}]]{named} ({where})"

    def read(self, model: type[Model]) -> Model:
        """The row's values. What is wrong is noted and reads as empty, or has its default."""
        values, problems = read_table(
            model, self.data, (self.table,), where=lambda steps: f"{self} {shorten(steps[-1])}"
        )
        for problem in problems:
            self.whole.problem(problem)
        return values

    def problem(self, text: str, key: str = "") -> None:
        """Notes a problem of this row, or of one of its keys."""
        self.whole.problem(f"{self}{' ' + key if key else ''}: {text}")

    def noted(self, key: str, read: Callable[[], Value]) -> Value | None:
        """What is read; None where that is refused: the sentence is noted at `key`."""
        try:
            return read()
        except ConfigError as error:
            self.problem(error.message, key)
            return None


def check(
    applications: Rows[Application],
    products: Rows[ProductRow],
    companies: Rows[Company],
    ignored: Rows[IgnoredTenant],
    global_sources: Collection[str],
) -> None:
    """Notes, at the rows concerned, where rows together bill one thing twice, or two as one."""
    once(
        [(row, (each.name.casefold(),)) for row, each in applications],
        "name",
        "{first} has this name already.",
    )
    once(
        [(row, (each.psa, each.application)) for row, each in products],
        "application",
        "{first} says already how this application is billed; keep one row of the two.",
    )
    once(
        [(row, (each.psa, each.agreement)) for row, each in companies],
        "agreement",
        "{first} is billed on this agreement already; a client is one row, with all its tenants.",
    )
    never: dict[TenantRef, TableRow] = {}
    for row, each in ignored:
        identity = each.ref.identity(global_sources)
        if each.ref.source and never.setdefault(identity, row) is not row:
            row.problem(f"{never[identity]} says this already; keep one row of the two.", "id")
    _one_client_a_tenant(companies, never, global_sources)
    billed = {application.name for _, application in applications if application.bill}
    _one_application_a_product(billed, products, companies)


def one_product_row(
    row: TableRow, product: ProductRow, application: tuple[TableRow, Application] | None
) -> None:
    """Notes where a row says two things about one application, or nothing."""
    if row.parent and product.products and application and not application[1].bill:
        # A general row may: it bills nothing as long as the application is not billed.
        row.problem(
            f"It names products, and bill = false of {application[0]} says that this application "
            "is never billed; take bill = false away there, or the products here."
        )
    unit = application[1].unit if application else Unit.DEVICE
    if not product.bill and product.products:
        row.problem("It names products, and bill = false says that nothing is billed.")
    elif product.bill and not product.products and not (row.parent and product.count):
        row.problem(
            "It names no product: write all = ID, or windows_workstations, windows_servers and "
            "non_windows." + (" To manage it by hand, write bill = false." if row.parent else "")
        )
    elif Category.ALL in product.products and len(product.products) > 1:
        row.problem("It names a product for all devices and for categories; keep one of the two.")
    elif product.products and unit is not Unit.DEVICE and Category.ALL not in product.products:
        row.problem(f'An application with unit = "{unit}" has no categories: write all = ID.')


def one_company_row(row: TableRow, company: Company) -> None:
    """Notes where a client names a tenant or another agreement twice."""
    for ref in _repeated(ref for ref in company.tenants if ref.source):
        row.problem(f'"{shorten(str(ref))}" is named twice.', "tenants")
    if company.agreement and company.agreement in company.alongside:
        row.problem("This client's own agreement is among them; name only others.", "alongside")
    for ident in _repeated(company.alongside):
        row.problem(f"Agreement {shorten(ident)} is named twice.", "alongside")


def _repeated(values: Iterable[Named]) -> list[Named]:
    return sorted(value for value, times in Counter(values).items() if times > 1)


def once(rows: Iterable[tuple[TableRow, tuple[str, ...]]], key: str, problem: str) -> None:
    """Notes, at its `key`, each row with a value that an earlier row has; empty ones are not."""
    first: dict[Hashable, TableRow] = {}
    for row, value in rows:
        if all(value) and first.setdefault(value, row) is not row:
            row.problem(problem.format(first=first[value]), key)


def _one_client_a_tenant(
    companies: Rows[Company], never: Mapping[TenantRef, TableRow], global_sources: Collection[str]
) -> None:
    """Notes where a tenant would be billed twice: to two clients, or to one under two sources.

    Of two clients one may leave (`until`): the other one has the tenant afterwards. A row with
    billing off reads and writes nothing, so another one may bill its tenants; but it must not name
    one of them twice itself. A billed tenant is none of those that are `never` billed.
    """
    billed: dict[TenantRef, tuple[TableRow, TenantRef]] = {}
    ends: dict[TenantRef, list[date | None]] = defaultdict(list)
    for row, company in companies:
        own: dict[TenantRef, TenantRef] = {}
        for ref in dict.fromkeys(ref for ref in company.tenants if ref.source):
            identity = ref.identity(global_sources)
            twin = own.setdefault(identity, ref)
            if twin != ref:
                row.problem(
                    f"{_same_server(ref, twin)}. Keep the one of the Security Center that "
                    "manages its devices now, and take the other one out.",
                    "tenants",
                )
            elif company.billing:
                named = f'"{shorten(str(ref))}"'
                if identity in never:
                    problem = f"{named} is never billed, says {never[identity]}; take out one."
                    row.problem(problem, "tenants")
                first, other = billed.setdefault(identity, (row, ref))
                ends[identity].append(company.until)
                if first is not row:
                    days = [end or date.max for end in ends[identity]]
                    if ref == other and len(days) == len(set(days)) == 2:
                        continue  # they leave on different days, or one of them stays
                    twice = f"{named} is billed to {first} already"
                    problem = f"{twice}; set billing = false for one of them."
                    if ref != other:
                        problem = (
                            f"{_same_server(ref, other)}, and {first} bills that one. Keep it in "
                            "one of the two rows, under the Security Center that manages its "
                            "devices now; take it out of the other row, or set billing = false "
                            "there."
                        )
                    row.problem(problem, "tenants")


def _same_server(one: TenantRef, two: TenantRef) -> str:
    return (
        f'"{shorten(str(one))}" is the same virtual server as "{shorten(str(two))}" (its id is the '
        "same wherever it is listed, in upper or lower case), so each of its devices would be "
        "billed twice"
    )


def _one_application_a_product(
    billed: set[str], products: Rows[ProductRow], companies: Rows[Company]
) -> None:
    """Notes where two applications of one client are billed as one product of its PSA.

    Each client is judged by its effective rows: its exceptions, and the general rows of its PSA for
    other applications. A clash of general rows is noted once, at the later row, unless the
    exceptions of every client of that PSA avoid it.
    """
    rows = {(product.psa, product.application): row for row, product in products}
    general: dict[str, dict[str, ProductRow]] = defaultdict(dict)
    for _, product in products:
        if product.psa and product.application in billed:
            general[product.psa].setdefault(product.application, product)
    clashes = {psa: _clashes(effective) for psa, effective in general.items()}
    met: dict[str, set[Clash]] = defaultdict(set)
    for row, company in companies:
        expected = clashes.get(company.psa, set())
        found = expected
        if company.exceptions:
            rest = general[company.psa]
            own = {
                x.application: x.over(rest.get(x.application))
                for x in company.exceptions
                if x.application in billed
            }
            for name in (name for name, x in own.items() if x.bill and not x.products and x.count):
                row.problem(
                    f'Its exception for "{shorten(name)}" names only `count`, and no [[product]] '
                    "bills that application; write its product there, all = ID for instance."
                )
            found = _clashes({**rest, **own})
        for clash in sorted(found - expected):
            row.problem(_sentence(clash))
        met[company.psa] |= found & expected
    for psa, expected in clashes.items():
        for clash in sorted(met.get(psa, expected)):
            rows[psa, clash[2]].problem(_sentence(clash))


def _clashes(effective: Mapping[str, ProductRow]) -> set[Clash]:
    taken: dict[str, str] = {}
    found = set()
    for application, row in effective.items():
        for product in filter(None, row.products.values()):
            if (first := taken.setdefault(product, application)) != application:
                found.add((product, first, application))
    return found


def _sentence(clash: Clash) -> str:
    product, first, second = map(shorten, clash)
    return (
        f'"{first}" and "{second}" would both be billed as product {product}, which shows only '
        "their sum; give each a product of its own."
    )
