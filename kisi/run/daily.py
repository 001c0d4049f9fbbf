"""The daily run: read, plan, journal, write, journal, notify. And its preview, which only reads.

Nothing here prints, or ends the process: messages and progress go to callbacks, what cannot go on
is raised as a `kisi.errors.KisiError`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True, slots=True)
class ClientFilter:
    """Which clients a run concerns, by globs on their names."""

    only: Sequence[str]
    exclude: Sequence[str]

    @property
    def scope(self) -> str:
        """In words, for the journal; empty for a run over all clients."""
        parts = [f"only {glob}" for glob in self.only] + [f"not {glob}" for glob in self.exclude]
        return ", ".join(parts)

    def companies(self, mapping: BillingMapping) -> tuple[Company, ...]:
        """The clients, in the mapping's order.

        Raises:
            ConfigError: One of the globs names nobody, or nobody is left.
        """
        clients, globs = mapping.companies, (*self.only, *self.exclude)
        nobody = [
            glob for glob in globs if not any(Glob(glob).matches(one.name) for one in clients)
        ]
        chosen = select(clients, self.only, self.exclude)
        if nobody or (globs and not chosen):
            listed = ", ".join(repr(glob) for glob in nobody)
            found = (
                f"No client of mapping.toml has a name that matches {listed}."
                if nobody
                else "--only and --exclude leave no client."
            )
            raise ConfigError(
                f"{found} Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        return chosen


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
    clients = ClientFilter(only, exclude)
    stop, on_message = stop or Stop(), on_message or _ignored
    wait = random.uniform(0, jitter)  # noqa: S311 - spreads load only
    with (
        notifying(path, clients.scope, on_message) as notification,
        opened(path, stop.reading, waits=wait + lock_timeout, settles=True) as setup,
    ):
        if jitter:
            LOG.info("--jitter: begins in %.0f s", wait)
            setup.clock.sleep(wait)
            stop.check()
        notification.start()
        started, state = setup.clock.now(), setup.config.state_dir
        lock = run_lock(state, lock_timeout, started=started, stop=stop.requested)
        with lock, logged(state):
            run = _Run(setup, clients, tuple(dict.fromkeys(accept)), on_progress, on_message, stop)
            result = notification.result = run.result()
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
    clients, stop = ClientFilter(only, exclude), stop or Stop()
    with opened(path, stop.reading) as setup:
        rules, state = setup.rules(), setup.config.state_dir
        is_alive = is_running(state)
        with Journal.open(state, readonly=True) as journal:
            memory, problem = load_journal_state(journal, rules), journal.problem
            if not is_alive and not is_running(state):  # one may have begun or ended meanwhile
                memory = without_running(memory)
            if problem is not None:
                (on_message or _ignored)(Message.of(problem))
            found = read_and_plan(setup, rules, memory, clients, stop, on_progress)
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
    clients: ClientFilter,
    stop: Stop,
    on_progress: Progress | None,
) -> Reconciled:
    """Reads everything and works out the guarded plan.

    Raises:
        Interrupted: The run is to end.
    """
    companies = clients.companies(setup.mapping)
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
    """One run under the lock."""

    setup: Setup
    clients: ClientFilter
    accept: tuple[str, ...]
    on_progress: Progress | None
    on_message: OnMessage
    stop: Stop

    def result(self) -> RunResult:
        scope = self.clients.scope
        self.clients.companies(self.setup.mapping)
        with Journal.open(self.setup.config.state_dir) as journal:
            run = journal.begin_run(
                self.setup.clock.now(),
                version=__version__,
                command="sync",
                config_hash=self.setup.digest,
                plan_scope=scope,
            )
            LOG.info("run %s begins, %s", run, scope or "all clients")
            for crashed in journal.crashed_runs:
                self._warn(
                    f"Run {crashed} did not record its end; what it left open is being settled."
                )
            try:
                result, refused = self._read_and_write(journal, run)
            except KisiError as error:
                self._end_early(journal, run, error)
                raise
        if refused is not None:
            raise refused
        return result

    def _warn(self, text: str) -> None:
        self.on_message(Message(text, is_warning=True))

    def _read_and_write(self, journal: Journal, run: int) -> tuple[RunResult, Withheld | None]:
        """The run, and why its ids were refused, if they were; nothing was written then."""
        setup = self.setup
        rules = setup.rules()
        self._refuse_empty_mapping(journal)
        journal.record_mapping(setup.mapping.companies)
        memory = load_journal_state(journal, rules)
        wait_for_last_write(memory, setup.clock, lambda text: self.on_message(Message(text)))
        found = read_and_plan(setup, rules, memory, self.clients, self.stop, self.on_progress)
        record_reading(journal, run, setup.clock.now(), found, rules.today)
        shown = resolve(found, setup.psas)
        at = setup.clock.now()
        refused = None
        try:
            accepted = accept_ids(journal, run, at, who(), found.plan, self.accept, shown)
        except Withheld as error:
            refused, applied = error, ApplyResult(shown)
        else:
            plan = resolve(found, setup.psas, accepted)
            journal.record_plan(run, setup.clock.now(), plan)
            applied = self._write(journal, run, plan, found, rules)
        at = setup.clock.now()
        record_outcome(journal, run, at, found, applied.plan)
        journal.prune(at - timedelta(days=setup.config.evidence_days))
        names = {str(ref): usage.tenant.name for ref, usage in found.usages.items()}
        journal.replace_latest(run, rules.now, Subject.TENANTS, {**memory.tenants, **names})
        return self._end(journal, run, found, applied, refused), refused

    def _refuse_empty_mapping(self, journal: Journal) -> None:
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

    def _write(
        self, journal: Journal, run: int, plan: Plan, found: Reconciled, rules: Rules
    ) -> ApplyResult:
        """Writes what is not on hold.

        Raises:
            StateError: An intent or an outcome could not be stored.
        """
        context = ApplyContext(
            psas=self.setup.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=journal,
            run=run,
            today=rules.today,
            clock=self.setup.clock,
            pause=SystemClock(self.stop.requested).sleep,
            ends=self.setup.ends,
            stop=self.stop.requested,
            emergency=self._warn,
            progress=lambda _done, _total: None,
        )
        self.stop.writing = True
        applied = apply(plan, context)
        if applied.state_error is not None:
            raise applied.state_error
        return applied

    def _end(
        self,
        journal: Journal,
        run: int,
        found: Reconciled,
        applied: ApplyResult,
        refused: Withheld | None,
    ) -> RunResult:
        """Closes a run that has read everything; a daily one is kept whole for `kisi status`."""
        codes = [exit_code(applied.plan), *(e.exit_code for e in applied.foreign_changes)]
        code, why = worst(codes), ""
        if applied.interrupted:
            code, why = ExitCode.INTERRUPTED, _STOPPED
        if refused is not None:
            code, why = refused.exit_code, refused.message.partition("\n")[0]
        result = _result(applied.plan, found, self.setup, Mode.SYNC, code)
        result = replace(
            result,
            run=run,
            accepted=() if refused else self.accept,
            last_line=f"{why} {result.last_line}".lstrip(),
        )
        if not self.clients.scope:
            at = result.generated_at
            journal.replace_latest(run, at, Subject.REPORT, plan_document(result))
            journal.replace_latest(run, at, Subject.CERTIFICATES, self._certificates(found))
        for error in applied.foreign_changes:
            self.on_message(Message.of(error))
        message = refused.message if refused else result.last_line
        self._record_end(journal, run, code, message, applied.plan)
        return result

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

    def _record_end(
        self, journal: Journal, run: int, code: ExitCode, message: str, plan: Plan
    ) -> None:
        stopped = code is ExitCode.INTERRUPTED
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
            self._record_end(journal, run, error.exit_code, error.message, Plan(()))
        except StateError:
            if not isinstance(error, StateError):
                self.on_message(Message.of(error))
                raise
