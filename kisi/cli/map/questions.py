"""`kisi map` on a terminal: questions in turn; every confirmed answer is saved at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kisi.cli.map.app import inventory_of, tell_missing
from kisi.cli.map.editing import editing_of
from kisi.cli.map.prompts import (
    COMMANDS,
    OR_NEVER,
    Back,
    Commands,
    Never,
    Prompter,
    Quit,
    Session,
    Skip,
    in_turn,
    number_of,
)
from kisi.cli.output import Console
from kisi.counting import Matcher
from kisi.errors import ExitCode, KisiError
from kisi.mapping.changes import MappingEdit, with_keys
from kisi.mapping.inventory import CompanyEntry, ProductEntry, TenantEntry, running
from kisi.mapping.names import search
from kisi.mapping.similarity import DEFAULT_MIN_SCORE, Suggestion, suggest_products
from kisi.mapping.suggestions import (
    SURE_PRODUCT,
    KeyNameGroup,
    group_key_names,
    open_tenants,
    ranked_companies,
    unmatched_key_names,
)
from kisi.mapping.validator import SystemValidator
from kisi.model import (
    SPLIT,
    AgreementRef,
    Application,
    Category,
    Company,
    IgnoredTenant,
    ProductRow,
    Unit,
)
from kisi.planning import is_live
from kisi.psa import PsaAgreement
from kisi.render.formatting import plural
from kisi.render.map_lists import (
    MOST_CHOICES,
    agreements_screen,
    application_screen,
    companies_screen,
    lines_words,
    overview_screen,
    products_screen,
    tenant_screen,
)
from kisi.render.report import Report
from kisi.run.setup import opened

_SITTING = 24 * 3600.0
"""Seconds in which the systems may be asked: a person maps hundreds of clients in one go."""
_HELP = "s skip, b back, q quit"
_FAR_BEHIND = 0.25
"""A suggestion with so much less of a score than the best is not worth a line."""
_MAPPED_ALREADY = 0.1
_CATEGORIES = {
    Category.ALL: "all of it",
    Category.WINDOWS_WORKSTATIONS: "its Windows workstations",
    Category.WINDOWS_SERVERS: "its Windows servers",
    Category.NON_WINDOWS: "its non-Windows devices",
}
_UNITS = (Unit.DEVICE, Unit.USER, Unit.MAILBOX)

Choice = TypeVar("Choice")
Ranked = tuple[Suggestion, CompanyEntry]
FoundProduct = tuple[ProductEntry, Suggestion | None]
"""A product, and why it is suggested; None where a search found it."""
Answer = Callable[[MappingEdit], None]
"""Asks what else must be known, and makes the change."""


def map_on_a_terminal(config: Path | None, console: Console) -> int:
    """Maps clients and applications by questions; the exit code: 0, or 130 after ^C."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    with opened(config, waits=_SITTING) as setup:
        editor, prompter = editing_of(setup.config, setup, console).editor, Prompter(console)
        prompter.say("Reading both sides ...")
        inventory = inventory_of(setup, console)
        tell_missing(inventory, console)
        today = setup.rules().today
        validator = SystemValidator(setup.sources, setup.psas, today)
        return converse(Session(editor, inventory, validator, setup.psas, today, prompter))


def converse(session: Session) -> int:
    """Shows what is unmapped and asks until each part was gone through, or the person quits."""
    code = ExitCode.OK
    gone_through: set[str] = set()
    try:
        while _ask_for_a_part(session, gone_through):
            continue
    except Quit:
        pass
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    kept = "1 answer is" if session.kept == 1 else f"{session.kept} answers are"
    session.prompter.say(f"{kept} in {session.editor.path.name}.")
    if session.kept:
        session.prompter.say("`kisi preview` shows what would be billed, and writes nothing.")
    return code


