"""The daily run: read, plan, journal, write, journal, notify. And its preview, which only reads.

Nothing here prints, or ends the process: messages and progress go to callbacks, what cannot go on
is raised as a `kisi.errors.KisiError`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from kisi import __version__
from kisi.apply import SHOWN_AFTER, ApplyContext, ApplyResult, apply
from kisi.errors import ConfigError, ExitCode, KisiError, NotSent, StateError, Withheld, worst
from kisi.journal import Billing, Journal, RunState, Subject
from kisi.lock import is_running, run_lock
from kisi.model import BillingMapping, Company, Glob, Plan
from kisi.reconcile import JournalState, Progress, Reconciled, Rules, reconcile, resolve, select
from kisi.reconcile.summary import client_counts, exit_code, last_line, summarise
from kisi.run.document import plan_document
from kisi.run.journal_entries import accept as accept_ids
from kisi.run.journal_entries import record_outcome, record_reading
from kisi.run.notification import notifying
from kisi.run.result import Message, Mode, OnMessage, RunResult, Stop
from kisi.run.setup import Setup, logged, opened, who
from kisi.transport import Clock, SystemClock, certificate_of

LOG = logging.getLogger(__name__)

_CHANGED = (
    "kisi.toml or mapping.toml was changed while this run was under way. It kept to both as they "
    "were when it began; the next run goes by the new ones."
)
_STOPPED = "Stopped by a signal; the next `kisi sync` does the rest."


def scope_of(only: Sequence[str], exclude: Sequence[str]) -> str:
    """Which clients a run concerns, in words for the journal; empty for all of them."""
    return ", ".join([*(f"only {glob}" for glob in only), *(f"not {glob}" for glob in exclude)])


def chosen_clients(
    mapping: BillingMapping, only: Sequence[str], exclude: Sequence[str]
) -> tuple[Company, ...]:
    """The clients that a run concerns, by globs on their names, in the mapping's order.

    Raises:
        ConfigError: One of the globs names nobody, or nobody is left.
    """
    clients, globs = mapping.companies, (*only, *exclude)
    nobody = [
        repr(glob) for glob in globs if not any(Glob(glob).matches(one.name) for one in clients)
    ]
    chosen = select(clients, only, exclude)
    if nobody:
        found = f"No client of mapping.toml has a name that matches {', '.join(nobody)}."
    elif globs and not chosen:
        found = "--only and --exclude leave no client."
    else:
        return chosen
    raise ConfigError(
        f"{found} Nothing was read or written.", remedy="`kisi map list` shows the names."
    )


def sync(
    config: Path | str | None = None,
    *,
    accept: Sequence[str] = (),
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    jitter: float = 0.0,
    lock_timeout: float = 0.0,
    on_progress: Progress | None = None,
    on_message: OnMessage | None = None,
    on_result: Callable[[RunResult], None] | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Brings every client's agreement to what it uses: the daily run, as `kisi sync` does it.

    It runs under the lock of the state folder and is kept in the journal; the addresses of
    `[notify]` are notified of its end, whichever that is.

    `config` is kisi.toml, by default looked for where the command looks. `accept` are ids of plans
    or clients whose holds are released, once. `only` and `exclude` are globs on clients' names. It
    first waits a random time of up to `jitter` seconds, and up to `lock_timeout` seconds for
    another run to end.

    `on_progress` is told from several threads what is being read, how much of it is done, and of
    how much; `on_message` what a person should know meanwhile. `on_result` is given the result
    before anybody is notified; what it raises is notified as the end of the run, and raised. `stop`
    ends the run once it is requested, from another thread or a signal's handler.

    Raises:
        ConfigError: The files, a secret or a glob are wrong. Nothing was sent.
        Locked: Another run holds the lock.
        Withheld: An id of `accept` fits nothing that is on hold. Nothing was written, and what was
            read is stored.
        Interrupted: `stop` was requested before anything was written.
        StateError: The journal or the state folder cannot be used.
    """
    path = None if config is None else Path(config)
    scope, stop, on_message = scope_of(only, exclude), stop or Stop(), on_message or _ignored
    wait = random.uniform(0, jitter)  # noqa: S311 - spreads load only
    with (
        notifying(path, scope, on_message) as notification,
        opened(path, stop.reading, waits=wait + lock_timeout) as setup,
    ):
        if jitter:
            LOG.info("--jitter: begins in %.0f s", wait)
            setup.clock.sleep(wait)
            stop.check()
        notification.start()
        started, state = setup.clock.now(), setup.config.state_dir
        lock = run_lock(state, lock_timeout, started=started, stop=stop.requested)
        with lock, logged(state):
            companies = chosen_clients(setup.mapping, only, exclude)
            with Journal.open(state) as journal:
                run = _begin(setup, journal, scope, on_message)
                accepted = tuple(dict.fromkeys(accept))
                daily = _Run(setup, journal, run, companies, scope, on_message, stop)
                result = notification.result = daily.result(accepted, on_progress)
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
    on_progress: Progress | None = None,
    on_message: OnMessage | None = None,
    on_result: Callable[[RunResult], None] | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """The plan as of now: what `sync` would do. Reads the journal, and writes nothing anywhere.

    Takes what `sync` takes. With `detailed_exit_code`, changes that wait to be written make the
    exit code 10.

    Raises:
        ConfigError: The files, a secret or a glob are wrong. Nothing was sent.
        Interrupted: `stop` was requested.
        StateError: The journal cannot be read.
    """
    path = None if config is None else Path(config)
    stop, on_message = stop or Stop(), on_message or _ignored
    with opened(path, stop.reading) as setup:
        rules, state = setup.rules(), setup.config.state_dir
        companies = chosen_clients(setup.mapping, only, exclude)
        is_alive = is_running(state)
        with Journal.open(state, readonly=True) as journal:
            memory, problem = load_journal_state(journal, rules), journal.problem
            if not is_alive and not is_running(state):  # one may have begun or ended meanwhile
                memory = without_running(memory)
            if problem is not None:
                on_message(Message.of(problem))
            found = read_and_plan(setup, rules, memory, companies, stop, on_progress)
        plan = resolve(found, setup.psas)
        codes = [exit_code(plan, detailed=detailed_exit_code)]
        codes += [problem.exit_code] if problem else []
        result = _result(plan, found, setup, Mode.PREVIEW, worst(codes))
    if on_result is not None:
        on_result(result)
    return result


