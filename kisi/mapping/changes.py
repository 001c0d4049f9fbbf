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
KeyT = TypeVar("KeyT")
RowT = TypeVar("RowT")
Value = TypeVar("Value")


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
    """The rows that mapping.toml is to have; rows that it has keep their keys, and their places.

    `applications` are by name in small letters, `products` by application and PSA, `companies` by
    their places in the file; new ones have later places. `text` is all of the file as it is,
    `mapping` what it means, with its rows in the text's order, and `psas` are the names of the PSAs
    in kisi.toml: rows name theirs only where there are several.
    """

    def __init__(self, text: str, mapping: BillingMapping, psas: Collection[str]) -> None:
        self.psas = tuple(psas)
        self.global_sources = mapping.global_sources
        self.applications = {row.name.casefold(): row for row in mapping.applications}
        self.products = {(row.application, row.psa): row for row in mapping.products}
        self.companies = dict(enumerate(mapping.companies))
        self._text = text
        self._old = self.applications.copy(), self.products.copy(), self.companies.copy()
        self._behind = itertools.count(len(self.companies))

    def new_place(self) -> int:
        """A place behind all clients that the file has, for a new one."""
        return next(self._behind)

    def change(self) -> Change:
        """What differs from the file as it is.

        Raises:
            ConfigError: Rows have forms that cannot be edited safely, or a comment would be lost.
        """
        applications = _Rows(self._old[0], self.applications, application_row)
        products = _Rows(self._old[1], self.products, partial(product_row, psas=self.psas))
        companies = _Rows(self._old[2], self.companies, partial(company_row, psas=self.psas))
        exceptions = {
            place: _Rows(
                dict(enumerate(was.exceptions)), _by_place(was, companies.now[place]), product_row
            )
            for place, was in companies.old.items()
            if place in companies.now
        }
        text = _edited(
            self._text,
            [(exceptions[place], EXCEPTION, place) for place in reversed(exceptions)],
            [
                (applications, RowKind.APPLICATION, None),
                (products, RowKind.PRODUCT, None),
                (companies, RowKind.COMPANY, None),
            ],
        )
        brought = products.brought()
        brought += (row for rows in exceptions.values() for row in rows.brought())
        brought += (row for company in companies.added.values() for row in company.exceptions)
        to_validate = set(companies.added) | {
            place
            for place, values in companies.changed.items()
            if _IDS & values.keys() or values.get("billing") is True
        }
        said = (
            _said_of_applications(applications),
            _said_of_products(products),
            _said_of_companies(companies, exceptions),
        )
        return Change(
            text,
            tuple(now for place, now in self.companies.items() if place in to_validate),
            tuple(row for row in brought if row.bill),
            tuple(itertools.chain(*said)),
        )


class _Rows(Generic[KeyT, RowT]):
    """Rows of one table before and after, by key: those that are `added`, `gone`, or `changed`.

    Of those that changed, `changed` has the TOML keys that must change, as `set_values` takes them;
    `new` are the added rows in TOML.
    """

    def __init__(
        self, old: Mapping[KeyT, RowT], now: Mapping[KeyT, RowT], write: Callable[[RowT], TomlRow]
    ) -> None:
        self.old = old
        self.now = now
        self.added = {key: row for key, row in now.items() if key not in old}
        self.gone = {key: row for key, row in old.items() if key not in now}
        differ = {
            key: _changed_values(write(old[key]), write(row))
            for key, row in now.items()
            if key in old and old[key] != row
        }
        self.changed = {key: values for key, values in differ.items() if values}
        self.new = [write(row) for row in self.added.values()]

    def brought(self) -> list[RowT]:
        """The rows that are new, or differ from what they were."""
        return [row for key, row in self.now.items() if self.old.get(key) != row]

    def by_place(self, some: Mapping[KeyT, Value]) -> dict[int, Value]:
        """Values of some old rows by the rows' places in the file."""
        return {place: some[key] for place, key in enumerate(self.old) if key in some}


_Table = tuple[_Rows[Any, Any], RowKind, int | None]
"""Rows before and after, their kind, and the place of the client whose exceptions they are."""


def _edited(text: str, exceptions: Sequence[_Table], tables: Sequence[_Table]) -> str:
    toml = TomlEdit(text)
    # from below, and before lines come and go: a refusal names a line of the file as it is
    for rows, kind, company in (*exceptions, *reversed(tables)):
        toml.set_values(kind, rows.by_place(rows.changed), company=company)
    for rows, kind, company in (*exceptions, *tables):
        toml.remove(kind, rows.by_place(rows.gone), company=company)
        toml.append(kind, rows.new, company=company)
    return toml.proven()


def _by_place(old: Company, new: Company) -> dict[int, ProductRow]:
    """The exceptions that a client is to have, by the places of those it has now."""
    places = {row.application: place for place, row in enumerate(old.exceptions)}
    behind = itertools.count(len(old.exceptions))
    return {
        next(behind) if (place := places.pop(row.application, None)) is None else place: row
        for row in new.exceptions
    }


def _changed_values(old: TomlRow, new: TomlRow) -> TomlRow:
    """The keys of a row that must change, with their new values; None: the key goes."""
    defaults = {} if "application" in new else _DEFAULTS  # `bill` goes from an exception's row
    return {
        key: new.get(key, defaults.get(key))
        for key in {**old, **new}
        if key != EXCEPTION and old.get(key) != new.get(key)
    }


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


def _said_of_applications(rows: _Rows[str, Application]) -> Iterator[str]:
    for key, row in rows.now.items():
        unit = f", billed per {row.unit}" if row.unit is not Unit.DEVICE else ""
        how = unit if row.bill else ", never billed"
        if key in rows.added:
            yield f'Added application "{shorten(row.name)}"{how}.'
        elif key in rows.changed:
            globs = ", ".join(f'"{shorten(glob)}"' for glob in row.globs)
            yield f'Changed application "{shorten(row.name)}": key names {globs}{how}.'
    for row in rows.gone.values():
        yield f'Removed application "{shorten(row.name)}".'


def _said_of_products(rows: _Rows[tuple[str, str], ProductRow]) -> Iterator[str]:
    for key, row in rows.now.items():
        if key in rows.added or key in rows.changed:
            before = f" Before: {_product_words(rows.old[key])}." if key in rows.old else ""
            what = f"{_product_words(row)} (psa.{row.psa})"
            yield f'"{shorten(row.application)}" is billed as {what}.{before}'
    for row in rows.gone.values():
        name = shorten(row.application)
        yield f'"{name}" has no product in psa.{row.psa} any more: it is not billed there.'


def _said_of_companies(
    rows: _Rows[int, Company], exceptions: Mapping[int, _Rows[int, ProductRow]]
) -> Iterator[str]:
    for place, new in rows.now.items():
        if place in rows.added:
            tenants = "1 tenant" if len(new.tenants) == 1 else f"{len(new.tenants)} tenants"
            yield f"Added {called(new)}: {tenants}, billing {'on' if new.billing else 'off'}."
            continue
        old = rows.old[place]
        if place in rows.changed:
            yield _changed(old, new, rows.changed[place])
        for row in exceptions[place].brought():
            what = f"is billed as {_product_words(row)}" if row.bill else "is managed by hand"
            yield f'"{shorten(row.application)}" of {called(old)} {what}.'
        for row in exceptions[place].gone.values():
            yield f'Removed the exception of {called(old)} for "{shorten(row.application)}".'
    for old in rows.gone.values():
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
