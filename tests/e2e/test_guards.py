"""What looks wrong waits for a person: judged by the lines of the PSA after every night."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta

import pytest

from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import Operator, Result

_CURRENT_IDS = "Look at `kisi preview` again; it shows the current ids."


def _total(operator: Operator, client: Client) -> float:
    """The units billed to a client's PSA company, over all of its agreements."""
    return sum(
        line.quantity or 0
        for line in operator.world.lines.values()
        if operator.world.agreements[line.agreement_id].company_id == client.company_id
        and line.cancelled_date is None
    )


def _command(result: Result, name: str) -> list[str]:
    """The arguments that the remedies of a client's holds name: the same for all of its lines."""
    lines = result.company(name)["lines"]
    remedies = {line["hold"]["remedy"] for line in lines if line["hold"]}
    plan_id = result.company(name)["plan_id"]
    assert remedies
    assert all(f"kisi sync --accept {plan_id}" in remedy for remedy in remedies)
    return ["--accept", plan_id]


def _night(operator: Operator, *arguments: str) -> Result:
    operator.next_night()
    return operator.sync(*arguments)


def _with_a_big_neighbour(operator: Operator, **devices: int) -> Client:
    """Contoso, beside a client so large that Contoso's changes are small for the whole run."""
    operator.client("Fabrikam", workstations=400)
    return operator.client("Contoso", **devices)


# --- quantities ---------------------------------------------------------------------------------


def test_a_hundred_never_becomes_zero_unseen(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=100)
    assert operator.sync().code == 0
    contoso.remove_devices(100)

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {product: 100}
        assert held.code == 6
        assert held.holds("Contoso") == {str(product): "to-zero"}
        assert held.writes == []
    assert held.last_line == "1 of 2 clients up to date; need attention: Contoso (held: to-zero)."

    accepted = _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {product: 0}
    assert accepted.code == 0
    assert [write.method for write in accepted.writes] == ["PATCH"]


@pytest.mark.parametrize(
    "lose",
    [
        lambda contoso: contoso.first_key.uses.clear(),
        lambda contoso: contoso.server.keys.clear(),
        lambda contoso: setattr(contoso.first_key, "installed", False),
        lambda contoso: setattr(contoso.first_key, "state", 2),
    ],
    ids=["unused", "key removed", "key moved to the main server", "soft cancelled"],
)
def test_however_the_count_is_lost_the_line_stays(operator: Operator, lose):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=10)
    operator.sync()
    lose(contoso)

    held = _night(operator)

    assert contoso.quantities == {product: 10}
    assert held.code == 6
    assert held.holds("Contoso") == {str(product): "to-zero"}


def test_a_hundred_to_fifty_one_to_twenty_six_is_held(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=100)
    operator.sync()

    for gone in (49, 25):
        contoso.remove_devices(gone)
        held = _night(operator)
        assert contoso.quantities == {product: 100}
        assert held.holds("Contoso") == {str(product): "decrease"}
        assert held.code == 6

    _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {product: 26}


def test_slow_decreases_are_measured_from_the_highest_night(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=100)
    operator.sync()

    contoso.remove_devices(20)
    assert _night(operator).code == 0
    for _ in range(3):
        contoso.remove_devices(8)
        result = _night(operator)

    assert contoso.quantities == {product: 80}
    assert result.code == 6
    reason = result.company("Contoso")["reason"]
    assert "from 100, its highest of the last 30 days, to 56" in reason


def test_slow_increases_are_measured_from_the_lowest_night(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=40)
    operator.sync()

    contoso.add_devices(n=20)
    assert _night(operator).code == 0
    contoso.add_devices(n=20)
    result = _night(operator)

    assert contoso.quantities == {product: 60}
    assert result.holds("Contoso") == {str(product): "increase"}
    assert result.code == 6


