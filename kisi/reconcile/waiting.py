"""Gathers what decides who waits for whom: earlier readings, and lines that nobody plans today."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product

from kisi.counting import own_id
from kisi.journal import PackedUsage
from kisi.json_text import fields
from kisi.model import (
    Arrangement,
    BillingMapping,
    Company,
    CompanyPlan,
    LeftLine,
    Line,
    LineSlot,
    OwnedLine,
    Pool,
    Status,
    TenantRef,
    TenantUsage,
    Terms,
)
from kisi.planning import (
    Known,
    Moves,
    Owners,
    arrange,
    billed_applications,
    is_live,
    lasts,
    managed_by_hand,
    moved,
    pools_of,
    products_by_hand,
    ref_of,
)
from kisi.reconcile.collect import Collected
from kisi.reconcile.psas import PsaReader, PsaState, known_lines

LOG = logging.getLogger(__name__)
IN_ANOTHER_PART = -1
"""Instead of the run by which a line is proven: no reading of this journal tells what it bills."""

Readings = Callable[[int | None, Collection[TenantRef] | None], Mapping[TenantRef, PackedUsage]]
"""Gives each tenant's newest reading up to a run, or of all (None); of all tenants, or of some.

A tenant that was never read, or whose reading is too old to be kept, is missing.
"""


@dataclass(frozen=True, slots=True)
class Since:
    """Compares the readings of today with those that lines were last proven with.

    `numbers` and `evidence` are today's.
    """

    past: Readings
    numbers: Mapping[TenantRef, TenantUsage]
    evidence: Mapping[TenantRef, PackedUsage]
    sure: set[tuple[Pool, Pool]] = field(default_factory=set)
    """Of the moves that were found, those that were seen by a device's id."""

    def billed(
        self, facts: Iterable[OwnedLine], applications: Collection[str]
    ) -> Mapping[OwnedLine, Mapping[Pool, int]]:
        """How much of which pools each line billed when it was last settled, and what else it may.

        Where the reading of a tenant is not kept any more, nobody can tell where its devices went:
        the line has a stake in every pool of it.

        `applications` are all that somebody bills.
        """
        by_run: dict[int, list[OwnedLine]] = defaultdict(list)
        for fact in facts:
            by_run[fact.proofs[0].run].append(fact)
        billed = {}
        for run_id, mine in by_run.items():
            tenants = {tenant for fact in mine for tenant in fact.proofs[0].tenants}
            then = {
                tenant: usage
                for tenant, reading in self.past(run_id, tenants).items()
                if (usage := self._then(tenant, reading)) is not None
            }
            for fact in mine:
                oldest, *later = fact.proofs
                unread = [tenant for tenant in oldest.tenants if tenant not in then]
                billed[fact] = {
                    **{Pool(tenant, x.application): 0 for x in later for tenant in x.tenants},
                    **{Pool(*pool): 1 for pool in product(unread, applications)},
                    **pools_of(oldest.tenants, oldest.application, oldest.categories, then),
                }
        return billed

    def moves(
        self,
        plans: Iterable[CompanyPlan],
        facts: Collection[OwnedLine],
        unknown: Collection[OwnedLine] = (),
    ) -> Moves:
        """The devices that changed their pool since the lines were proven.

        Where no plan changes anything and of no line is `unknown` what becomes of it, nobody asks
        where devices came from: each line may stand for today's.
        """
        if not unknown and not any(line.changes for plan in plans for line in plan.lines):
            return {}
        tenants: dict[int, set[TenantRef]] = defaultdict(set)
        known = (proof for fact in facts for proof in fact.proofs)
        for proof in (x for x in known if x.run != IN_ANOTHER_PART):
            tenants[proof.run].update(proof.tenants)
        times: list[tuple[int, int | None]] = [(run_id, None) for run_id in tenants]
        # What goes back is to bill devices of then: another line may bill one that is gone today.
        undone = (x for x in facts if x.reversal and x.reversal.quantity != x.confirmed)
        back = {fact.proofs[0].run for fact in undone}
        times += {(min(x), max(x)) for x in product(back, tenants) if x[0] != x[1]}
        newest: dict[Pool, int] = {}
        for proof in (fact.proofs[0] for fact in facts):
            for pool in (Pool(tenant, proof.application) for tenant in proof.tenants):
                newest[pool] = max(proof.run, newest.get(pool, proof.run))
        found: dict[tuple[Pool, Pool], int] = {}
        for first, last in times:
            mine = tenants[first]
            moves = self._moved(first, last, mine)
            if last is None:
                moves = self._since_proven(moves, first, newest)
            for pair, devices in _near(mine, moves).items():
                found[pair] = max(devices, found.get(pair, 0))
        return found

    def _moved(self, first: int, last: int | None, unread: Collection[TenantRef]) -> Moves:
        """From one run to another or (None) to today.

        `unread`: tenants that count also where today has no reading of them.
        """
        then = self.past(first, None)
        now = self.evidence if last is None else self.past(last, None)
        changed = {
            tenant
            for tenant, reading in now.items()
            if tenant not in then or then[tenant].fingerprint != reading.fingerprint
        }
        unread = {tenant for tenant in unread if tenant in then and tenant not in now}
        newest = self.past(None, unread) if unread else {}
        left = {x for x in unread if newest[x].fingerprint != then[x].fingerprint}
        opened, quiet = (changed & then.keys()) | left, unread - left
        if len(quiet) > len(changed):  # the rest of a fleet: only who had what came is opened
            before = _counted(_each(then[tenant] for tenant in opened))
            after = _counted(_each(now[tenant] for tenant in changed))
            came = {device for _, device in after - before}
            quiet = {tenant for tenant in quiet if came and then[tenant].may_have(came)}
        return moved(
            _each(then[tenant] for tenant in sorted(opened | quiet)),
            _each(now[tenant] for tenant in sorted(changed)),
            _each(newest[tenant] for tenant in sorted(left)),
            self.sure,
        )

    def _since_proven(self, moves: Moves, first: int, newest: Mapping[Pool, int]) -> Moves:
        """Without what a line bills since it was proven with it, where nobody knows what it is.

        Two clients may have a PC-01: once a person has let one rise beside the other, whose tenant
        is not read, it rises further without being asked again.
        """
        doubtful: dict[int, set[tuple[Pool, Pool]]] = defaultdict(set)
        for pair in moves.keys() - self.sure:
            run, (came_from, came_to) = newest.get(pair[1], first), (pool.tenant for pool in pair)
            if run > first and came_from not in self.evidence and came_to in self.evidence:
                doubtful[run].add(pair)
        gone: set[tuple[Pool, Pool]] = set()
        for run, pairs in doubtful.items():
            old, new = ({pair[side].tenant for pair in pairs} for side in (0, 1))
            again = moved(
                _each({**self.past(first, old), **self.past(run, new)}.values()),
                _each(self.evidence[tenant] for tenant in new),
                _each(self.past(None, old).values()),
            )
            gone |= pairs - again.keys()
        return {pair: devices for pair, devices in moves.items() if pair not in gone}

    def _then(self, tenant: TenantRef, reading: PackedUsage) -> TenantUsage | None:
        today = self.evidence.get(tenant)
        if today is not None and today.fingerprint == reading.fingerprint:
            return self.numbers[tenant]
        return next(iter(_each([reading], PackedUsage.numbers)), None)


