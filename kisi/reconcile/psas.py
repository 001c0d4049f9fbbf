"""Reads the PSAs: one look at all agreements, and one read of lines an agreement.

A list is never the only proof that a line is gone: one that kisi knows, and that the list does not
show, is asked for by its id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from kisi.errors import ExitCode, KisiError
from kisi.journal import Operation
from kisi.model import Agreement, AgreementRef, Failure, Line, LineFact
from kisi.psa import Psa, whole_lines
from kisi.reconcile.collect import Progress, failure
from kisi.transport import Clock

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

    def elsewhere(
        self, refs: Iterable[AgreementRef]
    ) -> dict[AgreementRef, tuple[Agreement, tuple[Line, ...]]]:
        """The agreements and lines of `refs` that could be read."""
        return {ref: (self.agreements[ref], self.lines[ref]) for ref in refs if ref in self.lines}


@dataclass(frozen=True, slots=True)
class PsaReader:
    """Reads the PSAs for one run.

    Args:
        psas: The configured PSAs, by name.
        today: The day in the billing time zone.
        clock: Tells when something was read.
        progress: Told as lines arrive.
    """

    psas: Mapping[str, Psa]
    today: date
    clock: Clock
    progress: Progress

    def read(
        self,
        state: PsaState,
        refs: Collection[AgreementRef],
        elsewhere: Collection[AgreementRef] = (),
        known: KnownLines | None = None,
    ) -> None:
        """Reads the agreements of clients and the lines of those that are fit to bill.

        Args:
            state: Takes what is read. What could not be is in its `failures`, and concerns only
                the clients there.
            refs: Where clients are billed.
            elsewhere: Other agreements on which kisi has lines; read also if they are not fit, as
                long as they can still bill.
            known: Lines that are asked for by their ids where the list lacks them; see
                `known_lines`.
        """
        state.read_at = min(state.read_at, self.clock.monotonic())
        everywhere = {*refs, *elsewhere}
        for name in sorted({ref.psa for ref in everywhere}):
            mine = sorted((ref for ref in everywhere if ref.psa == name), key=lambda r: r.agreement)
            self._read_agreements(self.psas[name], mine, state)
            readable = [ref for ref in mine if _has_lines(ref, state, elsewhere)]
            self._read_lines(self.psas[name], readable, known or {}, state)

    def _read_agreements(self, psa: Psa, refs: list[AgreementRef], state: PsaState) -> None:
        try:
            found = psa.agreements(refs, self.today)
        except Exception as error:  # noqa: BLE001 - whatever it is, other PSAs go on
            state.failures |= dict.fromkeys(refs, failure("psa", error, ExitCode.PSA))
            return
        for ref, agreement in found.items():
            if isinstance(agreement, KisiError):
                state.failures[ref] = failure("psa", agreement, ExitCode.PSA)
            else:
                state.agreements[ref] = agreement

    def _read_lines(
        self, psa: Psa, refs: list[AgreementRef], known: KnownLines, state: PsaState
    ) -> None:
        def lines(ref: AgreementRef) -> tuple[Line, ...]:
            return whole_lines(psa, ref, known.get((ref.psa, ref.agreement), ()))

        for ref, found in read_each(psa, refs, lines, self.progress).items():
            if isinstance(found, Failure):
                state.failures[ref] = found
            else:
                state.lines[ref] = found


def read_each(
    psa: Psa,
    refs: Collection[AgreementRef],
    lines: Callable[[AgreementRef], tuple[Line, ...]],
    progress: Progress,
) -> Mapping[AgreementRef, tuple[Line, ...] | Failure]:
    """Reads the lines of agreements, as many at once as the PSA can take.

    Args:
        psa: Whose agreements they are.
        refs: Which agreements.
        lines: Reads the lines of one.
        progress: Told as they arrive; what it raises ends the reading.
    """
    found: dict[AgreementRef, tuple[Line, ...] | Failure] = {}
    progress(psa.name, 0, len(refs))
    pool = ThreadPoolExecutor(max_workers=max(1, psa.workers))
    try:
        jobs = {ref: pool.submit(lines, ref) for ref in refs}
        for done, (ref, job) in enumerate(jobs.items(), start=1):
            try:
                found[ref] = job.result()
            except Exception as error:  # noqa: BLE001 - whatever it is, other agreements go on
                found[ref] = failure("psa", error, ExitCode.PSA)
            progress(psa.name, done, len(refs))
    finally:
        pool.shutdown(cancel_futures=True)  # where `progress` has ended it, nothing more is read
    return found


def known_lines(facts: Iterable[LineFact], pending: Iterable[Operation] = ()) -> KnownLines:
    """The lines that bill something as far as kisi knows, and those with an unknown outcome."""
    known: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        if fact.confirmed > 0 or fact.unsettled:
            known.setdefault((fact.psa, fact.agreement), set()).add(fact.line_id)
    for line in (operation.line for operation in pending):
        if line.line_id is not None:
            known.setdefault((line.psa, line.agreement), set()).add(line.line_id)
    return known


def _has_lines(ref: AgreementRef, state: PsaState, elsewhere: Collection[AgreementRef]) -> bool:
    agreement = state.agreements.get(ref)
    if agreement is None:
        return False
    return agreement.unfit is None or (ref in elsewhere and not agreement.gone)
