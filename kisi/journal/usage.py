"""What tenants used: with the evidence, once per change of its content; and by day.

A range of runs has no run that did not read the tenant: after one, a new range begins.

Days, of the billing time zone, have their last complete reading, in ranges of days with the same
numbers. A day that nobody read, or on which nobody counted the application, is a gap, never a 0. A
reading that a guard holds is kept apart until it is accepted, beside an earlier one of the same
day, so that one wrong count poisons no period. Numbers that stay as they were stay held:

    day        1    2    3    4    5
    devices    50   50   5    5    50      a guard holds the fall of day 3
    held                 *    *            and the days are 50, 50, gap, gap, 50;
                                           once the 5 is accepted on day 4: 50, 50, 5, 5, 50
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b
from operator import attrgetter
from sqlite3 import Row
from typing import Any

from kisi.journal.database import LIGHTLY, dumps, from_epoch, from_row, loads, pack
from kisi.journal.runs import Runs, Subject
from kisi.json_text import fields
from kisi.model import Category, Company, KeyUse, TenantRef, TenantUsage

_NEWEST = """
    SELECT usage.*, usage.last_at AS at, content.fingerprint, content.body,
        client.name, client.psa, client.agreement, client.billing, usage.last_run >= ? AS read,
        EXISTS (SELECT 1 FROM json_each(client.tenants) WHERE usage.tenant =
            json_extract(value, '$.source') || ':' || json_extract(value, '$.tenant')) AS mapped
    FROM usage JOIN content ON content.id = usage.content JOIN client ON client.id = usage.client
    WHERE usage.id IN (SELECT max(id) FROM usage WHERE first_run <= ? GROUP BY client, tenant)
        AND (? IS NULL OR client.name = ?)
    ORDER BY client.name, usage.client, usage.tenant
"""
_LAST = """
    SELECT * FROM (SELECT * FROM usage WHERE client = ? AND tenant = ? ORDER BY id DESC LIMIT 1)
    WHERE content = ? AND last_run >= ?
"""
_PREVIOUS = """
    SELECT usage.*, usage.last_at AS at, content.fingerprint, content.body
    FROM usage JOIN content ON content.id = usage.content
    WHERE usage.client = ? AND usage.tenant = ? AND usage.id < ? AND usage.content != ?
    ORDER BY usage.id DESC LIMIT 1
"""
_SEEN = "SELECT devices FROM last_seen WHERE tenant = ?"
_READINGS = """
    SELECT usage.*, usage.last_at AS at, content.fingerprint, content.body
    FROM usage JOIN content ON content.id = usage.content
    WHERE usage.id IN (SELECT max(id) FROM usage WHERE first_run <= coalesce(?, first_run)
            GROUP BY tenant)
        AND (? IS NULL OR usage.tenant IN (SELECT value FROM json_each(?)))
"""
_BETWEEN = """
    SELECT usage.*, usage.last_at AS at, content.fingerprint, content.body,
        began.at AS began_at, ended.at AS ended_at
    FROM usage JOIN content ON content.id = usage.content JOIN client ON client.id = usage.client
        JOIN run AS began ON began.id = usage.first_run JOIN run AS ended ON ended.id = last_run
    WHERE client.psa = ? AND client.agreement = ? AND ended.at >= ? AND began.at < ?
    ORDER BY usage.id
"""
_DAYS_OVER = """
    SELECT * FROM usage_day
    WHERE tenant = ? AND application = ? AND first_day <= ? AND last_day >= ? ORDER BY held
"""
_DAYS_BETWEEN = """
    SELECT * FROM usage_day
    WHERE tenant IN (SELECT value FROM json_each(?)) AND last_day >= ? AND first_day <= ?
        AND NOT held
    ORDER BY tenant, application, first_day
"""
_HELD_DAYS = """
    SELECT * FROM usage_day WHERE held AND tenant = ? AND application = ? AND quantities = ?
