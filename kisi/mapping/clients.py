"""The clients of mapping.toml: found by what a person types, added, changed.

Names may repeat, so a client can also be named by its agreement (`cw:1042`) or by one of its
tenants (`hq:VSRV...`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit, called
from kisi.mapping.rules import UNTOUCHED
from kisi.model import BillingMapping, Company, Glob, TenantRef

_LISTED = 12


def find_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """The rows of the clients that `wanted` names.

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
    return ()


def the_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """As `find_clients`, at least one.

    Raises:
        ConfigError: There is none.
    """
    found = find_clients(mapping, wanted)
    if not found:
        names = [company.name for company in mapping.companies]
        raise ConfigError(
            f'mapping.toml has no client "{shorten(wanted)}"; {did_you_mean(wanted, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map list` shows the clients; an agreement (cw:1042) names one too.",
        )
    return found


def the_client(mapping: BillingMapping, wanted: str) -> int:
    """The row of the one client that `wanted` names.

    Raises:
        ConfigError: There is none, or there are several.
    """
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
    """Adds clients; tenants of one on an agreement that is mapped already join the client there.

    Raises:
        ConfigError: A tenant is mapped already, or the agreement is mapped to another company.
    """
    owners = {
        ref.identity(edit.global_sources): (ref, each)
        for each in edit.companies.values()
        for ref in each.tenants
    }
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
    """Gives the clients at these places other values; what stays as it is keeps its text.

    Raises:
        ConfigError: A tenant is mapped to another client already.
    """
    owners = {
        ref.identity(edit.global_sources): (ref, place)
        for place, each in edit.companies.items()
        for ref in each.tenants
    }
    problems = [
        _mapped_already(ref, known, edit.companies[owner])
        for place, company in changed.items()
        for ref in company.tenants
        for known, owner in [owners.get(ref.identity(edit.global_sources), (ref, place))]
        if owner not in changed
    ]
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} A tenant belongs to one client.")
    edit.companies |= changed


def _mapped_already(ref: TenantRef, known: TenantRef, owner: Company) -> str:
    tenant = f'Tenant "{shorten(str(ref))}"'
    if ref == known:
        return f"{tenant} is mapped already, to {called(owner)}."
    return (
        f'{tenant} is the same virtual server as "{shorten(str(known))}", which is mapped already, '
        f"to {called(owner)}: each of its devices would be billed twice."
    )
