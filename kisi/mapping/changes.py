"""Changes of mapping.toml: rows found by what a person types, added, changed and removed.

Pure. What is not there, is there twice, or is mapped already is a `ConfigError`: nothing is
changed. Commands say what the rows are to be; which lines of the file differ, which ids must exist
and what is said of it follows here, the same way for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.rules import LARGEST_ID, UNTOUCHED
from kisi.mapping.toml_edit import EXCEPTION, RowKind, TomlEdit, TomlRow
from kisi.model import (
    Application,
    BillingMapping,
    Category,
    Company,
    Glob,
    IgnoredTenant,
    ProductRow,
    TenantRef,
    Unit,
)

_MOST_DIGITS = len(str(LARGEST_ID))
_DEFAULTS: TomlRow = {"unit": str(Unit.DEVICE), "bill": True, "billing": True}
"""What a key says where it is missing. One that is there is set to this, and not taken away."""
_IDS = frozenset({"tenants", "psa", "company", "agreement"})
_LISTED = 12
KeyT = TypeVar("KeyT")
RowT = TypeVar("RowT")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Change:
    """An edited text, and the rows whose ids must exist before it is saved."""

    text: str
    companies: tuple[Company, ...] = ()
    """Of these: tenants, company and agreement."""
    products: tuple[ProductRow, ...] = ()
    done: tuple[str, ...] = ()
    """What it does, in sentences in the past tense."""


class MappingEdit:
    """The rows that mapping.toml is to have; rows that it has keep their keys, and their places.

    `applications` are by name in small letters, `products` by application and PSA, `companies` by
    their places in the file; new ones have later places; `ignored` are by identity. `text` is all
    of the file as it is, `mapping` what it means, with its rows in the text's order, and `psas` are
    the names of the PSAs in kisi.toml: rows name theirs only where there are several.
    """

    def __init__(self, text: str, mapping: BillingMapping, psas: Collection[str]) -> None:
        self.psas = tuple(psas)
        self.global_sources = mapping.global_sources
        self.applications = {row.name.casefold(): row for row in mapping.applications}
        self.products = {(row.application, row.psa): row for row in mapping.products}
        self.companies = dict(enumerate(mapping.companies))
        self.ignored = {x.ref.identity(mapping.global_sources): x for x in mapping.ignored}
        self._text = text
        self._old = self.applications.copy(), self.products.copy(), self.companies.copy()
        self._was_ignored = self.ignored.copy()
        self._behind = itertools.count(len(self.companies))

    def new_place(self) -> int:
        """A place behind all clients that the file has, for a new one."""
        return next(self._behind)

    def change(self) -> Change:
        """What differs from the file as it is; a `ConfigError` if a comment would be lost."""
        old, old_products, old_companies = self._old
        write_product = partial(product_row, psas=self.psas)
        write_company = partial(company_row, psas=self.psas)
        applications = _Rows(RowKind.APPLICATION, old, self.applications, application_row)
        products = _Rows(RowKind.PRODUCT, old_products, self.products, write_product)
        companies = _Rows(RowKind.COMPANY, old_companies, self.companies, write_company)
        ignored = _Rows(RowKind.TENANT, self._was_ignored, self.ignored, tenant_row)
        exceptions = {
            place: _Rows(
                EXCEPTION, dict(enumerate(was.exceptions)), _by_place(was, now), product_row, place
            )
            for place, was in old_companies.items()
            if (now := self.companies.get(place))
        }
        toml = TomlEdit(self._text)
        below: list[_Rows[Any, Any]] = [*reversed(exceptions.values())]
        # from below, and before lines come and go: a refusal names a line of the file as it is
        for rows in (*below, ignored, companies, products, applications):
            toml.set_values(rows.kind, rows.by_place(rows.changed), company=rows.company)
        for rows in (*below, applications, products, companies, ignored):
            toml.remove(rows.kind, rows.by_place(rows.gone), company=rows.company)
            toml.append(rows.kind, rows.new, company=rows.company)
        brought = products.brought()
        brought += (row for rows in exceptions.values() for row in rows.brought())
        brought += (row for company in companies.added.values() for row in company.exceptions)
        to_validate = companies.added.keys() | {
            place
            for place, values in companies.changed.items()
            if _IDS & values.keys() or values.get("billing") is True
        }
        return Change(
            toml.proven(),
            tuple(now for place, now in self.companies.items() if place in to_validate),
            tuple(row for row in brought if row.bill),
            (
                *_said_of_applications(applications),
                *_said_of_products(products),
                *_said_of_companies(companies, exceptions),
                *_said_of_tenants(ignored),
            ),
        )


class _Rows(Generic[KeyT, RowT]):
    """Rows of one kind before and after, by key: those that are `added`, `gone`, or `changed`.

    Of those that changed, `changed` has the TOML keys that must change, as `set_values` takes them;
    `new` are the added rows in TOML. Exceptions have the place of their `company`.
    """

    def __init__(
        self,
        kind: RowKind,
        old: Mapping[KeyT, RowT],
        now: Mapping[KeyT, RowT],
        write: Callable[[RowT], TomlRow],
        company: int | None = None,
    ) -> None:
        self.kind, self.old, self.now, self.company = kind, old, now, company
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
        return [row for key, row in self.now.items() if self.old.get(key) != row]

    def by_place(self, some: Mapping[KeyT, Value]) -> dict[int, Value]:
        """Values of some old rows by the rows' places in the file."""
        return {place: some[key] for place, key in enumerate(self.old) if key in some}


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


