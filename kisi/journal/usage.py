"""What tenants used, with the evidence, stored once per change of its content.

A run that reads the same content again moves the end of a range and adds nothing. A range covers
runs that follow each other: if a tenant was not read in between, a new range of the same content
begins, so that no run is said to have read what it did not.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from sqlite3 import Row
from zlib import compress

from kisi.journal.clients import Clients
from kisi.journal.codec import dumps, fingerprint, from_epoch, from_row, unpack
from kisi.journal.days import Days, Quantities
from kisi.journal.records import Billing, StoredKey, UsageRecord, tenant_ref
from kisi.journal.runs import Runs
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

_NOTHING: Quantities = {}


@dataclass(frozen=True, slots=True)
class PackedUsage:
    """A tenant's usage as the journal stores it: a few bytes a device instead of hundreds."""

    tenant: TenantRef
    at: datetime
    fingerprint: bytes
    """Of the content without its time, so that equal readings are stored once."""
    body: bytes
    quantities: Mapping[str, Quantities] = field(default_factory=dict, compare=False)
    """What was counted, by application; only of a usage that is about to be stored."""

    @classmethod
    def of(cls, usage: TenantUsage, counted: Iterable[str] = ()) -> PackedUsage:
        """Packs a usage with all its evidence.

        Args:
            usage: What to pack.
            counted: The applications that were looked for: one that is not in `usage` is 0.
        """
        text = dumps(_canonical(usage))
        body = compress(text.encode("ascii"), 9)
        found = {one.application: one.quantities for one in usage.applications}
        quantities = dict.fromkeys(counted, _NOTHING) | found
        return cls(usage.tenant.ref, usage.at, fingerprint(text), body, quantities)

    def whole(self) -> TenantUsage:
        """The usage that was packed, with all its evidence."""
        usage: TenantUsage = unpack(TenantUsage, self.body)
        return replace(usage, at=self.at)


class Usages(Clients, Runs, Days):
    """The tables `usage` and `content`."""

    def record_usage(
        self, run_id: int, usages: Iterable[tuple[Company, PackedUsage]], day: date
    ) -> None:
        """What the run read of each client's tenants; evidence is stored only if it changed.

        Args:
            run_id: The run.
            usages: Complete readings.
            day: The day in the billing time zone, whose reading this is from now on (`days`).
        """
        with self._db.transaction():
            run_before = self._last_run(before=run_id)
            for company, usage in usages:
                self._record(self._client(company), run_id, run_before, usage)
                for application, quantities in usage.quantities.items():
                    self._record_day(day, str(usage.tenant), application, quantities)

    def _record(self, client: int, run_id: int, run_before: int, usage: PackedUsage) -> None:
        tenant = str(usage.tenant)
        content = self._content(usage)
        last = self._db.row(
            "SELECT * FROM usage WHERE client = ? AND tenant = ? ORDER BY id DESC LIMIT 1",
            *(client, tenant),
        )
        if last and last["content"] == content and last["last_run"] >= run_before:
            self._db.execute(
                "UPDATE usage SET last_run = ?, last_at = ? WHERE id = ?",
                *(run_id, usage.at, last["id"]),
            )
        else:
            self._db.execute(
                "INSERT INTO usage (client, tenant, content, first_run, first_at, last_run,"
                " last_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(client, tenant, content, run_id, usage.at, run_id, usage.at),
            )

    def _content(self, usage: PackedUsage) -> int:
        """The row of a content, stored now if it never was."""
        row = self._db.row("SELECT id FROM content WHERE fingerprint = ?", usage.fingerprint)
        if row is not None:
            return int(row["id"])
        insert = "INSERT INTO content (fingerprint, body) VALUES (?, ?)"
        return self._db.execute(insert, usage.fingerprint, usage.body)

    def usage_at(self, name: str, run_id: int | None = None) -> tuple[UsageRecord, ...]:
        """What each tenant of the clients called `name` used in a run, by default the last.

        A tenant that the run did not read is represented by the reading before, with `read` false;
        tenants that are no longer the client's appear only in runs that read them.
        """
        with self._db.snapshot():
            asked = self._last_run() if run_id is None else run_id
            mapped = {
                (client.psa, client.agreement, str(ref))
                for client in self.clients(unmapped=True)
                for ref in client.tenants
            }
            return tuple(
                self._usage(row, asked)
                for row in self._db.rows(_NEWEST, asked, name, name)
                if row["last_run"] >= asked or _where(row) in mapped
            )

    def _usage(self, row: Row, asked: int) -> UsageRecord:
        previous = self._db.row(_PREVIOUS, row["client"], row["tenant"], row["id"], row["content"])
        return from_row(
            UsageRecord,
            row,
            usage=_restored(row),
            read=row["last_run"] >= asked,
            previous=previous and _restored(previous),
            previous_run=previous and previous["last_run"],
        )

    def readings(
        self, run_id: int | None, tenants: Collection[TenantRef] | None = None
    ) -> Mapping[TenantRef, PackedUsage]:
        """Each tenant's newest reading (up to a run, if it is told), of all tenants or of some.

        It is the tenant's, whoever's tenant it was then.

        A tenant that was never read, or whose reading is too old to be kept, is missing.
        """
        wanted = None if tenants is None else json.dumps(sorted(map(str, tenants)))
        found = {}
        for row in self._db.rows(_READINGS, run_id, wanted, wanted):
            ref = tenant_ref(row["tenant"])
            at = from_epoch(row["last_at"])
            found[ref] = PackedUsage(ref, at, row["fingerprint"], row["body"])
        return found

    def keys(self) -> tuple[StoredKey, ...]:
        """The licence keys of all billed clients, as last read: which expire soon?"""
        with self._db.snapshot():
            mapped = {
                (client.psa, client.agreement, str(ref))
                for client in self.clients()
                if client.billing is Billing.ON
                for ref in client.tenants
            }
            rows = self._db.rows(_NEWEST, self._last_run(), None, None)
        return tuple(
            StoredKey(row["name"], tenant_ref(row["tenant"]), key)
            for row in rows
            if _where(row) in mapped
            for key in _restored(row).keys
        )

    def _prune_usage(self, before: datetime) -> int:
        """Inside a transaction: forgets readings that ended before an instant; how many?"""
        (row,) = self._db.rows("SELECT count(*) FROM usage WHERE last_at < ?", before)
        self._db.execute("DELETE FROM usage WHERE last_at < ?", before)
        self._db.execute("DELETE FROM content WHERE id NOT IN (SELECT content FROM usage)")
        return int(row[0])


def _where(row: Row) -> tuple[str, str, str]:
    return row["psa"], row["agreement"], row["tenant"]


def _restored(row: Row) -> TenantUsage:
    usage: TenantUsage = unpack(TenantUsage, row["body"])
    return replace(usage, at=from_epoch(row["last_at"]))


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
