"""One virtual server under two sources: restored on a second machine, the old one still up."""

from __future__ import annotations

import json

import pytest

from kisi.sandbox.ksc import Ksc
from kisi.sandbox.world import World
from tests.e2e.conftest import Operator


@pytest.fixture
def restored(operator: Operator) -> World:
    """A second Security Center, `[sources.new]`, whose virtual servers have the ids of `hq`'s."""
    sandbox, world = operator.sandbox, World(operator.world.now)
    ksc = Ksc(world)
    server = ksc.serve(faults=sandbox.faults, log=sandbox.log, name="new")
    sandbox.add(ksc.part(server, "new"))
    return world


def test_billed_to_two_clients_is_an_error_of_the_mapping_and_nothing_is_written(
    operator: Operator, restored: World
):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    lab = operator.client("Lab", workstations=1)
    twin = restored.tenant("Contoso", workstations=8)
    assert twin.uid == contoso.tenant
    lab.more_tenants.append(f"new:{twin.uid}")

    for command in ("preview", "sync", "check"):
        result = operator.run(command)
        assert (result.code, result.writes) == (3, [])
        said = result.out + result.err
        assert '[[company]] "Lab"' in said
        assert '[[company]] "Contoso"' in said
        assert f"new:{twin.uid}" in said
        assert f"hq:{twin.uid}" in said
        assert "set billing = false" in said
    assert contoso.additions == lab.additions == []
    assert operator.run("status", "--ready").code == 3


def test_added_to_a_client_that_is_billed_already_it_never_doubles_the_line(
    operator: Operator, restored: World
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    twin = restored.tenant("Contoso", workstations=8)
    assert operator.sync().code == 0
    contoso.more_tenants.append(f"new:{twin.uid}")

    result = operator.sync()

    assert (result.code, result.writes) == (3, [])
    assert "each of its devices would be billed twice" in result.err
    assert contoso.quantities == {product: 8}
    contoso.more_tenants.clear()
    assert operator.sync().code == 0


def test_a_twin_that_nobody_mapped_is_shown_with_what_it_is(operator: Operator, restored: World):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    lab = operator.client("Lab", workstations=2)
    restored.tenant("Contoso", workstations=8)
    restored.tenant("Lab", workstations=2)
    branch = restored.tenant("Lab, branch", workstations=3)
    lab.more_tenants.append(f"new:{branch.uid}")

    result = operator.sync()

    assert contoso.quantities == {product: 8}
    assert lab.quantities == {product: 2 + 3}
    hints = {
        one["source"] + ":" + one["tenant"]: one["listed_as"]
        for one in result.document["unmapped"]["tenants"]
    }
    hint = (
        f"the same virtual server as hq:{contoso.tenant}, which Contoso is billed for: do not map "
        "it too"
    )
    assert hints[f"new:{contoso.tenant}"] == hint
    assert hint in " ".join(operator.run("preview", "-v").out.split())
    assert hint in " ".join(operator.run("status").out.split())
    listed = json.loads(operator.run("map", "list", "--json").out)
    assert hint in {one["listed_as"] for one in listed["unmapped"]["tenants"]}
    suggested = json.loads(operator.run("map", "suggest", "--format", "json").out)
    assert f"new:{contoso.tenant}" not in {one["tenant"] for one in suggested["clients"]}
    online = operator.run("check", "--online")
    assert "lists 2 that another source lists too" in " ".join(online.out.split())


def test_no_command_maps_it_on_top(operator: Operator, restored: World):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    lab = operator.client("Lab", workstations=2)
    twin = restored.tenant("Contoso", workstations=8)
    operator.by_hand()
    before = operator.files()["mapping.toml"]

    for arguments in (
        ["Contoso", "--tenant", f"new:{twin.uid}"],
        ["Lab", "--tenant", f"new:{twin.uid.lower()}"],
        ["Lab", "--tenant", f"hq:{twin.uid.lower()}", "--offline"],
    ):
        result = operator.run("map", "company", *arguments)
        assert result.code == 3, arguments
        assert "same virtual server" in result.err
    table = operator.run("map", "export").out
    file = operator.folder / "m.csv"
    file.write_text(table.replace(f"hq:{lab.tenant}", f"new:{twin.uid}"), encoding="utf-8")
    result = operator.run("map", "import", str(file))
    assert result.code == 3
    assert "same virtual server" in result.err
    assert operator.files()["mapping.toml"] == before

    moved = operator.run(
        *("map", "company", "Contoso", "--tenant", f"new:{twin.uid}"),
        *("--remove-tenant", f"hq:{contoso.tenant}"),
    )
    assert moved.code == 0
    assert operator.preview().code == 0
