"""Rows of mapping.toml before and after a change that is not saved yet: as text and in words.

Pure. Commands say what the rows are to be; which lines of the file differ, which ids must exist and
what is said of it follows here, the same way for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from kisi.config.sentences import shorten
from kisi.mapping.rules import LARGEST_ID
from kisi.mapping.toml_edit import EXCEPTION, RowKind, TomlEdit, TomlRow
from kisi.model import Application, BillingMapping, Category, Company, ProductRow, Unit

_MOST_DIGITS = len(str(LARGEST_ID))
_DEFAULTS: TomlRow = {"unit": str(Unit.DEVICE), "bill": True, "billing": True}
"""What a key says where it is missing. One that is there is set to this, and not taken away."""
_IDS = frozenset({"tenants", "psa", "company", "agreement"})
RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Change:
    """An edited text, and the rows whose ids the change brings into it."""

    text: str
    companies: tuple[Company, ...] = ()
    """Clients whose tenants, company and agreement must exist before it is saved."""
    products: tuple[ProductRow, ...] = ()
    """Rows whose products must exist before it is saved."""
    done: tuple[str, ...] = ()
    """What it does, in sentences in the past tense."""


class MappingEdit:
    """The rows that mapping.toml is to have, by their places in it; new rows have later places.

    `text` is all of the file as it is, `mapping` what it means (its rows in the text's order), and
    `psas` are the names of the PSAs in kisi.toml: rows name theirs only where there are several.
    """

    def __init__(self, text: str, mapping: BillingMapping, psas: Collection[str]) -> None:
        self.psas = tuple(psas)
        self.global_sources = mapping.global_sources
        self.applications = dict(enumerate(mapping.applications))
        self.products = dict(enumerate(mapping.products))
        self.companies = dict(enumerate(mapping.companies))
        self._text = text
        self._old = mapping
        tables = (self.applications, self.products, self.companies)
        self._behind = itertools.count(max(len(table) for table in tables))

    def new_place(self) -> int:
        """A place behind all rows that the file has, for a new one."""
        return next(self._behind)

    def change(self) -> Change:
        """What differs from the file as it is.

        Raises:
            ConfigError: The file holds forms that cannot be edited safely, or a comment would be
                lost.
        """
        old, psas = self._old, self.psas
        applications = _Rows(old.applications, self.applications, application_row)
        products = _Rows(old.products, self.products, partial(product_row, psas=psas))
        companies = _Rows(old.companies, self.companies, partial(company_row, psas=psas))
        exceptions = {
            place: _Rows(was.exceptions, _by_place(was, self.companies[place]), product_row)
            for place, was in companies.old.items()
            if place in self.companies
        }
        toml = TomlEdit(self._text)
        for place, rows in reversed(exceptions.items()):
            toml.set_values(EXCEPTION, rows.values, company=place)
            toml.remove(EXCEPTION, rows.gone, company=place)
            toml.append(EXCEPTION, rows.new, company=place)
        tables: Sequence[_Rows[Any]] = (applications, products, companies)
        for kind, table in reversed([*zip(RowKind, tables, strict=True)]):
            toml.set_values(
                kind, table.values
            )  # first: a refusal names a line of the file as it is
        for kind, table in zip(RowKind, tables, strict=True):
            toml.remove(kind, table.gone)
            toml.append(kind, table.new)
        brought = products.brought()
        brought += (row for rows in exceptions.values() for row in rows.brought())
        brought += (row for place in companies.added for row in companies.now[place].exceptions)
        said = (
            _said_of_applications(applications),
            _said_of_products(products),
            _said_of_companies(companies, exceptions),
        )
        return Change(
            toml.proven(),
            tuple(
                now
                for place, now in companies.now.items()
                if place in companies.added or _brings_ids(companies.values.get(place, {}))
            ),
            tuple(row for row in brought if row.bill),
            tuple(itertools.chain(*said)),
        )


class _Rows(Generic[RowT]):
    """Rows of one table before and after, by place, and how they differ in TOML.

    `values` has the keys that must change of each row that differs; `new` are the rows at the
    places `added`.
    """

    def __init__(
        self, old: Sequence[RowT], now: Mapping[int, RowT], write: Callable[[RowT], TomlRow]
    ) -> None:
        self.old = dict(enumerate(old))
        self.now = now
        self.added = [place for place in now if place not in self.old]
        self.gone = [place for place in self.old if place not in now]
        differ = {
            place: _changed_values(write(self.old[place]), write(row))
            for place, row in now.items()
            if place in self.old and self.old[place] != row
        }
        self.values = {place: values for place, values in differ.items() if values}
        self.new = [write(now[place]) for place in self.added]

    def brought(self) -> list[RowT]:
        """The rows that are new, or differ from what they were."""
        return [row for place, row in self.now.items() if self.old.get(place) != row]


def _by_place(old: Company, new: Company) -> dict[int, ProductRow]:
    """The exceptions that a client is to have, by the places of those it has now."""
    places = {row.application: place for place, row in enumerate(old.exceptions)}
    behind = itertools.count(len(old.exceptions))
    rows = {}
    for row in new.exceptions:
        place = places.pop(row.application, None)
        rows[next(behind) if place is None else place] = row
    return rows


def _changed_values(old: TomlRow, new: TomlRow) -> TomlRow:
    """The keys of a row that must change, with their new values; None: the key goes."""
    defaults = {} if "application" in new else _DEFAULTS  # `bill` goes from an exception's row
    return {
        key: new.get(key, defaults.get(key))
        for key in {**old, **new}
        if key != EXCEPTION and old.get(key) != new.get(key)
    }


def _brings_ids(values: TomlRow) -> bool:
    """Whether changed keys of a client bring ids in, or switch its billing on."""
    return bool(_IDS & set(values)) or values.get("billing") is True


# --- in TOML ------------------------------------------------------------------------------------


def toml_id(ident: str) -> int | str:
    """An id as it is written: a whole number where nothing is lost by it, else text.

    >>> toml_id("250"), toml_id("007"), toml_id("KES-ADV")
    (250, '007', 'KES-ADV')
    """
    if not (ident.isascii() and ident.isdigit()) or ident[0] == "0" or len(ident) > _MOST_DIGITS:
        return ident
    return int(ident) if int(ident) <= LARGEST_ID else ident


def application_row(application: Application) -> dict[str, Any]:
    """`[[application]]`, without the keys that have their defaults."""
    row: dict[str, Any] = {"name": application.name}
    if application.globs != (application.name + "*",):
        row["keys"] = list(application.keys)
    if application.unit is not Unit.DEVICE:
        row["unit"] = str(application.unit)
    if not application.bill:
        row["bill"] = False
    return row


def product_row(row: ProductRow, psas: Collection[str] = ()) -> dict[str, Any]:
    """`[[product]]`, or without `psas` an exception; `psa` only where kisi.toml has several."""
    values: dict[str, Any] = {"application": row.application}
    if len(psas) > 1:
        values["psa"] = row.psa
    values |= {str(category): toml_id(product) for category, product in row.products.items()}
    if not row.bill:
        values["bill"] = False
    return values


def company_row(company: Company, psas: Collection[str]) -> dict[str, Any]:
    """`[[company]]` with its exceptions; `billing` only where it is off."""
    row: dict[str, Any] = {"name": company.name, "tenants": [*map(str, company.tenants)]}
    if len(psas) > 1:
        row["psa"] = company.psa
    row |= {"company": toml_id(company.company), "agreement": toml_id(company.agreement)}
    if company.alongside:
        row["alongside"] = [toml_id(agreement) for agreement in company.alongside]
    if not company.billing:
        row["billing"] = False
    if company.exceptions:
        row[EXCEPTION] = [product_row(each) for each in company.exceptions]
    return row


# --- in words -----------------------------------------------------------------------------------


def called(company: Company) -> str:
    """A client in a sentence, so that it can be told from another of the same name."""
    return f'"{shorten(company.name)}" ({company.psa}:{company.agreement})'


def _said_of_applications(rows: _Rows[Application]) -> Iterator[str]:
    for place, row in rows.now.items():
        unit = f", billed per {row.unit}" if row.unit is not Unit.DEVICE else ""
        how = unit if row.bill else ", never billed"
        if place in rows.added:
            yield f'Added application "{shorten(row.name)}"{how}.'
        elif place in rows.values:
            globs = ", ".join(f'"{shorten(glob)}"' for glob in row.globs)
            yield f'Changed application "{shorten(row.name)}": key names {globs}{how}.'
    for place in rows.gone:
        yield f'Removed application "{shorten(rows.old[place].name)}".'


def _said_of_products(rows: _Rows[ProductRow]) -> Iterator[str]:
    for place, row in rows.now.items():
        if place in rows.added or place in rows.values:
            old = rows.old.get(place)
            before = f" Before: {_product_words(old)}." if old else ""
            what = f"{_product_words(row)} (psa.{row.psa})"
            yield f'"{shorten(row.application)}" is billed as {what}.{before}'
    for place in rows.gone:
        name, psa = shorten(rows.old[place].application), rows.old[place].psa
        yield f'"{name}" has no product in psa.{psa} any more: it is not billed there.'


def _said_of_companies(
    rows: _Rows[Company], exceptions: Mapping[int, _Rows[ProductRow]]
) -> Iterator[str]:
    for place, new in rows.now.items():
        if place in rows.added:
            tenants = "1 tenant" if len(new.tenants) == 1 else f"{len(new.tenants)} tenants"
            yield f"Added {called(new)}: {tenants}, billing {'on' if new.billing else 'off'}."
            continue
        old = rows.old[place]
        if place in rows.values:
            yield _changed(old, new, rows.values[place])
        for row in exceptions[place].brought():
            what = f"is billed as {_product_words(row)}" if row.bill else "is managed by hand"
            yield f'"{shorten(row.application)}" of {called(old)} {what}.'
        for gone in exceptions[place].gone:
            name = shorten(old.exceptions[gone].application)
            yield f'Removed the exception of {called(old)} for "{name}".'
    for place in rows.gone:
        old = rows.old[place]
        yield (
            f"Removed {called(old)}. Its lines in psa.{old.psa} stay as they are; kisi does not "
            "keep them up any more."
        )


def _changed(old: Company, new: Company, values: TomlRow) -> str:
    size = len(old.tenants)
    if set(values) == {"tenants"} and new.tenants[:size] == old.tenants:
        joined = ", ".join(shorten(str(ref)) for ref in new.tenants[size:])
        billed = "which is billed" if old.billing else "whose billing is off"
        return f"Added {joined} to {called(old)}, {billed}."
    words = []
    for key, value in values.items():
        if key == "billing":
            words.append("billing on" if value else "billing off")
        else:
            each = value if isinstance(value, list) else [value]
            words.append(f"{key} {', '.join(shorten(str(one)) for one in each)}")
    return f"Changed {called(old)}: {', '.join(words)}."


def _product_words(row: ProductRow) -> str:
    """Products of a row in words: `1201`, or `windows_workstations 1201, windows_servers 1202`."""
    if list(row.products) == [Category.ALL]:
        return row.products[Category.ALL]
    return ", ".join(f"{category} {product}" for category, product in row.products.items())
