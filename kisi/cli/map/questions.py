"""`kisi map` on a terminal: questions in turn; every confirmed answer is saved at once.

A line out, a line in: it works over SSH, on Windows, on any console.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

from kisi.cli.map.app import inventory_of, tell_missing
from kisi.cli.map.editing import editing_of
from kisi.cli.output import Console, explain_error, terminal_text, write
from kisi.errors import ExitCode, KisiError
from kisi.mapping.changes import MappingEdit, with_keys
from kisi.mapping.file import MappingEditor
from kisi.mapping.inventory import CompanyEntry, Inventory, TenantEntry, running
from kisi.mapping.similarity import DEFAULT_MIN_SCORE, Suggestion, search, suggest_products
from kisi.mapping.suggestions import (
    SURE_PRODUCT,
    KeyNameGroup,
    open_applications,
    open_tenants,
    ranked_companies,
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
from kisi.psa import Psa
from kisi.redaction import safe_text
from kisi.render import map_lists as screens
from kisi.render.formatting import plural
from kisi.render.report import Report
from kisi.render.terminal import adapted, wrap
from kisi.run.setup import opened

_SITTING = 24 * 3600.0
"""Seconds in which the systems may be asked: a person maps hundreds of clients in one go."""
_KEYS = "s skip, b back, q quit"
_HELP = (
    "A number takes what stands beside it, Enter alone what stands in [brackets]. Where a name is "
    "asked for, any part of it searches; a slash before it searches for what would be a command. "
    "s skips this one, b goes back to the question before, q quits; what was saved stays saved."
)
_FAR_BEHIND = 0.25
"""A suggestion with so much less of a score than the best is not worth a line."""
_MAPPED_ALREADY = 0.1
_CATEGORIES = {
    Category.ALL: "all of it",
    Category.WINDOWS_WORKSTATIONS: "its Windows workstations",
    Category.WINDOWS_SERVERS: "its Windows servers",
    Category.NON_WINDOWS: "its non-Windows devices",
}

Choice = TypeVar("Choice")
Ask = Callable[[str], str]
"""Shows a question and returns the line that was typed; raises `EOFError` at the end of input."""
Ranked = tuple[Suggestion, CompanyEntry]
Answer = Callable[[MappingEdit], None]
"""Asks what else must be known, and makes the change."""
Question = tuple[str, Callable[[str], None]]
"""What it is about, and what asks it: told its place (`3 of 40`), it raises `Back` or `Skip`."""


class Quit(Exception):
    """The person wants to stop; everything confirmed so far is saved."""


class Back(Exception):
    """The person wants the question before this one again."""


class Skip(Exception):
    """The person leaves this one as it is."""


class Never(Exception):
    """The person says that this one is never billed."""


Commands = Mapping[str, type[Quit | Back | Skip | Never]]
"""What may be typed for an answer, also as its first letter."""
_COMMANDS: Commands = {"quit": Quit, "back": Back, "skip": Skip}
_OR_NEVER: Commands = {**_COMMANDS, "never": Never}


@dataclass(slots=True)
class Session:
    """One sitting of a person at `kisi map`: what is asked, shown and saved."""

    editor: MappingEditor
    inventory: Inventory
    validator: SystemValidator
    psas: Mapping[str, Psa]
    today: date
    console: Console
    ask: Ask | None = None
    """Reads a line; by default from the terminal."""
    billing: bool = True
    """The last answer about billing: the next one's default."""
    kept: int = 0

    def show(self, report: Report) -> None:
        """Shows something to choose from, after a blank line."""
        write(sys.stdout, "\n" + terminal_text(report, self.console))

    def say(self, text: str) -> None:
        """Says a sentence, as wide as the terminal; remote text in it cannot act."""
        shown = adapted(text, sys.stdout.encoding or "ascii")
        write(sys.stdout, "\n".join(wrap(shown, shutil.get_terminal_size().columns)))

    def line(self, question: str, default: str = "", commands: Commands = _COMMANDS) -> str:
        """The line, or `default`; a command, and the end of input (`Quit`), are raised."""
        hint = f" [{default}]" if default else ""
        prompt, ask = safe_text(f"{question}{hint}: "), self.ask or _from_terminal
        try:
            while (typed := ask(prompt).strip()) == "?":
                self.say(_HELP)
        except EOFError:
            raise Quit from None
        for word, command in commands.items():
            if typed.casefold() in {word, word[0]}:
                raise command
        return typed or default

    def yes(self, question: str, *, default: bool) -> bool:
        """A question that is answered with y or n."""
        words = {"y": True, "yes": True, "n": False, "no": False}
        while (typed := self.line(f"{question} (y/n)", "ny"[default]).casefold()) not in words:
            self.say("Please type y or n.")
        return words[typed]

    def number(self, question: str, count: int, default: int | None = None) -> int:
        """One of `count` numbered choices, counted from 0."""
        shown = "" if default is None else str(default + 1)
        while (place := number_of(self.line(question, shown), count)) is None:
            self.say(f"Please type a number from 1 to {count}.")
        return place

    def pick(
        self,
        what: str,
        choices: Sequence[Choice],
        among: Iterable[Choice],
        named: Callable[[Choice], tuple[str, str]],
        screen: Callable[[Sequence[Choice]], Report],
        *,
        sure: bool,
        commands: Commands = _COMMANDS,
    ) -> Choice:
        """One of the choices shown, or of those `among` which it is searched; Enter if `sure`."""
        also = "n never bill, " if "never" in commands else ""
        question = f"{what.capitalize()}: number or part of a name; {also}{_KEYS}"
        while True:
            typed = self.line(question, "1" if sure else "", commands)
            place = number_of(typed, min(len(choices), screens.MOST_CHOICES))
            if place is not None:
                return choices[place]
            if found := search(typed.removeprefix("/"), among, named):
                choices, sure = found, len(found) == 1
                self.show(screen(found))
            elif typed:
                self.say(f"No active {what} has that in its name, or as its id.")

    def in_turn(self, questions: Sequence[Question]) -> None:
        """Asks one question after the other; going back takes back what the one before saved."""
        before: dict[int, str] = {}
        place = 0
        while place < len(questions):
            before[place] = self.editor.text
            try:
                with suppress(Skip):
                    questions[place][1](f"{place + 1} of {len(questions)}")
                place += 1
            except Back:
                place = max(place - 1, 0)
                if self.editor.save(before[place]):
                    self.kept -= 1
                    self.say(f"Taken back: {questions[place][0]}.")

    def confirm(self, answer: Answer) -> bool:
        """Validates and saves one answer. False if it cannot be, which is said with the reason.

        What the file itself refuses is raised: nothing more can be saved.
        """
        rows = self.editor.edit()
        try:
            answer(rows)
            change = rows.change()
            self.editor.check(change.text)
            self.validator.refuse(change)
        except KisiError as error:
            write(sys.stdout, explain_error(error))
            return False
        self.editor.save(change.text)
        self.kept += 1
        for sentence in change.done:
            self.say(f"Saved. {sentence}")
        return True

    def owners_of_companies(self) -> dict[tuple[str, str], Company]:
        """The client of each PSA company, as the file is now."""
        return {(each.psa, each.company): each for each in self.editor.mapping.companies}


