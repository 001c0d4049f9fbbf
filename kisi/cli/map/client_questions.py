"""Client by client: which company is this tenant, on which agreement, is it billed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kisi.cli.map.prompts import Back, number_of
from kisi.cli.map.session import Session, in_turn
from kisi.errors import KisiError
from kisi.mapping import proposals
from kisi.mapping.agreements import running
from kisi.mapping.clients import add_clients
from kisi.mapping.search import search
from kisi.mapping.suggest import DEFAULT_MIN_SCORE
from kisi.model import AgreementRef, Company
from kisi.plan import is_live
from kisi.render.map_screens import (
    MOST_CHOICES,
    agreements_screen,
    companies_screen,
    lines_words,
    tenant_screen,
)

if TYPE_CHECKING:
    from kisi.mapping.inventory import CompanyEntry, TenantEntry
    from kisi.mapping.suggest import Suggestion
    from kisi.psa import PsaAgreement

Ranked = tuple["Suggestion", "CompanyEntry"]
_FAR_BEHIND = 0.25
"""A suggestion with so much less of a score than the best is not worth a line."""
_MAPPED_ALREADY = 0.1
_HELP = "s skip, b back, q quit"


def open_tenants(session: Session) -> list[TenantEntry]:
    """The tenants that no client has, as the file is now; disabled ones cannot be counted."""
    found = proposals.open_tenants(session.editor.mapping, session.inventory)
    unmapped = {tenant.ref for tenant in found}
    return [entry for entry in session.inventory.tenants if entry.tenant.ref in unmapped]


def ask_for_clients(session: Session) -> None:
    """Asks for every open tenant in turn; `b` at its first question takes back the one before.

    Raises:
        Quit: The person wants to stop.
        ConfigError: Somebody else changed the file.
        StateError: The file cannot be written.
    """
    tenants = open_tenants(session)
    ranked = proposals.ranked_companies(session.inventory, [entry.tenant for entry in tenants])
    in_turn(
        session,
        [
            (entry.tenant.name, _OneTenant(session, entry, ranked[str(entry.tenant.ref)]).ask)
            for entry in tenants
        ],
    )


class _OneTenant:
    """The questions about one tenant."""

    def __init__(
        self,
        session: Session,
        entry: TenantEntry,
        ranked: Sequence[Ranked],
    ) -> None:
        self._session = session
        self._prompter = session.prompter
        self._entry = entry
        self._ranked = ranked

    def ask(self, place: str) -> None:
        """Asks until an answer is saved.

        Raises:
            Back: The person wants the tenant before this one.
            Skip: The person leaves it unmapped.
        """
        while True:
            company = self._company(place)
            try:
                if self._agreement(company):
                    return
            except Back:
                continue

    def _company(self, place: str) -> CompanyEntry:
        """The company that was picked or found."""
        owners = self._session.owners_of_companies()
        ranked = self._worth_showing(owners)
        self._prompter.show(tenant_screen(self._entry, place, ranked, owners))
        choices = [company for _, company in ranked]
        sure = bool(ranked) and ranked[0][0].score >= DEFAULT_MIN_SCORE
        default = "1" if sure else ""
        while True:
            typed = self._prompter.line(f"Company: number or part of a name; {_HELP}", default)
            chosen = number_of(typed)
            if chosen is not None and 0 <= chosen < len(choices):
                return choices[chosen]
            found = self._search(typed)
            if not found:
                if typed:
                    self._prompter.say("No active company has that in its name, or as its id.")
                continue
            self._prompter.show(companies_screen(found, owners))
            choices, default = found[:MOST_CHOICES], "1" if len(found) == 1 else ""

    def _worth_showing(self, owners: Mapping[tuple[str, str], Company]) -> list[Ranked]:
        """The likeliest companies; of two that are about as likely, one without a client first."""

        def likelihood(ranked: Ranked) -> float:
            suggestion, entry = ranked
            mapped = (entry.psa, entry.company.id) in owners
            return suggestion.score - _MAPPED_ALREADY * mapped

        best = max((suggestion.score for suggestion, _ in self._ranked), default=0.0)
        near = [each for each in self._ranked if each[0].score >= best - _FAR_BEHIND]
        return sorted(near, key=likelihood, reverse=True)

    def _search(self, typed: str) -> list[CompanyEntry]:
        active = [each for each in self._session.inventory.companies if each.company.active]
        names = {place: (each.company.name, each.company.id) for place, each in enumerate(active)}
        return [active[place] for place in search(typed.removeprefix("/"), names)]

    def _agreement(self, company: CompanyEntry) -> bool:
        """Asks for agreement and billing, and saves. False: choose another company."""
        session = self._session
        entries = running(session.inventory, company.psa, company.company.id, session.today)
        agreements = [entry.agreement for entry in entries]
        if not agreements:
            self._prompter.say(
                f"{company.company.name} has no agreement that runs today: make one in "
                f"psa.{company.psa}, then start `kisi map` again. Or choose another company."
            )
            return False
        owners = session.owners_of_agreements(company.psa)
        bills = {each.id: self._bills(company, each) for each in agreements}
        self._prompter.show(agreements_screen(company.company.name, agreements, bills, owners))
        while True:
            agreement = agreements[0]
            if len(agreements) > 1:
                question = f"Agreement: number; {_HELP}"
                agreement = agreements[self._prompter.number(question, len(agreements))]
            try:
                return self._save(company, agreement, joins=agreement.id in owners)
            except Back:
                if len(agreements) == 1:
                    raise

    def _save(self, company: CompanyEntry, agreement: PsaAgreement, *, joins: bool) -> bool:

        session = self._session
        if joins:
            if not self._prompter.yes("Add this tenant to that client?", default=True):
                raise Back
        else:
            question = "Bill this client from the next sync on?"
            session.billing = self._prompter.yes(question, default=session.billing)
        client = Company(
            name=company.company.name,
            tenants=(self._entry.tenant.ref,),
            psa=company.psa,
            company=company.company.id,
            agreement=agreement.id,
            billing=session.billing,
        )
        try:
            change = add_clients(session.editor.draft, [client])
        except KisiError as error:
            self._prompter.complain(error)
            return False
        return session.confirm(change)

    def _bills(self, company: CompanyEntry, agreement: PsaAgreement) -> str:
        """What the agreement bills already; a failure to read it is no reason to stop."""
        session = self._session
        ref = AgreementRef(company.psa, company.company.id, agreement.id)
        try:
            lines = session.psas[company.psa].lines(ref)
        except KisiError as error:
            return f"what it bills could not be read: {error.message}"
        names = {
            entry.product.id: entry.product.name
            for entry in session.inventory.products
            if entry.psa == company.psa
        }
        return lines_words((line for line in lines if is_live(line, session.today)), names)
