"""Clients: who is mapped, in which state the last run found each, when it was last proven."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kisi.journal.codec import dumps, from_row, storable
from kisi.journal.database import Part
from kisi.journal.records import Billing, ClientRecord, ClientState
from kisi.model import Company

_SELECT = """
    SELECT client.*, state.status, coalesce(state.guard, '') AS guard,
        coalesce(state.reason, '') AS reason, coalesce(state.remedy, '') AS remedy,
        state.first_at AS since_at, state.last_run, state.last_at
    FROM client LEFT JOIN client_state AS state
        ON state.id = (SELECT max(id) FROM client_state WHERE client = client.id)
"""


class Clients(Part):
    """The tables `client` and `client_state`."""

    def record_mapping(self, companies: Iterable[Company]) -> None:
        """All clients of mapping.toml, billing on or off.

        Every other client is unmapped from now on, and holds nothing open any more.
        """
        with self._db.transaction():
            mapped = set()
            for company in companies:
                client = self._client(company)
                mapped.add(client)
                billing = Billing.ON if company.billing else Billing.OFF
                tenants = dumps(company.tenants)
                self._db.execute(
                    "UPDATE client SET billing = ?, tenants = ?"
                    " WHERE id = ? AND (billing != ? OR tenants != ?)",
                    *(billing, tenants, client, billing, tenants),
                )
            for row in self._db.rows("SELECT id FROM client WHERE billing != ?", Billing.UNMAPPED):
                if row["id"] not in mapped:
                    self._db.execute(
                        "UPDATE client SET billing = ? WHERE id = ?", Billing.UNMAPPED, row["id"]
                    )
                    self._db.execute("UPDATE plan SET open = 0 WHERE client = ?", row["id"])

    def record_clients(
        self, run_id: int, at: datetime, states: Iterable[ClientState]
    ) -> tuple[ClientRecord, ...]:
        """What the run found of each client it judged; returns each with its past.

        The same finding as before only moves the end of its range of runs.
        """
        with self._db.transaction():
            return tuple(self._record_client(run_id, at, state) for state in states)

    def _record_client(self, run_id: int, at: datetime, state: ClientState) -> ClientRecord:
        client = self._client_id(state.psa, state.company, state.agreement, state.name)
        found = (state.status, state.guard, storable(state.reason), storable(state.remedy))
        last = self._db.row(
            "SELECT * FROM client_state WHERE client = ? ORDER BY id DESC LIMIT 1", client
        )
        if last and (last["status"], last["guard"], last["reason"], last["remedy"]) == found:
            self._db.execute(
                "UPDATE client_state SET last_run = ?, last_at = ? WHERE id = ?",
                *(run_id, at, last["id"]),
            )
        else:
            self._db.execute(
                "INSERT INTO client_state (client, status, guard, reason, remedy,"
                " first_run, first_at, last_run, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(client, *found, run_id, at, run_id, at),
            )
        if state.confirmed:
            self._db.execute(
                "UPDATE client SET confirmed_run = ?, confirmed_at = ? WHERE id = ?",
                *(run_id, at, client),
            )
        (row,) = self._db.rows(f"{_SELECT} WHERE client.id = ?", client)
        return from_row(ClientRecord, row)

    def clients(self, *, unmapped: bool = False) -> tuple[ClientRecord, ...]:
        """Clients by name, then agreement; on demand also those that left the mapping."""
        rows = self._db.rows(
            f"{_SELECT} WHERE ? OR billing != ? ORDER BY name, psa, agreement",
            *(unmapped, Billing.UNMAPPED),
        )
        return tuple(from_row(ClientRecord, row) for row in rows)

    def _client(self, company: Company) -> int:
        """The row of a client of the mapping."""
        return self._client_id(company.psa, company.company, company.agreement, company.name)

    def _client_id(self, psa: str, company: str, agreement: str, name: str | None = None) -> int:
        """The row of the client billed on `agreement`, made or brought up to date.

        Without a `name`, a client that is known keeps what is known of it.
        """
        row = self._db.row("SELECT * FROM client WHERE psa = ? AND agreement = ?", psa, agreement)
        if row is None:
            return self._db.execute(
                "INSERT INTO client (psa, agreement, company, name) VALUES (?, ?, ?, ?)",
                *(psa, agreement, company, name or ""),
            )
        if name is not None and (row["company"], row["name"]) != (company, name):
            self._db.execute(
                "UPDATE client SET company = ?, name = ? WHERE id = ?", company, name, row["id"]
            )
        return int(row["id"])
