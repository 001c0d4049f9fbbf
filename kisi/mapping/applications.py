"""Which application a key name is of, and which PSA products may bill it. Suggestions only.

A key's name (`KLLIC_PROD_NAME`) is the application's name and what was bought of it:
`Kaspersky Endpoint Security for Business - Advanced European Edition. 50-99 Node 1 year Base
License`. Only what stands in front is the application.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kisi.mapping.names import Name, fold
from kisi.mapping.similarity import Weights, compare
from kisi.model import Application, Category, Unit

_COUNTED = (
    "nodes?|users?|workstations?|file ?servers?|servers?|mail ?address(?:es)?|mailbox(?:es)?|"
    "devices?|mobile|cores?|cpus?|virtual|licen[cs]es?|months?|years?|days?"
)
_QUANTITY = re.compile(rf"[.,;]?\s+\d[\d\s+-]*\s*-?(?:{_COUNTED})\b", re.IGNORECASE)
"""`. 50-99 Node`, ` 1 year`: from here on it is what was bought."""
_REGION = re.compile(
    r"[.,]?\s+(?:european|international|worldwide|global|(?:north|latin) american|american|"
    r"russian(?: federation)?|cis|ukrain\w+|baltic|turkish|middle east\w*|african|asian?|"
    r"asia pacific|chinese|japanese|korean|indian)\s+edition\b",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[\s.,;:/-]+(?:base|renewal|cross-?grade|licen[cs]es?|pack|subscriptions?|msp|nfr|trial|"
    r"commercial|educational|governmental|public sector|monthly|annual|yearly|promo|for)$"
    r"|[\s.,;:/-]+$",
    re.IGNORECASE,
)
_FEWEST_WORDS = 2
PER_USER_OR_DEVICE = "per user or per device? look at the licence"


@dataclass(frozen=True, slots=True)
class KeyNameGroup:
    """Key names that seem to be of one application."""

    application: Application
    """With globs that each of `seen` matches one of, and the unit that the names speak of."""
    seen: tuple[str, ...]
    """The key names, sorted."""
    doubt: str = ""
    """What a person must look up before this unit bills anybody; empty: the names tell it."""


def group_key_names(names: Iterable[str]) -> tuple[KeyNameGroup, ...]:
    """Key names found on servers, grouped into applications, by name.

    >>> [group] = group_key_names([
    ...     "Kaspersky Endpoint Security for Business - Advanced. 50 Node 1 year Base License",
    ...     "Kaspersky Endpoint Security for Business - Advanced Subscription MSP",
    ... ])
    >>> group.application.keys
    ('Kaspersky Endpoint Security for Business - Advanced*',)
    """
    stems: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, set[str]] = defaultdict(set)
    for name in filter(str.strip, names):
        stem = application_of(name)
        stems[_words(stem)].add(stem)
        seen[_words(stem)].add(name)
    groups = []
    for key, members in seen.items():
        unit, doubt = _unit(members)
        name = min(stems[key], key=lambda stem: (stem.isupper(), stem))
        keys = tuple(f"{stem}*" for stem in _without_regard_to_case(stems[key]))
        groups.append(KeyNameGroup(Application(name, keys, unit), tuple(sorted(members)), doubt))
    return tuple(sorted(groups, key=lambda group: group.application.name.casefold()))


def application_of(key_name: str) -> str:
    """The application's name: `key_name` up to the region, the quantity or the kind of licence."""
    cuts = [match.start() for rule in (_QUANTITY, _REGION) if (match := rule.search(key_name))]
    stem = key_name[: min(cuts, default=len(key_name))].rstrip()
    while (shorter := _TAIL.sub("", stem)) != stem and len(shorter.split()) >= _FEWEST_WORDS:
        stem = shorter
    return stem if len(stem.split()) >= _FEWEST_WORDS else key_name.strip()


