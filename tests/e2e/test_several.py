"""Several of everything: tenants of one client, sources, PSAs; and the exceptions of one client."""

from __future__ import annotations

import pytest

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.world import APPLICATION, World
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import TigerpawSide, submits

CLOUD_PLUS = "Kaspersky Endpoint Security Cloud Plus"


class Branch:
    """A second Security Center, `[sources.branch]`, with a world of its own."""

    def __init__(self, operator: Operator) -> None:
        sandbox = operator.sandbox
        self.world = World(operator.world.now, site="branch")
        self.ksc = Ksc(self.world)
        server = self.ksc.serve(faults=sandbox.faults, log=sandbox.log, name="branch")
        sandbox.add(self.ksc.part(server, "branch"))


@pytest.fixture
def branch(operator: Operator) -> Branch:
    return Branch(operator)


# --- several tenants of one client ----------------------------------------------------------------


def test_a_device_in_two_virtual_servers_of_one_client_is_billed_once(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7, macs=1)
    second = operator.world.tenant("Contoso, branch", workstations=5)
    contoso.more_tenants.append(f"hq:{second.uid}")
    for carried in (contoso.devices("mac")[0], contoso.devices("workstation")[0]):
        second.devices.append(carried)
        second.keys[0].use(carried)

    assert operator.sync().code == 0

    assert contoso.quantities == {product: 7 + 1 + 5}
    told = operator.run("explain", "Contoso").out
    assert "In a tenant above too, and billed once (2): " in told


def test_the_first_mapped_tenant_decides_the_class_of_a_device_in_both(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=2)
    second = operator.world.tenant("Contoso, branch", servers=3)
    contoso.more_tenants.append(f"hq:{second.uid}")
    carried = contoso.devices()[0]
    twin = second.add_device("server")
    twin.host_id = carried.host_id
    second.keys[0].use(twin)

    assert operator.sync().code == 0

    assert contoso.quantities == {workstations: 2, servers: 3}


def test_users_are_worked_out_for_each_tenant_and_then_added(operator: Operator):
    product = operator.world.product("CLOUD-PLUS")
    operator.world.billing.bill(CLOUD_PLUS, unit="user", all=product)
    contoso = operator.client("Contoso", application=CLOUD_PLUS, workstations=10)
    second = operator.world.tenant("Contoso, drivers", application=CLOUD_PLUS, android=33)
    contoso.more_tenants.append(f"hq:{second.uid}")

    assert operator.sync().code == 0

    assert contoso.quantities == {product.id: 10 + 17}


@pytest.mark.parametrize("trouble", ["gone", "disabled", "unreadable"])
def test_a_client_is_not_billed_from_a_part_of_its_tenants(operator: Operator, trouble: str):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = operator.client("Fabrikam", workstations=3)
    second = operator.world.tenant("Contoso, branch", workstations=5)
    contoso.more_tenants.append(f"hq:{second.uid}")
    operator.sync()

    fabrikam.add_devices()
    if trouble == "gone":
        operator.world.servers.remove(second)
    elif trouble == "disabled":
        second.enabled = False
    else:
        second.readable = False
    result = operator.sync()

    assert result.code == 4
    assert (contoso.quantities, fabrikam.quantities) == ({product: 12}, {product: 4})
    assert "Contoso" in result.last_line


# --- several sources ------------------------------------------------------------------------------


def test_each_security_center_is_read_for_its_own_clients(operator: Operator, branch: Branch):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = operator.client("Fabrikam", workstations=3)
    both = branch.world.tenant("Contoso", workstations=4, servers=1)
    contoso.more_tenants.append(f"branch:{both.uid}")

    result = operator.sync()

    assert result.code == 0
    assert (contoso.quantities, fabrikam.quantities) == ({product: 12}, {product: 3})
    assert not branch.ksc.open_sessions
    assert not branch.ksc.violations


def test_the_same_ids_in_another_security_center_are_counted_apart_once_a_person_said_so(
    operator: Operator, branch: Branch
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=2)
    other = branch.world.tenant("Contoso")
    for device in contoso.devices():
        other.devices.append(device)
        other.keys[0].use(device)
    contoso.more_tenants.append(f"branch:{other.uid}")

    held = operator.sync()
    assert (held.code, held.holds("Contoso")) == (6, {str(product): "counted-twice"})
    assert contoso.quantities == {}

    assert operator.sync("--accept", held.company("Contoso")["plan_id"]).code == 0
    assert contoso.quantities == {product: 4}


