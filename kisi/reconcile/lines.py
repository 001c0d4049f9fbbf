"""Reads the PSAs: one look at all agreements, one read of lines an agreement, and prices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from kisi.errors import KisiError, PsaError
from kisi.model import (
    Agreement,
    AgreementRef,
    Failure,
    Line,
)
from kisi.psa import Psa
from kisi.reconcile.collect import Progress, failure


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
) -> PsaState:
    """Reads the agreements of clients and the lines of those that are fit to bill.

    Args:
        psas: The configured PSAs, by name.
        refs: Where clients are billed.
        elsewhere: Other agreements on which kisi has lines; read also if they are not fit, as long
            as they can still bill.
        today: The day in the billing time zone.
        progress: Told as lines arrive.

    Returns:
        What was read. What could not be is in `failures`, and concerns only the clients there.
    """
    state = PsaState()
    everywhere = {*refs, *elsewhere}
    for name in sorted({ref.psa for ref in everywhere}):
        mine = sorted((ref for ref in everywhere if ref.psa == name), key=lambda r: r.agreement)
        _read_agreements(psas[name], mine, today, state)
        readable = [ref for ref in mine if _has_lines(state.agreements.get(ref), ref in elsewhere)]
        _read_lines(psas[name], readable, state, progress)
    return state


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
    return agreement.unfit is None or (elsewhere and not agreement.gone)


def _read_lines(psa: Psa, refs: list[AgreementRef], state: PsaState, progress: Progress) -> None:
    progress(psa.name, 0, len(refs))
    pool = ThreadPoolExecutor(max_workers=max(1, psa.workers))
    try:
        jobs = [(ref, pool.submit(psa.lines, ref)) for ref in refs]
        for done, (ref, job) in enumerate(jobs, start=1):
            try:
                state.lines[ref] = job.result()
            except PsaError as error:
                state.failures[ref] = failure("psa", error)
            progress(psa.name, done, len(refs))
    finally:
        pool.shutdown(cancel_futures=True)  # where `progress` has ended it, nothing more is read
