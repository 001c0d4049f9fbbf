from __future__ import annotations

from decimal import Decimal

import pytest

from kisi.errors import ForeignChange, StateError
from kisi.model import Outcome, WriteStatus
from tests.unit.psa.tigerpaw.conftest import SUBMIT, TODAY

CHARGES = "GET /api/agreements/7001/additionalcharges"


@pytest.fixture
def agreement(scene):
    scene.world.item("KES-WS", 4.5, description="Workstations & more")
    scene.world.item("OTHER", 1.0)
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.world.charge(agreement, "BACKUP", 5, price=9.0, description="Another vendor's")
    return agreement


@pytest.fixture
def ours(scene, agreement):
    charge = scene.world.charge(agreement, "KES-WS", 80, price=4.0, source="API")
    charge.print_when_quantity_zero = True
    return charge


def test_a_new_charge_takes_the_item_s_price_and_leaves_the_others_alone(scene, agreement):
    psa = scene.open()
    receipt = scene.write(psa, agreement, "KES-WS", 90)
    backup, new = scene.world.charges(agreement)
    assert (receipt.outcome, receipt.line_id, receipt.quantity) == ("applied", str(new.id), 90)
    assert (new.quantity, new.price, new.one_time) == (90, 4.5, False)
    assert new.description == "Workstations & more"
    assert (backup.quantity, backup.price) == (5, 9.0)
    count, item = "GET /api/agreements/7001", "GET /api/pricebook/items/details"
    assert scene.calls() == [count, CHARGES, item, SUBMIT, count, CHARGES]
    assert scene.unproven() == []


def test_a_second_new_charge_of_the_same_item_reads_the_item_no_more(scene, agreement):
    other = scene.world.agreement(agreement.account)
    psa = scene.open()
    scene.write(psa, agreement, "KES-WS", 1, description="By the mapping")
    scene.write(psa, other, "KES-WS", 2)
    assert scene.calls().count("GET /api/pricebook/items/details") == 1
    assert scene.world.charges(agreement)[-1].description == "By the mapping"


def test_an_update_changes_the_quantity_and_nothing_else(scene, agreement, ours):
    before = ours.record()
    receipt = scene.write(scene.open(), agreement, "KES-WS", 0, line=ours.id, before=80)
    assert receipt.outcome is Outcome.APPLIED
    assert receipt.detail == ""
    assert ours.record() == {**before, "Quantity": 0}
    assert scene.calls() == [CHARGES, SUBMIT, CHARGES]


def test_escaped_params_are_understood_too(scene, agreement, ours):
    psa = scene.open(soap_escaped=True)
    receipt = scene.write(psa, agreement, "KES-WS", 81, line=ours.id, before=80)
    assert (receipt.outcome, ours.quantity) == (Outcome.APPLIED, 81)
    assert b"&lt;AgreementAdditionalCharges&gt;" in scene.log[1].body


def test_in_report_mode_every_write_is_held_and_none_is_sent(scene, agreement):
    psa = scene.open(write="report", soap_template_verified=False)
    hold = psa.withheld()
    receipt = scene.submit(psa, agreement, "KES-WS", 90)
    assert hold.guard == "report"
    assert "sends nothing" in hold.reason
    assert (receipt.status, receipt.message) == (WriteStatus.REJECTED, hold.reason)
    assert scene.calls() == []
    assert [line.product for line in psa.lines(scene.ref(agreement))] == ["BACKUP"]


def test_an_unverified_template_holds_every_write(scene, agreement):
    psa = scene.open(soap_template_verified=False)
    assert psa.withheld().guard == "template"
    assert "--probe-tigerpaw" in psa.withheld().remedy
    assert scene.submit(psa, agreement, "KES-WS", 90).status is WriteStatus.REJECTED
    assert scene.calls() == []


def test_a_verified_template_is_not_held(scene):
    assert scene.open().withheld() is None


@pytest.mark.parametrize(("item", "said"), [("OLD", "is inactive"), ("NONE", "is not in the")])
def test_a_new_charge_of_a_missing_or_inactive_item_is_not_sent(scene, agreement, item, said):
    scene.world.item("OLD", inactive=True)
    receipt = scene.write(scene.open(), agreement, item, 90)
    assert receipt.outcome is Outcome.FAILED
    assert said in receipt.detail
    assert SUBMIT not in scene.calls()


