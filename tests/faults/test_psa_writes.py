"""Answers to writes that are late, lost, or wrong. A write counts when the PSA shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.e2e.conftest import Operator
from tests.e2e.test_moved_clients import Desk, Row
from tests.faults.conftest import CREATE, UPDATE, Trial, outcome, trouble

BOTH = pytest.mark.parametrize("first", [True, False], ids=["create", "update"])
"""Contoso's line is made, or brought from 6 to 8."""


@pytest.fixture
def due(trial: Trial, first: bool) -> Trial:
    """Contoso's line is due: it is to be created, or to be updated."""
    trial.fabrikam.mapped = False
    if not first:
        trial.bill()
    return trial


def match(first: bool) -> str:
    """The write that is due."""
    return CREATE if first else UPDATE


def count(first: bool) -> int:
    """What is to be billed."""
    return 6 if first else 8


def effective(trial: Trial) -> list[float | None]:
    """The quantities of all lines that ConnectWise has for Contoso."""
    return [line.quantity for line in trial.contoso.additions]


@pytest.mark.parametrize(
    ("first", "code", "headers"),
    [
        (True, 429, {"Retry-After": "30"}),
        (True, 429, {}),
        (False, 429, {"Retry-After": "30"}),
        (False, 429, {}),
        (False, 503, {"Retry-After": "30"}),
    ],
)
@pytest.mark.fault(
    29,
    injection="429 on a write, or 503 with `Retry-After` on an update",
    outcome="waits, one effective write",
)
def test_a_throttled_write_is_sent_when_the_psa_says(
    due: Trial, first: bool, code: int, headers: dict[str, str]
):
    due.fault("status", match(first), code=code, headers=headers)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 2)
    assert sum(due.operator.slept) == (30 if headers else 10)
    assert effective(due) == [count(first)]
    due.heals(due.contoso)


@BOTH
@pytest.mark.fault(
    29,
    injection="429 with `Retry-After: 99999` on a write",
    outcome="not waited for: fails, exit 7, and the next run writes it",
)
def test_a_write_is_not_waited_for_all_day(due: Trial, first: bool):
    due.fault("status", match(first), times=None, code=429, headers={"Retry-After": "99999"})

    result = due.sync()

    assert (result.code, len(result.writes), due.operator.slept) == (7, 1, [])
    assert "ConnectWise asks to wait and wrote nothing" in outcome(result, "Contoso")[1]
    assert "Contoso" in due.sentence
    assert due.pending() == ()
    due.heals(due.contoso)


UNCLEAR = {
    "500": ("status", {"code": 500, "applied": True}),
    "502 page": ("status", {"code": 502, "applied": True, "body": "<h1>Bad gateway</h1>"}),
    "empty 200": ("empty", {"applied": True}),
    "garbage 200": ("garbage", {"applied": True}),
    "truncated": ("truncate", {}),
    "cut chunk": ("chunk_cut", {}),
}


@BOTH
@pytest.mark.parametrize(("kind", "options"), UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.fault(
    30,
    injection="a write is applied, and the answer is 500, 502, empty, garbage or cut",
    outcome="read back: confirmed; one request, one line",
)
def test_an_applied_write_with_an_unclear_answer_is_confirmed(
    due: Trial, first: bool, kind: str, options: dict[str, object]
):
    due.fault(kind, match(first), **options)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert effective(due) == [count(first)]
    assert outcome(result, "Contoso") == ("applied", "")
    (operation,) = due.operations()
    assert (operation.outcome, operation.quantity, operation.settled) == (
        "applied",
        count(first),
        True,
    )
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    30,
    injection="503 with `Retry-After` on a create that was applied",
    outcome="read back: confirmed; one request, one line",
)
def test_a_create_that_a_gateway_calls_unavailable_is_not_sent_again(due: Trial, first: bool):
    due.fault("status", CREATE, code=503, headers={"Retry-After": "30"}, applied=True)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert effective(due) == [count(first)]
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [False], ids=["update"])
@pytest.mark.fault(
    31,
    injection="500 on an update that was not applied",
    outcome="read back: not there; sent once more, one effective write",
)
def test_an_update_that_was_not_applied_is_sent_once_more(due: Trial, first: bool):
    due.fault("status", match(first), code=500)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 2)
    assert effective(due) == [count(first)]
    due.heals(due.contoso)


