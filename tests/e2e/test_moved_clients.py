"""The mapping moves clients between agreements, rows and applications: nobody is billed twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator

SELECT = "Kaspersky Endpoint Security for Business - Select"


@dataclass(frozen=True, slots=True)
class Row:
    """A `[[company]]` of PSA company 250."""

    name: str
    tenants: tuple[str, ...]
    agreement: int
    billing: bool = True

    def __str__(self) -> str:
        return (
            f"[[company]]\nname = {json.dumps(self.name)}\ntenants = {json.dumps(self.tenants)}\n"
            f"company = 250\nagreement = {self.agreement}\nbilling = {str(self.billing).lower()}\n"
        )


def application(name: str, product: int, *keys: str) -> str:
    return (
        f'[[application]]\nname = "{name}"\nkeys = {json.dumps(keys or [name + "*"])}\n'
        f'[[product]]\napplication = "{name}"\nall = {product}\n'
    )


class Desk:
    """An operator with two tenants of one PSA company, who edits mapping.toml by hand."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.advanced = operator.bill_as_one()
        self.north = operator.client("Contoso", workstations=6)
        self.south = operator.client("Contoso South", workstations=9)
        self.old = self.north.agreement_id
        self.new, self.other = (
            operator.world.agreement(self.north.company, "new").id for _ in "ab"
        )
        self.n, self.s = f"hq:{self.north.tenant}", f"hq:{self.south.tenant}"
        operator.by_hand()

    def maps(self, *rows: Row, applications: Iterable[str] = ()) -> None:
        parts = [*(applications or [application(APPLICATION, self.advanced)]), *map(str, rows)]
        (self.operator.folder / "mapping.toml").write_text("\n".join(parts), encoding="utf-8")

    def sync(self, code: int, *arguments: str) -> str:
        """Syncs, and tells the last line."""
        result = self.operator.sync(*arguments)
        assert result.code == code, result.err
        return result.err.strip().splitlines()[-1]

    def billed(self, *agreements: int) -> list[list[float]]:
        return [
            [one.quantity for one in self.operator.world.additions(agreement)]
            for agreement in agreements
        ]

    def ready(self) -> int:
        return self.operator.run("status", "--ready").code


@pytest.fixture
def desk(operator: Operator) -> Desk:
    return Desk(operator)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("only", [(), ("--only", "Munich")])
def test_of_two_clients_of_a_company_the_one_that_moved_waits_for_its_old_line(
    desk: Desk, turned: bool, only: tuple[str, ...]
):
    berlin = Row("Berlin", (desk.n,), desk.old)
    desk.maps(berlin, Row("Munich", (desk.s,), desk.other))
    desk.sync(0)
    rows = [berlin, Row("Munich", (desk.s,), desk.new)]
    desk.maps(*(reversed(rows) if turned else rows))
    assert "Munich (held: orphaned)" in desk.sync(6, *only)
    assert desk.billed(desk.old, desk.other, desk.new) == [[6], [9], []]
    assert desk.ready() == 6

    document = desk.operator.run("preview", "--json").document
    desk.sync(0, "--accept", document["plan_id"])
    assert desk.billed(desk.old, desk.other, desk.new) == [[6], [0], [9]]


def test_the_line_of_a_client_that_was_taken_out_stays_and_is_listed(desk: Desk):
    berlin = Row("Berlin", (desk.n,), desk.old)
    desk.maps(berlin, Row("Munich", (desk.s,), desk.other))
    desk.sync(0)
    desk.maps(berlin)
    desk.north.add_devices(n=1)
    desk.sync(0)
    assert desk.billed(desk.old, desk.other) == [[7], [9]]
    assert "Munich" in desk.operator.run("preview").out


def test_where_a_client_is_split_nobody_takes_its_devices_before_its_line_is_0(desk: Desk):
    desk.maps(Row("Contoso", (desk.n, desk.s), desk.old))
    desk.sync(0)
    desk.maps(Row("North", (desk.n,), desk.new), Row("South", (desk.s,), desk.other))
    last = desk.sync(6)
    assert "North (held: orphaned), South (held: waits for line " in last
    assert desk.billed(desk.old, desk.new, desk.other) == [[15], [], []]
    assert "South (held: elsewhere)" in desk.sync(6, "--only", "South")

    document = desk.operator.run("preview", "--json").document
    waiting = document["companies"][1]
    (line,) = waiting["lines"]
    assert "waits for line" in line["hold"]["reason"]
    assert "of North" in line["hold"]["reason"]
    orphan = document["companies"][0]["plan_id"]
    assert line["hold"]["remedy"].endswith(f"kisi sync --accept {orphan}")
    desk.sync(6, "--accept", waiting["plan_id"])  # it accepts nothing: South only waits
    assert desk.billed(desk.old, desk.new, desk.other) == [[15], [], []]
    desk.sync(0, "--accept", document["plan_id"])
    assert desk.billed(desk.old, desk.new, desk.other) == [[0], [6], [9]]


