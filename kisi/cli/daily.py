"""The daily run: plan, journal, write, journal, tell. What `kisi sync` does."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from kisi import __version__
from kisi.apply import SHOWN_AFTER, ApplyContext, ApplyResult, apply
from kisi.cli.accepting import accept
from kisi.cli.journal_entries import (
    accepted_and_written,
    client_state,
    proven_lines,
    replaced_lines,
    restated_lines,
    still_guarded,
    tenant_names,
    what_is_left,
)
from kisi.cli.logfile import logged
from kisi.cli.output import Voice, explain_error
from kisi.cli.planning import Asked, load_journal_state, reconciled, view_of
from kisi.cli.progress import shown
from kisi.cli.report import Wish, show_plan
from kisi.cli.setup import Setup, opened, who
from kisi.cli.signals import Stop, attentively, stopping
from kisi.cli.telling import telling
from kisi.errors import (
    ConfigError,
    ExitCode,
    KisiError,
    NotSent,
    StateError,
    worst,
)
from kisi.journal import Billing, Journal, Operation, PackedUsage, RunState, Subject
from kisi.lock import run_lock
from kisi.model import Company, Plan
from kisi.reconcile import Reconciled, resolve
from kisi.reconcile.summary import client_counts, exit_code, summarise
from kisi.render.plan_export import plan_document
from kisi.render.plan_view import Mode, PlanView
from kisi.transport import SystemClock, certificate_of

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator asked for."""

    config: Path | None
    asked: Asked
    accepted: tuple[str, ...]
    jitter: float
    lock_timeout: float
    wish: Wish


def daily(order: Order, voice: Voice) -> ExitCode:
    """Runs once: under the lock, in the journal, told to whoever is to be notified."""
    waits = random.uniform(0, order.jitter) + order.lock_timeout  # noqa: S311 - spreads load only
    with (
        stopping() as stop,
        telling(order.config, order.asked.scope, voice) as told,
        opened(order.config, stop, waits=waits, settles=True) as setup,
    ):
        if order.jitter:
            LOG.info("--jitter: begins in %.0f s", waits - order.lock_timeout)
            setup.clock.sleep(waits - order.lock_timeout)
            stop.check()
        told.start()
        started = setup.clock.now()
        state = setup.config.state_dir
        lock = run_lock(state, order.lock_timeout, started=started, stop=stop.asked)
        with lock, logged(state):
            view = told.view = attentively(_Run(order, setup, voice, stop).go)
        if setup.is_outdated():
            voice.insist(_CHANGED)
        show_plan(view, voice, order.wish)  # what cannot be shown was billed all the same
    return ExitCode(view.exit_code)


