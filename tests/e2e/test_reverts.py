"""A run is undone at the command line, judged by what ConnectWise holds night after night."""

from __future__ import annotations

import json

import pytest

from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import Operator, Result


def units(client: Client) -> list[float]:
    return list(client.quantities.values())


def night(operator: Operator, *arguments: str) -> Result:
    operator.next_night()
    return operator.sync(*arguments)


def told(result: Result) -> str:
    return " ".join(result.out.split())


def run_of(result: Result) -> str:
    return str(result.document["run"])


def test_an_update_is_undone_and_stays_undone_over_several_nights(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    lab = operator.client("Lab", workstations=5)
    operator.sync()
    contoso.add_devices(n=4)
    wrong = night(operator)
    assert units(contoso) == [94]

    lab.add_devices(n=1)
    asked = night(operator, "--revert", run_of(wrong))
    assert (asked.code, set(asked.holds("Contoso").values())) == (6, {"reverted"})
    assert (units(contoso), units(lab)) == ([94], [6])  # the run bills everybody else
    (line,) = asked.company("Contoso")["lines"]
    assert (line["before"], line["after"], line["counted"]) == (94, 90, 94)
    assert line["reverted_run"] == int(run_of(wrong))
    plan_id = asked.company("Contoso")["plan_id"]
    assert asked.last_line.endswith("need attention: Contoso (held: reverted).")
    shown = " ".join(operator.run("preview").out.split())
    assert f"it would go back to 90, which it held before run {run_of(wrong)}" in shown
    assert f"kisi sync --accept {plan_id}" in shown
    assert "reverted" in operator.run("status").out

    done = night(operator, "--accept", plan_id)
    assert (done.code, units(contoso)) == (0, [90])
    assert [one.method for one in done.writes] == ["PATCH"]
    ready = operator.run("status", "--ready")  # for an invoice made now; the next run asks again
    assert ready.code == 0
    assert "Billed as before a reverted run, and not as counted: Contoso." in told(ready)
    of_contoso = told(operator.run("status", "--client", "Contoso"))
    assert "90 again, as before run 2; the next run holds what is counted" in of_contoso
    contoso.add_devices(n=1)
    for _ in range(2):
        held = night(operator)
        assert (held.code, units(contoso), held.writes) == (6, [90], [])
        assert set(held.holds("Contoso").values()) == {"reverted"}
        assert operator.run("status", "--ready").code == 6
    assert "on hold (reverted)" in operator.run("explain", "Contoso").out

    away = night(operator, "--accept", held.company("Contoso")["plan_id"])
    assert (away.code, units(contoso)) == (0, [95])
    contoso.add_devices(n=1)
    assert (night(operator).code, units(contoso)) == (0, [96])
    ready = operator.run("status", "--ready")
    assert (ready.code, "reverted" in ready.out) == (0, False)


def test_a_first_sync_is_undone_to_0_and_nothing_is_deleted(operator: Operator):
    operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)
    first = operator.sync()
    asked = night(operator, "--revert", run_of(first))
    assert (asked.code, set(asked.holds("Contoso").values())) == (6, {"reverted"})
    done = night(operator, "--accept", asked.document["plan_id"])
    assert (done.code, units(contoso)) == (0, [0, 0])
    assert {one.method for one in done.writes} == {"PATCH"}
    held = night(operator)
    assert (held.code, units(contoso)) == (6, [0, 0])
    night(operator, "--accept", held.document["plan_id"])
    assert sorted(units(contoso)) == [10, 90]
    assert night(operator).code == 0


def test_what_stands_on_it_is_refused_line_by_line(operator: Operator):
    operator.bill_as_one()
    clients = [operator.client(name, workstations=20) for name in ("Contoso", "Lab", "Third")]
    _contoso, lab, third = clients
    operator.sync()
    for one in clients:
        one.add_devices(n=2)
    wrong = night(operator)
    lab.add_devices(n=1)
    later = night(operator)
    (line,) = third.additions
    line.quantity = 23

    asked = night(operator, "--revert", run_of(wrong))
    assert asked.code == 6
    assert set(asked.holds("Contoso").values()) == {"reverted"}
    assert (asked.holds("Lab"), set(asked.holds("Third").values())) == ({}, {"drift"})
    first, second = sorted(asked.document["notes"])
    assert f"run {run_of(later)} has changed it since (22 → 23)" in first
    assert f"First revert that: kisi sync --revert {run_of(later)}" in first
    assert "the PSA holds 23: a person changed it since" in second
    night(operator, "--accept", asked.company("Contoso")["plan_id"])
    assert [units(one) for one in clients] == [[20], [23], [23]]

    nothing = night(operator, "--revert", run_of(wrong))
    assert (nothing.code, nothing.writes) == (6, [])
    assert f"Nothing of run {run_of(wrong)} can be reverted. Nothing was written." in nothing.err
    assert "Contoso" in nothing.err


