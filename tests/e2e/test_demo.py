"""The demo shows the main job on every source and PSA, and says itself whether it went well."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import pytest

from kisi.sandbox.configuration import is_foreign
from kisi.sandbox.demo import demo_sandbox
from tests.e2e.conftest import Operator


def test_the_demo_fits_two_screens_and_each_step_ends_with_0(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")

    result = operator.run_bare("demo", "--keep", str(tmp_path / "kept"))

    assert result.code == 0
    assert result.out.count("exit code 0, ") == result.out.count(": as it should be") == 4
    sent = [int(number) for number in re.findall(r"(\d+) writes sent", result.out)]
    assert (sent[0], sent[1] > 0, sent[2:]) == (0, True, [0, 0])
    rows = [row for line in (result.out + result.err).split("\n") for row in wrap(line, 80) or [""]]
    assert len(rows) <= 100
    assert re.search(r"^Contoso .*\n.* new → 90 .*\n.*\n.* new → 10 ", result.out, re.MULTILINE)
    for name in ("Fabrikam", "Margie's Travel", "Woodgrove Bank", "Blue Yonder Airlines"):
        assert name in result.out
    assert not re.search(r"[=@+-]cmd|\[bold|[\x1b\u202e]", result.out + result.err)

    report = operator.run_bare("status", "--json", "--config", str(tmp_path / "kept" / "kisi.toml"))
    assert "Woodgrove Bank" in json.dumps(json.loads(report.out))
    assert operator.run_bare("demo", "-v").out.count("exit code 0, ") == 4


def test_the_demo_needs_no_package_that_a_plain_installation_lacks(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, "kisi.sandbox.certificate", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    kept = tmp_path / "kept"

    result = operator.run_bare("demo", "--keep", str(kept))

    assert (result.code, result.out.count(": as it should be")) == (0, 4)
    config = (kept / "kisi.toml").read_text(encoding="utf-8")
    assert 'kind = "ksc"\nurl = "http://127.0.0.1:' in config
    assert "fingerprints" not in config


@pytest.fixture
def everybody(operator: Operator) -> Iterator[Operator]:
    """Before what `kisi sandbox` serves."""
    with demo_sandbox() as operator.sandbox:
        operator.write_files()
        yield operator


def test_what_the_sandbox_shows_is_billed_once_and_what_is_wrong_with_it_is_named(
    everybody: Operator,
):
    first, second = everybody.run("sync"), everybody.run("sync")

    assert (first.code, second.code) == (6, 6)
    assert everybody.sandbox.writes
    for name in ("Contoso", "Graphic Design Institute", "Woodgrove Bank", "Bellows College"):
        assert name in first.out
        assert name not in second.out
    for name in ("Litware", "Relecloud", "Trey Research"):
        assert name in second.out
    assert "30 applied" in first.out
    assert "applied" not in second.out


@pytest.mark.parametrize("command", [["demo", "--keep"], ["sandbox", "--directory"]])
@pytest.mark.parametrize(
    "own", ["kisi.toml", "mapping.toml", "state/journal.db", "secrets/cw-public-key"]
)
def test_what_a_person_has_in_a_folder_is_never_overwritten(
    operator: Operator, tmp_path: Path, command: list[str], own: str
):
    folder = tmp_path / "kisi-of-a-person"
    (folder / own).parent.mkdir(parents=True)
    (folder / own).write_text("# Made by a person, with the sandbox as a model.\n")

    result = operator.run_bare(*command, str(folder))

    assert result.code == 3
    assert "holds a configuration that is not a sandbox's. Nothing was started" in result.err
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / own]
    assert (folder / own).read_text() == "# Made by a person, with the sandbox as a model.\n"


def test_a_folder_of_the_sandbox_may_be_used_again(operator: Operator, tmp_path: Path):
    operator.sandbox.write_config(tmp_path / "kept")
    assert not is_foreign(tmp_path / "kept")
    assert not is_foreign(tmp_path / "new")