def test_an_existing_charge_of_an_inactive_item_is_kept_true(scene, agreement, ours):
    scene.world.items["KES-WS"].inactive = True
    receipt = scene.write(scene.open(), agreement, "KES-WS", 79, line=ours.id, before=80)
    assert (receipt.outcome, ours.quantity) == (Outcome.APPLIED, 79)


@pytest.mark.parametrize(
    ("after", "quantity", "verdict"),
    [(90, 85, Outcome.FAILED), (90, 90, Outcome.APPLIED), (90, None, Outcome.FAILED)],
)
def test_a_charge_that_is_not_as_planned_is_not_written(
    scene, agreement, ours, after, quantity, verdict
):
    if quantity is None:
        del scene.world.lines[ours.id]
    else:
        ours.quantity = quantity
    receipt = scene.write(scene.open(), agreement, "KES-WS", after, line=ours.id, before=80)
    assert receipt.outcome is verdict
    assert receipt.quantity == (None if quantity is None else Decimal(quantity))
    assert SUBMIT not in scene.calls()


def test_a_charge_that_turned_one_time_or_changed_its_item_is_not_written(scene, agreement, ours):
    ours.one_time = True
    psa = scene.open()
    assert (
        scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80).outcome is Outcome.FAILED
    )
    ours.one_time, ours.item = False, "OTHER"
    assert (
        scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80).outcome is Outcome.FAILED
    )


@pytest.mark.usefixtures("ours")
def test_a_charge_that_appeared_meanwhile_is_not_made_again(scene, agreement):
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90)
    assert receipt.outcome is Outcome.FAILED
    assert "shows 80 instead of 90" in receipt.detail
    assert SUBMIT not in scene.calls()


def test_a_one_time_charge_of_the_item_does_not_stand_in_the_way(scene, agreement):
    scene.world.charge(agreement, "KES-WS", 3, one_time=True)
    assert scene.write(scene.open(), agreement, "KES-WS", 90).outcome is Outcome.APPLIED


def test_a_submit_that_replaces_all_charges_stops_everything(scene, agreement, ours):
    scene.world.replace = True
    psa = scene.open()
    with pytest.raises(ForeignChange, match="quantity 5 is gone") as caught:
        scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80)
    (found,) = scene.journal.foreign_changes()
    assert "line 30001 (BACKUP)" in caught.value.message
    assert (found.psa, found.agreement, found.what) == ("tp", "7001", caught.value.message)
    assert [charge["Quantity"] for charge in found.lines] == [5, 80]
    assert scene.unproven() == []


def test_a_new_charge_that_replaces_the_others_stops_everything_too(scene, agreement):
    scene.world.replace = True
    with pytest.raises(ForeignChange, match="BACKUP"):
        scene.write(scene.open(), agreement, "KES-WS", 90)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda charge: setattr(charge, "quantity", 6), "quantity 5 to 6"),
        (lambda charge: setattr(charge, "price", 1.0), "price 9 to 1"),
        (lambda charge: setattr(charge, "print_when_quantity_zero", True), ": changed"),
    ],
)
def test_any_other_charge_that_changed_is_named(scene, agreement, ours, change, said):
    other = scene.world.charges(agreement)[0]
    scene.faults.add("call", match=SUBMIT, function=lambda: change(other))
    with pytest.raises(ForeignChange) as caught:
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert "line 30001 (BACKUP)" in caught.value.message
    assert said in caught.value.message


def test_a_charge_that_came_from_elsewhere_is_named(scene, agreement, ours):
    scene.faults.add(
        "call", match=SUBMIT, function=lambda: scene.world.charge(agreement, "OTHER", 7)
    )
    with pytest.raises(ForeignChange, match="with quantity 7 is new"):
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)


def test_a_price_of_our_own_charge_that_changed_stops_everything(scene, agreement, ours):
    scene.faults.add("call", match=CHARGES, after=1, function=lambda: setattr(ours, "price", 0.0))
    with pytest.raises(ForeignChange, match="price 4 to 0"):
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)


def test_a_flag_of_our_own_charge_that_bills_differently_stops_everything(scene, agreement, ours):
    scene.faults.add("call", match=CHARGES, after=1, function=lambda: setattr(ours, "flat", True))
    with pytest.raises(ForeignChange, match="quantity 80 to 90"):
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)


