"""Which keys count, which uses of them, and what a device is: judged by what ConnectWise holds.

The rules are those of Kaspersky's integration, "only unexpired and active commercial keys and
subscriptions are counted" (https://support.kaspersky.com/MSP/3.0/160671.htm), with the attributes
of its Open API (https://support.kaspersky.com/help/KSC/13/KSCAPI/a00115.html and
https://support.kaspersky.com/help/KSC/16/KSCAPI/a00078.html).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kisi.sandbox.ksc_records import EndDateType, KeyUse, OperatingSystem, stable_guid
from kisi.sandbox.ksc_records import SubscriptionState as State
from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import NOW, Operator

PAST, FUTURE = NOW - timedelta(days=3), NOW + timedelta(days=30)

Arrange = Callable[[Client], object]


def _key(kind: str = "commercial", **attributes: Any) -> Arrange:
    """Three workstations and a server use one key of this kind, and no other."""

    def arrange(client: Client) -> None:
        client.server.keys.clear()
        devices = [client.server.add_device("workstation") for _ in range(3)]
        devices.append(client.server.add_device("server"))
        client.key(APPLICATION, kind=kind, devices=devices, **attributes)

    return arrange


def _subscription(**attributes: Any) -> Arrange:
    return _key("subscription", **attributes)


def _limited(**attributes: Any) -> Arrange:
    return _subscription(end_date_type=EndDateType.LIMITED, **attributes)


def _beside(arrange: Arrange) -> Arrange:
    """The same beside keys in use that do not count and tell all: only what is odd itself is."""

    def both(client: Client) -> None:
        arrange(client)
        for kind, more in (("trial", {}), ("subscription", {"state": State.HARD_CANCELLED})):
            client.key(APPLICATION, kind=kind, devices=client.devices()[:1], **more)

    return both


def _use(**attributes: Any) -> Arrange:
    """Two workstations, and the use of the key on a third is as `attributes` say."""

    def arrange(client: Client) -> None:
        client.add_devices(n=3)
        for name, value in attributes.items():
            setattr(client.first_key.uses[-1], name, value)

    return arrange


def _two_keys(client: Client) -> None:
    client.key(kind="commercial", devices=client.add_devices(n=4))


def _two_products(client: Client) -> None:
    for device in client.add_devices(n=4):
        client.first_key.use(device, product="Network Agent")


def _same_product_twice(client: Client) -> None:
    client.first_key.uses *= 2
    devices = client.add_devices(n=4)
    for device in devices:
        client.first_key.use(device)


def _two_serials(client: Client) -> None:
    """Half of the devices use the old key, half its successor, one both."""
    devices = client.add_devices(n=4)
    client.first_key.uses[2:] = []
    client.key(kind="commercial", devices=devices[1:])


def _reserve_beside_active(client: Client) -> None:
    reserve = client.key(kind="commercial")
    for device in client.add_devices(n=4):
        reserve.use(device, current=False)


def _only_reserve(client: Client) -> None:
    for device in client.add_devices(n=4):
        client.first_key.uses[-1].current = False
        client.first_key.use(device, current=False)
    for use in client.first_key.uses:
        use.current = False


def _device_of_another_server(client: Client) -> None:
    client.add_devices(n=4)
    client.first_key.uses.append(KeyUse(stable_guid("elsewhere"), "ELSEWHERE"))


def _device_without_a_key(client: Client) -> None:
    client.add_devices(n=4)
    client.server.add_device("workstation")
    client.server.add_device("server")


def _unused_key(client: Client) -> None:
    client.add_devices(n=4)
    client.key(kind="commercial")


def _counter_contradicts(client: Client) -> None:
    """The server's own counter counts products on devices, which is not the number of devices."""
    client.add_devices(n=4)
    client.first_key.counts = (9, 0)


def _renewed(client: Client) -> None:
    """The expired key is still there, its successor is the active one."""
    devices = client.add_devices(n=4)
    client.first_key.limit_date = PAST
    client.first_key.end_date_type = EndDateType.LIMITED
    client.key(kind="commercial", devices=devices)