def test_a_tenant_that_moves_is_billed_anew_in_the_same_run_its_old_line_first(desk: Desk):
    desk.maps(Row("Contoso", (desk.n, desk.s), desk.old))
    desk.sync(0)
    desk.maps(Row("Contoso", (desk.n,), desk.old), Row("Lab", (desk.s,), desk.new))
    for only in (("--only", "Lab"), ("--only", "Lab")):
        assert "Lab (held: elsewhere)" in desk.sync(6, *only)
        assert desk.billed(desk.old, desk.new) == [[15], []]
    document = desk.operator.run("preview", "--json").document
    (line,) = document["companies"][1]["lines"]
    assert line["hold"]["guard"] == "with"
    assert "waits for line" in line["hold"]["reason"]
    assert "of Contoso" in line["hold"]["reason"]
    remedy = f"kisi sync --accept {document['companies'][0]['plan_id']}"
    assert line["hold"]["remedy"].endswith(remedy)

    desk.sync(0, "--accept", document["plan_id"])
    assert desk.billed(desk.old, desk.new) == [[6], [9]]
    log = [one for one in desk.operator.sandbox.log if one.server == "connectwise"]
    writes = [one.method for one in log if one.method in {"PATCH", "POST"}]
    assert writes[-2:] == ["PATCH", "POST"]
    assert desk.ready() == 0


def test_a_tenant_that_moves_to_a_client_that_is_billed_already_waits_too(desk: Desk):
    third = desk.operator.client("Third", workstations=20)
    maps = Row("Contoso", (desk.n, desk.s), desk.old), Row("Lab", (f"hq:{third.tenant}",), desk.new)
    desk.maps(*maps)
    desk.sync(0)
    both = Row("Lab", (f"hq:{third.tenant}", desk.s), desk.new)
    desk.maps(Row("Contoso", (desk.n,), desk.old), both)
    assert "Contoso (held: decrease), Lab (held: waits for line " in desk.sync(6)
    assert desk.billed(desk.old, desk.new) == [[15], [20]]


@pytest.mark.parametrize("trouble", ["source", "refused"])
def test_where_the_old_line_cannot_come_down_the_tenant_is_not_billed_twice(
    desk: Desk, trouble: str
):
    desk.north.add_devices(n=50)
    desk.maps(Row("Contoso", (desk.n, desk.s), desk.old))
    desk.sync(0)
    desk.maps(Row("Contoso", (desk.n,), desk.old), Row("Lab", (desk.s,), desk.new))
    if trouble == "source":
        desk.north.server.enabled = False
        desk.sync(4)
        desk.north.server.enabled = True
    else:
        desk.operator.sandbox.faults.add("status", match="PATCH *", code=400)
        desk.sync(7)
    assert desk.billed(desk.old, desk.new) == [[65], []]
    desk.sync(0)
    assert desk.billed(desk.old, desk.new) == [[56], [9]]


def test_two_clients_that_change_agreements_never_wait_for_each_other(desk: Desk):
    north, south = Row("North", (desk.n,), desk.old), Row("South", (desk.s,), desk.new)
    desk.maps(north, south)
    desk.sync(0)
    desk.maps(Row("North", (desk.n,), desk.new), Row("South", (desk.s,), desk.old))
    desk.north.add_devices(n=2)
    desk.sync(0)
    assert desk.billed(desk.old, desk.new) == [[9], [8]]


def test_where_a_client_is_split_over_clients_that_are_billed_already_they_wait(desk: Desk):
    third = desk.operator.client("Third", workstations=20)
    rows = Row("Contoso", (desk.n, desk.s), desk.old), Row("Lab", (f"hq:{third.tenant}",), desk.new)
    desk.maps(*rows)
    desk.sync(0)
    desk.maps(
        Row("North", (desk.n,), desk.other), replace(rows[1], tenants=(*rows[1].tenants, desk.s))
    )
    assert "North (held: orphaned), Lab (held: waits for line " in desk.sync(6)
    assert desk.billed(desk.old, desk.other, desk.new) == [[15], [], [20]]


def test_a_tenant_that_is_billed_on_a_new_row_waits_for_the_line_of_its_old_one_that_is_off(
    desk: Desk,
):
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    desk.sync(0)
    desk.maps(
        Row("Contoso old", (desk.n,), desk.old, billing=False), Row("Contoso", (desk.n,), desk.new)
    )
    assert "Contoso (held: elsewhere)" in desk.sync(6)
    assert desk.billed(desk.old, desk.new) == [[6], []]
    assert desk.ready() == 6
    (line,) = desk.operator.run("preview", "--json").document["companies"][1]["lines"]
    assert f"(agreement {desk.old}) still bills 6" in line["hold"]["reason"]
    assert "billing is off for that client" in line["hold"]["reason"]

    desk.operator.world.additions(desk.old)[0].quantity = 0.0  # as the remedy says
    desk.sync(0)
    assert desk.billed(desk.old, desk.new) == [[0], [6]]


