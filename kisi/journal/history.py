"""What `kisi status` and `kisi explain` ask of the journal. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from sqlite3 import Row

from kisi.journal import clients, evidence, holds, operations, runs
from kisi.journal.codec import from_epoch, unpack
from kisi.journal.database import Database
from kisi.journal.evidence import PackedUsage
from kisi.journal.past import (
    ClientRecord,
    HeldPlan,
    Latest,
    LineHistory,
    QuantityRange,
    Run,
    StoredKey,
    UsageRecord,
)
from kisi.journal.records import (
    Billing,
    LineKey,
    Operation,
    Subject,
)
from kisi.model import TenantRef, categories_of


class History:
    """The journal's past, newest knowledge first where there is a choice.

    Every method raises `StateError` if the journal cannot be read.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def last_runs(self, count: int = 10, since: datetime | None = None) -> tuple[Run, ...]:
        """The newest `count` runs that began at or after `since`, newest first."""
        return runs.last_runs(self._db, count, since)

    def run(self, run_id: int) -> Run | None:
        """One run; None if there is none with this id."""
        return runs.run(self._db, run_id)

    def operations(self, run_id: int) -> tuple[Operation, ...]:
        """The writes that a run began, in its order."""
        return operations.operations_of(self._db, run_id)

    def clients(self, *, unmapped: bool = False) -> tuple[ClientRecord, ...]:
        """Clients by name; on demand also those that left the mapping."""
        return tuple(
            client
            for client in clients.clients(self._db)
            if unmapped or client.billing is not Billing.UNMAPPED
        )

    def line_history(self, name: str) -> tuple[LineHistory, ...]:
        """Every line of the clients called `name`, each with its quantities over time."""
        with self._db.snapshot():
            rows = self._db.rows(
                "SELECT line.*, client.psa, client.agreement, client.name AS client_name"
                " FROM line JOIN client ON client.id = line.client WHERE client.name = ?"
                " ORDER BY client.psa, client.agreement, line.id",
                name,
            )
            return tuple(self._line(row) for row in rows)

    def _line(self, row: Row) -> LineHistory:
        ranges = self._db.rows("SELECT * FROM line_quantity WHERE line = ? ORDER BY id", row["id"])
        return LineHistory(
            key=LineKey(row["psa"], row["agreement"], row["line_id"]),
            name=row["client_name"],
            product=row["product"],
            application=row["application"],
            categories=categories_of(row["categories"]),
            owned=bool(row["owned"]),
            quantities=tuple(
                QuantityRange(
                    quantity=Decimal(one["quantity"]),
                    first_run=one["first_run"],
                    first_at=from_epoch(one["first_at"]),
                    last_run=one["last_run"],
                    last_at=from_epoch(one["last_at"]),
                )
                for one in ranges
            ),
        )

    def open_holds(self) -> tuple[HeldPlan, ...]:
        """What waits for a person, one entry a client, with the id that releases it."""
        return holds.open_holds(self._db)

    def held_plan(self, plan_id: str) -> HeldPlan | None:
        """What an id stood for when a run last showed it, so that a stale one can be explained."""
        return holds.held_plan(self._db, plan_id)

    def usage_at(self, name: str, run_id: int | None = None) -> tuple[UsageRecord, ...]:
        """What each tenant of the clients called `name` used in a run, by default the last.

        A tenant that the run did not read is represented by the reading before, with `read` false.
        """
        return evidence.usage_at(self._db, name, run_id)

    def readings(
        self, run_id: int | None, tenants: Collection[TenantRef] | None = None
    ) -> Mapping[TenantRef, PackedUsage]:
        """Each tenant's newest reading (up to a run, if it is told); of all tenants, or of some.

        A tenant that was never read, or whose reading is too old to be kept, is missing.
        """
        return evidence.readings(self._db, run_id, tenants)

    def keys(self) -> tuple[StoredKey, ...]:
        """The licence keys of all billed clients, as last read: which expire soon?"""
        return evidence.keys(self._db)

    def latest(self, subject: Subject) -> Latest | None:
        """What the last run that knew it said about a subject, as plain JSON data."""
        row = self._db.row("SELECT * FROM latest WHERE subject = ?", subject)
        if row is None:
            return None
        return Latest(row["run"], from_epoch(row["at"]), unpack(object, row["value"]))
