"""Three hundred clients through three turns of their invoice periods, under every count policy.

What the PSA holds each night is compared with a count apart, and no guard may fire because a period
turned, although a whole fleet's bills fall or rise in that night.
"""

from __future__ import annotations

import random
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from kisi.errors import ExitCode
from kisi.model import (
    Category,
    Company,
    GuardRules,
    ProductRow,
    Reading,
    ReportedQuantity,
    TenantRef,
)
from tests.unit.build import KES, NOW, tenant
from tests.unit.reconcile.conftest import Scene

CLIENTS, TURNS = 300, 3
POLICIES = ("today", "peak", "average", "day:10", "day:31")
STATIONS, SERVERS, OTHERS = (
    Category.WINDOWS_WORKSTATIONS,
    Category.WINDOWS_SERVERS,
    Category.NON_WINDOWS,
)


@dataclass
class Life:
    """A client, what it uses, and what it must be billed, worked out apart from kisi."""

    company: Company
    policy: str
    next_invoice: date
    usual: int
    turns: int = 0
    seen: dict[date, int] = field(default_factory=dict)
    billed: int | None = None

    @property
    def begins(self) -> date:
        """A month before the next invoice."""
        last = self.next_invoice.replace(day=1) - timedelta(days=1)
        return last.replace(day=min(self.next_invoice.day, last.day))

    def turn(self) -> None:
        following = self.next_invoice.replace(day=28) + timedelta(days=4)
        length = monthrange(following.year, following.month)[1]
        self.next_invoice = following.replace(day=min(self.next_invoice.day, length))
        self.turns += 1

    def bill(self, today: date, number: int) -> int:
        self.seen[today] = number
        mine = {day: count for day, count in self.seen.items() if day >= self.begins}
        within = [count for day, count in mine.items() if day < self.next_invoice]
        if self.policy == "today":
            self.billed = number
        elif self.policy in {"peak", "average"} and not within:  # its first days are the next one's
            self.billed = number if self.billed is None else self.billed
        elif self.policy == "peak":
            self.billed = max(within)
        elif self.policy == "average":
            mean = Decimal(sum(within)) / len(within)
            self.billed = int(mean.quantize(Decimal(1), ROUND_HALF_UP))
        else:
            day = self.begins
            one = timedelta(days=1)
            while day.day != 10 if self.policy == "day:10" else (day + one).day != 1:
                day += one
            late = [count for each, count in sorted(mine.items()) if each >= day]
            if late or self.billed is None:
                self.billed = late[0] if late else number
        return self.billed


def fleet(scene: Scene, draw: random.Random) -> list[Life]:
    lives = []
    for number in range(CLIENTS):
        policy = POLICIES[number % len(POLICIES)]
        row = ProductRow(KES, "cw", count=policy)
        company = Company(
            f"Client {number}",
            (TenantRef("hq", f"VSRV-{number}"),),
            *("cw", str(5000 + number), str(9000 + number)),
            exceptions=(row,),
        )
        # A third is invoiced on the 1st, as most are; the rest on any day up to the 28th.
        first = NOW.date() + timedelta(days=draw.randint(1, 27))
        first = date(2026, 12, 1) if number % 3 == 0 else first.replace(day=min(first.day, 28))
        lives.append(Life(company, policy, first, draw.randint(60, 120)))
    scene.bill(*(life.company for life in lives))
    return lives


def report(life: Life, number: int, draw: random.Random) -> Reading:
    """The same sum in three categories, which wobble on their own."""
    servers = draw.randint(0, 5)
    parts = {STATIONS: number - servers - 1, SERVERS: servers, OTHERS: 1}
    reported = tuple(ReportedQuantity(KES, name, count) for name, count in parts.items())
    (ref,) = life.company.tenants
    return Reading(tenant(life.company.name, ref.tenant, "hq"), NOW, reported=reported)


@pytest.mark.slow
def test_no_guard_fires_because_a_period_turns(scene: Scene) -> None:
    draw = random.Random(31)
    lives = fleet(scene, draw)
    scene.guards = GuardRules()
    falls = 0.0
    while any(life.turns < TURNS for life in lives):
        today = scene.clock.now().date()
        failing = {life.company.name for life in lives if draw.random() < 0.01}
        wanted, before = {}, sum(life.billed or 0 for life in lives)
        scene.hq.disabled = set()
        for life in lives:
            late = 0 if life.next_invoice.day == 1 else draw.randint(0, 3)  # the PSA shows it late
            if today >= life.next_invoice + timedelta(days=late):
                life.turn()
            agreement = life.company.agreement
            more = {"next_invoice": life.next_invoice, "cycle": "Monthly"}
            scene.cw.agreement(life.company.company, agreement, **more)
            number = life.usual + draw.randint(-4, 4)
            scene.hq.add(report(life, number, draw))
            if life.company.name in failing:
                scene.hq.disabled.update(life.company.tenants)
            else:
                life.bill(today, number)
            if life.billed is not None:
                wanted[agreement] = life.billed
        falls = max(falls, before - sum(life.billed or 0 for life in lives))

        day = scene.sync()

        holds = [line.hold for line in day.plan.lines if line.hold is not None]
        assert not holds, (today, holds[0])
        assert day.code == (ExitCode.SOURCE if failing else ExitCode.OK)
        held = {agreement: sum(scene.cw.quantities(agreement).values()) for agreement in wanted}
        assert held == wanted, today
        scene.clock.sleep(draw.choice((1, 2, 2)) * 24 * 3600)  # some nights nothing runs
    assert falls > GuardRules().run_units  # the turn of the 1st is one that the guard could see
