r"""All of mapping.toml as one table that a spreadsheet edits; suggestions are rows of it too.

A row is an `application`, `product`, `company`, `tenant` (never billed), or `exception` (a
`[[company.product]]`, which names its client by PSA and agreement); an application's may name its
products as well. Suggestions have `accept` beside it, and `score`, `reason` and `tenant_name` for
reading alone; they may also be JSON. Only ids decide.

It is read back without a loss. A cell is the text itself, but for what a spreadsheet, a terminal or
a CSV reader could stumble over: control characters, a backslash and outer spaces are `\x1b`,
`\\` and `\x20`, a text that would be a formula has an apostrophe in front, and what would be one
behind a delimiter is `\x3d` (`kisi.redaction`). Several values in a cell are divided by `; `.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import zip_longest
from typing import Any, TypeVar

from kisi.config.sentences import did_you_mean, shorten, type_name
from kisi.csv_table import BadRowError, CsvStyle, csv_table, read_rows, without_sep
from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit, with_keys
from kisi.mapping.rules import UNTOUCHED
from kisi.mapping.toml_edit import Row
from kisi.model import (
    Application,
    BillingMapping,
    Category,
    Company,
    IgnoredTenant,
    ProductRow,
    TenantRef,
    Unit,
)
from kisi.redaction import STARTS, escaped, guarded_inside, safe_text

COLUMNS = (
    *("kind", "name", "application", "tenants", "psa", "company", "agreement", "billing"),
    *("keys", "unit", "bill", *map(str, Category), "until", "note", "alongside", "count"),
    *("articles", "purchased_as"),
)
_DECORATION = ("tenant_name", "score", "reason", "products")
_READ = (*COLUMNS, "accept", *_DECORATION, "tenant")
"""`tenant`, one id, stands for `tenants` in suggestions."""
_KINDS = ("application", "product", "company", "exception", "tenant")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_JSON = {
    "clients": ("company", ("name", "tenant", "psa", "company", "agreement", "billing")),
    "applications": ("application", ("name", "psa", "keys", "unit", "bill", *map(str, Category))),
}
"""The lists of a JSON document of suggestions: the kind of their rows, and the keys of one."""
_ADVICE = (
    "Correct the file and do it again; `kisi map export` and `kisi map suggest` write one to start "
    "from."
)
_GUARDED = (*STARTS, "'")
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4}))")
_OUTER_SPACES = re.compile(r"^ +| +\Z")
_DELIMITERS = ",;\t"
Value = TypeVar("Value")


def mapping_csv(mapping: BillingMapping, style: CsvStyle | None = None) -> str:
    """The whole mapping, in its own order; each client is followed by its exceptions."""
    rows = [*map(row_cells, mapping.applications), *map(row_cells, mapping.products)]
    for company in mapping.everyone:
        rows.append(row_cells(company))
        owner = _cells(name=company.name, company=company.company, agreement=company.agreement)
        rows += [
            {**row_cells(each), **owner, **_cells(kind="exception", bill=each.bill)}
            for each in company.exceptions
        ]
    return write_csv(COLUMNS, [*rows, *map(row_cells, mapping.ignored)], style)


def row_cells(row: Row) -> dict[str, str]:
    """A row by column, as a general one; a client without its exceptions."""
    match row:
        case Application():
            own = {"keys": row.keys, "unit": str(row.unit), "articles": row.articles}
            return _cells(kind="application", application=row.name, bill=row.bill, **own)
        case ProductRow():
            products = {str(category): product for category, product in row.products.items()}
            own = {"application": row.application, "psa": row.psa, "count": row.count}
            return _cells(kind="product", **own, **products)
        case Company():
            columns = "name tenants psa company agreement billing alongside purchased_as"
            company = {column: getattr(row, column) for column in columns.split()}
            return _cells(kind="company", **company, until=str(row.until or ""))
        case IgnoredTenant():
            return _cells(kind="tenant", tenants=[str(row.ref)], bill=False, note=row.note)


def _cells(**values: str | bool | Sequence[object]) -> dict[str, str]:
    cells = {}
    for column, value in values.items():
        if isinstance(value, bool):
            cells[column] = "true" if value else "false"
        else:
            cells[column] = csv_cell(value) if isinstance(value, str) else csv_list(map(str, value))
    return cells


@dataclass(frozen=True, slots=True)
class MappingRows:
    """What a table says. What a missing column would say is as the mapping has it."""

    applications: tuple[Application, ...]
    products: tuple[ProductRow, ...]
    companies: tuple[tuple[int | None, Company], ...]
    """Clients with the exceptions that the table names; those without a place are new ones."""
    ignored: tuple[IgnoredTenant, ...] = ()


def read_mapping_table(
    text: str, edit: MappingEdit, *, name: str, accepted: bool = False
) -> MappingRows:
    """The rows of a table that `kisi map` wrote and a person may have edited.

    A client is the one on the same agreement, else the only one of the same company and name, else
    the only one with the same tenants; so a client can be moved to another agreement. A new client
    whose `billing` is empty is not billed. With `accepted`, only rows whose `accept` says yes are
    read, otherwise all but those that say no. A text that begins with `{` is JSON; messages call
    the file `name`. A `ConfigError` has all problems, each with its line or place.
    """
    as_json = text.lstrip("\ufeff \t\r\n").startswith("{")
    reader = _Reader(edit, {} if accepted else edit.companies)
    rows = list(reader.json_rows(text, name) if as_json else read_csv(text, _READ, name=name))
    return reader.read(row for row in rows if reader.flag(row, "accept", default=not accepted))


@dataclass(slots=True)
class _Reader:
    edit: MappingEdit
    known: Mapping[int, Company]
    """The clients that a row may be."""
    problems: list[str] = field(default_factory=list)

    def read(self, rows: Iterable[ReadRow]) -> MappingRows:
        kinds: dict[str, list[ReadRow]] = {kind: [] for kind in _KINDS}
        for row in rows:
            kind = row.cell("kind").casefold()
            kind = "company" if kind == "client" else kind
            if kind in kinds:
                kinds[kind].append(row)
            else:
                hint = did_you_mean(kind, _KINDS)
                self.problem(row, f'There is no kind "{shorten(kind)}"; {hint}')
        applications = [self.application(row) for row in kinds["application"]]
        billed = [row for row in kinds["application"] if _products(row)]
        products = [self.product(row) for row in (*billed, *kinds["product"])]
        companies = tuple(self.companies(kinds["company"], kinds["exception"]))
        ignored = [self.ignored(row, ref) for row in kinds["tenant"] for ref in self.tenants(row)]
        if self.problems:
            raise ConfigError([*self.problems, "Nothing was changed."], remedy=_ADVICE)
        return MappingRows(tuple(applications), tuple(products), companies, tuple(ignored))

    def problem(self, row: ReadRow, sentence: str) -> None:
        self.problems.append(f"{row.place}: {sentence}")

    def needed(self, row: ReadRow, column: str) -> str:
        if not row.cell(column):
            self.problem(row, f'"{column}" is empty.')
        return row.cells.get(column, "")

    def flag(self, row: ReadRow, column: str, *, default: bool) -> bool:
        value = row.cell(column).casefold()
        if value and value not in _FLAGS:
            self.problem(row, f'"{column}" must be yes or no, not "{shorten(value)}".')
        return _FLAGS.get(value, default)

    def noted(self, row: ReadRow, read: Callable[[str], Value], text: str) -> Value | None:
        try:
            return read(text)
        except ConfigError as error:
            self.problem(row, error.message)
            return None

    def psa(self, row: ReadRow) -> str:
        return self.noted(row, self.edit.names.the_psa, row.cells.get("psa", "")) or ""

    def application(self, row: ReadRow) -> Application:
        name = self.needed(row, _application_column(row))
        old = self.edit.applications.get(name.casefold()) or Application(name)
        unit = row.cells.get("unit", old.unit).strip() or Unit.DEVICE
        if unit not in set(Unit):
            hint = did_you_mean(unit, list(Unit))
            self.problem(row, f'There is no unit "{shorten(unit)}"; {hint}')
            unit = Unit.DEVICE
        bill = self.flag(row, "bill", default=old.bill)
        keys, articles = (row.lists.get(x, getattr(old, x)) for x in ("keys", "articles"))
        return Application(name, keys, Unit(unit), bill, articles)

    def product(self, row: ReadRow) -> ProductRow:
        application = self.needed(row, _application_column(row))
        return ProductRow(application, self.psa(row), _products(row), count=row.cell("count"))

    def companies(
        self, rows: Sequence[ReadRow], exceptions: Sequence[ReadRow]
    ) -> Iterator[tuple[int | None, Company]]:
        read = [self.company(row) for row in rows]
        own: dict[tuple[str, str], list[ProductRow]] = {
            (company.psa, company.agreement): [] for company in read
        }
        for row in exceptions:
            bill = self.flag(row, "bill", default=True)
            exception = replace(self.product(row), bill=bill)
            key = (exception.psa, row.cell("agreement"))
            if key in own:
                own[key].append(exception)
            else:
                self.problem(row, f"No company of this table is on agreement {':'.join(key)}.")
        for row, company, place in zip(rows, read, _places(self.known, read), strict=True):
            old = company if place is None else self.known[place]
            whole = replace(
                company,
                exceptions=tuple(own[company.psa, company.agreement]),
                billing=self.flag(row, "billing", default=old.billing),
                alongside=row.lists.get("alongside", old.alongside),
                purchased_as=row.lists.get("purchased_as", old.purchased_as),
                until=self.day(row, "until") if "until" in row.cells else old.until,
            )
            yield place, whole

    def day(self, row: ReadRow, column: str) -> date | None:
        text = row.cell(column)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            self.problem(
                row, f'"{column}" must be a day such as 2026-11-30, not "{shorten(text)}".'
            )
            return None

    def tenants(self, row: ReadRow) -> tuple[TenantRef, ...]:
        one = (row.cells["tenant"],) if row.cell("tenant") else ()
        texts = row.lists.get("tenants", one)
        found = [self.noted(row, self.edit.names.the_tenant, text) for text in texts]
        if not any(found):
            self.problem(row, '"tenants" is empty.')
        return tuple(filter(None, found))

    def ignored(self, row: ReadRow, ref: TenantRef) -> IgnoredTenant:
        if self.flag(row, "bill", default=False):
            self.problem(
                row, '"bill" must be no: whoever is billed is a row of the kind "company".'
            )
        old = self.edit.ignored.get(ref.identity(self.edit.global_sources))
        return IgnoredTenant(ref, row.cells.get("note", old.note if old else ""))

    def company(self, row: ReadRow) -> Company:
        tenants = self.tenants(row)
        return Company(
            self.needed(row, "name"),
            tenants,
            self.psa(row),
            self.needed(row, "company").strip(),
            self.needed(row, "agreement").strip(),
            billing=False,
        )

    def json_rows(self, text: str, name: str) -> Iterator[ReadRow]:
        try:
            document = json.loads(text.removeprefix("\ufeff"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise _wrong(name, f"This is not JSON ({error}).") from error
        for table, (kind, known) in _JSON.items():
            entries = document.get(table, [])
            if not isinstance(entries, list):
                raise _wrong(name, f'"{table}" must be a list, not {type_name(entries)}.')
            for number, entry in enumerate(entries, 1):
                row = ReadRow(f"{name}, {table} {number}", {"kind": kind}, {})
                if not isinstance(entry, dict):
                    raise _wrong(row.place, f"This must be an object, not {type_name(entry)}.")
                self.read_json(row, entry, ("accept", *known, *_DECORATION))
                yield row

    def read_json(self, row: ReadRow, entry: Mapping[str, Any], known: Sequence[str]) -> None:
        for key, value in entry.items():
            if key not in known:
                hint = did_you_mean(key, known)
                self.problem(row, f'Unknown key "{shorten(key)}"; {hint}')
            elif key == "keys" and isinstance(value, list) and {*map(type, value)} <= {str}:
                row.lists[key] = tuple(value)
            elif key == "keys" or not isinstance(value, str | int | float | None):
                self.problem(row, f'"{key}" has a value of the wrong type: {type_name(value)}.')
            else:
                row.cells[key] = "" if value is None else str(value)


def _application_column(row: ReadRow) -> str:
    suggested = row.cell("kind").casefold() == "application" and "application" not in row.cells
    return "name" if suggested else "application"


def _products(row: ReadRow) -> dict[Category, str]:
    return {each: row.cell(each) for each in Category if row.cell(each)}


def _wrong(place: str, sentence: str) -> ConfigError:
    return ConfigError(f"{place}: {sentence} Nothing was changed.", remedy=_ADVICE)


def _places(companies: Mapping[int, Company], read: Sequence[Company]) -> list[int | None]:
    """For each client that was read, its place in the mapping; no place is given twice."""
    found: list[int | None] = [None] * len(read)
    rules: tuple[Callable[[Company], Hashable], ...] = (
        lambda company: (company.psa, company.agreement),
        lambda company: (company.psa, company.company, company.name),
        lambda company: frozenset(company.tenants),
    )
    for rule in rules:
        places: dict[Hashable, list[int]] = defaultdict(list)
        for place in sorted(companies.keys() - set(found)):
            places[rule(companies[place])].append(place)
        open_ = [index for index, place in enumerate(found) if place is None]
        same = Counter(rule(read[index]) for index in open_)
        for index in open_:
            key = rule(read[index])
            if len(places[key]) == 1 and same[key] == 1:
                found[index] = places[key][0]
    return found


def import_rows(edit: MappingEdit, rows: MappingRows, *, remove_missing: bool) -> None:
    """Makes the mapping say what a table says; what it does not name stays, or is taken out."""
    for application in rows.applications:
        edit.set_application(application)
    for product in rows.products:
        edit.set_product(product)
    companies = {edit.new_place() if p is None else p: company for p, company in rows.companies}
    if remove_missing:
        names = {each.name.casefold() for each in rows.applications}
        billed = {(each.application, each.psa) for each in rows.products}
        edit.applications = {k: row for k, row in edit.applications.items() if k in names}
        edit.products = {k: row for k, row in edit.products.items() if k in billed}
        edit.companies = {k: row for k, row in edit.companies.items() if k in companies}
        edit.ignored = {}
    edit.ignored |= {x.ref.identity(edit.global_sources): x for x in rows.ignored}
    for place, company in companies.items():
        named = {row.application for row in company.exceptions}
        old = edit.companies[place].exceptions if place in edit.companies else ()
        kept = () if remove_missing else tuple(row for row in old if row.application not in named)
        before = {row.application: row for row in old}
        own = (row.over(before.get(row.application)) for row in company.exceptions)
        edit.companies[place] = replace(company, exceptions=(*kept, *own))


def accept_rows(edit: MappingEdit, rows: MappingRows) -> None:
    """Adds the rows of accepted suggestions; nothing that is mapped already is changed by it.

    Key names of an application that is there already are added to it. A tenant that is mapped
    already, or an application that is billed already, is a `ConfigError`.
    """
    for application in rows.applications:
        known = edit.applications.get(application.name.casefold())
        edit.set_application(with_keys(known, application.globs) if known else application)
    for product in rows.products:
        name = edit.the_application(product.application).name
        if (name, product.psa) in edit.products:
            raise ConfigError(
                f'"{shorten(name)}" is billed in psa.{product.psa} already. {UNTOUCHED}',
                remedy="Leave the products of this row empty, or use `kisi map product`.",
            )
        edit.set_product(replace(product, application=name))
    for tenant in rows.ignored:
        edit.ignore_tenant(tenant)
    edit.add_clients([company for _, company in rows.companies])


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row of a table that was read, by the columns that the file has."""

    place: str
    """Where it stands, for messages: `mapping.csv, line 3`."""
    cells: dict[str, str]
    lists: dict[str, tuple[str, ...]]
    """The texts of each cell that may hold several."""

    def cell(self, column: str) -> str:
        """A cell without spaces at either end; empty where there is no such column."""
        return self.cells.get(column, "").strip()


