"""The daily run: read, plan, journal, write, journal, notify. And its preview, which only reads."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from kisi import __version__
from kisi.apply import SHOWN_AFTER, ApplyContext, ApplyResult, apply
from kisi.config import Config
from kisi.errors import (
    ConfigError,
    ExitCode,
    Interrupted,
    KisiError,
    NoSuchRun,
    NotSent,
    StateError,
    Withheld,
    worst,
)
from kisi.journal import Billing, Journal, Operation, Subject
from kisi.lock import is_running, run_lock
from kisi.model import BillingMapping, Company, Plan, Rules, Tenant
from kisi.reconcile.collect import Progress, read_unmapped
from kisi.reconcile.parts import lines_of
from kisi.reconcile.pipeline import (
    JournalState,
    Reconciled,
    counting_context,
    reconcile,
    resolve,
)
from kisi.reconcile.reverts import Revert
from kisi.reconcile.summary import client_counts, exit_code, last_line, summarise
from kisi.redaction import safe_text
from kisi.run.document import plan_document
from kisi.run.journal_entries import accept as accept_ids
from kisi.run.journal_entries import record_outcome, record_reading
from kisi.run.notification import notifying
from kisi.run.result import Message, Mode, OnMessage, RunResult, Stop
from kisi.run.setup import Setup, clients_named, logged, opened, who
from kisi.transport import Clock, certificate_of

LOG = logging.getLogger(__name__)

_CHANGED = (
    "kisi.toml or mapping.toml was changed while this run was under way. It kept to both as they "
    "were when it began; the next run goes by the new ones."
)
_NOTHING_HERE = "It wrote no line of the clients of this run."
_STOPPED = "Stopped by a signal; the next `kisi sync` does the rest."


def chosen_clients(
    mapping: BillingMapping, only: Sequence[str], exclude: Sequence[str]
) -> tuple[Company, ...]:
    """The clients of a run; a `ConfigError` if a text names nobody, or all leave nobody."""
    names = [one.name for one in mapping.companies]
    meant = {text: clients_named(text, names) for text in (*only, *exclude)}
    nobody = [repr(text) for text, found in meant.items() if not found]
    wanted = set().union(*map(meant.__getitem__, only)) if only else set(names)
    wanted = wanted.difference(*map(meant.__getitem__, exclude))
    chosen = tuple(one for one in mapping.companies if one.name in wanted)
    if nobody:
        found = f"No client of mapping.toml has a name that matches {', '.join(nobody)}."
    elif meant and not chosen:
        found = "--client and --exclude leave no client."
    else:
        return chosen
    raise ConfigError(
        f"{found} Nothing was read or written.", remedy="`kisi map list` shows the names."
    )


def sync(
    config: Path | str | None = None,
    *,
    accept: Sequence[str] = (),
    revert: int | None = None,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    jitter: float = 0.0,
    lock_timeout: float = 0.0,
    deadline: float | None = None,
    on_progress: Progress | None = None,
    on_message: OnMessage | None = None,
    on_result: Callable[[RunResult], None] | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Brings every client's agreement to what it uses: the daily run, as `kisi sync` does it.

    It runs under the lock of the state folder and is kept in the journal; the addresses of
    `[notify]` are notified of its end, whichever that is. `config` is kisi.toml, by default looked
    for where the command looks. `accept` are ids of plans or clients whose holds are released,
    once; `revert` is a run whose changes are to be undone; `only` and `exclude` name clients, also
    by a part or a glob. It first waits a random time of up to `jitter` seconds, and up to
    `lock_timeout` seconds for another run to end. It then lasts `deadline` seconds at most, by
    default half an hour: shortly before, no other client is begun. Those left out are named as
    failed, and the next run begins with them.

    `on_progress` is told from several threads what is being read, or (`cw: writing`) written, how
    much of it is done, and of how much; `on_message` what a person should know meanwhile.
    `on_result` is given the result before anybody is notified; what it raises is notified as the
    end of the run, and raised. `stop` ends the run once it is requested, from another thread or a
    signal's handler.

    Raises `ConfigError` and `NoSuchRun` (nothing was sent), `Locked`, `Withheld` (an id of `accept`
    fits nothing on hold, or nothing can be undone: nothing was written, what was read is stored),
    `Interrupted` (by `stop`, before anything was written) and `StateError`.
    """
    path = None if config is None else Path(config)
    stop, on_message = stop or Stop(), on_message or (lambda _message: None)
    scope = ", ".join([*(f"only {glob}" for glob in only), *(f"not {glob}" for glob in exclude)])
    wait = random.uniform(0, jitter)  # noqa: S311 - spreads load only
    with (
        notifying(path, scope, on_message) as notification,
        opened(path, stop.reading, waits=wait + lock_timeout, lasts=deadline) as setup,
    ):
        if jitter:
            LOG.info("--jitter: begins in %.0f s", wait)
            setup.clock.sleep(wait)
            stop.check()
        notification.start()
        started, state = setup.clock.now(), setup.config.state_dir
        lock = run_lock(state, lock_timeout, started=started, stop=stop.requested)
        with lock, logged(state):
            rules = setup.rules()
            companies = chosen_clients(rules.mapping, only, exclude)
            with Journal.open(state) as journal:
                writes = () if revert is None else _changes_of(revert, journal, rules)
                run = _begin(setup, journal, scope, on_message)
                undo = None if revert is None else Revert(revert, run, writes)
                daily = _Run(setup, rules, journal, run, companies, scope, on_message, stop, undo)
                result = daily.result(tuple(dict.fromkeys(accept)), on_progress)
                notification.result = result
        if setup.is_outdated():
            on_message(Message(_CHANGED, is_warning=True))
        if on_result is not None:
            on_result(result)
    return result