CASES: dict[str, tuple[Arrange, tuple[int, int]]] = {
    # The key.
    "commercial": (_key("commercial"), (3, 1)),
    "subscription": (_subscription(), (3, 1)),
    "subscription by flag alone": (_subscription(key_type=1), (3, 1)),
    "subscription by type alone": (_subscription(subscription=None), (3, 1)),
    "trial": (_key("trial"), (0, 0)),
    "trial inside a subscription": (_subscription(key_type=3), (0, 0)),
    "beta": (_key("beta"), (0, 0)),
    "test": (_key("test"), (0, 0)),
    "OEM": (_key("oem"), (0, 0)),
    "OEM flagged as subscription": (_subscription(key_type=5), (3, 1)),
    "no type": (_beside(_key(key_type=None)), (0, 0)),
    "expired": (_key(limit_date=PAST), (0, 0)),
    "expires later": (_key(limit_date=FUTURE), (3, 1)),
    "expired an hour ago": (_key(limit_date=NOW - timedelta(hours=1)), (0, 0)),
    "expires in an hour": (_key(limit_date=NOW + timedelta(hours=1)), (3, 1)),
    "commercial without a limit date": (_beside(_key(limit_date=None)), (0, 0)),
    "commercial with an empty limit date": (_beside(_key(limit_date="")), (0, 0)),
    "commercial with a state of subscriptions": (_key(state=State.HARD_CANCELLED), (3, 1)),
    "paused": (_subscription(state=State.PAUSED), (0, 0)),
    "paused by its end date": (_subscription(end_date_type=EndDateType.PAUSED), (0, 0)),
    "soft cancelled": (_subscription(state=State.SOFT_CANCELLED), (0, 0)),
    "hard cancelled": (_subscription(state=State.HARD_CANCELLED), (0, 0)),
    "subscription without a state": (_beside(_subscription(state=None)), (0, 0)),
    "unlimited without a limit date": (_subscription(limit_date=None), (3, 1)),
    "unlimited with a past limit date": (_subscription(limit_date=PAST), (0, 0)),
    "limited without dates": (_beside(_limited()), (0, 0)),
    "limited and running": (_limited(limit_date=FUTURE, end_date=FUTURE), (3, 1)),
    "limited, its end undefined": (
        _subscription(end_date_type=EndDateType.NOT_DEFINED, limit_date=FUTURE),
        (3, 1),
    ),
    "limited and ended": (_limited(limit_date=FUTURE, end_date=PAST, grace_days=0), (0, 0)),
    "limited, ended, in grace": (_limited(limit_date=FUTURE, end_date=PAST, grace_days=14), (0, 0)),
    "unlimited with a past end date": (_subscription(end_date=PAST), (3, 1)),
    "not in the server's storage": (_key(installed=False), (0, 0)),
    "storage not told": (_beside(_key(installed=None)), (0, 0)),
    "automatically deployed": (_key(automatic=True), (3, 1)),
    # Its use.
    "reserve beside active": (_reserve_beside_active, (4, 0)),
    "only reserve": (_only_reserve, (0, 0)),
    "one reserve": (_use(current=False), (2, 0)),
    "current not told": (_use(current=None), (2, 0)),
    "activation pending": (_use(pending=True), (2, 0)),
    "activation confirmed": (_use(pending=False), (3, 0)),
    "expired on the device": (_use(expires=PAST), (2, 0)),
    "expires later on the device": (_use(expires=FUTURE), (3, 0)),
    "two keys": (_two_keys, (4, 0)),
    "two products on one device": (_two_products, (4, 0)),
    "the same product twice": (_same_product_twice, (4, 0)),
    "two serials of one application": (_two_serials, (4, 0)),
    "renewed": (_renewed, (4, 0)),
    "device of another server": (_device_of_another_server, (4, 0)),
    "device without a key": (_device_without_a_key, (4, 0)),
    "unused key": (_unused_key, (4, 0)),
    "the server's counter contradicts": (_counter_contradicts, (4, 0)),
}


@pytest.mark.parametrize(("arrange", "expected"), CASES.values(), ids=CASES)
def test_by_default_the_literal_rule_decides(operator: Operator, arrange, expected):
    assert _billed(operator, arrange) == expected