def csv_cell(text: str) -> str:
    """One text as a cell."""
    return _guarded(_escaped(text))


def csv_list(texts: Iterable[str]) -> str:
    """Several texts as one cell."""
    return _guarded("; ".join(_escaped(text).replace(";", "\\x3b") for text in texts))


def write_csv(
    columns: Sequence[str], rows: Iterable[Mapping[str, str]], style: CsvStyle | None = None
) -> str:
    """A table as CSV, of cells that `csv_cell` and `csv_list` made."""
    cells = ([row.get(column, "") for column in columns] for row in rows)
    return csv_table(columns, cells, style)


def read_csv(text: str, columns: Sequence[str], *, name: str) -> list[ReadRow]:
    """A table as `write_csv` makes it or a spreadsheet saves it (`;`, tabs, a byte order mark).

    It may lack some of the `columns` and have them in any order; messages call it `name`.
    """
    named, body = without_sep(text.removeprefix("\ufeff"))
    delimiter = named or max(_DELIMITERS, key=body.partition("\n")[0].count)
    try:
        rows = [row for row in read_rows(body, delimiter) if row.cells]
    except BadRowError as error:
        raise ConfigError(
            f"{name}, line {error.line}: This is not CSV ({error}). Nothing was changed.",
            remedy="Save it as CSV (UTF-8) and do it again.",
        ) from error
    header = [*map(str.casefold, rows[0].cells)] if rows else []
    problems = [
        f'{name}: Unknown column "{shorten(each)}"; {did_you_mean(each, columns)}'
        for each in header
        if each and each not in columns
    ]
    twice = (each for each, times in Counter(filter(None, header)).items() if times > 1)
    problems += (f'{name}: Column "{each}" stands there twice.' for each in twice)
    if problems:
        raise ConfigError(
            [*problems, "Nothing was changed."],
            remedy="Keep the first line as kisi wrote it; the columns may have any order.",
        )
    filled = (row for row in rows[1:] if any(row.cells))
    return [_row(header, row.cells, f"{name}, line {row.line}") for row in filled]


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> ReadRow:
    if any(cell.strip() and not head for head, cell in zip_longest(header, cells, fillvalue="")):
        raise ConfigError(
            f"{place}: There are more cells than columns with a heading. Nothing was changed.",
            remedy="Put a text that holds the divider in quotes, as a spreadsheet does by itself.",
        )
    raw = {}
    for column, cell in zip(header, map(str.strip, cells), strict=False):
        guarded = cell.startswith("'") and cell[1:].startswith(_GUARDED)
        raw[column] = cell[1:] if guarded else cell
    lists = {
        column: tuple(_decoded(part.strip()) for part in cell.split(";") if part.strip())
        for column, cell in raw.items()
    }
    return ReadRow(place, {column: _decoded(cell) for column, cell in raw.items()}, lists)


def _guarded(cell: str) -> str:
    inside = guarded_inside(cell, escaped)
    return "'" + inside if inside.startswith(_GUARDED) else inside


def _escaped(text: str) -> str:
    safe = safe_text(text.replace("\\", "\\\\"))
    return _OUTER_SPACES.sub(lambda spaces: "\\x20" * len(spaces[0]), safe)


def _decoded(cell: str) -> str:
    return _ESCAPE.sub(
        lambda match: match[1] or chr(int(match[2] or match[3] or match[4], 16)), cell
    )
