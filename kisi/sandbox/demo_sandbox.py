"""The sandbox of `kisi demo` and `kisi sandbox`: the demo's world with Business Hub and Tigerpaw.

Beside the clients of `kisi.sandbox.demo` it has one with endpoints in Kaspersky Security Center and
mailboxes in Business Hub, one with a user licence in Business Hub alone, two that are billed in
Tigerpaw, and one that Tigerpaw does not let be billed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.configuration import company_row
from kisi.sandbox.demo import demo
from kisi.sandbox.run import Sandbox
from kisi.sandbox.tigerpaw import Tigerpaw
from kisi.sandbox.tigerpaw import company_row as tigerpaw_row
from kisi.sandbox.tigerpaw import product_row as tigerpaw_product
from kisi.sandbox.world import APPLICATION, World

__all__ = ["CLOUD_PLUS", "OFFICE", "demo_sandbox"]

CLOUD_PLUS = "Kaspersky Endpoint Security Cloud Plus"
OFFICE = "Kaspersky Security for Microsoft Office 365"


def demo_sandbox(now: Callable[[], datetime] | None = None) -> Sandbox:
    """Everything that can be simulated, filled, and not started yet.

    Args:
        now: The clock of all of it; an aware datetime. Default: the real one.
    """
    world = demo(now)
    hub, tigerpaw = BusinessHub(world.now), Tigerpaw(world.now)
    of_hub = _clients_of_business_hub(world, hub)
    of_tigerpaw = _clients_of_tigerpaw(world, hub, tigerpaw)
    sandbox = Sandbox(world)
    sandbox.add(hub.part(of_hub))
    server = tigerpaw.serve(faults=sandbox.faults, log=sandbox.log)
    sandbox.add(tigerpaw.part(server, mapping=of_tigerpaw))
    return sandbox


def _clients_of_business_hub(world: World, hub: BusinessHub) -> str:
    """Fills both sides, and returns rows of mapping.toml."""
    world.billing.bill(OFFICE, unit="mailbox", all=world.product("KS-O365", 1.1))
    world.billing.bill(CLOUD_PLUS, unit="user", all=world.product("KES-CLOUD-PLUS", 5.2))

    both = world.client("Margie's Travel", workstations=35, servers=5)
    both.more_tenants.append("hub:Margie's Travel")
    hub.licence("Margie's Travel", OFFICE, 25)
    hub.licence("Margie's Travel", OFFICE, 40, status="Expired")

    hub.add_devices("Bellows College", CLOUD_PLUS, workstations=8, macs=2, android=20, ios=13)
    college = world.company("Bellows College")
    agreement = world.agreement(college)
    return company_row(
        college.name,
        ["hub:Bellows College"],
        psa="cw",
        company=college.id,
        agreement=agreement.id,
    )


def _clients_of_tigerpaw(world: World, hub: BusinessHub, tigerpaw: Tigerpaw) -> str:
    """Fills all sides, and returns rows of mapping.toml."""
    by_category = tigerpaw_product(
        APPLICATION,
        windows_workstations=tigerpaw.item("KES-ADV-WS", 4.5),
        windows_servers=tigerpaw.item("KES-ADV-SRV", 9.0),
        non_windows=tigerpaw.item("KES-ADV-OTHER", 3.5),
    )
    mailboxes = tigerpaw_product(OFFICE, all=tigerpaw.item("KS-O365", 1.1))
    backup, setup = tigerpaw.item("BACKUP-TB", 25.0), tigerpaw.item("SETUP", 150.0)
    rows = [by_category, mailboxes]

    institute = world.tenant("Graphic Design Institute", workstations=18, servers=2, macs=6)
    agreement = tigerpaw.agreement(tigerpaw.account("Graphic Design Institute"))
    tigerpaw.charge(agreement, backup, 3)
    tigerpaw.charge(agreement, setup, 1, one_time=True)
    rows.append(tigerpaw_row("Graphic Design Institute", [f"hq:{institute.uid}"], agreement))

    bank = world.tenant("Woodgrove Bank", workstations=52, servers=6)
    hub.licence("Woodgrove Bank", OFFICE, 61)
    agreement = tigerpaw.agreement(tigerpaw.account("Woodgrove Bank"))
    rows.append(tigerpaw_row("Woodgrove Bank", [f"hq:{bank.uid}", "hub:Woodgrove Bank"], agreement))

    refused = world.tenant("Relecloud", workstations=9)
    agreement = tigerpaw.agreement(tigerpaw.account("Relecloud", cross_referenced=False))
    rows.append(tigerpaw_row("Relecloud", [f"hq:{refused.uid}"], agreement))
    return "\n".join(rows)
