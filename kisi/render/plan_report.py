"""The plan of `preview` and `sync` as a person reads it; a quiet day is an empty report.

What needs a person comes last, next to the last line: changes, then holds, then failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date, tzinfo
from decimal import Decimal
from itertools import zip_longest

from kisi.journal import Operation
from kisi.model import (
    TODAY,
    WITH,
    Action,
    CompanyPlan,
    Failure,
    Hold,
    LeftLine,
    Outcome,
    Outlook,
    PlannedLine,
    Status,
    Tenant,
    Terms,
    UnmappedUse,
)
from kisi.reconcile.summary import UNWRITTEN, cause_of, is_current, outlook_sentence, summarise
from kisi.render.formatting import (
    ACCEPT,
    billed_as,
    in_all,
    local_day,
    moment,
    money,
    not_billed,
    over_time,
    per,
    plural,
    quantity,
    signed,
    told_period,
    unmapped_as,
)
from kisi.render.report import (
    Chart,
    Entry,
    Item,
    Report,
    Section,
    Span,
    Tone,
    listing,
    remarks,
    table,
)
from kisi.run.result import (
    Mode,
    RunResult,
    accept_command,
    amount,
    invoiced_alike,
    is_quiet_client,
    money_delta,
    released_by_id,
    totals,
)

_INDEX = ("state", "now", "counted", "amount")
_IN_FULL = "This agreement does not prorate: what changes counts in full on its next invoice."
_LEFT = (
    (
        False,
        "Orphaned lines: no row of mapping.toml bills them any more",
        "To bill them, map them again (`kisi map`); else set them to 0 in the PSA.",
    ),
    (
        True,
        "Lines of clients with billing off",
        "`kisi map billing CLIENT on` keeps them up to date.",
    ),
)
"""Whether billing is off, how such lines are called, and what can be done about them."""
_PARTS = {
    "billed": Span("billed"),
    "held": Span("held", Tone.HELD),
    "unwritten": Span("not written", Tone.BAD),
}
_UNMAPPED = "To bill them, or to say that they are not billed: `kisi map`"
_LEFT_BEHIND = (
    "Nobody is billed for them. Remove Kaspersky there, map them to who pays now (`kisi map`), or "
    "take the leaving back (`kisi map leave CLIENT --undo`). If nobody is to pay: `kisi map remove "
    "CLIENT` once its lines are 0, then `kisi map ignore TENANT`."
)


def plan_report(result: RunResult, *, verbose: bool = False, page: bool = False) -> Report:
    """What an operator reads of a run; `verbose`: also of what is as it should be.

    A `page` has every client, those that need somebody first, and what each line was over time.
    """
    made = f"kisi {result.version}, {moment(result.generated_at, result.zone)}"
    run = f"run {result.run}" if result.run is not None else ""
    written = "nothing was written" if result.mode is Mode.PREVIEW else ""
    facts = (made, run, written, f"plan {result.plan.plan_id}")
    sections = _sections(result, verbose=verbose) if verbose or not result.is_quiet else ()
    known = (tuple(filter(None, facts)), result.last_line)
    if page:
        totals = ("", *_sums(result.plan.lines, result.mode))
        return Report(f"kisi {result.mode}", tuple(_page(result)), *known, _INDEX, totals)
    return Report(f"kisi {result.mode}", tuple(sections), *known)


def _page(result: RunResult) -> Iterable[Section]:
    history = {(x.psa, x.agreement, x.line_id): x.quantities for x in result.history}

    def chart_of(line: PlannedLine) -> Chart | None:
        known = history.get((line.psa, line.agreement, line.line_id or ""), ())
        return over_time(known, result.zone)

    for company in sorted(result.plan.companies, key=lambda x: (is_quiet_client(x), -_rank(x))):
        section = client_section(company, verbose=True, chart_of=chart_of)
        in_index = (_state(company), *map(Span, _sums(company.lines, result.mode)))
        yield replace(section, row=in_index)
    yield from _beside_clients(result)


def _state(company: CompanyPlan) -> Span:
    if company.failure:
        return Span(f"failed: {company.failure.guard}", Tone.BAD)
    if company.hold:
        return Span(f"held: {cause_of(company.hold.guard, company.hold.reason)}", Tone.HELD)
    if company.status is Status.OFF:
        return Span(not_billed(company.company.begins), Tone.DIM)
    if company.unmapped:
        return Span("unmapped usage", Tone.HELD)
    return Span("up to date", Tone.GOOD) if is_current(company) else Span("changes", Tone.CHANGE)


def _sums(lines: Sequence[PlannedLine], mode: Mode) -> tuple[str, str, str]:
    """Units now and as counted, and money, of lines."""
    if not lines:
        return "", "", ""
    before = sum((line.before or Decimal(0) for line in lines), Decimal(0))
    after = sum(line.after for line in lines)
    money = in_all((line.terms, amount(line, mode)) for line in lines)
    return quantity(before), quantity(after), money


def _sections(result: RunResult, *, verbose: bool) -> Iterable[Section]:
    shown = [c for c in result.plan.companies if verbose or not is_quiet_client(c)]
    # several clients that failed and for which the same is to be done: a source that is down
    alike: dict[tuple[str, str], list[tuple[str, Failure]]] = {}
    for company in shown:
        if (failure := company.failure) is not None and not company.unmapped:
            cause = (failure.guard, failure.remedy)
            alike.setdefault(cause, []).append((company.company.name, failure))
    together = {cause: clients for cause, clients in alike.items() if len(clients) > 1}
    common = _common_holds(shown)
    for company in sorted(shown, key=_rank):
        failure = company.failure
        if company.unmapped or not failure or (failure.guard, failure.remedy) not in together:
            yield client_section(company, common, verbose=verbose)
    for hold in common:
        title = f"Held: {cause_of(hold.guard, hold.reason)}"
        yield Section(title, (), (Span(hold.reason), Span(hold.remedy)))
    for (_, remedy), clients in together.items():
        names: dict[Failure, list[str]] = {}
        for name, failure in clients:
            names.setdefault(failure, []).append(name)
        entries = []
        for number, failure in enumerate(names, 1):  # each reason once, below the last what to do
            todo = remedy if number == len(names) else ""
            told = remarks(", ".join(names[failure]), todo, tone=Tone.PLAIN)
            entries.append(replace(_failure(failure), remarks=told))
        yield Section(f"{len(clients)} clients failed", (), tuple(entries), Tone.BAD)
    yield from _beside_clients(result)


def _beside_clients(result: RunResult) -> Iterable[Section]:
    plan = result.plan
    for failure in plan.failures:
        yield Section("Not read", (), (_failure(failure),), Tone.BAD)
    if result.earlier:
        entries = tuple(operation_entry(write, result.zone) for write in result.earlier)
        yield Section("Writes of earlier runs whose outcome was not known", (), entries)
    yield from unmapped_section(plan.unmapped_tenants, plan.unmapped_uses)
    yield from left_sections(result.left)
    yield from outlook_section(plan.outlook, local_day(result.generated_at, result.zone))
    if plan.notes:
        yield Section("Notes", (), tuple(Span(note) for note in plan.notes))
    yield from _totals(result)


def _rank(company: CompanyPlan) -> int:
    """Where a client stands in the report: 0 changes, 1 holds, 2 failures."""
    if company.status is Status.FAILED or any(x.outcome in UNWRITTEN for x in company.lines):
        return 2
    return 1 if company.status is Status.HELD or company.unmapped else 0


def _common_holds(companies: Sequence[CompanyPlan]) -> tuple[Hold, ...]:
    """Holds that no id releases and that several clients share: a PSA that is set to report."""
    clients = Counter(
        hold
        for company in companies
        for hold in {line.hold for line in company.lines if line.hold is not None}
        if accept_command(company) not in hold.remedy
    )
    return tuple(hold for hold, number in clients.items() if number > 1)


def left_sections(lines: Collection[LeftLine]) -> Iterable[Section]:
    """Lines that stay as they are, whatever is used: nobody keeps them up to date."""
    for is_off, title, todo in _LEFT:
        if mine := [line for line in lines if line.is_off is is_off]:
            rows = []
            for line in mine:
                worth = "" if line.money is None else f", {in_all([(line.terms, line.money)])}"
                where = f"{line.psa}, agreement {line.agreement}, line {line.line_id}"
                label = f"{line.name}: {billed_as(line.application, line.categories)}"
                rows.append((quantity(line.quantity), f"{label}{worth} ({where})"))
            said = Span(f"kisi leaves them as they are. {todo}")
            facts = (units_and_money((line.terms, line.quantity) for line in mine),)
            yield Section(title, facts, (*listing("", rows), said), Tone.HELD)


def outlook_section(outlook: Sequence[Outlook], today: date) -> Iterable[Section]:
    """What is to be expected of licence keys."""
    if outlook:
        rows = [("", outlook_sentence(one, today)) for one in outlook]
        yield Section("Licence keys", (), listing("", rows), Tone.HELD)


def units_and_money(billed: Iterable[tuple[Terms, Decimal]]) -> str:
    """What lines, each with its units, bill together: `34 units, 153.00 a month`."""
    lines = list(billed)
    units = quantity(sum((number for _, number in lines), Decimal(0)))
    return f"{units} units, {in_all((terms, terms.amount(number)) for terms, number in lines)}"


def operation_entry(write: Operation, zone: tzinfo) -> Entry:
    """A write whose outcome was not known, and what the PSA shows of it now."""
    known = write.outcome is not None and write.outcome not in UNWRITTEN
    sent = f"sent {moment(write.at, zone)} in run {write.run_id}"
    mark, tone = ("~", Tone.CHANGE) if known else ("?", Tone.HELD)
    label = f"{write.name}: {billed_as(write.line.application, write.line.categories)}"
    state = write.outcome or Outcome.UNKNOWN
    return Entry(mark, tone, label, *_change(write.line), state, remarks(sent, write.detail))


def unmapped_section(tenants: Sequence[Tenant], uses: Sequence[UnmappedUse]) -> Iterable[Section]:
    """Tenants that no client has, with what each of them uses where that was read.

    Apart from them those whose client has left.
    """
    refs = {tenant.ref for tenant in tenants if tenant.client}
    for has_left in (False, True):
        mine = [tenant for tenant in tenants if bool(tenant.client) is has_left]
        title, todo = plural(len(mine), "unmapped tenant"), _UNMAPPED
        if has_left:
            title, todo = f"{plural(len(mine), 'tenant')} whose client has left", _LEFT_BEHIND
        of_tenant: dict[str, list[UnmappedUse]] = {}
        for use in uses:
            if (use.tenant in refs) is has_left:
                of_tenant.setdefault(str(use.tenant or use.company), []).append(use)
        items: list[Item] = []
        silent: list[tuple[str, str]] = []
        for tenant in mine:
            used = of_tenant.pop(str(tenant.ref), [])
            name = f"{tenant.name} ({tenant.ref}): {tenant.remark}".removesuffix(": ")
            items += listing(name, _amounts(used))
            if not used:
                silent.append(("", name + ("" if tenant.enabled else ", disabled")))
        for name, used in of_tenant.items():
            items += listing(name, _amounts(used))
        items += listing("", silent)
        if items:
            yield Section(title, (), (*items, Span(todo)), Tone.HELD)


def _amounts(uses: Iterable[UnmappedUse]) -> list[tuple[str, str]]:
    return [(quantity(use.quantity), unmapped_as(use)) for use in uses]


def client_section(
    company: CompanyPlan,
    common: Collection[Hold] = (),
    *,
    verbose: bool = False,
    chart_of: Callable[[PlannedLine], Chart | None] = lambda _line: None,
) -> Section:
    """A client: where it is billed, its lines, and more; `common` holds are told elsewhere."""
    name, agreement = company.agreement_name, company.company.agreement
    facts = (
        company.company.psa,
        f"{name} ({agreement})" if name else f"agreement {agreement}",
        not_billed(company.company.begins) if company.status is Status.OFF else "",
        f"next invoice {company.next_invoice}" if company.next_invoice else "",
        f"plan {company.plan_id}" if released_by_id(company) else "",
    )
    items: list[Item] = [_failure(company.failure)] if company.failure else []
    shown = [line for line in company.lines if verbose or line.changes or line.hold]
    for line, following in zip_longest(shown, shown[1:]):
        label = billed_as(line.application, line.categories)
        label += f" (line {line.line_id})" if line.orphaned else ""
        state = line.outcome if line.outcome in {Outcome.APPLIED, *UNWRITTEN} else ""
        said = tuple(_remarks(line, following, company, common))
        items.append(Entry(*_mark(line), label, *_change(line), state, said, chart_of(line)))
    if any(line.changes and line.prorated is False for line in company.lines):
        items.append(Span(_IN_FULL, Tone.DIM))
    if (released := released_by_id(company)) > 1:
        text = f"Plan {company.plan_id} releases all {released} held lines of this client at once."
        items.append(Span(text, Tone.DIM))
    items += _beside(company)
    tone = Tone.BAD if company.status is Status.FAILED else Tone.STRONG
    return Section(company.company.name, tuple(filter(None, facts)), tuple(items), tone)


def _failure(failure: Failure) -> Entry:
    todo = remarks(failure.remedy, tone=Tone.PLAIN)
    return Entry("✗", Tone.BAD, f"{failure.guard}: {failure.reason}", remarks=todo)


def _mark(line: PlannedLine) -> tuple[str, Tone]:
    if line.outcome in UNWRITTEN:
        return "✗" if line.outcome is Outcome.FAILED else "?", Tone.BAD
    if line.orphaned:
        return "-", Tone.ORPHANED
    if line.hold is not None:
        return "!", Tone.HELD
    if line.action is Action.CREATE:
        return "+", Tone.GOOD
    return ("~", Tone.CHANGE) if line.changes else ("=", Tone.DIM)


def _change(line: PlannedLine) -> tuple[str, str, str]:
    after, difference = quantity(line.after), money_delta(line)
    if not line.changes:
        whole = line.terms.amount(line.after)
        told = "" if whole is None else in_all([(line.terms, whole)])
        return "", after, told if line.billable else "not billable"
    before = "new" if line.before is None else quantity(line.before)
    unit = per(line.currency, line.cycle)
    worth = "" if difference is None else f", {signed(money(difference))} {unit}"
    worth = worth if line.billable else ", not billable"
    return before, after, signed(quantity(line.delta)) + worth


def _remarks(
    line: PlannedLine, following: PlannedLine | None, company: CompanyPlan, common: Collection[Hold]
) -> Iterable[Span]:
    """What is to be said of a line; what the following line says too is left to it."""
    if line.period is not None and line.policy != TODAY:
        yield Span(told_period(line.period), Tone.DIM)
    if line.detail and (following is None or following.detail != line.detail):
        yield Span(line.detail, Tone.BAD if line.outcome in UNWRITTEN else Tone.PLAIN)
    if line.invoice and line.invoice != company.next_invoice:  # a line on another agreement
        yield Span(f"This change is on the invoice of {line.invoice}.", Tone.DIM)
    yield from _consequences(line)
    hold = line.hold
    if hold is None:
        return
    if accept_command(company) not in hold.remedy:  # whoever writes it by hand must know where
        which = "a new line" if line.line_id is None else f"line {line.line_id}"
        yield Span(f"{which} of product {line.product}")
    if hold in common:
        yield Span(f"{cause_of(hold.guard, hold.reason)} (see below)", Tone.HELD)
        return
    name = "" if hold.guard == WITH else f"{hold.guard}: "
    yield Span(f"{name}{hold.reason}", Tone.HELD)
    if following is not None and following.hold and following.hold.remedy == hold.remedy:
        return
    command = ACCEPT.search(hold.remedy)
    if command is None:
        yield Span(hold.remedy)
        return
    yield Span(hold.remedy[: command.start()].strip())
    yield Span(command[0], Tone.COMMAND)
    if rest := hold.remedy[command.end() :].strip(" ;,."):
        yield Span(rest[0].upper() + rest[1:])


def _consequences(line: PlannedLine) -> Iterable[Span]:
    """What a fall leaves off the next invoice, and which keys have caused it."""
    if line.overwritten and line.invoice:
        units = quantity(line.overwritten)
        were, are = ("was", "is") if line.overwritten == 1 else ("were", "are")
        the = "If it is released now, the" if line.hold else "The"
        said = f"{the} invoice of {line.invoice} has {line.after} for its whole period: the {units}"
        yield Span(f"{said} more that {were} billed until now {are} not on it.", Tone.DIM)
    if line.because:
        yield Span(f"Fewer are counted: {line.because}.", Tone.HELD)


def _beside(company: CompanyPlan) -> Iterable[Item]:
    caption = "Used, and billed by no row of mapping.toml (`kisi map`):"
    yield from listing(caption, _amounts(company.unmapped), Tone.HELD)
    others = []
    for line in company.others:
        price = f" at {money(line.unit_price)}" if line.unit_price is not None else ""
        billable = "" if line.billable else ", not billable"
        name = line.description or f"product {line.product}"
        said = f"{name}{price} (product {line.product}, line {line.id}{billable})"
        others.append((quantity(line.quantity), said))
    yield from listing("Other lines (not managed by kisi):", others, Tone.DIM)
    by_hand = []
    for one in company.left:
        name = billed_as(one.application, one.categories)
        place = f"product {one.product}, line {one.line_id}"
        by_hand.append((quantity(one.after), f"{name} ({place})"))
    yield from listing("Managed by hand:", by_hand, Tone.DIM)
    yield from remarks(*(f"Note: {note}" for note in company.notes))


def _totals(result: RunResult) -> Iterable[Section]:
    every = totals(result.plan, invoiced_alike)
    units = {per(currency, cycle) for _, currency, cycle in every}
    rows: list[Sequence[str | Span]] = []
    for (psa, currency, cycle), parts in every.items():
        name = psa if len(units) == 1 else f"{psa}, {per(currency, cycle)}"
        for part, what in _PARTS.items():
            if (of := parts[part]).lines:
                is_plan = part == "billed" and result.mode is Mode.PREVIEW
                shown, worth = Span("to bill") if is_plan else what, ("", "")
                if of.unpriced != of.lines and of.money_before is not None is not of.money_after:
                    worth = _from_to(of.money_before, of.money_after, money)
                rows.append((name, shown, *_from_to(of.before, of.after, quantity), *worth))
                name = ""
    unit = " ".join(["money", *units][: 1 + (len(units) == 1)])
    items: list[Item] = [*table(f"||units#|#|{unit}#|#", rows)]
    if unpriced := sum(one.unpriced for parts in every.values() for one in parts.values()):
        items += remarks(f"The money leaves out {plural(unpriced, 'line')} of unknown price.")
    if result.accepted:
        items.append(Span(f"Accepted in this run: {', '.join(result.accepted)}"))
    clients = [number for number in map(released_by_id, result.plan.companies) if number]
    if len(clients) > 1:  # where one client's id would not be enough
        which = f"{plural(sum(clients), 'line')} of {len(clients)} clients"
        items.append(Span(f"To release everything that can be accepted ({which}):"))
        items.append(Span(f"kisi sync --accept {result.plan.plan_id}", Tone.COMMAND))
    counts = asdict(summarise(result.plan))
    kinds = ("create", "update", "applied", "held", "failed", "unchanged")
    facts = tuple(f"{counts[x]} {x}" for x in kinds if counts[x])
    if facts or items:
        yield Section("Totals", facts, tuple(items))


def _from_to(before: Decimal, after: Decimal, shown: Callable[[Decimal], str]) -> tuple[str, str]:
    if before == after:
        return shown(after), ""
    return f"{shown(before)} → {shown(after)}", signed(shown(after - before))