def test_a_create_that_made_two_charges_stops_everything(scene, agreement):
    scene.faults.add("twist", match=SUBMIT, double=True)
    with pytest.raises(ForeignChange, match=r"is new; line 3000\d .* is new"):
        scene.write(scene.open(), agreement, "KES-WS", 90)


def test_a_new_charge_with_another_quantity_is_ours_and_unsettled(scene, agreement):
    def cap():
        scene.world.charges(agreement)[-1].quantity = 50

    scene.faults.add("call", match=CHARGES, after=1, function=cap)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90)
    assert (receipt.outcome, receipt.quantity) == (Outcome.UNKNOWN, 50)
    assert "shows 50 instead of 90" in receipt.detail


@pytest.mark.parametrize(
    ("fault", "options", "verdict"),
    [
        ("lost", {}, Outcome.APPLIED),
        ("status", {"code": 500, "applied": True}, Outcome.APPLIED),
        ("status", {"code": 429, "applied": True}, Outcome.APPLIED),
        ("reset_before", {}, Outcome.UNKNOWN),
        ("status", {"code": 500}, Outcome.UNKNOWN),
        ("status", {"code": 503}, Outcome.UNKNOWN),
        ("html", {}, Outcome.UNKNOWN),
        ("empty", {}, Outcome.UNKNOWN),
        ("twist", {"ignore": True}, Outcome.UNKNOWN),
        ("twist", {"refuse": "Agreement is being billed"}, Outcome.FAILED),
        ("twist", {"fault": "Timeout expired"}, Outcome.FAILED),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_what_the_charges_show_decides_not_the_answer(
    scene, agreement, fault, options, verdict, create
):
    charge = None if create else scene.world.charge(agreement, "KES-WS", 80)
    if not create and verdict is Outcome.UNKNOWN:
        verdict = Outcome.FAILED  # the charge shows that it was not written
    scene.faults.add(fault, match=SUBMIT, **options)
    line, before = (charge.id, 80) if charge else (None, None)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90, line=line, before=before)
    assert receipt.outcome is verdict
    assert not receipt.denied
    assert scene.calls().count(SUBMIT) == 1
    assert scene.unproven() == []
    shown = [one.quantity for one in scene.world.charges(agreement) if one.item == "KES-WS"]
    assert receipt.quantity == (shown[0] if verdict is Outcome.APPLIED else None)


@pytest.mark.parametrize(
    ("fault", "said"), [("twist", "Success: true, no message."), ("empty", "")]
)
def test_a_success_that_the_charges_do_not_show_is_unknown(scene, agreement, fault, said):
    scene.faults.add(fault, match=SUBMIT, **({"ignore": True} if fault == "twist" else {}))
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90)
    assert receipt.outcome is Outcome.UNKNOWN
    assert said in receipt.detail
    assert "The PSA does not show the new line." in receipt.detail


def test_a_success_after_which_the_charges_cannot_be_read_is_unknown_too(scene, agreement):
    scene.faults.add("status", match=CHARGES, times=None, after=1, code=500)
    assert scene.write(scene.open(), agreement, "KES-WS", 90).outcome is Outcome.UNKNOWN


def test_a_charge_that_a_submit_took_away_is_a_foreign_change_and_no_short_list(scene, agreement):
    psa = scene.open()
    ref = scene.ref(agreement)
    scene.world.charge(agreement, "RENT", 2)
    psa.agreements([ref], TODAY)
    scene.faults.add("twist", match=SUBMIT, replace=True)
    scene.faults.add("status", match=CHARGES, times=None, after=1, code=500)
    assert scene.write(psa, agreement, "KES-WS", 90).outcome is Outcome.UNKNOWN
    scene.faults.clear()
    with pytest.raises(ForeignChange):
        scene.write(psa, agreement, "KES-WS", 90)
    assert scene.world.submits == 1


def test_a_refusal_gives_tigerpaw_s_reason(scene, agreement, ours):
    scene.faults.add("twist", match=SUBMIT, refuse="Agreement is being billed")
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert "Success: false, Agreement is being billed" in receipt.detail


@pytest.mark.parametrize(
    ("fault", "options"), [("status", {"code": 401}), ("twist", {"fault": "Invalid password."})]
)
def test_a_refused_soap_login_is_not_tried_again_in_this_run(
    scene, agreement, ours, fault, options
):
    scene.faults.add(fault, match=SUBMIT, **options)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert (receipt.outcome, receipt.denied) == (Outcome.FAILED, True)


