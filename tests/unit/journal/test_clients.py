from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from kisi.errors import Withheld
from kisi.journal import Billing, ClientState, HeldPlan, Journal, RunState, Subject
from kisi.model import Company, CompanyPlan, Hold, LineSlot, Plan, PlannedLine, Status
from tests.unit.journal.builders import begin, company, day, end, held, line


def state(of: Company | None = None, status: Status = Status.READY, **more: object) -> ClientState:
    return ClientState(of or company(), status, **more)  # type: ignore[arg-type]


# --- runs


def test_a_run_that_never_ended_is_marked_crashed_by_the_next(journal: Journal) -> None:
    finished, crashed = begin(journal, 1), begin(journal, 2)
    end(journal, finished, 1)
    third = begin(journal, 3)
    journal.end_run(
        third,
        day(3),
        exit_code=130,
        summary={"create": 2},
        message="interrupted",
    )

    assert journal.crashed_runs == (crashed,)
    states = [(run.id, run.state, run.exit_code) for run in journal.last_runs()]
    assert states == [
        (third, RunState.INTERRUPTED, 130),
        (crashed, RunState.CRASHED, None),
        (finished, RunState.FINISHED, 0),
    ]


def test_runs_are_found_by_number_and_by_age(journal: Journal) -> None:
    for number in (1, 2, 3):
        end(journal, begin(journal, number), number)

    assert [run.id for run in journal.last_runs(2)] == [3, 2]
    assert [run.id for run in journal.last_runs(since=day(2))] == [3, 2]
    second = journal.run(2)
    assert second
    assert (second.at, second.ended_at, second.message) == (day(2), day(2), "1 of 1 proven")
    assert second.summary == {"create": 0}
    assert journal.run(4) is None


# --- clients


def test_an_unchanged_state_only_grows_older(journal: Journal) -> None:
    for number in (1, 2, 3):
        run = begin(journal, number)
        journal.record_clients(run, day(number), [state(confirmed=number < 3)])

    (client,) = journal.clients()
    assert client.last_run == 3
    assert (client.since_at, client.last_at, client.confirmed_at) == (day(1), day(3), day(2))


def missed_by(journal: Journal) -> dict[str, int | None]:
    return {client.name: client.missed_by for client in journal.clients()}


def test_a_newer_run_that_did_not_come_to_judge_a_client_is_named(journal: Journal) -> None:
    def judge(run: int, *companies: Company, exit_code: int = 0) -> None:
        journal.record_clients(run, day(run), [state(one) for one in companies])
        end(journal, run, run, exit_code)

    journal.record_mapping([company(1), company(2), company(3)])
    judge(begin(journal, 1), company(1), company(2))
    assert missed_by(journal) == {"Client 1": None, "Client 2": None, "Client 3": None}

    killed = begin(journal, 2)
    assert missed_by(journal) == {"Client 1": killed, "Client 2": killed, "Client 3": None}
    crashed_too = begin(journal, 3)
    assert missed_by(journal)["Client 1"] == crashed_too
    judge(crashed_too, company(1))
    assert missed_by(journal) == {"Client 1": None, "Client 2": crashed_too, "Client 3": None}

    judge(begin(journal, 4), company(1), company(2), company(3), exit_code=130)
    assert set(missed_by(journal).values()) == {None}, "stopped by a signal once it had judged"
    end(journal, begin(journal, 5), 5, exit_code=8)
    assert set(missed_by(journal).values()) == {5}, "it broke off"


def test_a_run_over_other_clients_that_came_to_its_end_is_beside_the_point(
    journal: Journal,
) -> None:
    journal.record_clients(begin(journal, 1), day(1), [state()])
    end(journal, 1)
    only = {"version": "1", "command": "sync", "config_hash": "", "plan_scope": "only X"}
    journal.begin_run(day(2), **only)
    assert missed_by(journal) == {"Client 1": 2}
    end(journal, 2, 2)
    assert missed_by(journal) == {"Client 1": None}


