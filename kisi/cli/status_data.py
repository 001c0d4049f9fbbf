"""What the journal knows, for `kisi status`. Sends nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kisi import __version__
from kisi.cli.setup import load
from kisi.errors import StateError
from kisi.journal import (
    Billing,
    ClientRecord,
    HeldPlan,
    History,
    Journal,
    Latest,
    LineHistory,
    Operation,
    Run,
    RunState,
    Subject,
)
from kisi.lock import is_running
from kisi.model import BillingMapping, Category, Glob, Status, Tenant, TenantRef, UnmappedUse
from kisi.render.plan_view import EarlierWrite
from kisi.render.status_view import (
    CertificateExpiry,
    ClientRow,
    KeyExpiry,
    LineTrend,
    OpenHold,
    RunRow,
    StatusView,
    TrendPoint,
)
from kisi.transport import SystemClock

RUNS = 10
MANY_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """What the operator wants to see."""

    company: str | None = None
    since: datetime | timedelta | None = None
    failed: bool = False

    def concerns(self, client: ClientRow) -> bool:
        """Whether a client is asked for."""
        named = self.company is None or Glob(self.company).matches(client.name)
        fine = client.status in {Status.READY, Status.OFF} and not client.guard
        return named and not (self.failed and fine)

    def nobody(self) -> str:
        """What to say where clients are known and none of them is asked for."""
        if self.company is None:
            return "No client failed or is held."
        trouble = " failed or is held" if self.failed else ""
        return f'No client with a name like "{self.company}"{trouble or " is known"}.'


def status_view(config: Path | None, question: Question) -> tuple[StatusView, StateError | None]:
    """Everything `kisi status` shows, and what is wrong with the journal, if anything.

    Raises:
        ConfigError: The files are wrong.
        StateError: The journal cannot be read at all.
    """
    settings, mapping = load(config)
    now = SystemClock().now()
    since = question.since
    if isinstance(since, timedelta):
        since = now - since
    elif since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=settings.timezone)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        history = journal.history
        running = is_running(settings.state_dir)
        known = tuple(_clients(history, mapping))
        stored_keys = history.keys()
        report = history.latest(Subject.REPORT)
        unmapped = report.value.get("unmapped", {}) if report else {}
        view = StatusView(
            at=now,
            version=__version__,
            zone=settings.timezone,
            runs=tuple(
                _run(run, running=running)
                for run in history.last_runs(RUNS if since is None else MANY_RUNS, since)
            ),
            clients=tuple(filter(question.concerns, known)),
            nobody=question.nobody() if known else "",
            holds=tuple(_hold(hold) for hold in history.open_holds()),
            unmapped=tuple(_uses(unmapped)),
            unmapped_tenants=tuple(_tenants(unmapped)),
            keys=tuple(
                KeyExpiry(
                    stored.name,
                    stored.tenant,
                    stored.key.serial,
                    stored.key.name,
                    stored.key.expires,
                    stored.key.used,
                )
                for stored in stored_keys
                if stored.key.counted and stored.key.expires is not None
            ),
            certificates=tuple(_certificates(history.latest(Subject.CERTIFICATES))),
            unsettled=tuple(_earlier(operation) for operation in journal.pending()),
            last_run=report.value if report else None,
            problem=journal.problem.message if journal.problem else "",
        )
        return view, journal.problem


def _run(run: Run, *, running: bool) -> RunRow:
    is_dead = run.state is RunState.RUNNING and not running
    numbers = run.summary
    return RunRow(
        id=run.id,
        command=run.command,
        at=run.at,
        end=RunState.CRASHED if is_dead else run.state,
        ended_at=run.ended_at,
        exit_code=run.exit_code,
        last_line=run.message,
        scope=run.plan_scope,
        current=numbers.get("current"),
        billed=numbers.get("billed"),
        applied=numbers.get("applied"),
        held=numbers.get("held"),
        failed=numbers.get("failed"),
    )


def _clients(history: History, mapping: BillingMapping) -> Iterable[ClientRow]:
    """The clients of the journal, and those that the mapping bills and no run has judged yet."""
    new = {(one.psa, one.agreement): one for one in mapping.companies if one.billing}
    for client in history.clients():
        place = (client.psa, client.agreement)
        if client.billing is Billing.ON:
            new.pop(place, None)
        if place not in new:
            yield _client(client, history.line_history(client.name))
    for one in new.values():
        yield ClientRow(one.name, one.psa, one.company, one.agreement)


def _client(client: ClientRecord, history: Iterable[LineHistory]) -> ClientRow:
    place = (client.psa, client.agreement)
    lines = [one for one in history if one.owned and (one.key.psa, one.key.agreement) == place]
    return ClientRow(
        name=client.name,
        psa=client.psa,
        company=client.company,
        agreement=client.agreement,
        billing=client.billing,
        status=client.status,
        guard=client.guard,
        reason=client.reason,
        remedy=client.remedy,
        since=client.since_at,
        confirmed_at=client.confirmed_at,
        lines=tuple(
            LineTrend(
                application=one.application,
                categories=one.categories,
                product=one.product,
                line_id=one.key.line_id,
                points=tuple(TrendPoint(q.quantity, q.first_at) for q in one.quantities),
            )
            for one in lines
        ),
    )


def _hold(hold: HeldPlan) -> OpenHold:
    return OpenHold(
        client=hold.name,
        psa=hold.psa,
        company=hold.company,
        agreement=hold.agreement,
        plan_id=hold.plan_id,
        lines=hold.lines,
        since=hold.first_at,
    )


def _earlier(operation: Operation) -> EarlierWrite:
    return EarlierWrite(
        client=operation.name,
        line=operation.line,
        run=operation.run_id,
        at=operation.at,
        outcome=operation.outcome,
        detail=operation.detail,
    )


def _uses(unmapped: dict[str, Any]) -> Iterable[UnmappedUse]:
    for use in unmapped.get("applications", ()):
        category = use.get("category")
        yield UnmappedUse(
            company=use["company"],
            application=use["application"],
            quantity=use["quantity"],
            estimated=use.get("estimated", True),
            category=Category(category) if category else None,
        )


def _tenants(unmapped: dict[str, Any]) -> Iterable[Tenant]:
    for tenant in unmapped.get("tenants", ()):
        ref = TenantRef(tenant["source"], tenant["tenant"])
        yield Tenant(ref, tenant["name"], listed_as=tenant.get("listed_as") or "")


def _certificates(latest: Latest | None) -> Iterable[CertificateExpiry]:
    for one in latest.value if latest else ():
        yield CertificateExpiry(one["server"], datetime.fromisoformat(one["expires"]))
