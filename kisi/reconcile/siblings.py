"""Products that another agreement of the same company bills already: no new line beside them.

A company may have several agreements: one that follows another, a parent and its children, one a
department. kisi is told of one of them. Where another one already bills a product that kisi is
about to add, the devices would be billed on both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date

from kisi.errors import PsaError
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
from kisi.planning import is_live, rows_of
from kisi.psa import Psa
from kisi.reconcile.collect import failure


@dataclass(slots=True)
class Siblings:
    """The agreements of PSA companies that no row of the mapping names."""

    agreements: dict[tuple[str, str], tuple[Agreement, ...]] = field(default_factory=dict)
    """By PSA and company id."""
    lines: dict[AgreementRef, tuple[Line, ...]] = field(default_factory=dict)
    failures: dict[tuple[str, str], Failure] = field(default_factory=dict)
    """Companies of which it is not known what they are billed elsewhere, and why."""

    def billing(
        self, company: Company, product: str, today: date
    ) -> Iterator[tuple[Agreement, Line]]:
        """The lines that bill a product of a company elsewhere, or will, and not on purpose.

        A line that cannot be read is among them: nobody knows that it bills nothing.
        """
        for agreement in self.agreements.get((company.psa, company.company), ()):
            if agreement.ref.agreement in company.alongside:
                continue
            for line in self.lines.get(agreement.ref, ()):
                bills = line.problem or (line.billable and line.quantity > 0)
                if line.product == product and bills and is_live(line, today):
                    yield agreement, line


def with_siblings(
    companies: Iterable[CompanyPlan],
    psas: Mapping[str, Psa],
    mapping: BillingMapping,
    owned: Collection[OwnedLine],
    today: date,
) -> tuple[CompanyPlan, ...]:
    """Holds each create of a product that another agreement of its company bills; no id lifts it.

    Args:
        companies: The clients' plans, unguarded.
        psas: The configured PSAs, by name.
        mapping: All of mapping.toml: what a row names is another client's, or kisi's own.
        owned: The lines that kisi owns: they wait for each other by other rules.
        today: The day in the billing time zone.
    """
    plans = tuple(companies)
    creating = [plan.company for plan in plans if any(map(_is_new, plan.lines))]
    siblings = read_siblings(creating, psas, mapping, owned, today)
    return tuple(_judged(plan, siblings, today) for plan in plans)


def read_siblings(
    clients: Iterable[Company],
    psas: Mapping[str, Psa],
    mapping: BillingMapping,
    owned: Collection[OwnedLine],
    today: date,
) -> Siblings:
    """Reads the clients' other agreements: one look at all, then the lines of each.

    An agreement that all clients of its company call `alongside` is not read. Arguments as of
    `with_siblings`.
    """
    mapped = {(one.psa, one.agreement) for one in mapping.companies}
    kept = {(fact.psa, fact.agreement, fact.line_id) for fact in owned}
    wanted: dict[str, dict[str, set[str]]] = {}
    for client in clients:
        of_psa, apart = wanted.setdefault(client.psa, {}), set(client.alongside)
        of_psa[client.company] = of_psa.get(client.company, apart) & apart
    found = Siblings()
    for name, companies in sorted(wanted.items()):
        try:
            listed = psas[name].agreements_of(list(companies), today)
        except PsaError as error:
            found.failures |= {(name, company): failure("psa", error) for company in companies}
            continue
        others = {
            (name, company): tuple(
                one
                for one in listed.get(company, ())
                if (name, one.ref.agreement) not in mapped and one.ref.agreement not in apart
            )
            for company, apart in companies.items()
        }
        found.agreements |= others
        _read_lines(psas[name], others, kept, found)
    return found


def _read_lines(
    psa: Psa,
    others: Mapping[tuple[str, str], tuple[Agreement, ...]],
    kept: Collection[tuple[str, str, str]],
    found: Siblings,
) -> None:
    places = [(place, one.ref) for place, agreements in others.items() for one in agreements]
    with ThreadPoolExecutor(max_workers=max(1, psa.workers)) as pool:
        jobs = [(place, ref, pool.submit(psa.lines, ref)) for place, ref in places]
        for place, ref, job in jobs:
            try:
                lines = job.result()
            except PsaError as error:
                found.failures[place] = failure("psa", error)
                continue
            found.lines[ref] = tuple(
                line for line in lines if (ref.psa, ref.agreement, line.id) not in kept
            )


def _is_new(line: PlannedLine) -> bool:
    return line.action is Action.CREATE and line.hold is None


def _judged(plan: CompanyPlan, siblings: Siblings, today: date) -> CompanyPlan:
    if not any(map(_is_new, plan.lines)):
        return plan
    client = plan.company
    lines = tuple(
        replace(line, hold=_obstacle(client, line.product, siblings, today))
        if _is_new(line)
        else line
        for line in plan.lines
    )
    unread = siblings.failures.get((client.psa, client.company))
    notes = (*plan.notes, *([_unread_note(unread)] if unread else []))
    return replace(plan, lines=lines, notes=notes)


def _obstacle(client: Company, product: str, siblings: Siblings, today: date) -> Hold | None:
    """Why a new line of a product is not made, or None."""
    billing = list(siblings.billing(client, product, today))
    if billing:
        return Hold(
            "ambiguous",
            "; ".join(_already_billed(*one, today) for one in billing),
            f"{_remedy(client, billing)} No id releases it.",
            releasable=False,
        )
    unread = siblings.failures.get((client.psa, client.company))
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


def _already_billed(agreement: Agreement, line: Line, today: date) -> str:
    """Which line of which agreement bills a product already, or will."""
    name = f" ({agreement.name})" if agreement.name else ""
    where = f"line {line.id} of agreement {agreement.ref.agreement}{name} of the same company"
    if line.problem:
        return f"{where} has product {line.product} too, and cannot be read: {line.problem}"
    later = line.starts is not None and line.starts > today
    when = f"from {line.starts}" if later else "already"
    return f"{where} bills {line.quantity:f} of product {line.product} {when}"


def _remedy(client: Company, billing: Collection[tuple[Agreement, Line]]) -> str:
    lines = ", ".join(f"line {line.id} of agreement {one.ref.agreement}" for one, line in billing)
    others = dict.fromkeys((*client.alongside, *(one.ref.agreement for one, _ in billing)))
    written = ", ".join(one if one.isdigit() else f'"{one}"' for one in others)
    return (
        f"Cancel one of the two in the PSA ({lines}), or map the client to that agreement. If both "
        f"bill it on purpose, write alongside = [{written}] in its [[company]] row of mapping.toml."
    )


def check_siblings(name: str, psa: Psa, mapping: BillingMapping, today: date) -> Iterator[Finding]:
    """Billed clients whose products another agreement of their company bills too.

    For `kisi check --online`: without the journal, so lines that kisi left behind are among them.
    """
    clients = [one for one in mapping.companies if one.psa == name and one.billing]
    siblings = read_siblings(clients, {name: psa}, mapping, (), today)
    for unread in dict.fromkeys(siblings.failures.values()):
        yield Finding(Level.PROBLEM, unread.reason, unread.remedy)
    for client in clients:
        rows = rows_of(mapping, client).values()
        products = dict.fromkeys(product for row in rows for product in row.products.values())
        billing = [one for product in products for one in siblings.billing(client, product, today)]
        if billing:
            found = "; ".join(_already_billed(*one, today) for one in billing)
            yield Finding(Level.WARNING, f"{client.name}: {found}.", _remedy(client, billing))


def _unread_note(unread: Failure) -> str:
    return (
        "Whether other agreements of this company bill the new lines' products already could not "
        f"be read, so no new line is made: {unread.reason}"
    )