def test_a_run_that_does_not_exist_or_wrote_nothing_is_wrong_usage(operator: Operator):
    operator.bill_as_one()
    operator.client(workstations=20)
    operator.sync()
    idle = operator.sync()
    for run, why in ((run_of(idle), "it wrote nothing"), ("99", "there is no such run")):
        result = operator.run("sync", "--revert", run)
        assert (result.code, result.requests) == (2, ())
        assert f"Run {run} cannot be reverted: {why}. Nothing was read or written." in result.err
    assert operator.run("sync", "--revert", "0").code == 2
    runs = json.loads(operator.run("status", "--json").out)["runs"]
    assert len(runs) == 2


def test_what_was_asked_for_is_taken_back(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=20)
    operator.sync()
    contoso.add_devices(n=2)
    wrong = night(operator)
    asked = night(operator, "--revert", run_of(wrong))
    assert (night(operator, "--revert", run_of(asked)).code, units(contoso)) == (0, [22])


def test_a_count_that_falls_too_is_held_as_reverted_with_both_numbers(operator: Operator):
    """Its own guard would say that the line goes to what is counted, and the id takes it to 0."""
    operator.bill_as_one()
    contoso = operator.client(workstations=20)
    first = operator.sync()
    contoso.remove_devices(10)
    asked = night(operator, "--revert", run_of(first))
    assert (asked.code, set(asked.holds("Contoso").values())) == (6, {"reverted"})
    reason = asked.company("Contoso")["lines"][0]["hold"]["reason"]
    assert reason == (
        "it would go back to 0, which it held before run 1, although 10 are counted now "
        "(`kisi sync --revert 2` withdraws this)"
    )
    night(operator, "--accept", asked.company("Contoso")["plan_id"])
    assert units(contoso) == [0]
    held = night(operator)
    assert (units(contoso), set(held.holds("Contoso").values())) == ([0], {"reverted"})
    night(operator, "--accept", held.company("Contoso")["plan_id"])
    assert (night(operator).code, units(contoso)) == (0, [10])
    contoso.remove_devices(9)
    fell = night(operator)
    assert (units(contoso), set(fell.holds("Contoso").values())) == ([10], {"decrease"})


def test_an_id_of_a_client_that_is_not_in_the_run_says_so(operator: Operator):
    operator.bill_as_one()
    contoso, lab = (operator.client(name, workstations=20) for name in ("Contoso", "Lab"))
    operator.sync()
    contoso.remove_devices(12)
    plan_id = night(operator).company("Contoso")["plan_id"]
    for narrowed in (("--client", "Lab"), ("--exclude", "Contoso")):
        refused = operator.sync("--accept", plan_id, *narrowed)
        assert (refused.code, units(contoso), units(lab)) == (6, [20], [20])
        said = "it was 20 → 8; its client is not in this run (`--client`, `--exclude`, or no row"
        assert said in " ".join(refused.err.split())
    assert (operator.sync("--accept", plan_id).code, units(contoso)) == (0, [8])


@pytest.mark.parametrize("policy", ["today", "peak", "average", "day:14"])
def test_under_each_policy_it_stays_until_it_is_accepted(operator: Operator, policy: str):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    contoso.exceptions.append({"application": APPLICATION, "count": policy})
    first = operator.sync()
    asked = night(operator, "--revert", run_of(first))
    contoso.add_devices(n=2)
    done = night(operator, "--accept", asked.company("Contoso")["plan_id"])
    assert (done.code, units(contoso)) == (0, [0])
    for _ in range(2):
        held = night(operator)
        assert (held.code, units(contoso)) == (6, [0])
        assert set(held.holds("Contoso").values()) == {"reverted"}
    (line,) = held.company("Contoso")["lines"]
    away = night(operator, "--accept", held.company("Contoso")["plan_id"])
    if policy == "average":  # a mean is another number each night: its id fits its own night
        held = operator.sync()
        away = operator.sync("--accept", held.company("Contoso")["plan_id"])
        (line,) = held.company("Contoso")["lines"]
    assert (away.code, units(contoso)) == (0, [line["after"]])
    assert line["after"] == {"today": 92, "peak": 92, "average": 91, "day:14": 90}[policy]
    assert night(operator).code == 0
