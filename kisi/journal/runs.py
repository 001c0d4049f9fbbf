"""Runs: when each began, how it ended, which never did; and what only the last one says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from kisi.journal.codec import dumps, from_row, pack, unpack
from kisi.journal.database import Database

_SELECT = "SELECT * FROM run"


class RunState(StrEnum):
    """How far a run came."""

    RUNNING = "running"
    """It has begun and not ended; without a process that holds the lock it has crashed."""
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    """A later run found that it never ended."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command that may write."""

    id: int
    at: datetime
    version: str
    """kisi's own."""
    command: str
    config_hash: str
    plan_scope: str
    """`--only` and `--exclude` in words; empty for a run over all clients."""
    state: RunState
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    """The run's last line."""
    summary: Mapping[str, Any] = field(default_factory=dict)


class Subject(StrEnum):
    """What only the last run's value is kept of (`Journal.replace_latest`)."""

    REPORT = "report"
    """The run's JSON, as `sync --format json` prints it."""
    CERTIFICATES = "certificates"
    """The servers' certificates and when they expire."""
    TENANTS = "tenants"
    """What each tenant was called when it was last read: `source:tenant` to name."""


class Runs(Database):
    """The tables `run` and `latest`."""

    crashed_runs: tuple[int, ...] = ()
    """Earlier runs that `begin_run` found without an end."""

    def begin_run(
        self, at: datetime, *, version: str, command: str, config_hash: str, plan_scope: str = ""
    ) -> int:
        """Starts a run and returns its id, which is higher than every earlier one.

        Runs that never ended are marked crashed; `crashed_runs` names them. Proves, before
        anything is sent, that the journal can grow.
        """
        with self._transaction():
            running = self._rows("SELECT id FROM run WHERE state = ?", RunState.RUNNING)
            for row in running:
                self._update("run", row["id"], state=RunState.CRASHED)
            run_id = self._insert(
                "run",
                at=at,
                version=version,
                command=command,
                config_hash=config_hash,
                plan_scope=plan_scope,
                state=RunState.RUNNING,
            )
        self.crashed_runs = tuple(row["id"] for row in running)
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
        with self._transaction():
            self._update(
                "run",
                run_id,
                ended_at=at,
                exit_code=exit_code,
                state=state,
                summary=dumps(summary),
                message=message,
            )

    def last_runs(self, count: int = 10, since: datetime | None = None) -> tuple[Run, ...]:
        """The newest `count` runs that began at or after `since`, newest first."""
        rows = self._rows(f"{_SELECT} WHERE at >= ? ORDER BY id DESC LIMIT ?", since or 0, count)
        return tuple(from_row(Run, row) for row in rows)

    def run(self, run_id: int) -> Run | None:
        """One run; None if there is none with this id."""
        row = self._row(f"{_SELECT} WHERE id = ?", run_id)
        return None if row is None else from_row(Run, row)

    def _last_run(self, before: int | None = None) -> int:
        """The id of the newest run, or of the one before a run; 0 if there is none."""
        row = self._row("SELECT max(id) FROM run WHERE ? IS NULL OR id < ?", before, before)
        return (row and row[0]) or 0

    def replace_latest(self, run_id: int, at: datetime, subject: Subject, value: object) -> None:
        """Keeps `value` (JSON data or dataclasses) in place of what the run before said of it."""
        with self._transaction():
            values = (subject, run_id, at, pack(value))
            self._execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", *values)

    def latest(self, subject: Subject) -> Any:  # noqa: ANN401 - plain JSON data
        """What the last run that knew it said about a subject; None if none did."""
        row = self._row("SELECT value FROM latest WHERE subject = ?", subject)
        return None if row is None else unpack(Any, row["value"])