"""
_DAY = timedelta(days=1)

Quantities = Mapping[Category, int]
"""What was counted, by category; one that is missing was counted too, and is 0."""
_NOTHING: Quantities = {}
Tenants = Collection[TenantRef] | None
"""Some tenants, or (None) all of them."""


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
    seen: bytes = field(default=b"", compare=False)
    """When its devices were last seen, packed; likewise."""

    @classmethod
    def of(
        cls,
        usage: TenantUsage,
        counted: Iterable[str] = (),
        seen: Mapping[str, datetime] | None = None,
    ) -> PackedUsage:
        """Packs a usage; of the applications looked for (`counted`), one that is not in it is 0.

        When a device was last `seen` changes daily: it is no part of the content.
        """
        text = dumps(_canonical(usage)).encode("ascii")
        found = {one.application: one.quantities for one in usage.applications}
        quantities = dict.fromkeys(counted, _NOTHING) | found
        fingerprint = blake2b(text, digest_size=16).digest()
        days = pack({device: str(at.date()) for device, at in seen.items()}) if seen else b""
        return cls(
            usage.tenant.ref, usage.at, fingerprint, zlib.compress(text, LIGHTLY), quantities, days
        )

    def may_have(self, devices: Iterable[str]) -> bool:
        """False: it names none of these, by own ids; nothing is made of its content to tell."""
        try:
            words = zlib.decompress(self.body).decode("ascii").split('"')
        except (zlib.error, UnicodeDecodeError):
            return True
        ids = (x for own in devices for x in (own, f"{self.tenant.tenant}/{own}"))
        return not {dumps(device).split('"')[1] for device in ids}.isdisjoint(words)

    def whole(self, without: str = "") -> TenantUsage:
        """The usage that was packed, with all its evidence, or `without` that."""
        what = f"what {self.tenant} used"
        usage: TenantUsage = loads(TenantUsage, self.body, what, without)
        return replace(usage, at=self.at)

    def numbers(self) -> TenantUsage:
        """The usage without its evidence: no value is made of each device."""
        return self.whole(without="evidence")


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one tenant of a client used, with the evidence, and for which runs that is proven."""

    name: str
    psa: str
    agreement: str
    usage: TenantUsage
    """`usage.at` is the newest of the readings that had this content."""
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime
    read: bool
    """False: the run that was asked for did not read this tenant; this is the reading before."""
    previous: TenantUsage | None = None
    """The last reading before that had another content; None if there was none, or it is pruned."""
    previous_run: int | None = None
    last_seen: Mapping[str, date] = field(default_factory=dict)
    """The day (UTC) on which a device was last seen, as its tenant's newest reading has it."""


@dataclass(frozen=True, slots=True)
class _Days:
    tenant: TenantRef
    application: str
    first_day: date
    last_day: date
    quantities: Quantities


