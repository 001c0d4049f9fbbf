"""Brings mapping.toml to what an imported table says, touching only the rows that differ."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.config.sentences import shorten
from kisi.mapping.billed import (
    application_values,
    exception_values,
    find_application,
    product_values,
)
from kisi.mapping.change import Change, Draft, application_row, company_row, product_row
from kisi.mapping.clients import called, differences, must_exist
from kisi.mapping.edit import (
    RowKind,
    append_exception,
    append_rows,
    remove_exception,
    remove_row,
    set_exceptions,
    set_values,
)
from kisi.mapping.table_import import Imported
from kisi.model import Company, ProductRow

Values = dict[int, dict[str, object]]


def merge(draft: Draft, table: Imported, *, remove_missing: bool) -> Change:
    """The change that makes the mapping say what the table says.

    Args:
        draft: The mapping as it is.
        table: The rows that were read.
        remove_missing: Take out what the table does not name; otherwise it stays.

    Raises:
        ConfigError: The file holds forms that cannot be edited safely.
    """
    merging = _Merging(draft, table, remove_missing=remove_missing)
    merging.applications()
    merging.products()
    merging.clients()
    return merging.change()


class _Merging:
    """The edits that are gathered, all by the rows of the old mapping."""

    def __init__(self, draft: Draft, table: Imported, *, remove_missing: bool) -> None:
        self._draft = draft
        self._table = table
        self._remove = remove_missing
        self._text = draft.text
        self._values: dict[RowKind, Values] = {kind: {} for kind in RowKind}
        self._new: dict[RowKind, list[dict[str, object]]] = {kind: [] for kind in RowKind}
        self._gone: dict[RowKind, list[int]] = {kind: [] for kind in RowKind}
        self._verify: list[Company] = []
        self._products: list[ProductRow] = []
        self._done: list[str] = []

    def applications(self) -> None:
        old = self._draft.mapping.applications
        kept = set()
        for application in self._table.applications:
            row = find_application(self._draft.mapping, application.name)
            if row is None:
                self._new[RowKind.APPLICATION].append(application_row(application))
                self._done.append(f'Added application "{shorten(application.name)}".')
                continue
            kept.add(row)
            values = application_values(old[row], application)
            if values:
                self._values[RowKind.APPLICATION][row] = values
                self._done.append(f'Changed application "{shorten(application.name)}".')
        self._missing(RowKind.APPLICATION, kept, [f'application "{each.name}"' for each in old])

    def products(self) -> None:
        old = self._draft.mapping.products
        places = {(each.psa, each.application): row for row, each in enumerate(old)}
        kept = set()
        for product in self._table.products:
            row = places.get((product.psa, product.application))
            if row is None:
                self._new[RowKind.PRODUCT].append(product_row(product, self._draft.psas))
            else:
                kept.add(row)
                if dict(old[row].products) == dict(product.products):
                    continue
                self._values[RowKind.PRODUCT][row] = product_values(old[row], product)
            self._products.append(product)
            self._done.append(f'Changed what "{shorten(product.application)}" is billed as.')
        self._missing(RowKind.PRODUCT, kept, [f'the products of "{e.application}"' for e in old])

    def clients(self) -> None:
        old = self._draft.mapping.companies
        kept = set()
        for client in self._table.clients:
            if client.row is None:
                self._new[RowKind.COMPANY].append(company_row(client.company, self._draft.psas))
                self._verify.append(client.company)
                self._done.append(f"Added {called(client.company)}.")
                self._products += [each for each in client.company.exceptions if each.bill]
                continue
            kept.add(client.row)
            values = differences(old[client.row], client.company)
            if values:
                self._values[RowKind.COMPANY][client.row] = values
                if must_exist(values):
                    self._verify.append(client.company)
            if self._exceptions(client.row, client.company) or values:
                self._done.append(f"Changed {called(client.company)}.")
        self._missing(RowKind.COMPANY, kept, [called(each) for each in old])

    def _exceptions(self, row: int, company: Company) -> bool:
        """Edits the exceptions of a client at once: no row moves by it. Whether any differed."""
        old = self._draft.mapping.companies[row].exceptions
        places = {each.application: index for index, each in enumerate(old)}
        changed: dict[int, ProductRow] = {}
        new: list[ProductRow] = []
        for each in company.exceptions:
            index = places.pop(each.application, None)
            if index is None:  # also a second one of the same application, which is then refused
                new += [each] if each not in old else []
            elif old[index] != each:
                changed[index] = each
        gone = sorted(places.values()) if self._remove else []
        values = {index: exception_values(old[index], each) for index, each in changed.items()}
        self._text = set_exceptions(self._text, row, values)
        for index in reversed(gone):
            self._text = remove_exception(self._text, row, index)
        for each in new:
            exception = product_row(each, self._draft.psas, exception=True)
            self._text = append_exception(self._text, row, exception)
        self._products += [each for each in (*changed.values(), *new) if each.bill]
        return bool(gone or changed or new)

    def _missing(self, kind: RowKind, kept: Iterable[int], names: list[str]) -> None:
        if self._remove:
            self._gone[kind] = sorted(set(range(len(names))) - set(kept), reverse=True)
            self._done += [f"Removed {names[row]}." for row in reversed(self._gone[kind])]

    def change(self) -> Change:
        text = self._text
        for kind in reversed(RowKind):  # from below: a refusal names a line of the file as it is
            text = set_values(text, kind, self._values[kind])
        for kind in RowKind:
            for row in self._gone[kind]:
                text = remove_row(text, kind, row)
            text = append_rows(text, kind, self._new[kind])
        return Change(text, tuple(self._verify), tuple(self._products), tuple(self._done))
