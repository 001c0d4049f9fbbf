"""Reads the sources: every tenant that a run needs, whole, or the reason why not."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from kisi.counting import (
    CountingContext,
    contradictions,
    count_tenant,
    identity,
    key_uses,
    turning_points,
    without_evidence,
)
from kisi.errors import ConfigError, ExitCode, Interrupted, KisiError, StateError
from kisi.journal import PackedUsage
from kisi.model import (
    BillingMapping,
    Company,
    Failure,
    KeyUse,
    Pool,
    Reading,
    Tenant,
    TenantRef,
    TenantUsage,
    UnmappedUse,
    look_alikes,
)
from kisi.redaction import REDACTOR, describe_bug
from kisi.sources import UsageSource

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

Progress = Callable[[str, int, int], None]
"""Told what is being read, how much of it is done, and how much there is."""

_NOT_KNOWN = "what it uses could not be read"
_REPORT = "Please report it with the output of `kisi preview -vv`."


@dataclass(slots=True)
class Collected:
    """What the sources gave."""

    tenants: dict[TenantRef, Tenant] = field(default_factory=dict)
    """Every tenant that exists, by source."""
    usages: dict[TenantRef, TenantUsage] = field(default_factory=dict)
    """Without evidence, but where a device may be in several tenants of a client."""
    evidence: dict[TenantRef, PackedUsage] = field(default_factory=dict)
    """The usages with all their evidence, packed."""
    keys: dict[str, tuple[KeyUse, ...]] = field(default_factory=dict)
    """The keys of each tenant that was read, by `source:tenant`."""
    devices: dict[Pool, array[int]] = field(default_factory=dict)
    """The devices that are counted in each pool, by a hash of 64 bits each."""
    turns: dict[Pool, tuple[datetime, ...]] = field(default_factory=dict)
    """When an end of keys changed, or will change, what is counted in each pool: the nearest."""
    failures: dict[TenantRef, Failure] = field(default_factory=dict)
    broken: dict[str, Failure] = field(default_factory=dict)
    """Sources that could not be read at all."""

    def failure_of(self, company: Company) -> Failure | None:
        """Why a client cannot be counted, or None."""
        for ref in company.counted:
            found = self.failures.get(ref) or self.broken.get(ref.source)
            if found is not None:
                return found
            if ref not in self.usages:
                return _missing(company, ref, self.tenants)
        return None

    def totals(self) -> Mapping[str, Sequence[int]]:
        """For each source, the units counted in each tenant that was read."""
        totals: dict[str, list[int]] = {}
        for ref, usage in self.usages.items():
            counted = sum(application.total for application in usage.applications)
            totals.setdefault(ref.source, []).append(counted)
        return totals


def attempt(work: Callable[[], _T], guard: str, otherwise: ExitCode) -> _T | Failure:
    """What `work` returns, or the failure of the one client, tenant or source that it is for.

    `guard` is the check that it fails, if the error names no other; `otherwise` the exit code of an
    error that kisi did not foresee.

    Raises:
        KisiError: What is nobody's failure: a signal, the state folder, the configuration.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other clients are billed
        return failure(guard, error, otherwise)


def failure(guard: str, error: Exception, otherwise: ExitCode) -> Failure:
    """An error as the reason why nothing of a client is written; arguments as of `attempt`.

    One that kisi did not foresee is a bug: its guard is `bug`, and its traceback is in the log.
    Remote text is in an error, and a server may say our own secrets to us: they are masked.
    """
    if isinstance(error, Interrupted | StateError | ConfigError):
        raise error
    if isinstance(error, KisiError) and error.exit_code is not ExitCode.BUG:
        guard = error.guard or guard
        reason, remedy, otherwise = error.message, error.remedy, error.exit_code
    else:
        # The reason is shown to people; the traceback is for the log, and for `-v`.
        LOG.info("Unexpected error", exc_info=error)
        reason = f"a bug in kisi stopped the work here ({describe_bug(error)})"
        guard, remedy = "bug", _REPORT
    return Failure(guard, REDACTOR.redact(reason), REDACTOR.redact(remedy), otherwise)


def collect(
    sources: Mapping[str, UsageSource],
    companies: Collection[Company],
    context: CountingContext,
    *,
    everything: bool,
    whole: bool = False,
    progress: Progress,
) -> Collected:
    """Reads and counts the tenants of `companies`, in their order, all sources at once.

    The evidence of a tenant is packed before the next one is counted, so that memory follows the
    largest tenant and not the fleet.

    With `everything`, every tenant there is (a first look, without a mapping). A `whole` run, over
    all clients, also asks sources that none of them has for their tenants: somebody may use there
    what nobody is billed for.
    """
    wanted = dict.fromkeys(ref for company in companies for ref in company.counted)
    shared = {ref for one in companies if len(one.counted) > 1 for ref in one.counted}
    collector = _Collector(context, None if everything else wanted, shared, progress)
    used = {ref.source for ref in wanted}
    needed = [name for name in sources if everything or whole or name in used]
    result = Collected(broken={name: _read_elsewhere(name) for name in used - sources.keys()})
    with ThreadPoolExecutor(max_workers=len(needed) or 1) as pool:
        jobs = {name: pool.submit(collector.read, sources[name]) for name in needed}
        for name, job in jobs.items():
            part = attempt(job.result, "source-incomplete", ExitCode.SOURCE)
            if isinstance(part, Failure):
                result.broken[name] = part
                continue
            result.tenants |= part.tenants
            result.usages |= part.usages
            result.evidence |= part.evidence
            result.devices |= part.devices
            result.turns |= part.turns
            result.keys |= part.keys
            result.failures |= part.failures
    return result


