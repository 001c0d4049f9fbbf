"""How alike names are: which company a tenant may be, which product may bill an application.

Suggestions only: a person binds.

Names are alike by the words they share, weighed by how telling each word is. A wrong suggestion
that is accepted bills a stranger, a missing one costs a search. So a score falls below
`DEFAULT_MIN_SCORE` wherever a name fits two companies, or another tenant fits the company better,
however alike the names are.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache

from kisi.mapping.names import NOISE, PLACES, Name, fold, parse_name
from kisi.model import Category

DEFAULT_MIN_SCORE = 0.85
"""Suggestions from here on are right in at least 98 of 100 cases on the lists of the tests."""

_SPLIT_OTHERWISE = 0.96
_INITIALS = 0.87
_INITIALS_LETTERS = 4
_FEW_INITIALS = 0.7
_FEW_LETTERS = 3
_RIVAL_MARGIN = 0.08
_BETTER_MARGIN = 0.04
_RIVAL_FACTOR = 0.8
_SURE = 0.97
_WORTH_SHOWING = 0.4
_COMMON, _COMMON_SHARE = 50, 0.1
"""A word of more companies than this does not bring two names together where a rarer one does."""

_NOISE_WEIGHT = 0.2
_PLACE_WEIGHT = 0.05
_LEAST_WEIGHT = 0.05
_TYPO = 0.8
"""Two words at least this alike may be one word with a slip in it."""
_TYPO_LETTERS = 4
_SHORTENED = 0.85
_ABBREVIATION = 0.75
_SHORTENED_LETTERS = 3
_ABBREVIATED_LETTERS = 5
_NUMBER_LETTERS = 3
_FEWEST_NAMES = 200
"""In shorter lists rarity is judged as in one of this length: three of five names say nothing."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike two names are, and which words are not simply the same."""

    score: float
    """0 to 1."""
    unlike: tuple[tuple[str, str], ...] = ()
    """Words taken for one: a slip, or a shortened word."""
    missing: tuple[str, ...] = ()
    """Words that only one of the names has, and that say something."""

    @property
    def reason(self) -> str:
        """The same in words."""
        parts = ["similar name" if self.unlike or self.missing else "the same words"]
        if self.unlike:
            parts.append("taking " + ", ".join(f'"{a}" for "{b}"' for a, b in self.unlike))
        if self.missing:
            parts.append("only one has " + ", ".join(f'"{word}"' for word in self.missing))
        return "; ".join(parts)


@lru_cache(maxsize=65536)
def word_similarity(one: str, other: str) -> float:
    """0 to 1: the same word, a typing slip, or a shortened word (`constr`, `svcs`)."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= _SHORTENED_LETTERS and short[0] == long[0] and not any(map(str.isdigit, long)):
        if long.startswith(short):
            return _SHORTENED
        if len(long) >= _ABBREVIATED_LETTERS and is_abbreviation(short, long):
            return _ABBREVIATION
    if len(short) < _TYPO_LETTERS or any(map(str.isdigit, one + other)):
        return 0.0
    matcher = SequenceMatcher(None, short, long, autojunk=False)
    quick = matcher.real_quick_ratio() >= _TYPO and matcher.quick_ratio() >= _TYPO
    return ratio if quick and (ratio := matcher.ratio()) >= _TYPO else 0.0


def is_abbreviation(short: str, long: str) -> bool:
    """Whether `short` is `long` with letters left out, and much shorter: `intl`, `mgmt`, `svcs`."""
    letters = iter(long)
    return len(short) * 3 <= len(long) * 2 and all(letter in letters for letter in short)


class Weights:
    """How telling each word is among the names of both lists: trades and towns say little."""

    def __init__(self, names: Iterable[Name]) -> None:
        names = list(names)
        self._counts = Counter(word for name in names for word in set(name.words))
        self._scale = math.log(max(len(names), _FEWEST_NAMES))

    def of(self, word: str) -> float:
        """0 to 1: 1 for a word that no other name has."""
        rarity = 1 - math.log(max(self._counts[word], 1)) / self._scale
        share = _PLACE_WEIGHT if word in PLACES else _NOISE_WEIGHT if word in NOISE else 1
        return max(rarity * share, _LEAST_WEIGHT)


def compare(one: Name, other: Name, weights: Weights) -> Similarity:
    """How alike two names are, whatever the order of their words."""
    pairs = sorted(
        (
            (similarity, weights.of(a), i, j)
            for i, a in enumerate(one.words)
            for j, b in enumerate(other.words)
            if (similarity := word_similarity(a, b))
        ),
        reverse=True,
    )
    left = dict(enumerate(one.words))
    right = dict(enumerate(other.words))
    shared = total = 0.0
    unlike = []
    for similarity, _, i, j in pairs:
        if i not in left or j not in right:
            continue
        a, b = left.pop(i), right.pop(j)
        weight = 2 * min(weights.of(a), weights.of(b))
        shared += similarity * weight
        total += weight
        if a != b:
            unlike.append((a, b))
    alone = _without_numbers(left.values(), other) + _without_numbers(right.values(), one)
    total += sum(map(weights.of, alone))
    telling = tuple(word for word in alone if word not in NOISE and word not in PLACES)
    return Similarity(shared / total if total else 0.0, tuple(unlike), telling)


def _without_numbers(words: Iterable[str], other: Name) -> list[str]:
    """`words` without customer numbers (`K1042`), which mean nothing to a name that has none."""
    if any(map(_is_number, other.words)):
        return list(words)
    return [word for word in words if not _is_number(word)]


def _is_number(word: str) -> bool:
    return len(word) >= _NUMBER_LETTERS and any(map(str.isdigit, word))


# --- which company a tenant may be --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A PSA company that a tenant may be."""

    company: str
    """The company's id in the PSA."""
    score: float
    """0 to 1, in two decimals."""
    reason: str
    """Also what speaks against it."""
    key: str = ""
    """What identifies the company in its name."""


