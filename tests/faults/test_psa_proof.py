"""ConnectWise's lists end early, or an answer is another question's: no line is made twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kisi.sandbox.connectwise_lists import Gateway
from kisi.sandbox.world import Client
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import submits
from tests.faults.conftest import UPDATE, Trial, trouble, warnings
from tests.faults.test_tigerpaw import Ledger

# --- a list that ends early -----------------------------------------------------------------------


def _crowd(trial: Trial) -> list[Client]:
    """Clients whose agreements carry other vendors' lines, and then lines of kisi's products."""
    further = [trial.operator.client(f"Further {n}", workstations=n + 1) for n in range(4)]
    clients = [trial.contoso, trial.fabrikam, *further]
    backup = trial.world.product("BACKUP")
    for client in clients:
        for quantity in (3, 4):
            trial.world.add_line(client.agreement_id, backup.id, quantity)
    return clients


def _bills_each_once(trial: Trial, clients: list[Client]) -> bool:
    """Whether each client has one line of the product, with what it uses."""
    return all(
        [line.quantity for line in client.additions if line.product_id == trial.product]
        == [len(client.devices())]
        for client in clients
    )


LINKED = {
    "one a page": Gateway(page_cap=1),
    "two a page": Gateway(page_cap=2),
    "pages with numbers": Gateway(page_cap=2, drops_paging=True),
}


@pytest.mark.parametrize("gateway", LINKED.values(), ids=LINKED)
@pytest.mark.parametrize("there", [False, True], ids=["created", "there before"])
@pytest.mark.fault(
    66,
    injection="a gateway serves two records a page, whatever `pageSize` asks for, with `Link`",
    outcome="every list is read to its end: exit 0, each line exists once",
)
def test_a_short_page_with_a_link_is_not_the_last(trial: Trial, gateway: Gateway, there: bool):
    clients = _crowd(trial)
    if there:
        for client in clients:
            used = len(client.devices())
            trial.world.add_line(client.agreement_id, trial.product, used)
    trial.sandbox.cw.gateway = gateway

    first, second = trial.sync(), trial.sync()

    assert (first.code, second.code) == (0, 0), first.err
    assert len(first.writes) == (0 if there else len(clients))
    assert second.writes == []
    assert _bills_each_once(trial, clients)


STRIPPED = {
    "by id": Gateway(page_cap=2, strips_link=True),
    "by number": Gateway(page_cap=2, strips_link=True, drops_paging=True),
}


@pytest.mark.parametrize("gateway", STRIPPED.values(), ids=STRIPPED)
@pytest.mark.fault(
    66,
    injection="the same gateway, which strips `Link`; a person's line is on a later page",
    outcome="every list is read to an empty page: the line is held (`adopt`, exit 6), and is kisi's "
    "once that is accepted",
)
def test_without_a_link_only_an_empty_page_ends_a_list(trial: Trial, gateway: Gateway):
    clients = _crowd(trial)
    trial.world.add_line(trial.contoso.agreement_id, trial.product, 4)
    trial.sandbox.cw.gateway = gateway

    first = trial.sync()
    held = first.company("Contoso")
    second = trial.sync("--accept", held["plan_id"])

    assert (first.code, {x["hold"]["guard"] for x in held["lines"]}) == (6, {"adopt"})
    assert (second.code, trial.sync().writes) == (0, [])
    assert _bills_each_once(trial, clients)


@pytest.mark.fault(
    66,
    injection="a gateway strips `Link` and serves an empty second page: lists end early and nobody "
    "can see it",
    outcome="lines that kisi knows are asked for by their ids: billed, none `deleted`, a warning",
)
def test_a_known_line_beyond_the_end_of_a_list_is_not_gone(trial: Trial):
    clients = _crowd(trial)
    assert trial.sync().code == 0
    for client in clients:
        client.add_devices()
    trial.sandbox.cw.gateway = Gateway(page_cap=2, strips_link=True, ends_early=True)

    result = trial.sync()

    assert result.code == 0, result.err
    assert len(result.writes) == len(clients)
    assert _bills_each_once(trial, clients)
    said = [line for line in warnings(result) if "something between kisi and the PSA" in line]
    assert len(said) == len(clients)
    trial.sandbox.cw.gateway = Gateway()
    again = trial.sync()
    assert (again.code, again.writes) == (0, [])


@pytest.mark.parametrize("there", [False, True], ids=["created", "there before"])
@pytest.mark.fault(
    66,
    injection="the same on the first night: nothing that the lists show is kisi's",
    outcome="what is to be created is asked for by its product before and after: never two lines",
)
def test_a_list_that_ends_early_is_no_proof_before_a_create(trial: Trial, there: bool):
    clients = _crowd(trial)
    if there:
        for client in clients:
            used = len(client.devices())
            trial.world.add_line(client.agreement_id, trial.product, used)
    trial.sandbox.cw.gateway = Gateway(page_cap=2, strips_link=True, ends_early=True)

    first, second = trial.sync(), trial.sync()

    assert {first.code, second.code} == ({7} if there else {0})
    assert len(first.writes) == (0 if there else len(clients))
    assert second.writes == []
    assert _bills_each_once(trial, clients)


@pytest.mark.fault(
    66,
    injection="a line that kisi bills is not in the list, and asking for it by its id fails",
    outcome="that client fails, exit 5; it is not taken for deleted, others are billed",
)
def test_a_line_whose_end_is_not_proven_is_not_gone(billed: Trial):
    (line,) = billed.contoso.additions
    billed.fabrikam.add_devices()
    billed.fault("status", f"GET */{billed.contoso.agreement_id}/additions", code=200, body=[])
    match = f"GET */additions/{line.id}"
    billed.fault("html", match, times=None, code=404)

    result = billed.sync()

    assert (result.code, trouble(result, "Contoso").guard) == (5, "psa")
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.heals()


@pytest.mark.fault(
    66,
    injection="a line that kisi bills is deleted by a person",
    outcome="asked for once by its id, and then held as `deleted`, exit 6",
)
def test_a_line_that_is_gone_is_proven_gone(billed: Trial):
    (line,) = billed.contoso.additions
    del billed.world.lines[line.id]

    result = billed.sync()

    assert (result.code, trouble(result, "Contoso").guard) == (6, "deleted")
    asked = [one for one in result.sent_to("connectwise") if one.path.endswith(f"/{line.id}")]
    assert [one.status for one in asked] == [404]


@pytest.mark.fault(
    66,
    injection="Tigerpaw's list of charges ends before as many as the agreement counts",
    outcome="that client fails, exit 5; nothing is submitted",
)
def test_charges_that_end_early_are_no_whole_list(operator: Operator):
    ledger = Ledger(operator, first=False)
    ledger.side.tigerpaw.page_cap = 1

    result = ledger.sync()

    assert (result.code, submits(result)) == (5, [])
    assert "2 additional charges and gave 1 of them" in result.err
    assert ledger.client.quantities == {ledger.item: 6, "BACKUP": 5}
    ledger.side.tigerpaw.page_cap = 100
    ledger.heals()


# --- an answer taken for another's ----------------------------------------------------------------

INTERIM: dict[str, dict[str, Any]] = {
    "103": {"headers": {"Link": "</style.css>; rel=preload"}},
    "102, twice": {"code": 102, "count": 2},
    "100": {"code": 100},
}


@pytest.mark.parametrize("how", INTERIM.values(), ids=INTERIM)
@pytest.mark.fault(
    67,
    injection="`103 Early Hints`, `102` or `100` before every answer of every server",
    outcome="skipped: each client is billed what it uses",
)
def test_what_announces_an_answer_is_none(trial: Trial, how: dict[str, Any]):
    trial.fabrikam.add_devices(n=20)
    trial.fault("interim", "*", times=None, **how)

    first, second = trial.sync(), trial.sync()

    assert (first.code, second.code, second.writes) == (0, 0, [])
    assert trial.contoso.quantities == {trial.product: 6}
    assert trial.fabrikam.quantities == {trial.product: 23}
    trial.heals()


def _lines_of(client: Client) -> list[dict[str, Any]]:
    return [
        {"id": line.id, "product": {"id": line.product_id}, "quantity": line.quantity}
        for line in client.additions
    ]


@pytest.mark.fault(
    67,
    injection="two answers come to one request for lines, another client's first",
    outcome="neither is believed, the connection is closed, it is asked again: billed",
)
def test_a_surplus_answer_is_not_the_next_requests(billed: Trial):
    billed.fabrikam.add_devices()
    match = f"GET */{billed.contoso.agreement_id}/additions"
    billed.fault("surplus", match, body=_lines_of(billed.fabrikam))

    result = billed.sync()

    assert result.code == 0, result.err
    assert billed.contoso.quantities == {billed.product: 8}
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.heals()


@pytest.mark.fault(
    67,
    injection="two answers come to one write",
    outcome="unknown, so it is read back: confirmed; one request, one line",
)
def test_a_write_with_two_answers_is_read_back(billed: Trial):
    billed.fault("surplus", UPDATE, body={"message": "late"})

    result = billed.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


def _other_lines(trial: Trial) -> tuple[str, str, str]:
    old, new = trial.contoso.agreement_id, trial.fabrikam.agreement_id
    return f"GET */{old}/additions", f"/{old}/", f"/{new}/"


def _other_agreements(trial: Trial) -> tuple[str, str, str]:
    return "GET */finance/agreements", "id in", "id not in"


MIXED: dict[str, tuple[Callable[[Trial], tuple[str, str, str]], str]] = {
    "lines": (_other_lines, "answered with one of agreement"),
    "agreements": (_other_agreements, "was not asked for"),
}


@pytest.mark.parametrize(("of", "words"), MIXED.values(), ids=MIXED)
@pytest.mark.fault(
    67,
    injection="ConnectWise answers with the lines of another agreement, or with other agreements",
    outcome="seen by the ids in the answer: that list fails, exit 5, nothing of it is used",
)
def test_an_answer_to_another_question_is_no_answer(
    billed: Trial, of: Callable[[Trial], tuple[str, str, str]], words: str
):
    stranger = billed.world.company("Stranger")
    billed.world.agreement(stranger)
    match, old, new = of(billed)
    billed.fault("misrouted", match, times=None, old=old, new=new)

    result = billed.sync()

    assert (result.code, result.writes) == (5, [])
    assert words in trouble(result, "Contoso").reason
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()