OPTIONS: dict[str, tuple[str, Arrange, tuple[int, int]]] = {
    "in grace": ("grace", _limited(limit_date=FUTURE, end_date=PAST, grace_days=14), (3, 1)),
    "grace over": ("grace", _limited(limit_date=FUTURE, end_date=PAST, grace_days=2), (0, 0)),
    "grace without a term": (
        "grace",
        _limited(limit_date=FUTURE, end_date=PAST, grace_days=None),
        (0, 0),
    ),
    "soft cancelled": ("soft_cancelled", _subscription(state=State.SOFT_CANCELLED), (3, 1)),
    "hard cancelled": ("soft_cancelled", _subscription(state=State.HARD_CANCELLED), (0, 0)),
    "soft cancelled and ended": (
        "soft_cancelled",
        _limited(state=State.SOFT_CANCELLED, limit_date=FUTURE, end_date=PAST, grace_days=0),
        (0, 0),
    ),
    "OEM": ("oem", _key("oem"), (3, 1)),
    "expired OEM": ("oem", _key("oem", limit_date=PAST), (0, 0)),
    "trial is no OEM": ("oem", _key("trial"), (0, 0)),
    "pending": ("pending", _use(pending=True), (3, 0)),
    "pending reserve": ("pending", _use(pending=True, current=False), (2, 0)),
    "reported": ("reported_keys", _key(installed=False), (3, 1)),
    "reported trial": ("reported_keys", _key("trial", installed=False), (0, 0)),
}


@pytest.mark.parametrize(("option", "arrange", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_of_counting_changes_its_own_rule_alone(
    operator: Operator, option, arrange, expected
):
    operator.more = f"\n[counting]\n{option} = true\n"

    assert _billed(operator, arrange) == expected


def _billed(operator: Operator, arrange: Arrange) -> tuple[float, float]:
    """Workstations and servers that ConnectWise bills after a run."""
    workstations, servers, others = operator.bill_by_category()
    client = operator.client()
    arrange(client)
    assert operator.sync().code == 0
    assert others not in client.quantities
    assert 0 not in client.quantities.values()
    return client.quantities.get(workstations, 0), client.quantities.get(servers, 0)


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (_subscription(state=State.SOFT_CANCELLED), "soft-cancelled subscription"),
        (_beside(_subscription(state=None)), "reports no state"),
        (_subscription(state=7), "in the unknown state 7"),
        (_beside(_key(limit_date=None)), "reports no limit date"),
        (_beside(_use(current=None)), "not counted (not said to be the active key)"),
        (_use(expires=PAST), "not counted (expired on the device)"),
        (_subscription(limit_date=PAST), "called unlimited and has a limit date in the past"),
        (_key(installed=False), "`reported_keys = true`"),
        (_limited(limit_date=FUTURE, end_date=PAST, grace_days=14), "in its grace term"),
        (_key("oem"), "`oem = true`"),
        (_use(pending=True), "`pending = true`"),
        (_device_of_another_server, "may be another client's: ELSEWHERE."),
    ],
)
def test_what_most_likely_bills_too_little_is_said(operator: Operator, arrange, words):
    operator.bill_by_category()
    arrange(operator.client())

    assert any(words in note for note in operator.preview().company("Contoso")["notes"])
    assert words in " ".join(operator.run("preview", "-v").out.split())


def test_devices_that_were_not_seen_for_long_are_billed_and_named(operator: Operator):
    product = operator.bill_as_one()
    client = operator.client(workstations=5)
    client.devices()[2].last_visible = NOW - timedelta(days=45)
    operator.more = "\n[counting]\nunseen_days = 30\n"

    (note,) = operator.sync().company("Contoso")["notes"]

    assert client.quantities == {product: 5}
    name = client.devices()[2].name
    assert note == f"Contoso: 1 counted device was not seen for more than 30 days: {name}."


def test_a_device_with_two_applications_counts_in_each(operator: Operator):
    first, second = operator.bill_as_one(), operator.bill_as_one("Kaspersky EDR Optimum")
    client = operator.client(workstations=5)
    client.key("Kaspersky EDR Optimum", kind="commercial", devices=client.devices()[:3])

    assert operator.sync().code == 0

    assert client.quantities == {first: 5, second: 3}


def test_an_application_that_is_never_billed_is_not_unmapped(operator: Operator):
    product = operator.bill_as_one()
    operator.world.billing.bill("Kaspersky Security for Mail Server")
    client = operator.client(workstations=5)
    client.key("Kaspersky Security for Mail Server", kind="commercial", devices=client.devices())

    assert operator.sync().code == 0

    assert client.quantities == {product: 5}


def test_devices_of_the_main_server_are_nobodys(operator: Operator):
    product = operator.bill_as_one()
    client = operator.client(workstations=5)
    key = operator.world.make_key(kind="commercial")
    operator.world.main.keys.append(key)
    for _ in range(9):
        key.use(operator.world.main.add_device())

    assert operator.sync().code == 0

    assert client.quantities == {product: 5}


