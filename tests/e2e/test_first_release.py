"""An installation of the first release goes on working: its files, its journal, its hold, its lines.

`first_release/` is what that release left after three nights: Contoso and Lab were billed, Fabrikam
fell from 40 to 10 and is on hold. The journal is kept as SQL, so that it can be read.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kisi.journal.schema import MIGRATIONS
from tests.e2e.conftest import Operator

LEFT = Path(__file__).parent / "first_release"
APPLICATION_ID, VERSION = 0x6B697369, 2
BEFORE = {
    (1042, 1201): (90001, 92),
    (1042, 1202): (90003, 10),
    (1043, 1201): (90004, 40),
    (1044, 1201): (90002, 50),
}
"""Its lines, by agreement and product: the id of each and its number."""


@pytest.fixture
def installation(operator: Operator) -> Operator:
    """The same simulated world as then, and the folder as the first release left it."""
    operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=90, servers=10)
    fabrikam = operator.client("Fabrikam", workstations=40)
    operator.client("Lab", workstations=50)
    operator.by_hand()
    for (agreement, product), (line_id, quantity) in sorted(BEFORE.items(), key=lambda x: x[1]):
        assert operator.world.add_line(agreement, product, quantity).id == line_id
    contoso.add_devices("workstation", 2)
    fabrikam.remove_devices(30)
    operator.next_night(2)
    now = operator.config.read_text(encoding="utf-8")
    then = (LEFT / "kisi.toml").read_text(encoding="utf-8")
    for moving in (r'url = "http.*"', r"fingerprints = \[.*\]"):
        for old, new in zip(re.findall(moving, then), re.findall(moving, now), strict=True):
            then = then.replace(old, new)
    operator.config.write_text(then, encoding="utf-8")
    (operator.folder / "mapping.toml").write_bytes((LEFT / "mapping.toml").read_bytes())
    operator.state.mkdir(mode=0o700)
    with closing(sqlite3.connect(operator.state / "journal.db")) as journal:
        journal.executescript((LEFT / "journal.sql").read_text(encoding="utf-8"))
        journal.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        journal.execute(f"PRAGMA user_version = {VERSION}")
    (operator.state / "journal.db").chmod(0o600)
    return operator


def holds(operator: Operator) -> dict[tuple[int, int], tuple[int, float]]:
    """Every line of every agreement: its id and number."""
    return {
        (line.agreement_id, line.product_id): (line.id, line.quantity)
        for agreement in (1042, 1043, 1044)
        for line in operator.world.additions(agreement)
    }


def test_preview_and_status_read_it_and_leave_it_as_it_is(installation: Operator):
    files = installation.files()

    preview = installation.preview()
    status = installation.run("status")

    assert (preview.code, preview.holds("Fabrikam")) == (6, {"1201": "decrease"})
    assert preview.document["summary"]["update"] == 0
    assert "Fabrikam" in status.out
    assert installation.files() == files
    assert installation.run("check").code == 0
    assert installation.run("map", "list").code == 0


def test_sync_writes_what_changed_and_goes_on_holding_what_is_on_hold(installation: Operator):
    installation.world.clients[0].add_devices("server", 1)

    result = installation.sync()

    assert (result.code, len(result.writes)) == (6, 1)
    assert result.holds("Fabrikam") == {"1201": "decrease"}
    after = {**BEFORE, (1042, 1202): (90003, 11)}
    assert holds(installation) == after
    assert (installation.state / f"journal.before-v{len(MIGRATIONS)}.db").exists()

    accepted = installation.sync("--accept", result.company("Fabrikam")["plan_id"])

    assert (accepted.code, len(accepted.writes)) == (0, 1)
    assert holds(installation) == {**after, (1043, 1201): (90004, 10)}
    assert installation.sync().writes == []


def test_its_history_is_told(installation: Operator):
    installation.sync()

    told = installation.run("status", "--company", "Contoso").out
    assert "90" in told
    assert "92" in told
    explained = installation.run("explain", "Contoso")
    assert (explained.code, "92" in explained.out) == (0, True)
