"""The same of Tigerpaw, whose one write proves itself by reading all charges before and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kisi.journal import Journal, Operation
from tests.e2e.conftest import Operator, Result
from tests.e2e.tigerpaw_side import TigerpawSide, submits
from tests.faults.conftest import outcome
from tests.faults.secrecy import no_secrets

SUBMIT = "POST /api/rmm/tsiWS.asmx"


class Ledger:
    """A client in Tigerpaw whose charge is due, beside a charge of another vendor."""

    def __init__(self, operator: Operator, *, first: bool) -> None:
        self.operator = operator
        self.first = first
        self.side = TigerpawSide(operator)
        self.item = self.side.bill_as_one()
        self.client = self.side.client("Northwind", workstations=6)
        self.other = self.side.tigerpaw.charge(self.client.agreement, "BACKUP", 5, price=9.0)
        self.results: list[Result] = []
        if not first:
            assert self.sync().code == 0
            self.client.add_devices("workstation", 2)

    @property
    def due(self) -> int:
        """What is to be billed."""
        return 6 if self.first else 8

    def fault(self, kind: str, match: str, **options: Any) -> None:
        """Sets a fault switch."""
        self.operator.sandbox.faults.add(kind, match=match, **options)

    def sync(self, *arguments: str) -> Result:
        """`kisi sync`."""
        self.results.append(self.operator.sync("-vv", *arguments))
        return self.results[-1]

    def pending(self) -> tuple[Operation, ...]:
        """Writes of which nobody knows what they did."""
        with Journal.open(self.operator.state, readonly=True) as journal:
            return journal.pending()

    def heals(self, *, accept: bool = False) -> None:
        """A clean run bills once, the next writes nothing, and no other charge has moved.

        Args:
            accept: A person has to release the new charge first, which nobody can tell of.
        """
        self.operator.sandbox.faults.clear()
        result = self.sync()
        if accept:
            assert (result.code, submits(result)) == (6, [])
            client = result.company("Northwind")
            assert [line["hold"]["guard"] for line in client["lines"]] == ["deleted"]
            result = self.sync("--accept", client["plan_id"])
        assert result.code == 0, result.err
        assert self.client.quantities == {self.item: self.due, "BACKUP": 5}
        assert self.other.price == 9.0
        again = self.sync()
        assert (again.code, submits(again)) == (0, [])
        assert self.pending() == ()
        with Journal.open(self.operator.state, readonly=True) as journal:
            assert (journal.unproven(), journal.foreign_changes()) == ((), ())


@pytest.fixture(params=[True, False], ids=["create", "update"])
def ledger(operator: Operator, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """The charge is to be created, or to be updated."""
    ledger = Ledger(operator, first=request.param)
    yield ledger
    no_secrets(operator.folder, ledger.results)


@pytest.mark.fault(
    25, injection="Tigerpaw resets every connection on reading", outcome="exit 5, no submit"
)
def test_a_tigerpaw_that_cannot_be_read_is_not_written_to(ledger: Ledger):
    ledger.fault("reset_before", "GET *", times=None)

    result = ledger.sync()

    assert (result.code, submits(result)) == (5, [])
    assert "need attention: Northwind (psa: " in result.document["last_line"]
    ledger.heals()


@pytest.mark.fault(
    26, injection="401 on a Tigerpaw submit", outcome="exit 7; nothing more is submitted"
)
def test_a_refused_soap_login_submits_nothing_more(ledger: Ledger):
    ledger.fault("status", SUBMIT, times=None, code=401)

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (7, 1)
    assert outcome(result, "Northwind")[0] == "failed"
    assert ledger.pending() == ()
    ledger.heals()


@pytest.mark.fault(
    29,
    injection="429 with `Retry-After` on a Tigerpaw submit",
    outcome="waits, one effective submit",
)
def test_a_throttled_submit_is_sent_when_tigerpaw_says(ledger: Ledger):
    ledger.fault("status", SUBMIT, code=429, headers={"Retry-After": "30"})

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (0, 2)
    assert 30 in ledger.operator.slept
    ledger.heals()


UNCLEAR = {
    "500": ("status", {"code": 500, "applied": True}),
    "lost": ("lost", {}),
    "truncated": ("truncate", {}),
}


@pytest.mark.parametrize(("kind", "options"), UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.fault(
    34,
    injection="a Tigerpaw submit is applied, and its answer is 500, lost or cut",
    outcome="the charges show it: confirmed; one submit, one charge",
)
def test_an_applied_submit_with_an_unclear_answer_is_confirmed(
    ledger: Ledger, kind: str, options: dict[str, Any]
):
    ledger.fault(kind, SUBMIT, **options)

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (0, 1)
    assert outcome(result, "Northwind")[0] == "applied"
    ledger.heals()


@pytest.mark.parametrize("kind", ["reset_before", "status"])
@pytest.mark.fault(
    35,
    injection="a Tigerpaw submit was not carried out (RST, 500)",
    outcome="a changed charge is submitted once more; a new one is unknown, exit 7, and submitted "
    "again only once that is accepted: one charge",
)
def test_a_changed_charge_that_was_not_carried_out_is_sent_once_more(ledger: Ledger, kind: str):
    ledger.fault(kind, SUBMIT, **({"code": 500} if kind == "status" else {}))

    result = ledger.sync()

    if ledger.first:
        assert (result.code, len(submits(result))) == (7, 1)
        assert outcome(result, "Northwind")[0] == "unknown"
    else:
        assert (result.code, len(submits(result))) == (0, 2)
    ledger.heals(accept=ledger.first)


@pytest.mark.fault(
    32,
    injection="502 on every Tigerpaw submit",
    outcome="the charges show no write: a change failed after two submits, a new charge is unknown "
    "after one; exit 7",
)
def test_a_tigerpaw_that_stays_down_fails_the_write(ledger: Ledger):
    ledger.fault("status", SUBMIT, times=None, code=502)

    result = ledger.sync()

    what, why, sent = (
        ("unknown", "It is not sent again", 1)
        if ledger.first
        else ("failed", "the next run tries again", 2)
    )
    assert (result.code, len(submits(result))) == (7, sent)
    assert outcome(result, "Northwind")[0] == what
    assert why in outcome(result, "Northwind")[1]
    assert f"need attention: Northwind ({what}: " in result.document["last_line"]
    ledger.heals(accept=ledger.first)


def shows_what_was(ledger: Ledger, *, count: bool) -> None:
    """From now on Tigerpaw shows the charges of this moment; with `count` their number too."""
    agreement = ledger.client.agreement
    path = f"GET /api/agreements/{agreement.number}"
    charges = [charge.record() for charge in ledger.client.charges]
    ledger.fault("status", f"{path}/additionalcharges", times=None, code=200, body=charges)
    if count:
        body = agreement.record(len(charges))
        ledger.fault("status", path, times=None, code=200, body=body)


@pytest.mark.parametrize("count", [True, False], ids=["stale", "short"])
@pytest.mark.fault(
    35,
    injection="Tigerpaw says `Success: true` to a new charge, and goes on showing the old charges",
    outcome="exit 7, one submit; the next run submits nothing (held as `deleted`, or exit 5 where "
    "the agreement counts more); once it shows, it is taken over: one charge",
)
def test_an_acknowledged_charge_that_is_not_shown_is_never_submitted_again(
    operator: Operator, *, count: bool
):
    ledger = Ledger(operator, first=True)
    both = {ledger.item: 6, "BACKUP": 5}
    shows_what_was(ledger, count=count)

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (7, 1)
    assert outcome(result, "Northwind")[0] == "unknown"
    said = "The PSA does not show the new line" if count else "charges and gave 1 of them"
    assert said in outcome(result, "Northwind")[1]
    assert ledger.client.quantities == both
    for _ in range(2):
        again = ledger.sync()
        assert (again.code, submits(again)) == (6 if count else 5, [])
        assert ledger.client.quantities == both
        assert len(ledger.pending()) == 1
    if count:
        (line,) = again.company("Northwind")["lines"]
        assert line["hold"]["guard"] == "deleted"
    ledger.heals()
    assert ledger.side.tigerpaw.submits == 1
    no_secrets(operator.folder, ledger.results)


@pytest.mark.fault(
    35,
    injection="Tigerpaw says `Success: true` to a new charge, and makes none",
    outcome="exit 7, one submit; held as `deleted`; its id submits it once more: one charge",
)
def test_an_acknowledged_charge_that_was_never_made_is_submitted_by_its_id(operator: Operator):
    ledger = Ledger(operator, first=True)
    ledger.fault("twist", SUBMIT, ignore=True)
    assert ledger.sync().code == 7
    held = ledger.sync()
    assert (held.code, submits(held)) == (6, [])

    result = operator.sync("--accept", held.company("Northwind")["plan_id"])

    assert (result.code, len(submits(result))) == (0, 1)
    ledger.heals()


@pytest.mark.parametrize(
    "said", ["Login failed", "Invalid login", "Access denied", "Unauthorized", "Bad credentials"]
)
@pytest.mark.fault(
    26,
    injection="Tigerpaw refuses the SOAP login in other words, for several clients",
    outcome="exit 7; one wrong login",
)
def test_a_wrong_soap_password_makes_one_wrong_login(operator: Operator, said: str):
    ledger = Ledger(operator, first=True)
    for number in range(3):
        ledger.side.client(f"Client {number}", workstations=2)
    ledger.fault("twist", SUBMIT, times=None, fault=said)

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (7, 1)
    assert "the PSA refused our credentials" in result.err


@pytest.mark.fault(
    26,
    injection="403 on the agreement of one Tigerpaw client",
    outcome="that client fails (exit 5), the others are billed",
)
def test_an_agreement_that_may_not_be_read_stops_nobody_else(operator: Operator):
    ledger = Ledger(operator, first=True)
    other = ledger.side.client("Zeta", workstations=2)
    agreement = ledger.client.agreement.number
    ledger.fault("status", f"GET /api/agreements/{agreement}", times=None, code=403)

    result = ledger.sync()

    assert (result.code, len(submits(result))) == (5, 1)
    assert other.quantities == {ledger.item: 2}
    assert "with 403" in result.company("Northwind")["reason"]
    ledger.heals()
