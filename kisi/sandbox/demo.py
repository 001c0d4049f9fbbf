"""The worlds that `kisi demo` and `kisi sandbox` show.

`first_look` is what `kisi demo` bills: five clients, each source and PSA, and nothing wrong.

`demo` is lively: a dozen clients with what a real fleet has, namely keys that do not count, devices
of every kind, lines that people made by hand, an agreement that ran out. The first run creates
lines, the second finds nothing to do.

`demo_sandbox` serves it with Business Hub, Tigerpaw and Autotask: one client more has endpoints in
Kaspersky Security Center and mailboxes in Business Hub, one a user licence in Business Hub alone,
two are billed in Tigerpaw, one Tigerpaw does not let be billed, and one is billed in Autotask.

`fleet` is for `kisi map`: large, with names that differ on both sides as names do (technicians
name virtual servers, bookkeepers companies), and with the truth about who is who.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from random import Random

from kisi.sandbox.autotask import Autotask
from kisi.sandbox.autotask import company_row as autotask_row
from kisi.sandbox.autotask import product_row as autotask_product
from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.configuration import company_row
from kisi.sandbox.ksc_records import EndDateType, KeyUse, SubscriptionState, stable_guid
from kisi.sandbox.run import Sandbox
from kisi.sandbox.tigerpaw import Tigerpaw
from kisi.sandbox.tigerpaw import company_row as tigerpaw_row
from kisi.sandbox.tigerpaw import product_row as tigerpaw_product
from kisi.sandbox.world import APPLICATION, World

SELECT = "Kaspersky Endpoint Security for Business - Select"
EDR = "Kaspersky Endpoint Detection and Response Optimum"
MAIL = "Kaspersky Security for Mail Server"


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


def _contoso_and_fabrikam(world: World) -> None:
    """One billed by category, one with everything on one line."""
    world.client("Contoso", workstations=90, servers=10)

    everything = world.product("KES-ADV-FLAT", 4.0)
    flat = world.client("Fabrikam", workstations=80, servers=12, linux=5, macs=3)
    flat.exceptions.append({"application": APPLICATION, "all": everything.id})


def _everyday_clients(world: World) -> None:
    _contoso_and_fabrikam(world)

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

    world.client("Büro & Söhne", workstations=5)

    paused = world.client("Humongous Insurance", workstations=40)
    paused.billing = False


def _strangers(world: World) -> None:
    world.tenant("Trey Research", workstations=6)
    world.agreement(world.company("Lucerne Publishing"), "Managed Workplace")


def _product(world: World, identifier: str) -> int:
    return next(item.id for item in world.catalog.values() if item.identifier == identifier)


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
    return _with_all_systems(world, hub, of_hub, tigerpaw, of_tigerpaw)


def first_look(now: Callable[[], datetime] | None = None) -> Sandbox:
    """Five clients, each source and PSA, and nothing that is wrong.

    Args:
        now: As for `demo_sandbox`.
    """
    world = World(now)
    hub, tigerpaw = BusinessHub(world.now), Tigerpaw(world.now)
    _price_list(world)
    _contoso_and_fabrikam(world)
    _margies_travel(world, hub)
    rows = [*_price_list_of_tigerpaw(tigerpaw), _woodgrove_bank(world, hub, tigerpaw)]
    return _with_all_systems(world, hub, "", tigerpaw, "\n".join(rows))


def _with_all_systems(
    world: World, hub: BusinessHub, of_hub: str, tigerpaw: Tigerpaw, of_tigerpaw: str
) -> Sandbox:
    sandbox = Sandbox(world)
    sandbox.add(hub.part(of_hub))
    server = tigerpaw.serve(faults=sandbox.faults, log=sandbox.log)
    sandbox.add(tigerpaw.part(server, mapping=of_tigerpaw))
    autotask = Autotask(world.now)
    of_autotask = _client_of_autotask(world, autotask)
    server = autotask.serve(faults=sandbox.faults, log=sandbox.log)
    sandbox.add(autotask.part(server, mapping=of_autotask))
    return sandbox


def _client_of_autotask(world: World, autotask: Autotask) -> str:
    """Fills both sides, and returns rows of mapping.toml."""
    services = {
        "windows_workstations": autotask.service("KES-ADV-WS", 4.5),
        "windows_servers": autotask.service("KES-ADV-SRV", 9.0),
        "non_windows": autotask.service("KES-ADV-OTHER", 3.5),
    }
    airline = world.tenant("Blue Yonder Airlines", workstations=28)
    contract = autotask.contract(autotask.company("Blue Yonder Airlines"))
    for service in services.values():
        autotask.add_service(contract, service)
    row = autotask_row("Blue Yonder Airlines", [f"hq:{airline.uid}"], contract)
    return "\n".join([autotask_product(APPLICATION, **services), row])


def _clients_of_business_hub(world: World, hub: BusinessHub) -> str:
    """Fills both sides, and returns rows of mapping.toml."""
    _margies_travel(world, hub)
    world.billing.bill(CLOUD_PLUS, unit="user", all=world.product("KES-CLOUD-PLUS", 5.2))
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


def _margies_travel(world: World, hub: BusinessHub) -> None:
    """Devices in Security Center, mailboxes in Business Hub, on one agreement."""
    world.billing.bill(OFFICE, unit="mailbox", all=world.product("KS-O365", 1.1))
    both = world.client("Margie's Travel", workstations=35)
    both.more_tenants.append("hub:Margie's Travel")
    hub.licence("Margie's Travel", OFFICE, 25)
    hub.licence("Margie's Travel", OFFICE, 40, status="Expired")


def _price_list_of_tigerpaw(tigerpaw: Tigerpaw) -> list[str]:
    """Rows of mapping.toml."""
    by_category = tigerpaw_product(
        APPLICATION,
        windows_workstations=tigerpaw.item("KES-ADV-WS", 4.5),
        windows_servers=tigerpaw.item("KES-ADV-SRV", 9.0),
        non_windows=tigerpaw.item("KES-ADV-OTHER", 3.5),
    )
    return [by_category, tigerpaw_product(OFFICE, all=tigerpaw.item("KS-O365", 1.1))]


def _woodgrove_bank(world: World, hub: BusinessHub, tigerpaw: Tigerpaw) -> str:
    bank = world.tenant("Woodgrove Bank", workstations=52)
    hub.licence("Woodgrove Bank", OFFICE, 61)
    agreement = tigerpaw.agreement(tigerpaw.account("Woodgrove Bank"))
    return tigerpaw_row("Woodgrove Bank", [f"hq:{bank.uid}", "hub:Woodgrove Bank"], agreement)


def _clients_of_tigerpaw(world: World, hub: BusinessHub, tigerpaw: Tigerpaw) -> str:
    """Fills all sides, and returns rows of mapping.toml."""
    rows = _price_list_of_tigerpaw(tigerpaw)
    backup, setup = tigerpaw.item("BACKUP-TB", 25.0), tigerpaw.item("SETUP", 150.0)

    institute = world.tenant("Graphic Design Institute", workstations=18, servers=2, macs=6)
    agreement = tigerpaw.agreement(tigerpaw.account("Graphic Design Institute"))
    tigerpaw.charge(agreement, backup, 3)
    tigerpaw.charge(agreement, setup, 1, one_time=True)
    rows.append(tigerpaw_row("Graphic Design Institute", [f"hq:{institute.uid}"], agreement))

    rows.append(_woodgrove_bank(world, hub, tigerpaw))

    refused = world.tenant("Relecloud", workstations=9)
    agreement = tigerpaw.agreement(tigerpaw.account("Relecloud", cross_referenced=False))
    rows.append(tigerpaw_row("Relecloud", [f"hq:{refused.uid}"], agreement))
    return "\n".join(rows)


# fmt: off
_OWNERS = (
    "Müller", "Schäfer", "Grünwald", "Weiß", "Brönner", "Kjær", "Østergaard", "Ångström",
    "Lindqvist", "Sørensen", "Petit", "Lefèvre", "Garçon", "Núñez", "Ibáñez", "Peña", "Rossi",
    "Bianchi", "D'Angelo", "O'Brien", "McAllister", "Fitzgerald", "Whitaker", "Pemberton",
    "Harrington", "Blackwood", "Ashworth", "Kowalski", "Wiśniewski", "Novák", "Dvořák", "Horváth",
    "Popović", "Şahin", "Öztürk", "Nakamura", "Fujimoto", "Van den Berg", "De Vries", "Janssens",
    "Vermeulen", "Castellanos", "Abernathy", "Kensington", "Thornbury", "Silverman", "Goldberg",
    "Hawthorne", "Lockwood", "Radcliffe",
)
_TRADES = (
    "Logistik", "Steuerberatung", "Maschinenbau", "Dental Clinic", "Law Partners", "Engineering",
    "Immobilien", "Transport", "Bakery", "Architects", "Veterinary Centre", "Consulting",
    "Elektrotechnik", "Insurance Brokers", "Pharmacy", "Printing House", "Construction",
    "Metallbau", "Travel Agency", "Furniture",
)
_TOWNS = ("Hamburg", "Lyon", "Leeds", "Gent", "Wien", "Porto", "Oslo", "Brno", "Basel", "Cork")
# fmt: on
_FORMS = (
    ("GmbH", ("GmbH", "G.m.b.H.", "gmbh")),
    ("Ltd", ("Ltd", "Ltd.", "Limited")),
    ("Inc", ("Inc", "Inc.", "Incorporated")),
    ("AG", ("AG", "A.G.")),
    ("S.A.", ("S.A.", "SA")),
    ("B.V.", ("B.V.", "BV")),
    ("GmbH & Co. KG", ("GmbH & Co. KG", "GmbH&Co KG")),
    ("LLC", ("LLC", "L.L.C.")),
    ("s.r.o.", ("s.r.o.", "sro")),
    ("ApS", ("ApS",)),
)
_SHORT = {
    "Engineering": "Eng.",
    "Insurance": "Ins.",
    "Construction": "Constr.",
    "Consulting": "Cons.",
    "Steuerberatung": "StB",
    "Maschinenbau": "Masch.bau",
    "Transport": "Transp.",
    "Partners": "Ptnrs",
    "Centre": "Ctr",
}
_WRITTEN_OUT = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("ø", "oe"))
_TRANSCRIBED = {ord(letter): written for letter, written in _WRITTEN_OUT}
_MATCHED = 0.93
"""Share of the virtual servers whose client the PSA knows."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The world, and who is who in it."""

    world: World
    truth: dict[str, int | None]
    """Tenant id to company id; None: the PSA does not know this client."""


