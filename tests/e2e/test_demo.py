"""The demo shows the main job on every source and PSA, and says itself whether it went well."""

from __future__ import annotations

import json
import re

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
