"""What a wrong clock would change: new lines, and numbers that are others on the servers' date.

A server's own date that contradicts this machine's clock by more than a day says that one of the
two is wrong. Numbers that depend on neither are written all the same. What looks at dates: ends of
keys, count policies other than `today`, and the last days (`until`) of clients that leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from kisi.model import (
    TODAY,
    Company,
    CompanyPlan,
    Hold,
    OwnedLine,
    PlannedLine,
    Pool,
    Rules,
    Status,
)
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
    _rows: dict[date, Mapping[tuple[str, str], Company]] = field(default_factory=dict)

    def judge(self, plan: CompanyPlan) -> CompanyPlan:
        """Holds what would change by a wrong clock, and confirms nothing if the PSA says it is."""
        if plan.status is not Status.READY:
            return plan
        company = plan.company
        named = dict.fromkeys(ref.source for ref in company.tenants)
        wrong = dict(self._contradicted(f"psa.{company.psa}", self.psas[company.psa]))
        by_psa = next(iter(wrong), "")
        for name in (name for name in named if name in self.sources):
            wrong |= self._contradicted(f"sources.{name}", self.sources[name])
        new = creates(plan) if by_psa else ()

        def held(line: PlannedLine) -> PlannedLine:
            reason = ""
            if line in new:
                reason = f"{by_psa}, so the new line would begin on a wrong day"
            elif line.changes or line.drop:
                reason = next(self._doubts(line, company, wrong), "")
            hold = Hold("clock", reason, _REMEDY, releasable=False)
            return replace(line, hold=hold) if reason else line

        return replace(plan, lines=tuple(map(held, plan.lines)), unconfirmed=by_psa)

    def _contradicted(
        self, name: str, server: Psa | UsageSource
    ) -> Iterator[tuple[str, timedelta]]:
        skew = server.clock_skew()
        if skew is not None and abs(skew) > _LONGEST_SKEW:
            yield f"this {skew_words(skew, name)}", skew

    def _doubts(
        self, line: PlannedLine, company: Company, wrong: Mapping[str, timedelta]
    ) -> Iterator[str]:
        """Why what a line should bill is not known: it may be another number on their date."""
        for why, skew in wrong.items():
            first, last = sorted((self.rules.now, self.rules.now - skew))
            for ref in company.counted:
                for at in self.turns.get(Pool(ref, line.application), ()):
                    if first < at <= last:
                        day = self._day(at)
                        yield f"{why}, and a key of this line ends between the two dates, on {day}"
            if self._turns(company, skew):
                yield f"{why}, and an `until` that decides who has its tenants is between the dates"
            if line.policy != TODAY:
                yield f"{why}, so the days that its `count` ({line.policy}) looks at are not known"

    def lasting(self, facts: Iterable[OwnedLine]) -> list[OwnedLine]:
        """Without the lines whose client is off, or unmapped, only because of a wrong clock."""
        return [
            fact
            for fact in facts
            if not any(
                self._turns(fact, skew)
                for _, skew in self._contradicted(f"psa.{fact.psa}", self.psas[fact.psa])
            )
        ]

    def _turns(self, at: Company | OwnedLine, skew: timedelta) -> bool:
        """Whether the mapping says something else of a client on their date than on ours."""
        rows = []
        for day in map(self._day, (self.rules.now, self.rules.now - skew)):
            if day not in self._rows:
                self._rows[day] = self.rules.written.on(day).places()
            rows.append(self._rows[day].get((at.psa, at.agreement)))
        return rows[0] != rows[1]

    def _day(self, at: datetime) -> date:
        return at.astimezone(self.rules.zone).date()