def load_journal_state(journal: Journal, rules: Rules) -> JournalState:
    """What the journal knows that a plan needs."""
    return JournalState(
        facts=journal.facts(rules.now, rules.guards.baseline_days),
        accepts=journal.accept_counts(),
        pending=journal.pending(),
        unproven=journal.unproven(),
        foreign_changes=journal.foreign_changes(),
        tenants=journal.latest(Subject.TENANTS) or {},
        accepted=journal.accepted(),
        past=journal.readings,
    )


def without_running(memory: JournalState) -> JournalState:
    """The same where nobody holds the lock: a run that has not ended in the journal never will."""
    pending = tuple(replace(operation, running=False) for operation in memory.pending)
    return replace(memory, pending=pending)


def read_and_plan(
    setup: Setup,
    rules: Rules,
    memory: JournalState,
    companies: Sequence[Company],
    stop: Stop,
    on_progress: Progress | None,
) -> Reconciled:
    """Reads everything and works out the guarded plan; raises `Interrupted` where it is to end."""
    progress = stop.checked(on_progress)
    found = reconcile(rules, setup.sources, setup.psas, memory, companies, progress, setup.clock)
    stop.check()
    return found


def wait_for_last_write(memory: JournalState, clock: Clock, inform: Callable[[str], None]) -> None:
    """Waits until a PSA would show a create that the run before sent just before it ended.

    Otherwise that line could be missing from the list now, and wait for a person.
    """
    sent = [operation.at for operation in memory.pending if operation.line.line_id is None]
    if sent:
        age = (clock.now() - max(sent)).total_seconds()
        if 0 <= age < SHOWN_AFTER:
            inform("The previous run ended in the middle; waiting for its last write to show.")
            clock.sleep(SHOWN_AFTER - age)


def _begin(setup: Setup, journal: Journal, scope: str, on_message: OnMessage) -> int:
    """Begins a run in the journal, and tells which runs before it did not record their end."""
    run = journal.begin_run(
        setup.clock.now(),
        version=__version__,
        command="sync",
        config_hash=setup.digest,
        plan_scope=scope,
    )
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


