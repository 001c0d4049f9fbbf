"""What stands against a new line: its product, and what the company's other agreements bill.

A company may have several agreements: one that follows another, a parent and its children, one a
department. kisi is told of one of them. Where another one already bills a product that kisi is
about to add, the devices would be billed on both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial

from kisi.errors import ExitCode
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    BillingMapping,
    Company,
    CompanyPlan,
    Failure,
    Finding,
    Hold,
    Level,
    Line,
    OwnedLine,
    PlannedLine,
)
from kisi.planning import failed, may_bill, rows_of
from kisi.psa import Psa, PsaProduct
from kisi.reconcile.collect import attempt
from kisi.reconcile.psas import read_each

_Client = tuple[str, str]
"""A company of a PSA: the PSA's name, and the company's id there."""
_Billing = Collection[tuple[Agreement, Line]]

_CATALOGUE_REMEDY = "Correct its [[product]] row; `kisi map list` shows the products."


def creates(plan: CompanyPlan) -> list[PlannedLine]:
    """The lines that a client's plan is to create."""
    return [line for line in plan.lines if line.action is Action.CREATE and line.hold is None]


@dataclass(slots=True)
class Catalogues:
    """What the PSAs say of the products of new lines: a name, a price, and whether it can be."""

    products: dict[tuple[str, str], PsaProduct | None] = field(default_factory=dict)
    """What was asked for, by PSA and id; None if there is no such product."""
    notes: list[str] = field(default_factory=list)
    """Which catalogues could not be read. Nothing else changes because of it."""

    @classmethod
    def read(cls, plans: Iterable[CompanyPlan], psas: Mapping[str, Psa]) -> Catalogues:
        """Asks each PSA once for the products of all new lines."""
        wanted = {(line.psa, line.product) for plan in plans for line in creates(plan)}
        found = cls()
        for name in sorted({psa for psa, _ in wanted}):
            ids = sorted(product for psa, product in wanted if psa == name)
            listed = attempt(partial(psas[name].products, ids), "psa", ExitCode.PSA)
            if isinstance(listed, Failure):
                found.notes.append(f"Prices of {name} could not be read: {listed.reason}")
            else:
                found.products |= {(name, product): listed.get(product) for product in ids}
        return found

    def judge(self, plan: CompanyPlan) -> CompanyPlan:
        """Adds names and prices to creates; fails a client of which the PSA would refuse one.

        Such a client fails as a whole: in its plan an older line may make room for the one that
        cannot be made.
        """
        refused = [reason for line in creates(plan) if (reason := self._obstacle(line))]
        if refused:
            why = Failure("product", "; ".join(refused), _CATALOGUE_REMEDY, ExitCode.WITHHELD)
            return failed(plan.company, why, unmapped=plan.unmapped, notes=plan.notes)
        return replace(plan, lines=tuple(map(self._informed, plan.lines)))

    def _obstacle(self, line: PlannedLine) -> str:
        """Why the PSA would refuse a new line of this product; empty if not, or not asked.

        `active` is false also for what is of a kind that no agreement can carry, such as a bundle.
        """
        key = (line.psa, line.product)
        if key not in self.products:
            return ""
        product, billing = self.products[key], f"which is to bill {line.application},"
        if product is None:
            return f"product {line.product}, {billing} does not exist in psa.{line.psa}"
        if product.active:
            return ""
        return (
            f"product {line.product}, {billing} is inactive in psa.{line.psa}, or of a kind that "
            "no agreement can carry"
        )

    def _informed(self, line: PlannedLine) -> PlannedLine:
        product = self.products.get((line.psa, line.product))
        if line.action is not Action.CREATE or product is None:
            return line
        return replace(line, unit_price=product.price, description=product.name)


