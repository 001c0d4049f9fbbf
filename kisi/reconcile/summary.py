"""How did it go? A plan in; an exit code, a summary and one sentence out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from kisi.errors import ExitCode, worst
from kisi.model import (
    WITH,
    Action,
    CompanyPlan,
    Outcome,
    Outlook,
    OutlookKind,
    Plan,
    PlannedLine,
    Status,
)

_NAMED_AT_MOST = 8
_TO_WRITE = " to write"
_OUTLOOK = {
    OutlookKind.ENDS: "to end",
    OutlookKind.OVER: "used more than bought",
    OutlookKind.NEAR: "nearly used up",
}
UNWRITTEN = (Outcome.FAILED, Outcome.UNKNOWN)
"""Outcomes after which nobody can say that the PSA holds the new quantity."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a run: each line in exactly one of create, update, unchanged, held."""

    create: int = 0
    update: int = 0
    unchanged: int = 0
    held: int = 0
    failed: int = 0
    """Clients that failed, and writes that failed or have an unknown outcome."""
    applied: int = 0


def summarise(plan: Plan) -> Summary:
    """Counts the plan's lines."""
    lines = [line for company in plan.companies for line in company.lines]
    free = [line for line in lines if line.hold is None]
    failed = sum(company.status is Status.FAILED for company in plan.companies)
    return Summary(
        create=sum(line.action is Action.CREATE for line in free),
        update=sum(line.action is Action.UPDATE for line in free),
        unchanged=sum(line.action is Action.NONE for line in free),
        held=len(lines) - len(free),
        failed=failed + sum(line.outcome in UNWRITTEN for line in lines),
        applied=sum(line.outcome is Outcome.APPLIED for line in lines),
    )


def exit_code(plan: Plan, *, detailed: bool = False) -> ExitCode:
    """The worst of what happened to any client.

    If `detailed`, changes that wait to be written count too (`preview --detailed-exitcode`).
    """
    codes: list[int] = [failure.exit_code for failure in plan.failures]
    for company in plan.companies:
        codes += _codes(company)
        if detailed and any(line.changes and line.hold is None for line in company.lines):
            codes.append(ExitCode.PENDING)
    return worst(codes)


def _codes(company: CompanyPlan) -> Iterable[int]:
    if company.failure is not None:
        yield company.failure.exit_code
    if company.unmapped:
        yield ExitCode.WITHHELD
    if company.unconfirmed:
        yield ExitCode.WITHHELD
    for line in company.lines:
        if line.hold is not None:
            yield line.hold.exit_code
    if any(line.outcome in UNWRITTEN for line in company.lines):
        yield ExitCode.WRITE


def is_current(company: CompanyPlan) -> bool:
    """Whether every line of a client was shown by its PSA to hold what the client uses."""
    ready = company.status is Status.READY and not company.unconfirmed
    return ready and all(map(is_shown, company.lines))


def is_shown(line: PlannedLine) -> bool:
    """Whether the PSA shows a line to hold what it should."""
    return line.outcome is Outcome.APPLIED or not line.changes


def client_counts(plan: Plan) -> dict[str, int]:
    """How many clients are billed, and how many of them are up to date."""
    billed = _billed(plan)
    return {"billed": len(billed), "current": sum(is_current(company) for company in billed)}


def _billed(plan: Plan) -> list[CompanyPlan]:
    return [company for company in plan.companies if company.status is not Status.OFF]


def last_line(plan: Plan) -> str:
    """The run in words: `298 of 300 clients up to date; need attention: Contoso (...), ...`."""
    billed = _billed(plan)
    if not billed:
        return _nobody(plan)
    text = "{current} of {billed} clients up to date".format(**client_counts(plan))
    troubled = [company for company in billed if not is_current(company)]
    if troubled:
        text += "; need attention: " + by_cause((c.company.name, _brief(c)) for c in troubled)
        text += "; `kisi status` says more" * any(_brief(c) != trouble(c) for c in troubled)
    unmapped = [company for company in billed if company.unmapped]
    if unmapped:
        text += "; unmapped usage: " + together([company.company.name for company in unmapped])
    if any(not tenant.client for tenant in plan.unmapped_tenants):
        text += f"; {_tenants(plan)} unmapped"
    if leavers := [x.client for x in plan.unmapped_tenants if x.client and x.in_use]:
        text += f"; left and still in use: {together([*dict.fromkeys(leavers)])}"
    if kinds := Counter(map(_expected, plan.outlook)):
        told = (f"{number} {words}" for words, number in kinds.items())
        text += f"; licence keys (`kisi status`): {', '.join(told)}"
    noted = [company for company in billed if company.notes]
    if noted:
        names = together([company.company.name for company in noted])
        text += f"; notes (`kisi preview -v`): {names}"
    return text + "."


