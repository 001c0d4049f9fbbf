"""A large fleet whose names differ on both sides as names do, with the truth about who is who.

For `kisi map`: virtual servers are named by technicians, PSA companies by bookkeepers. The same
seed gives the same fleet.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from random import Random

from kisi.sandbox.world import APPLICATION, World

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