def test_what_was_billed_longer_ago_than_the_baseline_is_forgotten(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=100)
    operator.sync()
    contoso.remove_devices(20)
    assert _night(operator).code == 0

    operator.next_night(31)
    contoso.remove_devices(15)

    assert operator.sync().code == 0
    assert contoso.quantities == {product: 65}


def test_an_accepted_decrease_is_the_new_baseline(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=100)
    operator.sync()
    contoso.remove_devices(50)
    held = _night(operator)
    _night(operator, *_command(held, "Contoso"))

    contoso.remove_devices(10)

    assert _night(operator).code == 0
    assert contoso.quantities == {product: 40}


def test_small_changes_of_small_clients_pass_and_are_set_in_guards(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=4)
    operator.sync()
    contoso.remove_devices(3)

    operator.more = "\n[guards]\ndecrease_units = 2\n"
    assert _night(operator).code == 6
    assert contoso.quantities == {product: 4}

    operator.more = ""
    assert _night(operator).code == 0
    assert contoso.quantities == {product: 1}


def test_servers_that_are_taken_for_workstations_are_never_billed_twice(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)
    operator.sync()
    for device in contoso.devices("server"):
        device.system = contoso.devices("workstation")[0].system

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {workstations: 90, servers: 10}
        assert held.holds("Contoso") == {str(servers): "to-zero", str(workstations): "with"}
        assert held.code == 6

    accepted = _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {workstations: 100, servers: 0}
    assert [write.path.rpartition("/")[2] for write in accepted.writes] == [
        _line_id(contoso, servers),
        _line_id(contoso, workstations),
    ]


def _line_id(client: Client, product: int) -> str:
    return next(str(line.id) for line in client.additions if line.product_id == product)


def test_a_hold_concerns_its_application_alone(operator: Operator):
    first, second = operator.bill_as_one(), operator.bill_as_one("Kaspersky EDR Optimum")
    contoso = _with_a_big_neighbour(operator, workstations=20)
    detecting = contoso.key("Kaspersky EDR Optimum", devices=contoso.devices())
    operator.sync()
    contoso.first_key.uses.clear()
    detecting.use(contoso.server.add_device())

    held = _night(operator)

    assert contoso.quantities == {first: 20, second: 21}
    assert held.holds("Contoso") == {str(first): "to-zero"}
    assert held.code == 6


def test_a_huge_new_line_waits(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=501)
    fabrikam = operator.client("Fabrikam", workstations=500)

    held = operator.sync()

    assert contoso.additions == []
    assert fabrikam.quantities == {product: 500}
    assert held.holds("Contoso") == {str(product): "create"}
    assert held.code == 6
    assert _night(operator, *_command(held, "Contoso")).code == 0
    assert contoso.quantities == {product: 501}


def test_a_source_that_counts_nothing_any_more_is_not_believed(operator: Operator):
    product = operator.bill_as_one()
    clients = [operator.client(name, workstations=4) for name in ("Contoso", "Fabrikam")]
    operator.sync()
    for client in clients:
        client.remove_devices(4)

    held = _night(operator)

    assert [client.quantities for client in clients] == [{product: 4}] * 2
    for client in clients:
        assert held.holds(client.name) == {str(product): "empty-source"}
    assert held.code == 6


