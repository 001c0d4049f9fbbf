from __future__ import annotations

import tomllib
from datetime import timedelta

import pytest

from kisi.sandbox.configuration import mapping_text
from kisi.sandbox.demo import demo, fleet
from kisi.sandbox.ksc_records import SYSTEMS, KeyType, VirtualServer
from kisi.sandbox.world import Client, World
from tests.unit.sandbox.conftest import NOW

HOSTILE = '=cmd|[bold red]Büro & Söhne[/] "\x1b[31m\u202egnihtyreve 東京'


def world() -> World:
    return World(lambda: NOW)


def named(made: World, name: str) -> Client:
    return next(client for client in made.clients if client.name == name)


def test_a_client_has_both_sides_and_a_key_on_every_device():
    contoso = world().client("Contoso", workstations=90, servers=10, ios=1)

    assert len(contoso.devices()) == len(contoso.first_key.uses) == 101
    assert len(contoso.devices("server")) == 10
    assert (contoso.company_id, contoso.agreement_id) == (250, 1042)
    assert contoso.tenant == contoso.server.uid
    assert contoso.first_key.key_type == KeyType.SUBSCRIPTION


def test_the_same_calls_make_the_same_world():
    one, other = (world().client("Contoso", workstations=3) for _ in range(2))

    assert one.server == other.server
    assert one.company == other.company
    assert one.agreement == other.agreement


def test_removed_devices_take_their_rows_along_and_ids_are_never_used_again():
    contoso = world().client("Contoso", workstations=5, servers=1)
    second = contoso.key("Other", kind="commercial", devices=contoso.devices())

    gone = contoso.remove_devices(2, os="workstation")
    new = contoso.add_devices("workstation", 2)

    assert len(contoso.devices()) == len(contoso.first_key.uses) == 6
    assert len(second.uses) == 4
    assert not {device.host_id for device in gone} & {device.host_id for device in new}
    with pytest.raises(ValueError, match="only 1"):
        contoso.remove_devices(2, os="server")


def test_a_device_can_be_reclassified():
    contoso = world().client("Contoso", servers=2)

    contoso.devices()[0].system = SYSTEMS["workstation"]

    assert len(contoso.devices("workstation")) == len(contoso.devices("server")) == 1


def test_wrong_kinds_and_attributes_are_refused():
    made = world()
    with pytest.raises(KeyError):
        made.client("Contoso", toasters=3)
    with pytest.raises(KeyError):
        made.make_key(kind="free")
    with pytest.raises(AttributeError):
        made.client("Fabrikam").key(colour="blue")


def test_the_demo_is_lively_and_the_same_every_day():
    made = demo(lambda: NOW)

    kinds = {key.key_type for client in made.clients for key in client.server.keys}
    systems = {device.system for client in made.clients for device in client.devices()}
    assert len([client for client in made.clients if client.mapped]) == 14
    assert kinds >= {KeyType.COMMERCIAL, KeyType.SUBSCRIPTION, KeyType.TRIAL}
    assert systems == set(SYSTEMS.values())
    statuses = [client.agreement.status(made.today) for client in made.clients]
    assert statuses.count("Expired") == 1
    assert sum(not client.billing for client in made.clients) == 1
    mapped = {client.tenant for client in made.clients}
    mapped |= {tenant[3:] for client in made.clients for tenant in client.more_tenants}
    assert [server.name for server in made.servers if server.uid not in mapped] == ["Trey Research"]
    billed = {client.company_id for client in made.clients}
    strangers = [company.name for number, company in made.companies.items() if number not in billed]
    assert strangers == ["Lucerne Publishing"]
    later = demo(lambda: NOW + timedelta(days=1))
    assert [client.tenant for client in later.clients] == [client.tenant for client in made.clients]


def test_a_client_of_the_demo_has_two_virtual_servers_that_share_a_device():
    made = demo(lambda: NOW)

    school = named(made, "School of Fine Art")
    campus = next(server for server in made.servers if f"hq:{server.uid}" in school.more_tenants)
    ids = [{device.host_id for device in server.devices} for server in (school.server, campus)]

    assert len(ids[0] & ids[1]) == 1
    assert {use.host_id for use in campus.keys[0].uses} == ids[1]


def test_a_tenant_is_the_kaspersky_side_alone():
    made = world()

    server = made.tenant("Contoso", kind="commercial", servers=2)

    assert [use.host_id for use in server.keys[0].uses] == [d.host_id for d in server.devices]
    assert (made.companies, made.agreements, made.clients) == ({}, {}, [])
    with pytest.raises(KeyError):
        made.tenant("Fabrikam", toasters=1)


def test_a_key_name_of_the_demo_always_belongs_to_an_application():
    made = demo(lambda: NOW)

    applications = {row.name for row in made.billing.applications}
    names = {key.name for server in made.servers for key in server.keys}

    assert names == applications


def test_hostile_names_survive_the_mapping_file():
    made = demo(lambda: NOW)
    made.client(HOSTILE, workstations=5)

    rows = tomllib.loads(mapping_text(made.billing, made.clients))

    assert HOSTILE in [row["name"] for row in rows["company"]]
    assert rows["company"][0] == {
        "name": "Contoso",
        "tenants": [f"hq:{made.clients[0].tenant}"],
        "psa": "cw",
        "company": 250,
        "agreement": 1042,
    }
    fabrikam = next(row for row in rows["company"] if row["name"] == "Fabrikam")
    assert [list(row) for row in fabrikam["product"]] == [["application", "all"]]
    assert [row.get("bill", True) for row in rows["application"]] == [True, True, True, False]


def test_a_fleet_has_messy_names_and_a_known_truth():
    made = fleet(400, now=lambda: NOW)

    servers: list[VirtualServer] = made.world.servers
    companies = made.world.companies
    assert (len(servers), len(companies), len(made.world.agreements)) == (400, 600, 600)
    assert made.truth.keys() == {server.uid for server in servers}
    known = {company for company in made.truth.values() if company is not None}
    assert len(known) == 372
    assert known <= companies.keys()
    assert len({company.name for company in companies.values()}) == 600
    same = sum(
        server.name == companies[company].name
        for server in servers
        if (company := made.truth[server.uid])
    )
    assert same < 372 / 2
    assert all(server.keys[0].uses for server in servers)


def test_a_fleet_depends_on_its_seed_alone():
    def names(seed: int) -> list[str]:
        return [server.name for server in fleet(50, seed=seed).world.servers]

    assert names(1) == names(1) != names(2)
