"""What tenants used, with the evidence, stored once per change of its content.

A run that reads the same content again moves the end of a range and adds nothing. A range covers
runs that follow each other: if a tenant was not read in between, a new range of the same content
begins, so that no run is said to have read what it did not.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from sqlite3 import Row
from zlib import compress

from kisi.journal.clients import client_id, clients
from kisi.journal.codec import dumps, fingerprint, from_epoch, unpack
from kisi.journal.database import Database
from kisi.journal.past import StoredKey, UsageRecord
from kisi.journal.records import Billing
from kisi.journal.runs import last_run
from kisi.model import ApplicationUsage, Company, TenantRef, TenantUsage

_NEWEST = """
    SELECT usage.*, content.body, client.name, client.psa, client.agreement
    FROM usage JOIN content ON content.id = usage.content JOIN client ON client.id = usage.client
    WHERE usage.id IN (SELECT max(id) FROM usage WHERE first_run <= ? GROUP BY client, tenant)
        AND (? IS NULL OR client.name = ?)
    ORDER BY client.name, usage.client, usage.tenant
"""
_PREVIOUS = """
    SELECT usage.last_run, usage.last_at, content.body
    FROM usage JOIN content ON content.id = usage.content
    WHERE usage.client = ? AND usage.tenant = ? AND usage.id < ? AND usage.content != ?
    ORDER BY usage.id DESC LIMIT 1
"""
_READINGS = """
    SELECT usage.tenant, usage.last_at, content.fingerprint, content.body
    FROM usage JOIN content ON content.id = usage.content
    WHERE usage.id IN (SELECT max(id) FROM usage WHERE first_run <= coalesce(?, first_run)
            GROUP BY tenant)
        AND (? IS NULL OR usage.tenant IN (SELECT value FROM json_each(?)))
"""


@dataclass(frozen=True, slots=True)
class PackedUsage:
    """A tenant's usage as the journal stores it: a few bytes a device instead of hundreds."""

    tenant: TenantRef
    at: datetime
    fingerprint: bytes
    """Of the content without its time, so that equal readings are stored once."""
    body: bytes

    @classmethod
    def of(cls, usage: TenantUsage) -> PackedUsage:
        """Packs a usage with all its evidence."""
        text = dumps(_canonical(usage))
        body = compress(text.encode("ascii"), 9)
        return cls(usage.tenant.ref, usage.at, fingerprint(text), body)

    def whole(self) -> TenantUsage:
        """The usage that was packed, with all its evidence."""
        usage: TenantUsage = unpack(TenantUsage, self.body)
        return replace(usage, at=self.at)


def record_usage(db: Database, run_id: int, usages: Iterable[tuple[Company, PackedUsage]]) -> None:
    """Stores what the run read of each tenant."""
    with db.transaction():
        run_before = last_run(db, before=run_id)
        for company, usage in usages:
            client = client_id(db, company.psa, company.company, company.agreement, company.name)
            _record(db, client, run_id, run_before, usage)


def _record(db: Database, client: int, run_id: int, run_before: int, usage: PackedUsage) -> None:
    tenant = str(usage.tenant)
    content = _content(db, usage)
    last = db.row(
        "SELECT * FROM usage WHERE client = ? AND tenant = ? ORDER BY id DESC LIMIT 1",
        *(client, tenant),
    )
    if last and last["content"] == content and last["last_run"] >= run_before:
        db.execute(
            "UPDATE usage SET last_run = ?, last_at = ? WHERE id = ?", run_id, usage.at, last["id"]
        )
        return
    db.execute(
        "INSERT INTO usage (client, tenant, content, first_run, first_at, last_run, last_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(client, tenant, content, run_id, usage.at, run_id, usage.at),
    )


def _canonical(usage: TenantUsage) -> TenantUsage:
    """The usage without what differs between readings of the same thing: time and order."""
    return replace(
        usage,
        at=from_epoch(0),
        applications=tuple(
            sorted(map(_sorted, usage.applications), key=lambda one: one.application)
        ),
        unmapped=tuple(sorted(usage.unmapped, key=dumps)),
        keys=tuple(sorted(usage.keys, key=lambda key: key.serial)),
    )


