"""Reads the sources: every tenant that a run needs, whole, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kisi.counting import CountingContext, Undecided, count_tenant, without_evidence
from kisi.errors import ExitCode, KisiError, SourceError
from kisi.journal import PackedUsage
from kisi.model import (
    Company,
    Failure,
    Reading,
    Tenant,
    TenantRef,
    TenantUsage,
)
from kisi.redaction import REDACTOR
from kisi.sources import UsageSource

Progress = Callable[[str, int, int], None]
"""Told what is being read, how much of it is done, and how much there is."""


@dataclass(slots=True)
class Collected:
    """What the sources gave."""

    tenants: dict[TenantRef, Tenant] = field(default_factory=dict)
    """Every tenant that exists, by source."""
    usages: dict[TenantRef, TenantUsage] = field(default_factory=dict)
    """Without evidence, but where a device may be in several tenants of a client."""
    evidence: dict[TenantRef, PackedUsage] = field(default_factory=dict)
    """The usages with all their evidence, packed."""
    failures: dict[TenantRef, Failure] = field(default_factory=dict)
    broken: dict[str, Failure] = field(default_factory=dict)
    """Sources that could not be read at all."""

    def failure_of(self, company: Company) -> Failure | None:
        """Why a client cannot be counted, or None."""
        for ref in company.tenants:
            failure = self.failures.get(ref) or self.broken.get(ref.source)
            if failure is not None:
                return failure
            if ref not in self.usages:
                return _missing(ref, self.tenants.get(ref))
        return None

    def totals(self) -> Mapping[str, Sequence[int]]:
        """For each source, the units counted in each tenant that was read."""
        totals: dict[str, list[int]] = {}
        for ref, usage in self.usages.items():
            counted = sum(application.total for application in usage.applications)
            totals.setdefault(ref.source, []).append(counted)
        return totals


@dataclass(frozen=True, slots=True)
class _Counting:
    """What counting needs beside the readings."""

    context: CountingContext
    shared: Collection[TenantRef]
    """Tenants of clients that have several: their devices are compared before they are added."""


def collect(
    sources: Mapping[str, UsageSource],
    companies: Collection[Company],
    context: CountingContext,
    *,
    everything: bool,
    progress: Progress,
) -> Collected:
    """Reads and counts the tenants of `companies`, all sources at once.

    The evidence of a tenant is packed before the next one is counted, so that memory follows the
    largest tenant and not the fleet.

    Args:
        sources: The configured sources, by name.
        companies: The clients that this run bills.
        context: What is counted.
        everything: Read every tenant there is (a first look, without a mapping).
        progress: Told as tenants arrive.
    """
    shared = {ref for one in companies if len(one.tenants) > 1 for ref in one.tenants}
    counting = _Counting(context, shared)
    wanted = {ref for company in companies for ref in company.tenants}
    needed = [
        (name, source)
        for name, source in sources.items()
        if everything or any(ref.source == name for ref in wanted)
    ]
    result = Collected()
    if not needed:
        return result
    with ThreadPoolExecutor(max_workers=len(needed)) as pool:
        jobs = [
            pool.submit(_read_source, source, None if everything else wanted, counting, progress)
            for _, source in needed
        ]
        for (name, _), job in zip(needed, jobs, strict=True):
            try:
                part = job.result()
            except SourceError as error:
                result.broken[name] = failure("source-incomplete", error)
                continue
            result.tenants |= part.tenants
            result.usages |= part.usages
            result.evidence |= part.evidence
            result.failures |= part.failures
    return result


def _read_source(
    source: UsageSource,
    wanted: Collection[TenantRef] | None,
    counting: _Counting,
    progress: Progress,
) -> Collected:
    part = Collected(tenants={tenant.ref: tenant for tenant in source.tenants()})
    chosen = [
        tenant
        for ref, tenant in part.tenants.items()
        if tenant.enabled and (wanted is None or ref in wanted)
    ]
    progress(source.name, 0, len(chosen))
    for done, (ref, reading) in enumerate(source.read(chosen, counting.context.selects), start=1):
        _count(part, ref, reading, counting)
        progress(source.name, done, len(chosen))
    return part


def _count(
    part: Collected, ref: TenantRef, reading: Reading | KisiError, counting: _Counting
) -> None:
    if isinstance(reading, KisiError):
        part.failures[ref] = failure("source-incomplete", reading)
        return
    try:
        usage = count_tenant(reading, counting.context)
    except Undecided as error:
        part.failures[ref] = failure(error.guard, error)
    except SourceError as error:
        part.failures[ref] = failure("source-incomplete", error)
    else:
        part.evidence[ref] = PackedUsage.of(usage)
        part.usages[ref] = usage if ref in counting.shared else without_evidence(usage)


def failure(guard: str, error: KisiError) -> Failure:
    """An error as the reason why nothing of a client was written.

    Remote text is in it, and it is shown and stored: a server may say our own secrets to us.
    """
    said, advice = REDACTOR.redact(error.message), REDACTOR.redact(error.remedy)
    return Failure(guard, said, advice, error.exit_code)


def _missing(ref: TenantRef, tenant: Tenant | None) -> Failure:
    if tenant is None:
        reason = f"the mapped tenant {ref} does not exist in its source"
        remedy = (
            "See `kisi map list`: a virtual server made anew has a new id, a renamed Business Hub "
            "company a new name."
        )
    else:
        reason = f"the mapped tenant {ref} ({tenant.name}) is disabled in its source"
        remedy = "Enable it, or set `billing = false` for this client in mapping.toml."
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
