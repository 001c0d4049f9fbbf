"""The small, lively world that `kisi demo` and `kisi sandbox` show.

A dozen clients with what a real fleet has: keys that do not count, devices of every kind, lines
that people made by hand, an agreement that ran out, names that try to break the output. The first
run creates lines, the second finds nothing to do. These are in Kaspersky Security Center and
ConnectWise; `kisi.sandbox.demo_sandbox` adds clients of Business Hub and Tigerpaw.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from kisi.sandbox.fleet import Fleet, fleet
from kisi.sandbox.licences import EndDateType, KeyUse, SubscriptionState, stable_guid
from kisi.sandbox.world import APPLICATION, World

__all__ = ["Fleet", "demo", "fleet"]

SELECT = "Kaspersky Endpoint Security for Business - Select"
EDR = "Kaspersky Endpoint Detection and Response Optimum"
MAIL = "Kaspersky Security for Mail Server"
HOSTILE = '=cmd|[bold red]Büro & Söhne[/] "\x1b[31m\u202egnihtyreve 東京'


def demo(now: Callable[[], datetime] | None = None) -> World:
    """Build the world of the demo."""
    world = World(now)
    _price_list(world)
    _everyday_clients(world)
    _clients_with_keys_that_do_not_count(world)
    _clients_with_peculiar_agreements(world)
    _strangers(world)
    return world


def _price_list(world: World) -> None:
    world.billing.bill(
        APPLICATION,
        windows_workstations=world.product("KES-ADV-WS", 4.5),
        windows_servers=world.product("KES-ADV-SRV", 9.0),
        non_windows=world.product("KES-ADV-OTHER", 3.5),
    )
    world.billing.bill(SELECT, all=world.product("KES-SELECT", 3.2))
    world.billing.bill(EDR, all=world.product("KES-EDR", 2.0))
    world.billing.bill(MAIL)
    world.product("BACKUP-TB", 25.0)


def _everyday_clients(world: World) -> None:
    world.client("Contoso", workstations=90, servers=10)

    everything = world.product("KES-ADV-FLAT", 4.0)
    flat = world.client("Fabrikam", workstations=80, servers=12, linux=5, macs=3)
    flat.exceptions.append({"application": APPLICATION, "all": everything.id})

    world.client("Northwind Traders", workstations=34, servers=4, linux=6, macs=5, android=8, ios=3)

    detecting = world.client("Adventure Works", workstations=22, servers=2)
    detecting.key(EDR, kind="commercial", devices=detecting.devices())

    world.client("Coho Vineyard", application=SELECT, kind="commercial", workstations=17, linux=1)

    world.client("Proseware", workstations=11, unknown=2)

    two_sites = world.client("School of Fine Art", workstations=16, macs=9)
    campus = world.tenant("School of Fine Art, campus", workstations=7, macs=2)
    (carried,) = two_sites.devices("mac")[:1]
    campus.devices.append(carried)
    campus.keys[0].use(carried)
    two_sites.more_tenants.append(f"hq:{campus.uid}")


def _clients_with_keys_that_do_not_count(world: World) -> None:
    now = world.now()

    renewed = world.client("Wide World Importers", kind="commercial", workstations=25, servers=3)
    expired = renewed.key(kind="commercial", devices=renewed.devices("server"))
    expired.limit_date = now - timedelta(days=20)
    for row in expired.uses:
        row.expires = expired.limit_date
    reserve = renewed.key(kind="commercial")
    for device in renewed.devices():
        reserve.use(device, current=False)

    trying = world.client("Tailspin Toys", workstations=14)
    trying.key(EDR, kind="trial", devices=trying.devices())
    trying.key(MAIL, kind="commercial", devices=trying.devices()[:1])

    leaving = world.client("Lamna Healthcare", workstations=9, servers=1)
    leaving.key(
        SELECT,
        devices=leaving.add_devices("mac", 4),
        state=SubscriptionState.SOFT_CANCELLED,
        end_date_type=EndDateType.LIMITED,
        end_date=now + timedelta(days=40),
    )
    leaving.first_key.uses.append(KeyUse(stable_guid("a device of another server"), "ELSEWHERE-01"))


def _clients_with_peculiar_agreements(world: World) -> None:
    ended = world.client("Litware", workstations=12)
    ended.agreement.end_date = world.today - timedelta(days=45)

    by_hand = world.client("Alpine Ski House", application=SELECT, workstations=21)
    world.add_line(by_hand.agreement_id, _product(world, "KES-SELECT"), 21)
    world.add_line(by_hand.agreement_id, _product(world, "BACKUP-TB"), 2.5)

    world.client(HOSTILE, workstations=5)

    paused = world.client("Humongous Insurance", workstations=40)
    paused.billing = False


def _strangers(world: World) -> None:
    world.tenant("Trey Research", workstations=6)
    world.agreement(world.company("Lucerne Publishing"), "Managed Workplace")


def _product(world: World, identifier: str) -> int:
    return next(item.id for item in world.catalog.values() if item.identifier == identifier)
