"""Messy client names with known truth: what an MSP's two lists look like after ten years.

Everything is drawn from a seeded generator, so that a seed is a list. Words are those of real
trades and towns; the companies are invented.
"""

# ruff: noqa: SIM905, RUF001 - word lists are read as text, and some letters are meant to mislead

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

SURNAMES = """Müller Schmidt Weiß Jäger Böhm Krüger Hofmann Hoffmann Meyer Meier Maier Schröder Lehmann
Køhler Sørensen Nyström Åkesson Björk Łukasik Wójcik Dvořák Novák Horváth Szabó Popescu Ionescu García Núñez
Muñoz Peña Gonçalves Conceição Brandão Lefèvre Béranger Dubois Renaud Rossi Bianchi Ferrara Conti De-Luca
Smith Smyth O'Neill McAllister Fletcher Hargreaves Whitcombe Pemberton Ashworth Doyle Kowalski Petrov Ivanov
Yıldız Öztürk Demir Papadakis Nikolaou Van-Dijk Janssens Peeters De-Vries Bakker Brandt Brand Stein Steiner
Walter Walther Baur Bauer Becker Beck Fischer Vischer Keller Kellner Haas Haase Lange Lang Voss Vogt Vogel""".split()
HEADS = "Vex Nor Lum Alt Cor Pan Sol Ter Mer Quo Zen Fal Hex Ori Tau Bre Cal Dro Emb Gal Hal Ist Jor Kal Lor".split()
MIDDLES = "a o i e ara eni oli umi ato ive ono".split()
TAILS = "tron dex plan sys gen via nova tech mark port line grid core form flux mont dale berg wick tis".split()
TRADES = """Logistik Bau Elektro Consulting Immobilien Steuerberatung Rechtsanwälte Autohaus Bäckerei Metallbau
Maschinenbau Zahnarztpraxis Apotheke Spedition Gartenbau Heizungsbau Versicherungen Architekten Druckerei Hotel
Logistics Plumbing Accountants Dental Engineering Transport Software Solutions Solicitors Construction Catering
Insurance Packaging Electrical Properties Marketing Recruitment Systems Services Partners Foods Motors Pharmacy
Conseil Menuiserie Boulangerie Transports Costruzioni Impianti Ingeniería Asesores Advocaten Bouw Installatie
Bygg Redovisning Tandklinik Rådgivning Transporte Usługi Budownictwo Stavby Reklama""".split()
TOWNS = """Berlin Hamburg München Köln Leipzig Bremen Lyon Nantes Lille London Leeds Bristol Cardiff Dublin Cork
Milano Torino Madrid Sevilla Porto Gent Utrecht Malmö Aarhus Oslo Kraków Gdańsk Brno Wien Graz Zürich""".split()
FORMS = """GmbH|GmbH & Co. KG|AG|UG (haftungsbeschränkt)|e.K.|Ltd|Ltd.|Limited|LLC|Inc.|Inc|Corp.|PLC|LLP|S.A.|SARL|SAS|
S.r.l.|SpA|B.V.|BV|N.V.|ApS|A/S|AB|Oy|AS|S.L.|Lda|Sp. z o.o.|s.r.o.|Kft.|d.o.o.|Pty Ltd|SA|SE|OHG""".replace(
    "\n", ""
).split("|")
FIELDS = """Nordic Bavarian United Central Alpine Baltic Coastal Medical Industrial Digital Regional Urban Applied
Advanced Global Rural Precision Marine Thermal Clinical""".split()
NOUNS = "Freight Water Power Glass Timber Steel Care Data Film Rail Paper Cable Stone Textile Cloud Feed Tool".split()
SITES = [
    " - HQ",
    " HQ",
    " (Head Office)",
    " - Zentrale",
    " - main site",
    " (new)",
    " - Server",
    " VS",
    " - Standort 1",
    "/HQ",
]
SHORT = {
    "Consulting": "Cons.", "Construction": "Constr.", "Engineering": "Eng.", "Services": "Svcs", "Solutions": "Sol.",
    "International": "Intl", "Steuerberatung": "StB", "Rechtsanwälte": "RAe", "Maschinenbau": "Masch.bau",
    "Insurance": "Ins.", "Logistics": "Logist.", "Electrical": "Elec.", "Systems": "Sys",
}  # fmt: skip
PLAIN = str.maketrans(
    "áàâãåéèêëíïóòôõúüûçñýřšžčěůńśźżćęąığşÁÉÍÓÚÇÑŘŠŽČ",
    "aaaaaeeeeiioooouuucnyrszceunszzceaigsAEIOUCNRSZC",
)
GERMAN = {
    "ä": "ae",
    "ö": "oe",
    "ü": "ue",
    "ß": "ss",
    "ø": "oe",
    "æ": "ae",
    "å": "aa",
    "Ö": "Oe",
    "Ü": "Ue",
    "Ä": "Ae",
}