def fleet(n: int = 400, *, seed: int = 1, now: Callable[[], datetime] | None = None) -> Fleet:
    """Build `n` virtual servers and half as many PSA companies more, none of them mapped.

    Args:
        n: How many virtual servers; at most 700.
        seed: Another one gives other names and another mess.
        now: The world's clock.
    """
    dice = Random(seed)  # noqa: S311 - names, not secrets
    world = World(now)
    world.billing.bill(APPLICATION, all=world.product("KES-ADV", 4.0))
    names = _names(dice)
    truth: dict[str, int | None] = {}
    companies: list[tuple[str, str | None]] = []
    for number in range(n):
        plain, form = next(names), dice.choice(_FORMS)
        server = world.server(_technicians(plain, form[1], dice))
        truth[server.uid] = None
        known = number < round(n * _MATCHED)
        companies.append((f"{plain} {form[0]}", server.uid if known else None))
        key = world.make_key()
        server.keys.append(key)
        for _ in range(1 + number % 5):
            key.use(server.add_device())
    known_names = [row for row in companies if row[1]]
    while len(known_names) < n + n // 2:
        known_names.append((f"{next(names)} {dice.choice(_FORMS)[0]}", None))
    dice.shuffle(known_names)
    for name, uid in known_names:
        company = world.company(name)
        world.agreement(company)
        if uid:
            truth[uid] = company.id
    return Fleet(world, truth)


