"""Reads the PSAs: one look at all agreements, and one read of lines an agreement.

A list is never the only proof that a line is gone: one that kisi knows, and that the list does not
show, is asked for by its id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Self

from kisi.errors import ExitCode, ForeignChange, KisiError, OutOfTime
from kisi.journal import Operation, StoredForeignChange
from kisi.model import Agreement, AgreementRef, Failure, Hold, Line, NotBillable, OwnedLine
from kisi.psa import Psa, foreign_change, when, whole_lines
from kisi.reconcile.collect import Progress, attempt, failure
from kisi.transport import Clock

_GUARD = "foreign-change"
_NAMED_AT_MOST = 3

KnownLines = Mapping[tuple[str, str], Collection[str]]
"""The ids of lines that exist as far as kisi knows, by PSA and agreement."""


@dataclass(slots=True)
class PsaState:
    """What the PSAs hold."""

    agreements: dict[AgreementRef, Agreement] = field(default_factory=dict)
    lines: dict[AgreementRef, tuple[Line, ...]] = field(default_factory=dict)
    failures: dict[AgreementRef, Failure] = field(default_factory=dict)
    read_at: float = math.inf
    """The instant of the clock's `monotonic` before which nothing of this was read."""


@dataclass(frozen=True, slots=True)
class OthersSeen:
    """What is known of the lines that are not kisi's, where its writes may have touched them."""

    proven: tuple[Operation, ...] = ()
    """Earlier writes that are seen to have changed nothing else."""
    changed: tuple[tuple[Operation, ForeignChange], ...] = ()
    """Earlier writes that are seen to have changed something else."""
    holds: Mapping[str, Hold] = field(default_factory=dict)
    """Why nothing may be sent to a PSA until a person has looked, by its name."""

    @classmethod
    def of(
        cls,
        unproven: Iterable[Operation],
        known: Iterable[StoredForeignChange],
        state: PsaState,
        psas: Mapping[str, Psa],
    ) -> Self:
        """Compares what was read with what each write had found before; fails their agreements.

        `known` are those that were seen to have changed something else already.
        """
        proven, changed, found = [], [], [one for one in known if one.psa in psas]
        for one in found:
            for ref, agreement in state.agreements.items():
                if (ref.psa, ref.agreement) == (one.psa, one.agreement):
                    not_billable = NotBillable(_GUARD, one.what, psas[one.psa].if_others_change)
                    state.agreements[ref] = replace(
                        agreement, not_billable=agreement.not_billable or not_billable
                    )
        for operation in unproven:
            ref, at = operation.line.ref, operation.at
            if ref not in state.lines:
                continue
            psa, before = psas[ref.psa], operation.lines_before or ()
            error = foreign_change(psa, operation.line, at, before, state.lines[ref])
            if error is None:
                proven.append(operation)
            else:
                changed.append((operation, error))
                found.append(StoredForeignChange(ref.psa, ref.agreement, at, error.message))
                state.failures[ref] = failure("psa", error, ExitCode.PSA)
                del state.lines[ref]
        holds = {name: _hold(psas[name], found) for name in {one.psa for one in found}}
        return cls(tuple(proven), tuple(changed), holds)


def _hold(psa: Psa, found: Iterable[StoredForeignChange]) -> Hold:
    named = [f"agreement {one.agreement}, {when(one.at)}" for one in found if one.psa == psa.name]
    more = len(named) - _NAMED_AT_MOST
    return Hold(
        _GUARD,
        f"After a write to psa.{psa.name}, lines that are not kisi's had changed, or could not be "
        f"compared ({'; '.join(named[:_NAMED_AT_MOST])}{f' and {more} more' if more > 0 else ''}). "
        "Until a person has looked, kisi sends nothing there.",
        psa.if_others_change,
        releasable=False,
    )