def suggest_companies(
    tenants: Mapping[str, str], companies: Mapping[str, str], *, limit: int = 5
) -> dict[str, tuple[Suggestion, ...]]:
    """For each tenant the companies that it may be, best first; equal scores by the company's id.

    Both are ids to names, `companies` those of the PSA's active ones; `limit` is the most for one
    tenant. Every tenant id is there, in the order given, with none where no name is near.
    """
    search = _Search(companies, tenants)
    found = {tenant: search.candidates(name) for tenant, name in search.tenants.items()}
    best = _best_tenants(found)
    return {
        tenant: tuple(
            replace(match, score=round(match.score, 2))
            for match in _against_rivals(tenant, matches, best)[:limit]
        )
        for tenant, matches in found.items()
    }


class _Search:
    """The companies' names, indexed so that few pairs need to be compared."""

    def __init__(self, companies: Mapping[str, str], tenants: Mapping[str, str]) -> None:
        self.tenants = {id_: parse_name(name) for id_, name in tenants.items()}
        self._names = {id_: parse_name(name) for id_, name in companies.items()}
        self._weights = Weights([*self._names.values(), *self.tenants.values()])
        self._common = max(_COMMON, len(companies) * _COMMON_SHARE)
        self._by_word: dict[str, list[str]] = defaultdict(list)
        self._by_compact: dict[str, list[str]] = defaultdict(list)
        self._by_initials: dict[str, list[str]] = defaultdict(list)
        for id_, name in self._names.items():
            self._by_compact[_compact(name)].append(id_)
            self._by_initials["".join(word[0] for word in name.key.split())].append(id_)
            for word in set(name.words):
                self._by_word[word].append(id_)
        self._by_pair: dict[str, list[str]] = defaultdict(list)
        self._by_letter: dict[str, list[str]] = defaultdict(list)
        for word in self._by_word:
            self._by_letter[word[0]].append(word)
            for pair in _pairs(word):
                self._by_pair[pair].append(word)

    def candidates(self, name: Name) -> list[Suggestion]:
        """All companies worth showing for a tenant's name, best first."""
        likes = {like for word in set(name.words) for like in self._words_like(word)}
        rare = {like for like in likes if len(self._by_word[like]) <= self._common}
        near = {id_ for like in rare or likes for id_ in self._by_word[like]}
        matches = {id_: self._match(name, id_) for id_ in near}
        for match in (*self._by_letters(name), *self._by_acronym(name)):
            if match.company not in matches or matches[match.company].score < match.score:
                matches[match.company] = match
        worth = [match for match in matches.values() if match.score >= _WORTH_SHOWING]
        return sorted(worth, key=_rank)

    def _words_like(self, word: str) -> set[str]:
        """The words of all companies that `word` may stand for."""
        pairs = _pairs(word)
        shared = Counter(found for pair in pairs for found in self._by_pair[pair])
        near = {found for found, count in shared.items() if 3 * count >= len(pairs)}
        return {
            found for found in near.union(self._by_letter[word[0]]) if word_similarity(word, found)
        }

    def _as(self, company: str, score: float, reason: str) -> Suggestion:
        return Suggestion(company, score, reason, self._names[company].key)

    def _match(self, name: Name, company: str) -> Suggestion:
        other = self._names[company]
        if name.key and name.key == other.key:
            return self._as(company, *_same(name, other))
        similarity = compare(name, other, self._weights)
        return self._as(company, min(similarity.score, _SPLIT_OTHERWISE), similarity.reason)

    def _by_letters(self, name: Name) -> Iterable[Suggestion]:
        for company in self._by_compact[_compact(name)] if name.words else ():
            yield self._as(company, _SPLIT_OTHERWISE, "same letters, other spaces")

    def _by_acronym(self, name: Name) -> Iterable[Suggestion]:
        telling = name.key.split()
        if len(telling) != 1 or len(telling[0]) < _FEW_LETTERS:
            return
        score = _INITIALS if len(telling[0]) >= _INITIALS_LETTERS else _FEW_INITIALS
        for company in self._by_initials[telling[0]]:
            yield self._as(company, score, "the initials of this name")