def _ask_for_a_part(session: Session, gone_through: set[str]) -> bool:
    inventory, mapping = session.inventory, session.editor.mapping
    tenants, applications = len(open_tenants(mapping, inventory)), len(open_applications(session))
    parts: dict[str, Callable[[Session], None]] = {}
    if tenants:
        parts[f"clients: {plural(tenants, 'tenant')}, one by one"] = ask_for_clients
    if applications:
        parts[f"applications: {applications} to be billed as products"] = ask_for_applications
    owned = session.owners_of_companies()
    active = [entry for entry in inventory.companies if entry.company.active]
    known = {*owned, *inventory.former}
    free = sum((entry.psa, entry.company.id) not in known for entry in active)
    unmapped = {
        "tenants": f"{tenants} of {len(inventory.tenants)} belong to no client",
        "applications": f"{applications} have no row or no product",
        "companies": f"{free} of {len(active)} have no Kaspersky",
    }
    today = session.today
    stale = len(SystemValidator.of(inventory, today).stale(mapping.on(today)))
    session.prompter.show(overview_screen(unmapped, stale, list(parts)))
    names = [words.partition(":")[0] for words in parts]
    fresh = [place for place, name in enumerate(names) if name not in gone_through]
    if not fresh:
        return False
    try:
        place = session.prompter.number("Which? q quits", len(names), fresh[0])
    except (Back, Skip):
        return True
    list(parts.values())[place](session)
    gone_through.add(names[place])
    return True


def _pick(
    prompter: Prompter,
    what: str,
    choices: Sequence[Choice],
    search_for: Callable[[str], Sequence[Choice]],
    screen: Callable[[Sequence[Choice]], Report],
    *,
    sure: bool,
    commands: Commands = COMMANDS,
) -> Choice:
    """One of the choices that are shown, or of those that a search finds; Enter if it is `sure`."""
    while True:
        also = "n never bill, " if "never" in commands else ""
        question = f"{what.capitalize()}: number or part of a name; {also}{_HELP}"
        typed = prompter.line(question, "1" if sure else "", commands)
        chosen = number_of(typed)
        if chosen is not None and 0 <= chosen < min(len(choices), MOST_CHOICES):
            return choices[chosen]
        if found := search_for(typed.removeprefix("/")):
            choices, sure = found, len(found) == 1
            prompter.show(screen(found))
        elif typed:
            prompter.say(f"No active {what} has that in its name, or as its id.")


def ask_for_clients(session: Session) -> None:
    """Asks for every open tenant in turn; `b` at its first question takes back the one before."""
    tenants = open_tenants(session.editor.mapping, session.inventory)
    ranked = ranked_companies(session.inventory, [entry.tenant for entry in tenants])
    asks = [_OneTenant(session, entry, ranked[str(entry.tenant.ref)]).ask for entry in tenants]
    in_turn(session, [(e.tenant.name, ask) for e, ask in zip(tenants, asks, strict=True)])