# --- what a person names, and what is done with it ------------------------------------------------


def the_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """The rows of the clients that `wanted` names, at least one.

    The first of these that finds any: the exact name; the agreement as `psa:agreement`; a tenant as
    `source:tenant`; the name in any case; a glob on the name; a part of it.
    """
    rules: tuple[Callable[[Company], bool], ...] = (
        lambda company: company.name == wanted,
        lambda company: f"{company.psa}:{company.agreement}" == wanted,
        lambda company: wanted in map(str, company.tenants),
        lambda company: company.name.casefold() == wanted.casefold(),
        lambda company: Glob(wanted).matches(company.name),
        lambda company: bool(wanted.strip()) and wanted.casefold() in company.name.casefold(),
    )
    for rule in rules:
        if found := tuple(row for row, each in enumerate(mapping.companies) if rule(each)):
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
        for ref in (company.tenants if company.until is None else ())
        if (identity := ref.identity(edit.global_sources)) in owners
    ]
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} A tenant belongs to one client.")
    edit.companies |= changed


def _owners(
    edit: MappingEdit, companies: Iterable[Company]
) -> dict[TenantRef, tuple[TenantRef, Company]]:
    """Who has which tenants for good; those of who leaves may be another's afterwards."""
    stay = tuple(each for each in companies if each.until is None)
    return dict(BillingMapping(companies=stay, global_sources=edit.global_sources).owners())


def _mapped_already(ref: TenantRef, known: TenantRef, owner: Company) -> str:
    tenant = f'Tenant "{shorten(str(ref))}"'
    if ref == known:
        return f"{tenant} is mapped already, to {called(owner)}."
    return (
        f'{tenant} is the same virtual server as "{shorten(str(known))}", which is mapped already, '
        f"to {called(owner)}: each of its devices would be billed twice."
    )


def ignore_tenant(edit: MappingEdit, tenant: IgnoredTenant) -> None:
    """Makes a tenant one that is never billed; a note that is empty leaves the one that it has."""
    key = tenant.ref.identity(edit.global_sources)
    old = edit.ignored.setdefault(key, tenant)
    edit.ignored[key] = replace(old, note=tenant.note or old.note)