def is_left_to_a_person(trial: Trial) -> None:
    """A create that nobody can tell of is held from now on, and made once where it is accepted."""
    for _ in range(2):
        held = trial.sync()
        assert (held.code, held.writes) == (6, [])
        assert trouble(held, "Contoso").guard == "deleted"
        assert len(trial.pending()) == 1
    trial.heals(trial.contoso, accept=True)
    assert len(effective(trial)) == 1


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("status", {"code": 500}), ("status", {"code": 504}), ("reset_before", {})],
    ids=["500", "504", "reset"],
)
@pytest.mark.fault(
    35,
    injection="500, 504 or RST on a create that was really not done",
    outcome="unknown, exit 7, and not sent again: it could show later; held as `deleted` from the "
    "next run on, and made once where that is accepted",
)
def test_a_create_that_is_not_shown_is_never_sent_again_by_itself(
    due: Trial, kind: str, options: dict[str, object]
):
    due.fabrikam.mapped = True
    due.fault(kind, f"POST */agreements/{due.contoso.agreement_id}/*", **options)

    result = due.sync()

    assert (result.code, len(result.writes)) == (7, 2)
    what, why = outcome(result, "Contoso")
    assert what == "unknown"
    assert "The PSA does not show the new line. It is not sent again" in why
    assert due.fabrikam.quantities == {due.product: 3}
    assert effective(due) == []
    is_left_to_a_person(due)


@pytest.mark.parametrize("first", [False], ids=["update"])
@pytest.mark.parametrize("code", [502, 503, 504])
@pytest.mark.fault(
    32,
    injection="502, 503 or 504 on every update of one client",
    outcome="read back after each of two sends: failed, exit 7; other clients are billed",
)
def test_a_psa_that_stays_down_fails_that_write_alone(due: Trial, first: bool, code: int):
    due.fabrikam.mapped = True
    path = f"{match(first).split()[0]} */agreements/{due.contoso.agreement_id}/*"
    due.fault("status", path, times=None, code=code)

    result = due.sync()

    mine = [one for one in result.writes if str(due.contoso.agreement_id) in one.path]
    assert (result.code, len(mine)) == (7, 2)
    what, why = outcome(result, "Contoso")
    assert what == "failed"
    assert f"It answered {code}" in why
    assert "it was not written; the next run tries again" in why
    assert "need attention: Contoso (failed: " in due.sentence
    assert due.sentence.endswith("; `kisi status` says more.")
    assert len(due.sentence) <= 160  # two lines of a terminal
    assert f"It answered {code}" in due.operator.run("status").out
    assert due.fabrikam.quantities == {due.product: 3}
    assert effective(due) == [6]
    assert due.pending() == ()
    due.heals()


@pytest.mark.parametrize("first", [False], ids=["update"])
@pytest.mark.fault(
    33,
    injection="the answer to an update is lost (RST)",
    outcome="read back: confirmed, one request",
)
def test_a_lost_answer_to_an_update_is_confirmed(due: Trial, first: bool):
    due.fault("lost", UPDATE)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert effective(due) == [8]
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    34,
    injection="the answer to a create is lost (RST)",
    outcome="found by agreement and product: adopted as ours; never two lines",
)
def test_a_lost_answer_to_a_create_finds_its_line(due: Trial, first: bool):
    due.fault("lost", CREATE)

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    (line,) = due.contoso.additions
    (operation,) = due.operations()
    assert (operation.outcome, operation.quantity) == ("applied", 6)
    assert result.company("Contoso")["lines"][0]["line_id"] == str(line.id)
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    34,
    injection="the answer to a create is lost, and reading back fails for the rest of the run",
    outcome="unknown, exit 7, nothing sent again; the next run finds the line: one line",
)
def test_a_create_that_cannot_be_looked_for_is_not_sent_again(due: Trial, first: bool):
    due.fault("lost", CREATE)
    due.fault("status", "GET */additions", after=2, times=None, code=500)

    result = due.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    what, why = outcome(result, "Contoso")
    assert what == "unknown"
    assert "Reading back failed too" in why
    (pending,) = due.pending()
    assert pending.outcome == "unknown"
    due.heals(due.contoso)


@BOTH
@pytest.mark.parametrize("kept", [5.0, 7.5], ids=["capped", "rounded"])
@pytest.mark.fault(
    36,
    injection="ConnectWise keeps another quantity than was sent (a cap, rounding)",
    outcome="unknown, exit 7; the quantity is shown, and held from the next run on",
)
def test_another_quantity_than_was_sent_is_not_taken_for_ours(due: Trial, first: bool, kept: float):
    writer = due.sandbox.cw.writer
    writer.keep_quantity = lambda _: kept

    result = due.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    what, why = outcome(result, "Contoso")
    assert what == "unknown"
    assert f"the PSA shows {kept} instead of {count(first)}; the next run holds it" in why
    assert effective(due) == [kept]
    writer.keep_quantity = float
    held = due.sync()
    assert (held.code, held.writes) == (6, [])
    due.heals(due.contoso, accept=True)


