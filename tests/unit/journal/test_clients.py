from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kisi.errors import Withheld
from kisi.journal import Billing, ClientState, HeldPlan, Journal, RunState, Subject
from kisi.model import Company, CompanyPlan, Plan, PlannedLine, Status
from tests.unit.journal.builders import begin, company, day, end, held, line


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "state") as opened:
        yield opened


def state(of: Company | None = None, status: Status = Status.READY, **more: object) -> ClientState:
    client = of or company()
    where = (client.name, client.psa, client.company, client.agreement)
    return ClientState(*where, status=status, **more)  # type: ignore[arg-type]


# --- runs


def test_a_run_that_never_ended_is_marked_crashed_by_the_next(journal: Journal) -> None:
    finished, crashed = begin(journal, 1), begin(journal, 2)
    end(journal, finished, 1)
    third = begin(journal, 3)
    journal.end_run(
        third,
        day(3),
        exit_code=130,
        state=RunState.INTERRUPTED,
        summary={"create": 2},
        message="interrupted",
    )

    assert journal.crashed_runs == (crashed,)
    states = [(run.id, run.state, run.exit_code) for run in journal.history.last_runs()]
    assert states == [
        (third, RunState.INTERRUPTED, 130),
        (crashed, RunState.CRASHED, None),
        (finished, RunState.FINISHED, 0),
    ]


def test_runs_are_found_by_number_and_by_age(journal: Journal) -> None:
    for number in (1, 2, 3):
        end(journal, begin(journal, number), number)
    history = journal.history

    assert [run.id for run in history.last_runs(2)] == [3, 2]
    assert [run.id for run in history.last_runs(since=day(2))] == [3, 2]
    second = history.run(2)
    assert second
    assert (second.at, second.ended_at, second.message) == (day(2), day(2), "1 of 1 proven")
    assert second.summary == {"create": 0}
    assert history.run(4) is None


# --- clients


def test_an_unchanged_state_only_grows_older(journal: Journal) -> None:
    for number in (1, 2, 3):
        run = begin(journal, number)
        (client,) = journal.record_clients(run, day(number), [state(confirmed=number < 3)])

    assert client.last_run == 3
    assert (client.since_at, client.last_at, client.confirmed_at) == (day(1), day(3), day(2))
    assert journal.history.clients() == (client,)


def test_a_state_that_comes_back_begins_anew(journal: Journal) -> None:
    failed = state(
        status=Status.FAILED, guard="source-incomplete", reason="list cut \ud800", remedy="look"
    )
    for number, found in ((1, state()), (2, failed), (3, failed), (4, state())):
        (client,) = journal.record_clients(begin(journal, number), day(number), [found])
        if number == 3:
            assert (client.since_at, client.guard) == (day(2), "source-incomplete")
            assert client.reason == "list cut \\ud800"

    assert (client.since_at, client.status, client.guard) == (day(4), Status.READY, "")


def test_clients_that_left_the_mapping_are_unmapped_and_hold_nothing_open(
    journal: Journal,
) -> None:
    run = begin(journal)
    journal.record_mapping([company(1), company(2, billing=False), company(3)])
    journal.record_plan(run, day(1), plan_of(company(3), held(company(3))))
    assert len(journal.history.open_holds()) == 1
    journal.record_mapping([company(1), company(2, billing=False)])

    assert journal.history.open_holds() == ()
    clients = journal.history.clients(unmapped=True)
    assert [client.billing for client in clients] == [Billing.ON, Billing.OFF, Billing.UNMAPPED]
    assert [client.name for client in journal.history.clients()] == ["Client 1", "Client 2"]
    assert clients[0].tenants == company(1).tenants
    assert clients[0].status is None
    assert clients[0].last_at is None


# --- holds and accepts


