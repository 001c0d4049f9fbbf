"""Tigerpaw: charges reach what clients use, and nothing else on an agreement ever moves."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from kisi.journal import Journal, Operation, StoredForeignChange
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result
from tests.e2e.tigerpaw_side import TigerpawSide, submits

SUBMIT = "POST /api/rmm/tsiWS.asmx"


@pytest.fixture
def side(operator: Operator) -> Iterator[TigerpawSide]:
    """A Tigerpaw to which kisi may write."""
    side = TigerpawSide(operator)
    yield side
    assert not side.tigerpaw.violations


@pytest.fixture
def reporting(operator: Operator) -> TigerpawSide:
    """A Tigerpaw as `kisi init` sets it up: changes are shown and not written."""
    return TigerpawSide(operator, write="report")


def lines(result: Result, client: str) -> dict[str, dict[str, Any]]:
    """Item to the client's line of it."""
    return {line["product"]: line for line in result.company(client)["lines"]}


def flat(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def looked_after(operator: Operator) -> tuple[list[Operation], list[StoredForeignChange]]:
    """The submits that nobody has proven yet, and the foreign changes that nobody has released."""
    with Journal.open(operator.state, readonly=True) as journal:
        return list(journal.unproven()), list(journal.foreign_changes())


def release(operator: Operator) -> None:
    """A person has looked."""
    assert operator.run("check", "--repair").code == 0


def killed_at_the_submit(operator: Operator, side: TigerpawSide) -> None:
    """One `kisi sync` in a process of its own, which is killed once its submit has arrived."""
    operator.write_files()
    operator.ends_sessions = False  # a killed process logs out nowhere
    program = (
        "import sys, time_machine\n"
        "from datetime import datetime\n"
        "with time_machine.travel(datetime.fromisoformat(sys.argv.pop(1)), tick=True):\n"
        "    from kisi.__main__ import main\n"
        "    main()\n"
    )
    command = [sys.executable, "-P", "-c", program, operator.world.now().isoformat()]
    running: list[subprocess.Popen[str]] = []

    def kill() -> None:
        running[0].kill()

    operator.sandbox.faults.add("call", match=SUBMIT, function=kill)
    command += ["sync", "--config", str(operator.config)]
    with subprocess.Popen(command, text=True, stderr=subprocess.PIPE) as process:
        running.append(process)
        _, said = process.communicate(timeout=60)
    assert operator.sandbox.faults.fired("call"), said
    for _ in range(1000):
        if side.tigerpaw.submits:
            return
        threading.Event().wait(0.01)
    pytest.fail("Tigerpaw never acted on the submit")


# --- the main job ---------------------------------------------------------------------------------


def test_ninety_workstations_and_ten_servers_become_two_charges(operator, side):
    workstations, servers, _ = side.bill_by_category()
    contoso = side.client("Contoso", workstations=90, servers=10)

    result = operator.sync()

    assert contoso.quantities == {workstations: 90, servers: 10}
    assert result.code == 0
    assert result.last_line == "1 of 1 clients up to date."
    assert {charge.item: charge.price for charge in contoso.charges} == {
        workstations: 4.5,
        servers: 9.0,
    }
    assert not [charge for charge in contoso.charges if charge.one_time]
    assert looked_after(operator) == ([], [])


def test_a_second_sync_sends_no_submit(operator, side):
    side.bill_by_category()
    contoso = side.client("Contoso", workstations=90, servers=10)
    assert len(submits(operator.sync())) == 2
    before = [charge.record() for charge in contoso.charges]

    operator.next_night()
    again = operator.sync()

    assert again.code == 0
    assert submits(again) == []
    assert [charge.record() for charge in contoso.charges] == before
    assert again.document["summary"]["unchanged"] == 2


def test_what_changes_over_night_is_written_and_keeps_its_price_and_text(operator, side):
    workstations, servers, _ = side.bill_by_category()
    contoso = side.client("Contoso", workstations=90, servers=10)
    fabrikam = side.client("Fabrikam", workstations=5)
    operator.sync()
    bargain = contoso.charge(workstations)
    bargain.price, bargain.description = 3.99, "Endpoint protection <special>"
    bargain.print_when_quantity_zero = True

    operator.next_night()
    contoso.add_devices("workstation", 3)
    contoso.remove_devices(1)
    contoso.add_devices("workstation")
    result = operator.sync()

    assert result.code == 0
    assert contoso.quantities == {workstations: 93, servers: 10}
    assert fabrikam.quantities == {workstations: 5}
    assert len(submits(result)) == 1
    assert (bargain.price, bargain.description) == (3.99, "Endpoint protection <special>")
    assert bargain.print_when_quantity_zero
    assert not bargain.one_time


def test_charges_of_others_and_one_time_charges_are_never_touched(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5, price=9.0)
    one_time = side.tigerpaw.charge(contoso.agreement, item, 3, one_time=True)
    before = [backup.record(), one_time.record()]

    assert operator.sync().code == 0
    operator.next_night()
    contoso.add_devices("workstation")
    assert operator.sync().code == 0

    assert contoso.quantities == {"BACKUP": 5, item: 8}
    assert [backup.record(), one_time.record()] == before


def test_a_charge_made_by_hand_with_the_right_quantity_is_kept_from_now_on(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    by_hand = side.tigerpaw.charge(contoso.agreement, item, 7)

    first = operator.sync()
    operator.next_night()
    contoso.add_devices("workstation")
    second = operator.sync()

    assert (first.code, submits(first)) == (0, [])
    assert second.code == 0
    assert by_hand.quantity == 8


def test_a_charge_made_by_hand_with_another_quantity_waits_for_a_person(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    side.tigerpaw.charge(contoso.agreement, item, 9)

    held = operator.sync()
    assert (held.code, held.holds("Contoso")) == (6, {item: "adopt"})
    assert contoso.quantities == {item: 9}
    assert submits(held) == []

    accepted = operator.sync("--accept", held.company("Contoso")["plan_id"])
    assert accepted.code == 0
    assert contoso.quantities == {item: 7}


# --- who can be billed ----------------------------------------------------------------------------


def test_an_account_without_the_cross_reference_is_refused_by_name_and_others_are_billed(
    operator, side
):
    item = side.bill_as_one()
    relecloud = side.client("Relecloud", cross_referenced=False, workstations=9)
    contoso = side.client("Contoso", workstations=7)

    result = operator.sync()

    assert result.code == 6
    assert (relecloud.charges, contoso.quantities) == ([], {item: 7})
    refused = result.company("Relecloud")
    assert (refused["status"], result.company("Contoso")["status"]) == ("failed", "ready")
    number = relecloud.agreement.account.number
    assert f"{number} (Relecloud)" in refused["reason"]
    assert 'not cross-referenced to the External Product "Kaspersky"' in refused["reason"]
    assert result.last_line.startswith("1 of 2 clients up to date; need attention: Relecloud (")
    shown = flat(operator.run("preview").out)
    assert "choose Assign External Products to an Account" in shown

    relecloud.agreement.account.external_products.append("Kaspersky")
    assert operator.sync().code == 0
    assert relecloud.quantities == {item: 9}


@pytest.mark.parametrize("soft_errors", [False, True])
@pytest.mark.parametrize(
    ("ruin", "code", "reason"),
    [
        ("ended", 6, "ended on 2026-10-13"),
        ("future", 6, "starts on 2026-10-15"),
        ("of another account", 6, "belongs to account 500 (Contoso), not to account 501"),
        ("gone", 6, "has no agreement"),
    ],
)
def test_an_agreement_that_is_not_fit_is_refused_and_others_are_billed(
    operator, side, ruin, code, reason, soft_errors
):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    fabrikam = side.client("Fabrikam", workstations=5)
    side.tigerpaw.soft_errors = soft_errors
    day = timedelta(days=1)
    if ruin == "ended":
        fabrikam.agreement.ends = operator.world.today - day
    elif ruin == "future":
        fabrikam.agreement.starts = operator.world.today + day
    elif ruin == "of another account":
        operator.write_files()
        operator.by_hand()
        fabrikam.agreement.account = contoso.agreement.account
    else:
        del side.tigerpaw.agreements[fabrikam.agreement.number]
        if soft_errors:
            code, reason = 5, "Success: false"

    result = operator.sync()

    assert result.code == code
    assert fabrikam.charges == []
    assert contoso.quantities == {item: 7}
    assert reason in result.company("Fabrikam")["reason"]


def test_two_charges_of_one_item_are_ambiguous_and_neither_is_written(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    twins = [side.tigerpaw.charge(contoso.agreement, item, number) for number in (3, 4)]

    result = operator.sync()

    assert result.code == 6
    assert [twin.quantity for twin in twins] == [3, 4]
    assert submits(result) == []
    for twin in twins:
        assert str(twin.id) in result.company("Contoso")["reason"]


def test_a_new_charge_of_an_inactive_item_fails_its_client_unsent(operator, side):
    side.bill_by_category()
    side.tigerpaw.items["KES-SRV"].inactive = True
    contoso = side.client("Contoso", workstations=9, servers=2)

    result = operator.sync()
    assert (result.code, contoso.quantities, submits(result)) == (6, {}, [])
    assert "product KES-SRV, which is to bill" in flat(operator.run("status").out)


def test_an_existing_charge_of_an_item_that_became_inactive_is_kept_right(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=9)
    operator.sync()

    side.tigerpaw.items[item].inactive = True
    contoso.add_devices("workstation")
    assert operator.sync().code == 0

    assert contoso.quantities == {item: 10}


# --- report: a person writes ----------------------------------------------------------------------


def test_by_default_the_exact_change_is_shown_and_nothing_is_sent(operator, reporting):
    workstations, servers, _ = reporting.bill_by_category()
    contoso = reporting.client("Contoso", workstations=90, servers=10)

    result = operator.sync()

    assert result.code == 6
    assert (contoso.charges, submits(result)) == ([], [])
    assert result.holds("Contoso") == {workstations: "report", servers: "report"}
    found = lines(result, "Contoso")
    assert {
        item: (line["action"], line["before"], line["after"]) for item, line in found.items()
    } == {
        workstations: ("create", None, 90),
        servers: ("create", None, 10),
    }
    hold = found[workstations]["hold"]
    assert "sends nothing" in hold["reason"]
    assert 'write = "soap" in [psa.tp]' in hold["remedy"]
    shown = flat(operator.run("preview").out)
    for words in (
        f"({contoso.agreement.number})",
        "new → 90",
        f"a new line of product {workstations}",
        "new → 10",
        f"a new line of product {servers}",
        "by hand",
    ):
        assert words in shown


def test_what_a_person_wrote_by_hand_is_owned_without_a_word(operator, reporting):
    workstations, servers, _ = reporting.bill_by_category()
    contoso = reporting.client("Contoso", workstations=90, servers=10)
    operator.sync()
    reporting.tigerpaw.charge(contoso.agreement, workstations, 90)
    reporting.tigerpaw.charge(contoso.agreement, servers, 10)

    operator.next_night()
    result = operator.sync()

    assert result.code == 0
    assert result.last_line == "1 of 1 clients up to date."
    assert result.holds("Contoso") == {}
    assert operator.run("status", "--ready").code == 0

    operator.next_night()
    contoso.add_devices("workstation")
    later = operator.sync()
    assert (later.code, later.holds("Contoso")) == (6, {workstations: "report"})
    line = lines(later, "Contoso")[workstations]
    assert (line["before"], line["after"], line["adopt"]) == (90, 91, False)
    charge = contoso.charge(workstations)
    assert f"line {charge.id} of product {workstations}" in operator.run("preview").out


def test_no_id_releases_what_is_only_reported(operator, reporting):
    reporting.bill_as_one()
    contoso = reporting.client("Contoso", workstations=7)
    held = operator.sync()

    accepted = operator.sync("--accept", held.company("Contoso")["plan_id"])

    assert accepted.code == 6
    assert (contoso.charges, submits(accepted)) == ([], [])


def test_other_psas_are_written_while_tigerpaw_is_only_reported(operator, reporting):
    product = operator.bill_as_one()
    fabrikam = operator.client("Fabrikam", workstations=3)
    reporting.bill_as_one()
    contoso = reporting.client("Contoso", workstations=7)

    result = operator.sync()

    assert result.code == 6
    assert fabrikam.quantities == {product: 3}
    assert contoso.charges == []
    assert result.last_line.startswith("1 of 2 clients up to date; need attention: Contoso (")


def test_without_a_proven_template_nothing_is_sent(operator, side):
    item = side.bill_as_one()
    side.configure(soap_template_verified="false")
    contoso = side.client("Contoso", workstations=7)

    result = operator.sync()

    assert result.code == 6
    assert (contoso.charges, submits(result)) == ([], [])
    assert result.holds("Contoso") == {item: "template"}
    assert "--probe-tigerpaw" in lines(result, "Contoso")[item]["hold"]["remedy"]


def test_in_report_mode_no_soap_login_is_needed(operator, reporting):
    reporting.bill_as_one()
    reporting.client("Contoso", workstations=7)
    operator.by_hand()
    for name in ("tp-soap-user", "tp-soap-password"):
        (operator.folder / "secrets" / name).unlink()

    assert operator.sync().code == 6


# --- when something else changes ------------------------------------------------------------------


def test_a_submit_that_replaces_all_charges_stops_tigerpaw_at_the_first_write(operator, side):
    product = operator.bill_as_one()
    elsewhere = operator.client("Elsewhere", workstations=3)
    workstations, _, _ = side.bill_by_category()
    contoso = side.client("Contoso", workstations=90, servers=10)
    fabrikam = side.client("Fabrikam", workstations=5)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5, price=9.0)
    setup = side.tigerpaw.charge(contoso.agreement, "SETUP", 1, one_time=True)
    before = [charge.record() for charge in contoso.charges]
    side.tigerpaw.replace = True

    result = operator.sync()

    assert result.code == 7
    assert len(submits(result)) == 1
    assert fabrikam.charges == []
    assert len(contoso.charges) == 1
    assert elsewhere.quantities == {product: 3}
    said = flat(result.err)
    assert f"line {backup.id} (BACKUP) with quantity 5 is gone" in said
    assert f"line {setup.id} (SETUP) with quantity 1 is gone" in said
    assert "soap_template_verified = false" in said

    (found,) = looked_after(operator)[1]
    assert (found.psa, found.agreement) == ("tp", str(contoso.agreement.number))
    assert list(found.lines) == before
    shown = operator.run("check", "--json")
    assert shown.code == 6
    (finding,) = json.loads(shown.out)["areas"][-1]["findings"]
    what, *lines_before = finding["message"].splitlines()
    assert (what, [json.loads(line) for line in lines_before]) == (found.what, before)
    assert what in flat(operator.run("check").out)
    assert {line["outcome"] for line in result.company("Fabrikam")["lines"]} == {"failed"}
    assert workstations in {line["product"] for line in result.company("Contoso")["lines"]}


def test_after_the_charges_were_restored_the_next_run_goes_on_as_if_nothing_had_been(
    operator, side
):
    workstations, servers, _ = side.bill_by_category()
    contoso = side.client("Contoso", workstations=90, servers=10)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5, price=9.0)
    side.tigerpaw.replace = True
    assert operator.sync().code == 7

    side.tigerpaw.lines[backup.id] = backup
    side.tigerpaw.replace = False
    release(operator)
    result = operator.sync()

    assert result.code == 0
    assert contoso.quantities == {"BACKUP": 5, workstations: 90, servers: 10}


def test_until_a_person_has_looked_no_later_night_sends_anything(operator, side):
    product = operator.bill_as_one()
    elsewhere = operator.client("Elsewhere", workstations=3)
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    side.tigerpaw.charge(contoso.agreement, "BACKUP", 5)
    side.tigerpaw.replace = True
    assert operator.sync().code == 7
    assert contoso.quantities == {item: 7}
    (found,) = looked_after(operator)[1]

    operator.next_night()
    same = operator.sync()
    assert (same.code, submits(same)) == (6, [])
    assert operator.run("status", "--ready").code == 6

    operator.next_night()
    contoso.add_devices("workstation")
    fabrikam = side.client("Fabrikam", workstations=5)
    elsewhere.server.keys[0].use(elsewhere.server.add_device("workstation"))
    for result in (operator.preview(), operator.sync()):
        assert (result.code, submits(result)) == (6, [])
        assert found.what in result.company("Contoso")["reason"]
        assert result.holds("Fabrikam") == {item: "foreign-change"}
        hold = lines(result, "Fabrikam")[item]["hold"]
        assert "(agreement 7001, 2026-10-14 02:30 UTC)" in hold["reason"]
        assert "Then run `kisi check --repair`" in hold["remedy"]
    accepted = operator.sync("--accept", result.document["plan_id"])
    assert (accepted.code, submits(accepted)) == (6, [])
    assert (contoso.quantities, fabrikam.charges) == ({item: 7}, [])
    assert elsewhere.quantities == {product: 4}
    assert looked_after(operator) == ([], [found])
    release(operator)
    side.tigerpaw.replace = False
    assert operator.sync().code == 0
    assert fabrikam.quantities == {item: 5}


@pytest.mark.parametrize("foreign", [".foreign", ""])
def test_a_file_that_an_earlier_kisi_left_holds_until_a_person_has_looked(operator, side, foreign):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    fabrikam = side.client("Fabrikam", workstations=5)
    folder = operator.state / "snapshots"
    folder.mkdir(parents=True)
    kept = folder / f"tp-7001-20261012T023000.000000Z{foreign}.json"
    kept.write_text("[]", encoding="utf-8")
    (folder / f"tp-7001-new{foreign}.json").touch()

    for result in (operator.preview(), operator.sync()):
        assert (result.code, submits(result)) == (6, [])
        assert str(kept) in result.company("Contoso")["reason"]
        hold = lines(result, "Fabrikam")[item]["hold"]
        assert (hold["guard"], "(agreement 7001, 2026-10-12 02:30 UTC)" in hold["reason"]) == (
            "foreign-change",
            True,
        )
    release(operator)

    assert operator.sync().code == 0
    assert (contoso.quantities, fabrikam.quantities) == ({item: 7}, {item: 5})
    assert kept.with_suffix(".seen").read_text(encoding="utf-8") == "[]"


# --- a run that was killed ------------------------------------------------------------------------


def test_a_run_killed_at_a_harmless_submit_is_healed_by_the_next(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5)
    killed_at_the_submit(operator, side)
    assert contoso.quantities == {"BACKUP": 5, item: 7}
    ((left,), _) = looked_after(operator)
    assert left.line.after == 7

    operator.preview()
    assert looked_after(operator) == ([left], [])
    result = operator.sync()

    assert (result.code, submits(result)) == (0, [])
    assert looked_after(operator) == ([], [])
    assert (contoso.quantities, backup.quantity) == ({"BACKUP": 5, item: 7}, 5)
    operator.next_night()
    backup.quantity = 6
    assert operator.sync().code == 0


def test_a_run_killed_at_a_submit_that_replaces_stops_the_next_before_it_writes(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5)
    side.tigerpaw.replace = True
    killed_at_the_submit(operator, side)
    assert contoso.quantities == {item: 7}
    kept = looked_after(operator)
    fabrikam = side.client("Fabrikam", workstations=5)

    shown = operator.preview()
    assert looked_after(operator) == kept
    result = operator.sync()

    unproven, (found,) = looked_after(operator)
    assert (unproven, found.lines) == ([], (backup.record(),))
    for told in (shown, result):
        assert (told.code, submits(told)) == (7, [])
        reason = told.company("Contoso")["reason"]
        assert f"line {backup.id} (BACKUP) with quantity 5 is gone" in reason
        assert told.holds("Fabrikam") == {item: "foreign-change"}
    operator.next_night()
    again = operator.sync()
    assert (again.code, submits(again), fabrikam.charges) == (6, [], [])

    side.tigerpaw.replace = False
    side.tigerpaw.lines[backup.id] = backup
    release(operator)
    assert operator.sync().code == 0
    assert contoso.quantities == {"BACKUP": 5, item: 7}
    assert fabrikam.quantities == {item: 5}


def test_a_person_who_edits_another_charge_at_that_moment_stops_the_run_too(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    backup = side.tigerpaw.charge(contoso.agreement, "BACKUP", 5)

    def edit() -> None:
        backup.quantity = 6

    operator.sandbox.faults.add("call", match=SUBMIT, function=edit)
    result = operator.sync()

    assert result.code == 7
    assert f"line {backup.id} (BACKUP): quantity 5 to 6" in flat(result.err)
    assert contoso.quantities == {"BACKUP": 6, item: 7}


def test_a_submit_that_creates_twice_stops_the_run(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    operator.sandbox.faults.add("twist", match=SUBMIT, double=True)

    result = operator.sync()

    assert result.code == 7
    assert len(submits(result)) == 1
    assert len(contoso.charges) == 2
    again = operator.sync()
    assert (again.code, submits(again)) == (6, [])
    release(operator)
    again = operator.sync()
    assert (again.code, submits(again)) == (6, [])
    assert "2 live lines of product " + item in again.company("Contoso")["reason"]


# --- refusals and lost answers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("twist", "said"),
    [
        ({"fault": "Object reference not set"}, "a SOAP fault: Object reference not set"),
        ({"refuse": "The period is locked."}, "Success: false, The period is locked"),
    ],
)
def test_a_refusal_is_shown_and_the_next_night_writes(operator, side, twist, said):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    fabrikam = side.client("Fabrikam", workstations=5)
    operator.sandbox.faults.add("twist", match=SUBMIT, **twist)

    result = operator.sync()

    assert result.code == 7
    assert (contoso.charges, fabrikam.quantities) == ([], {item: 5})
    assert lines(result, "Contoso")[item]["outcome"] == "failed"
    assert said in flat(result.err)
    operator.next_night()
    assert operator.sync().code == 0
    assert contoso.quantities == {item: 7}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        *(("create", kind) for kind in ("lost", "truncate", "hang")),
        *(("update", kind) for kind in ("lost", "truncate", "html", "reset_before", "hang")),
    ],
)
def test_an_answer_that_is_lost_never_makes_a_second_charge(operator, side, kind, change):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    if change == "update":
        side.tigerpaw.charge(contoso.agreement, item, 6)
        operator.more = '[guards]\nadopt = "allow"\n'
    options = {"seconds": 0.01, "applied": True} if kind == "hang" else {}
    fault = operator.sandbox.faults.add(kind, match=SUBMIT, **options)

    result = operator.sync()

    assert fault.fired == 1
    assert result.code == 0
    assert contoso.quantities == {item: 7}
    assert result.company("Contoso")["lines"][0]["outcome"] == "applied"
    assert side.tigerpaw.submits == 1
    operator.next_night()
    assert submits(operator.sync()) == []


@pytest.mark.parametrize("kind", ["html", "reset_before"])
def test_a_new_charge_that_was_not_made_is_made_once_a_person_says_so(operator, side, kind):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    operator.sandbox.faults.add(kind, match=SUBMIT)

    assert operator.sync().code == 7
    held = operator.sync()
    assert (held.code, held.holds("Contoso"), contoso.charges) == (6, {item: "deleted"}, [])
    accepted = operator.sync("--accept", held.company("Contoso")["plan_id"])

    assert accepted.code == 0
    assert (contoso.quantities, side.tigerpaw.submits) == ({item: 7}, 1)


def test_a_yes_that_changed_nothing_is_not_believed(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    operator.sandbox.faults.add("twist", match=SUBMIT, times=None, ignore=True)

    result = operator.sync()

    assert result.code == 7
    assert contoso.charges == []
    assert lines(result, "Contoso")[item]["outcome"] == "unknown"
    assert len(submits(result)) == 1


def test_a_write_whose_outcome_could_not_be_seen_is_settled_by_the_next_run(operator, side):
    item = side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    charges = f"GET /api/agreements/{contoso.agreement.number}/additionalcharges"
    blind = operator.sandbox.faults.add("status", match=charges, times=None, after=2, code=500)

    result = operator.sync()

    assert blind.fired
    assert result.code == 7
    assert lines(result, "Contoso")[item]["outcome"] == "unknown"
    operator.sandbox.faults.clear()
    operator.next_night()
    again = operator.sync()
    assert (again.code, submits(again)) == (0, [])
    assert contoso.quantities == {item: 7}


def test_refused_keys_fail_the_clients_of_tigerpaw_alone(operator, side):
    product = operator.bill_as_one()
    elsewhere = operator.client("Elsewhere", workstations=3)
    side.bill_as_one()
    contoso = side.client("Contoso", workstations=7)
    side.tigerpaw.keys = (side.tigerpaw.keys[0], "changed meanwhile")

    result = operator.sync()

    assert result.code == 5
    assert "refused the REST keys" in result.company("Contoso")["reason"]
    assert contoso.charges == []
    assert elsewhere.quantities == {product: 3}


def test_a_refused_soap_login_is_tried_once(operator, side):
    side.bill_as_one()
    clients = [side.client(name, workstations=7) for name in ("Contoso", "Fabrikam", "Litware")]
    side.tigerpaw.soap_login = ("kisi", "changed meanwhile")

    result = operator.sync()

    assert result.code == 7
    assert len(submits(result)) == 1
    assert not [charge for client in clients for charge in client.charges]


def test_an_exception_leaves_a_person_the_number(operator, side):
    item = side.bill_as_one()
    contoso = side.client(
        "Contoso", exceptions=[{"application": APPLICATION, "bill": False}], workstations=7
    )
    by_hand = side.tigerpaw.charge(contoso.agreement, item, 20)

    result = operator.sync()

    assert (result.code, by_hand.quantity, submits(result)) == (0, 20, [])