@BOTH
@pytest.mark.fault(
    37,
    injection="a lost answer, and the PSA shows the write only three seconds later",
    outcome="read back after 0, 1, 2 and 4 seconds: confirmed, nothing sent twice",
)
def test_a_write_that_shows_late_is_waited_for(due: Trial, first: bool):
    due.sandbox.cw.lag(seconds=3)
    due.fault("lost", match(first))

    result = due.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert due.operator.slept[-2:] == [1.0, 2.0]
    assert effective(due) == [count(first)]
    due.sandbox.cw.lag()
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    37,
    injection="the answer to a create is lost, and the PSA shows the line only 14 seconds later",
    outcome="unknown, exit 7, one request; the next run takes the line over: one line",
)
def test_a_create_that_shows_after_kisi_has_gone_is_one_line(due: Trial):
    due.fault("twist", CREATE, lag=14)
    due.fault("lost", CREATE)

    result = due.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    assert outcome(result, "Contoso")[0] == "unknown"
    assert effective(due) == [6]
    due.operator.next_night()
    due.heals(due.contoso)
    assert len(due.sandbox.requests(method="POST", server="connectwise")) == 1


@pytest.mark.parametrize("comes", [True, False], ids=["it comes", "it never was"])
@pytest.mark.fault(
    37,
    injection="a create is answered and not shown; then a tenant of it is another client's",
    outcome="the other client waits for the line (`elsewhere`), exit 6; once it is shown, or "
    "`check --repair` says that it is not there, both are right: no device is billed twice",
)
def test_a_tenant_of_a_line_that_is_not_shown_yet_is_not_billed_elsewhere(
    operator: Operator, comes: bool
):
    desk = Desk(operator)
    third = operator.client("Third", workstations=20)
    lab = Row("Lab", (f"hq:{third.tenant}",), desk.new)
    desk.maps(lab)
    desk.sync(0)
    if comes:
        operator.sandbox.faults.add("twist", match="POST */additions", lag=100_000)
    else:
        operator.sandbox.faults.add("reset_before", match="POST */additions")
    desk.maps(Row("Contoso", (desk.n, desk.s), desk.old), lab)
    desk.sync(7)
    desk.maps(Row("Contoso", (desk.n,), desk.old), replace(lab, tenants=(*lab.tenants, desk.s)))
    for _ in range(2):
        said = desk.sync(6)
        assert "Lab (held: elsewhere)" in said, said
        assert desk.billed(desk.new) == [[20]]
    assert "of Contoso (agreement" in " ".join(operator.run("preview").out.split())
    assert "counted 29: on hold (elsewhere)" in operator.run("explain", "Lab").out
    if comes:
        operator.next_night()
        operator.next_night()
        assert "Contoso (held: decrease), Lab (held: waits for line " in desk.sync(6)
        desk.sync(0, "--accept", operator.run("preview", "--json").document["plan_id"])
    else:
        check = operator.run("check")
        assert (check.code, "Contoso: the new line of product" in check.out) == (0, True)
        repaired = operator.run("check", "--repair")
        assert (repaired.code, repaired.err) == (
            0,
            "1 open write acknowledged: the next run writes.\n",
        )
        assert "new line" not in operator.run("check").out
    desk.sync(0)
    assert desk.billed(desk.old, desk.new) == [[6], [29]]
    desk.sync(0)


@BOTH
@pytest.mark.parametrize("lag", [3, 60])
@pytest.mark.fault(
    37,
    injection="the answer shows the new quantity, and the list still the old one",
    outcome='the list is read again after 1, 2 and 4 seconds: confirmed, or unknown ("not yet '
    'shown", exit 7) and settled by the next run; nothing sent twice',
)
def test_an_answer_counts_once_the_list_shows_it(due: Trial, first: bool, lag: int):
    due.fault("twist", match(first), lag=lag)

    result = due.sync()

    what, why = outcome(result, "Contoso")
    assert len(result.writes) == 1
    if lag == 3:
        assert (result.code, what) == (0, "applied")
    else:
        assert (result.code, what) == (7, "unknown")
        assert "not yet shown" in why
        assert "not yet shown" in due.sentence
        assert [one.outcome for one in due.pending()] == ["unknown"]
    due.operator.next_night()
    due.heals(due.contoso)
    assert effective(due) == [count(first)]
    writes = [one for one in due.sandbox.log if one.method in {"POST", "PATCH"}]
    assert len([one for one in writes if one.server == "connectwise"]) == 1


