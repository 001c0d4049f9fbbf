"""The same of Autotask, whose one write is a difference and must never count twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.autotask_side import ADJUST, AutotaskSide, adjustments
from tests.e2e.conftest import Operator, Result
from tests.faults.secrecy import no_secrets


class Units:
    """A client in Autotask, of which two workstations more are to be billed; 6 are already."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.side = AutotaskSide(operator, "next_period")
        self.side.autotask.one_a_day = False
        self.service = self.side.bill(all="KES")["all"]
        self.side.client("Northwind", workstations=6)
        self.results = [operator.sync("-vv")]
        assert self.held == 6
        self.side.use("Northwind", 2)

    @property
    def held(self) -> int:
        return self.side.next_month("Northwind").get(self.service, 0)

    def sync(self, *arguments: str) -> Result:
        self.results.append(self.operator.sync("-vv", *arguments))
        return self.results[-1]

    def fault(self, kind: str, match: str, **options: Any) -> None:
        self.operator.sandbox.faults.add(kind, match=match, **options)

    def heals(self) -> None:
        """A clean run bills once, and the next one writes nothing."""
        self.operator.sandbox.faults.clear()
        self.operator.next_night()
        assert (self.sync().code, self.held) == (0, 8)
        assert adjustments(self.sync()) == 0
        assert self.held == 8


@pytest.fixture
def units(operator: Operator) -> Iterator[Units]:
    units = Units(operator)
    yield units
    no_secrets(operator.folder, units.results)


@pytest.mark.fault(
    25, injection="Autotask resets every connection on reading", outcome="exit 5, no adjustment"
)
def test_an_autotask_that_cannot_be_read_is_not_written_to(units):
    units.fault("reset_before", "POST *query", times=None)
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (5, 0, 6)
    units.heals()


@pytest.mark.fault(
    26, injection="401 on an Autotask adjustment", outcome="exit 7; nothing more is sent"
)
def test_a_refused_autotask_login_sends_nothing_more(units):
    units.fault("status", ADJUST, times=None, code=401)
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (7, 1, 6)
    units.heals()


@pytest.mark.fault(
    29,
    injection="429 with `Retry-After` on an Autotask adjustment",
    outcome="waits, one effective adjustment",
)
def test_a_throttled_adjustment_is_sent_when_autotask_says(units):
    units.fault("status", ADJUST, code=429, headers={"Retry-After": "30"})
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (0, 2, 8)


@pytest.mark.parametrize("kind", ["lost", "truncate", "empty"])
@pytest.mark.fault(
    34,
    injection="an Autotask adjustment is applied, and its answer is lost, cut or empty",
    outcome="the units show it: confirmed; one adjustment",
)
def test_an_applied_adjustment_with_an_unclear_answer_is_confirmed(units, kind):
    units.fault(kind, ADJUST, **({"applied": True} if kind == "empty" else {}))
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (0, 1, 8)


@pytest.mark.parametrize(("kind", "options"), [("reset_before", {}), ("status", {"code": 502})])
@pytest.mark.fault(
    35,
    injection="an Autotask adjustment was not carried out (RST, 502)",
    outcome="exit 7 after one adjustment: a difference is not sent again; the next run sends it",
)
def test_an_adjustment_that_was_not_carried_out_waits_for_the_next_run(units, kind, options):
    units.fault(kind, ADJUST, **options)
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (7, 1, 6)
    units.heals()


@pytest.mark.fault(
    67,
    injection="an Autotask service, in the list of a contract, belongs to another contract",
    outcome="seen by the id in the answer: that client fails, exit 5",
)
def test_services_of_another_contract_are_no_answer(units):
    units.fault("status", "POST *ContractServices/query", times=None, code=200, body=FOREIGN)
    result = units.sync()
    assert (result.code, adjustments(result), units.held) == (5, 0, 6)
    units.heals()


FOREIGN = {
    "items": [{"id": 9001, "contractID": 9999, "serviceID": 4001, "unitPrice": 1.0}],
    "pageDetails": {"count": 1, "nextPageUrl": None},
}
