"""What is to be expected of licence keys: what is said, and what the PSA holds meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from kisi.sandbox.ksc_records import SubscriptionState
from tests.e2e.conftest import Operator


def entries(document: dict[str, Any]) -> list[list[Any]]:
    known = ("company", "kind", "devices", "used", "licenses", "ends")
    return [[one[name] for name in known] for one in document["outlook"]]


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_key_that_ends_is_announced_and_then_named_where_the_number_falls(operator: Operator):
    """Of twelve devices, two have a key that ends in three days; the fall is within the guards."""
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    ends = operator.world.now() + timedelta(days=3)
    old = contoso.key(kind="commercial", limit_date=ends)
    contoso.add_devices(n=2, key=old)
    day = ends.date().isoformat()

    preview = operator.preview()
    result = operator.sync()

    assert (preview.code, result.code) == (0, 0)
    assert entries(preview.document) == entries(result.document)
    assert entries(result.document) == [["Contoso", "ends", 2, 2, 1000, day]]
    assert "licence keys (`kisi status`): 1 to end" in result.last_line
    said = f"key {old.serial} ends on {day}, in 3 days: 2 devices counted with it"
    assert said in words(operator.run("preview").out)
    assert said in words(operator.run("sync").out)
    assert said in words(operator.run("status").out)
    assert said in words(operator.run("preview", "--format", "html").out)
    assert said in words(operator.run("status", "--format", "html").out)
    assert entries(json.loads(operator.run("status", "--json").out)) == entries(result.document)

    operator.next_night(4)
    fallen = operator.run("sync")

    assert (fallen.code, [*contoso.quantities.values()]) == (0, [10])
    why = f"ended on {day}: 2 devices were counted with it"
    assert why in words(fallen.out)
    assert operator.preview().document["outlook"] == []


def test_the_reason_of_a_fall_is_said_as_long_as_it_is_on_hold(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", kind="commercial", workstations=12)
    contoso.first_key.limit_date = operator.world.now() + timedelta(hours=20)
    operator.client("Fabrikam", workstations=80)
    operator.sync()
    for _ in range(2):
        operator.next_night()
        held = operator.sync()
        (line,) = held.company("Contoso")["lines"]
        assert (held.code, line["hold"]["guard"], [*contoso.quantities.values()]) == (
            *(6, "to-zero", [12]),
        )
        assert f"key {contoso.first_key.serial}" in line["because"]
        assert "12 devices were counted with it" in line["because"]
    assert "12 devices were counted with it" in words(operator.run("status").out)


@pytest.mark.parametrize(("bought", "kinds"), [(9, ["over"]), (11, ["near"]), (12, []), (0, [])])
def test_a_key_that_is_used_more_than_it_was_bought_for(operator: Operator, bought, kinds):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    contoso.first_key.licence_count = bought

    result = operator.sync()

    assert (result.code, [one["kind"] for one in result.document["outlook"]]) == (0, kinds)
    said = f"has 10 of {bought} licences in use"
    assert (said in words(operator.run("status").out)) is bool(kinds)


def test_a_key_that_several_clients_share_is_used_by_all_of_them(operator: Operator):
    operator.bill_as_one()
    contoso, fabrikam = (operator.client(x, workstations=6) for x in ("Contoso", "Fabrikam"))
    fabrikam.first_key.serial = contoso.first_key.serial
    for client in (contoso, fabrikam):
        client.first_key.licence_count = 10

    result = operator.sync()

    assert [one[:4] for one in entries(result.document)] == [
        ["Contoso", "over", 6, 12],
        ["Fabrikam", "over", 6, 12],
    ]
    assert [one[0] for one in entries(operator.preview("--client", "Contoso").document)] == [
        "Contoso"
    ]


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (SubscriptionState.PAUSED, "paused subscription"),
        (SubscriptionState.SOFT_CANCELLED, "soft-cancelled subscription"),
    ],
)
def test_a_subscription_that_is_paused_and_in_use_is_named(operator: Operator, state, name):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    paused = contoso.key(state=state)
    contoso.add_devices(n=4, key=paused)
    idle = contoso.key(state=state)

    synced = operator.sync()

    assert [*contoso.quantities.values()] == [10]
    assert entries(synced.document) == [["Contoso", "paused", 0, 4, 1000, None]]
    assert f"`kisi status`): 1 {name.removesuffix(' subscription')}" in synced.last_line
    said = f"key {paused.serial} is a {name}: 4 in use, 0 devices counted with it"
    assert said in words(operator.run("status").out)
    assert idle.serial not in operator.run("status").out


def test_a_soft_cancelled_one_that_counts_is_named_too(operator: Operator):
    operator.more = "[counting]\nsoft_cancelled = true\n"
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    contoso.first_key.state = SubscriptionState.SOFT_CANCELLED

    document = operator.sync().document

    assert [*contoso.quantities.values()] == [10]
    assert [one[:4] for one in entries(document)] == [["Contoso", "paused", 10, 10]]


def test_how_early_and_from_which_share_on_is_set(operator: Operator):
    operator.more = "[outlook]\ndays = 5\npercent = 50\n"
    operator.bill_as_one()
    contoso = operator.client("Contoso", kind="commercial", workstations=6)
    contoso.first_key.limit_date = operator.world.now() + timedelta(days=6)
    contoso.first_key.licence_count = 11

    assert [one["kind"] for one in operator.sync().document["outlook"]] == ["near"]
    operator.next_night()
    status = json.loads(operator.run("status", "--json").out)
    assert [one["kind"] for one in status["outlook"]] == ["ends", "near"]
    assert [one["serial"] for one in status["expiring_keys"]] == [contoso.first_key.serial]


def test_the_keys_of_a_client_that_could_not_be_read_are_those_of_the_last_reading(
    operator: Operator,
):
    operator.bill_as_one()
    contoso = operator.client("Contoso", kind="commercial", workstations=6)
    contoso.first_key.limit_date = operator.world.now() + timedelta(days=20)
    before = operator.sync().document["outlook"]
    contoso.server.enabled = False

    result = operator.sync()

    assert (result.code, result.document["outlook"]) == (4, before)
    contoso.billing = False
    assert operator.sync().document["outlook"] == []
