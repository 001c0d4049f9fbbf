"""The journal as the rest of kisi uses it: everything that a run writes, and what it needs back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kisi.errors import StateError
from kisi.journal import clients, damage, evidence, holds, lines, opening, operations, runs
from kisi.journal.codec import pack
from kisi.journal.database import Database
from kisi.journal.evidence import PackedUsage
from kisi.journal.history import History
from kisi.journal.past import ClientRecord
from kisi.journal.records import (
    ClientState,
    ConfirmedLine,
    LineKey,
    Operation,
    RunState,
    Subject,
)
from kisi.model import Company, LineSlot, Outcome, OwnedLine, Plan, PlannedLine


class Journal:
    """What kisi remembers between runs, in `journal.db` of the state folder.

    Every method that writes is one transaction: it is on disk when the method returns, and nothing
    of it is when it raises `StateError`. Methods may be called from several threads. Instants are
    aware and kept to the second; the journal never looks at a clock.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.history = History(db)
        """What `kisi status` and `kisi explain` ask."""
        self.crashed_runs: tuple[int, ...] = ()
        """Earlier runs that `begin_run` found without an end."""

    @classmethod
    def open(cls, state_dir: Path, *, readonly: bool = False) -> Self:
        """Opens the journal of a state folder.

        For writing, the folder (0700) and the journal are created if missing, the journal is
        checked, brought to the current version (a copy is kept) and proven writable. Only the
        holder of `kisi.lock.run_lock` opens for writing.

        Read-only, nothing is created or changed (but SQLite's own -wal and -shm files), and a
        missing or damaged journal reads as an empty one; see `problem`.

        Raises:
            StateError: It cannot be used, is damaged (set aside on opening for writing, see
                `repair`), is no journal, or was written by a newer kisi.
        """
        opener = opening.open_for_reading if readonly else opening.open_for_writing
        return cls(opener(state_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._db.close()

    @property
    def problem(self) -> StateError | None:
        """Read-only: why the journal is shown empty although there was one; else None."""
        return self._db.problem

    # --- runs -----------------------------------------------------------------------------------

    def begin_run(
        self, at: datetime, *, version: str, command: str, config_hash: str, plan_scope: str = ""
    ) -> int:
        """Starts a run and returns its id, which is higher than every earlier one.

        Runs that never ended are marked crashed; `crashed_runs` names them. Proves, before
        anything is sent, that the journal can grow.
        """
        run_id, self.crashed_runs = runs.begin(
            self._db, at, version, command, config_hash, plan_scope
        )
        return run_id

    def end_run(
        self,
        run_id: int,
        at: datetime,
        *,
        exit_code: int,
        state: RunState = RunState.FINISHED,
        summary: Mapping[str, Any],
        message: str,
    ) -> None:
        """Ends a run: its exit code, the numbers of its summary, and its last line."""
        runs.end(self._db, run_id, at, exit_code, state, summary, message)

    # --- lines ----------------------------------------------------------------------------------

    def facts(self, now: datetime, baseline_days: int) -> tuple[OwnedLine, ...]:
        """What is known of every line that kisi owns, ordered by PSA, agreement and line id.

        `highest` and `lowest` are over the quantities confirmed in the `baseline_days` before
        `now`, or since the line's last accept, whichever is shorter.
        """
        return lines.facts(self._db, now, baseline_days)

    def confirm(self, run_id: int, at: datetime, confirmed: Iterable[ConfirmedLine]) -> None:
        """These lines were read and hold what they should; kisi owns them from now on.

        An unknown outcome of an earlier write to one of them is settled by it.
        """
        with self._db.transaction():
            for line in confirmed:
                lines.confirm_line(self._db, run_id, at, line)

    def restate(self, run_id: int, changed: Iterable[ConfirmedLine]) -> None:
        """What these owned lines bill is as told; their quantity is not looked at."""
        lines.restate(self._db, run_id, changed)

    def disown(self, keys: Iterable[LineKey]) -> None:
        """These lines are not kisi's any more: excepted with `bill = false`, or gone for good."""
        lines.disown(self._db, keys)

    # --- operations -----------------------------------------------------------------------------

    def intent(self, run_id: int, at: datetime, line: PlannedLine, company: Company) -> Operation:
        """Commits that `line` of `company` is about to be written. Nothing is sent before."""
        return operations.intend(self._db, run_id, at, line, company)

    def outcome(
        self,
        operation: Operation,
        at: datetime,
        outcome: Outcome,
        *,
        line_id: str | None = None,
        quantity: Decimal | None = None,
        detail: str = "",
        request_id: str = "",
    ) -> None:
        """Commits what became of an operation in its own run.

        `APPLIED` and `UNCHANGED` also confirm the line, in the same transaction, at `quantity`
        (default: what was to be written) under `line_id` (needed for a create). `UNKNOWN` leaves
        the operation unsettled: `pending` returns it until `settle`, a later confirmation of the
        line, or another operation proves what the line holds.

        Raises:
            StateError: It could not be stored; print `emergency_line`, write nothing more.
            ValueError: A create is said to be applied and has no line id.
        """
        self.settle(
            operation,
            operation.run_id,
            at,
            outcome,
            line_id=line_id,
            quantity=quantity,
            detail=detail,
            request_id=request_id,
        )

    def pending(self) -> tuple[Operation, ...]:
        """Operations of which nobody knows what they did, oldest first.

        `outcome` is None where the process ended before an outcome was stored, and
        `Outcome.UNKNOWN` where reading could not tell.
        """
        return operations.unsettled(self._db)

    def settle(
        self,
        operation: Operation,
        run_id: int,
        at: datetime,
        outcome: Outcome,
        *,
        line_id: str | None = None,
        quantity: Decimal | None = None,
        detail: str = "",
        request_id: str = "",
    ) -> None:
        """Commits what a later run (`run_id`) found out about an operation; else as `outcome`."""
        operations.close(
            self._db,
            operation,
            run_id,
            at,
            outcome,
            line_id=line_id,
            quantity=quantity,
            detail=detail,
            request_id=request_id,
        )

    # --- clients, holds, accepts ----------------------------------------------------------------

    def record_mapping(self, companies: Iterable[Company]) -> None:
        """All clients of mapping.toml, billing on or off. Those not named are unmapped from now."""
        clients.record_mapping(self._db, companies)

    def record_clients(
        self, run_id: int, at: datetime, states: Iterable[ClientState]
    ) -> tuple[ClientRecord, ...]:
        """What the run found of each client it judged; returns each with its past."""
        return clients.record_clients(self._db, run_id, at, states)

    def record_plan(self, run_id: int, at: datetime, plan: Plan) -> None:
        """Keeps what is held under which id, and closes what these clients held before.

        Called with the guarded plan, and once more with what is left after accepts were applied.
        """
        holds.record_plan(self._db, run_id, at, plan)

    def refuse_used(self, plan_id: str) -> None:
        """Makes sure that an id can still be used.

        Raises:
            Withheld: It was used before; says who accepted it and when.
        """
        holds.refuse_used(self._db, plan_id)

    def accept(
        self, plan_id: str, run_id: int, at: datetime, who: str, keys: Mapping[str, Company]
    ) -> None:
        """Keeps which lines an id accepts, by their keys, each with its client.

        Raises:
            Withheld: The id was used before; nothing was changed.
        """
        holds.accept(self._db, plan_id, run_id, at, who, keys)

    def accepted(self) -> frozenset[str]:
        """The keys of the lines that were accepted and are not written yet."""
        return holds.accepted(self._db)

    def use_accepted(
        self, written: Iterable[PlannedLine], waiting: Iterable[tuple[Company, Collection[str]]]
    ) -> None:
        """Ends what was accepted and is written now, or asks for other numbers.

        Args:
            written: The lines that a guard held, that were accepted, and that are written now, each
                with the hold that was lifted. Each counts as accepted once more, its baseline
                starts anew, and its id is used.
            waiting: Each client that was planned, with the keys of the lines that guards still
                hold. What else was accepted of it is accepted no more.
        """
        holds.use_accepted(self._db, written, waiting)

    def accept_counts(self) -> Mapping[LineSlot, int]:
        """How often changes of a line were accepted, also of lines that kisi does not own."""
        return holds.accept_counts(self._db)

    # --- usage ----------------------------------------------------------------------------------

    def record_usage(self, run_id: int, usages: Iterable[tuple[Company, PackedUsage]]) -> None:
        """What the run read of each client's tenants; evidence is stored only if it changed."""
        evidence.record_usage(self._db, run_id, usages)

    def prune(self, before: datetime) -> int:
        """Forgets readings and closed holds last seen before an instant; returns how many readings.

        Lines, operations, runs and accepted ids are the books and are kept.
        """
        with self._db.transaction():
            holds.prune(self._db, before)
            return evidence.prune(self._db, before)

    def replace_latest(self, run_id: int, at: datetime, subject: Subject, value: object) -> None:
        """Keeps `value` (JSON data or dataclasses) in place of what the run before said of it."""
        with self._db.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)",
                *(subject, run_id, at, pack(value)),
            )


def repair(state_dir: Path) -> tuple[Path, ...]:
    """Acknowledges damage, so that the next run starts with an empty journal. The lock is held.

    A damaged journal that no run has met yet is set aside first. Returns the files that are kept;
    none if nothing was damaged.

    Raises:
        StateError: The folder cannot be used, or the journal is not damaged but unusable.
    """
    if (state_dir / damage.JOURNAL).exists() or damage.orphans(state_dir):
        try:
            Journal.open(state_dir).close()
        except StateError:
            if not damage.aside(state_dir):
                raise
    return damage.acknowledge(state_dir)
