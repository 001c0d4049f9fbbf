from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from kisi.errors import StateError
from kisi.journal import Journal, OperationOutcome, RunState, emergency_line
from kisi.journal.operations import operation_key
from kisi.model import Line, Outcome
from tests.unit.journal.builders import begin, company, confirmed, create, day, end, line, outcome


def test_an_intent_is_there_for_the_next_run_when_the_process_ends(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        run = begin(journal)
        intent = journal.intent(run, day(1), line(description="Servers"), company())

    with Journal.open(tmp_path) as journal:
        begin(journal, 2)

        assert journal.pending() == (replace(intent, running=False),)
        assert intent.running
        assert intent.line == line()
        assert (intent.name, intent.tenants) == ("Client 1", company().tenants)
        assert intent.outcome is None
        assert journal.crashed_runs == (run,)
        crashed = journal.run(run)
        assert crashed
        assert crashed.state is RunState.CRASHED


def test_an_applied_create_is_owned_in_the_same_transaction(journal: Journal) -> None:
    run = begin(journal)
    operation = journal.intent(run, day(1), create(after=90), company())
    outcome(journal, operation, day(1), Outcome.APPLIED, line_id="4711", request_id="cw-1")

    (fact,) = journal.facts(day(1), 30)
    assert (fact.line_id, fact.confirmed) == ("4711", 90)
    (stored,) = journal.operations(run)
    assert (stored.outcome, stored.request_id, stored.settled) == (Outcome.APPLIED, "cw-1", True)
    assert journal.pending() == ()


def test_an_applied_create_without_the_lines_id_is_refused_and_stays_pending(
    journal: Journal,
) -> None:
    operation = journal.intent(begin(journal), day(1), create(), company())

    with pytest.raises(ValueError, match="without an id"):
        outcome(journal, operation, day(1), Outcome.APPLIED)
    assert journal.pending() == (operation,)


def test_a_failed_write_is_settled_and_proves_nothing(journal: Journal) -> None:
    operation = journal.intent(begin(journal), day(1), line(), company())
    outcome(journal, operation, day(1), Outcome.FAILED, detail="The agreement is closed.")

    assert journal.facts(day(1), 30) == ()
    assert journal.pending() == ()


def test_an_unknown_outcome_stays_pending_until_a_later_run_settles_it(journal: Journal) -> None:
    run = begin(journal)
    intent = journal.intent(run, day(1), line(), company())
    outcome(journal, intent, day(1), Outcome.UNKNOWN, quantity=Decimal(95), request_id="cw-9")
    end(journal, run)
    (unknown,) = journal.pending()
    (seen,) = journal.facts(day(1), 30)

    assert (seen.confirmed, seen.unsettled) == (95, True)
    assert (unknown.outcome, unknown.quantity) == (Outcome.UNKNOWN, 95)
    second = begin(journal, 2)
    journal.settle(
        unknown, second, day(2), OperationOutcome(Outcome.APPLIED, quantity=Decimal(100))
    )
    assert journal.pending() == ()
    (fact,) = journal.facts(day(2), 30)
    assert (fact.confirmed, fact.unsettled) == (100, False)
    (stored,) = journal.operations(run)
    assert stored.request_id == "cw-9"
    (history,) = journal.line_history("Client 1")
    assert [(one.quantity, one.first_run) for one in history.quantities] == [(95, run), (100, run)]


def test_a_write_that_a_later_run_settles_is_proven_with_what_its_own_run_counted(
    journal: Journal,
) -> None:
    """What moved since then must still be waited for, although the line was seen only now."""
    run = begin(journal)
    intent = journal.intent(run, day(1), line(), company())
    begin(journal, 2)
    third = begin(journal, 3)
    journal.settle(intent, third, day(3), OperationOutcome(Outcome.APPLIED))

    (fact,) = journal.facts(day(3), 30)
    assert (fact.confirmed, fact.proven) == (100, run)
    (history,) = journal.line_history("Client 1")
    assert [(one.first_run, one.last_run, one.last_at) for one in history.quantities] == [
        (run, run, day(3))
    ]
    journal.confirm(third, day(3), [confirmed(100)])
    assert journal.facts(day(3), 30)[0].proven == third


def test_settling_an_old_write_makes_no_later_proof_older(journal: Journal) -> None:
    run = begin(journal)
    intent = journal.intent(run, day(1), line(), company())
    second = begin(journal, 2)
    journal.confirm(second, day(2), [confirmed(100)])
    journal.settle(intent, begin(journal, 3), day(3), OperationOutcome(Outcome.APPLIED))

    assert journal.facts(day(3), 30)[0].proven == second


def test_a_line_that_an_unknown_write_shows_is_proven_by_its_own_run_too(journal: Journal) -> None:
    run = begin(journal)
    intent = journal.intent(run, day(1), create(), company())
    later = begin(journal, 2)
    journal.settle(
        intent, later, day(2), OperationOutcome(Outcome.UNKNOWN, line_id="9", quantity=Decimal(5))
    )

    (fact,) = journal.facts(day(2), 30)
    assert (fact.line_id, fact.confirmed, fact.unsettled, fact.proven) == ("9", 5, True, run)


def test_an_unknown_create_is_settled_by_the_proof_of_its_line(journal: Journal) -> None:
    run = begin(journal)
    lost = journal.intent(run, day(1), create(), company())
    outcome(journal, lost, day(1), Outcome.UNKNOWN)
    other = journal.intent(run, day(1), create(product="1202"), company())
    outcome(journal, other, day(1), Outcome.UNKNOWN)
    again = journal.intent(run, day(1), line(before=Decimal(0)), company())
    outcome(journal, again, day(1), Outcome.UNCHANGED)

    assert [operation.id for operation in journal.pending()] == [other.id]


def test_the_key_is_that_of_the_change_and_of_nothing_else() -> None:
    key = operation_key(line())

    assert key == "1:9e9cb208856e5d10fd9e44a3086340fc"
    assert operation_key(line(before=Decimal("90.00"), description="x", application="y")) == key
    assert len({key, *(operation_key(other) for other in CHANGED)}) == len(CHANGED) + 1


CHANGED = (
    line(after=101),
    line(before=None),
    line(line_id=None),
    line(product="1202"),
    line(agreement="1"),
    line(company="1"),
    line(psa="tp"),
    create(),
)


def test_an_outcome_that_cannot_be_stored_is_one_harmless_line(journal: Journal) -> None:
    operation = journal.intent(
        begin(journal), day(1), create(), company(name="Evil\n\x1b[31m\u202e Corp")
    )
    text = emergency_line(
        operation, OperationOutcome(Outcome.APPLIED, "4711", Decimal(100), "a\nb")
    )

    assert text.isascii()
    assert text.isprintable()
    said = json.loads(text)
    assert said["operation"] == operation.id
    assert said["key"] == operation.key
    assert (said["line_id"], said["before"], said["after"]) == ("4711", None, 100)
    assert (said["outcome"], said["quantity"]) == ("applied", "100")
    assert (
        json.loads(emergency_line(operation, OperationOutcome(Outcome.UNKNOWN)))["line_id"] is None
    )


def test_half_a_surrogate_pair_from_a_psa_cannot_lose_an_outcome(journal: Journal) -> None:
    run = begin(journal)
    operation = journal.intent(run, day(1), line(), company())
    outcome(journal, operation, day(1), Outcome.FAILED, detail="odd \ud800 text")

    assert journal.operations(run)[0].detail == "odd \\ud800 text"


# --- the other lines of the agreement --------------------------------------------------------------

BACKUP = Line(
    "7", "1042", "BACKUP", Decimal(5), starts=day(1).date(), raw={"DetailId": 7, "Price": 9.5}
)


def test_lines_from_before_a_write_are_kept_until_they_are_proven(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        operation = journal.intent(begin(journal), day(1), line(), company())
        assert journal.unproven() == ()
        journal.keep_lines(operation, [BACKUP])
        outcome(journal, operation, day(1), Outcome.UNKNOWN)

    with Journal.open(tmp_path) as journal:
        (left,) = journal.unproven()
        assert left.lines_before == (BACKUP,)
        journal.keep_lines(left, None)
        assert journal.unproven() == ()


def test_a_foreign_change_is_there_until_a_person_has_looked(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        operation = journal.intent(begin(journal), day(1), line(), company())
        journal.keep_lines(operation, [BACKUP])
        where = (operation.line.psa, operation.line.agreement)
        journal.record_foreign_change(*where, day(2), "Line 7 is gone.", [BACKUP])
        assert journal.unproven() == ()

    with Journal.open(tmp_path) as journal:
        (found,) = journal.foreign_changes()
        assert (found.psa, found.agreement, found.at) == (*where, day(2))
        assert (found.what, found.lines) == ("Line 7 is gone.", (BACKUP.raw,))
        assert journal.acknowledge() == 1
        assert journal.foreign_changes() == ()
        assert journal.acknowledge() == 0


@pytest.mark.parametrize("name", ["notes.json", "tp-7001-new.foreign.json", "tp-7001.seen"])
def test_files_that_no_kisi_left_mean_nothing(journal: Journal, tmp_path: Path, name: str) -> None:
    folder = journal.path.parent / "snapshots"
    folder.mkdir()
    (folder / name).touch()
    assert journal.foreign_changes() == ()


def test_a_file_of_an_earlier_kisi_that_cannot_be_read_or_renamed_ends_the_run(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = journal.path.parent / "snapshots"
    folder.mkdir()
    file = folder / "tp-2-7001-20261121T200000.000000Z.foreign.json"
    file.write_text("{", encoding="utf-8")
    (found,) = journal.foreign_changes()
    assert (found.psa, found.agreement, str(file) in found.what) == ("tp-2", "7001", True)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    for method, act in (
        ("replace", journal.acknowledge),
        ("iterdir", journal.foreign_changes),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, refuse)
            with pytest.raises(StateError, match="Permission denied"):
                act()
    assert journal.foreign_changes() == (found,)
