from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kisi.config.sentences import read_table
from kisi.sources.ksc import KscSettings
from kisi.sources.ksc.records import HOST_FIELDS, KEY_FIELDS, KEY_HOST_FIELDS

PAGE = (Path(__file__).parents[4] / "docs" / "ksc.md").read_text("utf-8")


def test_the_section_on_the_page_is_valid_and_has_every_key(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    table = tomllib.loads(block)["sources"]["hq"]
    _, problems = read_table(KscSettings, table, ("sources", "hq"), tmp_path)
    assert problems == []
    assert set(table) == set(KscSettings.model_fields)


def test_the_page_names_every_attribute_that_is_asked_for_and_no_other_as_asked_for():
    asked, never = PAGE.split("**Never asked for**")
    named = set(re.findall(r"`(KL[A-Z]+_[A-Z_]+)`", asked)) - {"KLVSRV_UID"}
    assert named == {*KEY_FIELDS, *KEY_HOST_FIELDS, *HOST_FIELDS}
    assert "`KLLICSRV_KEYDATA`" in never