def number_of(typed: str, count: int) -> int | None:
    """Which of `count` things a typed number names, counted from 0; None if none of them."""
    number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 10 else 0
    return number - 1 if 0 < number <= count else None


def _from_terminal(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    typed = sys.stdin.readline()
    if not typed:
        sys.stdout.write("\n")
        raise EOFError
    return typed


def map_on_a_terminal(config: Path | None, console: Console) -> int:
    """Maps clients and applications by questions; the exit code: 0, or 130 after ^C."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    with opened(config, waits=_SITTING) as setup:
        editor, today = editing_of(setup.config, setup, console).editor, setup.rules().today
        validator = SystemValidator(setup.sources, setup.psas, today)
        session = Session(editor, Inventory(), validator, setup.psas, today, console)
        session.say("Reading both sides ...")
        session.inventory = inventory_of(setup, console)
        tell_missing(session.inventory, console)
        return converse(session)


def converse(session: Session) -> int:
    """Shows what is unmapped and asks until each part was gone through, or the person quits."""
    code = ExitCode.OK
    gone_through: set[str] = set()
    try:
        with suppress(Quit):
            while _ask_for_a_part(session, gone_through):
                continue
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    kept = "1 answer is" if session.kept == 1 else f"{session.kept} answers are"
    session.say(f"{kept} in {session.editor.path.name}.")
    if session.kept:
        session.say("`kisi preview` shows what would be billed, and writes nothing.")
    return code


def _ask_for_a_part(session: Session, gone_through: set[str]) -> bool:
    inventory, mapping = session.inventory, session.editor.mapping
    tenants = len(open_tenants(mapping, inventory))
    applications = len(open_applications(mapping, inventory, session.psas))
    parts: dict[str, Callable[[Session], None]] = {}
    if tenants:
        parts[f"clients: {plural(tenants, 'tenant')}, one by one"] = ask_for_clients
    if applications:
        parts[f"applications: {applications} to be billed as products"] = ask_for_applications
    active = [entry for entry in inventory.companies if entry.company.active]
    known = {*session.owners_of_companies(), *inventory.former}
    free = sum((entry.psa, entry.company.id) not in known for entry in active)
    unmapped = {
        "tenants": f"{tenants} of {len(inventory.tenants)} belong to no client",
        "applications": f"{applications} have no row or no product",
        "companies": f"{free} of {len(active)} have no Kaspersky",
    }
    stale = len(SystemValidator.of(inventory, session.today).stale(mapping.on(session.today)))
    session.show(screens.overview_screen(unmapped, stale, list(parts)))
    names = [words.partition(":")[0] for words in parts]
    fresh = [place for place, name in enumerate(names) if name not in gone_through]
    if not fresh:
        return False
    with suppress(Back, Skip):
        place = session.number("Which? q quits", len(names), fresh[0])
        list(parts.values())[place](session)
        gone_through.add(names[place])
    return True


def ask_for_clients(session: Session) -> None:
    """Asks for every open tenant in turn; `b` at its first question takes back the one before."""
    tenants = open_tenants(session.editor.mapping, session.inventory)
    ranked = ranked_companies(session.inventory, [entry.tenant for entry in tenants])
    asks = ((x.tenant, _OneTenant(session, x, ranked[str(x.tenant.ref)]).ask) for x in tenants)
    session.in_turn([(tenant.name, ask) for tenant, ask in asks])


@dataclass(frozen=True, slots=True)
class _OneTenant:
    session: Session
    entry: TenantEntry
    ranked: Sequence[Ranked]

    def ask(self, place: str) -> None:
        ignored = IgnoredTenant(self.entry.tenant.ref)
        done = False
        while not done:
            try:
                company = self._company(place)
            except Never:
                done = self.session.confirm(lambda rows: rows.ignore_tenant(ignored))
                continue
            with suppress(Back):
                done = self._agreement(company)

    def _company(self, place: str) -> CompanyEntry:
        """Shows the likeliest; of two that are about as likely, one without a client first."""
        owners = self.session.owners_of_companies()
        best = max((suggestion.score for suggestion, _ in self.ranked), default=0.0)

        def unlikelihood(ranked: Ranked) -> float:
            suggestion, entry = ranked
            return _MAPPED_ALREADY * ((entry.psa, entry.company.id) in owners) - suggestion.score

        near = (each for each in self.ranked if each[0].score >= best - _FAR_BEHIND)
        ranked = sorted(near, key=unlikelihood)
        self.session.show(screens.tenant_screen(self.entry, place, ranked, owners))
        return self.session.pick(
            "company",
            [company for _, company in ranked],
            [each for each in self.session.inventory.companies if each.company.active],
            lambda entry: (entry.company.name, entry.company.id),
            lambda found: screens.companies_screen(found, owners),
            sure=bool(ranked) and ranked[0][0].score >= DEFAULT_MIN_SCORE,
            commands=_OR_NEVER,
        )

    def _agreement(self, company: CompanyEntry) -> bool:
        """Asks for agreement and billing, and saves. False: choose another company."""
        session, psa, name = self.session, company.psa, company.company.name
        entries = running(session.inventory, psa, company.company.id, session.today)
        agreements = [entry.agreement for entry in entries]
        if not agreements:
            session.say(
                f"{name} has no agreement that runs today: make one in psa.{psa}, then start "
                "`kisi map` again. Or choose another company."
            )
            return False
        owners = {
            each.agreement: each for each in session.editor.mapping.companies if each.psa == psa
        }
        products = session.inventory.products
        names = {entry.product.id: entry.product.name for entry in products if entry.psa == psa}
        bills = {}
        for each in agreements:
            try:
                lines = session.psas[psa].lines(AgreementRef(psa, company.company.id, each.id))
            except KisiError as error:  # no reason to stop
                bills[each.id] = f"what it bills could not be read: {error.message}"
            else:
                live = (line for line in lines if is_live(line, session.today))
                bills[each.id] = screens.lines_words(live, names)
        session.show(screens.agreements_screen(name, agreements, bills, owners))
        if len(agreements) == 1:
            return self._save(company, agreements[0].id, owners)
        while True:
            place = session.number(f"Agreement: number; {_KEYS}", len(agreements))
            with suppress(Back):
                return self._save(company, agreements[place].id, owners)

    def _save(self, company: CompanyEntry, agreement: str, owners: Collection[str]) -> bool:
        session, tenants = self.session, (self.entry.tenant.ref,)
        if agreement in owners:
            if not session.yes("Add this tenant to that client?", default=True):
                raise Back
        else:
            question = "Bill this client from the next sync on?"
            session.billing = session.yes(question, default=session.billing)
        name, ident = company.company.name, company.company.id
        client = Company(name, tenants, company.psa, ident, agreement, billing=session.billing)
        return session.confirm(lambda rows: rows.add_clients([client]))


def ask_for_applications(session: Session) -> None:
    """Asks for every open application in turn; `b` at its first question takes one back."""
    groups = open_applications(session.editor.mapping, session.inventory, session.psas)
    session.in_turn([(e.application.name, _OneApplication(session, e).ask) for e in groups])


@dataclass(slots=True)
class _OneApplication:
    session: Session
    group: KeyNameGroup

    def ask(self, place: str) -> None:
        done = False
        while not done:
            answer = self._how(place)
            with suppress(Back):
                done = self.session.confirm(answer)

    def _how(self, place: str) -> Answer:
        while True:
            answers = self._answers()
            names = [e for e in self.session.inventory.key_names if e.name in self.group.seen]
            self.session.show(screens.application_screen(self.group, place, names, list(answers)))
            default = "" if self.group.doubt else "1"
            typed = self.session.line(f"Number, or u to count something else; {_KEYS}", default)
            if (chosen := number_of(typed, len(answers))) is not None:
                return list(answers.values())[chosen]
            if typed.casefold() == "u":
                units, now = [*Unit, *Unit], self.group.application
                next_one = replace(now, unit=units[units.index(now.unit) + 1])
                self.group = replace(self.group, application=next_one, doubt="")
            else:
                self.session.say(f"Please type a number from 1 to {len(answers)}, or u.")

    def _answers(self) -> dict[str, Answer]:
        """Words to what they lead to; users and mailboxes have no categories."""
        answers: dict[str, Answer] = {}
        doubt = self.group.doubt
        units = (Unit.USER, Unit.DEVICE) if doubt else (self.group.application.unit,)
        for unit in units:
            words = f"as one product, counted per {unit}" if doubt else "as one product"
            answers[words] = partial(self._billed, (Category.ALL,), unit)
        if Unit.DEVICE in units:
            words = "by category: workstations, servers and the rest as three products"
            answers[words] = partial(self._billed, SPLIT, Unit.DEVICE)
        never, unit = (
            "never: it is known and not billed (bill = false)",
            self.group.application.unit,
        )
        answers[never] = lambda rows: rows.set_application(
            replace(self._row(rows, unit), bill=False)
        )
        if not self.group.known and self.session.editor.mapping.applications:
            answers["its key names belong to an application of mapping.toml"] = self._belongs
        return answers

    def _row(self, rows: MappingEdit, unit: Unit) -> Application:
        new = self.group.application
        known = rows.applications.get(new.name.casefold(), new)
        return replace(with_keys(known, new.globs), unit=unit)

    def _belongs(self, rows: MappingEdit) -> None:
        applications = list(rows.applications.values())
        names = [each.name for each in applications]
        self.session.show(screens.application_screen(self.group, "", (), names))
        chosen = self.session.number(f"Which application? {_KEYS}", len(applications))
        rows.set_application(with_keys(applications[chosen], self.group.application.globs))

    def _billed(self, categories: Sequence[Category], unit: Unit, rows: MappingEdit) -> None:
        application = self._row(rows, unit)
        rows.set_application(application)
        chosen: dict[str, dict[Category, str]] = defaultdict(dict)
        for psa, category in product(self.group.psas, categories):
            try:
                chosen[psa][category] = self._product(psa, category)
            except Skip:
                self.session.say(f"{_CATEGORIES[category].capitalize()}: not billed.")
        if not chosen:
            self.session.say("No product was chosen, so nothing was saved.")
            raise Back
        for psa, products in chosen.items():
            rows.set_product(ProductRow(application.name, psa, products))

    def _product(self, psa: str, category: Category) -> str:
        where = f" in psa.{psa}" if len(self.session.psas) > 1 else ""
        title = f"Product for {_CATEGORIES[category]}{where}"
        products = self.session.inventory.products
        entries = {e.product.id: e for e in products if e.psa == psa and e.product.active}
        free = {id_: entry.product.name for id_, entry in entries.items() if not entry.applications}
        found = suggest_products(self.group.application.name, free)
        alike = [each for each in found if each.category is category]
        sure = bool(alike) and alike[0].score >= SURE_PRODUCT
        suggested = [(entries[each.id], each) for each in (alike or found)[:5]]
        self.session.show(screens.products_screen(title, suggested))
        picked = self.session.pick(
            "product",
            [entry for entry, _ in suggested],
            entries.values(),
            lambda entry: (entry.product.name, entry.product.id),
            lambda found: screens.products_screen(title, [(entry, None) for entry in found]),
            sure=sure,
        )
        return picked.product.id