def test_a_source_that_counts_nothing_is_held_also_without_a_journal(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client()
    operator.world.add_line(contoso.agreement_id, product, 4)

    held = operator.sync()

    assert contoso.quantities == {product: 4}
    assert held.holds("Contoso") == {str(product): "empty-source"}
    assert held.code == 6


def test_a_new_client_without_devices_is_no_empty_source(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client()

    assert operator.sync().code == 0
    assert contoso.additions == []


def test_many_small_decreases_at_once_are_held_as_a_whole(operator: Operator):
    product = operator.bill_as_one()
    shrinking = [operator.client(f"Client {number:02}", workstations=13) for number in range(20)]
    growing = operator.client("Growing", workstations=13)
    operator.sync()
    for client in shrinking:
        client.remove_devices(3)
    growing.add_devices(n=2)

    held = _night(operator)

    assert [client.quantities for client in shrinking] == [{product: 13}] * 20
    assert growing.quantities == {product: 15}
    assert held.holds("Client 07") == {str(product): "run"}
    assert held.code == 6

    one = _night(operator, *_command(held, "Client 07"))
    assert [client.quantities[product] for client in shrinking].count(10) == 1
    assert shrinking[7].quantities == {product: 10}
    assert one.code == 6

    assert _night(operator, "--accept", one.document["plan_id"]).code == 0
    assert [client.quantities for client in shrinking] == [{product: 10}] * 20


def test_unknown_devices_hold_if_that_is_asked_for(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=4, unknown=1)
    operator.more = '\n[counting]\nunknown_device = "hold"\n'

    held = operator.sync()

    assert contoso.additions == []
    assert held.holds("Contoso") == {str(product): "unknown-device"}
    assert held.code == 6
    _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {product: 5}


# --- mapping ------------------------------------------------------------------------------------


def test_one_product_changed_to_categories_never_bills_twice(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90, servers=10)
    operator.sync()
    operator.world.billing.applications.clear()
    workstations, servers, _ = operator.bill_by_category()

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {product: 100}
        assert held.holds("Contoso") == {
            str(product): "orphaned",
            str(workstations): "with",
            str(servers): "with",
        }
        assert held.code == 6

    accepted = _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {product: 0, workstations: 90, servers: 10}
    assert [write.method for write in accepted.writes] == ["PATCH", "POST", "POST"]
    assert accepted.code == 0
    assert _night(operator).writes == []


def test_categories_changed_to_one_product_never_bill_twice(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)
    operator.sync()
    operator.world.billing.applications.clear()
    product = operator.bill_as_one()

    held = _night(operator)
    assert contoso.quantities == {workstations: 90, servers: 10}
    assert held.code == 6

    _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {workstations: 0, servers: 0, product: 100}


def test_if_the_old_line_cannot_be_emptied_the_new_ones_are_not_created(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90, servers=10)
    operator.sync()
    operator.world.billing.applications.clear()
    operator.bill_by_category()
    held = _night(operator)
    operator.sandbox.faults.add("status", match="PATCH *", times=None, code=400)

    failed = _night(operator, *_command(held, "Contoso"))

    assert contoso.quantities == {product: 100}
    assert failed.code == 7
    assert not [write for write in failed.writes if write.method == "POST"]


def test_a_changed_agreement_never_bills_twice(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    old = contoso.agreement
    contoso.agreement = operator.world.agreement(contoso.company, "Managed Security 2027")

    for _ in range(2):
        held = _night(operator)
        assert _total(operator, contoso) == 100
        lines = held.company("Contoso")["lines"]
        assert {(line["action"], line["hold"]["guard"]) for line in lines} == {
            ("update", "orphaned"),
            ("create", "with"),
        }
        assert held.code == 6

    assert _night(operator, *_command(held, "Contoso")).code == 0
    assert contoso.quantities == {product: 100}
    assert [line.quantity for line in operator.world.additions(old.id)] == [0]


def test_a_tenant_moved_to_another_company_is_not_billed_twice(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=100)
    operator.sync()
    contoso.company = operator.world.company("Contoso Holding")
    old, contoso.agreement = contoso.agreement, operator.world.agreement(contoso.company)

    held = _night(operator)

    assert contoso.additions == []
    assert [line.quantity for line in operator.world.additions(old.id)] == [100]
    assert held.code == 6
    _night(operator, *_command(held, "Contoso Holding"))
    assert list(contoso.quantities.values()) == [100]
    assert [line.quantity for line in operator.world.additions(old.id)] == [0]


def test_another_product_for_the_same_devices_never_bills_twice(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    flat = operator.world.product("FLAT", 2.5)
    contoso.exceptions.append({"application": APPLICATION, "all": flat.id})

    held = _night(operator)
    assert contoso.quantities == {product: 100}
    assert held.holds("Contoso") == {str(product): "orphaned", str(flat.id): "with"}

    _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {product: 0, flat.id: 100}


@pytest.mark.parametrize("how", ["billing off", "unmapped"])
def test_the_lines_of_a_client_that_is_no_longer_billed_are_left_and_listed(
    operator: Operator, how: str
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    operator.client("Fabrikam", workstations=10)
    operator.sync()
    contoso.billing = how != "billing off"
    contoso.mapped = how != "unmapped"
    contoso.remove_devices(10)

    result = _night(operator)

    assert contoso.quantities == {product: 10}
    assert (result.code, result.writes) == (0, [])
    left = [(one["name"], one["quantity"]) for one in result.document["left"]]
    assert left == [("Contoso", 10)]
    assert "Contoso" in operator.run("preview", "-v").out


# --- people -------------------------------------------------------------------------------------


def test_a_line_edited_by_hand_stays_until_it_is_accepted(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    contoso.additions[0].quantity = 95

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {product: 95}
        assert held.holds("Contoso") == {str(product): "drift"}
        assert held.code == 6
    assert "the PSA holds 95, kisi last confirmed 100" in held.company("Contoso")["reason"]

    assert _night(operator, *_command(held, "Contoso")).code == 0
    assert contoso.quantities == {product: 100}

    contoso.additions[0].quantity = 95
    again = _night(operator)
    assert contoso.quantities == {product: 95}
    assert again.company("Contoso")["plan_id"] != held.company("Contoso")["plan_id"]
    assert _night(operator, *_command(again, "Contoso")).code == 0
    assert contoso.quantities == {product: 100}


def test_a_line_edited_by_hand_stays_for_good_with_an_exception(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    contoso.additions[0].quantity = 95
    assert _night(operator).code == 6

    contoso.exceptions.append({"application": APPLICATION, "bill": False})
    contoso.add_devices(n=3)
    result = _night(operator)

    assert contoso.quantities == {product: 95}
    assert (result.code, result.writes) == (0, [])


def test_a_line_edited_by_hand_is_held_also_when_the_count_changes(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    contoso.additions[0].quantity = 98
    contoso.add_devices(n=2)

    held = _night(operator)

    assert contoso.quantities == {product: 98}
    assert held.holds("Contoso") == {str(product): "drift"}


def test_an_edit_to_what_kisi_counts_is_no_drift(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    contoso.additions[0].quantity = 103
    contoso.add_devices(n=3)

    result = _night(operator)

    assert contoso.quantities == {product: 103}
    assert (result.code, result.writes) == (0, [])


def test_drift_can_be_overwritten_on_purpose(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    contoso.additions[0].quantity = 95
    operator.more = '\n[guards]\ndrift = "overwrite"\n'

    assert _night(operator).code == 0
    assert contoso.quantities == {product: 100}


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
def test_a_line_that_a_person_removed_is_not_created_again(operator: Operator, how: str):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    line = contoso.additions[0]
    if how == "deleted":
        del operator.world.lines[line.id]
    else:
        line.cancelled_date = operator.world.now()

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {}
        assert held.holds("Contoso") == {str(product): "deleted"}
        assert held.code == 6

    assert _night(operator, *_command(held, "Contoso")).code == 0
    assert contoso.quantities == {product: 100}
    assert _night(operator).writes == []


def test_a_removed_line_stays_away_for_good_with_an_exception(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=100)
    operator.sync()
    del operator.world.lines[contoso.additions[0].id]
    contoso.exceptions.append({"application": APPLICATION, "bill": False})

    result = _night(operator)

    assert contoso.additions == []
    assert (result.code, result.writes) == (0, [])


def test_a_lost_state_folder_adopts_equal_lines_and_holds_the_others(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=100)
    fabrikam = operator.client("Fabrikam", workstations=50)
    operator.sync()
    shutil.rmtree(operator.state)
    fabrikam.add_devices(n=2)

    held = _night(operator)

    assert contoso.quantities == {product: 100}
    assert fabrikam.quantities == {product: 50}
    assert held.company("Contoso")["status"] == "ready"
    assert held.holds("Fabrikam") == {str(product): "adopt"}
    assert (held.code, held.writes) == (6, [])

    contoso.add_devices()
    both = _night(operator, *_command(held, "Fabrikam"))
    assert contoso.quantities == {product: 101}
    assert fabrikam.quantities == {product: 52}
    assert both.code == 0


def test_a_line_that_kisi_never_wrote_is_held_before_it_is_overwritten(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=20)
    operator.world.add_line(contoso.agreement_id, product, 18)

    held = operator.sync()

    assert contoso.quantities == {product: 18}
    assert held.holds("Contoso") == {str(product): "adopt"}
    assert held.company("Contoso")["lines"][0]["adopt"] is True
    assert held.code == 6

    operator.more = '\n[guards]\nadopt = "allow"\n'
    assert _night(operator).code == 0
    assert contoso.quantities == {product: 20}


def test_a_line_that_is_not_billable_is_kept_up_to_date_and_pointed_out(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=20)
    operator.sync()
    contoso.additions[0].bill_customer = "DoNotBill"
    contoso.add_devices()

    result = _night(operator)

    assert contoso.quantities == {product: 21}
    assert contoso.additions[0].bill_customer == "DoNotBill"
    assert result.code == 0
    assert any("not billable" in note for note in result.company("Contoso")["notes"])


def test_two_live_lines_of_a_product_are_ambiguous(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=20)
    fabrikam = operator.client("Fabrikam", workstations=5)
    for quantity in (18, 2):
        operator.world.add_line(contoso.agreement_id, product, quantity)

    result = operator.sync()

    assert [line.quantity for line in contoso.additions] == [18, 2]
    assert fabrikam.quantities == {product: 5}
    assert result.company("Contoso")["status"] == "failed"
    assert "2 live lines" in result.last_line
    assert result.code == 6


def test_a_cancelled_or_later_line_does_not_make_another_ambiguous(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=20)
    world = operator.world
    cancelled, later, _ = (
        world.add_line(contoso.agreement_id, product, quantity) for quantity in (18, 30, 20)
    )
    cancelled.cancelled_date = world.now() - timedelta(days=40)
    later.effective_date = world.now() + timedelta(days=40)

    result = operator.sync()

    assert [line.quantity for line in contoso.additions] == [18, 30, 20]
    assert (result.code, result.writes) == (0, [])
    contoso.add_devices()
    assert _night(operator).code == 0
    assert [line.quantity for line in contoso.additions] == [18, 30, 21]


# --- agreements ---------------------------------------------------------------------------------


def _end(operator: Operator, contoso: Client) -> None:
    contoso.agreement.end_date = operator.world.today - timedelta(days=1)


def _cancel(_: Operator, contoso: Client) -> None:
    contoso.agreement.cancelled = True


def _postpone(operator: Operator, contoso: Client) -> None:
    contoso.agreement.start_date = operator.world.today + timedelta(days=9)


def _give_away(operator: Operator, contoso: Client) -> None:
    contoso.agreement.company_id = operator.world.company("Somebody Else").id


def _delete(operator: Operator, contoso: Client) -> None:
    del operator.world.agreements[contoso.agreement_id]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_end, "ended on 2026-10-14"),
        (_cancel, "is cancelled"),
        (_postpone, "starts only on 2026-10-24"),
        (_give_away, "belongs to company"),
        (_delete, "does not exist"),
    ],
    ids=["ended", "cancelled", "not begun", "another company's", "missing"],
)
def test_an_agreement_that_is_not_fit_to_bill_is_left_alone(operator: Operator, spoil, reason):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=20)
    fabrikam = operator.client("Fabrikam", workstations=5)
    operator.sync()
    contoso.add_devices()
    fabrikam.add_devices()
    operator.next_night()
    spoil(operator, contoso)

    result = operator.sync()

    assert contoso.quantities == {product: 20}
    assert fabrikam.quantities == {product: 6}
    assert result.company("Contoso")["status"] == "failed"
    assert reason in result.company("Contoso")["reason"]
    assert "Contoso (agreement: " in result.last_line
    assert result.code == 6


def test_an_agreement_bills_on_its_last_day(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=20)
    contoso.agreement.end_date = operator.world.today

    assert operator.sync().code == 0
    assert contoso.quantities == {product: 20}


# --- unmapped usage -----------------------------------------------------------------------------


def test_a_renamed_key_is_unmapped_usage_and_not_zero(operator: Operator):
    product = operator.bill_as_one()
    contoso = _with_a_big_neighbour(operator, workstations=20)
    operator.sync()
    contoso.first_key.name = "Kaspersky Next EDR Foundations"

    held = _night(operator)

    assert contoso.quantities == {product: 20}
    assert held.code == 6
    use = held.document["unmapped"]["applications"][0]
    assert (use["company"], use["application"]) == ("Contoso", "Kaspersky Next EDR Foundations")
    assert use["quantity"] == 20
    assert "unmapped usage: Contoso" in held.last_line
    assert "Kaspersky Next EDR Foundations" in operator.run("preview").out


def test_a_new_key_that_no_row_bills_exits_with_six_and_bills_the_rest(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=20)
    contoso.key("Kaspersky Next EDR Foundations", devices=contoso.devices()[:7])

    result = operator.sync()

    assert contoso.quantities == {product: 20}
    assert result.code == 6
    assert [use["quantity"] for use in result.document["unmapped"]["applications"]] == [7]


def test_a_category_without_a_product_is_unmapped_usage(operator: Operator):
    workstations = operator.world.product("WS")
    operator.world.billing.bill(APPLICATION, windows_workstations=workstations)
    contoso = operator.client(workstations=20, servers=3)

    result = operator.sync()

    assert contoso.quantities == {workstations.id: 20}
    assert result.code == 6
    assert [use["quantity"] for use in result.document["unmapped"]["applications"]] == [3]


# --- ids ----------------------------------------------------------------------------------------


def _two_held(operator: Operator) -> tuple[Client, Client, int]:
    """Two clients that a person edited by hand, beside one with a change that nothing holds."""
    product = operator.bill_as_one()
    clients = [operator.client(name, workstations=100) for name in ("Contoso", "Fabrikam")]
    operator.client("Free", workstations=100)
    operator.sync()
    for client in clients:
        client.additions[0].quantity = 95
    operator.next_night()
    return clients[0], clients[1], product


def test_an_id_accepted_once_does_not_work_a_second_time(operator: Operator):
    contoso, _, product = _two_held(operator)
    held = operator.sync()
    accept = _command(held, "Contoso")
    operator.sync(*accept)
    assert contoso.quantities == {product: 100}
    contoso.additions[0].quantity = 95
    operator.world.clients[-1].add_devices()

    again = operator.run("sync", *accept)

    assert contoso.quantities == {product: 95}
    assert operator.world.clients[-1].quantities == {product: 100}
    assert (again.code, again.writes) == (6, [])
    assert re.search(r"was accepted before, by .+ at 2026-10-15", again.err)
    assert "Nothing was written." in again.err


def test_an_id_of_another_plan_writes_nothing_at_all(operator: Operator):
    contoso, fabrikam, product = _two_held(operator)
    accept = _command(operator.sync(), "Contoso")
    contoso.additions[0].quantity = 90
    operator.world.clients[-1].add_devices()

    stale = operator.run("sync", *accept)

    assert contoso.quantities == {product: 90}
    assert fabrikam.quantities == {product: 95}
    assert operator.world.clients[-1].quantities == {product: 100}
    assert (stale.code, stale.writes) == (6, [])
    assert "does not match the current plan" in stale.err
    assert "it was 95 → 100; now it is 90 → 100" in stale.err


def test_one_stale_id_spoils_the_others_of_the_same_command(operator: Operator):
    contoso, fabrikam, product = _two_held(operator)
    good = _command(operator.sync(), "Contoso")

    result = operator.run("sync", *good, "--accept", "deadbeef")

    assert (result.code, result.writes) == (6, [])
    assert "deadbeef" in result.err
    assert operator.sync(*good).code == 6
    assert contoso.quantities == {product: 100}
    assert fabrikam.quantities == {product: 95}


def test_accepting_one_company_releases_only_that_one(operator: Operator):
    contoso, fabrikam, product = _two_held(operator)
    held = operator.preview()

    result = operator.sync(*_command(held, "Fabrikam"))

    assert contoso.quantities == {product: 95}
    assert fabrikam.quantities == {product: 100}
    assert result.code == 6
    assert result.last_line.startswith(
        "2 of 3 clients up to date; need attention: Contoso (held: drift)"
    )


def test_the_id_of_the_whole_plan_releases_all(operator: Operator):
    contoso, fabrikam, product = _two_held(operator)
    held = operator.preview()

    result = operator.sync("--accept", held.document["plan_id"])

    assert contoso.quantities == fabrikam.quantities == {product: 100}
    assert result.code == 0


def test_ids_of_several_companies_can_be_given_together(operator: Operator):
    contoso, fabrikam, product = _two_held(operator)
    held = operator.preview()

    result = operator.sync(*_command(held, "Contoso"), *_command(held, "Fabrikam"))

    assert contoso.quantities == fabrikam.quantities == {product: 100}
    assert result.code == 0


def test_ids_are_the_same_in_preview_and_sync_and_every_night(operator: Operator):
    _two_held(operator)
    operator.world.clients[-1].add_devices()
    results = [operator.preview(), operator.sync(), operator.sync(), operator.preview()]
    operator.next_night()
    results += [operator.preview(), operator.sync()]

    ids = [
        (
            result.document["plan_id"],
            *(result.company(n)["plan_id"] for n in ("Contoso", "Fabrikam")),
        )
        for result in results
    ]
    assert len(set(ids)) == 1
    assert len(set(ids[0])) == 3


@pytest.mark.parametrize("again", [False, True])
def test_an_accept_whose_write_fails_holds_until_the_line_is_written(
    operator: Operator, again: bool
):
    contoso, _, product = _two_held(operator)
    accept = _command(operator.sync(), "Contoso")
    operator.sandbox.faults.add("status", match="PATCH *", code=400)

    failed = operator.sync(*accept)
    assert contoso.quantities == {product: 95}
    assert failed.code == 7

    operator.sync(*(accept if again else ()))
    assert contoso.quantities == {product: 100}
    used = operator.sync(*accept)
    assert (used.code, "was accepted before" in used.err) == (6, True)


def test_an_accept_whose_write_fails_does_not_hold_for_other_numbers(operator: Operator):
    contoso, _, product = _two_held(operator)
    accept = _command(operator.sync(), "Contoso")
    operator.sandbox.faults.add("status", match="PATCH *", code=400)
    assert operator.sync(*accept).code == 7

    contoso.add_devices(n=1)
    operator.sync()
    assert contoso.quantities == {product: 95}


def test_the_table_names_the_command_that_releases_a_hold(operator: Operator):
    _two_held(operator)

    table = operator.run("preview")

    ids = [operator.preview().company(name)["plan_id"] for name in ("Contoso", "Fabrikam")]
    for plan_id in ids:
        assert f"kisi sync --accept {plan_id}" in " ".join(table.out.split())


# --- licences that replace others ---------------------------------------------------------------


def test_moved_devices_are_billed_anew_only_once_their_old_line_is_down(operator: Operator):
    old, new = operator.bill_as_one(), operator.world.product("EDR Optimum").id
    operator.world.billing.bill("Kaspersky Next EDR Optimum", all=new)
    contoso = _with_a_big_neighbour(operator, workstations=20)
    assert operator.sync().code == 0
    uses = contoso.first_key.uses
    moved = [device for device in contoso.server.devices if device.host_id == uses[0].host_id]
    del uses[0]
    contoso.key("Kaspersky Next EDR Optimum, 100 nodes", devices=moved)
    operator.sandbox.faults.add("status", match="PATCH *", code=400)

    refused = _night(operator)
    assert contoso.quantities == {old: 20}
    assert (refused.code, len(refused.writes)) == (7, 1)
    assert _night(operator).code == 0
    assert contoso.quantities == {old: 19, new: 1}


def test_devices_whose_licence_was_replaced_are_never_billed_for_both(operator: Operator):
    old, new = operator.bill_as_one(), operator.world.product("EDR Optimum").id
    operator.world.billing.bill("Kaspersky Next EDR Optimum", all=new)
    contoso = _with_a_big_neighbour(operator, workstations=20)
    assert operator.sync().code == 0
    devices = list(contoso.server.devices)
    contoso.first_key.uses.clear()
    contoso.key("Kaspersky Next EDR Optimum, 100 nodes", devices=devices)

    for _ in range(2):
        held = _night(operator)
        assert contoso.quantities == {old: 20}
        assert (held.code, held.writes) == (6, [])
        assert held.holds("Contoso") == {str(old): "to-zero", str(new): "with"}
    assert operator.run("status", "--ready").code == 6
    reasons = {line["hold"]["reason"] for line in held.company("Contoso")["lines"]}
    assert any(
        reason.endswith(f": 20 devices went from {APPLICATION} to Kaspersky Next EDR Optimum")
        for reason in reasons
    )

    accepted = _night(operator, *_command(held, "Contoso"))
    assert contoso.quantities == {old: 0, new: 20}
    assert accepted.code == 0
    assert operator.run("status", "--ready").code == 0


def test_a_run_whose_id_is_refused_stores_what_it_read(operator: Operator):
    """As any other run that writes nothing: holds, the clients' states, and the usage."""
    contoso, fabrikam, product = _two_held(operator)
    operator.next_night(2)
    operator.world.clients[-1].add_devices(n=3)
    assert operator.run("status", "--ready").code == 6  # nothing was confirmed for two days

    refused = operator.run("sync", "--accept", "00000000")

    assert (refused.code, refused.writes, refused.out) == (6, [], "")
    assert refused.err.rstrip().endswith("To do: " + _CURRENT_IDS)
    assert contoso.quantities == {product: 95}
    assert fabrikam.quantities == {product: 95}
    assert operator.run("status", "--ready").code == 6
    status = json.loads(operator.run("status", "--json").out)
    states = {client["name"]: (client["status"], client["guard"]) for client in status["clients"]}
    assert states == {
        "Contoso": ("held", "drift"),
        "Fabrikam": ("held", "drift"),
        "Free": ("failed", "write"),
    }
    assert {hold["name"] for hold in status["holds"]} == {"Contoso", "Fabrikam"}
    assert status["runs"][0]["exit_code"] == 6
    assert status["runs"][0]["held"] == 2
    assert status["last_run"]["exit_code"] == 6
    explained = json.loads(operator.run("explain", "Free", "--json").out)
    assert explained["run"] == status["runs"][0]["run"]
    assert operator.sync().code == 6
    assert operator.world.clients[-1].quantities == {product: 103}


def test_a_first_run_whose_id_is_refused_is_no_reason_to_invoice(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)

    assert operator.run("sync", "--accept", "00000000").code == 6

    assert contoso.quantities == {}
    assert operator.run("status", "--ready").code == 6
    assert operator.sync().code == 0
    assert operator.run("status", "--ready").code == 0