def _rank(match: Suggestion) -> tuple[float, int, str]:
    return (-match.score, len(match.company), match.company)


def _compact(name: Name) -> str:
    return name.key.replace(" ", "")


def _pairs(word: str) -> set[str]:
    """The pairs of neighbouring letters, with the word's ends marked."""
    marked = f"^{word}$"
    return {marked[i : i + 2] for i in range(len(marked) - 1)}


def _same(name: Name, other: Name) -> tuple[float, str]:
    if name.text == other.text:
        return 1.0, "the same name"
    if name.forms and other.forms and name.forms != other.forms:
        return 0.97, "the same name, another legal form"
    if set(name.words) != set(other.words):
        return 0.98, "the same name but for words that tell sites apart"
    return 0.99, "the same name but for spelling and legal form"


def _best_tenants(found: Mapping[str, list[Suggestion]]) -> dict[str, tuple[float, str]]:
    """For each company the tenant that fits it best, with its score."""
    best: dict[str, tuple[float, str]] = {}
    for tenant, matches in found.items():
        for match in matches:
            best[match.company] = max(best.get(match.company, (0.0, "")), (match.score, tenant))
    return best


def _against_rivals(
    tenant: str, matches: list[Suggestion], best: Mapping[str, tuple[float, str]]
) -> list[Suggestion]:
    """The same matches with lower scores where something else fits as well, or better."""
    keys = Counter(match.key for match in matches)
    judged = []
    for match in matches:
        rival = next((other for other in matches[:2] if other is not match), None)
        near = rival is not None and match.score - rival.score < _RIVAL_MARGIN
        score, other = best[match.company]
        if keys[match.key] > 1 or (near and match.score < _SURE):
            why = "another company fits as well"
        elif match.score < _SURE and other != tenant and score - match.score > _BETTER_MARGIN:
            why = "another tenant fits this company better"
        else:
            judged.append(match)
            continue
        reason = f"{match.reason}; {why}"
        judged.append(replace(match, score=match.score * _RIVAL_FACTOR, reason=reason))
    return sorted(judged, key=_rank)


# --- products: which may bill an application ----------------------------------------------------

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
_PRODUCT_WORTH_SHOWING = 0.45


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

    `products` are ids to names (identifier and description, as a person knows it).
    """
    own = _words_of(application)
    parsed = {id_: _product(name, own) for id_, name in products.items()}
    weights = Weights([name for name, _ in parsed.values()])
    wanted = Name(application, own, frozenset())
    found = []
    for id_, (name, category) in parsed.items():
        alike = compare(wanted, name, weights)
        if alike.score >= _PRODUCT_WORTH_SHOWING:
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
        for category, its_words in _CATEGORY_WORDS.items()
        if its_words.intersection(words) - set(application)
    }
    telling = frozenset().union(*_CATEGORY_WORDS.values()) - set(application)
    full = [
        part for word in words if word not in telling for part in _written_out(word, application)
    ]
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
