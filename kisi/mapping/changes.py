"""Changes of mapping.toml: rows found by what a person types, added, changed and removed.

Pure. What is not there, is there twice, or is mapped already is a `ConfigError`: nothing is
changed. Commands say what the rows are to be; which lines of the file differ, which ids must exist
and what is said of it follows here, the same way for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kisi.config.sentences import did_you_mean, shorten
from kisi.counting.notes import some
from kisi.errors import ConfigError
from kisi.mapping.rules import UNTOUCHED
from kisi.mapping.toml_edit import EXCEPTION, RowKind, TomlEdit, TomlRow, changed_values, toml_row
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

if TYPE_CHECKING:
    from kisi.mapping.file import ConfigNames

_IDS = frozenset({"tenants", "psa", "company", "agreement"})
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
    of the file, `mapping` what it means, with rows in the text's order. Rows name a PSA only where
    `names`, those in kisi.toml, has several.
    """

    def __init__(self, text: str, mapping: BillingMapping, names: ConfigNames) -> None:
        self.names = names
        self.global_sources = mapping.global_sources
        self.applications = {row.name.casefold(): row for row in mapping.applications}
        self.products = {(row.application, row.psa): row for row in mapping.products}
        self.companies = dict(enumerate(mapping.companies))
        self.ignored = {x.ref.identity(mapping.global_sources): x for x in mapping.ignored}
        self._text, self._mapping = text, mapping
        self._behind = itertools.count(len(self.companies))

    def new_place(self) -> int:
        """A place behind all clients that the file has, for a new one."""
        return next(self._behind)

    def change(self) -> Change:
        """What differs from the file as it is; a `ConfigError` if a comment would be lost."""
        old = MappingEdit(self._text, self._mapping, self.names)
        write = partial(toml_row, psas=self.names.psas)
        applications = _Rows(RowKind.APPLICATION, old.applications, self.applications, toml_row)
        products = _Rows(RowKind.PRODUCT, old.products, self.products, write)
        companies = _Rows(RowKind.COMPANY, old.companies, self.companies, write)
        ignored = _Rows(RowKind.TENANT, old.ignored, self.ignored, toml_row)
        exceptions = {
            place: _Rows(
                EXCEPTION, dict(enumerate(was.exceptions)), _by_place(was, now), toml_row, place
            )
            for place, was in old.companies.items()
            if (now := self.companies.get(place))
        }
        toml = TomlEdit(self._text)
        kinds: tuple[_Rows[Any, Any], ...] = (applications, products, companies, ignored)
        for rows in (*exceptions.values(), *kinds):  # before companies that go shift the others
            toml.set_values(rows.kind, rows.by_place(rows.changed), company=rows.company)
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
                *_said_of_applications(applications, products),
                *_said_of_companies(companies, exceptions, ignored),
            ),
        )

    # --- what a person names ----------------------------------------------------------------------

    def the_clients(self, wanted: str) -> tuple[int, ...]:
        """The places of the clients that `wanted` names, at least one.

        The first of these that finds any: the exact name; the agreement as `psa:agreement`; a
        tenant as `source:tenant`; the name in any case; a glob on the name; a part of it.
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
            if found := tuple(place for place, each in self.companies.items() if rule(each)):
                return found
        names = [company.name for company in self.companies.values()]
        raise ConfigError(
            f'mapping.toml has no client "{shorten(wanted)}"; {did_you_mean(wanted, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map list` shows the clients; an agreement (cw:1042) names one too.",
        )

    def the_client(self, wanted: str) -> int:
        """The place of the one client that `wanted` names; several are a `ConfigError` too."""
        found = self.the_clients(wanted)
        if len(found) > 1:
            names = some([called(self.companies[place]) for place in found], 12)
            raise ConfigError(
                f'"{shorten(wanted)}" names several clients: {names}. {UNTOUCHED}',
                remedy="Name the one you mean by the id in parentheses after it.",
            )
        return found[0]

    def the_application(self, name: str) -> Application:
        """The application of this name, in any case; there being none is a `ConfigError`."""
        if found := self.applications.get(name.casefold()):
            return found
        names = [each.name for each in self.applications.values()]
        raise ConfigError(
            f'mapping.toml has no [[application]] "{shorten(name)}"; {did_you_mean(name, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map application` adds one; `kisi map list` shows the key names.",
        )

    # --- what is done with it ---------------------------------------------------------------------

    def add_clients(self, companies: Sequence[Company]) -> None:
        """Adds clients; tenants of one on a mapped agreement join the client that is there."""
        owners = self._owners(self.companies.values())
        places = {(each.psa, each.agreement): place for place, each in self.companies.items()}
        problems: list[str] = []
        for company in companies:
            place = places.setdefault((company.psa, company.agreement), self.new_place())
            before = self.companies.get(place)
            if before and before.company != company.company:
                problems.append(
                    f"Agreement {company.psa}:{company.agreement} is mapped to {called(before)}, "
                    f"company {before.company}, not {company.company}."
                )
            for ref in company.tenants:
                known, owner = owners.setdefault(ref.identity(self.global_sources), (ref, company))
                if owner is not company or known != ref or company.tenants.count(ref) > 1:
                    problems.append(_mapped_already(ref, known, owner))
            joined = before.tenants + company.tenants if before else company.tenants
            self.companies[place] = replace(before or company, tenants=joined)
        if problems:
            raise ConfigError(problems, remedy=f"{UNTOUCHED} Leave these out, or correct them.")

    def change_clients(self, changed: Mapping[int, Company]) -> None:
        """Gives the clients at these places other values; what stays as it is keeps its text."""
        others = (each for place, each in self.companies.items() if place not in changed)
        owners = self._owners(others)
        problems = [
            _mapped_already(ref, *owners[identity])
            for company in changed.values()
            for ref in (company.tenants if company.until is None else ())
            if (identity := ref.identity(self.global_sources)) in owners
        ]
        if problems:
            raise ConfigError(problems, remedy=f"{UNTOUCHED} A tenant belongs to one client.")
        self.companies |= changed

    def _owners(self, companies: Iterable[Company]) -> dict[TenantRef, tuple[TenantRef, Company]]:
        """Who has which tenants for good; those of who leaves may be another's afterwards."""
        stay = tuple(each for each in companies if each.until is None)
        return dict(BillingMapping(companies=stay, global_sources=self.global_sources).owners())

    def ignore_tenant(self, tenant: IgnoredTenant) -> None:
        """Makes a tenant one that is never billed; an empty note leaves the one that it has."""
        key = tenant.ref.identity(self.global_sources)
        old = self.ignored.setdefault(key, tenant)
        self.ignored[key] = replace(old, note=tenant.note or old.note)

    def heed_tenant(self, ref: TenantRef) -> None:
        """Takes the row out by which a tenant is never billed; it is unmapped from then on."""
        if self.ignored.pop(ref.identity(self.global_sources), None) is None:
            problem = f'mapping.toml has no [[tenant]] "{shorten(str(ref))}". {UNTOUCHED}'
            raise ConfigError(
                problem, remedy="`kisi map list` shows which tenants are never billed."
            )

    def set_application(self, application: Application) -> None:
        """Adds an application, or gives the one of its name, in any case, these values."""
        key = application.name.casefold()
        name = self.applications.get(key, application).name
        self.applications[key] = replace(application, name=name)

    def set_product(self, row: ProductRow) -> None:
        """Bills an application otherwise: the general row of its PSA, whose policy may stay."""
        key = row.application, row.psa
        self.products[key] = row.over(self.products.get(key))

    def set_exception(self, client: int, row: ProductRow) -> None:
        """Bills an application of one client otherwise, or (`bill = false`) leaves it to people."""
        company = self.companies[client]
        own = {each.application: each for each in company.exceptions}
        own[row.application] = row.over(own.get(row.application))
        self.companies[client] = replace(company, exceptions=tuple(own.values()))

    def remove_exception(self, client: int, application: str) -> None:
        """Takes an exception of a client out, so that the general row holds for it again."""
        company = self.companies[client]
        self.companies[client] = _without(company, application)
        if self.companies[client] == company:
            raise ConfigError(
                f'{called(company)} has no exception for "{shorten(application)}". {UNTOUCHED}',
                remedy="`kisi map export` shows the exceptions.",
            )

    def remove_product(self, application: str, psa: str) -> None:
        """Takes the general row out: the application is reported as unmapped from now on."""
        if self.products.pop((application, psa), None) is None:
            raise ConfigError(
                f'mapping.toml has no [[product]] of "{shorten(application)}" for psa.{psa}. '
                f"{UNTOUCHED}",
                remedy="`kisi map export` shows the rows.",
            )

    def remove_application(self, name: str) -> None:
        """Takes an application out, with its product rows and the clients' exceptions for it."""
        name = self.the_application(name).name
        del self.applications[name.casefold()]
        self.products = {key: row for key, row in self.products.items() if row.application != name}
        self.companies = {place: _without(each, name) for place, each in self.companies.items()}


