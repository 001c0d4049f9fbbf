"""A fleet that is split: every part reads the whole mapping, and nobody is billed by two of them.

Two Security Centers, `hq` and `branch`, and one ConnectWise that parts know as `cw` or, where they
are to take it for another company's, as `cw2`. Each part has a kisi.toml and a state folder.
"""

from __future__ import annotations

import json
import tomllib

import pytest
import tomli_w

from kisi.sandbox.configuration import company_row
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.world import APPLICATION, Client, World
from tests.e2e.conftest import NOW, Operator, Result

TODAY = NOW.date()
BOTH = {"north": ("hq", "cw"), "south": ("branch", "cw")}
"""Parts by source, with one PSA company."""
BY_PSA = {"north": ("hq", "cw"), "south": ("hq", "cw2")}
"""Parts by PSA company, with one source: each line is known to its own part alone."""


class Fleet:
    """An operator of several parts."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.world = operator, operator.world
        self.branch = World(operator.world.now, site="branch")
        ksc = Ksc(self.branch)
        server = ksc.serve(faults=operator.sandbox.faults, log=operator.sandbox.log, name="branch")
        operator.sandbox.add(ksc.part(server, "branch"))
        self.product = operator.bill_as_one()
        operator.by_hand()
        self.whole = tomllib.loads(operator.config.read_text(encoding="utf-8"))
        self.whole["psa"]["cw2"] = self.whole["psa"]["cw"]

    def split(self, parts: dict[str, tuple[str, str]], **more: dict[str, str]) -> None:
        """Writes the kisi.toml of each part, with its sources and PSAs; `more` of its keys."""
        files = [f"{name}.toml" for name in parts]
        for name, named in parts.items():
            sources, psas = (some.split() for some in named)
            tables = {
                "sources": {x: self.whole["sources"][x] for x in sources},
                "psa": {x: self.whole["psa"][x] for x in psas},
            }
            own = {"timezone": "UTC", "state_dir": f"state-{name}", "parts": files}
            self.write(f"{name}.toml", tomli_w.dumps({**own, **more.get(name, {}), **tables}))

    def write(self, name: str, text: str) -> None:
        (self.operator.folder / name).write_text(text, encoding="utf-8")

    def maps(self, *rows: str, psas: str = "cw cw2") -> None:
        """Writes the one mapping.toml."""
        products = "".join(
            f'[[product]]\napplication = "{APPLICATION}"\npsa = "{psa}"\nall = {self.product}\n'
            for psa in psas.split()
        )
        head = f'[[application]]\nname = "{APPLICATION}"\n{products}'
        self.write("mapping.toml", "\n".join([head, *rows]))

    def row(
        self, client: Client, *tenants: str, psa: str = "cw", agreement: int = 0, more: str = ""
    ) -> str:
        billed_on = {"company": client.company_id, "agreement": agreement or client.agreement_id}
        named = tenants or (f"hq:{client.tenant}",)
        return company_row(client.name, named, psa=psa, **billed_on) + more

    def run(self, part: str, *arguments: str) -> Result:
        config = str(self.operator.folder / f"{part}.toml")
        return self.operator.run_bare(*arguments, "--config", config)

    def sync(self, part: str, *arguments: str) -> Result:
        return self.run(part, "sync", "--json", *arguments)

    def start(self, *parts: str) -> None:
        """The first run of each, by which its journal is there."""
        for part in parts:
            self.sync(part)

    def billed(self) -> dict[int, float]:
        """What the PSA holds, by agreement."""
        lines = self.world.lines.values()
        assert len({x.agreement_id for x in lines}) == len(lines)
        return {x.agreement_id: x.quantity for x in lines}


@pytest.fixture
def fleet(operator: Operator) -> Fleet:
    return Fleet(operator)


def plan_id(result: Result, name: str) -> str:
    return result.company(name)["plan_id"]


# --- who bills whom -------------------------------------------------------------------------------


def test_the_parts_together_bill_what_one_installation_bills(fleet: Fleet):
    contoso, fabrikam = (
        fleet.world.client(x, workstations=n) for x, n in (("Contoso", 7), ("Fabrikam", 3))
    )
    nordwind = fleet.world.client("Nordwind", workstations=1)
    far = fleet.branch.tenant("Nordwind", workstations=5)
    fleet.maps(
        fleet.row(contoso), fleet.row(fabrikam), fleet.row(nordwind, f"branch:{far.uid}"), psas="cw"
    )
    fleet.split(BOTH)
    fleet.start("south", "north")

    north, south = fleet.sync("north"), fleet.sync("south")

    names = [[x["name"] for x in part.document["companies"]] for part in (north, south)]
    assert names == [["Contoso", "Fabrikam"], ["Nordwind"]]
    assert fleet.billed() == {
        contoso.agreement_id: 7,
        fabrikam.agreement_id: 3,
        nordwind.agreement_id: 5,
    }
    fleet.split({"all": ("hq branch", "cw")})
    whole = fleet.run("all", "preview", "--json")
    assert {x["action"] for one in whole.document["companies"] for x in one["lines"]} == {"none"}
    # The virtual server at hq that no row names is told by the part that reads hq, and by no other.
    unmapped = [
        [x["name"] for x in part.document["unmapped"]["tenants"]] for part in (north, south, whole)
    ]
    assert unmapped == [["Nordwind"], [], ["Nordwind"]]


def test_a_tenant_of_another_part_is_not_unmapped_where_both_read_its_source(fleet: Fleet):
    contoso, fabrikam = (fleet.world.client(x, workstations=4) for x in ("Contoso", "Fabrikam"))
    fleet.world.tenant("Nobody's", workstations=2)
    fleet.maps(fleet.row(contoso), fleet.row(fabrikam, psa="cw2"))
    fleet.split(BY_PSA)
    fleet.start("south", "north")

    for part, other in (("north", "Fabrikam"), ("south", "Contoso")):
        result = fleet.sync(part)
        assert result.code == 0, result.err
        assert [x["name"] for x in result.document["unmapped"]["tenants"]] == ["Nobody's"]
        listed = json.loads(fleet.run(part, "map", "list", "--unmapped", "--json").out)
        assert [x["name"] for x in listed["tenants"]] == ["Nobody's"]
        checked = fleet.run(part, "check", "-v")
        assert "2 clients, 2 with" in checked.out
        assert fleet.run(part, "map", "export").out.count("\ncompany,") == 2
        told = fleet.run(part, "status", "--json").out
        assert other not in told
    assert fleet.billed() == {contoso.agreement_id: 4, fabrikam.agreement_id: 4}


def test_a_client_with_a_source_and_a_psa_of_two_parts_fails_alone(fleet: Fleet):
    contoso, fabrikam = (fleet.world.client(x, workstations=4) for x in ("Contoso", "Fabrikam"))
    far = fleet.branch.tenant("Contoso, branch", workstations=5)
    split = fleet.row(contoso, f"hq:{contoso.tenant}", f"branch:{far.uid}")
    fleet.maps(split, fleet.row(fabrikam))
    fleet.split({"north": ("hq", "cw"), "south": ("branch", "cw2")})
    fleet.start("south", "north")

    result = fleet.sync("north")

    assert result.code == 4
    assert fleet.billed() == {fabrikam.agreement_id: 4}
    assert "sources.branch is in another part" in result.company("Contoso")["failure"]["reason"]
    assert fleet.sync("south").document["companies"] == []


def test_each_part_can_change_every_row_and_looks_up_what_it_can(fleet: Fleet):
    contoso, fabrikam = (fleet.world.client(x, workstations=4) for x in ("Contoso", "Fabrikam"))
    fleet.maps(fleet.row(contoso), fleet.row(fabrikam, psa="cw2"))
    fleet.split(BY_PSA)
    file = fleet.operator.folder / "mapping.toml"
    other = f"cw2:{fabrikam.agreement_id}"

    for command in (
        ("leave", other, "--on", str(TODAY)),
        ("company", other, "--name", "Fabrikam AG"),
        ("product", APPLICATION, "--psa", "cw2", "--all", "9999"),
        ("billing", other, "off"),
        ("remove", other),
    ):
        before = file.read_text("utf-8")
        result = fleet.run("north", "map", *command)
        assert result.code == 0, result.err
        assert file.read_text("utf-8") != before
    gone = fleet.run("north", "map", "product", APPLICATION, "--psa", "cw", "--all", "9999")
    assert (gone.code, "9999" in gone.err) == (3, True)
    for more in ((), ("--stale",)):
        assert fleet.run("north", "map", "list", *more).code == 0
    assert fleet.run("north", "map", "suggest").code in (0, 6)
    assert fleet.run("north", "check", "--online").code == 0


def test_where_the_other_part_does_not_bill_it_its_line_is_still_told(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=7)
    fleet.maps(fleet.row(contoso), psas="cw")
    fleet.split(BOTH)
    fleet.start("south", "north")
    far = fleet.branch.tenant("Contoso", workstations=9)
    fleet.maps(fleet.row(contoso, f"branch:{far.uid}", more="billing = false\n"), psas="cw")

    north, south = fleet.sync("north"), fleet.sync("south")

    assert [x["quantity"] for x in north.document["left"]] == [7]
    assert (north.code, south.code, fleet.billed()) == (0, 0, {contoso.agreement_id: 7})
    assert "line 90001" in fleet.run("north", "status").out


def test_a_tenant_of_two_clients_is_refused_by_every_part(fleet: Fleet):
    contoso, fabrikam = (fleet.world.client(x, workstations=4) for x in ("Contoso", "Fabrikam"))
    fleet.maps(fleet.row(contoso), fleet.row(fabrikam, f"hq:{contoso.tenant}", psa="cw2"))
    fleet.split(BY_PSA)

    for part in BY_PSA:
        result = fleet.sync(part)
        assert (result.code, result.requests) == (3, ())
        assert f'"hq:{contoso.tenant}" is billed to [[company]] "Contoso"' in result.err
    assert fleet.billed() == {}


# --- what is wrong with the parts themselves ------------------------------------------------------


def test_parts_that_overlap_are_refused(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=4)
    fleet.maps(fleet.row(contoso))
    other = {"state_dir": "state-north"}
    for parts, more, said in (
        (
            {"north": ("hq", "cw cw2"), "south": ("hq branch", "cw2")},
            {},
            "both would bill the same",
        ),
        (BY_PSA, {"south": other}, "Both parts have the state folder"),
    ):
        fleet.split(parts, **more)
        for part in parts:
            result = fleet.sync(part)
            assert (result.code, result.requests) == (3, ())
            assert said in result.err
            assert fleet.run(part, "check").code == 3
    fleet.split(BY_PSA)
    south = fleet.operator.folder / "south.toml"
    address = fleet.whole["sources"]["hq"]["url"]
    south.write_text(south.read_text("utf-8").replace(address, "https://ksc.example.com"), "utf-8")
    assert "[sources.hq] is another system there" in fleet.sync("north").err
    south.unlink()
    result = fleet.sync("north")
    assert (result.code, result.requests) == (3, ())
    assert "`parts` names the kisi.toml of each other part" in result.err
    assert fleet.billed() == {}


def test_an_empty_part_has_nothing_to_do(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=4)
    fleet.maps(fleet.row(contoso))
    fleet.split(BY_PSA)
    fleet.start("south", "north")

    south = fleet.sync("south")

    assert (south.code, south.document["companies"], south.writes) == (0, [], [])
    assert fleet.sync("north").code == 0
    assert fleet.billed() == {contoso.agreement_id: 4}


# --- a client changes its part --------------------------------------------------------------------


def test_with_its_agreement_its_line_is_taken_over_by_adoption(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=7)
    fabrikam = fleet.world.client("Fabrikam", workstations=3)
    fleet.maps(fleet.row(contoso), fleet.row(fabrikam), psas="cw")
    fleet.split(BOTH)
    fleet.start("south", "north")
    before = {contoso.agreement_id: 7, fabrikam.agreement_id: 3}
    assert fleet.billed() == before
    far = fleet.branch.tenant("Contoso", workstations=9)
    fleet.maps(fleet.row(contoso, f"branch:{far.uid}"), fleet.row(fabrikam), psas="cw")

    north, held = fleet.sync("north"), fleet.sync("south")

    assert [x["name"] for x in north.document["companies"]] == ["Fabrikam"]
    assert north.document["left"] == []  # it is the other part's now
    assert held.holds("Contoso") == {str(fleet.product): "adopt"}
    assert fleet.billed() == before
    assert fleet.sync("south", "--accept", plan_id(held, "Contoso")).code == 0
    assert fleet.billed() == {**before, contoso.agreement_id: 9}
    far.add_device("workstation")
    far.keys[0].use(far.devices[-1])
    assert fleet.sync("south").code == 0
    assert fleet.billed() == {**before, contoso.agreement_id: 10}


def test_to_another_psa_it_waits_for_the_line_that_the_other_part_wrote(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=7)
    new = fleet.world.agreement(fleet.world.company("Contoso"), "new")
    fleet.maps(fleet.row(contoso))
    fleet.split(BY_PSA)
    fleet.start("south", "north")
    contoso.company = fleet.world.companies[new.company_id]
    fleet.maps(fleet.row(contoso, psa="cw2", agreement=new.id))

    held, left = fleet.sync("south"), fleet.sync("north")

    assert fleet.billed() == {contoso.agreement_id: 7}
    assert held.holds("Contoso") == {str(fleet.product): "elsewhere"}
    reason = held.company("Contoso")["lines"][0]["hold"]["reason"]
    assert "bills" in reason or "billed 7 x" in reason
    assert "another part of the fleet wrote it" in reason
    assert [x["quantity"] for x in left.document["left"]] == [7]
    assert fleet.run("north", "status", "--ready").code == 6
    fleet.world.additions(contoso.agreement_id)[0].quantity = 0  # by a person
    fleet.sync("north")
    assert fleet.sync("south").code == 0
    assert fleet.billed() == {contoso.agreement_id: 0, new.id: 7}


def test_with_a_last_day_the_old_part_ends_it_and_the_new_one_waits_for_that(fleet: Fleet):
    contoso = fleet.world.client("Contoso", workstations=7)
    new = fleet.world.agreement(fleet.world.company("Contoso"), "new")
    fleet.maps(fleet.row(contoso))
    fleet.split(BY_PSA)
    fleet.start("south", "north")
    old = fleet.row(contoso, more=f"until = {TODAY}\n")
    contoso.company = fleet.world.companies[new.company_id]
    fleet.maps(old, fleet.row(contoso, psa="cw2", agreement=new.id))

    assert fleet.sync("south").code == 0  # it begins tomorrow
    assert fleet.sync("north").code == 0
    assert fleet.billed() == {contoso.agreement_id: 7}
    fleet.operator.next_night()
    assert fleet.sync("south").holds("Contoso") == {str(fleet.product): "elsewhere"}
    held = fleet.sync("north")
    assert held.holds("Contoso") == {str(fleet.product): "left"}
    assert fleet.billed() == {contoso.agreement_id: 7}
    assert fleet.sync("north", "--accept", plan_id(held, "Contoso")).code == 0
    assert fleet.sync("south").code == 0
    assert fleet.billed() == {contoso.agreement_id: 0, new.id: 7}


def test_a_tenant_that_another_client_is_given_across_parts_waits_too(fleet: Fleet):
    contoso, fabrikam = (fleet.world.client(x, workstations=6) for x in ("Contoso", "Fabrikam"))
    second = fleet.world.tenant("Branch", workstations=5)
    shop = f"hq:{second.uid}"
    mine = [f"hq:{one.tenant}" for one in (contoso, fabrikam)]
    fleet.maps(fleet.row(contoso, mine[0], shop), fleet.row(fabrikam, psa="cw2"))
    fleet.split(BY_PSA)
    fleet.start("south", "north")
    fleet.sync("south")
    before = {contoso.agreement_id: 11, fabrikam.agreement_id: 6}
    assert fleet.billed() == before
    fleet.maps(fleet.row(contoso), fleet.row(fabrikam, mine[1], shop, psa="cw2"))

    held = fleet.sync("south")

    assert held.holds("Fabrikam") == {str(fleet.product): "elsewhere"}
    assert fleet.billed() == before
    down = fleet.sync("north")
    assert down.code == 6, down.err
    assert fleet.sync("north", "--accept", plan_id(down, "Contoso")).code == 0
    assert fleet.sync("south").code in (0, 6)
    assert fleet.billed()[contoso.agreement_id] == 6