@dataclass(frozen=True, slots=True)
class PsaReader:
    """Reads the PSAs for one run."""

    psas: Mapping[str, Psa]
    today: date
    clock: Clock
    progress: Progress
    begin_by: float = math.inf
    """The instant of the clock's `monotonic` from which no other agreement is begun."""

    def read(
        self,
        state: PsaState,
        refs: Collection[AgreementRef],
        elsewhere: Collection[AgreementRef] = (),
        known: KnownLines | None = None,
    ) -> None:
        """Reads the agreements of clients and the lines of those that are fit to bill.

        `state` takes what is read, and the failures. `refs` are where clients are billed, in the
        order in which they are read; `elsewhere` are other agreements on which kisi has lines, read
        also if they are not fit, as long as they can still bill. Where a list lacks lines of
        `known`, they are asked for by id.
        """
        state.read_at = min(state.read_at, self.clock.monotonic())
        of_psa: dict[str, list[AgreementRef]] = {}
        for ref in dict.fromkeys((*refs, *sorted(elsewhere, key=lambda x: (x.psa, x.agreement)))):
            of_psa.setdefault(ref.psa, []).append(ref)
        with ThreadPoolExecutor(len(of_psa) or 1) as pool:
            jobs = [
                pool.submit(self._read_psa, self.psas[name], mine, elsewhere, known or {})
                for name, mine in of_psa.items()
            ]
            for job in jobs:
                part = job.result()
                state.agreements |= part.agreements
                state.lines |= part.lines
                state.failures |= part.failures

    def _read_psa(
        self,
        psa: Psa,
        refs: list[AgreementRef],
        elsewhere: Collection[AgreementRef],
        known: KnownLines,
    ) -> PsaState:
        part = PsaState()
        self._read_agreements(psa, refs, part)
        readable = [
            ref
            for ref in refs
            if (found := part.agreements.get(ref)) is not None
            and (found.not_billable is None or (ref in elsewhere and not found.gone))
        ]
        ids = {ref: known.get((ref.psa, ref.agreement), ()) for ref in readable}
        reads = {ref: partial(self._lines, psa, ref, ids[ref]) for ref in readable}
        part.lines, failures = read_each(psa, reads, self.progress)
        part.failures |= failures
        return part

    def _lines(self, psa: Psa, ref: AgreementRef, known: Collection[str]) -> tuple[Line, ...]:
        if self.clock.monotonic() >= self.begin_by:
            raise OutOfTime
        return whole_lines(psa, ref, known)

    def _read_agreements(self, psa: Psa, refs: list[AgreementRef], state: PsaState) -> None:
        found = attempt(partial(psa.agreements, refs, self.today), "psa", ExitCode.PSA)
        if isinstance(found, Failure):
            state.failures |= dict.fromkeys(refs, found)
            return
        for ref, agreement in found.items():
            if isinstance(agreement, KisiError):
                state.failures[ref] = failure("psa", agreement, ExitCode.PSA)
            else:
                state.agreements[ref] = agreement


def read_each(
    psa: Psa, reads: Mapping[AgreementRef, Callable[[], tuple[Line, ...]]], progress: Progress
) -> tuple[dict[AgreementRef, tuple[Line, ...]], dict[AgreementRef, Failure]]:
    """The lines of agreements, as many read at once as the PSA can take; and the failures.

    What `progress` raises ends the reading.
    """
    lines: dict[AgreementRef, tuple[Line, ...]] = {}
    failures: dict[AgreementRef, Failure] = {}
    progress(psa.name, 0, len(reads))
    pool = ThreadPoolExecutor(max_workers=max(1, psa.workers))
    try:
        jobs = {ref: pool.submit(read) for ref, read in reads.items()}
        for done, (ref, job) in enumerate(jobs.items(), start=1):
            found = attempt(job.result, "psa", ExitCode.PSA)
            if isinstance(found, Failure):
                failures[ref] = found
            else:
                lines[ref] = found
            progress(psa.name, done, len(reads))
    finally:
        pool.shutdown(cancel_futures=True)  # where `progress` has ended it, nothing more is read
    return lines, failures


def known_lines(facts: Iterable[OwnedLine], pending: Iterable[Operation] = ()) -> KnownLines:
    """The lines that bill something as far as kisi knows, and those with an unknown outcome."""
    known: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        if fact.confirmed > 0 or fact.unsettled:
            known.setdefault((fact.psa, fact.agreement), set()).add(fact.line_id)
    for line in (operation.line for operation in pending):
        if line.line_id is not None:
            known.setdefault((line.psa, line.agreement), set()).add(line.line_id)
    return known