def test_a_state_that_comes_back_begins_anew(journal: Journal) -> None:
    failed = state(
        status=Status.FAILED, guard="source-incomplete", reason="list cut \ud800", remedy="look"
    )
    for number, found in ((1, state()), (2, failed), (3, failed), (4, state())):
        journal.record_clients(begin(journal, number), day(number), [found])
        (client,) = journal.clients()
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
    assert len(journal.open_holds()) == 1
    journal.record_mapping([company(1), company(2, billing=False)])

    assert journal.open_holds() == ()
    clients = journal.clients(unmapped=True)
    assert [client.billing for client in clients] == [Billing.ON, Billing.OFF, Billing.UNMAPPED]
    assert [client.name for client in journal.clients()] == ["Client 1", "Client 2"]
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
    assert journal.open_holds() == (
        HeldPlan(
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
        ),
    )
    journal.record_plan(second, day(2), plan_of(company(), line(after=51), plan_id="99"))

    assert journal.open_holds() == ()
    assert journal.held_lines("77b0e1c2") == (shown,)
    assert journal.held_lines("whole-77b0e1c2") == (shown,)
    assert journal.held_lines("99") == ()


def test_a_hold_that_stays_is_one_hold_since_its_first_run(journal: Journal) -> None:
    for number in (1, 2, 3):
        journal.record_plan(begin(journal, number), day(number), plan_of(company(), held()))

    (hold,) = journal.open_holds()
    assert (hold.first_run, hold.last_run, hold.last_at) == (1, 3, day(3))


def test_a_client_that_failed_keeps_its_holds_because_it_was_not_judged(journal: Journal) -> None:
    journal.record_plan(begin(journal, 1), day(1), plan_of(company(), held()))
    failed = plan_of(company(), plan_id="", status=Status.FAILED)
    journal.record_plan(begin(journal, 2), day(2), failed)

    assert [hold.plan_id for hold in journal.open_holds()] == ["77b0e1c2"]


def test_another_clients_plan_closes_no_hold(journal: Journal) -> None:
    journal.record_plan(begin(journal, 1), day(1), plan_of(company(1), held(company(1))))
    other = plan_of(company(2), held(company(2)), plan_id="0b")
    journal.record_plan(begin(journal, 2), day(2), other)

    assert [hold.name for hold in journal.open_holds()] == ["Client 1", "Client 2"]


def accepting(
    journal: Journal, *keys: str, plan_id: str = "77b0e1c2", who: str = "anna", number: int = 1
) -> None:
    """Accepts lines of Client 1 by their keys."""
    of = dict.fromkeys(keys, company())
    journal.accept(plan_id, begin(journal, number), day(number), who, of)


def written(key: str, **changes: object) -> PlannedLine:
    """A line that a guard held under a key, and that was written."""
    return line(hold=Hold("decrease", "fewer by half", "accept it", key=key), **changes)


def ended(journal: Journal, *done: PlannedLine, waiting: Collection[str] = ()) -> None:
    """A run over Client 1 ends: it wrote these lines, and holds those keys."""
    journal.use_accepted(done, [(company(), waiting)])


USED = r"77b0e1c2 was accepted before, by anna at 2026-11-02 03:00 UTC in run 1; an id works once"


def test_what_is_accepted_is_kept_until_it_is_written_and_its_id_works_once(
    journal: Journal,
) -> None:
    journal.refuse_used("77b0e1c2")
    accepting(journal, "a")
    for _ in range(3):
        assert journal.accepted() == {"a"}
        ended(journal, waiting=["a"])
    journal.refuse_used("77b0e1c2")
    assert journal.accept_counts() == {}

    ended(journal, written("a"))
    assert journal.accepted() == frozenset()
    with pytest.raises(Withheld, match=USED):
        journal.refuse_used("77b0e1c2")
    with pytest.raises(Withheld, match=USED):
        accepting(journal, "a", who="bert", number=2)
    assert journal.accepted() == frozenset()
    assert set(journal.accept_counts().values()) == {1}


def test_the_same_id_may_be_given_again_while_it_waits(journal: Journal) -> None:
    accepting(journal, "a")
    accepting(journal, "a", who="bert", number=2)
    assert journal.accepted() == {"a"}
    ended(journal, written("a"))
    with pytest.raises(Withheld, match="by bert at 2026-11-03"):
        journal.refuse_used("77b0e1c2")
    assert set(journal.accept_counts().values()) == {1}


