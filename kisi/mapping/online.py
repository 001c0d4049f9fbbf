"""What `kisi check --online` finds: what the mapping names and is gone, uses that do not count."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from kisi.counting import NOT_STORED, judge_key
from kisi.errors import KisiError, SourceError
from kisi.mapping.validator import StaleEntry, StaleReason, SystemValidator
from kisi.model import (
    AgreementRef,
    BillingMapping,
    CountingRules,
    Finding,
    Key,
    Level,
    Reading,
    Tenant,
    TenantRef,
    unmapped_tenants,
)
from kisi.planning import ref_of, rows_of
from kisi.sources import UsageSource

_NAMED = 5


def _finding(entry: StaleEntry) -> Finding:
    level = Level.WARNING if entry.reason is StaleReason.ENDING else Level.PROBLEM
    client = f"{entry.client}: " if entry.client else ""
    return Finding(level, client + entry.message, entry.remedy)


def check_lines(
    name: str, validator: SystemValidator, mapping: BillingMapping
) -> Iterator[Finding]:
    """Mapped agreements and products of a PSA that are gone, bill nothing, or are about to end."""
    clients = [client for client in mapping.companies if client.psa == name and client.billing]
    rows = [row for client in clients for row in rows_of(mapping, client).values()]
    try:
        validator.ask_for(clients, rows)
    except KisiError as error:
        yield Finding(Level.PROBLEM, error.message, error.remedy)
        return
    for client in clients:
        try:
            yield from map(_finding, validator.agreement(client))
        except KisiError as error:
            yield Finding(Level.PROBLEM, f"{client.name}: {error.message}", error.remedy)
    products = {entry.id: entry for row in rows for entry in validator.products(row)}
    yield from (_finding(products[ident]) for ident in sorted(products))
    yield Finding(
        Level.OK,
        f"psa.{name}: the agreements of all billed clients ({len(clients)}) were looked at.",
    )


def some_agreement(mapping: BillingMapping, psa: str) -> AgreementRef | None:
    """A mapped agreement of a PSA, to ask about rights on it."""
    refs = (ref_of(c) for c in mapping.companies if c.psa == psa and c.billing)
    return next(refs, None)


def check_tenants(
    name: str,
    source: UsageSource,
    validator: SystemValidator,
    mapping: BillingMapping,
    now: datetime,
    rules: CountingRules,
) -> Iterator[Finding]:
    """Mapped tenants that are gone or disabled, and keys that are in use and not counted."""
    billed = [
        replace(client, tenants=tuple(ref for ref in client.tenants if ref.source == name))
        for client in mapping.companies
        if client.billing
    ]
    try:
        stale = [entry for client in billed for entry in validator.tenants(client)]
        found = [validator.tenant(ref) for client in billed for ref in client.tenants]
    except SourceError:
        return  # the source says so itself
    yield from map(_finding, stale)
    present = [tenant for tenant in found if tenant is not None and tenant.enabled]
    in_use: dict[TenantRef, Key] = {}
    for ref, reading in source.read(present, lambda _key: False):
        if isinstance(reading, KisiError):
            yield Finding(Level.PROBLEM, reading.message, reading.remedy)
            continue
        yield from _keys(reading, rules, now)
        used = next((key for key in reading.keys if key.used != 0), None)
        if used is not None:
            in_use[ref] = used
    if source.address() is not None:  # files are read whole, or not at all
        yield from _devices(name, source, present, in_use)


def check_listed_twice(
    sources: Mapping[str, UsageSource], mapping: BillingMapping
) -> Iterator[Finding]:
    """Virtual servers that no client has and that another source lists too: by mistake, or moved.

    Sources that cannot be read are left out; `check_tenants` says so.
    """
    listed: list[Tenant] = []
    for name in sorted(mapping.global_sources & sources.keys()):
        with suppress(SourceError):
            listed += sources[name].tenants()
    twice = [tenant for tenant in unmapped_tenants(mapping, listed) if tenant.listed_as]
    for name in dict.fromkeys(tenant.ref.source for tenant in twice):
        mine = [tenant for tenant in twice if tenant.ref.source == name]
        some = "; ".join(f"{one.name} ({one.ref}): {one.listed_as}" for one in mine[:_NAMED])
        more = f"; and {len(mine) - _NAMED} more" if len(mine) > _NAMED else ""
        yield Finding(
            Level.WARNING,
            f"sources.{name} lists {len(mine)} that another source lists too: {some}{more}.",
            "Map each of them once, under the Security Center that manages its devices now. If two "
            "sections of kisi.toml are one server, remove one.",
        )


def _devices(
    name: str, source: UsageSource, tenants: Collection[Tenant], in_use: Mapping[TenantRef, Key]
) -> Iterator[Finding]:
    """Reads the devices of one key, since an account may be allowed to list keys and no devices."""
    tenant = next((tenant for tenant in tenants if tenant.ref in in_use), None)
    if tenant is None:
        yield Finding(
            Level.NOTE,
            f"sources.{name}: whether devices can be read could not be tried: no mapped tenant "
            "that could be read has a key in use.",
        )
        return
    key = in_use[tenant.ref]
    for _, reading in source.read([tenant], lambda other: other.serial == key.serial):
        if isinstance(reading, KisiError):
            yield Finding(Level.PROBLEM, reading.message, reading.remedy)
        else:
            listed = len(reading.rows)
            what = f"sources.{name}: reading devices was tried on {reading.tenant.name}, with key "
            yield Finding(
                Level.OK if listed else Level.NOTE,
                f"{what}{key.serial} ({_uses(key)}, {listed} in its list).",
            )


def _keys(reading: Reading, rules: CountingRules, now: datetime) -> Iterator[Finding]:
    unstored = [
        key
        for key in reading.keys
        if key.used != 0 and judge_key(key, rules, now).reason == NOT_STORED
    ]
    if unstored:
        uses = ", ".join(f"{key.name} ({_uses(key)})" for key in unstored[:5])
        yield Finding(
            Level.WARNING,
            f"{reading.tenant.name}: keys in use that are not in its server's own storage are not "
            f"counted: {uses}.",
            "If the MSP keeps its keys on the main server, set `reported_keys = true` under "
            "[counting] and look at `kisi preview`.",
        )


def _uses(key: Key) -> str:
    return "in use" if key.used is None else f"{key.used} in use"
