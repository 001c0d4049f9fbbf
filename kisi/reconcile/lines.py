"""Reads the PSAs: one look at all agreements, and one read of lines an agreement.

A list is never the only proof that a line is gone: one that kisi knows, and that the list does not
show, is asked for by its id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from kisi.errors import KisiError, PsaError
from kisi.journal import Operation
from kisi.model import (
    Agreement,
    AgreementRef,
    Failure,
    Line,
    OwnedLine,
)
from kisi.psa import Psa, whole_lines
from kisi.reconcile.collect import Progress, failure

KnownLines = Mapping[tuple[str, str], Collection[str]]
"""The ids of lines that exist as far as kisi knows, by PSA and agreement."""


@dataclass(slots=True)
class PsaState:
    """What the PSAs hold."""

    agreements: dict[AgreementRef, Agreement] = field(default_factory=dict)
    lines: dict[AgreementRef, tuple[Line, ...]] = field(default_factory=dict)
    failures: dict[AgreementRef, Failure] = field(default_factory=dict)

    def elsewhere(
        self, refs: Iterable[AgreementRef]
    ) -> dict[AgreementRef, tuple[Agreement, tuple[Line, ...]]]:
        """The agreements and lines of `refs` that could be read."""
        return {ref: (self.agreements[ref], self.lines[ref]) for ref in refs if ref in self.lines}

    def merge(self, more: PsaState) -> None:
        """Takes in what was read later."""
        self.agreements |= more.agreements
        self.lines |= more.lines
        self.failures |= more.failures


def read_psas(
    psas: Mapping[str, Psa],
    refs: Collection[AgreementRef],
    elsewhere: Collection[AgreementRef],
    today: date,
    progress: Progress,
    known: KnownLines | None = None,
) -> PsaState:
    """Reads the agreements of clients and the lines of those that are fit to bill.

    Args:
        psas: The configured PSAs, by name.
        refs: Where clients are billed.
        elsewhere: Other agreements on which kisi has lines; read also if they are not fit, as long
            as they can still bill.
        today: The day in the billing time zone.
        progress: Told as lines arrive.
        known: Lines that are asked for by their ids where the list lacks them; see `known_lines`.

    Returns:
        What was read. What could not be is in `failures`, and concerns only the clients there.
    """
    state = PsaState()
    everywhere = {*refs, *elsewhere}
    for name in sorted({ref.psa for ref in everywhere}):
        mine = sorted((ref for ref in everywhere if ref.psa == name), key=lambda r: r.agreement)
        _read_agreements(psas[name], mine, today, state)
        readable = [ref for ref in mine if _has_lines(state.agreements.get(ref), ref in elsewhere)]
        _read_lines(psas[name], readable, state, progress, known or {})
    return state


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


def _read_agreements(psa: Psa, refs: list[AgreementRef], today: date, state: PsaState) -> None:
    try:
        found = psa.agreements(refs, today)
    except PsaError as error:
        state.failures |= {ref: failure("psa", error) for ref in refs}
        return
    for ref, agreement in found.items():
        if isinstance(agreement, KisiError):
            state.failures[ref] = failure("psa", agreement)
        else:
            state.agreements[ref] = agreement


def _has_lines(agreement: Agreement | None, elsewhere: bool) -> bool:  # noqa: FBT001
    if agreement is None:
        return False
    return agreement.not_billable is None or (elsewhere and not agreement.gone)


def _read_lines(
    psa: Psa, refs: list[AgreementRef], state: PsaState, progress: Progress, known: KnownLines
) -> None:
    progress(psa.name, 0, len(refs))
    pool = ThreadPoolExecutor(max_workers=max(1, psa.workers))
    try:
        jobs = [
            (ref, pool.submit(whole_lines, psa, ref, known.get((ref.psa, ref.agreement), ())))
            for ref in refs
        ]
        for done, (ref, job) in enumerate(jobs, start=1):
            try:
                state.lines[ref] = job.result()
            except PsaError as error:
                state.failures[ref] = failure("psa", error)
            progress(psa.name, done, len(refs))
    finally:
        pool.shutdown(cancel_futures=True)  # where `progress` has ended it, nothing more is read