class _Run:
    """One run under the lock."""

    def __init__(self, order: Order, setup: Setup, voice: Voice, stop: Stop) -> None:
        self.order = order
        self.setup = setup
        self.voice = voice
        self.stop = stop

    def go(self) -> PlanView:
        asked = self.order.asked
        asked.companies(self.setup)
        with Journal.open(self.setup.config.state_dir) as journal:
            run = journal.begin_run(
                self.setup.clock.now(),
                version=__version__,
                command="sync",
                config_hash=self.setup.digest,
                plan_scope=asked.scope,
            )
            LOG.info("run %s begins, %s", run, asked.scope or "all clients")
            for crashed in journal.crashed_runs:
                self.voice.insist(
                    f"Run {crashed} did not record its end; what it left open is being settled."
                )
            try:
                return self._in(journal, run)
            except KisiError as error:
                self._end_early(journal, run, error)
                raise

    def _in(self, journal: Journal, run: int) -> PlanView:
        rules = self.setup.rules()
        self._refuse_to_forget(journal)
        journal.record_mapping(self.setup.mapping.companies)
        memory = load_journal_state(journal, rules)
        self._let_arrive(memory.pending)
        with shown(self.voice, self.stop) as report:
            found = reconciled(self.setup, rules, memory, self.order.asked, report)
        self._settle(journal, run, found)
        journal.record_usage(run, _readings(found), rules.today)  # before anything rests on it
        at = self.setup.clock.now()
        before = resolve(found, self.setup.psas)
        accepted = accept(journal, run, at, who(), found.plan, self.order.accepted, before)
        plan = resolve(found, self.setup.psas, accepted)
        journal.record_plan(run, self.setup.clock.now(), plan)
        context = ApplyContext(
            psas=self.setup.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=journal,
            run=run,
            today=rules.today,
            clock=self.setup.clock,
            pause=SystemClock(self.stop.asked).sleep,
            ends=self.setup.ends,
            stop=self.stop.asked,
            emergency=self.voice.insist,
            progress=lambda _done, _total: None,
        )
        self.stop.writing = True
        applied = apply(plan, context)
        if applied.state_error is not None:
            raise applied.state_error
        self._record(journal, run, found, applied)
        journal.replace_latest(
            run, rules.now, Subject.TENANTS, {**memory.tenants, **tenant_names(found)}
        )
        return self._tell(journal, run, found, applied)

    def _refuse_to_forget(self, journal: Journal) -> None:
        """A mapping without any client is an accident where clients were billed until now.

        Raises:
            ConfigError: It is one; nobody would be billed, and nothing would look wrong.
        """
        billed = [one.name for one in journal.clients() if one.billing is Billing.ON]
        if billed and not self.setup.mapping.companies:
            raise ConfigError(
                f"{self.setup.config.mapping_path} maps no client or does not exist, and "
                f"{len(billed)} were billed until now. Nothing was read or written.",
                remedy="Restore it (a .bak may lie beside it). To end a client's billing on "
                "purpose: `kisi map billing CLIENT off`.",
            )

    def _let_arrive(self, pending: Iterable[Operation]) -> None:
        """Waits until a PSA would show a create that the run before sent just before it ended.

        Otherwise that line could be missing from the list now, and wait for a person.
        """
        sent = [operation.at for operation in pending if operation.line.line_id is None]
        if sent:
            age = (self.setup.clock.now() - max(sent)).total_seconds()
            if 0 <= age < SHOWN_AFTER:
                self.voice.say(
                    "The previous run ended in the middle; waiting for its last write to show."
                )
                self.setup.clock.sleep(SHOWN_AFTER - age)

    def _settle(self, journal: Journal, run: int, found: Reconciled) -> None:
        for settlement in found.settlements:
            journal.settle(settlement.operation, run, self.setup.clock.now(), settlement)

    def _record(self, journal: Journal, run: int, found: Reconciled, applied: ApplyResult) -> None:
        at = self.setup.clock.now()
        plan = applied.plan
        journal.confirm(run, at, proven_lines(plan))
        journal.restate(run, restated_lines(plan))
        journal.record_plan(run, at, what_is_left(plan))
        journal.disown(replaced_lines(plan, found))
        journal.record_clients(run, at, (client_state(company) for company in plan.companies))
        journal.use_accepted(
            accepted_and_written(found.plan, plan), still_guarded(found.plan, plan)
        )
        journal.prune(at - timedelta(days=self.setup.config.evidence_days))

    def _tell(
        self, journal: Journal, run: int, found: Reconciled, applied: ApplyResult
    ) -> PlanView:
        codes = [exit_code(applied.plan), *(e.exit_code for e in applied.foreign_changes)]
        code = ExitCode.INTERRUPTED if applied.interrupted else worst(codes)
        view = view_of(
            applied.plan,
            found,
            self.setup,
            mode=Mode.SYNC,
            code=code,
            run=run,
            accepted=self.order.accepted,
        )
        if applied.interrupted:
            view = replace(view, last_line=f"{_STOPPED} {view.last_line}")
        if not self.order.asked.scope:
            at = view.generated_at
            journal.replace_latest(run, at, Subject.REPORT, plan_document(view))
            journal.replace_latest(run, at, Subject.CERTIFICATES, self._certificates(found))
        for error in applied.foreign_changes:
            self.voice.insist(explain_error(error))
        self._end(journal, run, code, view.last_line, applied.plan)
        return view

    def _certificates(self, found: Reconciled) -> list[dict[str, object]]:
        """When the certificates end of the servers that were just read, for `kisi status`."""
        ends: list[dict[str, object]] = []
        for name in sorted({ref.source for ref in found.usages}):
            address = self.setup.sources[name].address()
            if address is None:
                continue
            try:
                expires = certificate_of(*address).expires
            except NotSent:
                continue
            if expires is not None:
                ends.append({"server": name, "expires": expires.isoformat()})
        return ends

    def _end(self, journal: Journal, run: int, code: int, message: str, plan: Plan) -> None:
        stopped = code == ExitCode.INTERRUPTED
        LOG.info("run %s ends with exit code %s: %s", run, int(code), message)
        journal.end_run(
            run,
            self.setup.clock.now(),
            exit_code=code,
            state=RunState.INTERRUPTED if stopped else RunState.FINISHED,
            summary={**asdict(summarise(plan)), **client_counts(plan)},
            message=message,
        )

    def _end_early(self, journal: Journal, run: int, error: KisiError) -> None:
        """Closes the run that `error` ends, which is told later; a journal that fails, only once.

        Raises:
            StateError: The journal cannot be written, and that is news.
        """
        try:
            self._end(journal, run, error.exit_code, error.message, Plan(()))
        except StateError:
            if not isinstance(error, StateError):
                self.voice.insist(explain_error(error))
                raise


def _readings(found: Reconciled) -> Iterable[tuple[Company, PackedUsage]]:
    return (
        (company.company, found.evidence[ref])
        for company in found.plan.companies
        for ref in company.company.tenants
        if ref in found.evidence
    )


_CHANGED = (
    "kisi.toml or mapping.toml was changed while this run was under way. It kept to both as they "
    "were when it began; the next run goes by the new ones."
)
_STOPPED = "Stopped by a signal; the next `kisi sync` does the rest."
