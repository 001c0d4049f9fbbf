"""Is what the mapping names still there, and does it belong together? For `kisi check --online`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta

from kisi.errors import KisiError, SourceError
from kisi.licensing import NOT_STORED, judge_key
from kisi.model import (
    AgreementRef,
    BillingMapping,
    Company,
    CountingRules,
    Finding,
    Key,
    Level,
    Reading,
    Tenant,
    TenantRef,
    unmapped_tenants,
)
from kisi.plan import ref_of, rows_of
from kisi.psa import Psa
from kisi.sources import UsageSource

ENDS_SOON = timedelta(days=60)
_NAMED = 5


def check_tenants(
    name: str, source: UsageSource, mapping: BillingMapping, now: datetime, rules: CountingRules
) -> Iterator[Finding]:
    """Mapped tenants that are gone or disabled, and keys that are in use and not counted."""
    try:
        tenants = {tenant.ref: tenant for tenant in source.tenants()}
    except SourceError:
        return
    mapped = [
        (company, ref)
        for company in mapping.companies
        if company.billing
        for ref in company.tenants
        if ref.source == name
    ]
    yield from _missing(mapped, tenants)
    present = [tenants[ref] for _, ref in mapped if ref in tenants and tenants[ref].enabled]
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


def _missing(
    mapped: Collection[tuple[Company, TenantRef]], tenants: Mapping[TenantRef, Tenant]
) -> Iterator[Finding]:
    for company, ref in mapped:
        tenant = tenants.get(ref)
        if tenant is None or not tenant.enabled:
            state = "does not exist" if tenant is None else "is disabled"
            yield Finding(
                Level.PROBLEM,
                f"{company.name}: its tenant {ref} {state}; nothing of it can be billed.",
                "See `kisi map list`; map the new tenant, or set `billing = false`."
                if tenant is None
                else "Enable it, or set `billing = false` for this client in mapping.toml.",
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


def check_lines(name: str, psa: Psa, mapping: BillingMapping, today: date) -> Iterator[Finding]:
    """Mapped agreements and products that are gone, unfit, or about to end."""
    clients = [c for c in mapping.companies if c.psa == name and c.billing]
    try:
        agreements = psa.agreements([ref_of(client) for client in clients], today)
        products = _products(psa, mapping, clients)
    except KisiError as error:
        yield Finding(Level.PROBLEM, error.message, error.remedy)
        return
    for client in clients:
        found = agreements[ref_of(client)]
        if isinstance(found, KisiError):
            yield Finding(Level.PROBLEM, f"{client.name}: {found.message}", found.remedy)
        elif found.unfit is not None:
            reason = f"{client.name}: {found.unfit.reason}"
            yield Finding(Level.PROBLEM, reason, found.unfit.remedy)
        elif found.ends is not None and found.ends - today <= ENDS_SOON:
            yield Finding(
                Level.WARNING,
                f"{client.name}: its agreement {found.name or client.agreement} ends on "
                f"{found.ends}.",
                "Renew it, then `kisi map renew`.",
            )
    yield from products
    yield Finding(
        Level.OK,
        f"psa.{name}: the agreements of all billed clients ({len(clients)}) were looked at.",
    )


def _products(psa: Psa, mapping: BillingMapping, clients: Collection[Company]) -> list[Finding]:
    rows = [row for client in clients for row in rows_of(mapping, client).values()]
    wanted = {product: row.application for row in rows for product in row.products.values()}
    found = psa.products(sorted(wanted))
    findings = []
    for product, application in sorted(wanted.items()):
        item = found.get(product)
        if item is None or not item.active:
            state = "does not exist" if item is None else "is not active"
            findings.append(
                Finding(
                    Level.PROBLEM,
                    f"Product {product}, which bills {application}, {state}.",
                    "Correct its [[product]] row: `kisi map list` shows the products.",
                )
            )
    return findings


def some_agreement(mapping: BillingMapping, psa: str) -> AgreementRef | None:
    """A mapped agreement of a PSA, to ask about rights on it."""
    refs = (ref_of(c) for c in mapping.companies if c.psa == psa and c.billing)
    return next(refs, None)