def test_an_application_that_takes_anothers_keys_over_waits_for_its_line(desk: Desk):
    row = Row("Contoso", (desk.n,), desk.old)
    select = desk.operator.world.product("SEL").id
    desk.north.add_devices(n=4, key=desk.north.key(SELECT))
    desk.maps(
        row,
        applications=[application(APPLICATION, desk.advanced), application(SELECT, select)],
    )
    desk.sync(0)
    assert desk.billed(desk.old) == [[6, 4]]
    both = application(APPLICATION, desk.advanced, f"{APPLICATION}*", f"{SELECT}*")
    desk.maps(row, applications=[both])
    assert "Contoso (held: orphaned)" in desk.sync(6)
    assert desk.billed(desk.old) == [[6, 4]]


def test_two_applications_that_change_places_change_together_or_not_at_all(desk: Desk):
    row = Row("Contoso", (desk.n,), desk.old)
    select = desk.operator.world.product("SEL").id
    desk.north.add_devices(n=13, key=desk.north.key(SELECT))
    both = ((APPLICATION, desk.advanced), (SELECT, select))
    desk.maps(row, applications=[application(*one) for one in both])
    desk.sync(0)
    assert desk.billed(desk.old) == [[6, 13]]
    swapped = ((APPLICATION, select), (SELECT, desk.advanced))
    desk.maps(row, applications=[application(*one) for one in swapped])
    desk.sync(6)
    assert desk.billed(desk.old) == [[6, 13]]


def test_what_people_keep_stays_theirs_under_a_new_name_of_its_application(desk: Desk):
    row = Row("Contoso", (desk.n,), desk.old)
    desk.maps(row)
    desk.sync(0)
    desk.operator.world.additions(desk.old)[0].quantity = 4.0
    left = '[[company.product]]\napplication = "Ours"\nbill = false\n'
    desk.maps(row, applications=[application("Ours", desk.advanced, f"{APPLICATION}*")])
    mapping = desk.operator.folder / "mapping.toml"
    mapping.write_text(mapping.read_text(encoding="utf-8") + left, encoding="utf-8")
    desk.sync(0)
    assert desk.billed(desk.old) == [[4]]


def test_the_noise_of_a_double_is_nobodys_change(desk: Desk):
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    desk.sync(0)
    desk.operator.world.additions(desk.old)[0].quantity = 6.000000001
    desk.sync(0)
    desk.north.add_devices(n=1)
    desk.sync(0)
    assert desk.billed(desk.old) == [[7]]


def test_a_line_to_which_a_person_gave_another_product_is_not_doubled(desk: Desk):
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    desk.sync(0)
    (line,) = desk.operator.world.additions(desk.old)
    line.product_id = other = desk.operator.world.product("SOMETHING-ELSE").id
    assert "Contoso (ambiguous: line 90001 of product" in desk.sync(6)
    assert desk.billed(desk.old) == [[6]]
    desk.maps(Row("Contoso", (desk.n,), desk.old), applications=[application(APPLICATION, other)])
    desk.sync(0)
    assert desk.billed(desk.old) == [[6]]


def test_a_line_makes_no_room_for_one_that_cannot_be_made(desk: Desk):
    """A mistyped product: there is nothing to accept, and what is billed stays billed."""
    row = Row("Contoso", (desk.n,), desk.old)
    desk.maps(row)
    desk.sync(0)
    desk.maps(row, applications=[application(APPLICATION, 7777)])
    assert "Contoso (product: product 7777, which is to bill" in desk.sync(6)
    preview = desk.operator.run("preview", "--json")
    assert (preview.code, "sync --accept" in preview.out) == (6, False)
    plan_id = preview.document["companies"][0]["plan_id"]
    desk.operator.sync("--accept", plan_id)
    assert desk.billed(desk.old) == [[6]]


@pytest.mark.parametrize("text", [None, "", "# nothing\n"])
def test_a_mapping_that_is_gone_is_an_error_and_not_a_quiet_night(desk: Desk, text: str | None):
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    desk.sync(0)
    file = desk.operator.folder / "mapping.toml"
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    for _ in range(2):
        result = desk.operator.run("sync", "-q")
        assert result.code == 3
        assert "maps no client or does not exist, and 1 were billed until now" in result.err
    assert desk.billed(desk.old) == [[6]]
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    desk.sync(0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--exclude", "Contosso"), "No client of mapping.toml has a name that matches 'Contosso'"),
        (("--only", "Contoso", "--only", "X*"), "has a name that matches 'X*'"),
        (("--exclude", "*"), "--client and --exclude leave no client"),
    ],
)
def test_a_choice_of_clients_that_names_nobody_is_an_error(
    desk: Desk, arguments: tuple[str, ...], said: str
):
    desk.maps(Row("Contoso", (desk.n,), desk.old))
    result = desk.operator.run("sync", *arguments)
    assert (result.code, said in result.err) == (3, True)
    assert desk.billed(desk.old) == [[]]


def test_brackets_in_a_name_are_only_brackets(desk: Desk):
    desk.maps(Row("Contoso [EU]", (desk.n,), desk.old), Row("Contoso E", (desk.s,), desk.other))
    desk.sync(0, "--only", "Contoso [EU]")
    assert desk.billed(desk.old, desk.other) == [[6], []]