def _counted(usages: Iterable[TenantUsage]) -> set[tuple[Pool, str]]:
    """The devices of each pool, by their own ids."""
    return {
        (Pool(usage.tenant.ref, one.application), own_id(usage.tenant.ref, item.device))
        for usage in usages
        for one in usage.applications
        for item in one.evidence
        if item.counted
    }


def _each(
    readings: Iterable[PackedUsage],
    read: Callable[[PackedUsage], TenantUsage] = PackedUsage.whole,
) -> Iterable[TenantUsage]:
    """The readings, by default with evidence; without one that the journal cannot give any more."""
    for reading in readings:
        try:
            yield read(reading)
        except Exception:  # noqa: BLE001 - whatever it is, that tenant counts as unread
            LOG.warning("An earlier reading of %s is damaged and not used", reading.tenant)


def _near(tenants: Iterable[TenantRef], moves: Moves) -> Moves:
    """The moves from or to these tenants, and on from there, over however many steps.

    What moved in other tenants since an old proof is none of its business: their own lines may have
    been proven since.
    """
    near = _reached(tenants, moves)
    return {pair: devices for pair, devices in moves.items() if _touches(pair, near)}


def _reached(tenants: Iterable[TenantRef], moves: Moves) -> set[TenantRef]:
    near, more = set[TenantRef](), set(tenants)
    while more - near:
        near |= more
        more = {pool.tenant for pair in moves if _touches(pair, near) for pool in pair}
    return near


