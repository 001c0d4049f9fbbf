"""Runs: how each began and ended, what the last one says, and how each found every client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from kisi.errors import ExitCode
from kisi.journal.database import Database, dumps, from_row, loads, pack, storable
from kisi.json_text import fields
from kisi.model import Company, PlannedLine, Status, TenantRef

_CLIENTS = """
    SELECT client.*, state.status, state.guard, state.reason, state.remedy,
        state.first_at AS since_at, state.last_run, state.last_at,
        (SELECT max(id) FROM run WHERE id > state.last_run
            AND (plan_scope = '' OR state != 'finished')) AS missed_by
    FROM client LEFT JOIN client_state AS state
        ON state.id = (SELECT max(id) FROM client_state WHERE client = client.id)
    WHERE ? OR billing != ? ORDER BY name, psa, agreement
"""


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
    command: str
    config_hash: str
    plan_scope: str
    """`--client` and `--exclude` in words; empty for a run over all clients."""
    state: RunState
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


class Subject(StrEnum):
    """What only the last run's value is kept of (`Journal.replace_latest`)."""

    REPORT = "report"
    """The run's JSON, as `sync --format json` prints it."""
    CERTIFICATES = "certificates"
    """The servers' certificates and when they expire."""
    KEYS = "keys"
    """The licence keys of each mapped tenant (`KeyUse`), as it was last read."""
    TENANTS = "tenants"
    """What each tenant was called when it was last read: `source:tenant` to name."""
    DOUBLES = "doubles"
    """How many devices a person lets two tenants count (`kisi.planning.AcceptedDoubles`)."""


class Billing(StrEnum):
    """Where a client stands in the mapping that was recorded last."""

    ON = "on"
    OFF = "off"
    UNMAPPED = "unmapped"


@dataclass(frozen=True, slots=True)
class ClientState:
    """What a run found of one client."""

    company: Company
    status: Status
    guard: str = ""
    reason: str = ""
    remedy: str = ""
    confirmed: bool = False
    """All its lines hold what this run counted."""


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client as the journal last saw it."""

    name: str
    psa: str
    company: str
    agreement: str
    billing: Billing
    tenants: tuple[TenantRef, ...]
    status: Status | None = None
    guard: str = ""
    reason: str = ""
    remedy: str = ""
    since_at: datetime | None = None
    """The first run that found it in this very state, and no run another since."""
    last_run: int | None = None
    last_at: datetime | None = None
    confirmed_at: datetime | None = None
    missed_by: int | None = None
    """A newer run that should have judged it, and was killed, broke off, or is under way."""


class Runs(Database):
    """The tables `run`, `latest`, `client` and `client_state`."""

    crashed_runs: tuple[int, ...] = ()
    """Earlier runs that `begin_run` found without an end."""

    def begin_run(
        self, at: datetime, *, version: str, command: str, config_hash: str, plan_scope: str = ""
    ) -> int:
        """Starts a run and returns its id, the highest; runs without an end are marked crashed."""
        what = {"version": version, "command": command, "config_hash": config_hash}
        with self._transaction():
            running = self._rows("SELECT id FROM run WHERE state = ?", RunState.RUNNING)
            for row in running:
                self._update("run", row["id"], state=RunState.CRASHED)
            begun = {"at": at, "plan_scope": plan_scope, "state": RunState.RUNNING}
            run_id = self._insert("run", **what, **begun)
        self.crashed_runs = tuple(row["id"] for row in running)
        return run_id

    def end_run(
        self, run_id: int, at: datetime, *, exit_code: int, summary: Mapping[str, Any], message: str
    ) -> None:
        """Ends a run: its exit code, the numbers of its summary, and its last line."""
        stopped = exit_code == ExitCode.INTERRUPTED
        state = RunState.INTERRUPTED if stopped else RunState.FINISHED
        ended = {"ended_at": at, "exit_code": exit_code, "state": state, "message": message}
        with self._transaction():
            self._update("run", run_id, **ended, summary=dumps(summary))

    def last_runs(self, count: int = 10, since: datetime | None = None) -> tuple[Run, ...]:
        """The newest `count` runs that began at or after `since`, newest first."""
        newest = "SELECT * FROM run WHERE at >= ? ORDER BY id DESC LIMIT ?"
        return tuple(from_row(Run, row) for row in self._rows(newest, since or 0, count))

    def run(self, run_id: int) -> Run | None:
        """One run, if there is one with this id."""
        row = self._row("SELECT * FROM run WHERE id = ?", run_id)
        return None if row is None else from_row(Run, row)

    def _last_run(self, before: int | None = None) -> int:
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
        return None if row is None else loads(Any, row["value"], subject)

    def record_mapping(self, companies: Iterable[Company]) -> None:
        """All clients of mapping.toml; every other one is unmapped and holds nothing open now."""
        with self._transaction():
            mapped = set()
            for company in companies:
                client = self._client(company)
                mapped.add(client)
                billing = Billing.ON if company.billing else Billing.OFF
                self._update("client", client, billing=billing, tenants=dumps(company.tenants))
            for row in self._rows("SELECT id FROM client WHERE billing != ?", Billing.UNMAPPED):
                if row["id"] not in mapped:
                    self._update("client", row["id"], billing=Billing.UNMAPPED)
                    self._execute("UPDATE plan SET open = 0 WHERE client = ?", row["id"])

    def record_clients(self, run_id: int, at: datetime, states: Iterable[ClientState]) -> None:
        """What the run found of each client; the same as before only moves its range's end."""
        newest = "SELECT * FROM client_state WHERE client = ? ORDER BY id DESC LIMIT 1"
        with self._transaction():
            for state in states:
                client = self._client(state.company)
                found = fields(state, "status guard reason remedy")
                last = self._row(newest, client)
                is_same = last and all(last[name] == storable(found[name]) for name in found)
                same = last if is_same else None
                self._record_range("client_state", same, run_id, at, client=client, **found)
                if state.confirmed:
                    self._update("client", client, confirmed_run=run_id, confirmed_at=at)

    def confirmed(self) -> Mapping[tuple[str, str], int]:
        """The last run that confirmed each client, by PSA and agreement."""
        rows = self._rows("SELECT * FROM client WHERE confirmed_run IS NOT NULL")
        return {(row["psa"], row["agreement"]): row["confirmed_run"] for row in rows}

    def clients(self, *, unmapped: bool = False) -> tuple[ClientRecord, ...]:
        """Clients by name, then agreement; on demand also those that left the mapping."""
        rows = self._rows(_CLIENTS, unmapped, Billing.UNMAPPED)
        return tuple(from_row(ClientRecord, row) for row in rows)

    def _client(self, of: Company | PlannedLine, name: str | None = None) -> int:
        """The row of the client billed on an agreement, made or brought up to date.

        Without a `name` or a company, a client that is known keeps what is known of it.
        """
        name = of.name if isinstance(of, Company) else name
        where = (of.psa, of.agreement)
        row = self._row("SELECT * FROM client WHERE psa = ? AND agreement = ?", *where)
        if row is None:
            return self._insert("client", **fields(of, "psa agreement company"), name=name or "")
        if name is not None and (row["company"], row["name"]) != (of.company, name):
            self._update("client", row["id"], company=of.company, name=name)
        return int(row["id"])
