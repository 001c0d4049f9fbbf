"""The plan of `preview` and `sync` as a person reads it, client by client.

Clients with nothing to say are left out, a quiet day is an empty report. What needs a person comes
last, next to the last line of the run: changes, then holds, then failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo

from kisi.model import CompanyPlan, Failure, Hold, LineFact, Outcome, Status, Tenant, UnmappedUse
from kisi.reconcile.verdict import UNWRITTEN
from kisi.render.figures import moment, plural, quantity
from kisi.render.plan_client import client_section, failure_entry, line_figures
from kisi.render.plan_totals import totals_section
from kisi.render.plan_view import (
    EarlierWrite,
    Mode,
    PlanView,
    accept_command,
    is_quiet,
    is_quiet_client,
)
from kisi.render.report import Entry, Item, Listing, Remark, Report, Section, Tone
from kisi.render.words import billed_as, unmapped_as

_TITLES = {Mode.PREVIEW: "kisi preview", Mode.SYNC: "kisi sync"}
_SUBTITLES = {Mode.PREVIEW: "nothing was written", Mode.SYNC: ""}


def plan_report(view: PlanView, *, verbose: bool = False) -> Report:
    """What an operator reads of a run.

    Args:
        view: The run.
        verbose: Also show the clients and lines that are as they should be.
    """
    sections = () if is_quiet(view) and not verbose else tuple(_sections(view, verbose=verbose))
    made = f"kisi {view.version}, {moment(view.generated_at, view.zone)}"
    run = f"run {view.run}" if view.run is not None else ""
    facts = (made, run, _SUBTITLES[view.mode], f"plan {view.plan.plan_id}")
    return Report(
        title=_TITLES[view.mode],
        sections=sections,
        facts=tuple(fact for fact in facts if fact),
        verdict=view.last_line,
    )


def _sections(view: PlanView, *, verbose: bool) -> Iterable[Section]:
    plan = view.plan
    shown = [c for c in plan.companies if verbose or not is_quiet_client(c)]
    alike = _alike(shown)
    common = _common_holds(shown)
    for company in sorted(shown, key=_rank):
        if company.failure not in alike or company.unmapped:
            yield client_section(company, common, verbose=verbose)
    for hold in common:
        yield Section(f"Held: {hold.guard}", (), (Remark(hold.reason), Remark(hold.remedy)))
    for failure, names in alike.items():
        yield _failed_alike(failure, names)
    for failure in plan.failures:
        yield Section("Not read", (), (failure_entry(failure),), Tone.BAD)
    if view.earlier:
        items = tuple(earlier_entry(write, view.zone) for write in view.earlier)
        yield Section("Writes of earlier runs whose outcome was not known", (), items)
    yield from unmapped_section(plan.unmapped_tenants, plan.unmapped_uses)
    if view.left:
        yield Section("Lines of kisi that belong to no billed client", (), (_left(view.left),))
    if plan.notes:
        yield Section("Notes", (), tuple(Remark(note) for note in plan.notes))
    if plan.companies:
        yield totals_section(view)


def _rank(company: CompanyPlan) -> int:
    if company.status is Status.FAILED or any(x.outcome in UNWRITTEN for x in company.lines):
        return 2
    return 1 if company.status is Status.HELD or company.unmapped else 0


def _alike(companies: Sequence[CompanyPlan]) -> Mapping[Failure, list[str]]:
    """Failures that several clients share to the word: a source that is down, told once."""
    names: dict[Failure, list[str]] = {}
    for company in companies:
        if company.failure is not None and not company.unmapped:
            names.setdefault(company.failure, []).append(company.company.name)
    return {failure: clients for failure, clients in names.items() if len(clients) > 1}


def _common_holds(companies: Sequence[CompanyPlan]) -> tuple[Hold, ...]:
    """Holds that no id releases and that several clients share: a PSA that is set to report."""
    clients = Counter(
        hold
        for company in companies
        for hold in {line.hold for line in company.lines if line.hold is not None}
        if accept_command(company) not in hold.remedy
    )
    return tuple(hold for hold, number in clients.items() if number > 1)


def _failed_alike(failure: Failure, names: Sequence[str]) -> Section:
    items = (failure_entry(failure), Remark(", ".join(names)))
    return Section(f"{len(names)} clients failed", (), items, Tone.BAD)


def earlier_entry(write: EarlierWrite, zone: tzinfo) -> Entry:
    """A write whose outcome was not known, and what the PSA shows of it now."""
    line = write.line
    sent = f"sent {moment(write.at, zone)} in run {write.run}"
    known = write.outcome is not None and write.outcome not in UNWRITTEN
    return Entry(
        mark="~" if known else "?",
        tone=Tone.CHANGE if known else Tone.HELD,
        label=f"{write.client}: {billed_as(line.application, line.categories)}",
        figures=line_figures(line),
        state=write.outcome or Outcome.UNKNOWN,
        remarks=tuple(Remark(text, Tone.DIM) for text in (sent, write.detail) if text),
    )


def unmapped_section(tenants: Sequence[Tenant], uses: Sequence[UnmappedUse]) -> Iterable[Section]:
    """Tenants that no client has, with what each of them uses where that was read."""
    if not tenants and not uses:
        return
    of_tenant: dict[str, list[UnmappedUse]] = {}
    for use in uses:
        of_tenant.setdefault(str(use.tenant or use.company), []).append(use)
    items: list[Item] = []
    silent: list[tuple[str, str]] = []
    for tenant in tenants:
        mine = of_tenant.pop(str(tenant.ref), [])
        hint = f": {tenant.listed_as}" if tenant.listed_as else ""
        name = f"{tenant.name} ({tenant.ref}){hint}"
        if mine:
            items.append(Listing(name, _amounts(mine)))
        else:
            silent.append(("", name + ("" if tenant.enabled else ", disabled")))
    items += [Listing(name, _amounts(mine)) for name, mine in of_tenant.items()]
    if silent:
        items.append(Listing("", tuple(silent)))
    items.append(Remark("To bill them, or to say that they are not billed: `kisi map`"))
    yield Section(plural(len(tenants), "unmapped tenant"), (), tuple(items), Tone.HELD)


def _amounts(uses: Iterable[UnmappedUse]) -> tuple[tuple[str, str], ...]:
    return tuple((quantity(use.quantity), unmapped_as(use)) for use in uses)


def _left(facts: Iterable[LineFact]) -> Listing:
    rows = [(quantity(fact.confirmed), _owned(fact)) for fact in facts]
    return Listing("They stay as they are; nobody keeps their quantities up to date.", tuple(rows))


def _owned(fact: LineFact) -> str:
    name = billed_as(fact.application, fact.categories)
    return f"{fact.name}: {name} ({fact.psa}, agreement {fact.agreement}, line {fact.line_id})"
