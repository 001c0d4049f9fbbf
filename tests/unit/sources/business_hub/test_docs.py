from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kisi.config.sentences import read_table
from kisi.sources.business_hub.report import HubSettings

PAGE = Path(__file__).parents[4] / "docs" / "business-hub.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_section_on_the_page_is_valid_and_has_every_key(tmp_path):
    table = tomllib.loads(blocks("toml")[0])["sources"]["hub"]
    _, problems = read_table(HubSettings, table, ("sources", "hub"), tmp_path)
    assert problems == []
    assert set(table) == set(HubSettings.model_fields)
    assert table["columns"] == HubSettings(files=("x",)).columns.model_dump()


def test_the_reports_on_the_page_can_be_read(reports):
    for number, text in enumerate(blocks("csv")):
        reports.write(text, f"{number}.csv")
    quantities = reports.read(files=["0.csv"])
    assert [each.quantity for each in quantities["Contoso Ltd"].reported] == [16, 25]
    assert [each.quantity for each in quantities["Lamna"].reported] == [38, 2, 5]
    assert quantities["Fabrikam"].reported[0].not_counted_reason == 'licence status "Expired"'
    assert len(reports.read(files=["1.csv"])["Contoso Ltd"].rows) == 3