def _nobody(plan: Plan) -> str:
    if plan.failures:
        return "Nothing could be read: " + together([failure.reason for failure in plan.failures])
    rest = f"; {_tenants(plan)} unmapped" if plan.unmapped_tenants else ""
    if plan.companies:
        next_step = "Next: `kisi map billing CLIENT on`"
        return f"No client is billed: billing is off for all of them{rest}. {next_step}."
    return f"No client is billed{rest}. Next: `kisi map`."


def _tenants(plan: Plan) -> str:
    number = sum(not tenant.client for tenant in plan.unmapped_tenants)
    return f"{number} tenant{'' if number == 1 else 's'}"


def trouble(company: CompanyPlan) -> str:
    """Why a client is not current, in a few words."""
    if company.failure is not None:
        return f"{company.failure.guard}: {company.failure.reason}".rstrip(".")
    bad = next((line for line in company.lines if line.outcome in UNWRITTEN), None)
    if bad is not None:
        return f"{bad.outcome}: {bad.detail}".rstrip(". ")
    if company.hold is not None:
        return f"held: {cause_of(company.hold.guard, company.hold.reason)}"
    if company.unconfirmed:
        return f"not confirmed: {company.unconfirmed}"
    waiting = sum(not is_shown(line) for line in company.lines)
    return f"{waiting} change{'s' if waiting != 1 else ''}{_TO_WRITE}"


def cause_of(guard: str, reason: str) -> str:
    """Why something is held, in a few words: its guard; of what only waits, for which line."""
    return guard if guard != WITH else reason.partition(" (")[0]


def _brief(company: CompanyPlan) -> str:
    """The same, of a write in one sentence and without the line's id: clients have it in common."""
    bad = next((line for line in company.lines if line.outcome in UNWRITTEN), None)
    if company.failure is not None or bad is None:
        return trouble(company)
    said = f"{bad.outcome}: {bad.detail}".partition(". ")[0].rstrip(". ")
    return said.replace(f" {bad.line_id}", " …") if len(bad.line_id or "") > 2 else said


def _expected(one: Outlook) -> str:
    """What is to be expected of a key, in a few words; of a subscription, what it is now."""
    return _OUTLOOK.get(one.kind) or one.reason.removesuffix(" subscription")


def outlook_sentence(one: Outlook, today: date) -> str:
    """What is to be expected of a key, in words: `Contoso: KES, key 1C2A ends on ...`."""
    devices = f"{one.devices} device{'' if one.devices == 1 else 's'}"
    match one.kind:
        case OutlookKind.ENDS if one.ends is not None:
            days = (one.ends - today).days
            when = "today" if days == 0 else f"in {days} day{'' if days == 1 else 's'}"
            said = f"ended on {one.ends}" if days < 0 else f"ends on {one.ends}, {when}"
            said += f": {devices} counted with it"
        case OutlookKind.PAUSED:
            number = "" if one.used is None else f"{one.used} "
            said = f"is a {one.reason}: {number}in use, {devices} counted with it"
        case _:
            said = f"has {one.used} of {one.licenses} licences in use"
    return f"{one.company}: {one.application}, key {one.key} {said}"


def together(names: Sequence[str], at_most: int = _NAMED_AT_MOST) -> str:
    """Names in a sentence: `A, B and C`, or the first ones `and 5 more`."""
    shown, more = names[:at_most], len(names) - at_most
    *first, last = (*shown, f"{more} more") if more > 0 else names
    return f"{', '.join(first)} and {last}" if first else last


def by_cause(troubles: Iterable[tuple[str, str]], at_most: int = _NAMED_AT_MOST) -> str:
    """Names, each with its cause; of one common cause together: `A (write), B and C (held)`.

    Causes that only differ by the name that they quote are one.
    """
    alike: dict[str, dict[str, str]] = {}
    for name, cause in troubles:
        alike.setdefault(cause.replace(f'"{name}"', '"…"'), {})[name] = cause
    texts = []
    for common, causes in alike.items():
        cause = common if len(causes) > 1 else next(iter(causes.values()))
        cause += " each" * (len(causes) > 1 and cause.endswith(_TO_WRITE))
        texts.append(f"{together([*causes], at_most)} ({cause})")
    more = sum(len(causes) for causes in list(alike.values())[at_most:])
    return ", ".join(texts[:at_most]) + (f" and {more} more" if more else "")
