"""CSV opens right in Excel, and every JSON document has the fields that `kisi schema` names."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Operator
from tests.formats import differences


def test_csv_begins_with_a_mark_wherever_it_goes_and_can_be_taken_back(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=2)
    operator.sync()
    file = operator.folder / "status.csv"
    german = ("--delimiter", ";", "--decimal", ",")

    operator.run("status", "--format", "csv", *german, "--output", str(file))
    operator.run("map", "export", "--output", str(operator.folder / "map.csv"), *german[:2])
    again = operator.run("map", "import", str(operator.folder / "map.csv"), "--offline")

    assert file.read_bytes().startswith(b"\xef\xbb\xbfcompany;psa;")
    assert again.code == 0, again.err


@pytest.mark.parametrize("wrong", [("--delimiter", "x"), ("--decimal", ";")])
def test_another_delimiter_is_a_usage_error(operator: Operator, wrong: tuple[str, str]):
    assert operator.run("status", *wrong).code == 2


def test_what_is_printed_is_what_the_schema_describes(operator: Operator):
    operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=90, servers=10)
    operator.client("Wingtip", workstations=3).server.readable = False
    operator.client("Fabrikam", workstations=3, mapped=False)
    documents = {"preview": [operator.preview().out], "map-list": []}
    operator.sync()
    contoso.remove_devices(60)
    operator.next_night()
    documents["preview"].append(operator.sync().out)
    documents["status"] = [operator.run("status", "--ready", "--json").out]
    documents["explain"] = [operator.run("explain", "Contoso", "--json").out]
    documents["check"] = [operator.run("check", "--json").out]
    documents["map-list"].append(operator.run("map", "list", "--json").out)
    documents["map-stale"] = [operator.run("map", "list", "--stale", "--json").out]
    documents["map-suggest"] = [operator.run("map", "suggest", "--json").out]
    for name, printed in documents.items():
        for text in printed:
            assert differences(name, json.loads(text)) == []


def test_the_schema_is_one_json_schema_of_files_and_results(operator: Operator):
    schema = json.loads(operator.run_bare("schema", "--format", "json").out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"preview", "status", "explain", "statement", "kisi.toml", "mapping.toml"} <= {
        *schema["$defs"]
    }
    assert "sources" in schema["$defs"]["kisi.toml"]["properties"]
    assert {*schema["$defs"]["mapping.toml"]["properties"]} == {"application", "product", "company"}
    assert "unit_price" in operator.run_bare("schema").out
