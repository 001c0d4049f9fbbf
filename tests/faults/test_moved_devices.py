"""A device is in another company now, and the line that billed it stays: it is billed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID, uuid5

import pytest

from kisi.sandbox.configuration import Part, Report, company_row
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator

WORLD = UUID("5f0c1d3e-6a55-4c43-9a3e-2f7b8f1f7a10")
IDS: dict[str, Callable[[str], str]] = {
    "guid": lambda name: str(uuid5(WORLD, name)),
    "number": lambda name: name.removeprefix("PC-"),
    "name": lambda _: "",
}
"""What a report has as `device_id`; for `name` it has no such column."""
HUB = """\
[sources.hub]
kind = "business-hub"
files = ["exports/devices-*.csv"]
"""
OLD, NEW = range(10), range(20, 23)


class Fleet:
    """The clients Old (10 devices) and New (3), and another; each night they may have others."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        operator.bill_as_one()
        self.companies = {name: operator.world.company(name) for name in ("Old", "New", "Other")}
        self.agreements = {
            name: operator.world.agreement(company) for name, company in self.companies.items()
        }
        self.tenants = {name: f"hub:{name}" for name in self.companies}
        self.part = Part("moved")
        operator.sandbox.add(self.part)
        self.rows()

    def row(self, name: str, tenant: str = "", *, billing: bool = True) -> str:
        known = {"company": self.companies[name].id, "agreement": self.agreements[name].id}
        tenants = [tenant or self.tenants[name]]
        return company_row(name, tenants, psa="cw", billing=billing, **known)

    def rows(self, *rows: str) -> None:
        """Maps these clients, by default all."""
        self.part.mapping = "\n".join(rows or map(self.row, self.companies))

    def report(self, ids: str, **devices: Iterable[int]) -> None:
        """Exports which company has which devices, but for Other's one."""
        heading = "company,application,device,operating_system,device_id"
        lines = [heading] + [
            f"{company},{APPLICATION},{name},Windows 11 Pro,{IDS[ids](name)}"
            for company, numbers in {"Other": [99], **devices}.items()
            for name in (f"PC-{number:02}" for number in numbers)
        ]
        if ids == "name":
            lines = [line.rpartition(",")[0] for line in lines]
        content = "".join(f"{line}\n" for line in lines).encode()
        self.part.config = HUB
        self.part.reports = lambda: [
            Report("exports/devices-1.csv", content, self.operator.world.now() - timedelta(hours=1))
        ]

    def begin(self, ids: str) -> None:
        """Two nights in which everybody is billed for what is his."""
        for _ in range(2):
            self.report(ids, Old=OLD, New=NEW)
            assert self.operator.sync().code == 0
            self.operator.next_night()
        assert self.billed("Old", "New") == [[10], [3]]

    def billed(self, *names: str) -> list[list[float | None]]:
        world = self.operator.world
        return [[x.quantity for x in world.additions(self.agreements[name].id)] for name in names]

    def ready(self) -> int:
        return self.operator.run("status", "--ready").code

    def accept(self, name: str, *options: str) -> int:
        plan = self.operator.preview(*options).company(name)["plan_id"]
        return self.operator.sync(*options, "--accept", plan).code


@pytest.fixture
def fleet(operator: Operator) -> Fleet:
    return Fleet(operator)


EVERY = pytest.mark.parametrize("ids", IDS)
WAYS = {
    "only the new one runs": ("--client", "New"),
    "the old one is left out": ("--exclude", "Old"),
    "switched off": (),
    "its row is removed": (),
    "all of it moved": (),
}


@EVERY
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.fault(
    17,
    injection="devices are in another company of a report, and nobody reads any more those that "
    "the old line bills: not in the run, switched off, removed, missing",
    outcome="the new company's line waits (`elsewhere`), night by night, and its id releases it; "
    "no device is on two lines by itself; `status --ready` says so, exit 6",
)
def test_devices_of_a_company_that_nobody_reads_are_not_billed_twice(
    fleet: Fleet, way: str, ids: str
):
    fleet.begin(ids)
    rows = {
        "switched off": [fleet.row("Old", billing=False), fleet.row("New"), fleet.row("Other")],
        "its row is removed": [fleet.row("New"), fleet.row("Other")],
    }
    fleet.rows(*rows.get(way, ()))
    left = () if way == "all of it moved" else OLD[4:]
    moved = [*NEW, *(OLD if not left else OLD[:4])]
    for _ in range(2):
        fleet.report(ids, Old=left, New=moved)
        result = fleet.operator.sync(*WAYS[way])
        assert result.code == (6 if left else 4)
        assert "New (held: elsewhere)" in result.last_line
        assert result.company("New")["lines"][0]["hold"]["guard"] == "elsewhere"
        assert fleet.billed("Old", "New") == [[10], [3]]
        assert fleet.ready() == 6
        fleet.operator.next_night()

    fleet.report(ids, Old=left, New=moved)
    fleet.accept("New", *WAYS[way])
    assert fleet.billed("Old", "New") == [[10], [len(moved)]]