def test_users_are_computers_or_half_of_the_mobile_devices(operator: Operator):
    cloud = "Kaspersky Endpoint Security Cloud"
    product = operator.world.product("KES-CLOUD")
    operator.world.billing.bill(cloud, unit="user", all=product)
    computers = operator.client("Computers", application=cloud, workstations=9, servers=1, ios=12)
    mobiles = operator.client("Mobiles", application=cloud, workstations=10, android=20, ios=13)

    assert operator.sync().code == 0

    assert computers.quantities == {product.id: 10}
    assert mobiles.quantities == {product.id: 17}


W, S, X = "workstations", "servers", "non_windows"

SYSTEMS = [
    (OperatingSystem("Microsoft Windows 11", 0x1003), W),
    (OperatingSystem("Microsoft Windows 10", None), W),
    (OperatingSystem("Microsoft Windows 7", 0x1007), W),
    (OperatingSystem("<Microsoft Windows>", 0x1003), W),
    (OperatingSystem("  Microsoft Windows XP ", 0x1003), W),
    (OperatingSystem("WINDOWS 12", 0x1003), W),
    (OperatingSystem("Microsoft Windows Server 2016", 0x9007), S),
    (OperatingSystem("Microsoft Windows Server 2022", None), S),
    (OperatingSystem("Microsoft Windows 2000 Server", 0), S),
    (OperatingSystem("Microsoft Hyper-V Server 2019", 0x9003), S),
    (OperatingSystem("Microsoft Windows 10", 0x9003), S),
    (OperatingSystem("<Microsoft Windows>", 0x1008), S),
    (OperatingSystem("Linux", 0x200800), X),
    (OperatingSystem("Linux", 0x9007), X),
    (OperatingSystem("Mac OS X", 0x800), X),
    (OperatingSystem("FreeBSD", 0x2800), X),
    (OperatingSystem("<Unix>", 0x800), X),
    (OperatingSystem("Android", 0), X),
    (OperatingSystem("iOS", None), X),
    (OperatingSystem("iPadOS 26", 0), X),
    (OperatingSystem("Microsoft Windows Mobile", 0x1000), X),
    (OperatingSystem("Windows Phone", 0x1000), X),
    (OperatingSystem(None, 0x200800), X),
    (OperatingSystem(None, 0x9003), S),
    (OperatingSystem(None, 0x1010), S),
    (OperatingSystem("", 0x400000), W),
    (OperatingSystem(None, 0x1003), W),
    (OperatingSystem(None, 0x3), X),
]


def test_the_class_of_a_device_comes_from_its_name_and_then_its_type_bits(operator: Operator):
    products = dict(zip((W, S, X), operator.bill_by_category(), strict=True))
    clients = []
    for number, (system, _) in enumerate(SYSTEMS):
        clients.append(operator.client(f"Client {number}"))
        clients[-1].add_devices(system)

    assert operator.sync().code == 0

    held = [client.quantities for client in clients]
    assert held == [{products[kind]: 1} for _, kind in SYSTEMS]


@pytest.mark.parametrize("system", [OperatingSystem(None, None), OperatingSystem("", 0)])
def test_a_device_that_says_nothing_beside_others_is_no_windows(operator: Operator, system):
    workstations, _, others = operator.bill_by_category()
    client = operator.client(workstations=1)
    client.add_devices(system)

    assert (operator.sync().code, client.quantities) == (0, {workstations: 1, others: 1})


@pytest.mark.parametrize(
    ("option", "place"), [("windows_workstations", 0), ("windows_servers", 1), ("non_windows", 2)]
)
def test_where_unknown_devices_are_billed_is_chosen(operator: Operator, option: str, place: int):
    products = operator.bill_by_category()
    client = operator.client(unknown=2)
    operator.more = f'\n[counting]\nunknown_device = "{option}"\n'

    result = operator.run("sync")

    assert client.quantities == {products[place]: 2}
    assert result.code == 0
    assert "unknown operating system" in " ".join(result.out.split())
    assert "UNKNOWN-0001" in result.out


def test_a_key_that_expired_in_use_is_said_with_what_it_costs(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    branch = contoso.key(kind="commercial", devices=[])
    contoso.add_devices(n=2, key=branch)
    assert operator.sync().code == 0
    branch.limit_date = PAST

    result = operator.sync("-v")

    assert result.code == 0
    assert contoso.quantities == {product: 8}
    note = f"1 key in use is not counted (expired): {branch.serial} ({APPLICATION}, 2 in use)"
    assert note in " ".join(result.company("Contoso")["notes"])
    assert note in " ".join(operator.run("preview", "-v").out.split())
