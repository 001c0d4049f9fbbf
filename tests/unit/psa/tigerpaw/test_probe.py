from __future__ import annotations

import pytest

from kisi.errors import ConfigError, PsaError
from tests.unit.psa.tigerpaw.conftest import SUBMIT


@pytest.fixture
def scratch(scene):
    scene.world.item("KES-WS", 4.5)
    agreement = scene.world.agreement(scene.world.account("Scratch"))
    scene.world.charge(agreement, "BACKUP", 5, price=9.0)
    return agreement


def probe(scene, *, answer=True, item="KES-WS", agreement="7001"):
    asked = []

    def confirm(question):
        asked.append(question)
        return answer

    psa = scene.open(soap_template_verified=False)
    steps = list(psa.probe(agreement, item, confirm))
    return steps, asked


def test_a_template_that_works_is_proven_in_five_steps(scene, scratch):
    steps, asked = probe(scene)
    assert [step.passed for step in steps] == [True] * 5
    assert "set soap_template_verified = true" in steps[-1].message
    assert len(asked) == 1
    assert [charge.quantity for charge in scene.world.charges(scratch)] == [5, 0]
    assert scene.world.submits == 4


@pytest.mark.usefixtures("scratch")
def test_nothing_is_sent_without_a_yes(scene):
    steps, _ = probe(scene, answer=False)
    assert [step.passed for step in steps] == [True, False]
    assert scene.world.submits == 0


def test_a_template_that_replaces_the_list_fails_at_the_first_submit(scene, scratch):
    scene.world.replace = True
    steps, _ = probe(scene)
    assert [step.passed for step in steps] == [True, False]
    assert "BACKUP" in steps[-1].message
    assert "must not be used" in steps[-1].message


@pytest.mark.parametrize(
    ("fault", "after", "passed", "said"),
    [
        ({"double": True}, 0, 1, "is new"),
        ({"refuse": "Unknown element Quantity"}, 0, 1, "Unknown element Quantity"),
        ({"ignore": True}, 1, 2, "shows 1"),
        ({"fault": "Line is billed"}, 3, 4, "shows 2"),
    ],
)
@pytest.mark.usefixtures("scratch")
def test_a_step_that_does_not_show_its_effect_ends_the_probe(scene, fault, after, passed, said):
    scene.faults.add("twist", match=SUBMIT, after=after, **fault)
    steps, _ = probe(scene)
    assert [step.passed for step in steps] == [True] * passed + [False]
    assert said in steps[-1].message


def test_a_repeat_that_changes_our_charge_ends_the_probe(scene, scratch):
    def rename():
        scene.world.charges(scratch)[-1].description = "changed"

    match = "GET /api/agreements/7001/additionalcharges"
    scene.faults.add("call", match=match, after=3, function=rename)
    steps, _ = probe(scene)
    assert [step.passed for step in steps] == [True] * 3 + [False]
    assert "Submitting the same again changed charge" in steps[-1].message


def test_the_agreement_must_hold_a_charge_to_watch(scene, scratch):
    scene.world.lines.clear()
    steps, _ = probe(scene)
    assert [step.passed for step in steps] == [False]
    assert "no recurring charge with a quantity" in steps[0].message


def test_the_agreement_must_not_hold_the_item_already(scene, scratch):
    scene.world.charge(scratch, "KES-WS", 5)
    steps, _ = probe(scene)
    assert "has a charge of item KES-WS already" in steps[0].message


def test_a_tigerpaw_that_cannot_be_read_ends_the_probe(scene, scratch):
    scene.faults.add("status", match="*additionalcharges", times=None, code=500)
    steps, _ = probe(scene)
    assert [step.passed for step in steps] == [False]


@pytest.mark.parametrize("agreement", ["9999", "seven"])
def test_the_agreement_must_exist(scene, scratch, agreement):
    with pytest.raises(PsaError, match="has no agreement"):
        probe(scene, agreement=agreement)


def test_the_probe_needs_the_soap_login(scene):
    with pytest.raises(ConfigError, match="needs the SOAP login"):
        scene.open(write="report").probe("7001", "KES-WS", lambda _: True)
