"""Did devices move, where a client uses less of one application and more of another?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from kisi.journal import LineKey, PackedUsage
from kisi.model import CompanyPlan, Move, TenantRef, TenantUsage
from kisi.usage import moves

Behind = Callable[[LineKey], Sequence[TenantUsage]]
"""What a client used, with the evidence, when one of its lines was last proven to be right."""


def nothing_behind(_line: LineKey) -> Sequence[TenantUsage]:
    """For whoever has no journal: nothing is known of the past."""
    return ()


def with_moves(
    company: CompanyPlan, evidence: Mapping[TenantRef, PackedUsage], behind: Behind
) -> CompanyPlan:
    """The plan with the devices that moved between two of the client's applications.

    Evidence is unpacked only where one line falls and another application's line rises.
    """
    rising = {line.application for line in company.lines if line.delta > 0}
    falling = [
        line
        for line in company.lines
        if line.delta < 0 and not line.orphaned and rising - {line.application}
    ]
    if not falling:
        return company
    now = [evidence[ref].whole() for ref in company.company.tenants if ref in evidence]
    found: dict[tuple[str, str], Move] = {}
    for line in falling:
        then = behind(LineKey(line.psa, line.agreement, line.line_id or ""))
        for move in moves(then, now, line.application):
            known = found.setdefault((move.old, move.new), move)
            found[move.old, move.new] = max(known, move, key=attrgetter("devices"))
    return replace(company, moves=tuple(found.values()))
