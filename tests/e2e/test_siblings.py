"""The product is billed already on another agreement of the company: never on both by itself."""

from __future__ import annotations

import pytest

from kisi.sandbox.connectwise_records import Agreement
from kisi.sandbox.world import Client
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import TigerpawSide

KINDS = ("sibling", "child", "parent")


def another(client: Client, kind: str) -> Agreement:
    """Another agreement of the client's company."""
    parent = client.agreement if kind == "child" else None
    other = client.world.agreement(client.company, "Old contract", parent=parent)
    if kind == "parent":
        client.agreement.parent_id = other.id
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_that_another_agreement_bills_is_not_created(operator: Operator, kind: str):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    fabrikam = operator.client("Fabrikam", workstations=3)
    other = another(contoso, kind)
    line = operator.world.add_line(other.id, product, 8)

    seen = operator.preview()
    night = operator.sync()

    for result in (seen, night):
        assert result.code == 6
        assert result.holds("Contoso") == {str(product): "ambiguous"}
        hold = result.company("Contoso")["lines"][0]["hold"]
        assert f"line {line.id} of agreement {other.id} (Old contract)" in hold["reason"]
        assert f"line {line.id} of agreement {other.id}" in hold["remedy"]
        assert f"alongside = [{other.id}]" in hold["remedy"]
    assert contoso.additions == []
    assert operator.world.additions(other.id) == [line]
    assert fabrikam.quantities == {product: 3}
    assert "Contoso (held: ambiguous)" in night.last_line
    assert operator.run("status", "--ready").code == 6
    told = operator.run("status").out
    assert f"alongside = [{other.id}]" in " ".join(told.split())
    assert "--accept" not in told

    for wrong in (night.company("Contoso")["plan_id"], night.document["plan_id"]):
        refused = operator.run("sync", "--accept", wrong)
        assert (refused.code, refused.writes) == (6, [])

    contoso.alongside.append(other.id)
    assert operator.sync().code == 0
    assert contoso.quantities == {product: 8}
    assert [one.quantity for one in operator.world.additions(other.id)] == [8]
    assert operator.run("status", "--ready").code == 0


def test_the_line_is_made_once_a_person_cancels_the_other(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    line = operator.world.add_line(another(contoso, "sibling").id, product, 8)
    assert operator.sync().code == 6
    line.cancelled_date = operator.world.now()
    assert operator.sync().code == 0
    assert contoso.quantities == {product: 8}


@pytest.mark.parametrize("over", ["cancelled", "ended", "not begun"])
def test_an_agreement_that_bills_nothing_today_is_no_obstacle(operator: Operator, over: str):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    other = another(contoso, "sibling")
    operator.world.add_line(other.id, product, 8)
    other.cancelled = over == "cancelled"
    today = operator.world.today
    other.end_date = today.replace(year=today.year - 1) if over == "ended" else None
    if over == "not begun":
        other.start_date = today.replace(year=today.year + 1)

    assert operator.sync().code == 0

    assert contoso.quantities == {product: 8}


def test_only_clients_with_new_lines_cost_a_look_at_their_other_agreements(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    other = another(contoso, "sibling")
    lists = f"/finance/agreements/{other.id}/additions"

    first, second = operator.sync(), operator.sync()

    assert sum(one.path.endswith(lists) for one in first.requests) == 1
    assert sum("company/id in" in one.query.get("conditions", "") for one in first.requests) == 1
    assert not [one for one in second.requests if one.path.endswith(lists)]
    assert "company/id" not in str([one.query.get("conditions") for one in second.requests])


def test_check_online_says_it_before_the_first_run(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    other = another(contoso, "sibling")
    operator.world.add_line(other.id, product, 8)

    result = operator.run("check", "--online")

    said = " ".join(result.out.split())
    assert result.code == 0
    assert f"of agreement {other.id} (Old contract) of the same company bills 8" in said
    assert f"alongside = [{other.id}]" in said


def test_tigerpaw_agreements_of_one_account_are_looked_at_too(operator: Operator):
    side = TigerpawSide(operator)
    item = side.bill_as_one()
    northwind = side.client("Northwind", workstations=5)
    other = side.tigerpaw.agreement(northwind.agreement.account)
    charge = side.tigerpaw.charge(other, item, 5)

    result = operator.sync()

    assert result.code == 6
    assert result.holds("Northwind") == {item: "ambiguous"}
    assert northwind.quantities == {}
    assert side.tigerpaw.charges(other) == [charge]
