"""The systems as they are now, to prove the ids of a change before it is saved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

from kisi.config.sentences import shorten
from kisi.errors import ConfigError, KisiError
from kisi.mapping.change import Change
from kisi.mapping.clients import UNTOUCHED, called
from kisi.model import Agreement, AgreementRef, Company, ProductRow, Tenant, TenantRef
from kisi.psa import Psa, PsaCompany
from kisi.sources import UsageSource


class Live:
    """What the sources and PSAs have, each list read once, when it is first needed.

    Args:
        sources: The configured sources.
        psas: The configured PSAs.
        today: The day in the billing time zone.
    """

    def __init__(
        self, sources: Mapping[str, UsageSource], psas: Mapping[str, Psa], today: date
    ) -> None:
        self._sources = sources
        self._psas = psas
        self._today = today
        self._tenants: dict[str, dict[TenantRef, Tenant]] = {}
        self._companies: dict[str, dict[str, PsaCompany]] = {}

    def tenant(self, ref: TenantRef) -> Tenant | None:
        """A tenant, also a disabled one; None if its source has none of this id.

        Raises:
            SourceError: The source cannot be read.
        """
        if ref.source not in self._tenants:
            found = self._sources[ref.source].tenants()
            self._tenants[ref.source] = {tenant.ref: tenant for tenant in found}
        return self._tenants[ref.source].get(ref)

    def company(self, psa: str, ident: str) -> PsaCompany | None:
        """A company, also an inactive one; None if its PSA has none of this id.

        Raises:
            PsaError: The PSA cannot be read.
        """
        if psa not in self._companies:
            found = self._psas[psa].all_companies()
            self._companies[psa] = {company.id: company for company in found}
        return self._companies[psa].get(ident)

    def refuse(self, change: Change) -> None:
        """Does nothing if every id of a change exists and is fit to be billed.

        Raises:
            ConfigError: All that is gone, inactive, or of another PSA.
            SourceError: A source cannot be read.
            PsaError: A PSA cannot be read.
        """
        problems = [*self._of_clients(change.companies), *self._of_products(change.products)]
        if problems:
            raise ConfigError(
                problems,
                remedy=f"{UNTOUCHED} Correct these ids; `kisi map list` shows what there is now.",
            )

    def _judged(self, refs: Collection[AgreementRef]) -> dict[AgreementRef, Agreement]:
        judged: dict[AgreementRef, Agreement] = {}
        for psa in dict.fromkeys(ref.psa for ref in refs):
            own = [ref for ref in refs if ref.psa == psa]
            for ref, agreement in self._psas[psa].agreements(own, self._today).items():
                if isinstance(agreement, KisiError):
                    raise agreement
                judged[ref] = agreement
        return judged

    def _of_clients(self, companies: Sequence[Company]) -> Iterable[str]:
        refs = [AgreementRef(each.psa, each.company, each.agreement) for each in companies]
        judged = self._judged(list(dict.fromkeys(refs)))
        for company, ref in zip(companies, refs, strict=True):
            yield from (
                f"{called(company)}: {problem}"
                for problem in [*self._of_tenants(company), *self._of_account(company)]
            )
            unfit = judged[ref].unfit
            if unfit is not None:  # of one that is gone, the remedy is for a client that is there
                remedy = "" if judged[ref].gone else unfit.remedy
                yield f"{called(company)}: {unfit.reason} {remedy}".strip()

    def _of_tenants(self, company: Company) -> Iterable[str]:
        for ref in company.tenants:
            tenant = self.tenant(ref)
            if tenant is None:
                yield f'sources.{ref.source} has no tenant "{shorten(ref.tenant)}".'
            elif not tenant.enabled:
                yield f'Tenant "{shorten(str(ref))}" is disabled, so that it cannot be counted.'

    def _of_account(self, company: Company) -> Iterable[str]:
        word = self._psas[company.psa].accounts_word
        found = self.company(company.psa, company.company)
        if found is None:
            yield f"psa.{company.psa} has no {word} {shorten(company.company)}."
        elif not found.active:
            yield f"{word.capitalize()} {found.id} is not active in psa.{company.psa}."

    def _of_products(self, rows: Sequence[ProductRow]) -> Iterable[str]:
        wanted: dict[str, dict[str, None]] = {}
        for row in rows:
            wanted.setdefault(row.psa, {}).update(dict.fromkeys(row.products.values()))
        for psa, ids in wanted.items():
            found = self._psas[psa].products(list(ids))
            for ident in ids:
                if ident not in found:
                    yield self._unknown_product(psa, ident)
                elif not found[ident].active:
                    yield (
                        f"Product {ident} ({shorten(found[ident].name)}) of psa.{psa} is not "
                        "active, or of a kind that no agreement can carry."
                    )

    def _unknown_product(self, psa: str, ident: str) -> str:
        others = [
            name
            for name, other in self._psas.items()
            if name != psa and ident in other.products([ident])
        ]
        if others:
            return f"Product {shorten(ident)} is one of psa.{others[0]}, not of psa.{psa}."
        return f"psa.{psa} has no product {shorten(ident)}."