@BOTH
@pytest.mark.fault(
    37,
    injection="the answer shows the new quantity, and the list cannot be read afterwards",
    outcome="unknown, exit 7; the next run finds it written and sends nothing",
)
def test_a_list_that_cannot_be_read_proves_nothing(due: Trial, first: bool):
    due.fault("status", "GET */additions", after=2 if first else 1, times=None, code=500)

    result = due.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    assert outcome(result, "Contoso")[0] == "unknown"
    assert len(due.pending()) == 1
    due.heals(due.contoso)
    assert effective(due) == [count(first)]


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    35,
    injection="ConnectWise makes a new line, and answers that its period is invoiced already",
    outcome="looked for before it is sent for the next invoice: one line, exit 0",
)
def test_a_refused_period_is_no_proof_that_nothing_was_made(due: Trial):
    said = "Since this period has already been invoiced there will not be an invoice generated."
    refusal = {"code": "InvalidObject", "message": said}
    due.fault("status", CREATE, code=400, body=refusal, applied=True)

    result = due.sync()

    assert (result.code, len(result.writes), effective(due)) == (0, 1, [6])
    due.heals(due.contoso)
    assert effective(due) == [6]


def another_writer(trial: Trial) -> None:
    """Somebody else adds Contoso's line, as a person or a second kisi would."""
    trial.world.add_line(trial.contoso.agreement_id, trial.product, 6)


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    38,
    injection="somebody adds the same line after the plan was made, before kisi creates it",
    outcome="seen by the read before the create: not created, exit 7; the next run takes it over",
)
def test_a_line_that_appears_before_its_create_is_not_made_twice(due: Trial):
    due.fault("call", "GET */additions", after=1, function=lambda: another_writer(due))

    result = due.sync()

    assert (result.code, result.writes) == (7, [])
    what, why = outcome(result, "Contoso")
    assert what == "failed"
    assert "a line of this product appeared meanwhile" in why
    assert due.pending() == ()
    due.heals(due.contoso)
    assert effective(due) == [6]


@pytest.mark.parametrize("first", [True], ids=["create"])
@pytest.mark.fault(
    38,
    injection="somebody adds the same line in the moment in which kisi creates it",
    outcome="seen by the read after the create: exit 6 in the same run, naming both lines; the "
    "client fails as ambiguous until one is cancelled",
)
def test_a_double_is_said_in_the_run_that_made_it(due: Trial):
    due.fault("call", CREATE, function=lambda: another_writer(due))

    result = due.sync()

    theirs, ours = due.contoso.additions
    assert (result.code, len(result.writes)) == (6, 1)
    what, why = outcome(result, "Contoso")
    assert what == "applied"
    assert f"several lines of this product: {theirs.id}, {ours.id}" in why
    assert trouble(result, "Contoso").guard == "ambiguous"
    assert "need attention: Contoso (held: ambiguous)" in due.sentence
    again = due.sync()
    assert (again.code, again.writes) == (6, [])
    assert trouble(again, "Contoso").guard == "ambiguous"
    del due.world.lines[theirs.id]
    due.heals(due.contoso)


@pytest.mark.parametrize("first", [True, False], ids=["answered", "refused"])
@pytest.mark.fault(
    37,
    injection="devices get another licence; the fall of their old line is answered and not shown, "
    "or refused",
    outcome="the new line is not sent, exit 7, and says for which it waits; both are right after "
    "the next run: no device is on two lines",
)
def test_a_rise_is_not_sent_before_its_fall_is_shown(trial: Trial, first: bool):
    new = trial.world.product("EDR Optimum").id
    trial.world.billing.bill("Kaspersky Next EDR Optimum", all=new)
    trial.fabrikam.add_devices(n=400)
    assert trial.sync("--accept", trial.sync().document["plan_id"]).code in {0, 6}
    moved = trial.contoso.devices()[:1]
    del trial.contoso.first_key.uses[0]
    trial.contoso.key("Kaspersky Next EDR Optimum, 100 nodes", devices=moved)
    if first:
        trial.fault("twist", UPDATE, lag=60)
    else:
        trial.fault("status", UPDATE, code=400)

    result = trial.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    fall, rise = result.company("Contoso")["lines"]
    assert (fall["outcome"], rise["outcome"]) == ("unknown" if first else "failed", "failed")
    assert "of Contoso on agreement" in rise["detail"]
    assert "could not be brought down first" in rise["detail"]
    assert trial.contoso.quantities == {trial.product: 5 if first else 6}
    trial.operator.next_night()
    assert trial.sync().code == 0
    assert trial.contoso.quantities == {trial.product: 5, new: 1}