@dataclass(slots=True)
class Siblings:
    """What agreements that no row of the mapping names bill the companies of clients."""

    today: date
    lines: dict[_Client, list[tuple[Agreement, Line]]] = field(default_factory=dict)
    failures: dict[_Client, Failure] = field(default_factory=dict)
    """Companies of which it is not known what they are billed elsewhere, and why."""

    @classmethod
    def read(
        cls,
        products: Iterable[tuple[Company, Collection[str]]],
        psas: Mapping[str, Psa],
        mapping: BillingMapping,
        owned: Collection[OwnedLine],
        today: date,
    ) -> Siblings:
        """Reads the clients' other agreements: one look at all, then the lines of each.

        The lines are asked for by their products: a list of all lines may end early, and must not
        hide one. An agreement that all clients of its company call `alongside` is not read.

        `products` are the clients, each with the products that are looked for. What a row of the
        `mapping` names is another client's, or kisi's own; what kisi owns waits by other rules.
        """
        mapped = {(one.psa, one.agreement) for one in mapping.everyone}
        kept = {(fact.psa, fact.agreement, fact.line_id) for fact in owned}
        wanted: dict[str, dict[str, set[str]]] = {}
        apart: dict[_Client, set[str]] = {}
        for client, some in products:
            if not some:
                continue
            wanted.setdefault(client.psa, {}).setdefault(client.company, set()).update(some)
            key, alongside = (client.psa, client.company), set(client.alongside)
            apart[key] = apart.get(key, alongside) & alongside

        def concerns(ref: AgreementRef) -> bool:
            alongside = apart[ref.psa, ref.company]
            return (ref.psa, ref.agreement) not in mapped and ref.agreement not in alongside

        found = cls(today)
        for name, of_companies in sorted(wanted.items()):
            found._read_psa(psas[name], of_companies, concerns, kept)
        return found

    def _read_psa(
        self,
        psa: Psa,
        products: Mapping[str, Collection[str]],
        concerns: Callable[[AgreementRef], bool],
        kept: Collection[tuple[str, str, str]],
    ) -> None:
        ask = partial(psa.agreements_of, list(products), self.today)
        listed = attempt(ask, "psa", ExitCode.PSA)
        if isinstance(listed, Failure):
            self.failures |= {(psa.name, company): listed for company in products}
            return
        others = {
            one.ref: one
            for company in products
            for one in listed.get(company, ())
            if concerns(one.ref)
        }

        reads = {ref: partial(psa.lines, ref, products[ref.company]) for ref in others}
        lines, failures = read_each(psa, reads, lambda _name, _done, _all: None)
        self.failures |= {(psa.name, ref.company): why for ref, why in failures.items()}
        for ref, shown in lines.items():
            self.lines.setdefault((psa.name, ref.company), []).extend(
                (others[ref], line)
                for line in shown
                if (psa.name, ref.agreement, line.id) not in kept
            )

    def judge(self, plan: CompanyPlan) -> CompanyPlan:
        """Holds each create of a product that another agreement bills; no id lifts the hold."""
        new = creates(plan)
        if not new:
            return plan
        lines = tuple(
            replace(line, hold=self._obstacle(plan.company, line.product)) if line in new else line
            for line in plan.lines
        )
        unread = self.failures.get((plan.company.psa, plan.company.company))
        if unread is None:
            return replace(plan, lines=lines)
        note = (
            "Whether other agreements of this company bill the new lines' products already could "
            f"not be read, so no new line is made: {unread.reason}"
        )
        return replace(plan, lines=lines, notes=(*plan.notes, note))

    def billing(self, client: Company, product: str) -> Iterator[tuple[Agreement, Line]]:
        """The lines that bill a product of a client elsewhere, or will, and not on purpose.

        A line that cannot be read is among them: nobody knows that it bills nothing.
        """
        for agreement, line in self.lines.get((client.psa, client.company), ()):
            bills = line.problem or (line.billable and line.quantity > 0)
            if (
                line.product == product
                and bills
                and may_bill(line, self.today)
                and agreement.ref.agreement not in client.alongside
            ):
                yield agreement, line

    def _obstacle(self, client: Company, product: str) -> Hold | None:
        """Why a new line of a product is not made, or None."""
        billing = list(self.billing(client, product))
        if billing:
            remedy = f"{_sibling_remedy(client, billing)} No id releases it."
            return Hold("ambiguous", self.describe(billing), remedy, releasable=False)
        unread = self.failures.get((client.psa, client.company))
        if unread is None:
            return None
        reason = "nobody knows whether another agreement of the company bills it already"
        return Hold(
            "psa",
            f"{reason}: {unread.reason}",
            unread.remedy or "The next run asks again.",
            releasable=False,
            exit_code=unread.exit_code,
        )

    def describe(self, billing: _Billing) -> str:
        """Which lines of which agreements bill a product already, or will."""
        return "; ".join(self._describe(agreement, line) for agreement, line in billing)

    def _describe(self, agreement: Agreement, line: Line) -> str:
        name = f" ({agreement.name})" if agreement.name else ""
        where = f"line {line.id} of agreement {agreement.ref.agreement}{name} of the same company"
        if line.problem:
            return f"{where} has product {line.product} too, and cannot be read: {line.problem}"
        later = line.starts is not None and line.starts > self.today
        when = f"from {line.starts}" if later else "already"
        return f"{where} bills {line.quantity:f} of product {line.product} {when}"


def check_siblings(name: str, psa: Psa, mapping: BillingMapping, today: date) -> Iterator[Finding]:
    """Billed clients whose products another agreement of their company bills too.

    For `kisi check --online`: without the journal, so lines that kisi left behind are among them.
    """
    clients = [
        (client, dict.fromkeys(product for row in rows for product in row.products.values()))
        for client in mapping.companies
        if client.psa == name and client.billing
        for rows in [rows_of(mapping, client).values()]
    ]
    siblings = Siblings.read(clients, {name: psa}, mapping, (), today)
    for unread in dict.fromkeys(siblings.failures.values()):
        yield Finding(Level.PROBLEM, unread.reason, unread.remedy)
    for client, products in clients:
        billing = [one for product in products for one in siblings.billing(client, product)]
        if billing:
            found = f"{client.name}: {siblings.describe(billing)}."
            yield Finding(Level.WARNING, found, _sibling_remedy(client, billing))


def _sibling_remedy(client: Company, billing: _Billing) -> str:
    lines = ", ".join(f"line {line.id} of agreement {one.ref.agreement}" for one, line in billing)
    others = dict.fromkeys((*client.alongside, *(one.ref.agreement for one, _ in billing)))
    written = ", ".join(one if one.isdigit() else f'"{one}"' for one in others)
    return (
        f"Cancel one of the two in the PSA ({lines}), or map the client to that agreement. If both "
        f"bill it on purpose, write alongside = [{written}] in its [[company]] row of mapping.toml."
    )