def _tenants(facts: Iterable[OwnedLine]) -> set[TenantRef]:
    return {tenant for fact in facts for proof in fact.proofs for tenant in proof.tenants}


def _touches(pair: tuple[Pool, Pool], tenants: Collection[TenantRef]) -> bool:
    return any(pool.tenant in tenants for pool in pair)


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Finds the owned lines that may still bill and of which this run plans nothing.

    `mapping` and `facts` are whole, whatever part of them this run concerns.
    """

    mapping: BillingMapping
    facts: Collection[OwnedLine]
    owners: Owners
    plans: Collection[CompanyPlan]
    state: PsaState
    reader: PsaReader
    clients: Mapping[tuple[str, str], Company]
    """Of all parts, by the PSA and agreement on which they are billed."""

    def lines(self) -> tuple[OwnedLine, ...]:
        """Lines of clients that failed, are switched off, not in this run or not mapped any more.

        A line that its PSA shows as 0, cancelled or gone bills nothing, nor does one on an
        agreement that has ended or is gone. A line that is managed by hand is not waited for.
        """
        planned = {
            fact
            for plan in self.plans
            if plan.status is Status.READY
            for fact in self.owners.own.get(ref_of(plan.company), ())
        }
        return tuple(
            fact
            for fact in self.facts
            if fact not in planned and not self._is_by_hand(fact) and self._may_bill(fact)
        )

    def planned(self) -> Sequence[OwnedLine]:
        """The owned lines that this run plans, also those that do not change.

        A line may bill other devices than when it was proven and the same number of them.
        """
        lines = {(*line.slot, line.line_id) for plan in self.plans for line in plan.lines}
        return [x for x in self.facts if (x.psa, x.agreement, x.product, x.line_id) in lines]

    def tenants(self) -> Iterable[TenantRef]:
        """Those of the clients of this run that can be billed."""
        ready = (plan.company for plan in self.plans if plan.status is Status.READY)
        return (tenant for company in ready for tenant in company.tenants)

    def _is_by_hand(self, fact: OwnedLine) -> bool:
        company = self._company(fact)
        return company is not None and (
            fact.application in managed_by_hand(self.mapping, company)
            or fact.product in products_by_hand(self.mapping, company)
        )

    def _company(self, fact: OwnedLine) -> Company | None:
        """The client on whose agreement a line is, billed or not; None if no row names it."""
        return self.clients.get((fact.psa, fact.agreement))

    def _may_bill(self, fact: OwnedLine) -> bool:
        agreement = self.state.agreements.get(fact.ref)
        if agreement is not None and agreement.gone:
            return False
        if fact.ref not in self.state.lines or not fact.line_id:
            return fact.confirmed > 0 or fact.unsettled
        line = self._shown(fact)
        if line is None or line.product != fact.product or not is_live(line, self.reader.today):
            return False
        return bool(line.problem) or line.quantity > 0

    def _shown(self, fact: OwnedLine) -> Line | None:
        lines = self.state.lines.get(fact.ref, ())
        return next((line for line in lines if line.id == fact.line_id), None)

    def read(self, awaited: Collection[OwnedLine]) -> bool:
        """Reads where these lines are, once each; says whether anything new is known."""
        state = self.state
        refs = {fact.ref for fact in awaited if fact.psa in self.reader.psas}
        refs -= {*state.lines, *state.failures}
        self.reader.read(state, (), refs, known_lines(awaited))
        return not refs.isdisjoint({*state.agreements, *state.lines, *state.failures})

    def held(self) -> Iterable[tuple[OwnedLine, Decimal, Terms | None]]:
        """What each owned line that was read holds, and its price; one that is gone holds 0."""
        for fact in self.facts:
            agreement, line = self.state.agreements.get(fact.ref), self._shown(fact)
            if agreement is not None and fact.ref in self.state.lines:
                if line is None or line.product != fact.product or not self._may_bill(fact):
                    yield fact, Decimal(0), None
                elif not line.problem:
                    yield fact, line.quantity, line.terms(agreement)

    def left(self, facts: Collection[OwnedLine], *, read: bool) -> tuple[LeftLine, ...]:
        """Of these lines of nobody who is billed, those that may still bill; `read` anew first."""
        if read:
            self.read([fact for fact in facts if fact.confirmed > 0])
        return tuple(self._left(fact) for fact in facts if self._may_bill(fact))

    def _left(self, fact: OwnedLine) -> LeftLine:
        line, known = self._shown(fact), "name line_id psa company agreement application"
        quantity = fact.confirmed if line is None or line.problem else line.quantity
        agreement = self.state.agreements.get(fact.ref)
        terms = line.terms(agreement) if line and agreement else Terms()
        # On its agreement, or on another one of the same company that has its tenants now. A row
        # that begins later, or another client that was given the tenants, does not answer for it.
        here = self._company(fact)
        rows = (
            [here]
            if here
            else [
                row
                for row in self.mapping.companies
                if (row.psa, row.company) == (fact.psa, fact.company)
                and not set(fact.tenants).isdisjoint(row.tenants)
            ]
        )
        return LeftLine(
            **fields(fact, f"{known} categories product"),
            quantity=quantity,
            terms=terms,
            is_off=any(row.begins is None for row in rows),
        )

    def reason(self, facts: Iterable[OwnedLine]) -> str:
        """Why a line waits for these, in words."""
        return "; ".join(self._reason(fact) for fact in facts)

    def _reason(self, fact: OwnedLine) -> str:
        line = self._shown(fact)
        number = fact.confirmed if line is None else line.quantity
        which, still, when = f"line {fact.line_id}", "still bills", ""
        if not fact.line_id:
            which, still = f"the new line of product {fact.product}", "may bill"
        elif line is None:
            still, when = "billed", " when kisi last saw it"
        return (
            f"{which} of {fact.name} (agreement {fact.agreement}) {still} "
            f"{number.normalize():f} x {fact.application}{when}, in part for the same devices, and "
            f"{self._why(fact)}"
        )

    def _why(self, fact: OwnedLine) -> str:
        if fact.proven == IN_ANOTHER_PART:
            return "another part of the fleet wrote it"
        if fact.psa not in self.reader.psas:
            return f"psa.{fact.psa} is not in kisi.toml any more"
        if not fact.line_id and fact.ref in self.state.lines:
            return (
                "its PSA does not show it yet (where a look there finds no such line, "
                "`kisi check --repair` ends the wait)"
            )
        company = self._company(fact)
        if company is None:
            return "no row of mapping.toml bills it"
        if not company.billing:
            return "billing is off for that client"
        here = any(plan.company == company for plan in self.plans)
        return f"that client {'could not be worked out' if here else 'is not'} in this run"


def who_waits(
    unplanned: Unplanned, collected: Collected, past: Readings
) -> tuple[Arrangement, Mapping[LineSlot, str]]:
    """Arranges the plans, and says why lines wait for those that this run does not plan.

    Those are read too, so that a line which a person has ended is no longer waited for.
    """
    since = Since(past, collected.usages, collected.evidence)
    facts = unplanned.planned()
    while True:
        unknown = unplanned.lines()
        moves = since.moves(unplanned.plans, (*facts, *unknown), unknown)
        # What no device connects with a line of this run has no part in it.
        near = _reached((*unplanned.tenants(), *_tenants(facts)), moves)
        unknown = tuple(x for x in unknown if not near.isdisjoint(_tenants([x])))
        billed = since.billed((*facts, *unknown), billed_applications(unplanned.mapping))
        known = Known(unplanned.mapping, collected.usages, billed, unknown, moves, since.sure)
        arrangement = arrange(unplanned.plans, known)
        awaited = {fact for found in arrangement.elsewhere.values() for fact in found}
        if not unplanned.read(awaited):
            break
    reasons = {slot: unplanned.reason(x) for slot, x in arrangement.elsewhere.items()}
    for slot, lines in arrangement.lasting.items():
        said = [reasons[slot]] if slot in reasons else []
        said += (lasts(line) for line in lines if line.agreement != slot.agreement)
        reasons |= {slot: "; ".join(said)} if said else {}
    return arrangement, reasons
