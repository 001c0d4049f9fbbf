"""Runs: when each began, how it ended, which never did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from sqlite3 import Row
from typing import Any

from kisi.journal.codec import dumps, from_epoch
from kisi.journal.database import Database
from kisi.journal.past import Run
from kisi.journal.records import RunState


def begin(
    db: Database, at: datetime, version: str, command: str, config_hash: str, plan_scope: str
) -> tuple[int, tuple[int, ...]]:
    """Starts a run: its id, and the earlier runs that never ended, now marked crashed."""
    with db.transaction():
        running = db.rows("SELECT id FROM run WHERE state = ?", RunState.RUNNING)
        db.execute("UPDATE run SET state = ? WHERE state = ?", RunState.CRASHED, RunState.RUNNING)
        run_id = db.execute(
            "INSERT INTO run (at, version, command, config_hash, plan_scope, state)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(at, version, command, config_hash, plan_scope, RunState.RUNNING),
        )
    return run_id, tuple(row["id"] for row in running)


def end(
    db: Database,
    run_id: int,
    at: datetime,
    exit_code: int,
    state: RunState,
    summary: Mapping[str, Any],
    message: str,
) -> None:
    """Ends a run."""
    with db.transaction():
        db.execute(
            "UPDATE run SET ended_at = ?, exit_code = ?, state = ?, summary = ?, message = ?"
            " WHERE id = ?",
            *(at, exit_code, state, dumps(summary), message, run_id),
        )


def last_run(db: Database, before: int | None = None) -> int:
    """The id of the newest run, or of the one before a run; 0 if there is none."""
    row = db.row("SELECT max(id) FROM run WHERE ? IS NULL OR id < ?", before, before)
    return (row and row[0]) or 0


def last_runs(db: Database, count: int, since: datetime | None) -> tuple[Run, ...]:
    """The newest runs, newest first."""
    rows = db.rows(
        "SELECT * FROM run WHERE at >= ? ORDER BY id DESC LIMIT ?",
        *(0 if since is None else since, count),
    )
    return tuple(_run(row) for row in rows)


def run(db: Database, run_id: int) -> Run | None:
    """One run."""
    row = db.row("SELECT * FROM run WHERE id = ?", run_id)
    return None if row is None else _run(row)


def _run(row: Row) -> Run:
    return Run(
        id=row["id"],
        at=from_epoch(row["at"]),
        version=row["version"],
        command=row["command"],
        config_hash=row["config_hash"],
        plan_scope=row["plan_scope"],
        state=RunState(row["state"]),
        ended_at=None if row["ended_at"] is None else from_epoch(row["ended_at"]),
        exit_code=row["exit_code"],
        message=row["message"],
        summary=json.loads(row["summary"]),
    )