def _ignored(_message: Message) -> None:
    """Nobody wants to hear it."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run under the lock, once the journal has its beginning."""

    setup: Setup
    journal: Journal
    run: int
    companies: tuple[Company, ...]
    scope: str
    """Which clients it concerns, in words; empty for all of them."""
    on_message: OnMessage
    stop: Stop

    def result(self, accept: tuple[str, ...], on_progress: Progress | None) -> RunResult:
        """Reads, plans and writes; whatever ends the run early is recorded as its end.

        Raises:
            Withheld: An id was refused; nothing was written, and what was read is stored.
        """
        try:
            result, refused = self._read_and_write(accept, on_progress)
        except KisiError as error:
            self._end_early(error)
            raise
        if refused is not None:
            raise refused
        return result

    def _read_and_write(
        self, accept: tuple[str, ...], on_progress: Progress | None
    ) -> tuple[RunResult, Withheld | None]:
        """The run, and why its ids were refused, if they were; nothing was written then."""
        setup, journal, run = self.setup, self.journal, self.run
        rules, now = setup.rules(), setup.clock.now
        self._refuse_empty_mapping()
        journal.record_mapping(setup.mapping.companies)
        memory = load_journal_state(journal, rules)
        wait_for_last_write(memory, setup.clock, lambda text: self.on_message(Message(text)))
        found = read_and_plan(setup, rules, memory, self.companies, self.stop, on_progress)
        record_reading(journal, run, now(), found, rules.today)
        shown = resolve(found, setup.psas)
        refused = None
        try:
            accepted = accept_ids(journal, run, now(), who(), found.plan, accept, shown)
        except Withheld as error:
            refused, applied = error, ApplyResult(shown)
        else:
            plan = resolve(found, setup.psas, accepted)
            journal.record_plan(run, now(), plan)
            applied = self._write(plan, found, rules)
        at = now()
        record_outcome(journal, run, at, found, applied.plan)
        if not any(client.unconfirmed for client in applied.plan.companies):
            journal.prune(at - timedelta(days=setup.config.evidence_days))
        names = {str(ref): usage.tenant.name for ref, usage in found.usages.items()}
        journal.replace_latest(run, rules.now, Subject.TENANTS, {**memory.tenants, **names})
        return self._end(found, applied, accept, refused), refused

    def _refuse_empty_mapping(self) -> None:
        """A mapping without any client is an accident where clients were billed until now.

        Raises:
            ConfigError: It is one; nobody would be billed, and nothing would look wrong.
        """
        billed = [one.name for one in self.journal.clients() if one.billing is Billing.ON]
        if billed and not self.setup.mapping.companies:
            raise ConfigError(
                f"{self.setup.config.mapping_path} maps no client or does not exist, and "
                f"{len(billed)} were billed until now. Nothing was read or written.",
                remedy="Restore it (a .bak may lie beside it). To end a client's billing on "
                "purpose: `kisi map billing CLIENT off`.",
            )

    def _write(self, plan: Plan, found: Reconciled, rules: Rules) -> ApplyResult:
        """Writes what is not on hold.

        Raises:
            StateError: An intent or an outcome could not be stored.
        """
        context = ApplyContext(
            psas=self.setup.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=self.journal,
            run=self.run,
            today=rules.today,
            clock=self.setup.clock,
            pause=SystemClock(self.stop.requested).sleep,
            ends=self.setup.ends,
            stop=self.stop.requested,
            emergency=lambda text: self.on_message(Message(text, is_warning=True)),
            progress=lambda _done, _total: None,
        )
        self.stop.writing = True
        applied = apply(plan, context)
        if applied.state_error is not None:
            raise applied.state_error
        return applied

    def _end(
        self,
        found: Reconciled,
        applied: ApplyResult,
        accept: tuple[str, ...],
        refused: Withheld | None,
    ) -> RunResult:
        """Closes a run that has read everything; a daily one is kept whole for `kisi status`."""
        code = worst([exit_code(applied.plan), *(e.exit_code for e in applied.foreign_changes)])
        why = ""
        if applied.interrupted:
            code, why = ExitCode.INTERRUPTED, _STOPPED
        if refused is not None:
            code, why = refused.exit_code, refused.message.partition("\n")[0]
        result = _result(applied.plan, found, self.setup, Mode.SYNC, code)
        result = replace(
            result,
            run=self.run,
            accepted=() if refused else accept,
            last_line=f"{why} {result.last_line}".lstrip(),
        )
        if not self.scope:
            for subject, value in (
                (Subject.REPORT, plan_document(result)),
                (Subject.CERTIFICATES, self._certificates(found)),
            ):
                self.journal.replace_latest(self.run, result.generated_at, subject, value)
        for error in applied.foreign_changes:
            self.on_message(Message.of(error))
        self._record_end(code, refused.message if refused else result.last_line, applied.plan)
        return result

    def _certificates(self, found: Reconciled) -> list[dict[str, str]]:
        """When the certificates end of the servers that were just read, for `kisi status`."""
        ends = []
        for name in sorted({ref.source for ref in found.usages}):
            address = self.setup.sources[name].address()
            with suppress(NotSent):
                expires = certificate_of(*address).expires if address else None
                if expires is not None:
                    ends.append({"server": name, "expires": expires.isoformat()})
        return ends

    def _record_end(self, code: ExitCode, message: str, plan: Plan) -> None:
        stopped = code is ExitCode.INTERRUPTED
        LOG.info("run %s ends with exit code %s: %s", self.run, int(code), message)
        self.journal.end_run(
            self.run,
            self.setup.clock.now(),
            exit_code=code,
            state=RunState.INTERRUPTED if stopped else RunState.FINISHED,
            summary={**asdict(summarise(plan)), **client_counts(plan)},
            message=message,
        )

    def _end_early(self, error: KisiError) -> None:
        """Closes the run that `error` ends, which is told later; a journal that fails, only once.

        Raises:
            StateError: The journal cannot be written, and that is news.
        """
        try:
            self._record_end(error.exit_code, error.message, Plan(()))
        except StateError:
            if not isinstance(error, StateError):
                self.on_message(Message.of(error))
                raise
