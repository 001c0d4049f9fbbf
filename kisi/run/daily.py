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
from kisi.lock import run_lock
from kisi.model import BillingMapping, Company, Glob, Plan
from kisi.reconcile import JournalState, Progress, Reconciled, Rules, reconcile, resolve, select
from kisi.reconcile.summary import client_counts, exit_code, last_line, summarise
from kisi.run.callbacks import Message, OnMessage, Stop
from kisi.run.document import plan_document
from kisi.run.journal_entries import accept as accept_ids
from kisi.run.journal_entries import record_outcome, record_reading, tenant_names
from kisi.run.logfile import logged
from kisi.run.notification import notifying
from kisi.run.result import Mode, RunResult
from kisi.run.setup import Setup, opened, who
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

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """In words, for the journal; empty for a run over all clients."""
        parts = [f"only {glob}" for glob in self.only]
        parts += [f"not {glob}" for glob in self.exclude]
        return ", ".join(parts)

    def companies(self, mapping: BillingMapping) -> tuple[Company, ...]:
        """The clients, in the mapping's order.

        Raises:
            ConfigError: One of the globs names nobody, or nobody is left.
        """
        clients = mapping.companies
        globs = (*self.only, *self.exclude)
        nobody = [
            glob for glob in globs if not any(Glob(glob).matches(one.name) for one in clients)
        ]
        if nobody:
            listed = ", ".join(repr(glob) for glob in nobody)
            raise ConfigError(
                f"No client of mapping.toml has a name that matches {listed}. "
                "Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        chosen = select(clients, self.only, self.exclude)
        if globs and not chosen:
            raise ConfigError(
                "--only and --exclude leave no client. Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        return chosen


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What a run was asked to do, and who follows it."""

    clients: ClientFilter
    accept: tuple[str, ...]
    on_progress: Progress | None
    on_message: OnMessage
    stop: Stop

    def inform(self, text: str) -> None:
        """A message about a run that goes well."""
        self.on_message(Message(text))

    def warn(self, text: str) -> None:
        """A message that matters in any case."""
        self.on_message(Message(text, is_warning=True))


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

    Args:
        config: kisi.toml; by default it is looked for where the command looks.
        accept: Ids of plans or clients whose holds are released, once.
        only: Only clients whose name matches one of these globs.
        exclude: Not the clients whose name matches one of these.
        jitter: First wait a random time of up to so many seconds.
        lock_timeout: Wait up to so many seconds for another run to end.
        on_progress: Told what is being read, how much of it is done, and of how much. Called from
            several threads.
        on_message: Told what a person should know while the run goes on.
        on_result: Given the result before anybody is notified. What it raises is notified as the
            end of the run, and raised.
        stop: Ends the run once it is requested, from another thread or a signal's handler.

    Raises:
        ConfigError: The files, a secret or a glob are wrong. Nothing was sent.
        Locked: Another run holds the lock.
        Withheld: An id of `accept` fits nothing that is on hold. Nothing was written, and what was
            read is stored.
        Interrupted: `stop` was requested before anything was written.
        StateError: The journal or the state folder cannot be used.
    """
    path = None if config is None else Path(config)
    options = SyncOptions(
        ClientFilter(tuple(only), tuple(exclude)),
        tuple(dict.fromkeys(accept)),
        on_progress,
        on_message or _ignored,
        stop or Stop(),
    )
    stop = options.stop
    waits = random.uniform(0, jitter) + lock_timeout  # noqa: S311 - spreads load only
    with (
        notifying(path, options.clients.scope, options.on_message) as notification,
        opened(path, stop, waits=waits) as setup,
    ):
        if jitter:
            LOG.info("--jitter: begins in %.0f s", waits - lock_timeout)
            setup.clock.sleep(waits - lock_timeout)
            stop.check()
        notification.start()
        started = setup.clock.now()
        state = setup.config.state_dir
        lock = run_lock(state, lock_timeout, started=started, stop=stop.requested)
        with lock, logged(state):
            result = notification.result = _Run(options, setup).result()
        if setup.is_outdated():
            options.warn(_CHANGED)
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

    Args:
        config: As for `sync`, like all that follow.
        only: Only clients whose name matches one of these globs.
        exclude: Not the clients whose name matches one of these.
        detailed_exit_code: Changes that wait to be written make the exit code 10.
        on_progress: Told what is being read, how much of it is done, and of how much.
        on_message: Told what a person should know.
        on_result: Given the result, as well as the caller.
        stop: Ends the reading once it is requested.

    Raises:
        ConfigError: The files, a secret or a glob are wrong. Nothing was sent.
        Interrupted: `stop` was requested.
        StateError: The journal cannot be read.
    """
    path = None if config is None else Path(config)
    clients, stop = ClientFilter(tuple(only), tuple(exclude)), stop or Stop()
    with opened(path, stop) as setup:
        rules = setup.rules()
        with Journal.open(setup.config.state_dir, readonly=True) as journal:
            memory, problem = load_journal_state(journal, rules), journal.problem
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
    tenants = journal.latest(Subject.TENANTS)
    return JournalState(
        facts=journal.facts(rules.now, rules.guards.baseline_days),
        accepts=journal.accept_counts(),
        pending=journal.pending(),
        unproven=journal.unproven(),
        foreign_changes=journal.foreign_changes(),
        tenants=tenants.value if tenants else {},
        accepted=journal.accepted(),
        past=journal.readings,
    )


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


class _Run:
    """One run under the lock."""

    def __init__(self, options: SyncOptions, setup: Setup) -> None:
        self.options = options
        self.setup = setup

    def result(self) -> RunResult:
        scope = self.options.clients.scope
        self.options.clients.companies(self.setup.mapping)
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
                self.options.warn(
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

    def _read_and_write(self, journal: Journal, run: int) -> tuple[RunResult, Withheld | None]:
        """The run, and why its ids were refused, if they were; nothing was written then."""
        setup, options = self.setup, self.options
        rules = setup.rules()
        self._refuse_empty_mapping(journal)
        journal.record_mapping(setup.mapping.companies)
        memory = load_journal_state(journal, rules)
        wait_for_last_write(memory, setup.clock, options.inform)
        found = read_and_plan(
            setup, rules, memory, options.clients, options.stop, options.on_progress
        )
        record_reading(journal, run, setup.clock.now(), found, rules.today)
        shown = resolve(found, setup.psas)
        at = setup.clock.now()
        refused = None
        try:
            accepted = accept_ids(journal, run, at, who(), found.plan, options.accept, shown)
        except Withheld as error:
            refused, applied = error, ApplyResult(shown)
        else:
            plan = resolve(found, setup.psas, accepted)
            journal.record_plan(run, setup.clock.now(), plan)
            applied = self._write(journal, run, plan, found, rules)
        at = setup.clock.now()
        record_outcome(journal, run, at, found, applied.plan)
        journal.prune(at - timedelta(days=setup.config.evidence_days))
        names = {**memory.tenants, **tenant_names(found)}
        journal.replace_latest(run, rules.now, Subject.TENANTS, names)
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
        self,
        journal: Journal,
        run: int,
        plan: Plan,
        found: Reconciled,
        rules: Rules,
    ) -> ApplyResult:
        """Writes what is not on hold.

        Raises:
            StateError: An intent or an outcome could not be stored.
        """
        stop = self.options.stop
        context = ApplyContext(
            psas=self.setup.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=journal,
            run=run,
            today=rules.today,
            clock=self.setup.clock,
            pause=SystemClock(stop.requested).sleep,
            ends=self.setup.ends,
            stop=stop.requested,
            emergency=self.options.warn,
            progress=lambda _done, _total: None,
        )
        stop.writing = True
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
            accepted=() if refused else self.options.accept,
            last_line=f"{why} {result.last_line}".lstrip(),
        )
        if not self.options.clients.scope:
            at = result.generated_at
            journal.replace_latest(run, at, Subject.REPORT, plan_document(result))
            journal.replace_latest(run, at, Subject.CERTIFICATES, self._certificates(found))
        for error in applied.foreign_changes:
            self.options.on_message(Message.of(error))
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
                self.options.on_message(Message.of(error))
                raise
