"""A product that another agreement of the company bills already is not created beside it."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kisi.errors import ExitCode, PsaError
from kisi.model import Application, Category, Level, ProductRow, Status
from kisi.planning import accepted_keys
from kisi.reconcile.new_lines import check_siblings
from kisi.reconcile.pipeline import resolve
from tests.unit.build import ALL_ROW, COMPANY, KES, SPLIT_ROW, TODAY, key, mapping, reading, tenant
from tests.unit.reconcile.conftest import company, devices

MAIL = "Kaspersky Security for Mail Server"


@pytest.fixture
def scene(scene):
    """Contoso has a second agreement, which nobody maps."""
    scene.uses(10)
    scene.cw.agreement("250", "1050", name="Old contract")
    return scene


def the_hold(day):
    (line,) = day.client().lines
    return line.hold


def test_a_create_beside_a_sibling_fails_alone_and_no_id_releases_it(scene):
    line = scene.cw.put("1200", 8, "1050")
    day = scene.sync()
    assert scene.cw.quantities() == {}
    assert day.code is ExitCode.WITHHELD
    assert day.client().status is Status.HELD
    hold = the_hold(day)
    assert (hold.guard, hold.releasable) == ("ambiguous", False)
    assert hold.reason == (
        f"line {line.id} of agreement 1050 (Old contract) of the same company bills 8 of product "
        "1200 already"
    )
    assert f"line {line.id} of agreement 1050" in hold.remedy
    assert "alongside = [1050]" in hold.remedy
    assert "accept" not in hold.remedy
    plan = day.found.plan
    for accepted in (plan.companies[0].plan_id, plan.plan_id):
        keys = {key for found in accepted_keys(plan, [accepted]).values() for key in found}
        (released,) = resolve(day.found, scene.psas, keys).companies
        assert [line.hold for line in released.lines] == [hold]
        assert released.status is Status.HELD


def test_alongside_says_that_both_bill_on_purpose(scene):
    scene.cw.put("1200", 8, "1050")
    scene.bill(replace(COMPANY, alongside=("1050",)))
    day = scene.sync()
    assert day.code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}
    assert scene.cw.quantities("1050") == {"1200": 8}
    assert "1050" not in scene.cw.looks


def test_alongside_is_for_its_own_row_alone(scene):
    scene.cw.put("1200", 8, "1050")
    scene.cw.agreement("250", "1060")
    second = replace(company(2), company="250", agreement="1060")
    scene.uses(4, uid="VSRV-2")
    scene.bill(replace(COMPANY, alongside=("1050",)), second)
    scene.sync()
    assert (scene.cw.quantities(), scene.cw.quantities("1060")) == ({"1200": 10}, {})


def test_the_remedy_keeps_what_the_row_names_already(scene):
    scene.cw.agreement("250", "C-7")
    scene.cw.put("1200", 8, "C-7")
    scene.bill(replace(COMPANY, alongside=("1050",)))
    assert 'alongside = [1050, "C-7"]' in the_hold(scene.sync()).remedy


@pytest.mark.parametrize(
    "harmless",
    [
        {"quantity": 0},
        {"cancelled": TODAY},
        {"dead": True, "cancelled": TODAY},
        {"one_time": True},
        {"billable": False},
        {"product": "1300"},
    ],
    ids=str,
)
def test_a_line_that_bills_nothing_of_the_product_is_no_obstacle(scene, harmless):
    values = {"product": "1200", "quantity": 8, **harmless}
    scene.cw.put(values.pop("product"), values.pop("quantity"), "1050", **values)
    assert scene.sync().code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}


def test_a_line_that_begins_later_or_ends_later_is_one(scene):
    later = TODAY + timedelta(days=9)
    line = scene.cw.put("1200", 8, "1050", starts=later)
    assert f"bills 8 of product 1200 from {later}" in the_hold(scene.sync()).reason
    scene.cw.put("1200", 8, "1050", line_id=line.id, cancelled=later)
    assert "bills 8 of product 1200 already" in the_hold(scene.sync()).reason


def test_a_line_that_is_called_ended_without_a_day_may_bill_it(scene):
    scene.cw.put("1200", 8, "1050", dead=True)
    assert "bills 8 of product 1200 already" in the_hold(scene.sync()).reason


def test_a_line_that_cannot_be_read_may_bill_it(scene):
    scene.cw.put("1200", 0, "1050", problem="quantity is missing")
    hold = the_hold(scene.sync())
    assert hold.guard == "ambiguous"
    assert "cannot be read: quantity is missing" in hold.reason


def test_every_agreement_that_bills_it_is_named(scene):
    scene.cw.put("1200", 8, "1050")
    scene.cw.agreement("250", "1051")
    scene.cw.put("1200", 3, "1051")
    hold = the_hold(scene.sync())
    assert "agreement 1050 (Old contract)" in hold.reason
    assert "agreement 1051 (Managed Security)" in hold.reason
    assert "alongside = [1050, 1051]" in hold.remedy


def test_another_application_of_the_client_is_written_all_the_same(scene):
    mail = Application(MAIL)
    row = ProductRow(MAIL, "cw", {Category.ALL: "1300"})
    scene.mapping = mapping(ALL_ROW, row, applications=(Application(KES), mail))
    both = [key(), key("K2", MAIL)]
    pcs = devices(5)
    rows = [use for serial in ("K1", "K2") for use in _rows(pcs, serial)]
    scene.hq.add(reading(pcs, rows, both, of=tenant("Contoso", "VSRV-1", "hq")))
    scene.cw.put("1200", 8, "1050")
    day = scene.sync()
    assert scene.cw.quantities() == {"1300": 5}
    assert day.code is ExitCode.WITHHELD


def _rows(pcs, serial):
    from tests.unit.build import row

    return [row(pc.id, serial) for pc in pcs]


def test_an_agreement_that_a_row_names_is_that_rows(scene):
    scene.cw.put("1200", 8, "1050")
    scene.bill(COMPANY, replace(company(2), company="250", agreement="1050", billing=False))
    assert scene.sync().code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}


def test_a_line_that_kisi_owns_is_judged_by_who_waits_for_whom(scene):
    scene.bill(replace(COMPANY, agreement="1050"))
    scene.sync()
    scene.bill(COMPANY)
    day = scene.sync()
    guards = {line.hold.guard for line in day.client().lines if line.hold}
    assert "ambiguous" not in guards
    assert "orphaned" in guards


def test_nothing_is_asked_where_nothing_is_created(scene):
    scene.sync()
    scene.cw.asked_companies.clear()
    scene.cw.looks.clear()
    scene.uses(11)
    scene.sync()
    assert scene.cw.asked_companies == []
    assert "1050" not in scene.cw.looks


def test_it_costs_one_look_at_the_agreements_and_one_for_each_of_them(scene):
    scene.look()
    assert scene.cw.asked_companies == ["250"]
    assert scene.cw.looks.count("1050") == 1


def test_a_list_that_ends_early_hides_no_line_of_the_other_agreement(scene):
    line = scene.cw.put("1200", 8, "1050")
    scene.cw.hidden.add(line.id)  # it exists, and the list of all lines lacks it
    day = scene.sync()
    assert the_hold(day).guard == "ambiguous"
    assert f"line {line.id} of agreement 1050" in the_hold(day).reason
    assert scene.cw.quantities() == {}
    (found,) = check_siblings("cw", scene.cw, scene.mapping, TODAY)
    assert found.level is Level.WARNING


def test_an_agreement_is_left_out_only_for_the_company_whose_clients_all_name_it(scene):
    line = scene.cw.put("1200", 8, "1050")
    scene.cw.agreement("251", "1043")
    scene.uses(4, uid="VSRV-2")
    scene.bill(COMPANY, company(2, alongside=("1050",)))
    day = scene.sync()
    assert line.id in the_hold(day).reason
    assert scene.cw.quantities() == {}
    assert scene.cw.quantities("1043") == {"1200": 4}


def test_a_psa_that_cannot_be_asked_creates_nothing(scene):
    scene.cw.unlisted = PsaError("It is away.", remedy="Wait.")
    day = scene.sync()
    assert day.code is ExitCode.PSA
    hold = the_hold(day)
    assert (hold.guard, hold.remedy) == ("psa", "Wait.")
    assert "It is away." in hold.reason
    assert any("It is away." in note for note in day.client().notes)
    assert scene.cw.quantities() == {}
    scene.cw.unlisted = None
    assert scene.sync().code is ExitCode.OK


def test_lines_that_cannot_be_read_create_nothing_and_concern_their_company_alone(scene):
    scene.cw.unreadable["1050"] = (PsaError("1050 is cut off."), None)
    scene.cw.agreement("251", "1043")
    scene.uses(4, uid="VSRV-2")
    scene.bill(COMPANY, company(2))
    day = scene.sync()
    assert the_hold(day).guard == "psa"
    assert the_hold(day).remedy == "The next run asks again."
    assert scene.cw.quantities() == {}
    assert scene.cw.quantities("1043") == {"1200": 4}


def test_a_create_that_cannot_be_made_fails_alone(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.cw.put("1201", 10)
    scene.sync()
    scene.cw.put("1202", 3, "1050")
    scene.uses(11, 2)
    day = scene.sync()
    found = {line.product: line.hold.guard for line in day.client().lines if line.hold}
    assert found == {"1202": "ambiguous"}
    assert scene.cw.quantities() == {"1201": 11}


# --- kisi check --online --------------------------------------------------------------------------


def test_check_says_what_is_billed_elsewhere_whether_or_not_it_is_created(scene):
    scene.cw.put("1200", 10)
    assert list(check_siblings("cw", scene.cw, scene.mapping, TODAY)) == []
    scene.cw.put("1200", 8, "1050")
    (found,) = check_siblings("cw", scene.cw, scene.mapping, TODAY)
    assert found.level is Level.WARNING
    assert found.message.startswith("Contoso: line ")
    assert "alongside = [1050]" in found.remedy
    scene.bill(replace(COMPANY, billing=False))
    assert list(check_siblings("cw", scene.cw, scene.mapping, TODAY)) == []


def test_check_says_what_it_could_not_look_at(scene):
    scene.cw.unlisted = PsaError("It is away.", remedy="Wait.")
    scene.bill(COMPANY, company(2))
    (found,) = check_siblings("cw", scene.cw, scene.mapping, TODAY)
    assert (found.level, found.message, found.remedy) == (Level.PROBLEM, "It is away.", "Wait.")


def test_a_quantity_is_written_plainly(scene):
    scene.cw.put("1200", Decimal("1E+1"), "1050", starts=date(2025, 1, 1))
    assert "bills 10 of product 1200 already" in the_hold(scene.sync()).reason
