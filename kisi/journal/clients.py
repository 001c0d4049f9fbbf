"""Clients: who is mapped, in which state the last run found each, when it was last proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kisi.journal.codec import dumps, from_row, storable
from kisi.journal.database import Database
from kisi.json_text import fields
from kisi.model import Company, Status, TenantRef

_SELECT = """
    SELECT client.*, state.status, state.guard, state.reason, state.remedy,
        state.first_at AS since_at, state.last_run, state.last_at
    FROM client LEFT JOIN client_state AS state
        ON state.id = (SELECT max(id) FROM client_state WHERE client = client.id)
"""


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
    """Which guard held or failed it; empty if none did."""
    reason: str = ""
    remedy: str = ""
    confirmed: bool = False
    """All its lines are proven to hold what this run counted."""


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
    """None: no run has looked at it yet."""
    guard: str = ""
    reason: str = ""
    remedy: str = ""
    since_at: datetime | None = None
    """The first run that found it in this very state, without another state in between."""
    last_run: int | None = None
    last_at: datetime | None = None
    confirmed_at: datetime | None = None
    """When all its lines were last proven; None if they never were."""


class Clients(Database):
    """The tables `client` and `client_state`."""

    def record_mapping(self, companies: Iterable[Company]) -> None:
        """All clients of mapping.toml, billing on or off.

        Every other client is unmapped from now on, and holds nothing open any more.
        """
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
        """What the run found of each client it judged.

        The same finding as before only moves the end of its range of runs.
        """
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

    def clients(self, *, unmapped: bool = False) -> tuple[ClientRecord, ...]:
        """Clients by name, then agreement; on demand also those that left the mapping."""
        rows = self._rows(
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
        row = self._row("SELECT * FROM client WHERE psa = ? AND agreement = ?", psa, agreement)
        if row is None:
            return self._insert(
                "client", psa=psa, agreement=agreement, company=company, name=name or ""
            )
        if name is not None and (row["company"], row["name"]) != (company, name):
            self._update("client", row["id"], company=company, name=name)
        return int(row["id"])
