"""Applications of mapping.toml and the products they are billed as: added, changed, removed.

Pure: a `Draft` in, a `Change` out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.change import Change, Draft, application_row, product_row, product_words, toml_id
from kisi.mapping.clients import UNTOUCHED, called
from kisi.mapping.edit import (
    RowKind,
    append_exception,
    append_row,
    remove_exception,
    remove_row,
    set_exceptions,
    set_values,
)
from kisi.model import Application, BillingMapping, Category, ProductRow, Unit


def find_application(mapping: BillingMapping, name: str) -> int | None:
    """The row of the application of this name, in any case."""
    names = [each.name.casefold() for each in mapping.applications]
    return names.index(name.casefold()) if name.casefold() in names else None


def the_application(mapping: BillingMapping, name: str) -> Application:
    """The application of this name.

    Raises:
        ConfigError: There is none.
    """
    row = find_application(mapping, name)
    if row is None:
        names = [each.name for each in mapping.applications]
        raise ConfigError(
            f'mapping.toml has no [[application]] "{shorten(name)}"; {did_you_mean(name, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map application` adds one; `kisi map list` shows the key names.",
        )
    return mapping.applications[row]


def with_keys(application: Application, globs: Iterable[str]) -> Application:
    """An application with more key names beside its own; the same one if it has them all."""
    new = [glob for glob in globs if glob not in application.globs]
    return replace(application, keys=(*application.globs, *new)) if new else application


def set_application(draft: Draft, application: Application) -> Change:
    """Adds an application, or makes the row of its name say what it says."""
    row = find_application(draft.mapping, application.name)
    if row is None:
        done = f'Added application "{shorten(application.name)}"{_is(application)}.'
        text = append_row(draft.text, RowKind.APPLICATION, application_row(application))
        return Change(text, done=(done,))
    old = draft.mapping.applications[row]
    values = application_values(old, application)
    if not values:
        return Change(draft.text)
    done = f'Changed application "{shorten(old.name)}": {_globs(application)}{_is(application)}.'
    return Change(set_values(draft.text, RowKind.APPLICATION, {row: values}), done=(done,))


def application_values(old: Application, new: Application) -> dict[str, object]:
    """The keys of an application's row that must change, with their new values."""
    values: dict[str, object] = {}
    if old.globs != new.globs:
        values["keys"] = list(new.keys) or None
    if old.unit is not new.unit:
        values["unit"] = str(new.unit)
    if old.bill is not new.bill:
        values["bill"] = new.bill
    return values


def product_values(old: ProductRow, new: ProductRow) -> dict[str, object]:
    """The keys of a product row that must change, with their new values."""
    return {
        str(category): toml_id(new.products[category]) if category in new.products else None
        for category in Category
        if old.products.get(category) != new.products.get(category)
    }


def exception_values(old: ProductRow, new: ProductRow) -> dict[str, object]:
    """The keys of a client's exception that must change, with their new values."""
    values = product_values(old, new)
    if old.bill is not new.bill:
        values["bill"] = None if new.bill else False
    return values


def _is(application: Application) -> str:
    unit = f", billed per {application.unit}" if application.unit is not Unit.DEVICE else ""
    return unit if application.bill else ", never billed"


def _globs(application: Application) -> str:
    return "key names " + ", ".join(f'"{shorten(glob)}"' for glob in application.globs)


def set_product(draft: Draft, row: ProductRow) -> Change:
    """Bills an application as other products: the general row of its PSA is added or changed."""
    index = _product_index(draft.mapping, row.application, row.psa)
    products = f"{product_words(row.products)} (psa.{row.psa})"
    done = f'"{shorten(row.application)}" is billed as {products}.'
    if index is None:
        text = append_row(draft.text, RowKind.PRODUCT, product_row(row, draft.psas))
        return Change(text, products=(row,), done=(done,))
    old = draft.mapping.products[index]
    if dict(old.products) == dict(row.products):
        return Change(draft.text)
    text = set_values(draft.text, RowKind.PRODUCT, {index: product_values(old, row)})
    was = f" Before: {product_words(old.products)}."
    return Change(text, products=(row,), done=(done + was,))


def set_exception(draft: Draft, client: int, row: ProductRow) -> Change:
    """Bills an application of one client as other products, or (`bill = false`) leaves it alone."""
    company, text = draft.mapping.companies[client], draft.text
    if row in company.exceptions:
        return Change(text)
    places = {each.application: index for index, each in enumerate(company.exceptions)}
    index = places.get(row.application)
    if index is None:
        text = append_exception(text, client, product_row(row, draft.psas, exception=True))
    else:
        values = exception_values(company.exceptions[index], row)
        text = set_exceptions(text, client, {index: values})
    what = f"is billed as {product_words(row.products)}" if row.bill else "is managed by hand"
    done = f'"{shorten(row.application)}" of {called(company)} {what}.'
    return Change(text, products=(row,) if row.bill else (), done=(done,))


def remove_client_exception(draft: Draft, client: int, application: str) -> Change:
    """Takes an exception of a client out, so that the general row holds for it again.

    Raises:
        ConfigError: There is no such exception.
    """
    company = draft.mapping.companies[client]
    for index, old in enumerate(company.exceptions):
        if old.application == application:
            done = f'Removed the exception of {called(company)} for "{shorten(application)}".'
            return Change(remove_exception(draft.text, client, index), done=(done,))
    raise ConfigError(
        f'{called(company)} has no exception for "{shorten(application)}". {UNTOUCHED}',
        remedy="`kisi map export` shows the exceptions.",
    )


def remove_product(draft: Draft, application: str, psa: str) -> Change:
    """Takes the general row out, so that the application is reported as unmapped from now on.

    Raises:
        ConfigError: There is no such row.
    """
    index = _product_index(draft.mapping, application, psa)
    if index is None:
        raise ConfigError(
            f'mapping.toml has no [[product]] of "{shorten(application)}" for psa.{psa}. '
            f"{UNTOUCHED}",
            remedy="`kisi map export` shows the rows.",
        )
    done = f'"{shorten(application)}" has no product in psa.{psa} any more: it is not billed there.'
    return Change(remove_row(draft.text, RowKind.PRODUCT, index), done=(done,))


def remove_application(draft: Draft, name: str) -> Change:
    """Takes an application out, with its product rows and the clients' exceptions for it.

    Raises:
        ConfigError: There is none of this name.
    """
    mapping, text = draft.mapping, draft.text
    application = the_application(mapping, name)
    products = [
        row for row, each in enumerate(mapping.products) if each.application == application.name
    ]
    exceptions = [
        (client, index)
        for client, company in enumerate(mapping.companies)
        for index, each in enumerate(company.exceptions)
        if each.application == application.name
    ]
    for client, index in reversed(exceptions):
        text = remove_exception(text, client, index)
    for index in reversed(products):
        text = remove_row(text, RowKind.PRODUCT, index)
    text = remove_row(text, RowKind.APPLICATION, mapping.applications.index(application))
    done = (
        f'Removed application "{shorten(application.name)}", {len(products)} of its product rows '
        f"and {len(exceptions)} exceptions of clients."
    )
    return Change(text, done=(done,))


def _product_index(mapping: BillingMapping, application: str, psa: str) -> int | None:
    pairs = [(each.application, each.psa) for each in mapping.products]
    return pairs.index((application, psa)) if (application, psa) in pairs else None
