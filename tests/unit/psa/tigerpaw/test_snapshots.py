"""What became of a submit is never forgotten: not by a crash, and not until a person has looked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from kisi.errors import ForeignChange, StateError
from kisi.model import WriteStatus
from kisi.psa.tigerpaw.kept import find, load, save
from kisi.psa.tigerpaw.records import read_charges
from kisi.psa.tigerpaw.snapshot import Snapshot
from kisi.psa.tigerpaw.soap import ChargeValues
from tests.unit.psa.tigerpaw.conftest import NOW, SUBMIT

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
    """A process that created a charge and ended between submit and look; gives its file."""

    def end(*_):
        raise Killed

    psa = scene.open()
    monkeypatch.setattr(psa.writer, "prove", end)
    with pytest.raises(Killed):
        scene.write(psa, agreement, "KES-WS", 90)
    (path,) = scene.kept()
    assert scene.world.submits == 1
    return path


@pytest.fixture
def foreign(scene, agreement):
    """The file of a write that wiped another charge."""
    scene.world.replace = True
    with pytest.raises(ForeignChange):
        scene.write(scene.open(), agreement, "KES-WS", 90)
    scene.world.replace = False
    (path,) = scene.kept()
    return path


def backup(scene, agreement):
    return next(one for one in scene.world.charges(agreement) if one.item == "BACKUP")


def everything(scene):
    return {path: path.read_bytes() for path in scene.kept()}


# --- a foreign change ------------------------------------------------------------------------------


def test_after_a_foreign_change_later_runs_send_nothing_until_the_file_is_deleted(
    scene, agreement, other, foreign
):
    psa = scene.open()
    hold = psa.withheld()
    assert foreign.name.endswith(".foreign.json")
    assert hold.guard == "foreign-change"
    assert f"(agreement 7001, 2026-11-21 20:00 UTC, {foreign})" in hold.reason
    assert "Then delete the file" in hold.remedy
    receipt = scene.write(psa, other, "KES-WS", 1)
    assert (receipt.status, receipt.message) == (WriteStatus.REJECTED, hold.reason)
    assert [line.quantity for line in psa.lines(scene.ref(agreement))] == [90]
    foreign.unlink()
    assert psa.withheld() is None
    assert scene.write(psa, other, "KES-WS", 1).status is WriteStatus.APPLIED


@pytest.mark.parametrize(
    "settings", [{"write": "report"}, {"soap_template_verified": False}], ids=["report", "template"]
)
@pytest.mark.usefixtures("foreign")
def test_a_foreign_change_is_told_before_any_other_reason(scene, settings):
    assert scene.open(**settings).withheld().guard == "foreign-change"


def test_the_agreement_itself_is_not_fit_to_bill_while_the_file_is_there(
    scene, agreement, other, foreign
):
    not_billable = scene.validated(agreement).not_billable
    assert not_billable.guard == "foreign-change"
    assert f"is {foreign}." in not_billable.reason
    assert scene.validated(other).not_billable is None
    foreign.unlink()
    assert scene.validated(agreement).not_billable is None


def test_the_first_files_are_named_and_the_others_counted(scene, foreign):
    for number in range(7002, 7006):
        foreign.with_name(foreign.name.replace("7001", str(number))).touch()
    reason = scene.open().withheld().reason
    assert "agreement 7003," in reason
    assert "agreement 7004" not in reason
    assert "and 2 more" in reason


@pytest.mark.parametrize("name", ["tp-2-7001-20261121T200000.000000Z", "notes", "tp-7001-new"])
def test_files_that_are_not_of_this_tigerpaw_mean_nothing(scene, foreign, name):
    foreign.rename(foreign.with_name(f"{name}.foreign.json"))
    assert scene.open().withheld() is None


def test_a_file_that_cannot_be_renamed_still_stops_this_run_and_the_next(
    scene, agreement, other, killed, monkeypatch
):
    backup(scene, agreement).quantity = 6
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        psa = scene.open()
        with pytest.raises(ForeignChange, match="quantity 5 to 6"):
            psa.lines(scene.ref(agreement))
    assert psa.withheld().guard == "foreign-change"
    assert scene.kept() == [killed]
    with pytest.raises(ForeignChange, match="quantity 5 to 6"):
        scene.write(scene.open(), other, "KES-WS", 1)
    assert scene.world.submits == 1


def test_a_folder_that_cannot_be_read_ends_the_run(scene, foreign, monkeypatch):
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StateError, match="is proven is not known"):
        scene.open().withheld()
    assert foreign.exists()


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


# --- a process that was killed ----------------------------------------------------------------------


def test_what_a_killed_process_submitted_is_proven_by_the_next_look(scene, agreement, killed):
    psa = scene.open()
    assert psa.withheld() is None
    assert [line.quantity for line in psa.lines(scene.ref(agreement))] == [5, 90]
    assert not killed.exists()


def test_a_submit_that_never_arrived_is_proven_too(scene, agreement, killed):
    del scene.world.lines[scene.world.charges(agreement)[-1].id]
    scene.open().lines(scene.ref(agreement))
    assert not killed.exists()


def test_what_a_killed_process_wiped_is_named_and_stops_everything(scene, agreement, other, killed):
    del scene.world.lines[backup(scene, agreement).id]
    psa = scene.open()
    with pytest.raises(ForeignChange, match=r"\(BACKUP\) with quantity 5 is gone") as caught:
        psa.lines(scene.ref(agreement))
    (marked,) = scene.kept()
    assert marked.name == f"{killed.stem}.foreign.json"
    assert (
        "submit of 2026-11-21 20:00 UTC for item KES-WS on agreement 7001" in caught.value.message
    )
    assert f"is {marked}." in caught.value.message
    assert psa.withheld().guard == "foreign-change"
    with pytest.raises(ForeignChange, match="is gone"):
        scene.write(psa, other, "KES-WS", 1)
    assert scene.world.submits == 1


@pytest.mark.parametrize("harm", [False, True])
def test_without_leave_to_settle_it_is_told_and_no_file_is_touched(scene, agreement, killed, harm):
    before = everything(scene)
    psa = scene.open(settles=False)
    if harm:
        del scene.world.lines[backup(scene, agreement).id]
        with pytest.raises(ForeignChange, match="is gone") as caught:
            psa.lines(scene.ref(agreement))
        assert f"is {killed}." in caught.value.message
        assert str(killed) in psa.withheld().reason
    else:
        psa.lines(scene.ref(agreement))
        assert psa.withheld() is None
    assert everything(scene) == before


@pytest.mark.parametrize(
    "ruin",
    [
        lambda content: content[:100],
        lambda _: b"",
        lambda _: b"[]",
        lambda content: content.replace(b'"submitted"', b'"sent"'),
        lambda content: content.replace(b'"item_id"', b'"item"'),
        lambda content: content.replace(b'"DetailId"', b'"Id"'),
    ],
    ids=["torn", "empty", "a list", "no submit", "another submit", "no ids"],
)
def test_a_file_that_cannot_be_read_counts_as_a_foreign_change(scene, agreement, killed, ruin):
    killed.write_bytes(ruin(killed.read_bytes()))
    psa = scene.open()
    with pytest.raises(ForeignChange, match=r"of agreement 7001|on agreement 7001 cannot be read"):
        psa.lines(scene.ref(agreement))
    assert psa.withheld().guard == "foreign-change"
    assert [path.name for path in scene.kept()] == [f"{killed.stem}.foreign.json"]


def test_a_file_that_vanishes_while_it_is_looked_at_was_proven_by_another_run(
    scene, agreement, killed, monkeypatch
):
    def vanish(_path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", vanish)
    scene.open(settles=False).lines(scene.ref(agreement))


def test_a_file_that_cannot_be_removed_is_told_and_stops_nothing(
    scene, agreement, killed, monkeypatch, caplog
):
    monkeypatch.setattr(Path, "unlink", refuse)
    with caplog.at_level(logging.WARNING):
        assert len(scene.open().lines(scene.ref(agreement))) == 2
    assert f"{killed} cannot be removed" in caplog.text


def test_nothing_is_sent_before_an_earlier_submit_elsewhere_is_proven(
    scene, agreement, other, killed
):
    scene.log.clear()
    assert scene.write(scene.open(), other, "KES-WS", 1).status is WriteStatus.APPLIED
    calls = scene.calls()
    assert calls.index(CHARGES) < calls.index(SUBMIT)
    assert not killed.exists()


def test_nothing_is_sent_while_an_earlier_submit_cannot_be_proven(scene, other, killed):
    scene.faults.add("status", match=CHARGES, times=None, code=500)
    receipt = scene.write(scene.open(), other, "KES-WS", 1)
    assert receipt.status is WriteStatus.NOT_SENT
    assert "what an earlier submit to agreement 7001 did is not known" in receipt.message
    assert str(killed.parent) in receipt.message
    assert scene.world.submits == 1


# --- the file ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("agreement")
def test_the_file_says_what_was_submitted_and_holds_the_charges_as_they_were(killed):
    kept = json.loads(killed.read_text(encoding="utf-8"))
    assert (kept["psa"], kept["agreement"]) == ("tp", "7001")
    assert kept["taken"] == "2026-11-21T20:00:00+00:00"
    assert (kept["submitted"]["item_id"], kept["submitted"]["quantity"]) == ("KES-WS", 90)
    assert [charge["ItemDescription"] for charge in kept["charges"]] == ["Wächter"]


def test_a_text_that_is_no_unicode_is_kept_as_it_came(tmp_path):
    record = {"DetailId": 1, "SpecialItemId": "KES", "Quantity": 2, "ItemDescription": "a \ud800"}
    charges = read_charges([record], "SpecialItemId")
    values = ChargeValues("7001", "500", "KES", 3, detail_id="1", description="a \ud800")
    save(Snapshot("7001", NOW, charges), values, tmp_path, "tp")
    (file,) = find(tmp_path, "tp")
    again = load(file, "SpecialItemId")
    assert (again.before.charges, again.values) == (charges, values)


def test_a_file_that_could_not_be_written_whole_is_no_file(scene, agreement, monkeypatch):
    monkeypatch.setattr("kisi.files.os.fsync", refuse)
    receipt = scene.write(scene.open(), agreement, "KES-WS", 90)
    assert (receipt.status, scene.world.submits) == (WriteStatus.REJECTED, 0)
    assert scene.kept() == []
    assert scene.open().withheld() is None