def plan_of(
    client: Company, *lines: PlannedLine, plan_id: str = "77b0e1c2", status: Status = Status.HELD
) -> Plan:
    one = CompanyPlan(client, status, lines=lines, plan_id=plan_id)
    return Plan(companies=(one,), plan_id=f"whole-{plan_id}")


def test_a_shown_id_can_be_explained_after_the_hold_is_gone(journal: Journal) -> None:
    first, second = begin(journal, 1), begin(journal, 2)
    shown = held(after=51)
    journal.record_plan(first, day(1), plan_of(company(), shown, line(product="1202", line_id="8")))
    journal.record_plan(second, day(2), plan_of(company(), line(after=51), plan_id="99"))

    assert journal.history.held_plan("77b0e1c2") == HeldPlan(
        plan_id="77b0e1c2",
        name="Client 1",
        psa="cw",
        company="201",
        agreement="1001",
        lines=(shown,),
        first_run=first,
        first_at=day(1),
        last_run=first,
        last_at=day(1),
        open=False,
    )
    whole = journal.history.held_plan("whole-77b0e1c2")
    assert whole
    assert (whole.name, whole.lines, whole.open) == ("", (shown,), False)
    assert journal.history.held_plan("99") is None


def test_a_hold_that_stays_is_one_hold_since_its_first_run(journal: Journal) -> None:
    for number in (1, 2, 3):
        journal.record_plan(begin(journal, number), day(number), plan_of(company(), held()))

    (hold,) = journal.history.open_holds()
    assert (hold.first_run, hold.last_run, hold.last_at) == (1, 3, day(3))


def test_a_client_that_failed_keeps_its_holds_because_it_was_not_judged(journal: Journal) -> None:
    journal.record_plan(begin(journal, 1), day(1), plan_of(company(), held()))
    failed = plan_of(company(), plan_id="", status=Status.FAILED)
    journal.record_plan(begin(journal, 2), day(2), failed)

    assert [hold.plan_id for hold in journal.history.open_holds()] == ["77b0e1c2"]


def test_another_clients_plan_closes_no_hold(journal: Journal) -> None:
    journal.record_plan(begin(journal, 1), day(1), plan_of(company(1), held(company(1))))
    other = plan_of(company(2), held(company(2)), plan_id="0b")
    journal.record_plan(begin(journal, 2), day(2), other)

    assert [hold.name for hold in journal.history.open_holds()] == ["Client 1", "Client 2"]


def test_an_id_works_once_and_a_second_use_changes_nothing(journal: Journal) -> None:
    run = begin(journal)
    journal.refuse_used("77b0e1c2")
    lines = [held(), held(product="1202", line_id=None)]
    journal.use_id("77b0e1c2", run, day(1), "anna", lines)

    said = rf"77b0e1c2 was accepted before, by anna at 2026-11-02 03:00 UTC in run {run}"
    with pytest.raises(Withheld, match=said):
        journal.refuse_used("77b0e1c2")
    with pytest.raises(Withheld, match=said):
        journal.use_id("77b0e1c2", run, day(2), "bert", lines)
    assert set(journal.accept_counts().values()) == {1}


def test_accepts_are_counted_once_a_product_and_id(journal: Journal) -> None:
    run = begin(journal)
    journal.use_id("a", run, day(1), "anna", [held(line_id="7"), held(line_id="8")])
    journal.use_id("b", run, day(1), "anna", [held()])

    assert journal.accept_counts() == {("cw", "1001", "1201"): 2}


# --- the last run's


def test_only_the_last_runs_report_is_kept(journal: Journal) -> None:
    assert journal.history.latest(Subject.REPORT) is None
    for number in (1, 2):
        run = begin(journal, number)
        journal.replace_latest(run, day(number), Subject.REPORT, {"lines": [line(after=number)]})

    latest = journal.history.latest(Subject.REPORT)
    assert latest
    assert (latest.run_id, latest.at) == (2, day(2))
    assert latest.value["lines"][0]["after"] == 2
    assert journal.history.latest(Subject.TENANTS) is None
