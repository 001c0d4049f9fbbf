"""One virtual server is one tenant under every source that lists it; a report's name is not."""

from __future__ import annotations

import pytest

from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import ConfigNames, load_mapping
from kisi.mapping.suggestions import open_tenants, suggest, suggestions_csv
from kisi.mapping.table import accept_rows, read_mapping_table
from kisi.mapping.validator import check_listed_twice
from kisi.model import Company, Tenant, TenantRef, unmapped_tenants
from tests.unit.build import TODAY
from tests.unit.mapping.sides import Source, changed
from tests.unit.mapping.test_file import company

SOURCES = ["hq", "new", "hub", "hub2"]
GLOBAL = {"hq", "new"}


@pytest.fixture
def problems(tmp_path):
    def found(*rows):
        path = tmp_path / "mapping.toml"
        path.write_text("".join(rows), encoding="utf-8")
        try:
            load_mapping(path, ConfigNames(SOURCES, ["cw"], GLOBAL))
        except ConfigError as error:
            return list(error.problems)
        return []

    return found


def test_a_virtual_server_billed_under_two_sources_is_an_error_that_names_both(problems):
    (problem,) = problems(
        company("Contoso", 1042, ["hq:VSRV1"]), company("Lab", 1043, ["new:VSRV1"])
    )
    assert problem.startswith(
        'mapping.toml: [[company]] "Lab" (row 2, line 6) tenants: "new:VSRV1"'
    )
    assert 'the same virtual server as "hq:VSRV1"' in problem
    assert '[[company]] "Contoso" (row 1, line 1) bills that one' in problem
    assert "each of its devices would be billed twice" in problem
    assert "take it out of the other row, or set billing = false there" in problem


def test_so_is_one_that_a_client_names_twice_billed_or_not(problems):
    for rest in ("", "billing = false\n"):
        (problem,) = problems(company("Contoso", 1042, ["hq:VSRV1", "new:VSRV1"], rest))
        assert '"Contoso" (row 1, line 1) tenants: "new:VSRV1" is the same' in problem
        assert "take the other one out" in problem


@pytest.mark.parametrize("second", ["new:vsrv1", "hq:vsrv1"])
def test_ids_that_differ_in_case_alone_are_one(problems, second):
    (problem,) = problems(company("A", 1042, ["hq:VSRV1"]), company("B", 1043, [second]))
    assert f'"{second}" is the same virtual server as "hq:VSRV1"' in problem


def test_a_client_that_is_not_billed_may_keep_the_old_one(problems):
    off = "billing = false\n"
    rows = (company("Old", 1042, ["hq:V"], off), company("New", 1043, ["new:V"]))
    assert problems(*rows) == []
    assert problems(*reversed(rows)) == []
    assert problems(rows[0], company("Off too", 1044, ["new:V"], off)) == []


def test_names_of_reports_are_names(problems):
    rows = (company("A", 1042, ["hub:Contoso"]), company("B", 1043, ["hub2:Contoso"]))
    assert problems(*rows) == []
    assert problems(company("A", 1042, ["hub:Contoso", "hub2:Contoso", "hub:CONTOSO"])) == []
    assert problems(company("A", 1042, ["hq:VSRV1"]), company("B", 1043, ["hub:VSRV1"])) == []


def test_every_row_after_the_first_is_named(problems):
    rows = [
        company(name, 1042 + n, [f"{s}:V"])
        for n, (name, s) in enumerate(zip("ABC", ["hq", "new", "new"], strict=True))
    ]
    found = problems(*rows)
    assert ['"B" (row 2' in found[0], '"C" (row 3' in found[1]] == [True, True]


# --- what nobody has mapped -----------------------------------------------------------------------

ROW = company("Contoso", 1042, ["hq:V1"])


@pytest.fixture
def twice(sides):
    """Contoso's virtual server is listed by `new` too, with one that only `new` has."""
    sides.sources["new"] = Source("new")
    sides.sources["new"].add("V1", "Contoso")
    sides.sources["new"].add("V9", "Northwind")
    sides.global_sources = GLOBAL
    return sides


