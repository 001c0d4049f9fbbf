from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kisi.journal import ClientState, Journal, PackedUsage, RunState, Subject
from kisi.model import CompanyPlan, Outcome, Plan, Status
from tests.unit.journal.builders import (
    begin,
    company,
    confirmed,
    create,
    day,
    end,
    held,
    line,
    outcome,
    usage,
)

CLIENTS = 100
UNCHANGED_RUNS = 30
BYTES_A_CLIENT = 200


def unchanged_night(journal: Journal, number: int) -> None:
    """All that a run writes that finds nothing to change: 3 to 5 lines a client, some held."""
    fleet = [company(client) for client in range(1, CLIENTS + 1)]
    run = begin(journal, number)
    at = day(number)
    journal.record_mapping(fleet)
    seen = {f"device {device}": at for device in range(5)}  # each was seen again today
    journal.record_usage(
        run, [(one, PackedUsage.of(usage(one, 5, at), (), seen)) for one in fleet], at.date()
    )
    lines = {
        one: [
            line(one, line_id=f"{one.agreement}-{product}", product=str(product), after=5)
            for product in range(3 + index % 3)
        ]
        for index, one in enumerate(fleet)
    }
    waiting = fleet[:10]
    plan = Plan(
        tuple(
            CompanyPlan(
                one,
                Status.HELD if one in waiting else Status.READY,
                tuple(held(one, line_id=two.line_id) for two in lines[one])
                if one in waiting
                else tuple(lines[one]),
                plan_id=one.agreement,
            )
            for one in fleet
        ),
        plan_id="4f2a91c0d3e7",
    )
    journal.record_plan(run, at, plan)
    journal.confirm(
        run,
        at,
        [
            confirmed(5, one, line_id=two.line_id, product=two.product)
            for one in fleet
            for two in lines[one]
        ],
    )
    states = [
        ClientState(
            one,
            Status.HELD if one in waiting else Status.READY,
            confirmed=one not in waiting,
        )
        for one in fleet
    ]
    journal.record_clients(run, at, states)
    journal.replace_latest(run, at, Subject.REPORT, {"run": number, "companies": [plan]})
    journal.replace_latest(run, at, Subject.TENANTS, {"hq:VSRV3": "Client 3"})
    journal.prune(day(number - 400))
    journal.end_run(
        run,
        at,
        exit_code=6,
        summary=dict.fromkeys(("create", "update", "unchanged", "held", "failed", "applied"), 0),
        message=f"90 of {CLIENTS} clients up to date; need attention: "
        + ", ".join(f"{one.name} (decrease: 100 to 51, held)" for one in waiting),
    )


def size(journal: Journal, folder: Path) -> int:
    journal._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "journal.db").stat().st_size


@pytest.mark.slow
def test_an_unchanged_day_costs_less_than_200_bytes_a_client(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        unchanged_night(journal, 1)
        before = size(journal, tmp_path)
        for number in range(2, UNCHANGED_RUNS + 2):
            unchanged_night(journal, number)
        grown = size(journal, tmp_path) - before

        assert grown < BYTES_A_CLIENT * CLIENTS * UNCHANGED_RUNS / 10, "far below the promise"
        (newest,) = journal.usage_at("Client 1", UNCHANGED_RUNS + 1)
        assert set(newest.last_seen.values()) == {day(UNCHANGED_RUNS + 1).date()}
        assert len(journal.usage_at("Client 1", 2)) == 1
        assert journal.open_holds()[0].first_run == 1


def apply_all(journal: Journal, after_commit: object) -> None:
    """A run of two creates and an update, telling after each commit what must be true by then."""
    run = begin(journal)
    after_commit(0, 0)  # type: ignore[operator]
    for number, planned in enumerate((create(), create(product="1202"), line(line_id="0"))):
        operation = journal.intent(run, day(1), planned, company())
        after_commit(1, min(number, 2))  # type: ignore[operator]
        outcome(journal, operation, day(1), Outcome.APPLIED, line_id=str(number % 2))
        after_commit(0, min(number + 1, 2))  # type: ignore[operator]
    end(journal, run)
    after_commit(0, 2)  # type: ignore[operator]


def test_after_a_power_loss_at_any_commit_the_journal_is_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    copies: list[tuple[Path, int, int]] = []

    def lose_power(pending: int, owned: int) -> None:
        copy = tmp_path / f"copy{len(copies)}"
        copy.mkdir()
        for name in ("journal.db", "journal.db-wal"):
            shutil.copy(state / name, copy / name)
        copies.append((copy, pending, owned))

    with Journal.open(state) as journal:
        apply_all(journal, lose_power)

    assert len(copies) == 8
    for copy, pending, owned in copies:
        with Journal.open(copy) as journal:
            assert len(journal.pending()) == pending
            assert len(journal.facts(day(1), 30)) == owned
            begin(journal, 2)
            assert journal.last_runs()[0].state is RunState.RUNNING


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.floats(0, 1))
def test_a_log_that_was_cut_anywhere_loses_whole_commits_only(tmp_path: Path, kept: float) -> None:
    shutil.rmtree(tmp_path)
    state, copy = tmp_path / "state", tmp_path / "copy"
    Journal.open(state).close()
    with Journal.open(state) as journal:
        apply_all(journal, lambda pending, owned: None)
        copy.mkdir()
        shutil.copy(state / "journal.db", copy)
        log = (state / "journal.db-wal").read_bytes()
    (copy / "journal.db-wal").write_bytes(log[: int(len(log) * kept)])

    with Journal.open(copy) as journal:
        pending = journal.pending()
        runs = journal.last_runs()
        operations = journal.operations(1)
        applied = [one for one in operations if one.outcome is Outcome.APPLIED]
        assert len(pending) <= 1
        assert len(runs) == (1 if operations else len(runs))
        assert len(applied) == len(operations) - len(pending)
        assert len(journal.facts(day(1), 30)) == min(len(applied), 2)


def test_workers_of_one_run_may_journal_at_the_same_time(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        run = begin(journal)

        def bill(number: int) -> None:
            one = company(number)
            operation = journal.intent(run, day(1), create(one), one)
            outcome(journal, operation, day(1), Outcome.APPLIED, line_id=str(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(bill, range(40)))

        assert len(journal.facts(day(1), 30)) == 40
        assert journal.pending() == ()