def test_what_asks_for_other_numbers_is_not_accepted_any_more_and_its_id_not_used(
    journal: Journal,
) -> None:
    """It released nothing: should the numbers come back, a person may accept them once more."""
    accepting(journal, "a")
    ended(journal, waiting=["another"])
    assert journal.accepted() == frozenset()
    assert journal.accept_counts() == {}
    journal.refuse_used("77b0e1c2")
    accepting(journal, "a", number=2)
    assert journal.accepted() == {"a"}


def test_what_no_guard_holds_any_more_is_not_accepted_any_more(journal: Journal) -> None:
    accepting(journal, "a")
    ended(journal)
    assert journal.accepted() == frozenset()


def test_a_client_that_was_not_planned_keeps_what_was_accepted(journal: Journal) -> None:
    accepting(journal, "a")
    journal.use_accepted([], [])
    journal.use_accepted([], [(company(2), [])])
    assert journal.accepted() == {"a"}


def test_one_line_of_an_id_may_be_written_while_another_waits(journal: Journal) -> None:
    accepting(journal, "a", "b")
    ended(journal, written("a"), waiting=["b"])
    assert journal.accepted() == {"b"}
    with pytest.raises(Withheld, match=USED):
        journal.refuse_used("77b0e1c2")
    ended(journal, written("b", product="1202", line_id="8"))
    assert journal.accepted() == frozenset()
    assert journal.accept_counts() == {
        LineSlot("cw", "1001", "1201"): 1,
        LineSlot("cw", "1001", "1202"): 1,
    }


def test_a_whole_plans_id_accepts_lines_of_several_clients_each_for_itself(
    journal: Journal,
) -> None:
    keys = {"a": company(1), "b": company(2), "c": company(2)}
    journal.accept("4f2a91c0d3e7", begin(journal), day(1), "anna", keys)
    assert journal.accepted() == {"a", "b", "c"}
    journal.use_accepted([written("a")], [(company(1), []), (company(2), ["b"])])
    assert journal.accepted() == {"b"}
    assert journal.accept_counts() == {LineSlot("cw", "1001", "1201"): 1}


def test_accepting_under_a_second_id_accepts_nothing_twice(journal: Journal) -> None:
    accepting(journal, "a")
    accepting(journal, "a", plan_id="4f2a91c0d3e7", number=2)
    assert journal.accepted() == {"a"}
    ended(journal, written("a"))
    with pytest.raises(Withheld, match="4f2a91c0d3e7 was accepted before"):
        journal.refuse_used("4f2a91c0d3e7")
    assert set(journal.accept_counts().values()) == {1}


def test_what_was_accepted_is_there_for_the_next_run(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        accepting(journal, "a")
    with Journal.open(tmp_path, readonly=True) as journal:
        assert journal.accepted() == {"a"}


def test_accepts_are_counted_once_a_product_and_run(journal: Journal) -> None:
    for number, plan_id in ((1, "a"), (2, "b")):
        accepting(journal, f"k{number}", f"l{number}", plan_id=plan_id, number=number)
        ended(journal, written(f"k{number}"), written(f"l{number}"))

    assert journal.accept_counts() == {LineSlot("cw", "1001", "1201"): 2}


def test_a_written_line_of_a_client_that_the_journal_does_not_know_is_counted_too(
    journal: Journal,
) -> None:
    begin(journal)
    ended(journal, written("a", agreement="9999", line_id=None))
    assert journal.accept_counts() == {LineSlot("cw", "9999", "1201"): 1}


# --- the last run's


def test_only_the_last_runs_report_is_kept(journal: Journal) -> None:
    assert journal.latest(Subject.REPORT) is None
    for number in (1, 2):
        run = begin(journal, number)
        journal.replace_latest(run, day(number), Subject.REPORT, {"lines": [line(after=number)]})

    latest = journal.latest(Subject.REPORT)
    assert [one["after"] for one in latest["lines"]] == [2]
    assert journal.latest(Subject.TENANTS) is None