@dataclass
class Lists:
    """Two lists of names by id, and which company each tenant truly is (None: it has none)."""

    tenants: dict[str, str] = field(default_factory=dict)
    companies: dict[str, str] = field(default_factory=dict)
    truth: dict[str, str | None] = field(default_factory=dict)


@dataclass
class Firm:
    """A real company: words without a legal form, and the form."""

    words: list[str]
    form: str

    @property
    def name(self) -> str:
        return " ".join([*self.words, self.form]).strip()


def build(seed: int, tenants: int = 400, companies: int = 600) -> Lists:
    """The two lists of one seed."""
    random = Random(seed)
    firms = _firms(random, companies + tenants // 5)
    in_psa, strangers = firms[:companies], firms[companies:]
    lists = Lists()
    for number, firm in enumerate(in_psa):
        lists.companies[str(1000 + number)] = _as_typed_in_psa(random, firm)
    for firm in random.sample(in_psa, 8):  # accounts entered twice
        lists.companies[str(5000 + len(lists.companies))] = " ".join(
            [*firm.words, random.choice(FORMS)]
        )
    with_company = round(tenants * 0.86)
    picked = random.sample(range(companies), with_company - 12)
    picked += random.sample(picked, 12)  # a second virtual server for the same client
    for number, index in enumerate(picked):
        tenant = f"hq:VSRV{number:04}"
        second = picked.index(index) < number
        lists.tenants[tenant] = _as_typed_in_ksc(random, in_psa[index], site=second)
        lists.truth[tenant] = str(1000 + index)
    known = {" ".join(firm.words).lower() for firm in in_psa}
    for number in range(tenants - with_company):  # clients the PSA does not know
        tenant = f"hq:VSRV{9000 + number}"
        firm = _near(random, in_psa, known) if number % 3 == 0 else strangers[number]
        lists.tenants[tenant] = _as_typed_in_ksc(random, firm, site=False)
        lists.truth[tenant] = None
    return lists


def _firms(random: Random, count: int) -> list[Firm]:
    """Different companies, many of which look alike: families, towns, subsidiaries."""
    firms: list[Firm] = []
    seen: set[str] = set()
    while len(firms) < count:
        for words in random.choices(_KINDS, _WEIGHTS)[0](random):
            if " ".join(words).lower() not in seen:
                seen.add(" ".join(words).lower())
                firms.append(Firm(words, random.choice(FORMS)))
    firms = firms[:count]
    random.shuffle(firms)
    return firms


def _near(random: Random, firms: list[Firm], known: set[str]) -> Firm:
    """A company that is not in the PSA, though one of its words is that of a company that is."""
    while True:
        words = list(random.choice(firms).words)
        at = random.randrange(len(words))
        replaced = words[at] in TRADES, words[at] in TOWNS, words[at] in SURNAMES
        words[at] = random.choice(
            [TRADES, TOWNS, SURNAMES, [_stem(random)]][(*replaced, True).index(True)]
        )
        if " ".join(words).lower() not in known:
            return Firm(words, random.choice(FORMS))


def _stem(random: Random) -> str:
    return random.choice(HEADS) + random.choice(MIDDLES) + random.choice(TAILS)


def _family(random: Random) -> list[list[str]]:
    words = [random.choice(SURNAMES), random.choice(TRADES)]
    random.shuffle(words)
    return [words]


def _partners(random: Random) -> list[list[str]]:
    one, two = random.sample(SURNAMES, 2)
    return [
        [
            one,
            random.choice(["&", "und", "and", "et"]),
            two,
            *random.choices([[], [random.choice(TRADES)]])[0],
        ]
    ]


def _brand(random: Random) -> list[list[str]]:
    return [[_stem(random), random.choice(TRADES)]]


def _bare_brand(random: Random) -> list[list[str]]:
    return [[_stem(random)]]


def _descriptive(random: Random) -> list[list[str]]:
    return [[random.choice(FIELDS), *random.sample(NOUNS, 2), random.choice(TRADES)]]


def _in_towns(random: Random) -> list[list[str]]:
    stem = [random.choice([random.choice(SURNAMES), _stem(random)]), random.choice(TRADES)]
    return [[*stem, town] for town in random.sample(TOWNS, random.choice([2, 2, 3]))]


def _subsidiaries(random: Random) -> list[list[str]]:
    stem = _stem(random)
    return [
        [stem, trade]
        for trade in [random.choice(["Holding", "Group", *TRADES]), *random.sample(TRADES, 2)]
    ]


_KINDS: list[Callable[[Random], list[list[str]]]] = [
    *(_family, _partners, _brand, _bare_brand, _descriptive, _in_towns, _subsidiaries),
]
_WEIGHTS = [30, 9, 20, 12, 7, 5, 4]


def _as_typed_in_psa(random: Random, firm: Firm) -> str:
    name = firm.name if random.random() < 0.9 else " ".join(firm.words)
    if random.random() < 0.05:
        name = name.upper()
    if random.random() < 0.05:
        name = name.replace(firm.words[0], firm.words[0] + " ", 1)
    return name


def _as_typed_in_ksc(random: Random, firm: Firm, *, site: bool) -> str:
    """The same company as a technician named its virtual server."""
    words = list(firm.words)
    form = firm.form
    for chance, change in _CHANGES:
        if random.random() < chance:
            words = change(random, words)
    if random.random() < 0.55:
        form = random.choice(["", "", "", random.choice(FORMS), form.replace(".", "")])
    name = " ".join([*words, form]).strip()
    for chance, finish in _FINISHES:
        if random.random() < chance:
            name = finish(random, name)
    if site or random.random() < 0.08:
        name += random.choice(SITES)
    if random.random() < 0.03:
        name += f" - {random.choice(TOWNS)}"
    return name


def _typo(random: Random, words: list[str]) -> list[str]:
    index = max(range(len(words)), key=lambda i: len(words[i]))
    word = words[index]
    at = random.randrange(1, max(2, len(word) - 1))
    changed = random.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
            word[:at] + random.choice("aeinrst") + word[at + 1 :],
        ]
    )
    return [*words[:index], changed, *words[index + 1 :]]


