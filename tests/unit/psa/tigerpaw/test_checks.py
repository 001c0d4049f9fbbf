from __future__ import annotations

from datetime import timedelta

import pytest

from kisi.model import Level


@pytest.fixture
def filled(scene):
    scene.world.agreement(scene.world.account("Contoso"))
    scene.world.item("KES-WS")
    return scene


def findings(scene, **settings):
    return scene.open(**settings).check_online(None)


def problems(found):
    return [finding.message for finding in found if finding.level is Level.PROBLEM]


def test_a_tigerpaw_in_order_has_no_problems_and_nothing_is_written(filled):
    found = findings(filled)
    assert problems(found) == []
    text = " ".join(finding.message for finding in found)
    assert "accepted the REST keys" in text
    assert "database version 18.2.1" in text
    assert 'has the External Product "Kaspersky"' in text
    assert "Price book items" in text
    assert filled.world.submits == 0


def test_refused_keys_are_the_only_finding(filled):
    filled.clock.start += timedelta(hours=1)
    (finding,) = findings(filled)
    assert finding.level is Level.PROBLEM
    assert "clock" in finding.remedy


@pytest.mark.parametrize(("minutes", "direction"), [(10, "ahead of"), (-10, "behind")])
def test_a_clock_that_is_off_is_a_problem_before_it_is_refused(filled, minutes, direction):
    filled.clock.start += timedelta(minutes=minutes)
    (message,) = problems(findings(filled))
    assert f"10 minutes {direction}" in message


def test_a_server_without_a_readable_date_leaves_the_clock_open(filled):
    filled.faults.add(
        "status",
        match="GET /api/diagnostics/validate/user",
        code=200,
        body={"Success": True},
        headers={"Date": "today"},
    )
    found = findings(filled)
    assert problems(found) == []
    assert any("what time it is" in finding.message for finding in found)


def test_a_missing_external_product_is_a_problem(filled):
    (message,) = problems(findings(filled, external_product="Kasperski"))
    assert 'no External Product "Kasperski"' in message


def test_an_inactive_external_product_is_a_problem(filled):
    body = [{"Product": "Kaspersky", "Active": False}, None]
    filled.faults.add("status", match="GET /api/mastertables/*", code=200, body=body)
    (message,) = problems(findings(filled))
    assert "is not active" in message


def test_an_archived_database_is_a_problem(filled):
    body = {"IsArchivedDatabase": True}
    filled.faults.add("status", match="*productInformation", code=200, body=body)
    (message,) = problems(findings(filled))
    assert "archived database" in message


def test_an_unknown_version_is_only_noted(filled):
    filled.faults.add("status", match="*productInformation", code=200, body=[])
    found = findings(filled)
    assert problems(found) == []
    assert any("which version" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("match", "count"),
    [("*productInformation", 1), ("GET /api/mastertables/*", 1), ("POST *", 3)],
)
def test_each_read_that_fails_is_a_finding_of_its_own(filled, match, count):
    filled.faults.add("status", match=match, times=None, code=500)
    assert len(problems(findings(filled))) == count


def test_a_right_without_a_single_record_is_suspicious(scene):
    assert len(problems(findings(scene))) == 3


@pytest.mark.parametrize(
    ("settings", "level", "said"),
    [
        ({"write": "report"}, Level.NOTE, "kisi writes nothing there"),
        ({"soap_template_verified": False}, Level.PROBLEM, "is not proven"),
        ({}, Level.NOTE, "shows only at a write"),
    ],
)
def test_the_last_finding_says_whether_kisi_writes(filled, settings, level, said):
    last = findings(filled, **settings)[-1]
    assert last.level is level
    assert said in last.message