@pytest.mark.parametrize(("code", "wait"), [(429, 7.0), (503, 7.0)])
def test_a_busy_service_says_how_long_to_wait(scene, agreement, ours, code, wait):
    scene.faults.add("status", match=SUBMIT, code=code, headers={"Retry-After": "7"})
    receipt = scene.submit(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert (receipt.status, receipt.wait) == (WriteStatus.THROTTLED, wait)


@pytest.mark.parametrize(
    ("code", "status"), [(429, WriteStatus.THROTTLED), (503, WriteStatus.UNKNOWN)]
)
def test_a_new_charge_that_a_gateway_calls_unavailable_may_have_arrived(
    scene, agreement, code, status
):
    scene.faults.add("status", match=SUBMIT, code=code, headers={"Retry-After": "7"})
    assert scene.submit(scene.open(), agreement, "KES-WS", 90).status is status


def test_a_submit_that_cannot_be_looked_at_blocks_the_next_one_until_it_was(scene, agreement, ours):
    psa = scene.open()
    down = scene.faults.add("status", match=CHARGES, after=1, times=8, code=500)
    receipt = scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80)
    assert receipt.outcome is Outcome.UNKNOWN
    assert scene.unproven() == ["7001"]
    other = scene.world.agreement(agreement.account)
    blocked = scene.write(psa, other, "KES-WS", 1)
    assert down.fired == 8
    assert blocked.outcome is Outcome.FAILED
    assert "an earlier write to agreement 7001 did is not known" in blocked.detail
    assert "kisi check --repair" in blocked.detail
    assert scene.world.submits == 1
    assert scene.write(psa, other, "KES-WS", 1).outcome is Outcome.APPLIED
    assert scene.unproven() == []


def test_a_foreign_change_is_found_late_rather_than_never(scene, agreement, ours):
    psa = scene.open()
    scene.world.replace = True
    scene.faults.add("status", match=CHARGES, after=1, times=4, code=500)
    scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80)
    other = scene.world.agreement(agreement.account)
    with pytest.raises(ForeignChange, match="BACKUP"):
        scene.write(psa, other, "KES-WS", 1)


def test_without_a_first_look_nothing_is_sent(scene, agreement, ours):
    scene.faults.add("status", match=CHARGES, times=4, code=500)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert receipt.outcome is Outcome.FAILED
    assert SUBMIT not in scene.calls()


@pytest.mark.parametrize("match", [CHARGES, "GET /api/pricebook/items/details"])
def test_refused_keys_at_a_write_end_the_run_there(scene, agreement, match):
    scene.faults.add("status", match=match, code=401)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90)
    assert (receipt.outcome, receipt.denied) == (Outcome.FAILED, True)
    assert SUBMIT not in scene.calls()


def test_an_item_that_cannot_be_read_is_tried_again_later(scene, agreement):
    scene.faults.add("status", match="GET /api/pricebook/*", times=4, code=500)
    psa = scene.open()
    assert scene.write(psa, agreement, "KES-WS", 90).outcome is Outcome.FAILED
    assert scene.write(psa, agreement, "KES-WS", 90).outcome is Outcome.APPLIED


def test_without_a_place_for_the_state_before_nothing_is_sent(scene, agreement, ours, monkeypatch):
    def refuse(*_):
        raise StateError("The disk is full.")

    monkeypatch.setattr(scene.journal, "keep_lines", refuse)
    with pytest.raises(StateError):
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
    assert SUBMIT not in scene.calls()


def test_a_server_that_is_gone_between_look_and_submit_was_not_written_to(
    scene, agreement, ours, monkeypatch
):
    psa = scene.open()
    monkeypatch.setattr(psa, "submit", scene.open(url="http://127.0.0.1:9").submit)
    receipt = scene.write(psa, agreement, "KES-WS", 90, line=ours.id, before=80)
    assert receipt.outcome is Outcome.FAILED
    assert scene.calls() == [CHARGES]
    assert scene.unproven() == []


def test_more_changes_than_a_sentence_holds_are_counted(scene, agreement, ours):
    for number in range(12):
        scene.world.charge(agreement, f"X{number}", 1)
    scene.world.replace = True
    with pytest.raises(ForeignChange, match="and 3 more"):
        scene.write(scene.open(), agreement, "KES-WS", 90, line=ours.id, before=80)
