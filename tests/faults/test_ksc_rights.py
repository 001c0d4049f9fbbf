"""What an account that lacks a right is told, and records that come twice: never a silent 0."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kisi.sandbox.ksc_records import SYSTEMS, EndDateType, SubscriptionState
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator
from tests.faults.conftest import trouble


@pytest.mark.parametrize("hidden", ["devices", "uses"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.fault(
    18,
    injection="by the server's own figure a key is in use, and nothing of the application is listed",
    outcome="source-incomplete: that client fails, exit 4, not ready; others are billed",
)
def test_a_key_in_use_without_any_device_is_no_reading(
    operator: Operator, shared: bool, hidden: str
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    fabrikam = operator.client("Fabrikam", workstations=9)
    if shared:  # its figures differ, so that each is its own server's
        fabrikam.first_key.serial = contoso.first_key.serial
    uses = list(contoso.first_key.uses)
    contoso.server.hides_devices = hidden == "devices"
    if hidden == "uses":  # devices are told, and not what is on them
        contoso.first_key.counts = (6, 0)
        contoso.first_key.uses.clear()

    result = operator.sync()

    assert (result.code, contoso.quantities, fabrikam.quantities) == (4, {}, {product: 9})
    failed = trouble(result, "Contoso")
    assert failed.guard == "source-incomplete"
    assert "6 in use by the server's own figure, and its list has no active use" in failed.reason
    assert "take it out of this server's storage" in failed.remedy
    assert operator.run("status", "--ready").code == 6
    contoso.server.hides_devices = False
    contoso.first_key.uses[:] = uses
    assert (operator.sync().code, contoso.quantities) == (0, {product: 6})


@pytest.mark.parametrize(
    ("figures", "uses", "code"),
    [
        ((9, 9), 9, 0),  # what both use together: all of it is the other's
        ((150, 149), 149, 0),  # one came while they were read
        ((9, 9), 3, 4),  # six of them nobody lists
        ((9, 9), 0, 4),  # nobody lists one
        ((6, 9), 9, 4),  # not the same figure, so each is its own server's
    ],
)
@pytest.mark.fault(
    18,
    injection="the same of a key that several virtual servers share",
    outcome="a note where the figure is the same on each and the others list it all; else exit 4",
)
def test_the_figure_of_a_shared_key_may_be_what_all_use(
    operator: Operator, figures: tuple[int, int], uses: int, code: int
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=1)
    fabrikam = operator.client("Fabrikam", workstations=uses)
    contoso.first_key.uses.clear()
    fabrikam.first_key.serial = contoso.first_key.serial
    for client, figure in zip((contoso, fabrikam), figures, strict=True):
        client.first_key.counts = (figure, 0)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (code, {})
    assert fabrikam.quantities == ({product: uses} if uses else {})
    assert bool(result.company("Contoso")["failure"]) is (code == 4)
    if code == 0:
        assert f"{figures[0]} in use by the server's own figure, 0 in its list" in "".join(
            result.company("Contoso")["notes"]
        )
        assert "notes (`kisi preview -v`): Contoso" in result.last_line


@pytest.mark.fault(
    18,
    injection="the same of a second key, beside one whose devices are listed",
    outcome="billed by these, and a note",
)
def test_a_new_key_that_others_use_already_is_a_note(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.key(APPLICATION, devices=[]).counts = (20, 0)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: 6})
    assert "20 in use by the server's own figure, 0 in its list" in "".join(
        result.company("Contoso")["notes"]
    )


@pytest.mark.parametrize(
    "attribute",
    [
        "KLLIC_KEY_TYPE",
        "KLLIC_LIMIT_DATE",
        "KLLICSRV_KEY_INSTALLED",
        "KLLICSRV_HOST_CURRENT",
        "KLLIC_SUBSCRINFO_STATE",
        "KLLIC_SUBSCRINFO_ENDDATETYPE",
    ],
)
@pytest.mark.fault(
    18,
    injection="no key, or no use of one, has an attribute without which it cannot count",
    outcome="that client fails, exit 4, and the attribute is named; others are billed",
)
def test_an_attribute_that_no_record_has_makes_no_zero(operator: Operator, attribute: str):
    product = operator.bill_as_one()
    kind = "subscription" if "SUBSCRINFO" in attribute else "commercial"
    contoso, fabrikam = (
        operator.client(name, workstations=6, kind=kind) for name in ("Contoso", "Fabrikam")
    )
    contoso.server.hides.add(attribute)

    result = operator.sync()

    assert (result.code, contoso.quantities, fabrikam.quantities) == (4, {}, {product: 6})
    failed = trouble(result, "Contoso")
    assert (failed.guard, attribute in failed.reason) == ("source-incomplete", True)
    assert "Give kisi's account the right to read" in failed.remedy
    assert operator.run("status", "--ready").code == 6
    contoso.server.hides.clear()
    assert (operator.sync().code, contoso.quantities) == (0, {product: 6})


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.fault(
    18,
    injection="no device has an operating system or a type",
    outcome="billed by category: that client fails, exit 4; as one product: billed",
)
def test_devices_that_do_not_say_what_they_are_make_no_category(operator: Operator, split: bool):
    products = operator.bill_by_category() if split else [operator.bill_as_one()]
    contoso = operator.client("Contoso", workstations=6, servers=2)
    contoso.server.hides |= {"KLHST_WKS_OS_NAME", "KLHST_WKS_CTYPE"}

    result = operator.sync()

    if not split:  # one product for all: what they are changes nothing
        assert (result.code, contoso.quantities) == (0, {products[0]: 8})
        return
    assert (result.code, contoso.quantities) == (4, {})
    failed = trouble(result, "Contoso")
    assert "none of 8 devices says what it is" in failed.reason
    assert "KLHST_WKS_OS_NAME, KLHST_WKS_CTYPE" in failed.reason
    contoso.server.hides.remove("KLHST_WKS_CTYPE")  # type bits are enough
    assert operator.sync().code == 0
    assert contoso.quantities == {products[0]: 6, products[1]: 2}


@pytest.mark.fault(
    16,
    injection="a device comes twice in one answer, exactly alike",
    outcome="one device: billed, with a note",
)
def test_a_device_that_is_listed_twice_alike_is_one(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.server.doubled.add(contoso.devices()[2].host_id)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: 6})
    (note,) = result.company("Contoso")["notes"]
    assert "Records of devices came twice, exactly alike (1): each counts once." in note


@pytest.mark.fault(
    16,
    injection="a device comes twice, with a difference",
    outcome="that client fails, exit 4, and the device is named",
)
def test_a_device_that_is_listed_twice_with_a_difference_is_no_reading(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    device = contoso.devices()[2]
    contoso.server.devices.append(replace(device, system=SYSTEMS["server"]))

    result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    reason = trouble(result, "Contoso").reason
    assert f"device {device.host_id} is listed twice, with a difference" in reason


@pytest.mark.fault(
    16,
    injection="the same, on another page than its first record",
    outcome="alike one device, and a note; with a difference that client fails, exit 4",
)
@pytest.mark.parametrize("difference", [False, True])
def test_a_device_that_comes_again_on_the_next_page(operator: Operator, difference: bool):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    operator.sandbox.ksc.max_items = 1
    device = contoso.devices()[2]
    contoso.server.devices.append(replace(device, name="PC-2" if difference else device.name))

    result = operator.sync()

    if difference:
        assert (result.code, contoso.quantities) == (4, {})
        failed = trouble(result, "Contoso")
        assert f"device {device.host_id} is listed twice, with a difference" in failed.reason
        assert "If these are two machines" in failed.remedy
    else:
        assert (result.code, contoso.quantities) == (0, {product: 6})
        assert "Records of devices came twice, exactly alike (1)" in "".join(
            result.company("Contoso")["notes"]
        )


@pytest.mark.fault(
    16,
    injection="the uses of a key call one device by two names",
    outcome="counted once, and a note with both names and what to do",
)
def test_a_device_that_has_two_names_is_one_and_said(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.first_key.use(replace(contoso.devices()[2], name="PC-2"))

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: 6})
    (note,) = result.company("Contoso")["notes"]
    assert "several names under one id, and counts once: PC-2 and WORKSTATION-0003" in note
    assert "notes (`kisi preview -v`): Contoso" in result.last_line


@pytest.mark.parametrize(
    "opener", ["LicenseKeys.EnumKeys", "LicenseKeys.AcquireKeyHosts", "HostGroup.FindHosts"]
)
@pytest.mark.fault(
    18,
    injection="a list is announced with 0 rows, and has some",
    outcome="once: read again, billed; always: that client fails, exit 4, and others are billed",
)
def test_a_zero_that_a_list_announces_is_not_believed(operator: Operator, opener: str):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=2)
    fabrikam = operator.client("Fabrikam", workstations=9)
    contoso.first_key.counts = (0, 0)  # nothing else says that it is in use
    match = f"{opener}@Contoso"
    operator.sandbox.faults.add("twist", match=match, times=None, announced=0)

    result = operator.sync()

    assert (result.code, contoso.quantities, fabrikam.quantities) == (4, {}, {product: 9})
    assert trouble(result, "Contoso").guard == "source-incomplete"
    operator.sandbox.faults.clear()
    operator.sandbox.faults.add("twist", match=match, announced=0)
    assert (operator.sync().code, contoso.quantities) == (0, {product: 2})


@pytest.mark.fault(
    18,
    injection="two devices use a key, and the server lists no device at all",
    outcome="source-incomplete: that client fails, exit 4",
)
def test_few_uses_without_any_device_are_no_zero(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=2)
    contoso.server.devices.clear()

    result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    assert "2 of 2 devices that use its keys are not" in trouble(result, "Contoso").reason


@pytest.mark.fault(
    20,
    injection="the login leads to a virtual server instead of the main one",
    outcome="exit 4, no write; says so, and which address and account to use",
)
def test_a_login_to_a_virtual_server_is_named(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=2)
    operator.world.main.id = 7

    result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    failed = trouble(result, "Contoso")
    assert "the login led to a virtual server" in failed.reason
    assert "address of the main Administration Server into `url`" in failed.remedy


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("expired", "6 in use: expired"),
        ("unlimited", "6 in use: expired"),
        ("cancelled", "6 in use: hard-cancelled subscription"),
        ("on devices", "6 uses: expired on the device"),
    ],
)
@pytest.mark.fault(
    23,
    injection="all keys of a client have ended: by date, by state, or on its devices",
    outcome="to-zero holds, exit 6, no write; the hold says which uses do not count and why",
)
def test_a_fall_to_zero_because_keys_ended_says_so(operator: Operator, how: str, why: str):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6, kind="subscription")
    operator.client("Fabrikam", workstations=60)
    assert operator.sync().code == 0
    key, past = contoso.first_key, datetime(2026, 1, 1, tzinfo=UTC)
    if how == "cancelled":
        key.state = SubscriptionState.HARD_CANCELLED
    elif how == "on devices":
        for use in key.uses:
            use.expires = past
    else:
        key.limit_date = past
        key.end_date_type = EndDateType.UNLIMITED if how == "unlimited" else EndDateType.LIMITED

    result = operator.sync()

    assert (result.code, result.writes, contoso.quantities) == (6, [], {product: 6})
    held = trouble(result, "Contoso")
    assert held.guard == "to-zero"
    assert "it would go from 6 to 0" in held.reason
    assert ". Not counted: " in held.reason
    assert why in held.reason
    assert why in " ".join(operator.run("status").out.split())