def heed_tenant(edit: MappingEdit, ref: TenantRef) -> None:
    """Takes the row out by which a tenant is never billed; it is unmapped from then on."""
    if edit.ignored.pop(ref.identity(edit.global_sources), None) is None:
        problem = f'mapping.toml has no [[tenant]] "{shorten(str(ref))}". {UNTOUCHED}'
        raise ConfigError(problem, remedy="`kisi map list` shows which tenants are never billed.")


def the_application(edit: MappingEdit, name: str) -> Application:
    """The application of this name, in any case; there being none is a `ConfigError`."""
    if found := edit.applications.get(name.casefold()):
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
    key = application.name.casefold()
    name = edit.applications.get(key, application).name
    edit.applications[key] = replace(application, name=name)


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


def toml_id(ident: str) -> int | str:
    """An id as it is written: a whole number where nothing is lost by it, else text.

    >>> toml_id("250"), toml_id("007"), toml_id("KES-ADV")
    (250, '007', 'KES-ADV')
    """
    if not (ident.isascii() and ident.isdigit()) or ident[0] == "0" or len(ident) > _MOST_DIGITS:
        return ident
    return int(ident) if int(ident) <= LARGEST_ID else ident


def application_row(application: Application) -> TomlRow:
    """`[[application]]`, without the keys that have their defaults."""
    keys = [] if application.globs == (application.name + "*",) else [*application.keys]
    unit = str(application.unit)
    return _row(name=application.name, keys=keys, unit=unit, bill=application.bill)


def product_row(row: ProductRow, psas: Collection[str] = ()) -> TomlRow:
    """`[[product]]`, or without `psas` an exception; `psa` only where kisi.toml has several."""
    psa = row.psa if len(psas) > 1 else ""
    products = {str(category): toml_id(product) for category, product in row.products.items()}
    return _row(application=row.application, psa=psa, **products, bill=row.bill)


def company_row(company: Company, psas: Collection[str]) -> TomlRow:
    """`[[company]]` with its exceptions; `billing` only where it is off."""
    return _row(
        name=company.name,
        tenants=[*map(str, company.tenants)],
        psa=company.psa if len(psas) > 1 else "",
        company=toml_id(company.company),
        agreement=toml_id(company.agreement),
        alongside=[*map(toml_id, company.alongside)],
        billing=company.billing,
        until=company.until,
        product=[*map(product_row, company.exceptions)],
    )


def tenant_row(tenant: IgnoredTenant) -> TomlRow:
    """`[[tenant]]`: one that is never billed."""
    return _row(id=str(tenant.ref), bill=False, note=tenant.note)


def _row(**values: object) -> TomlRow:
    return {
        key: value
        for key, value in values.items()
        if value not in ("", [], None) and value != _DEFAULTS.get(key)
    }


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
        if old.billing and old.until is None:
            yield (
                "They are invoiced as long as they are there. If it has left, set them to 0 on "
                f"agreement {old.agreement}; or take mapping.toml.bak back, and `kisi map leave "
                f"{old.psa}:{old.agreement}` brings them to 0."
            )


def _said_of_tenants(rows: _Rows[TenantRef, IgnoredTenant]) -> Iterator[str]:
    for row in (rows.now[key] for key in {**rows.added, **rows.changed}):
        note = f" ({shorten(row.note)})" if row.note else ""
        yield f'Tenant "{shorten(str(row.ref))}" is never billed{note}.'
    for row in rows.gone.values():
        yield f'Tenant "{shorten(str(row.ref))}" is reported as unmapped again.'


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
        elif value is None:
            words.append(f"no {key} any more")
        else:
            each = value if isinstance(value, list) else [value]
            words.append(f"{key} {', '.join(shorten(str(one)) for one in each)}")
    return f"Changed {called(old)}: {', '.join(words)}."


def _product_words(row: ProductRow) -> str:
    """Products of a row in words: `1201`, or `windows_workstations 1201, windows_servers 1202`."""
    if list(row.products) == [Category.ALL]:
        return row.products[Category.ALL]
    return ", ".join(f"{category} {product}" for category, product in row.products.items())