def test_a_security_center_that_is_down_stops_its_own_clients_alone(
    operator: Operator, branch: Branch
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = operator.client("Fabrikam", workstations=3)
    both = branch.world.tenant("Contoso", workstations=4)
    contoso.more_tenants.append(f"branch:{both.uid}")
    operator.sync()

    contoso.add_devices()
    fabrikam.add_devices()
    branch.ksc.account.password = "changed meanwhile"
    operator.by_hand()
    (operator.folder / "secrets" / "branch-password").write_text("old", encoding="utf-8")
    result = operator.sync()

    assert result.code == 4
    assert (contoso.quantities, fabrikam.quantities) == ({product: 11}, {product: 4})
    assert result.last_line.startswith("1 of 2 clients up to date; need attention: Contoso (")
    logins = [one for one in result.sent_to("branch") if one.path.endswith("StartSession")]
    assert len(logins) == 1


# --- several PSAs ---------------------------------------------------------------------------------


def test_each_client_is_billed_in_its_own_psa_by_that_psas_products(
    operator: Operator, branch: Branch
):
    addition = operator.bill_as_one()
    side = TigerpawSide(operator)
    charge = side.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = side.client("Fabrikam", workstations=3)
    litware = branch.world.tenant("Litware", workstations=2)
    hub = BusinessHub(operator.world.now)
    hub.licence("Woodgrove", APPLICATION, 11)
    operator.sandbox.add(hub.part())
    both = side.client(
        "Woodgrove", more_tenants=[f"branch:{litware.uid}", "hub:Woodgrove"], workstations=1
    )

    result = operator.sync()

    assert result.code == 0
    assert contoso.quantities == {addition: 7}
    assert fabrikam.quantities == {charge: 3}
    assert both.quantities == {charge: 1 + 2 + 11}
    assert {company["psa"] for company in result.document["companies"]} == {"cw", "tp"}
    operator.next_night()
    again = operator.sync()
    assert (again.code, again.writes, submits(again)) == (0, [], [])


@pytest.mark.parametrize("down", ["connectwise", "tigerpaw"])
def test_a_psa_that_is_down_stops_its_own_clients_alone(operator: Operator, down: str):
    addition = operator.bill_as_one()
    side = TigerpawSide(operator)
    charge = side.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = side.client("Fabrikam", workstations=3)
    match = "* /v4_6_release/*" if down == "connectwise" else "* /api/*"
    operator.sandbox.faults.add("status", match=match, times=None, code=500)

    result = operator.sync()

    assert result.code == 5
    billed = (contoso.quantities, fabrikam.quantities)
    assert billed == (({}, {charge: 3}) if down == "connectwise" else ({addition: 7}, {}))


def test_with_two_psas_every_row_must_say_which(operator: Operator):
    operator.bill_as_one()
    TigerpawSide(operator)
    operator.client("Contoso", workstations=7)
    operator.by_hand()
    mapping = operator.folder / "mapping.toml"
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace('psa = "cw"\n', ""), encoding="utf-8")

    result = operator.run("sync")

    assert (result.code, result.requests) == (3, ())
    said = " ".join(result.err.split())
    assert "mapping.toml: [[product]] " in said
    assert 'mapping.toml: [[company]] "Contoso"' in said
    assert said.count("cw") == said.count("tp") >= 2


# --- exceptions of one client ---------------------------------------------------------------------


def test_an_exception_bills_one_client_with_another_product(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    flat = operator.world.product("FLAT")
    contoso = operator.client("Contoso", workstations=9, servers=1)
    fabrikam = operator.client("Fabrikam", workstations=9, servers=1)
    fabrikam.exceptions.append({"application": APPLICATION, "all": flat.id})

    assert operator.sync().code == 0

    assert contoso.quantities == {workstations: 9, servers: 1}
    assert fabrikam.quantities == {flat.id: 10}


def test_an_exception_with_billing_off_leaves_the_persons_number(operator: Operator):
    product = operator.bill_as_one()
    other = operator.bill_as_one(CLOUD_PLUS)
    contoso = operator.client("Contoso", workstations=9)
    contoso.key(CLOUD_PLUS, devices=contoso.devices())
    operator.sync()
    (line,) = [line for line in contoso.additions if line.product_id == product]
    line.quantity = 50
    held = operator.sync()
    assert (held.code, held.holds("Contoso")[str(product)]) == (6, "decrease")

    contoso.exceptions.append({"application": APPLICATION, "bill": False})
    contoso.add_devices(key=contoso.server.keys[1])
    result = operator.sync()

    assert result.code == 0
    assert contoso.quantities == {product: 50, other: 10}
    operator.next_night()
    assert operator.sync().writes == []


def test_a_new_exception_moves_the_quantity_once_a_person_has_agreed(operator: Operator):
    product = operator.bill_as_one()
    special = operator.world.product("SPECIAL")
    contoso = operator.client("Contoso", workstations=9)
    operator.sync()

    contoso.exceptions.append({"application": APPLICATION, "all": special.id})
    held = operator.sync()
    assert held.code == 6
    assert contoso.quantities == {product: 9}

    assert operator.sync("--accept", held.company("Contoso")["plan_id"]).code == 0
    assert contoso.quantities == {product: 0, special.id: 9}