def preview(
    config: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    detailed_exit_code: bool = False,
    with_history: bool = False,
    on_progress: Progress | None = None,
    on_message: OnMessage | None = None,
    on_result: Callable[[RunResult], None] | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """The plan as of now: what `sync` would do. Reads the journal, and writes nothing anywhere.

    As `sync`; with `detailed_exit_code`, changes that wait to be written make the exit code 10.
    `with_history` adds what the journal knows of each line, for charts.
    """
    path = None if config is None else Path(config)
    stop, on_message = stop or Stop(), on_message or (lambda _message: None)
    with opened(path, stop.reading) as setup:
        rules, state = setup.rules(), setup.config.state_dir
        companies = chosen_clients(rules.mapping, only, exclude)
        is_alive = is_running(state)
        with Journal.open(state, readonly=True) as journal:
            memory, problem = (
                load_journal_state(journal, rules, setup.config.parts),
                journal.problem,
            )
            if not is_alive and not is_running(state):  # one may have begun or ended meanwhile
                never = tuple(replace(operation, running=False) for operation in memory.pending)
                memory = replace(memory, pending=never)
            if problem is not None:
                on_message(Message.of(problem))
            systems, progress = (setup.sources, setup.psas), stop.checked(on_progress)
            by = setup.reading.begin_by
            found = reconcile(rules, *systems, memory, companies, progress, setup.clock, by)
            found = _of_some(found) if only or exclude else found
            history = journal.line_history() if with_history else ()
            stop.check()
        plan = resolve(found, setup.psas)
        codes = [exit_code(plan, detailed=detailed_exit_code)]
        codes += [problem.exit_code] if problem else []
        result = _result(plan, found, setup, Mode.PREVIEW, worst(codes))
        result = replace(result, history=history)
    if on_result is not None:
        on_result(result)
    return result


def load_journal_state(
    journal: Journal, rules: Rules, parts: Iterable[Config] = ()
) -> JournalState:
    """What the journal knows that a plan needs, and those of the other parts of the fleet."""
    facts = journal.facts(rules.now, rules.guards.baseline_days)
    handed_over = {(x.psa, x.agreement) for x in rules.mapping.elsewhere if x.billing}
    return JournalState(
        facts=tuple(x for x in facts if (x.psa, x.agreement) not in handed_over),
        accepts=journal.accept_counts(),
        pending=journal.pending(),
        unproven=journal.unproven(),
        foreign_changes=journal.foreign_changes(),
        tenants=journal.latest(Subject.TENANTS) or {},
        keys=journal.keys(),
        accepted=journal.accepted(),
        doubles=journal.latest(Subject.DOUBLES) or {},
        past=journal.readings,
        confirmed=journal.confirmed(),
        days=journal.days,
        others=lines_of(parts, rules),
    )


def wait_for_last_write(memory: JournalState, clock: Clock, inform: Callable[[str], None]) -> None:
    """Waits until a PSA would show a create that the run before sent just before it ended."""
    sent = [operation.at for operation in memory.pending if operation.line.line_id is None]
    if sent:
        age = (clock.now() - max(sent)).total_seconds()
        if 0 <= age < SHOWN_AFTER:
            inform("The previous run ended in the middle; waiting for its last write to show.")
            clock.sleep(SHOWN_AFTER - age)


def _of_some(found: Reconciled) -> Reconciled:
    """Without what concerns none of the clients that a run was limited to."""
    return replace(found, plan=replace(found.plan, unmapped_tenants=()), left=())


def _changes_of(run: int, journal: Journal, rules: Rules) -> tuple[Operation, ...]:
    """What a run wrote, and what was written there later; `NoSuchRun` if nothing is to be undone.

    A run that was only told to undo another one, and has written nothing of that, can be undone.
    """
    writes = journal.operations_since(run)
    facts = journal.facts(rules.now, rules.guards.baseline_days)
    if writes or any(fact.reversal and fact.reversal.by == run for fact in facts):
        return writes
    what = "there is no such run" if journal.run(run) is None else "it wrote nothing"
    raise NoSuchRun(
        f"Run {run} cannot be reverted: {what}. Nothing was read or written.",
        remedy="`kisi status` lists the last runs.",
    )


def _begin(setup: Setup, journal: Journal, scope: str, on_message: OnMessage) -> int:
    told = {"version": __version__, "command": "sync", "config_hash": setup.digest}
    run = journal.begin_run(setup.clock.now(), plan_scope=scope, **told)
    LOG.info("run %s begins, %s", run, scope or "all clients")
    for crashed in journal.crashed_runs:
        said = f"Run {crashed} did not record its end; what it left open is being settled."
        on_message(Message(said, is_warning=True))
    return run


def _result(plan: Plan, found: Reconciled, setup: Setup, mode: Mode, code: ExitCode) -> RunResult:
    return RunResult(
        plan=plan,
        mode=mode,
        exit_code=code,
        last_line=last_line(plan),
        generated_at=setup.clock.now(),
        version=__version__,
        zone=setup.config.timezone,
        left=found.left,
        earlier=tuple(
            replace(one.operation, outcome=one.outcome, detail=one.detail)
            for one in found.settlements
        ),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    setup: Setup
    rules: Rules
    journal: Journal
    run: int
    companies: tuple[Company, ...]
    scope: str
    on_message: OnMessage
    stop: Stop
    revert: Revert | None = None

    def result(self, accept: tuple[str, ...], on_progress: Progress | None) -> RunResult:
        """Reads, plans and writes; whatever ends the run early is recorded as its end."""
        try:
            return self._read_and_write(accept, on_progress)
        except Withheld:  # raised once what was read, and the end, were stored
            raise
        except KisiError as error:
            try:
                self._record_end(error.exit_code, error.message, Plan(()))
            except StateError:
                if not isinstance(error, StateError):  # a journal that fails is told once
                    self.on_message(Message.of(error))
                    raise
            raise

    def _read_and_write(self, accept: tuple[str, ...], on_progress: Progress | None) -> RunResult:
        """The run; where its ids are refused, nothing is written, and what was read is stored."""
        setup, journal, run = self.setup, self.journal, self.run
        rules, now = self.rules, setup.clock.now
        self._refuse_empty_mapping()
        journal.record_mapping(rules.mapping.companies)
        memory = load_journal_state(journal, rules, setup.config.parts)
        memory = replace(memory, revert=self.revert)
        wait_for_last_write(memory, setup.clock, lambda text: self.on_message(Message(text)))
        systems, progress = (setup.sources, setup.psas), self.stop.checked(on_progress)
        by = setup.reading.begin_by
        found = reconcile(rules, *systems, memory, self.companies, progress, setup.clock, by)
        found = _of_some(found) if self.scope else found
        self.stop.check()
        record_reading(journal, run, now(), found, rules)
        shown = resolve(found, setup.psas)
        refused = None
        try:
            self._refuse_vain_revert(found)
            accepted, kept = accept_ids(journal, run, now(), who(), found.plan, accept, shown)
        except Withheld as error:
            refused, applied = error, ApplyResult(shown)
        else:
            for said in kept:
                self.on_message(Message(safe_text(said), is_warning=True))
            plan = resolve(found, setup.psas, accepted)
            journal.record_plan(run, now(), plan)
            applied = self._write(plan, found, on_progress)
        at = now()
        record_outcome(journal, run, at, found, applied.plan, rules.today)
        if not any(client.unconfirmed for client in applied.plan.companies):
            journal.prune(at - timedelta(days=setup.config.evidence_days))
        names = {str(ref): usage.tenant.name for ref, usage in found.usages.items()}
        journal.replace_latest(run, rules.now, Subject.TENANTS, {**memory.tenants, **names})
        journal.replace_latest(run, rules.now, Subject.KEYS, found.keys)
        if not self.scope:  # last: it delays nobody's billing
            applied = self._with_unmapped_use(applied, found.left_behind)
        result = self._end(found, applied, accept, refused)
        if refused is not None:
            raise refused
        return result

    def _refuse_vain_revert(self, found: Reconciled) -> None:
        """Nothing of the run can be undone: who asked for it must hear of it before all else."""
        if self.revert is not None and not found.reverted.changed:
            text = f"Nothing of run {self.revert.run} can be reverted. Nothing was written."
            raise Withheld("\n".join([text, *(found.reverted.refused or [_NOTHING_HERE])]))

    def _refuse_empty_mapping(self) -> None:
        """Without any client, nobody would be billed, and nothing would look wrong."""
        billed = [one.name for one in self.journal.clients() if one.billing is Billing.ON]
        if billed and not self.setup.mapping.everyone:
            raise ConfigError(
                f"{self.setup.config.mapping_path} maps no client or does not exist, and "
                f"{len(billed)} were billed until now. Nothing was read or written.",
                remedy="Restore it (a .bak may lie beside it). To end a client's billing on "
                "purpose: `kisi map billing CLIENT off`.",
            )

    def _write(self, plan: Plan, found: Reconciled, on_progress: Progress | None) -> ApplyResult:
        """Writes what is not on hold; an intent or outcome that is not stored is a `StateError`."""
        limits = self.setup.limits
        context = ApplyContext(
            psas=self.setup.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=self.journal,
            run=self.run,
            today=self.rules.today,
            clock=self.setup.clock,
            pause=Clock(self.stop.requested).sleep,
            ends=limits.ends(math.inf),
            begin_by=limits.begin_by,
            turns=found.turns,
            progress=on_progress or (lambda *_: None),
            stop=self.stop.requested,
            emergency=lambda text: self.on_message(Message(text, is_warning=True)),
        )
        self.stop.writing = True
        applied = apply(plan, context)
        if applied.state_error is not None:
            raise applied.state_error
        return applied

    def _with_unmapped_use(
        self, applied: ApplyResult, left_behind: tuple[Tenant, ...]
    ) -> ApplyResult:
        """With what the tenants use that no client has; without a mapping that was read before.

        Those that clients have `left_behind` are told only where they may be in use.
        """
        plan, rules, mapping = applied.plan, self.rules, self.rules.mapping
        strangers, sources = (*plan.unmapped_tenants, *left_behind), self.setup.sources
        if not strangers or not mapping.everyone or self.stop.requested.is_set():
            return applied
        self.stop.writing = False
        with suppress(Interrupted):
            tenants, uses = read_unmapped(sources, strangers, mapping, counting_context(rules))
            told = tuple(x for x in tenants if not x.client or x.in_use is not False)
            plan = replace(plan, unmapped_tenants=told, unmapped_uses=uses)
        return replace(applied, plan=plan)

    def _end(
        self,
        found: Reconciled,
        applied: ApplyResult,
        accept: tuple[str, ...],
        refused: Withheld | None,
    ) -> RunResult:
        """Closes a run that has read everything; a daily one is kept whole for `kisi status`."""
        codes = [exit_code(applied.plan), *(e.exit_code for e in applied.foreign_changes)]
        codes += [ExitCode.WITHHELD] if found.reverted.refused else []
        code = worst(codes)
        why = ""
        if applied.interrupted:
            code, why = ExitCode.INTERRUPTED, _STOPPED
        if refused is not None:
            code, why = refused.exit_code, refused.message.partition("\n")[0]
        result = _result(applied.plan, found, self.setup, Mode.SYNC, code)
        said, accepted = f"{why} {result.last_line}".lstrip(), () if refused else accept
        result = replace(result, run=self.run, accepted=accepted, last_line=said)
        if not self.scope and not applied.interrupted:
            at, certificates = result.generated_at, self._certificates(found)
            self.journal.replace_latest(self.run, at, Subject.REPORT, plan_document(result))
            self.journal.replace_latest(self.run, at, Subject.CERTIFICATES, certificates)
        for error in applied.foreign_changes:
            self.on_message(Message.of(error))
        self._record_end(code, refused.message if refused else said, applied.plan)
        return result

    def _certificates(self, found: Reconciled) -> list[dict[str, str]]:
        ends = []
        for name in sorted({ref.source for ref in found.usages}):
            address = self.setup.sources[name].address()
            with suppress(NotSent):
                expires = certificate_of(*address).expires if address else None
                if expires is not None:
                    ends.append({"server": name, "expires": expires.isoformat()})
        return ends

    def _record_end(self, code: ExitCode, message: str, plan: Plan) -> None:
        LOG.info("run %s ends with exit code %s: %s", self.run, int(code), message)
        summary = {**asdict(summarise(plan)), **client_counts(plan)}
        now = self.setup.clock.now()
        self.journal.end_run(self.run, now, exit_code=code, summary=summary, message=message)