@dataclass(frozen=True, slots=True)
class _OneTenant:
    session: Session
    entry: TenantEntry
    ranked: Sequence[Ranked]

    def ask(self, place: str) -> None:
        while True:
            try:
                company = self._company(place)
            except Never:
                ignored = IgnoredTenant(self.entry.tenant.ref)
                if self.session.confirm(partial(MappingEdit.ignore_tenant, tenant=ignored)):
                    return
                continue
            try:
                if self._agreement(company):
                    return
            except Back:
                continue

    def _company(self, place: str) -> CompanyEntry:
        owners, prompter = self.session.owners_of_companies(), self.session.prompter
        ranked = self._worth_showing(owners)
        prompter.show(tenant_screen(self.entry, place, ranked, owners))
        return _pick(
            prompter,
            "company",
            [company for _, company in ranked],
            self._search,
            lambda found: companies_screen(found, owners),
            sure=bool(ranked) and ranked[0][0].score >= DEFAULT_MIN_SCORE,
            commands=OR_NEVER,
        )

    def _worth_showing(self, owners: Mapping[tuple[str, str], Company]) -> list[Ranked]:
        """The likeliest companies; of two that are about as likely, one without a client first."""
        best = max((suggestion.score for suggestion, _ in self.ranked), default=0.0)

        def unlikelihood(ranked: Ranked) -> float:
            suggestion, entry = ranked
            return _MAPPED_ALREADY * ((entry.psa, entry.company.id) in owners) - suggestion.score

        near = (each for each in self.ranked if each[0].score >= best - _FAR_BEHIND)
        return sorted(near, key=unlikelihood)

    def _search(self, typed: str) -> list[CompanyEntry]:
        active = [each for each in self.session.inventory.companies if each.company.active]
        return search(typed, active, lambda entry: (entry.company.name, entry.company.id))

    def _agreement(self, company: CompanyEntry) -> bool:
        """Asks for agreement and billing, and saves. False: choose another company."""
        session, psa, name = self.session, company.psa, company.company.name
        entries = running(session.inventory, psa, company.company.id, session.today)
        agreements = [entry.agreement for entry in entries]
        if not agreements:
            session.prompter.say(
                f"{name} has no agreement that runs today: make one in psa.{psa}, then start "
                "`kisi map` again. Or choose another company."
            )
            return False
        owners = {
            each.agreement: each for each in session.editor.mapping.companies if each.psa == psa
        }
        bills = {each.id: self._bills(company, each) for each in agreements}
        session.prompter.show(agreements_screen(name, agreements, bills, owners))
        while True:
            agreement = agreements[0]
            if len(agreements) > 1:
                question = f"Agreement: number; {_HELP}"
                agreement = agreements[session.prompter.number(question, len(agreements))]
            try:
                return self._save(company, agreement.id, joins=agreement.id in owners)
            except Back:
                if len(agreements) == 1:
                    raise

    def _save(self, company: CompanyEntry, agreement: str, *, joins: bool) -> bool:
        session, tenants = self.session, (self.entry.tenant.ref,)
        if joins:
            if not session.prompter.yes("Add this tenant to that client?", default=True):
                raise Back
        else:
            question = "Bill this client from the next sync on?"
            session.billing = session.prompter.yes(question, default=session.billing)
        name, ident = company.company.name, company.company.id
        client = Company(name, tenants, company.psa, ident, agreement, billing=session.billing)
        return session.confirm(lambda rows: rows.add_clients([client]))

    def _bills(self, company: CompanyEntry, agreement: PsaAgreement) -> str:
        """What the agreement bills already; a failure to read it is no reason to stop."""
        session, psa = self.session, company.psa
        try:
            lines = session.psas[psa].lines(AgreementRef(psa, company.company.id, agreement.id))
        except KisiError as error:
            return f"what it bills could not be read: {error.message}"
        products = session.inventory.products
        names = {entry.product.id: entry.product.name for entry in products if entry.psa == psa}
        return lines_words((line for line in lines if is_live(line, session.today)), names)


def open_applications(session: Session) -> list[KeyNameGroup]:
    """Key names of no application, in groups, and applications without a product, as of now."""
    mapping = session.editor.mapping
    names = unmatched_key_names(mapping, session.inventory)
    psas = tuple(dict.fromkeys(each.psa for each in mapping.companies)) or tuple(session.psas)
    found = [replace(group, psas=psas) for group in group_key_names(names)]
    billed = {(row.application, row.psa) for row in mapping.products}
    for each in mapping.applications:
        where = tuple(psa for psa in psas if (each.name, psa) not in billed)
        if each.bill and where:
            own = Matcher([each])
            seen = tuple(e.name for e in session.inventory.key_names if own.match(e.name))
            application = replace(each, keys=each.globs)
            found.append(KeyNameGroup(application, seen, known=True, psas=where))
    return found


def ask_for_applications(session: Session) -> None:
    """Asks for every open application in turn; `b` at its first question takes one back."""
    groups = open_applications(session)
    in_turn(session, [(e.application.name, _OneApplication(session, e).ask) for e in groups])