def _sorted(application: ApplicationUsage) -> ApplicationUsage:
    return replace(
        application,
        evidence=tuple(
            sorted(application.evidence, key=lambda e: (e.device, e.serial, e.reason, e.name))
        ),
        keys=tuple(sorted(application.keys, key=lambda key: key.serial)),
        unknown_devices=tuple(sorted(application.unknown_devices)),
    )


def _content(db: Database, usage: PackedUsage) -> int:
    """The row of a content, stored now if it never was."""
    row = db.row("SELECT id FROM content WHERE fingerprint = ?", usage.fingerprint)
    if row is not None:
        return int(row["id"])
    insert = "INSERT INTO content (fingerprint, body) VALUES (?, ?)"
    return db.execute(insert, usage.fingerprint, usage.body)


def prune(db: Database, before: datetime) -> int:
    """Inside a transaction: forgets readings that ended before an instant; returns how many."""
    (row,) = db.rows("SELECT count(*) FROM usage WHERE last_at < ?", before)
    db.execute("DELETE FROM usage WHERE last_at < ?", before)
    db.execute("DELETE FROM content WHERE id NOT IN (SELECT content FROM usage)")
    return int(row[0])


def usage_at(db: Database, name: str, run_id: int | None) -> tuple[UsageRecord, ...]:
    """What each tenant of the clients called `name` used in a run, by default the last.

    A tenant that the run did not read is represented by the reading before, with `read` false;
    tenants that are no longer the client's appear only in runs that read them.
    """
    with db.snapshot():
        asked = last_run(db) if run_id is None else run_id
        mapped = {
            (client.psa, client.agreement): {str(ref) for ref in client.tenants}
            for client in clients(db)
            if client.name == name
        }
        rows = db.rows(_NEWEST, asked, name, name)
        return tuple(
            _usage(db, row, asked)
            for row in rows
            if row["last_run"] >= asked or row["tenant"] in mapped[row["psa"], row["agreement"]]
        )


def _usage(db: Database, row: Row, asked: int) -> UsageRecord:
    previous = db.row(_PREVIOUS, row["client"], row["tenant"], row["id"], row["content"])
    return UsageRecord(
        name=row["name"],
        psa=row["psa"],
        agreement=row["agreement"],
        usage=_restored(row),
        first_run=row["first_run"],
        first_at=from_epoch(row["first_at"]),
        last_run=row["last_run"],
        last_at=from_epoch(row["last_at"]),
        read=row["last_run"] >= asked,
        previous=None if previous is None else _restored(previous),
        previous_run=None if previous is None else previous["last_run"],
    )


def _restored(row: Row) -> TenantUsage:
    usage: TenantUsage = unpack(TenantUsage, row["body"])
    return replace(usage, at=from_epoch(row["last_at"]))


def readings(
    db: Database, run_id: int | None, tenants: Collection[TenantRef] | None = None
) -> Mapping[TenantRef, PackedUsage]:
    """Each tenant's newest reading (up to a run, if it is told), whoever's tenant it was."""
    wanted = None if tenants is None else json.dumps(sorted(map(str, tenants)))
    found = {}
    for row in db.rows(_READINGS, run_id, wanted, wanted):
        source, _, tenant = row["tenant"].partition(":")
        ref = TenantRef(source, tenant)
        at = from_epoch(row["last_at"])
        found[ref] = PackedUsage(ref, at, row["fingerprint"], row["body"])
    return found


def keys(db: Database) -> tuple[StoredKey, ...]:
    """All keys in the newest reading of every tenant that is mapped and billed."""
    with db.snapshot():
        mapped = {
            (client.psa, client.agreement, str(ref))
            for client in clients(db)
            if client.billing is Billing.ON
            for ref in client.tenants
        }
        rows = db.rows(_NEWEST, last_run(db), None, None)
    return tuple(
        StoredKey(row["name"], usage.tenant.ref, key)
        for row in rows
        if (row["psa"], row["agreement"], row["tenant"]) in mapped
        for usage in (_restored(row),)
        for key in usage.keys
    )
