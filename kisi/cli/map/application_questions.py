"""Application by application: how is it billed, and as which products?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kisi.cli.map.prompts import Back, Skip, number_of
from kisi.cli.map.session import Session, in_turn
from kisi.errors import ConfigError
from kisi.mapping.applications import ApplicationSuggestion, group_key_names, suggest_products
from kisi.mapping.billed import find_application, set_application, set_product, with_keys
from kisi.mapping.change import Change
from kisi.mapping.proposals import SURE_PRODUCT, unmatched_key_names
from kisi.mapping.search import search
from kisi.model import SPLIT, Application, Category, ProductRow, Unit
from kisi.render.map_screens import MOST_CHOICES, application_screen, products_screen
from kisi.usage import Matcher

if TYPE_CHECKING:
    from kisi.mapping.applications import ProductSuggestion
    from kisi.mapping.inventory import ProductEntry

_HELP = "s skip, b back, q quit"
_CATEGORIES = {
    Category.ALL: "all of it",
    Category.WINDOWS_WORKSTATIONS: "its Windows workstations",
    Category.WINDOWS_SERVERS: "its Windows servers",
    Category.NON_WINDOWS: "its non-Windows devices",
}
_UNITS = (Unit.DEVICE, Unit.USER, Unit.MAILBOX)

FoundProduct = tuple["ProductEntry", "ProductSuggestion | None"]
"""A product, and why it is suggested; None where a search found it."""
Answer = Callable[[], Change]
"""Asks what else must be known, and makes the change."""


@dataclass(frozen=True, slots=True)
class OpenApplication:
    """An application that has no row yet, or none of its products in a PSA."""

    group: ApplicationSuggestion
    psas: tuple[str, ...]
    """Where it has no product."""
    known: bool
    """Whether it has an `[[application]]` row."""


def open_applications(session: Session) -> list[OpenApplication]:
    """Key names of no application, in groups, and applications without a product, as of now."""
    mapping = session.editor.mapping
    names = unmatched_key_names(mapping, session.inventory)
    psas = tuple(dict.fromkeys(each.psa for each in mapping.companies)) or tuple(session.psas)
    found = [OpenApplication(group, psas, known=False) for group in group_key_names(names)]
    billed = {(row.application, row.psa) for row in mapping.products}
    for each in mapping.applications:
        where = tuple(psa for psa in psas if (each.name, psa) not in billed)
        if each.bill and where:
            own = Matcher([each])
            seen = tuple(e.name for e in session.inventory.key_names if own.match(e.name))
            group = ApplicationSuggestion(each.name, each.globs, seen, each.unit)
            found.append(OpenApplication(group, where, known=True))
    return found


def ask_for_applications(session: Session) -> None:
    """Asks for every open application in turn; `b` at its first question takes one back.

    Raises:
        Quit: The person wants to stop.
        ConfigError: Somebody else changed the file.
        StateError: The file cannot be written.
    """
    found = open_applications(session)
    in_turn(session, [(e.group.name, _OneApplication(session, e).ask) for e in found])


def _is_sure(found: Sequence[FoundProduct], category: Category) -> bool:
    """Whether Enter alone may take the first of the suggestions."""
    best = found[0][1] if found else None
    return best is not None and best.category is category and best.score >= SURE_PRODUCT


class _OneApplication:
    """The questions about one application."""

    def __init__(self, session: Session, found: OpenApplication) -> None:
        self._session = session
        self._prompter = session.prompter
        self._found = found
        self._unit = found.group.unit
        self._doubt = found.group.doubt

    def ask(self, place: str) -> None:
        """Asks until an answer is saved.

        Raises:
            Back: The person wants the application before this one.
            Skip: The person leaves it as it is.
        """
        while True:
            answer = self._how(place)
            try:
                change = answer()
            except Back:
                continue
            except ConfigError as error:
                self._prompter.complain(error)
                continue
            if self._session.confirm(change):
                return

    def _how(self, place: str) -> Answer:
        """How it is billed; `u` changes what is counted."""
        while True:
            answers = self._answers()
            group = replace(self._found.group, unit=self._unit, doubt=self._doubt)
            names = [e for e in self._session.inventory.key_names if e.name in group.seen]
            self._prompter.show(application_screen(group, place, names, list(answers)))
            default = "" if self._doubt else "1"
            typed = self._prompter.line(f"Number, or u to count something else; {_HELP}", default)
            chosen = number_of(typed)
            if chosen is not None and 0 <= chosen < len(answers):
                return list(answers.values())[chosen]
            if typed.casefold() == "u":
                self._unit = _UNITS[(_UNITS.index(self._unit) + 1) % len(_UNITS)]
                self._doubt = ""
            else:
                self._prompter.say(f"Please type a number from 1 to {len(answers)}, or u.")

    def _answers(self) -> dict[str, Answer]:
        """Words to what they lead to; users and mailboxes have no categories."""
        answers: dict[str, Answer] = {}
        units = (Unit.USER, Unit.DEVICE) if self._doubt else (self._unit,)
        for unit in units:
            words = f"as one product, counted per {unit}" if self._doubt else "as one product"
            answers[words] = partial(self._billed, (Category.ALL,), unit)
        if Unit.DEVICE in units:
            words = "by category: workstations, servers and the rest as three products"
            answers[words] = partial(self._billed, SPLIT, Unit.DEVICE)
        answers["never: it is known and not billed (bill = false)"] = self._never
        if not self._found.known and self._session.editor.mapping.applications:
            answers["its key names belong to an application of mapping.toml"] = self._belongs
        return answers

    def _row(self) -> Application:
        """The application's row: its own, with the new key names, if it has one."""
        group, mapping = self._found.group, self._session.editor.mapping
        row = find_application(mapping, group.name)
        if row is None:
            keys = () if group.keys == (f"{group.name}*",) else group.keys
            return Application(group.name, keys, self._unit)
        return replace(with_keys(mapping.applications[row], group.keys), unit=self._unit)

    def _never(self) -> Change:
        return set_application(self._session.editor.draft, replace(self._row(), bill=False))

    def _belongs(self) -> Change:
        """Adds the key names to an application that is there already."""
        applications = self._session.editor.mapping.applications
        self._prompter.show(
            application_screen(self._found.group, "", (), [each.name for each in applications])
        )
        chosen = self._prompter.number(f"Which application? {_HELP}", len(applications))
        application = with_keys(applications[chosen], self._found.group.keys)
        return set_application(self._session.editor.draft, application)

    def _billed(self, categories: Sequence[Category], unit: Unit) -> Change:
        """Asks for the products in each PSA, and bills the application as them."""
        editor = self._session.editor
        self._unit = unit
        application = self._row()
        change = set_application(editor.draft, application)
        rows = [self._products(application.name, psa, categories) for psa in self._found.psas]
        chosen = [row for row in rows if row.products]
        if not chosen:
            self._prompter.say("No product was chosen, so nothing was saved.")
            raise Back
        for row in chosen:
            change = change.followed_by(set_product(editor.check(change.text), row))
        return change

    def _products(self, name: str, psa: str, categories: Sequence[Category]) -> ProductRow:
        products: dict[Category, str] = {}
        for category in categories:
            try:
                products[category] = self._product(psa, category)
            except Skip:
                self._prompter.say(f"{_CATEGORIES[category].capitalize()}: not billed.")
        return ProductRow(name, psa, products)

    def _product(self, psa: str, category: Category) -> str:
        """The id of the product that was picked or found."""
        where = f" in psa.{psa}" if len(self._session.psas) > 1 else ""
        title = f"Product for {_CATEGORIES[category]}{where}"
        found = self._suggested(psa, category)
        self._prompter.show(products_screen(title, found))
        default = "1" if _is_sure(found, category) else ""
        while True:
            typed = self._prompter.line(f"Product: number or part of a name; {_HELP}", default)
            chosen = number_of(typed)
            if chosen is not None and 0 <= chosen < min(len(found), MOST_CHOICES):
                return found[chosen][0].product.id
            hits = self._search(psa, typed)
            if hits:
                found, default = hits, "1" if len(hits) == 1 else ""
                self._prompter.show(products_screen(title, found))
            elif typed:
                self._prompter.say("No active product has that in its name, or as its id.")

    def _entries(self, psa: str) -> dict[str, ProductEntry]:
        products = self._session.inventory.products
        return {e.product.id: e for e in products if e.psa == psa and e.product.active}

    def _suggested(self, psa: str, category: Category) -> list[FoundProduct]:
        """Products with a similar name that bill nothing else, those of the category first."""
        entries = self._entries(psa)
        free = {id_: entry.product.name for id_, entry in entries.items() if not entry.applications}
        found = suggest_products(self._found.group.name, free)
        ranked = sorted(found, key=lambda each: each.category is not category)
        return [(entries[each.product], each) for each in ranked[:5]]

    def _search(self, psa: str, typed: str) -> list[FoundProduct]:
        entries = self._entries(psa)
        names = {id_: (entry.product.name, id_) for id_, entry in entries.items()}
        return [(entries[id_], None) for id_ in search(typed.removeprefix("/"), names)]