def _swap(random: Random, words: list[str]) -> list[str]:
    return words if len(words) < 2 or "&" in words else [*words[1:], words[0]]


def _shorten(random: Random, words: list[str]) -> list[str]:
    return [SHORT.get(word, word) for word in words]


def _join(random: Random, words: list[str]) -> list[str]:
    return words if len(words) < 2 or "&" in words else [words[0] + words[1].lower(), *words[2:]]


def _initials(random: Random, words: list[str]) -> list[str]:
    letters = [word[0] for word in words if word not in {"&", "und", "and", "et"}]
    return ["".join(letters).upper()] if len(letters) > 3 else words


def _drop_trade(random: Random, words: list[str]) -> list[str]:
    return words[:1] if len(words) == 2 and words[1] in TRADES else words


_CHANGES: list[tuple[float, Callable[[Random, list[str]], list[str]]]] = [
    *(
        (0.10, _typo),
        (0.06, _swap),
        (0.15, _shorten),
        (0.04, _join),
        (0.15, _initials),
        (0.04, _drop_trade),
    ),
]


def _transliterate(random: Random, name: str) -> str:
    for letter, pair in GERMAN.items():
        name = name.replace(letter, pair)
    return name.translate(PLAIN)


_FINISHES: list[tuple[float, Callable[[Random, str], str]]] = [
    (0.35, _transliterate),
    (0.15, lambda _, name: name.upper()),
    (0.08, lambda _, name: name.lower()),
    (0.30, lambda _, name: name.replace(" und ", " & ").replace(" and ", " & ")),
    (0.05, lambda _, name: name.replace(" ", "-", 1)),
    (0.05, lambda random, name: f"{name}  "),
    (0.04, lambda _, name: f"The {name}"),
    (0.03, lambda _, name: f"{name} Group"),
    (0.03, lambda random, name: f"{random.randrange(10000, 99999)} - {name}"),
    (0.03, lambda random, name: f"K{random.randrange(1000, 9999)} {name}"),
    (0.04, lambda _, name: name.replace(" ", "_")),
    (0.03, lambda _, name: name.title().replace(" ", "")),
]
