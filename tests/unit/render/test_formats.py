"""docs/formats.md, `kisi schema` and what is printed are one: a promise to whoever reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kisi.formats import columns, fields_of, groups, names, results_schema
from kisi.mapping.suggestions import _FIRST
from kisi.mapping.table import COLUMNS as MAPPING_COLUMNS
from tests.formats import differences, formats_page

COLUMNS = {
    "preview": "kind company psa psa_company agreement application category product line_id action"
    " before after delta unit_price money_delta guard reason remedy outcome detail used policy"
    " counted included billable amount currency billing_cycle next_invoice period_begins"
    " invoice overwritten",
    "status": "company psa psa_company agreement billing status since confirmed_at guard reason"
    " remedy application category product line_id quantity quantity_since before billed"
    " managed_by_hand unit_price included billable amount currency billing_cycle",
    "explain": "kind company run source tenant tenant_name read_at application category quantity"
    " device name operating_system class counted serial reason change last_seen",
    "statement": "kind company month application category product policy date quantity unit_price"
    " included billable amount currency billing_cycle number name operating_system last_seen first"
    " last period_begins",
}
"""Scripts may rely on them."""
UNIT = Path(__file__).parents[1]
PAGE = UNIT.parents[1] / "docs" / "formats.md"
MARK = "<!-- fields -->\n"
PRINTED = {
    "preview": ("render/golden/preview.json", "render/golden/sync.json"),
    "status": ("render/golden/status.json",),
    "explain": ("render/golden/explain.json",),
    "map-list": ("mapping/golden/list.json",),
    "map-stale": ("mapping/golden/stale.json",),
    "map-suggest": ("mapping/golden/suggestions.json",),
}


@pytest.mark.parametrize(("name", "file"), [(n, f) for n, files in PRINTED.items() for f in files])
def test_every_printed_field_is_described_and_every_described_one_printed(name: str, file: str):
    assert differences(name, json.loads((UNIT / file).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", COLUMNS)
def test_the_columns_of_a_table_are_these_in_this_order(name: str):
    assert columns(name) == COLUMNS[name].split()


def test_every_column_of_the_suggestions_is_described():
    made = [*_FIRST, *(one for one in MAPPING_COLUMNS if one not in _FIRST)]
    assert sorted(columns("map-suggest")) == sorted(made)


@pytest.mark.parametrize(("name", "file"), [("map-list", "list"), ("map-stale", "stale")])
def test_every_column_of_a_list_is_described(name: str, file: str):
    text = (UNIT / "mapping" / "golden" / f"{file}.csv").read_text(encoding="utf-8")
    assert {field.name for field in fields_of("<", name)} == set(text.splitlines()[0].split(","))


def test_the_page_has_every_field():
    """`KISI_GOLDEN=write` writes its tables anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, mark, told = text.partition(MARK)
    assert mark
    if os.environ.get("KISI_GOLDEN") == "write":
        PAGE.write_text(f"{before}{MARK}{formats_page()}\n", encoding="utf-8", newline="\n")
    assert PAGE.read_text(encoding="utf-8") == f"{before}{MARK}{formats_page()}\n", told[:80]


def test_the_schema_has_each_document_and_every_reference_leads_somewhere():
    schema = results_schema()
    text = json.dumps(schema)
    assert [one["$ref"].rpartition("/")[2] for one in schema["anyOf"]] == names("[")
    for part in text.split('"#/$defs/')[1:]:
        assert part.partition('"')[0] in schema["$defs"]
    price = schema["$defs"]["line"]["properties"]["unit_price"]
    assert price["anyOf"] == [{"type": "number"}, {"type": "null"}]
    assert "action" in schema["$defs"]["line"]["required"]
    assert "all" not in schema["$defs"]["suggested_application"]["required"]


def test_no_object_is_described_that_nothing_has():
    schema = json.dumps(results_schema())
    used = {part.partition('"')[0].removesuffix("_part") for part in schema.split("#/$defs/")}
    lines = (line for group in groups().values() for line in group.lines)
    used |= {line.split()[0][1:] for line in lines if line.startswith(("+", "="))}
    assert set(names("{")) <= used
