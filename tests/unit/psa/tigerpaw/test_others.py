"""What became of a submit is never forgotten: not by a crash, and not until a person has looked."""

from __future__ import annotations

import pytest

from kisi.errors import ForeignChange
from kisi.model import Outcome
from tests.unit.psa.tigerpaw.conftest import SUBMIT

CHARGES = "GET /api/agreements/7001/additionalcharges"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def agreement(scene):
    scene.world.item("KES-WS", 4.5)
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.world.charge(agreement, "BACKUP", 5, price=9.0, description="Wächter")
    return agreement


@pytest.fixture
def other(scene, agreement):
    return scene.world.agreement(agreement.account)


@pytest.fixture
def killed(scene, agreement, monkeypatch):
    """A process that created a charge and ended between submit and look; gives its operation."""

    def end(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("kisi.apply.write.Writer._read_back", end)
        with pytest.raises(Killed):
            scene.write(scene.open(), agreement, "KES-WS", 90)
    (operation,) = scene.journal.unproven()
    assert (scene.world.submits, operation.outcome) == (1, None)
    scene.log.clear()
    return operation


def backup(scene, agreement):
    return next(one for one in scene.world.charges(agreement) if one.item == "BACKUP")


@pytest.mark.usefixtures("agreement")
def test_the_intent_holds_what_is_submitted_and_the_charges_as_they_were(killed):
    assert (killed.line.product, killed.line.after) == ("KES-WS", 90)
    (before,) = killed.lines_before
    assert (before.description, before.quantity, before.raw["Price"]) == ("Wächter", 5, 9.0)


def test_nothing_is_sent_before_an_earlier_submit_elsewhere_is_proven(scene, other, killed):
    assert scene.write(scene.open(), other, "KES-WS", 1).outcome is Outcome.APPLIED
    calls = scene.calls()
    assert calls.index(CHARGES) < calls.index(SUBMIT)
    assert scene.unproven() == []


def test_a_submit_that_never_arrived_is_proven_too(scene, agreement, other, killed):
    del scene.world.lines[scene.world.charges(agreement)[-1].id]
    assert scene.write(scene.open(), other, "KES-WS", 1).outcome is Outcome.APPLIED
    assert scene.unproven() == []


def test_what_a_killed_process_wiped_is_named_and_stops_everything(scene, agreement, other, killed):
    del scene.world.lines[backup(scene, agreement).id]
    with pytest.raises(ForeignChange, match=r"\(BACKUP\) with quantity 5 is gone") as caught:
        scene.write(scene.open(), other, "KES-WS", 1)
    assert "write of 2026-11-21 20:00 UTC for item KES-WS on agreement 7001" in caught.value.message
    assert "kisi check --repair" in caught.value.remedy
    (found,) = scene.journal.foreign_changes()
    assert [charge["ItemDescription"] for charge in found.lines] == ["Wächter"]
    assert (scene.world.submits, scene.unproven()) == (1, [])


def test_nothing_is_sent_while_an_earlier_submit_cannot_be_proven(scene, other, killed):
    scene.faults.add("status", match=CHARGES, times=None, code=500)
    receipt = scene.write(scene.open(), other, "KES-WS", 1)
    assert receipt.outcome is Outcome.FAILED
    assert "an earlier write to agreement 7001 did is not known" in receipt.detail
    assert (scene.world.submits, scene.unproven()) == (1, ["7001"])
    assert scene.journal.acknowledge() == 1
    assert scene.write(scene.open(), other, "KES-WS", 1).outcome is Outcome.APPLIED


def test_a_text_that_is_no_unicode_is_kept_as_it_came(scene, agreement, killed):
    scene.faults.add(
        "status",
        match=CHARGES,
        code=200,
        body=b'[{"DetailId": 1, "SpecialItemId": "KES", "Quantity": 2, "ItemDescription": "\\ud800"}]',
    )
    lines = scene.open().lines(scene.ref(agreement))
    scene.journal.keep_lines(killed, lines)
    (again,) = scene.journal.unproven()
    assert again.lines_before == lines
