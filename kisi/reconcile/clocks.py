"""What a wrong clock would change: new lines, and what keys that end are counted for.

A server's own date that contradicts this machine's clock by more than a day says that one of the
two is wrong. Numbers that depend on neither are written all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from kisi.model import Company, CompanyPlan, Hold, PlannedLine, Pool, Rules, Status
from kisi.psa import Psa
from kisi.reconcile.new_lines import creates
from kisi.sources import UsageSource
from kisi.transport import skew_words

_LONGEST_SKEW = timedelta(days=1)
"""A clock that is further off is wrong, and so is every date that is taken from it."""
_REMEDY = "Set the clock, and keep it set with NTP. No id releases this."


@dataclass(frozen=True, slots=True)
class Clocks:
    """Compares this machine's clock with those of the servers that tell of a client.

    `turns` has, for each pool, the instants at which an end of its keys changes what is counted.
    """

    rules: Rules
    sources: Mapping[str, UsageSource]
    psas: Mapping[str, Psa]
    turns: Mapping[Pool, tuple[datetime, ...]]

    def judge(self, plan: CompanyPlan) -> CompanyPlan:
        """Holds what would change by a wrong clock, and confirms nothing if the PSA says it is."""
        if plan.status is not Status.READY:
            return plan
        company = plan.company
        named = dict.fromkeys(ref.source for ref in company.counted)
        wrong = dict(self._contradicted(f"psa.{company.psa}", self.psas[company.psa]))
        by_psa = next(iter(wrong), "")
        for name in (name for name in named if name in self.sources):
            wrong |= self._contradicted(f"sources.{name}", self.sources[name])
        new = creates(plan) if by_psa else ()

        def held(line: PlannedLine) -> PlannedLine:
            judged = line.changes or line.baseline is not None
            reason = ""
            if line in new:
                reason = f"{by_psa}, so the new line would begin on a wrong day"
            elif judged and line.hold is None and line.counted is not None:
                reason = next(self._ends(line, company, wrong), "")
            hold = Hold("clock", reason, _REMEDY, releasable=False)
            return replace(line, hold=hold) if reason else line

        return replace(plan, lines=tuple(map(held, plan.lines)), unconfirmed=by_psa)

    def _contradicted(
        self, name: str, server: Psa | UsageSource
    ) -> Iterator[tuple[str, timedelta]]:
        skew = server.clock_skew()
        if skew is not None and abs(skew) > _LONGEST_SKEW:
            yield f"this {skew_words(skew, name)}", skew

    def _ends(
        self, line: PlannedLine, company: Company, wrong: Mapping[str, timedelta]
    ) -> Iterator[str]:
        """Why what is counted for a line is not known: a key ends between our date and theirs."""
        for why, skew in wrong.items():
            first, last = sorted((self.rules.now, self.rules.now - skew))
            for ref in company.counted:
                for at in self.turns.get(Pool(ref, line.application), ()):
                    if first < at <= last:
                        day: date = at.astimezone(self.rules.zone).date()
                        yield f"{why}, and a key of this line ends between the two dates, on {day}"
