"""Reads the CSV table of a mapping (see `mapping_csv`) that a person may have edited."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.accept import the_psa
from kisi.mapping.billed import find_application
from kisi.mapping.change import Draft
from kisi.mapping.clients import tenant_ref
from kisi.mapping.csv_cells import CsvRow, read_csv
from kisi.mapping.mapping_csv import COLUMNS
from kisi.model import Application, BillingMapping, Category, Company, ProductRow, Unit

_KINDS = ("application", "product", "company", "exception")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_ADVICE = "Correct the file and import it again; `kisi map export` writes one to start from."


@dataclass(frozen=True, slots=True)
class ImportedClient:
    """A client of a table, and the row of the mapping that it is."""

    row: int | None
    """None: it is new."""
    company: Company
    """With the exceptions that the table names, and no others."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a table says. What a column that is missing would say is as the mapping has it."""

    applications: tuple[Application, ...]
    products: tuple[ProductRow, ...]
    clients: tuple[ImportedClient, ...]


def read_mapping_csv(text: str, draft: Draft, *, sources: Collection[str], name: str) -> Imported:
    """The rows of a table that `mapping_csv` wrote and a person may have edited.

    A client is the one on the same agreement, else the only one of the same company and name, else
    the only one with the same tenants; so a client can be moved to another agreement. A new client
    whose `billing` is empty is not billed.

    Args:
        text: The table.
        draft: The mapping as it is.
        sources: The names of the sources in kisi.toml.
        name: What messages call the file.

    Raises:
        ConfigError: All problems, each with its line.
    """
    return _Reader(draft, sources, name).read(read_csv(text, COLUMNS, name=name))


@dataclass(slots=True)
class _Reader:
    draft: Draft
    sources: Collection[str]
    name: str
    problems: list[str] = field(default_factory=list)

    def read(self, rows: list[CsvRow]) -> Imported:
        kinds: dict[str, list[CsvRow]] = {kind: [] for kind in _KINDS}
        for row in rows:
            kind = row.cells.get("kind", "").strip().casefold()
            if kind in kinds:
                kinds[kind].append(row)
            else:
                hint = did_you_mean(kind, _KINDS)
                self.problem(row, f'There is no kind "{shorten(kind)}"; {hint}')
        applications = tuple(self.application(row) for row in kinds["application"])
        products = tuple(self.product(row) for row in kinds["product"])
        clients = self.clients(kinds["company"], kinds["exception"])
        if self.problems:
            raise ConfigError([*self.problems, "Nothing was changed."], remedy=_ADVICE)
        return Imported(applications, products, clients)

    def problem(self, row: CsvRow, sentence: str) -> None:
        self.problems.append(f"{self.name}, line {row.line}: {sentence}")

    def needed(self, row: CsvRow, column: str) -> str:
        value = row.cells.get(column, "")
        if not value:
            self.problem(row, f'"{column}" is empty.')
        return value

    def flag(self, row: CsvRow, column: str, *, default: bool) -> bool:
        value = row.cells.get(column, "").strip().casefold()
        if value and value not in _FLAGS:
            self.problem(row, f'"{column}" must be true or false, not "{shorten(value)}".')
        return _FLAGS.get(value, default)

    def psa(self, row: CsvRow) -> str:
        try:
            return the_psa(row.cells.get("psa", ""), self.draft.psas)
        except ConfigError as error:
            self.problem(row, error.message)
            return ""

    def application(self, row: CsvRow) -> Application:
        name = self.needed(row, "application")
        mapping = self.draft.mapping
        index = find_application(mapping, name)
        old = Application(name) if index is None else mapping.applications[index]
        unit = row.cells.get("unit", "").strip() or (
            old.unit if "unit" not in row.cells else Unit.DEVICE
        )
        if unit not in set(Unit):
            hint = did_you_mean(unit, list(Unit))
            self.problem(row, f'There is no unit "{shorten(unit)}"; {hint}')
            unit = Unit.DEVICE
        return Application(
            name,
            row.several("keys") if "keys" in row.cells else old.keys,
            Unit(unit),
            self.flag(row, "bill", default=old.bill),
        )

    def product(self, row: CsvRow) -> ProductRow:
        products = {c: row.cells[c].strip() for c in Category if row.cells.get(c, "").strip()}
        return ProductRow(self.needed(row, "application"), self.psa(row), products)

    def clients(
        self, rows: Sequence[CsvRow], exceptions: Sequence[CsvRow]
    ) -> tuple[ImportedClient, ...]:
        read = [self.company(row) for row in rows]
        matched = _matched(self.draft.mapping, read)
        own: dict[tuple[str, str], list[ProductRow]] = {
            (company.psa, company.agreement): [] for company in read
        }
        for row in exceptions:
            exception = self.exception(row)
            key = (exception.psa, row.cells.get("agreement", "").strip())
            if key in own:
                own[key].append(exception)
            else:
                self.problem(row, f"No company of this table is on agreement {':'.join(key)}.")
        old = self.draft.mapping.companies
        befores = [None if index is None else old[index] for index in matched]
        return tuple(
            ImportedClient(
                index,
                replace(
                    company,
                    exceptions=tuple(own[company.psa, company.agreement]),
                    billing=self.billing(row, before),
                    alongside=self.alongside(row, before),
                ),
            )
            for row, company, index, before in zip(rows, read, matched, befores, strict=True)
        )

    def company(self, row: CsvRow) -> Company:
        tenants = []
        for text in row.several("tenants"):
            try:
                tenants.append(tenant_ref(text, self.sources))
            except ConfigError as error:
                self.problem(row, error.message)
        if not tenants:
            self.problem(row, '"tenants" is empty.')
        return Company(
            self.needed(row, "name"),
            tuple(tenants),
            self.psa(row),
            self.needed(row, "company").strip(),
            self.needed(row, "agreement").strip(),
        )

    def exception(self, row: CsvRow) -> ProductRow:
        return replace(self.product(row), bill=self.flag(row, "bill", default=True))

    def billing(self, row: CsvRow, old: Company | None) -> bool:
        return self.flag(row, "billing", default=old.billing if old else False)

    def alongside(self, row: CsvRow, old: Company | None) -> tuple[str, ...]:
        if "alongside" in row.cells or old is None:
            return row.several("alongside")
        return old.alongside


def _matched(mapping: BillingMapping, read: Sequence[Company]) -> list[int | None]:
    """For each client that was read, its row of the mapping; each row is one client's at most."""
    found: list[int | None] = [None] * len(read)
    rules: tuple[Callable[[Company], Hashable], ...] = (
        lambda company: (company.psa, company.agreement),
        lambda company: (company.psa, company.company, company.name),
        lambda company: frozenset(company.tenants),
    )
    for rule in rules:
        free = set(range(len(mapping.companies))) - set(found)
        rows: dict[Hashable, list[int]] = defaultdict(list)
        for index in sorted(free):
            rows[rule(mapping.companies[index])].append(index)
        open_ = [index for index, row in enumerate(found) if row is None]
        same = Counter(rule(read[index]) for index in open_)
        for index in open_:
            key = rule(read[index])
            if len(rows[key]) == 1 and same[key] == 1:
                found[index] = rows[key][0]
    return found
