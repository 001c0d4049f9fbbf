"""Applications of mapping.toml and the products they are billed as: added, changed, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit, RowT, called
from kisi.mapping.rules import UNTOUCHED
from kisi.model import Application, ProductRow


def find_application(edit: MappingEdit, name: str) -> Application | None:
    """The application of this name, in any case."""
    found = (row for row in edit.applications.values() if row.name.casefold() == name.casefold())
    return next(found, None)


def the_application(edit: MappingEdit, name: str) -> Application:
    """As `find_application`.

    Raises:
        ConfigError: There is none of this name.
    """
    found = find_application(edit, name)
    if found is None:
        names = [each.name for each in edit.applications.values()]
        raise ConfigError(
            f'mapping.toml has no [[application]] "{shorten(name)}"; {did_you_mean(name, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map application` adds one; `kisi map list` shows the key names.",
        )
    return found


def with_keys(application: Application, globs: Iterable[str]) -> Application:
    """An application with more key names beside its own; the same one if it has them all."""
    new = [glob for glob in globs if glob not in application.globs]
    return replace(application, keys=(*application.globs, *new)) if new else application


def set_application(edit: MappingEdit, application: Application) -> None:
    """Adds an application, or gives the one of its name, in any case, these values."""
    old = find_application(edit, application.name)
    place = _place(edit.applications, lambda row: row is old)
    place = edit.new_place() if place is None else place
    edit.applications[place] = replace(application, name=old.name) if old else application


def set_product(edit: MappingEdit, row: ProductRow) -> None:
    """Bills an application as other products: the general row of its PSA is added or changed."""
    place = _place(edit.products, lambda old: _general(old, row.application, row.psa))
    edit.products[edit.new_place() if place is None else place] = row


def set_exception(edit: MappingEdit, client: int, row: ProductRow) -> None:
    """Bills an application of one client otherwise, or (`bill = false`) leaves it to people."""
    company = edit.companies[client]
    own = {each.application: each for each in company.exceptions}
    own[row.application] = row
    edit.companies[client] = replace(company, exceptions=tuple(own.values()))


def remove_exception(edit: MappingEdit, client: int, application: str) -> None:
    """Takes an exception of a client out, so that the general row holds for it again.

    Raises:
        ConfigError: There is no such exception.
    """
    company = edit.companies[client]
    kept = tuple(each for each in company.exceptions if each.application != application)
    if len(kept) == len(company.exceptions):
        raise ConfigError(
            f'{called(company)} has no exception for "{shorten(application)}". {UNTOUCHED}',
            remedy="`kisi map export` shows the exceptions.",
        )
    edit.companies[client] = replace(company, exceptions=kept)


def remove_product(edit: MappingEdit, application: str, psa: str) -> None:
    """Takes the general row out, so that the application is reported as unmapped from now on.

    Raises:
        ConfigError: There is no such row.
    """
    place = _place(edit.products, lambda row: _general(row, application, psa))
    if place is None:
        raise ConfigError(
            f'mapping.toml has no [[product]] of "{shorten(application)}" for psa.{psa}. '
            f"{UNTOUCHED}",
            remedy="`kisi map export` shows the rows.",
        )
    del edit.products[place]


def remove_application(edit: MappingEdit, name: str) -> None:
    """Takes an application out, with its product rows and the clients' exceptions for it.

    Raises:
        ConfigError: There is none of this name.
    """
    name = the_application(edit, name).name
    edit.applications = {p: row for p, row in edit.applications.items() if row.name != name}
    edit.products = {p: row for p, row in edit.products.items() if row.application != name}
    edit.companies = {
        place: replace(
            company, exceptions=tuple(row for row in company.exceptions if row.application != name)
        )
        for place, company in edit.companies.items()
    }


def _general(row: ProductRow, application: str, psa: str) -> bool:
    return (row.application, row.psa) == (application, psa)


def _place(rows: Mapping[int, RowT], is_it: Callable[[RowT], bool]) -> int | None:
    """The place of the row that fits."""
    return next((place for place, row in rows.items() if is_it(row)), None)
