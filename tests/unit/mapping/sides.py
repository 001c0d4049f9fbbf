"""Both sides of a mapping in memory: a source and PSAs with lists, and ways to write files of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from kisi.errors import KisiError
from kisi.mapping.changes import Change
from kisi.mapping.file import ConfigNames, MappingEditor
from kisi.mapping.inventory import Inventory, runs, take_inventory
from kisi.mapping.validator import SystemValidator
from kisi.model import Agreement, AgreementRef, Key, Line, NotBillable, Reading, Tenant, TenantRef
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from tests.unit.build import NOW, TODAY

KES = "Kaspersky Endpoint Security for Business - Advanced"
LAST_YEAR = date(2025, 11, 21)


@dataclass
class Source:
    """A source; each tenant uses keys of some names so many times."""

    name: str = "hq"
    uses: dict[str, dict[str, int]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    broken: KisiError | None = None
    unreadable: dict[str, KisiError] = field(default_factory=dict)

    def add(self, uid: str, name: str, *, disabled: bool = False, **uses: int) -> str:
        """A tenant, with `key name=uses`; without any it uses one KES key 5 times."""
        self.names[uid] = name
        self.uses[uid] = uses or {KES: 5}
        self.disabled |= {uid} if disabled else set()
        return f"{self.name}:{uid}"

    def tenants(self) -> tuple[Tenant, ...]:
        if self.broken:
            raise self.broken
        return tuple(self._tenant(uid) for uid in self.names)

    def _tenant(self, uid: str) -> Tenant:
        return Tenant(TenantRef(self.name, uid), self.names[uid], enabled=uid not in self.disabled)

    def read(
        self, tenants: Collection[Tenant], select: object
    ) -> Iterator[tuple[TenantRef, Reading | KisiError]]:
        for tenant in tenants:
            uid = tenant.ref.tenant
            keys = tuple(
                Key(f"{uid}-{number}", name, used=used)
                for number, (name, used) in enumerate(self.uses[uid].items())
            )
            yield tenant.ref, self.unreadable.get(uid) or Reading(tenant, NOW, keys)

    def close(self) -> None:
        return None


@dataclass
class Psa:
    """A PSA with its lists."""

    name: str = "cw"
    companies: list[PsaCompany] = field(default_factory=list)
    contracts: list[PsaAgreement] = field(default_factory=list)
    catalog: list[PsaProduct] = field(default_factory=list)
    bills: dict[str, list[Line]] = field(default_factory=dict)
    broken: KisiError | None = None
    accounts_word = "company"

    def company(self, ident: str, name: str, *, active: bool = True) -> None:
        self.companies.append(PsaCompany(ident, name, active))

    def agreement(self, ident: str, company: str, name: str = "Managed Security", **more) -> None:
        values = {"kind": "Managed Services", "starts": LAST_YEAR, **more}
        self.contracts.append(PsaAgreement(ident, company, name, **values))

    def client(self, ident: str, name: str, agreement: str) -> None:
        """A company with one agreement that runs."""
        self.company(ident, name)
        self.agreement(agreement, ident)

    def product(self, ident: str, name: str, price: str | None = "4.00", **more) -> None:
        self.catalog.append(PsaProduct(ident, name, price=price and Decimal(price), **more))

    def all_companies(self) -> tuple[PsaCompany, ...]:
        if self.broken:
            raise self.broken
        return tuple(self.companies)

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        return tuple(self.contracts)

    def all_products(self) -> tuple[PsaProduct, ...]:
        return tuple(self.catalog)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        return {product.id: product for product in self.catalog if product.id in ids}

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        if self.broken:
            return dict.fromkeys(refs, self.broken)
        return {ref: self._judged(ref, today) for ref in refs}

    def _judged(self, ref: AgreementRef, today: date) -> Agreement:
        found = next((each for each in self.contracts if each.id == ref.agreement), None)
        if found is None:
            reason = f"Agreement {ref.agreement} does not exist."
        elif found.company != ref.company:
            reason = f"Agreement {ref.agreement} belongs to company {found.company}."
        elif not runs(found, today):
            reason = f"Agreement {ref.agreement} is not active."
        else:
            return Agreement(ref, name=found.name)
        return Agreement(ref, not_billable=NotBillable("agreement", reason, "Renew it."))

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        if self.broken:
            raise self.broken
        running = [each for each in self.contracts if runs(each, today)]
        return {
            company: tuple(
                Agreement(AgreementRef("cw", company, each.id), name=each.name)
                for each in running
                if each.company == company
            )
            for company in companies
        }

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        if self.broken:
            raise self.broken
        lines = self.bills.get(ref.agreement, ())
        return tuple(line for line in lines if products is None or line.product in products)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        return next((line for line in self.lines(ref) if line.id == line_id), None)

    def close(self) -> None:
        return None


class Sides:
    """A source `hq`, a PSA `cw`, and mapping.toml."""

    def __init__(self, path) -> None:
        self.path = path
        self.hq = Source()
        self.cw = Psa()
        self.psas = {"cw": self.cw}
        self.sources = {"hq": self.hq}
        self.global_sources: Collection[str] = ()

    def editor(self, text: str | None = None) -> MappingEditor:
        """The file, with this text if one is given."""
        if text is not None:
            self.path.write_bytes(text.encode())
        names = ConfigNames(self.sources, self.psas, self.global_sources)
        return MappingEditor(self.path, names)

    def inventory(self, mapping, **more) -> Inventory:
        return take_inventory(mapping, self.sources, self.psas, **more)

    def validator(self) -> SystemValidator:
        return SystemValidator(self.sources, self.psas, TODAY)


def changed(before: MappingEditor, edit, *arguments) -> Change:
    """What an edit of the rows changes in a mapping."""
    rows = before.edit()
    edit(rows, *arguments)
    return rows.change()
