"""Runs: when each began, how it ended, which never did; and what only the last one says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kisi.journal.codec import dumps, from_row, pack
from kisi.journal.database import Part
from kisi.journal.records import Latest, Run, RunState, Subject

_SELECT = "SELECT * FROM run"


class Runs(Part):
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
        with self._db.transaction():
            running = self._db.rows("SELECT id FROM run WHERE state = ?", RunState.RUNNING)
            self._db.execute(
                "UPDATE run SET state = ? WHERE state = ?", RunState.CRASHED, RunState.RUNNING
            )
            run_id = self._db.execute(
                "INSERT INTO run (at, version, command, config_hash, plan_scope, state)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                *(at, version, command, config_hash, plan_scope, RunState.RUNNING),
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
        with self._db.transaction():
            self._db.execute(
                "UPDATE run SET ended_at = ?, exit_code = ?, state = ?, summary = ?, message = ?"
                " WHERE id = ?",
                *(at, exit_code, state, dumps(summary), message, run_id),
            )

    def last_runs(self, count: int = 10, since: datetime | None = None) -> tuple[Run, ...]:
        """The newest `count` runs that began at or after `since`, newest first."""
        rows = self._db.rows(
            f"{_SELECT} WHERE at >= ? ORDER BY id DESC LIMIT ?",
            *(0 if since is None else since, count),
        )
        return tuple(from_row(Run, row) for row in rows)

    def run(self, run_id: int) -> Run | None:
        """One run; None if there is none with this id."""
        row = self._db.row(f"{_SELECT} WHERE id = ?", run_id)
        return None if row is None else from_row(Run, row)

    def _last_run(self, before: int | None = None) -> int:
        """The id of the newest run, or of the one before a run; 0 if there is none."""
        row = self._db.row("SELECT max(id) FROM run WHERE ? IS NULL OR id < ?", before, before)
        return (row and row[0]) or 0

    def replace_latest(self, run_id: int, at: datetime, subject: Subject, value: object) -> None:
        """Keeps `value` (JSON data or dataclasses) in place of what the run before said of it."""
        with self._db.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)",
                *(subject, run_id, at, pack(value)),
            )

    def latest(self, subject: Subject) -> Latest | None:
        """What the last run that knew it said about a subject, as plain JSON data."""
        row = self._db.row("SELECT *, run AS run_id FROM latest WHERE subject = ?", subject)
        return None if row is None else from_row(Latest, row)