def _words(stem: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", stem.casefold())) or stem


def _without_regard_to_case(stems: Iterable[str]) -> Iterable[str]:
    """One of the stems that differ only in case, which globs do not regard."""
    return {stem.casefold(): stem for stem in sorted(stems)}.values()


def _unit(names: Iterable[str]) -> tuple[Unit, str]:
    """What one unit seems to be, and the doubt that is left.

    Endpoint Security Cloud is licensed per user; licences from before April 2019 are per device. A
    name that does not say which leaves a doubt, because the two bill differently.
    """
    text = " ".join(names).casefold()
    if re.search(r"office 365|mail ?address|mailbox", text):
        return Unit.MAILBOX, ""
    if "endpoint security cloud" not in text:
        return Unit.DEVICE, ""
    said = {_said_unit(name) for name in names}
    unit = Unit.DEVICE if said == {Unit.DEVICE} else Unit.USER
    return unit, "" if said == {unit} else PER_USER_OR_DEVICE


def _said_unit(name: str) -> Unit | None:
    """The unit that a key name itself speaks of: `10-14 User; 20-28 Mobile device` is per user."""
    if re.search(r"\busers?\b", name, re.IGNORECASE):
        return Unit.USER
    devices = r"\b(?:nodes?|devices?|workstations?|file ?servers?)\b"
    return Unit.DEVICE if re.search(devices, name, re.IGNORECASE) else None


# --- products -----------------------------------------------------------------------------------

_CATEGORY_WORDS = {
    Category.WINDOWS_WORKSTATIONS: frozenset(
        {"workstation", "workstations", "desktop", "desktops", "ws", "wks", "pc", "pcs"}
        | {fold(word) for word in ("Arbeitsplatz", "Arbeitsplätze", "poste", "postes", "werkplek")}
    ),
    Category.WINDOWS_SERVERS: frozenset(
        {"server", "servers", "srv", "fileserver", "serveur", "serveurs", "servidor", "servidores"}
    ),
    Category.NON_WINDOWS: frozenset(
        {"nonwindows", "nonwin", "mac", "macos", "linux", "mobile", "mobiles", "android", "ios"}
        | {"other", "others"}
    ),
}
_EMPTY_WORDS = frozenset(
    {"for", "the", "und", "and", "per", "device", "devices", "windows", "microsoft"}
)
_FEWEST_INITIALS = 2
_FEWEST_LETTERS = 3
_WORTH_SHOWING = 0.45


@dataclass(frozen=True, slots=True)
class ProductSuggestion:
    """A PSA product that may bill an application, whole or for one category."""

    product: str
    """The product's id in the PSA."""
    category: Category
    """`ALL` unless its name has a category's words."""
    score: float
    reason: str


def suggest_products(
    application: str, products: Mapping[str, str]
) -> tuple[ProductSuggestion, ...]:
    """The products whose names are like the application's, best first.

    Args:
        application: The application's name.
        products: Product id to name (identifier and description, as a person knows it).
    """
    own = _words_of(application)
    parsed = {id_: _product(name, own) for id_, name in products.items()}
    weights = Weights([name for name, _ in parsed.values()])
    wanted = Name(application, own, frozenset())
    found = []
    for id_, (name, category) in parsed.items():
        alike = compare(wanted, name, weights)
        if alike.score >= _WORTH_SHOWING:
            part = "" if category is Category.ALL else f"; its name speaks of {category.value}"
            score = round(alike.score, 2)
            found.append(ProductSuggestion(id_, category, score, alike.reason + part))
    return tuple(sorted(found, key=lambda found: (-found.score, len(found.product), found.product)))


def _words_of(text: str) -> tuple[str, ...]:
    joined = re.sub(r"(?i)\bnon[\s-]+win(dows)?\b", "nonwindows", text.replace("_", " "))
    words = re.findall(r"[^\W_]+", fold(joined))
    return tuple(dict.fromkeys(word for word in words if word not in _EMPTY_WORDS))


def _product(text: str, application: tuple[str, ...]) -> tuple[Name, Category]:
    """A product's words, initials (`KESB`) written out, and the category its name speaks of."""
    words = _words_of(text)
    spoken = {
        category
        for category, telling in _CATEGORY_WORDS.items()
        if telling.intersection(words) - set(application)
    }
    left = [
        word
        for word in words
        if word in application or not any(word in telling for telling in _CATEGORY_WORDS.values())
    ]
    full = [part for word in left for part in _written_out(word, application)]
    category = spoken.pop() if len(spoken) == 1 else Category.ALL
    return Name(text, tuple(dict.fromkeys(full)), frozenset()), category


def _written_out(word: str, application: tuple[str, ...]) -> tuple[str, ...]:
    """The application's words that `word` stands for: its initials, or a shortened word."""
    size = len(word)
    for full in application:
        if size >= _FEWEST_LETTERS and full.startswith(word):
            return (full,)
    if size >= _FEWEST_INITIALS:
        for start in range(len(application) - size + 1):
            run = application[start : start + size]
            if "".join(part[0] for part in run) == word:
                return run
    return (word,)
