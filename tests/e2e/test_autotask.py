"""Autotask: units reach what clients use, by adjustments that are never sent twice."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.e2e.autotask_side import ADJUST, AutotaskSide, adjustments
from tests.e2e.conftest import Operator


@pytest.fixture
def effective() -> str:
    return "period_start"


@pytest.fixture
def side(operator: Operator, effective: str) -> AutotaskSide:
    return AutotaskSide(operator, effective)


def test_ninety_workstations_and_ten_servers_become_units_of_two_services(operator, side):
    ids = side.bill(windows_workstations="KES-WS", windows_servers="KES-SRV", non_windows="KES-X")
    side.client("Contoso", workstations=90, servers=10)

    shown = operator.run("preview").out
    assert "Other lines" not in shown  # services that are ready are what kisi fills
    first = operator.sync()
    wanted = {ids["windows_workstations"]: 90, ids["windows_servers"]: 10}
    assert (first.code, adjustments(first)) == (0, 2)
    assert side.units("Contoso") == side.next_month("Contoso") == wanted
    assert first.last_line == "1 of 1 clients up to date."

    operator.next_night()
    again = operator.sync()
    assert (again.code, adjustments(again)) == (0, 0)
    assert again.document["summary"]["unchanged"] == 2
    assert side.units("Contoso") == wanted


def test_ten_daily_runs_with_one_future_decrease_send_one_adjustment(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=34)
    assert operator.sync().code == 0
    side.use("Contoso", -4)
    nights = []
    for _ in range(10):
        operator.next_night()
        nights.append(operator.sync())
    assert [result.code for result in nights] == [0] * 10
    assert [adjustments(result) for result in nights] == [1] + [0] * 9
    assert side.units("Contoso", date(2026, 10, 31)) == {ids["all"]: 34}
    assert side.units("Contoso", date(2026, 11, 1)) == {ids["all"]: 30}


def test_a_lost_answer_is_read_and_never_repeated(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20)
    operator.sync()
    side.use("Contoso", 5)
    operator.next_night()
    operator.sandbox.faults.add("lost", match=ADJUST, after=1)
    result = operator.sync()
    # The start of the period has an adjustment already, and is refused; today's answer is lost.
    assert (result.code, adjustments(result)) == (0, 2)
    assert side.units("Contoso") == {ids["all"]: 25}


def test_an_adjustment_that_shows_after_the_run_is_not_sent_again_by_the_next(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20)
    operator.sync()
    side.use("Contoso", 5)
    operator.next_night()
    side.autotask.late = timedelta(minutes=5)
    operator.sandbox.faults.add("lost", match=ADJUST, after=1)
    first = operator.sync()
    assert (first.code, adjustments(first)) == (7, 2)
    operator.next_night()
    again = operator.sync()
    assert adjustments(again) == 0
    assert side.units("Contoso") == {ids["all"]: 25}


def test_a_service_that_the_contract_lacks_is_named_and_not_made(operator, side):
    ids = side.bill(all="KES")
    contract = side.client("Contoso", workstations=20)
    side.client("Fabrikam", workstations=7)
    for one in [x for x in side.autotask.lines.values() if x.contract == contract.id]:
        del side.autotask.lines[one.id]
    result = operator.sync()
    assert result.code == 7
    assert "add it to the contract in Autotask, with 0 units" in result.err.replace("\n", " ")
    assert side.units("Contoso") == {}
    assert side.units("Fabrikam") == {ids["all"]: 7}


def test_a_contract_that_rolled_over_fails_its_client_alone(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20).ends = side.autotask.today - timedelta(days=1)
    side.client("Fabrikam", workstations=7)
    result = operator.sync()
    assert result.code == 6
    assert result.company("Contoso")["status"] == "failed"
    assert side.units("Contoso") == {}
    assert side.units("Fabrikam") == {ids["all"]: 7}


def test_a_tenant_that_moves_from_connectwise_is_billed_here_once_it_is_down_there(operator, side):
    product = operator.bill_as_one()
    ids = side.bill_in_both(all="KES")
    old, rest = operator.client("Contoso", workstations=40), operator.world.tenant("Rest")
    assert operator.sync().code == 0
    moved = old.server
    old.server = rest
    rest.keys[0].use(rest.add_device("workstation"))
    operator.next_night()
    side.client("Lab", tenant=moved)

    held = operator.sync()
    assert held.code == 6
    assert (old.quantities, side.units("Lab")) == ({product: 40}, {})
    accepted = operator.sync("--accept", held.company("Contoso")["plan_id"])
    assert accepted.code == 0
    assert (old.quantities, side.units("Lab")) == ({product: 1}, {ids["all"]: 40})


def test_map_lists_companies_contracts_and_services(operator, side):
    ids = side.bill(all="KES")
    contract = side.client("Contoso", workstations=3)
    shown = operator.run("map", "list", "--json")
    assert shown.code == 0
    assert f'"{contract.id}"' in shown.out
    assert f'"{ids["all"]}"' in shown.out


def test_the_online_check_says_that_login_and_rights_are_there(operator, side):
    side.bill(all="KES")
    side.client("Contoso", workstations=3)
    operator.client("Fabrikam", workstations=1)
    result = operator.run("check", "--online", "-v")
    assert result.code == 0, result.out + result.err
    said = " ".join((result.out + result.err).split())
    assert "psa.at accepted the login and the tracking identifier" in said
    assert "requests that the database takes in an hour" in said


def test_a_pending_decrease_is_shown_in_the_preview(operator, side):
    side.bill(all="KES")
    side.client("Contoso", workstations=34)
    operator.sync()
    side.use("Contoso", -4)
    operator.next_night()
    operator.sync()
    shown = operator.run("preview", "-v")
    assert "34 → 30 from 2026-11-01" in " ".join(shown.out.split())
