"""Rows of mapping.toml found by what a person types, added, changed and removed.

What is not there, is there twice, or is mapped already is a `ConfigError`: nothing is changed.
Names of clients may repeat, so a client can also be named by its agreement (`cw:1042`) or by one of
its tenants (`hq:VSRV...`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit, called
from kisi.mapping.rules import UNTOUCHED
from kisi.model import Application, BillingMapping, Company, Glob, ProductRow, TenantRef

_LISTED = 12


def the_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """The rows of the clients that `wanted` names, at least one.

    The first of these that finds any: the exact name; the agreement as `psa:agreement`; a tenant as
    `source:tenant`; the name in any case; a glob on the name.
    """
    rules: tuple[Callable[[Company], bool], ...] = (
        lambda company: company.name == wanted,
        lambda company: f"{company.psa}:{company.agreement}" == wanted,
        lambda company: wanted in map(str, company.tenants),
        lambda company: company.name.casefold() == wanted.casefold(),
        lambda company: Glob(wanted).matches(company.name),
    )
    for rule in rules:
        found = tuple(row for row, company in enumerate(mapping.companies) if rule(company))
        if found:
            return found
    names = [company.name for company in mapping.companies]
    raise ConfigError(
        f'mapping.toml has no client "{shorten(wanted)}"; {did_you_mean(wanted, names)} '
        f"{UNTOUCHED}",
        remedy="`kisi map list` shows the clients; an agreement (cw:1042) names one too.",
    )


def the_client(mapping: BillingMapping, wanted: str) -> int:
    """The row of the one client that `wanted` names; there being several is a `ConfigError` too."""
    found = the_clients(mapping, wanted)
    if len(found) > 1:
        some = ", ".join(called(mapping.companies[row]) for row in found[:_LISTED])
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise ConfigError(
            f'"{shorten(wanted)}" names several clients: {some}{more}. {UNTOUCHED}',
            remedy="Name the one you mean by the id in parentheses after it.",
        )
    return found[0]


def add_clients(edit: MappingEdit, companies: Sequence[Company]) -> None:
    """Adds clients; tenants of one on an agreement that is mapped already join the client there."""
    owners = _owners(edit, edit.companies.values())
    places = {(each.psa, each.agreement): place for place, each in edit.companies.items()}
    problems: list[str] = []
    for company in companies:
        place = places.setdefault((company.psa, company.agreement), edit.new_place())
        before = edit.companies.get(place)
        if before and before.company != company.company:
            problems.append(
                f"Agreement {company.psa}:{company.agreement} is mapped to {called(before)}, "
                f"company {before.company}, not {company.company}."
            )
        for ref in company.tenants:
            known, owner = owners.setdefault(ref.identity(edit.global_sources), (ref, company))
            if owner is not company or known != ref or company.tenants.count(ref) > 1:
                problems.append(_mapped_already(ref, known, owner))
        joined = before.tenants + company.tenants if before else company.tenants
        edit.companies[place] = replace(before or company, tenants=joined)
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} Leave these out, or correct them.")


def change_clients(edit: MappingEdit, changed: Mapping[int, Company]) -> None:
    """Gives the clients at these places other values; what stays as it is keeps its text."""
    others = (each for place, each in edit.companies.items() if place not in changed)
    owners = _owners(edit, others)
    problems = [
        _mapped_already(ref, *owners[identity])
        for company in changed.values()
        for ref in company.tenants
        if (identity := ref.identity(edit.global_sources)) in owners
    ]
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} A tenant belongs to one client.")
    edit.companies |= changed


def _owners(
    edit: MappingEdit, companies: Iterable[Company]
) -> dict[TenantRef, tuple[TenantRef, Company]]:
    mapping = BillingMapping(companies=tuple(companies), global_sources=edit.global_sources)
    return dict(mapping.owners())


def _mapped_already(ref: TenantRef, known: TenantRef, owner: Company) -> str:
    tenant = f'Tenant "{shorten(str(ref))}"'
    if ref == known:
        return f"{tenant} is mapped already, to {called(owner)}."
    return (
        f'{tenant} is the same virtual server as "{shorten(str(known))}", which is mapped already, '
        f"to {called(owner)}: each of its devices would be billed twice."
    )


def find_application(edit: MappingEdit, name: str) -> Application | None:
    """The application of this name, in any case."""
    return edit.applications.get(name.casefold())


def the_application(edit: MappingEdit, name: str) -> Application:
    """As `find_application`; there being none is a `ConfigError`."""
    if found := find_application(edit, name):
        return found
    names = [each.name for each in edit.applications.values()]
    raise ConfigError(
        f'mapping.toml has no [[application]] "{shorten(name)}"; {did_you_mean(name, names)} '
        f"{UNTOUCHED}",
        remedy="`kisi map application` adds one; `kisi map list` shows the key names.",
    )


def with_keys(application: Application, globs: Iterable[str]) -> Application:
    """An application with more key names beside its own; the same one if it has them all."""
    new = [glob for glob in globs if glob not in application.globs]
    return replace(application, keys=(*application.globs, *new)) if new else application


def set_application(edit: MappingEdit, application: Application) -> None:
    """Adds an application, or gives the one of its name, in any case, these values."""
    old = find_application(edit, application.name) or application
    edit.applications[application.name.casefold()] = replace(application, name=old.name)


def set_product(edit: MappingEdit, row: ProductRow) -> None:
    """Bills an application as other products: the general row of its PSA is added or changed."""
    edit.products[row.application, row.psa] = row


def set_exception(edit: MappingEdit, client: int, row: ProductRow) -> None:
    """Bills an application of one client otherwise, or (`bill = false`) leaves it to people."""
    company = edit.companies[client]
    own = {each.application: each for each in company.exceptions} | {row.application: row}
    edit.companies[client] = replace(company, exceptions=tuple(own.values()))


def remove_exception(edit: MappingEdit, client: int, application: str) -> None:
    """Takes an exception of a client out, so that the general row holds for it again."""
    company = edit.companies[client]
    edit.companies[client] = _without(company, application)
    if edit.companies[client] == company:
        raise ConfigError(
            f'{called(company)} has no exception for "{shorten(application)}". {UNTOUCHED}',
            remedy="`kisi map export` shows the exceptions.",
        )


def remove_product(edit: MappingEdit, application: str, psa: str) -> None:
    """Takes the general row out, so that the application is reported as unmapped from now on."""
    if edit.products.pop((application, psa), None) is None:
        raise ConfigError(
            f'mapping.toml has no [[product]] of "{shorten(application)}" for psa.{psa}. '
            f"{UNTOUCHED}",
            remedy="`kisi map export` shows the rows.",
        )


def remove_application(edit: MappingEdit, name: str) -> None:
    """Takes an application out, with its product rows and the clients' exceptions for it."""
    name = the_application(edit, name).name
    del edit.applications[name.casefold()]
    edit.products = {key: row for key, row in edit.products.items() if row.application != name}
    edit.companies = {place: _without(each, name) for place, each in edit.companies.items()}


def _without(company: Company, application: str) -> Company:
    kept = tuple(each for each in company.exceptions if each.application != application)
    return replace(company, exceptions=kept)
