"""Lists that are not whole, and numbers that are whole and still cannot be right."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kisi.sandbox.ksc_records import Device, container, encode, of_server
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator
from tests.faults.conftest import Trial, trouble, warnings

KEYS = "LicenseKeys.EnumKeys"
USES = "LicenseKeys.AcquireKeyHosts"
HOSTS = "HostGroup.FindHosts"
PAGE = "GroupSyncIterator.GetNextItems"
CHUNK = "ChunkAccessor.GetItemsChunk"


@pytest.fixture
def paged(billed: Trial) -> Trial:
    """Contoso has so many devices (26) that every list of them takes several pages."""
    billed.contoso.add_devices(n=18)
    billed.operator.more = "[guards]\nincrease_units = 100\n"
    billed.sandbox.ksc.max_items = 5
    return billed


# --- days ----------------------------------------------------------------------------------------


@pytest.mark.fault(
    18,
    injection="under a count policy, a tenant of a client cannot be read in the first nights",
    outcome="exit 4, no line; those days are gaps, and never the sum of the client's other tenants",
)
@pytest.mark.parametrize("policy", ["peak", "average", "day:12"])
def test_a_day_without_one_of_the_tenants_is_a_gap(operator: Operator, policy: str):
    operator.bill_as_one()
    contoso = operator.client(workstations=14)
    contoso.exceptions.append({"application": APPLICATION, "count": policy})
    branch = operator.world.tenant("Branch", workstations=11)
    contoso.more_tenants.append(f"hq:{branch.uid}")
    branch.enabled = False
    for _ in range(3):
        failed = operator.sync()
        assert (failed.code, contoso.quantities) == (4, {})
        operator.next_night()
    branch.enabled = True

    done = operator.sync()

    assert (done.code, [*contoso.quantities.values()]) == (0, [25])
    (line,) = done.company("Contoso")["lines"]
    assert [one["quantity"] for one in line["days"]][-4:] == [None, None, None, 25]
    assert "not read" in operator.run("explain", "Contoso").out
    (line,) = json.loads(operator.run("statement", "Contoso", "--json").out)["lines"]
    known = {one["date"]: one["quantity"] for one in line["days"] if one["quantity"] is not None}
    assert (line["quantity"], known) == (25, {"2026-10-17": 25})


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("opener", [USES, HOSTS])
@pytest.mark.fault(16, injection="a page comes twice", outcome="every device counts once: billed")
def test_a_page_that_comes_twice_is_counted_once(paged: Trial, opener: str):
    fault = paged.fault("twist", f"{opener}@Contoso", repeat_page=True)

    result = paged.sync()

    assert (result.code, fault.fired) == (0, 1)
    assert paged.contoso.quantities == {paged.product: 26}
    paged.heals()


@pytest.mark.fault(
    17, injection="a device is added while a list is read", outcome="counted whole, or not yet"
)
def test_a_device_that_comes_while_its_list_is_read_is_billed_the_next_day(paged: Trial):
    paged.fault("call", f"{PAGE}@Contoso", after=2, function=paged.contoso.add_devices)

    result = paged.sync()

    assert result.code == 0
    assert paged.contoso.quantities == {paged.product: 26}
    assert len(paged.contoso.devices()) == 27
    paged.heals()


@pytest.mark.fault(
    17,
    injection="a device is removed while a list is read",
    outcome="its use without a device is not counted, and says why in `kisi explain`",
)
def test_a_device_that_goes_while_its_list_is_read_is_not_counted(paged: Trial):
    paged.fault("call", f"{PAGE}@Contoso", after=2, function=paged.contoso.remove_devices)

    result = paged.sync()

    assert result.code == 0
    assert paged.contoso.quantities == {paged.product: 25}
    explained = paged.operator.run("explain", "Contoso")
    assert "26 rows = 25 counted + 1 not" in " ".join(explained.out.split())
    paged.heals()


@pytest.mark.fault(
    17,
    injection="a device moves between two tenants of a client while they are read",
    outcome="counted once",
)
def test_a_device_that_moves_while_it_is_read_is_counted_once(paged: Trial):
    branch = paged.operator.client("Contoso branch", workstations=4, mapped=False)
    paged.contoso.more_tenants.append(f"hq:{branch.tenant}")
    moving = paged.contoso.devices()[0]

    def move() -> None:
        branch.server.devices.append(moving)
        branch.first_key.use(moving)

    paged.fault("call", f"{USES}@Contoso", function=move)

    result = paged.sync()

    assert result.code == 0
    assert paged.contoso.quantities == {paged.product: 26 + 4}

    def arrive(device: Device) -> None:
        paged.contoso.server.remove_device(device)

    arrive(moving)
    assert paged.sync().code == 0
    assert paged.contoso.quantities == {paged.product: 25 + 5}


@pytest.mark.parametrize("opener", [KEYS, USES, HOSTS])
@pytest.mark.fault(
    17, injection="a total that does not fit, once", outcome="the list is read again: billed"
)
def test_a_total_that_does_not_fit_once_is_read_again(paged: Trial, opener: str):
    fault = paged.fault("twist", f"{opener}@Contoso", announced=2)
    paged.contoso.key("Something else", devices=paged.contoso.devices()[:1], kind="trial")
    paged.contoso.key("Something more", devices=paged.contoso.devices()[:1], kind="trial")

    result = paged.sync()

    assert (result.code, fault.fired) == (0, 1)
    assert "A list is read again from its start" in " ".join(warnings(result))
    assert paged.contoso.quantities == {paged.product: 26}
    paged.heals()


@pytest.mark.parametrize("opener", [USES, HOSTS])
@pytest.mark.fault(
    17, injection="a total that never fits", outcome="source-incomplete: that client fails, exit 4"
)
def test_a_total_that_never_fits_is_no_number(paged: Trial, opener: str):
    paged.fault("twist", f"{opener}@Contoso", times=None, announced=30)

    result = paged.sync()

    assert (result.code, result.writes) == (4, [])
    cause = trouble(result, "Contoso")
    assert cause.guard == "source-incomplete"
    assert "30" in cause.reason
    assert "26" in cause.reason
    assert "Run kisi again" in cause.remedy
    assert paged.contoso.quantities == {paged.product: 6}
    paged.heals()


@pytest.mark.parametrize(
    ("twist", "opener", "words"),
    [
        ({"cut": 5}, KEYS, "ended after"),
        ({"cut": 5}, USES, "a list of 26 rows ended after 21"),
        ({"cut": 5}, HOSTS, "of 26 devices, 21 arrived"),
        ({"dies_after": 1}, USES, "is gone"),
        ({"dies_after": 1}, HOSTS, "is gone"),
    ],
)
@pytest.mark.fault(
    18,
    injection="the last page is missing, or the iterator expires",
    outcome="source-incomplete: that client fails, exit 4; others are billed",
)
def test_a_list_without_its_last_page_is_no_number(
    paged: Trial, twist: dict[str, int], opener: str, words: str
):
    paged.fabrikam.add_devices()
    paged.fault("twist", f"{opener}@Contoso", times=None, **twist)

    result = paged.sync()

    assert result.code == 4
    assert len(result.writes) == 1
    assert trouble(result, "Contoso").guard == "source-incomplete"
    assert words in paged.sentence
    assert paged.contoso.quantities == {paged.product: 6}
    assert paged.fabrikam.quantities == {paged.product: 4}
    paged.heals()


@pytest.mark.parametrize(
    ("size", "devices", "figure"),  # without a figure of the key, the size alone tells
    [
        (50, 60, True),
        (50, 60, False),
        (50, 52, True),
        (50, 130, False),
        (64, 65, False),
        (30, 40, True),
    ],
)
@pytest.mark.fault(
    17,
    injection="lists are announced with the length of the server's own page, and have more",
    outcome="read to their end and billed whole, with a note",
)
def test_a_count_that_is_the_length_of_a_page_is_not_believed(
    operator: Operator, size: int, devices: int, figure: bool
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=devices)
    contoso.server.hides |= set() if figure else {"KLLIC_NHOSTS_ASCURRENT"}
    operator.sandbox.ksc.max_items = size
    operator.sandbox.ksc.counts_page = True

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: devices}), result.err
    notes = " ".join(result.company("Contoso")["notes"])
    assert f"announced with {size} rows, which is one page of it, and has {devices}: all" in notes
    operator.sandbox.ksc.counts_page = False
    again = operator.sync()
    assert (again.code, again.writes, contoso.quantities) == (0, [], {product: devices})
    assert again.company("Contoso")["notes"] == []


@pytest.mark.fault(
    17,
    injection="the same of the list of keys: the last of 60 is the one in use",
    outcome="read to its end, billed, with a note",
)
def test_a_count_of_keys_that_is_the_length_of_a_page_is_not_believed(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    (used,) = contoso.server.keys
    contoso.server.keys.clear()
    for _ in range(59):
        contoso.key("Something else", devices=[], kind="trial")
    contoso.server.keys.append(used)
    operator.sandbox.ksc.max_items = 50
    operator.sandbox.ksc.counts_page = True

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: 6}), result.err
    assert "announced with 50 rows" in " ".join(result.company("Contoso")["notes"])


# --- whole, and wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["devices", "keys"])
@pytest.mark.fault(
    19,
    injection="a source knows no device, or no key, any more",
    outcome="empty-source holds everything of it, exit 6, no write",
)
def test_a_source_that_knows_nothing_any_more_bills_nobody_zero(billed: Trial, what: str):
    clients = (billed.contoso, billed.fabrikam)
    lost = [billed.contoso.server.keys, billed.fabrikam.server.keys]
    if what == "devices":
        lost = [
            known for client in clients for known in (client.server.devices, client.first_key.uses)
        ]
    kept = [list(known) for known in lost]
    for known in lost:
        known.clear()

    result = billed.sync()

    assert (result.code, result.writes) == (6, [])
    for client in ("Contoso", "Fabrikam"):
        assert trouble(result, client).guard == "empty-source"
        assert "counts 0, although there was usage before" in trouble(result, client).reason
        assert "Look at the source first" in trouble(result, client).remedy
    assert "Contoso and Fabrikam (held: empty-source)" in billed.sentence
    for known, before in zip(lost, kept, strict=True):
        known.extend(before)
    billed.heals()


@pytest.mark.parametrize("gone", ["removed", "disabled"])
@pytest.mark.fault(
    20,
    injection="one mapped virtual server is gone or disabled",
    outcome="tenant-missing: that client fails, exit 4; others are billed",
)
def test_a_missing_tenant_is_never_zero(billed: Trial, gone: str):
    billed.fabrikam.add_devices()
    server, servers = billed.contoso.server, billed.world.servers
    if gone == "removed":
        servers.remove(server)
    server.enabled = gone != "disabled"

    result = billed.sync()

    assert result.code == 4
    assert trouble(result, "Contoso").guard == "tenant-missing"
    assert trouble(result, "Contoso").remedy
    assert "need attention: Contoso (tenant-missing: the mapped tenant hq:" in billed.sentence
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    server.enabled = True
    if server not in servers:
        servers.append(server)
    billed.heals()


ODD = {
    "null": [None],
    "number": [5],
    "no UID": [container({"KLVSRV_DN": "Nobody", "KLVSRV_ID": 77})],
    "UID is a number": [container({"KLVSRV_UID": 77})],
}


@pytest.mark.parametrize("records", ODD.values(), ids=ODD)
@pytest.mark.fault(
    20,
    injection="a record in the list of virtual servers does not say whose it is",
    outcome="left out with a warning; all mapped clients are billed",
)
def test_a_record_of_nobody_costs_nobody_his_bill(billed: Trial, records: list[object]):
    billed.sandbox.ksc.more_records = records

    result = billed.sync()

    assert result.code == 0
    (warning,) = warnings(result)
    assert "A record in the list of virtual servers is left out" in warning
    assert billed.contoso.quantities == {billed.product: 8}
    assert billed.operator.run("map", "list").code == 0
    billed.heals()


@pytest.mark.fault(
    20, injection="the list of virtual servers names one twice, alike", outcome="one: billed"
)
def test_a_virtual_server_that_is_listed_twice_is_one(billed: Trial):
    billed.sandbox.ksc.more_records = [
        container(encode(of_server(server))) for server in billed.world.servers
    ]

    result = billed.sync()

    assert (result.code, warnings(result)) == (0, [])
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.parametrize(
    "wrong", [{"KLVSRV_ID": 77}, {"KLVSRV_DN": "Kontoso"}, {"KLVSRV_ENABLED": 5}]
)
@pytest.mark.fault(
    20,
    injection="the list of virtual servers names one twice, with a difference",
    outcome="source-incomplete: that client fails, exit 4; others are billed",
)
def test_a_virtual_server_with_two_descriptions_fails_alone(billed: Trial, wrong: dict[str, Any]):
    billed.fabrikam.add_devices()
    record = {**encode(of_server(billed.contoso.server)), **wrong}
    billed.sandbox.ksc.more_records = [container(record)]

    result = billed.sync()

    assert (result.code, len(result.writes)) == (4, 1)
    assert trouble(result, "Contoso").guard == "source-incomplete"
    assert 'virtual server "Contoso": the server lists it twice' in billed.sentence
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.sandbox.ksc.more_records = []
    billed.heals()


@pytest.mark.fault(
    20,
    injection="a virtual server's name holds half of a character",
    outcome="that client fails with the reason, exit 4; others are billed; `kisi map` lists it",
)
def test_half_a_character_in_a_name_fails_its_client_alone(billed: Trial):
    billed.fabrikam.add_devices()
    billed.contoso.server.name = "Kunde \ud83d"

    result = billed.sync()

    assert (result.code, len(result.writes)) == (4, 1)
    assert trouble(result, "Contoso").guard == "source-incomplete"
    assert "its name holds half of a character" in billed.sentence
    assert "Write its name again in Security Center" in trouble(result, "Contoso").remedy
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    for format_ in ("table", "json"):
        listed = billed.operator.run("map", "list", "--format", format_)
        assert listed.code == 4  # its keys cannot be shown; everything else is
        assert "its name holds half of a character" in listed.err
        assert {billed.contoso.tenant, billed.fabrikam.tenant} <= set(
            re.findall(r"VSRV[\w-]+", listed.out)
        )
    billed.contoso.server.name = "Contoso"
    billed.heals()


@pytest.mark.parametrize("part", ["key", "use"])
@pytest.mark.fault(
    17,
    injection="a date that cannot be read in a key, or in a use of one",
    outcome="that client fails, exit 4, and the attribute is named; others are billed",
)
def test_a_date_that_cannot_be_read_is_named(billed: Trial, part: str):
    billed.fabrikam.add_devices()
    key = billed.contoso.first_key
    if part == "key":
        key.limit_date = "31.12.2027"
    else:
        key.uses[0].expires = "31.12.2027"

    result = billed.sync()

    assert result.code == 4
    name = "KLLIC_LIMIT_DATE of a key" if part == "key" else "KLLICSRV_EXPIRATION_TIME of a use"
    assert name in billed.sentence
    assert "'31.12.2027' and not a date and time" in billed.sentence
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}


@pytest.mark.fault(
    17,
    injection="the day on which a device was last seen cannot be read",
    outcome="it is information only: billed",
)
def test_a_day_that_only_informs_stops_no_bill(billed: Trial):
    billed.contoso.devices()[0].last_visible = "31.12.2027"

    assert billed.sync().code == 0

    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.parametrize("name", ["KLADMSRV_IS_VIRTUAL", "KLADMSRV_VSID"])
@pytest.mark.fault(
    20,
    injection="a server does not say whether it is virtual, or its number",
    outcome="every client of it fails, exit 4, and the attribute is named",
)
def test_a_server_that_does_not_say_who_it_is_is_not_read(billed: Trial, name: str):
    billed.sandbox.ksc.unsaid = {name}

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert f"HostGroup.GetStaticInfo did not say {name}, so" in billed.sentence
    assert "wrong virtual server" not in billed.sentence
    billed.sandbox.ksc.unsaid = set()
    billed.heals()


@pytest.mark.fault(
    21,
    injection="a virtual server is renamed",
    outcome="billed as before, because ids decide; the new name is a note",
)
def test_a_renamed_tenant_is_the_same_and_said(billed: Trial):
    billed.contoso.server.name = "Contoso Holding"

    result = billed.sync()

    assert result.code == 0
    assert billed.contoso.quantities == {billed.product: 8}
    notes = result.company("Contoso")["notes"]
    assert any("is now called 'Contoso Holding'; it was 'Contoso'" in note for note in notes)
    again = billed.sync()
    assert not any("is now called" in note for note in again.company("Contoso")["notes"])
    billed.heals()


@pytest.mark.fault(
    22,
    injection="a client uses a licence that nothing bills",
    outcome="listed with its quantity, never billed silently; exit 6",
)
def test_a_licence_that_nothing_bills_is_listed_and_not_billed(billed: Trial):
    name = "Kaspersky Brand New Thing"
    billed.contoso.key(name, devices=billed.contoso.devices())

    result = billed.sync()

    assert result.code == 6
    (use,) = result.document["unmapped"]["applications"]
    assert (use["company"], use["application"], use["quantity"]) == ("Contoso", name, 8)
    assert billed.contoso.quantities == {billed.product: 8}
    assert "unmapped usage: Contoso" in billed.sentence
    billed.world.billing.bill(name)
    billed.heals()


@pytest.mark.fault(
    23,
    injection="40 % of a client's devices vanish",
    outcome="decrease holds, exit 6; `--accept` releases exactly that, once",
)
def test_a_client_that_loses_much_waits_for_a_person_who_decides_once(trial: Trial):
    trial.contoso.add_devices(n=4)
    assert trial.sync().code == 0
    trial.contoso.remove_devices(4)

    held = trial.sync()

    assert (held.code, held.writes) == (6, [])
    assert trouble(held, "Contoso").guard == "decrease"
    assert "fall by 4 (40 %) from 10" in trouble(held, "Contoso").reason
    plan_id = held.company("Contoso")["plan_id"]
    assert f"kisi sync --accept {plan_id}" in trouble(held, "Contoso").remedy
    accepted = trial.sync("--accept", plan_id)
    assert (accepted.code, len(accepted.writes)) == (0, 1)
    assert trial.contoso.quantities == {trial.product: 6}
    used = trial.sync("--accept", plan_id)
    assert (used.code, used.writes) == (6, [])
    assert "an id works once" in trial.sentence
    trial.heals()


@pytest.mark.fault(
    24, injection="a thousand times as many devices", outcome="increase holds, exit 6, no write"
)
def test_a_thousandfold_count_waits_for_a_person(billed: Trial):
    extra = billed.contoso.add_devices(n=8000 - 8)

    result = billed.sync()

    assert (result.code, result.writes) == (6, [])
    assert trouble(result, "Contoso").guard == "increase"
    assert "to 8000" in trouble(result, "Contoso").reason
    billed.contoso.remove_devices(len(extra))
    billed.heals()
