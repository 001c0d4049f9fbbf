"""Whole lists of `kisi map`, compared with the files in `golden/`.

After a change that is meant, `KISI_GOLDEN=write` writes the files anew; the diff is what to review.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from kisi.json_text import dumps
from kisi.mapping.similarity import DEFAULT_MIN_SCORE
from kisi.mapping.suggestions import renewals, suggest, suggestions_csv, suggestions_document
from kisi.mapping.table import mapping_csv
from kisi.mapping.validator import SystemValidator
from kisi.render.map_lists import (
    inventory_csv,
    inventory_document,
    inventory_report,
    renewals_report,
    stale_csv,
    stale_document,
    stale_report,
    suggestions_report,
    unmapped_report,
)
from kisi.render.terminal import lay_out
from tests.unit.build import TODAY
from tests.unit.mapping.sides import KES

GOLDEN = Path(__file__).parent / "golden"
TEXT = f"""\
[[application]]
name = "{KES}"
[[product]]
application = "{KES}"
all = 1
[[company]]
name = "Contoso"
tenants = ["hq:V1", "hq:V9"]
company = 250
agreement = 1044
[[company]]
name = "Fabrikam"
tenants = ["hq:V3"]
company = 251
agreement = 1045
billing = false
[[company.product]]
application = "{KES}"
all = 77
"""
NAMES = (
    *("list.txt", "list.csv", "list.json", "unmapped.txt", "stale.txt", "stale.csv", "stale.json"),
    *("renewals.txt", "suggestions.txt", "suggestions.csv", "suggestions.json", "export.csv"),
)


@pytest.fixture
def made(sides):
    """Every list, of systems in which much is not as the mapping has it."""
    sides.hq.add("V3", "=Old\x1b", disabled=True)
    sides.hq.add("V4", "Litware", **{"Kaspersky Endpoint Detection and Response Optimum": 3})
    sides.hq.add("V5", "Nobody's")
    sides.cw.client("252", "Litware AG", "1046")
    sides.cw.company("300", "Tailspin", active=False)
    sides.cw.agreement("1044", "250", ends=date(2026, 11, 20))
    sides.cw.agreement("1045", "250", "Backup", ends=date(2026, 12, 1))
    sides.cw.product("1", "KES-OLD", price=None, active=False)
    sides.cw.product("1300", "EDR Optimum")
    mapping = sides.editor(TEXT).mapping
    inventory = sides.inventory(mapping)
    stale = SystemValidator.of(inventory, TODAY).stale(mapping)
    found = suggest(mapping, inventory, TODAY, min_score=DEFAULT_MIN_SCORE)
    return {
        "list.txt": screen(inventory_report(inventory)),
        "list.csv": inventory_csv(inventory),
        "list.json": dumps(inventory_document(inventory)),
        "unmapped.txt": screen(unmapped_report(inventory.only_unmapped())),
        "stale.txt": screen(stale_report(stale)),
        "stale.csv": stale_csv(stale),
        "stale.json": dumps(stale_document(stale, (), 0)),
        "renewals.txt": screen(renewals_report(renewals(mapping.companies, inventory, TODAY))),
        "suggestions.txt": screen(suggestions_report(found, DEFAULT_MIN_SCORE)),
        "suggestions.csv": suggestions_csv(found),
        "suggestions.json": dumps(suggestions_document(found)),
        "export.csv": mapping_csv(mapping),
    }


def screen(report):
    return lay_out(report, 80)


@pytest.mark.parametrize("name", NAMES)
def test_each_list_is_as_agreed(made, name):
    file = GOLDEN / name
    if os.environ.get("KISI_GOLDEN") == "write":
        file.write_text(made[name], encoding="utf-8", newline="")
    assert made[name] == file.read_bytes().decode()


def test_every_golden_file_is_a_list():
    assert {file.name for file in GOLDEN.iterdir()} == set(NAMES)
