"""Clients: who is mapped, in which state the last run found each, when it was last proven."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from sqlite3 import Row

from kisi.journal.codec import dumps, from_epoch, loads, storable
from kisi.journal.database import Database
from kisi.journal.past import ClientRecord
from kisi.journal.records import Billing, ClientState
from kisi.model import Company, Status, TenantRef

_SELECT = """
    SELECT client.*, state.status, state.guard, state.reason, state.remedy,
        state.first_at AS since_at, state.last_run, state.last_at
    FROM client LEFT JOIN client_state AS state
        ON state.id = (SELECT max(id) FROM client_state WHERE client = client.id)
"""


def client_id(db: Database, psa: str, company: str, agreement: str, name: str) -> int:
    """The row of the client billed on `agreement`, made or brought up to date."""
    row = db.row("SELECT * FROM client WHERE psa = ? AND agreement = ?", psa, agreement)
    if row is None:
        return db.execute(
            "INSERT INTO client (psa, agreement, company, name) VALUES (?, ?, ?, ?)",
            *(psa, agreement, company, name),
        )
    if (row["company"], row["name"]) != (company, name):
        db.execute("UPDATE client SET company = ?, name = ? WHERE id = ?", company, name, row["id"])
    return int(row["id"])


def record_mapping(db: Database, companies: Iterable[Company]) -> None:
    """Which clients there are now; every other one is unmapped and holds nothing open any more."""
    with db.transaction():
        mapped = set()
        for company in companies:
            client = client_id(db, company.psa, company.company, company.agreement, company.name)
            mapped.add(client)
            billing = Billing.ON if company.billing else Billing.OFF
            tenants = dumps(company.tenants)
            db.execute(
                "UPDATE client SET billing = ?, tenants = ?"
                " WHERE id = ? AND (billing != ? OR tenants != ?)",
                *(billing, tenants, client, billing, tenants),
            )
        for row in db.rows("SELECT id FROM client WHERE billing != ?", Billing.UNMAPPED):
            if row["id"] not in mapped:
                db.execute(
                    "UPDATE client SET billing = ? WHERE id = ?", Billing.UNMAPPED, row["id"]
                )
                db.execute("UPDATE plan SET open = 0 WHERE client = ?", row["id"])


def record_clients(
    db: Database, run_id: int, at: datetime, states: Iterable[ClientState]
) -> tuple[ClientRecord, ...]:
    """What a run found of each client; the same finding as before only moves the range's end."""
    with db.transaction():
        return tuple(_record(db, run_id, at, state) for state in states)


def _record(db: Database, run_id: int, at: datetime, state: ClientState) -> ClientRecord:
    client = client_id(db, state.psa, state.company, state.agreement, state.name)
    found = (state.status, state.guard, storable(state.reason), storable(state.remedy))
    last = db.row("SELECT * FROM client_state WHERE client = ? ORDER BY id DESC LIMIT 1", client)
    if last and (last["status"], last["guard"], last["reason"], last["remedy"]) == found:
        db.execute(
            "UPDATE client_state SET last_run = ?, last_at = ? WHERE id = ?",
            *(run_id, at, last["id"]),
        )
    else:
        db.execute(
            "INSERT INTO client_state (client, status, guard, reason, remedy,"
            " first_run, first_at, last_run, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(client, *found, run_id, at, run_id, at),
        )
    if state.confirmed:
        db.execute(
            "UPDATE client SET confirmed_run = ?, confirmed_at = ? WHERE id = ?",
            *(run_id, at, client),
        )
    (row,) = db.rows(f"{_SELECT} WHERE client.id = ?", client)
    return _client(row)


def clients(db: Database) -> tuple[ClientRecord, ...]:
    """Every client the journal knows, by name, then agreement."""
    return tuple(_client(row) for row in db.rows(f"{_SELECT} ORDER BY name, psa, agreement"))


def _client(row: Row) -> ClientRecord:
    def instant(column: str) -> datetime | None:
        return None if row[column] is None else from_epoch(row[column])

    return ClientRecord(
        name=row["name"],
        psa=row["psa"],
        company=row["company"],
        agreement=row["agreement"],
        billing=Billing(row["billing"]),
        tenants=loads(tuple[TenantRef, ...], row["tenants"]),
        status=row["status"] and Status(row["status"]),
        guard=row["guard"] or "",
        reason=row["reason"] or "",
        remedy=row["remedy"] or "",
        since_at=instant("since_at"),
        last_run=row["last_run"],
        last_at=instant("last_at"),
        confirmed_at=instant("confirmed_at"),
    )