def test_a_twin_of_a_mapped_tenant_is_listed_with_a_hint(twice):
    inventory = twice.inventory(twice.editor(ROW).mapping)
    hints = {str(one.tenant.ref): one.tenant.listed_as for one in inventory.tenants}
    assert hints == {
        "hq:V1": "",
        "hq:V2": "",
        "new:V1": "the same virtual server as hq:V1, which Contoso is billed for: do not map it too",
        "new:V9": "",
    }
    assert "new:V1" in {str(one.tenant.ref) for one in inventory.only_unmapped().tenants}
    off = twice.inventory(twice.editor(ROW + "billing = false\n").mapping)
    assert off.tenants[2].tenant.listed_as.endswith("hq:V1, which is Contoso's, with billing off")


def test_nothing_is_suggested_or_asked_for_it(twice):
    mapping = twice.editor(ROW).mapping
    inventory = twice.inventory(mapping)
    assert [str(one.tenant.ref) for one in open_tenants(mapping, inventory)] == ["hq:V2", "new:V9"]
    found = suggest(mapping, inventory, TODAY, min_score=0.1)
    assert "new:V1" not in {str(ref) for one in found.clients for ref in one.company.tenants}
    assert "new:V1" not in {str(one.ref) for one in found.without}


def test_of_two_that_nobody_mapped_a_person_must_choose(twice):
    editor = twice.editor("")
    inventory = twice.inventory(editor.mapping)
    assert inventory.tenants[0].tenant.listed_as == (
        "the same virtual server as new:V1: map one of them only"
    )
    found = suggest(editor.mapping, inventory, TODAY, min_score=0.1)
    contoso = [one for one in found.clients if one.company.tenants[0].tenant == "V1"]
    assert [one.accept for one in contoso if one.company.company == "250"] == [False, False]
    assert all("map one of them only" in one.reason for one in contoso)
    rows = editor.edit()
    accept_rows(rows, read_mapping_table(suggestions_csv(found), rows, name="s", accepted=True))
    assert [one.name for one in rows.change().companies] == ["Fabrikam"]


def client(name, agreement, *tenants, **more):
    refs = tuple(TenantRef(*each.split(":")) for each in tenants)
    return Company(name, refs, "cw", "250", agreement, **more)


def test_a_new_client_with_it_is_refused(twice):
    editor = twice.editor(ROW)
    with pytest.raises(ConfigError) as caught:
        changed(editor, MappingEdit.add_clients, [client("Lab", "1043", "new:v1")])
    assert 'same virtual server as "hq:V1", which is mapped already, to "Contoso"' in str(
        caught.value.message
    )
    with pytest.raises(ConfigError, match="same virtual server"):
        changed(editor, MappingEdit.add_clients, [client("Contoso", "1042", "new:V1")])
    with pytest.raises(ConfigError, match="same virtual server"):
        changed(editor, MappingEdit.add_clients, [client("Lab", "1043", "new:V9", "hq:v9")])


def test_a_client_moves_to_the_restored_server_in_one_step(twice):
    editor = twice.editor(ROW + company("Lab", 1043, ["new:V9"]))
    with pytest.raises(ConfigError, match="same virtual server"):
        changed(editor, MappingEdit.change_clients, {1: client("Lab", "1043", "new:V9", "new:V1")})
    both = changed(
        editor, MappingEdit.change_clients, {0: client("Contoso", "1042", "hq:V1", "new:V1")}
    )
    with pytest.raises(ConfigError, match="same virtual server"):
        editor.save(both.text)
    moved = changed(editor, MappingEdit.change_clients, {0: client("Contoso", "1042", "new:V1")})
    assert editor.save(moved.text)


def test_check_names_what_two_sources_list(twice):
    mapping = twice.editor(ROW).mapping
    (found,) = check_listed_twice(twice.sources, mapping)
    assert found.message == (
        "sources.new lists 1 that another source lists too: Contoso (new:V1): the same virtual "
        "server as hq:V1, which Contoso is billed for: do not map it too."
    )
    del twice.sources["new"].names["V1"]
    assert list(check_listed_twice(twice.sources, mapping)) == []


def test_a_tenant_of_an_unmapped_source_alone_has_no_hint(twice):
    mapping = twice.editor("").mapping
    tenant = Tenant(TenantRef("new", "V9"), "Northwind")
    assert unmapped_tenants(mapping, [tenant]) == (tenant,)