@dataclass(frozen=True, slots=True)
class _Collector:
    """Reads and counts what one source has."""

    context: CountingContext
    wanted: Collection[TenantRef] | None
    """In the order in which they are read; None: every tenant."""
    shared: Collection[TenantRef]
    """Tenants of clients that have several: their devices are compared before they are added."""
    progress: Progress

    def read(self, source: UsageSource) -> Collected:
        part = Collected(tenants={tenant.ref: tenant for tenant in source.tenants()})
        wanted = part.tenants if self.wanted is None else self.wanted
        listed = (part.tenants[ref] for ref in wanted if ref in part.tenants)
        chosen = [tenant for tenant in listed if tenant.enabled]
        self.progress(source.name, 0, len(chosen))
        readings = source.read(chosen, self.context.selects)
        for done, (ref, reading) in enumerate(readings, start=1):
            count = partial(self._count, reading)
            counted = attempt(count, "source-incomplete", ExitCode.SOURCE)
            if isinstance(counted, Failure):
                part.failures[ref] = counted
            else:
                usage, part.evidence[ref], devices, turns = counted
                part.turns |= {Pool(ref, name): instants for name, instants in turns.items()}
                part.keys[str(ref)] = tuple(key_uses(usage))
                part.devices |= {Pool(ref, name): ids for name, ids in devices.items()}
                part.usages[ref] = usage if ref in self.shared else without_evidence(usage)
            self.progress(source.name, done, len(chosen))
        for ref, error in [*contradictions(part.usages.values())]:
            part.failures[ref] = failure("source-incomplete", error, ExitCode.SOURCE)
            del part.usages[ref], part.evidence[ref], part.keys[str(ref)]
            part.devices = {pool: x for pool, x in part.devices.items() if pool.tenant != ref}
        return part

    def _count(
        self, reading: Reading | KisiError
    ) -> tuple[
        TenantUsage, PackedUsage, Mapping[str, array[int]], Mapping[str, tuple[datetime, ...]]
    ]:
        if isinstance(reading, KisiError):
            raise reading
        usage, ref = count_tenant(reading, self.context), reading.tenant.ref
        devices = {
            one.application: array(
                "q", (hash(identity(ref, x.device)) for x in one.evidence if x.counted)
            )
            for one in usage.applications
        }
        listed = {item.device for one in usage.applications for item in one.evidence}
        known = reading.devices
        seen = {x: at for x in listed & known.keys() if (at := known[x].last_seen) is not None}
        packed = PackedUsage.of(usage, self.context.billed, seen)
        return usage, packed, devices, turning_points(reading, usage, self.context)


def read_unmapped(
    sources: Mapping[str, UsageSource],
    tenants: Sequence[Tenant],
    mapping: BillingMapping,
    context: CountingContext,
) -> tuple[tuple[Tenant, ...], tuple[UnmappedUse, ...]]:
    """The tenants with `in_use`, and what they use, mostly by the server's own figures.

    No client is billed for them: what cannot be read is not known, and fails nothing. One that is
    disabled, or mapped as another source lists it, is not in use here.
    """
    known = mapping.global_sources
    mapped = {same for same, (_, client) in mapping.owners().items() if not client.left}
    unknown = (x.ref for x in tenants if x.enabled and x.ref.identity(known) not in mapped)
    wanted = dict.fromkeys(unknown)
    context = replace(context, billed=frozenset())  # so all use is unmapped, and few rows are read
    collector = _Collector(context, wanted, (), lambda *_: None)
    uses: dict[TenantRef, tuple[UnmappedUse, ...]] = {}
    for name in sorted({ref.source for ref in wanted}):
        part = attempt(partial(collector.read, sources[name]), "source-incomplete", ExitCode.SOURCE)
        if not isinstance(part, Failure):
            uses |= {ref: usage.unmapped for ref, usage in part.usages.items()}
    told = (
        replace(x, listed_as=x.listed_as or _NOT_KNOWN)
        if x.ref in wanted.keys() - uses.keys()
        else replace(x, in_use=bool(uses.get(x.ref)))
        for x in tenants
    )
    return tuple(told), tuple(use for found in uses.values() for use in found)


def _read_elsewhere(source: str) -> Failure:
    reason = (
        f"sources.{source} is in another part of the fleet, and no part has it and the client's PSA"
    )
    remedy = "Put both into one kisi.toml, or map the client to a source and a PSA of one part."
    return Failure("source-incomplete", reason, remedy, ExitCode.SOURCE)


def _missing(company: Company, ref: TenantRef, tenants: Mapping[TenantRef, Tenant]) -> Failure:
    tenant = tenants.get(ref)
    if tenant is None:
        reason = f"the mapped tenant {ref} does not exist in its source"
        remedy = (
            "See `kisi map list`: a virtual server made anew has a new id, a renamed Business Hub "
            "company a new name. "
        )
        if alike := look_alikes(ref, tenants.values()):
            reason = f"{reason}. {alike.removesuffix('.')}"
            remedy = "Write the source's spelling into `tenants` of this client; copy it. "
    else:
        reason = f"the mapped tenant {ref} ({tenant.name}) is disabled in its source"
        remedy = "Enable it. "
    remedy += f"If the client has left: kisi map leave {company.psa}:{company.agreement}"
    return Failure("tenant-missing", reason, remedy, ExitCode.SOURCE)


def renamed(tenants: Iterable[Tenant], names: Mapping[str, str]) -> Iterable[str]:
    """Says which tenants are called something else than in `names`, by `source:tenant`."""
    for tenant in tenants:
        before = names.get(str(tenant.ref), tenant.name)
        if before != tenant.name:
            yield (
                f"The tenant {tenant.ref} is now called {tenant.name[:80]!r}; it was "
                f"{before[:80]!r}. Ids decide, so nothing else changes."
            )