class Usages(Runs):
    """The tables `usage`, `content`, `usage_day` and `last_seen`."""

    def record_usage(
        self,
        run_id: int,
        usages: Iterable[tuple[Company, PackedUsage]],
        day: date,
        doubted: Collection[tuple[TenantRef, str]] = (),
    ) -> None:
        """What the run read completely of each client's tenants, as the reading of `day`.

        `doubted` are the tenants and applications of which a guard holds what was counted.
        """
        with self._transaction():
            run_before = self._last_run(before=run_id)
            for company, usage in usages:
                known = "SELECT id FROM content WHERE fingerprint = ?"
                stored = self._row(known, usage.fingerprint)
                new = fields(usage, "fingerprint body")
                content = stored["id"] if stored else self._insert("content", **new)
                where = {"client": self._client(company), "tenant": str(usage.tenant)}
                same = self._row(_LAST, *where.values(), content, run_before)
                self._record_range("usage", same, run_id, usage.at, **where, content=content)
                values = (str(usage.tenant), usage.seen)
                if usage.seen:
                    self._execute("INSERT OR REPLACE INTO last_seen VALUES (?, ?)", *values)
                for application, quantities in usage.quantities.items():
                    held = (usage.tenant, application) in doubted
                    self._record_day(day, str(usage.tenant), application, quantities, held=held)

    def usage_at(self, name: str, run_id: int | None = None) -> tuple[UsageRecord, ...]:
        """What each tenant of the clients called `name` used in a run, by default the last.

        Of a tenant that it did not `read`, the reading before; but of none that left the client.
        """
        with self._transaction("BEGIN"):  # one state, while another process may write
            asked = self._last_run() if run_id is None else run_id
            found = []
            for row in self._rows(_NEWEST, asked, asked, name, name):
                if row["read"] or row["mapped"]:
                    which = (row["client"], row["tenant"], row["id"], row["content"])
                    more: dict[str, Any] = {"usage": from_row(PackedUsage, row).whole()}
                    more["last_seen"] = self.last_seen(row["tenant"])
                    for before in self._rows(_PREVIOUS, *which):
                        more["previous"] = from_row(PackedUsage, before).whole()
                        more["previous_run"] = before["last_run"]
                    found.append(from_row(UsageRecord, row, **more))
            return tuple(found)

    def last_seen(self, tenant: TenantRef | str) -> Mapping[str, date]:
        """The day (UTC) on which each device of a tenant was last seen, by its newest reading."""
        row = self._row(_SEEN, str(tenant))
        return loads(Mapping[str, date], row["devices"], "last_seen") if row else {}

    def usage_between(
        self, psa: str, agreement: str, first: datetime, end: datetime
    ) -> Iterator[tuple[datetime, datetime, TenantUsage]]:
        """What each tenant of a client used from `first` until before `end`, with the evidence.

        Each reading, one after another, with when the first and the last run began that read it.
        """
        for row in self._rows(_BETWEEN, psa, agreement, first, end):
            usage = from_row(PackedUsage, row).whole()
            yield from_epoch(row["began_at"]), from_epoch(row["ended_at"]), usage

    def readings(
        self, run_id: int | None, tenants: Tenants = None
    ) -> Mapping[TenantRef, PackedUsage]:
        """Each tenant's newest reading (up to a run, if told), whoever's tenant it was then."""
        wanted = _json(tenants)
        rows = self._rows(_READINGS, run_id, wanted, wanted)
        return {one.tenant: one for one in (from_row(PackedUsage, row) for row in rows)}

    def keys(self) -> Mapping[str, tuple[KeyUse, ...]]:
        """The keys of each tenant (`source:tenant`), as it was last read: which end soon?"""
        row = self._row("SELECT value FROM latest WHERE subject = ?", Subject.KEYS)
        return loads(Mapping[str, tuple[KeyUse, ...]], row["value"], "keys") if row else {}

    def days(
        self, first: date, last: date, tenants: Collection[TenantRef]
    ) -> Mapping[tuple[TenantRef, str], Mapping[date, Quantities]]:
        """What was counted on each day of a span, by tenant and application; gaps are missing."""
        found: dict[tuple[TenantRef, str], dict[date, Quantities]] = {}
        for row in self._rows(_DAYS_BETWEEN, _json(tenants), str(first), str(last)):
            span = from_row(_Days, row)
            days = found.setdefault((span.tenant, span.application), {})
            day = max(span.first_day, first)
            while day <= min(span.last_day, last):
                days[day] = span.quantities
                day += _DAY
        return found

    def accept_days(self, day: date, readings: Iterable[tuple[TenantRef, str]]) -> None:
        """What was counted last on a day is held no more, nor are other days of these numbers."""
        with self._transaction():
            for tenant, application in readings:
                where = (str(tenant), application)
                for newest in self._over(*where, day, day)[-1:]:
                    counted = newest["quantities"]
                    for row in self._rows(_HELD_DAYS, *where, counted):
                        span = from_row(_Days, row)
                        self._put_days(span.first_day, span.last_day, where, counted, held=False)

    def _over(self, tenant: str, application: str, first: date, last: date) -> list[Row]:
        return self._rows(_DAYS_OVER, tenant, application, str(last), str(first))

    def _record_day(
        self, day: date, tenant: str, application: str, quantities: Quantities, *, held: bool
    ) -> None:
        counted = dumps({category: number for category, number in quantities.items() if number})
        touching = self._over(tenant, application, day - _DAY, day)
        held = held or any(row["held"] for row in touching if row["quantities"] == counted)
        match touching:
            case [row] if (row["quantities"], row["held"]) == (counted, held):  # the usual night
                self._update("usage_day", row["id"], last_day=max(row["last_day"], str(day)))
            case _:
                self._put_days(day, day, (tenant, application), counted, held=held)

    def _put_days(
        self, first: date, last: date, where: tuple[str, str], quantities: str, *, held: bool
    ) -> None:
        """Cuts days out of the ranges that have them, and adds them to the one before, or as one.

        A held reading leaves one of other numbers from earlier on the same day.
        """
        before, after = str(first - _DAY), str(last + _DAY)
        for row in self._over(*where, first, last):
            if row["held"] or not held or row["quantities"] == quantities:
                self._execute("DELETE FROM usage_day WHERE id = ?", row["id"])
                for begins, ends in ((row["first_day"], before), (after, row["last_day"])):
                    if begins <= ends:
                        rest = {**dict(row), "id": None, "first_day": begins, "last_day": ends}
                        self._insert("usage_day", **rest)
        for row in self._over(*where, first - _DAY, first - _DAY):
            if (row["quantities"], row["held"]) == (quantities, held):
                self._update("usage_day", row["id"], last_day=str(last))
                return
        columns = ("tenant", "application", "first_day", "last_day", "quantities", "held")
        values = (*where, str(first), str(last), quantities, held)
        self._insert("usage_day", **dict(zip(columns, values, strict=True)))


def _json(tenants: Tenants) -> str | None:
    return None if tenants is None else json.dumps(sorted(map(str, tenants)))


def _canonical(usage: TenantUsage) -> TenantUsage:
    """The usage without what differs between equal readings: time and order."""
    applications = []
    for one in usage.applications:
        evidence = _sorted(one.evidence, "device serial reason name")
        keys, unknown = _sorted(one.keys, "serial"), tuple(sorted(one.unknown_devices))
        applications.append(replace(one, evidence=evidence, keys=keys, unknown_devices=unknown))
    return replace(
        usage,
        at=from_epoch(0),
        applications=_sorted(applications, "application"),
        unmapped=tuple(sorted(usage.unmapped, key=dumps)),
        keys=_sorted(usage.keys, "serial"),
    )


def _sorted(items: Iterable[Any], by: str) -> tuple[Any, ...]:
    return tuple(sorted(items, key=attrgetter(*by.split())))
