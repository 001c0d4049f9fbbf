"""The demo shows the main job on every source and PSA, and says itself whether it went well."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from kisi.sandbox.configuration import is_foreign
from tests.e2e.conftest import Operator


def test_the_demo_bills_clients_of_every_kind_and_writes_nothing_the_second_time(
    operator: Operator, tmp_path
):
    result = operator.run_bare("demo", "--keep", str(tmp_path / "kept"))

    assert result.code == 0
    assert result.out.count(": as it should be") == 4
    assert "NOT" not in result.out
    sent = [int(number) for number in re.findall(r"(\d+) writes sent", result.out)]
    assert (sent[0], sent[1] > 0, sent[2:]) == (0, True, [0, 0])
    for name in ("Contoso", "Graphic Design Institute", "Relecloud", "Bellows College"):
        assert name in result.out

    report = operator.run_bare("status", "--json", "--config", str(tmp_path / "kept" / "kisi.toml"))
    text = json.dumps(json.loads(report.out))
    assert "Woodgrove Bank" in text


def test_a_missing_package_is_named_with_a_command_that_finds_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
):
    for module in [name for name in sys.modules if name.startswith("kisi.sandbox")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cryptography", None)

    result = operator.run_bare("demo")

    assert result.code == 3
    assert "needs the package cryptography, which is not installed" in result.err
    assert "pipx inject kisi cryptography" in result.err


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