@EVERY
@pytest.mark.fault(
    17,
    injection="a company of a report has another name, and is mapped as a new client",
    outcome="the new client is not billed beside the old line, which no row names any more: "
    "`elsewhere`, exit 6, until that line is 0",
)
def test_a_company_under_another_name_is_not_billed_twice(fleet: Fleet, ids: str):
    fleet.begin(ids)
    fleet.companies["Heir"] = heir = fleet.operator.world.company("Heir")
    fleet.agreements["Heir"] = fleet.operator.world.agreement(heir)
    fleet.rows(fleet.row("Heir", "hub:Old Ltd"), fleet.row("New"), fleet.row("Other"))
    fleet.report(ids, **{"Old Ltd": OLD, "New": NEW})

    result = fleet.operator.sync()

    assert (result.code, fleet.billed("Old", "Heir")) == (6, [[10], []])
    assert "Heir (held: elsewhere)" in result.last_line
    assert fleet.ready() == 6
    fleet.operator.world.additions(fleet.agreements["Old"].id)[0].quantity = 0
    assert fleet.operator.sync().code == 0
    assert fleet.billed("Old", "Heir") == [[0], [10]]


@EVERY
@pytest.mark.fault(
    17,
    injection="devices of a client that has left are in another company, and its line is on hold",
    outcome="the other company's line waits for it, exit 6; one command releases both",
)
def test_devices_of_a_client_that_left_are_not_billed_twice(fleet: Fleet, ids: str):
    fleet.begin(ids)
    until = fleet.operator.world.now().date() - timedelta(days=1)
    old = fleet.row("Old").rstrip() + f"\nuntil = {until}\n"
    fleet.rows(old, fleet.row("New"), fleet.row("Other"))
    fleet.report(ids, Old=OLD[4:], New=[*NEW, *OLD[:4]])

    result = fleet.operator.sync()

    assert (result.code, fleet.billed("Old", "New")) == (6, [[10], [3]])
    assert "New (held: waits for line " in result.last_line
    assert fleet.accept("Old") == 0
    assert fleet.billed("Old", "New") == [[0], [7]]


@pytest.mark.fault(
    17,
    injection="one report has the same GUID in two companies, or the same name",
    outcome="by the GUID it is one device: what rises waits (`counted-twice`), exit 6; by the name "
    "there are two, and both are billed",
)
def test_a_guid_in_two_companies_is_one_device_and_a_name_is_two(fleet: Fleet):
    fleet.begin("guid")
    for _ in range(2):
        fleet.report("guid", Old=OLD, New=[*NEW, *OLD[:4]])
        result = fleet.operator.sync()
        assert (result.code, fleet.billed("Old", "New")) == (6, [[10], [3]])
        assert "New (held: counted-twice)" in result.last_line
        assert fleet.ready() == 6
    fleet.report("name", Old=OLD, New=[*NEW, *OLD[:4]])
    assert fleet.operator.sync().code == 0
    assert fleet.billed("Old", "New") == [[10], [7]]


def test_a_guid_in_two_companies_of_one_client_counts_once(fleet: Fleet):
    both = fleet.row("Old").replace('["hub:Old"]', '["hub:Old", "hub:New"]')
    fleet.rows(both, fleet.row("Other"))
    for ids, number in (("guid", 13), ("name", 17)):
        fleet.report(ids, Old=OLD, New=[*NEW, *OLD[:4]])
        fleet.operator.sync()
        assert fleet.billed("Old") == [[number]]
        told = json.loads(fleet.operator.run("explain", "Old", "--json").out)["tenants"]
        shared = [x for tenant in told for one in tenant["applications"] for x in one["shared"]]
        assert len(shared) == 17 - number


@pytest.mark.parametrize("way", ["only the new one runs", "switched off"])
def test_a_name_that_two_companies_always_had_holds_nobody(fleet: Fleet, way: str):
    """And one that a person has let rise beside the other is not asked about again."""
    fleet.begin("name")
    if way == "switched off":
        fleet.rows(fleet.row("Old", billing=False), fleet.row("New"), fleet.row("Other"))
    fleet.report("name", Old=OLD, New=[*NEW, OLD[1]])
    assert fleet.operator.sync(*WAYS[way]).code == 6
    fleet.accept("New", *WAYS[way])
    for more in range(1, 4):
        fleet.operator.next_night()
        fleet.report("name", Old=OLD, New=[*NEW, OLD[1], *range(30, 30 + more)])
        assert fleet.operator.sync(*WAYS[way]).code == 0
        assert fleet.billed("Old", "New") == [[10], [4 + more]]
    fleet.operator.next_night()
    fleet.report("name", Old=OLD[:2], New=[*NEW, OLD[1], *range(30, 33), *OLD[2:4]])
    assert "New (held: elsewhere)" in fleet.operator.sync(*WAYS[way]).last_line


@pytest.mark.parametrize("way", ["only the new one runs", "switched off", "its row is removed"])
@pytest.mark.fault(
    17,
    injection="devices are on another virtual server, and nobody reads any more those that the old "
    "line bills: not in the run, switched off, removed",
    outcome="the new client's line waits (`elsewhere`), exit 6, and its id releases it; no device "
    "is on two lines by itself",
)
def test_devices_of_a_virtual_server_that_nobody_reads_are_not_billed_twice(
    operator: Operator, way: str
):
    product = operator.bill_as_one()
    old, new = (operator.client(name, workstations=n) for name, n in (("Old", 10), ("New", 3)))
    assert operator.sync().code == 0
    for device in old.devices()[:4]:
        old.server.remove_device(device)
        new.server.devices.append(device)
        new.first_key.use(device)
    old.billing, old.mapped = way != "switched off", way != "its row is removed"

    result = operator.sync(*WAYS[way])

    assert (result.code, old.quantities, new.quantities) == (6, {product: 10}, {product: 3})
    assert "New (held: elsewhere)" in result.last_line
    operator.sync(*WAYS[way], "--accept", result.company("New")["plan_id"])
    assert new.quantities == {product: 7}