def _mapped_already(ref: TenantRef, known: TenantRef, owner: Company) -> str:
    tenant = f'Tenant "{shorten(str(ref))}"'
    if ref == known:
        return f"{tenant} is mapped already, to {called(owner)}."
    return (
        f'{tenant} is the same virtual server as "{shorten(str(known))}", which is mapped already, '
        f"to {called(owner)}: each of its devices would be billed twice."
    )


def _without(company: Company, application: str) -> Company:
    kept = tuple(each for each in company.exceptions if each.application != application)
    return replace(company, exceptions=kept)


def with_keys(application: Application, globs: Iterable[str]) -> Application:
    """An application with more key names beside its own; the same one if it has them all."""
    new = [glob for glob in globs if glob not in application.globs]
    return replace(application, keys=(*application.globs, *new)) if new else application


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
            key: changed_values(write(old[key]), write(row))
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


# --- what was done, in words ----------------------------------------------------------------------


def called(company: Company) -> str:
    """A client in a sentence, so that it can be told from another of the same name."""
    return f'"{shorten(company.name)}" ({company.psa}:{company.agreement})'


def _said_of_applications(
    rows: _Rows[str, Application], products: _Rows[tuple[str, str], ProductRow]
) -> Iterator[str]:
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
    for place, product in products.now.items():
        if place in products.added or place in products.changed:
            old = products.old.get(place)
            before = f" Before: {_product_words(old)}." if old else ""
            what = f"{_product_words(product)} (psa.{product.psa})"
            yield f'"{shorten(product.application)}" is billed as {what}.{before}'
    for product in products.gone.values():
        name = shorten(product.application)
        yield f'"{name}" has no product in psa.{product.psa} any more: it is not billed there.'


def _said_of_companies(
    rows: _Rows[int, Company],
    exceptions: Mapping[int, _Rows[int, ProductRow]],
    ignored: _Rows[TenantRef, IgnoredTenant],
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
    for tenant in (ignored.now[key] for key in {**ignored.added, **ignored.changed}):
        note = f" ({shorten(tenant.note)})" if tenant.note else ""
        yield f'Tenant "{shorten(str(tenant.ref))}" is never billed{note}.'
    for tenant in ignored.gone.values():
        yield f'Tenant "{shorten(str(tenant.ref))}" is reported as unmapped again.'


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
    said = [f"{category} {product}" for category, product in row.products.items()]
    said = [*row.products.values()] if list(row.products) == [Category.ALL] else said
    return ", ".join([*said, f"count {row.count}"] if row.count else said)