def _names(dice: Random) -> Iterator[str]:
    """Different names that share parts: one owner has several trades, one trade many owners."""
    every = [f"{owner} {trade}" for owner, trade in product(_OWNERS, _TRADES)]
    every += [f"{name} {dice.choice(_TOWNS)}" for name in every[::7]]
    dice.shuffle(every)
    return iter(every)


def _technicians(name: str, forms: tuple[str, ...], dice: Random) -> str:
    """The name as somebody typed it into Kaspersky Security Center."""
    for change, chance in _MESS:
        if dice.random() < chance:
            name = change(name, dice)
    if dice.random() < 0.4:
        name = f"{name} {dice.choice(forms)}"
    if dice.random() < 0.1:
        name = dice.choice(("VS {}", "{} (KSC)", "{} - main site", "{}  ")).format(name)
    return name


def _fold(name: str, _: Random) -> str:
    """Without diacritics, as on an American keyboard."""
    decomposed = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("ø", "o"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _transcribe(name: str, _: Random) -> str:
    """Umlauts written out."""
    return name.translate(_TRANSCRIBED)


def _case(name: str, dice: Random) -> str:
    return dice.choice((name.upper(), name.lower()))


def _swap(name: str, _: Random) -> str:
    """The owner last, as in a directory."""
    first, *rest = name.split(" ")
    return f"{' '.join(rest)}, {first}"


def _abbreviate(name: str, _: Random) -> str:
    return " ".join(_SHORT.get(word, word) for word in name.split(" "))


def _mistype(name: str, dice: Random) -> str:
    """One letter missing, or two changed places."""
    place = dice.randrange(1, len(name) - 2)
    if dice.random() < 0.5:
        return name[:place] + name[place + 1 :]
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]


def _join(name: str, dice: Random) -> str:
    return name.replace(" ", dice.choice(("-", "_", "")))


_MESS: tuple[tuple[Callable[[str, Random], str], float], ...] = (
    (_abbreviate, 0.15),
    (_fold, 0.25),
    (_transcribe, 0.15),
    (_swap, 0.12),
    (_mistype, 0.08),
    (_case, 0.15),
    (_join, 0.04),
)