class _OneApplication:
    def __init__(self, session: Session, group: KeyNameGroup) -> None:
        self._session = session
        self._prompter = session.prompter
        self._group = group

    def ask(self, place: str) -> None:
        while True:
            answer = self._how(place)
            try:
                if self._session.confirm(answer):
                    return
            except Back:
                continue

    def _how(self, place: str) -> Answer:
        while True:
            answers = self._answers()
            names = [e for e in self._session.inventory.key_names if e.name in self._group.seen]
            self._prompter.show(application_screen(self._group, place, names, list(answers)))
            default = "" if self._group.doubt else "1"
            typed = self._prompter.line(f"Number, or u to count something else; {_HELP}", default)
            chosen = number_of(typed)
            if chosen is not None and 0 <= chosen < len(answers):
                return list(answers.values())[chosen]
            if typed.casefold() == "u":
                unit = self._group.application.unit
                self._count(_UNITS[(_UNITS.index(unit) + 1) % len(_UNITS)], doubt="")
            else:
                self._prompter.say(f"Please type a number from 1 to {len(answers)}, or u.")

    def _count(self, unit: Unit, *, doubt: str) -> None:
        application = replace(self._group.application, unit=unit)
        self._group = replace(self._group, application=application, doubt=doubt)

    def _answers(self) -> dict[str, Answer]:
        """Words to what they lead to; users and mailboxes have no categories."""
        answers: dict[str, Answer] = {}
        doubt = self._group.doubt
        units = (Unit.USER, Unit.DEVICE) if doubt else (self._group.application.unit,)
        for unit in units:
            words = f"as one product, counted per {unit}" if doubt else "as one product"
            answers[words] = partial(self._billed, (Category.ALL,), unit)
        if Unit.DEVICE in units:
            words = "by category: workstations, servers and the rest as three products"
            answers[words] = partial(self._billed, SPLIT, Unit.DEVICE)
        answers["never: it is known and not billed (bill = false)"] = self._never
        if not self._group.known and self._session.editor.mapping.applications:
            answers["its key names belong to an application of mapping.toml"] = self._belongs
        return answers

    def _row(self, rows: MappingEdit) -> Application:
        new = self._group.application
        known = rows.applications.get(new.name.casefold())
        return replace(with_keys(known, new.globs), unit=new.unit) if known else new

    def _never(self, rows: MappingEdit) -> None:
        rows.set_application(replace(self._row(rows), bill=False))

    def _belongs(self, rows: MappingEdit) -> None:
        applications = list(rows.applications.values())
        names = [each.name for each in applications]
        self._prompter.show(application_screen(self._group, "", (), names))
        chosen = self._prompter.number(f"Which application? {_HELP}", len(applications))
        rows.set_application(with_keys(applications[chosen], self._group.application.globs))

    def _billed(self, categories: Sequence[Category], unit: Unit, rows: MappingEdit) -> None:
        self._count(unit, doubt=self._group.doubt)
        application = self._row(rows)
        rows.set_application(application)
        asked = [self._products(application.name, psa, categories) for psa in self._group.psas]
        chosen = [row for row in asked if row.products]
        if not chosen:
            self._prompter.say("No product was chosen, so nothing was saved.")
            raise Back
        for row in chosen:
            rows.set_product(row)

    def _products(self, name: str, psa: str, categories: Sequence[Category]) -> ProductRow:
        products: dict[Category, str] = {}
        for category in categories:
            try:
                products[category] = self._product(psa, category)
            except Skip:
                self._prompter.say(f"{_CATEGORIES[category].capitalize()}: not billed.")
        return ProductRow(name, psa, products)

    def _product(self, psa: str, category: Category) -> str:
        where = f" in psa.{psa}" if len(self._session.psas) > 1 else ""
        title = f"Product for {_CATEGORIES[category]}{where}"
        found = self._suggested(psa, category)
        self._prompter.show(products_screen(title, found))
        best = found[0][1] if found else None
        sure = best is not None and best.category is category and best.score >= SURE_PRODUCT
        picked, _ = _pick(
            self._prompter,
            "product",
            found,
            partial(self._search, psa),
            partial(products_screen, title),
            sure=sure,
        )
        return picked.product.id

    def _entries(self, psa: str) -> dict[str, ProductEntry]:
        products = self._session.inventory.products
        return {e.product.id: e for e in products if e.psa == psa and e.product.active}

    def _suggested(self, psa: str, category: Category) -> list[FoundProduct]:
        entries = self._entries(psa)
        free = {id_: entry.product.name for id_, entry in entries.items() if not entry.applications}
        found = suggest_products(self._group.application.name, free)
        alike = [each for each in found if each.category is category] or found
        return [(entries[each.id], each) for each in alike[:5]]

    def _search(self, psa: str, typed: str) -> list[FoundProduct]:
        entries = self._entries(psa).values()
        found = search(typed, entries, lambda entry: (entry.product.name, entry.product.id))
        return [(entry, None) for entry in found]
