"""How alike names are: which company a tenant may be, which product may bill an application.

Suggestions only: a person binds. Names are alike by the words they share, weighed by how telling
each word is. A wrong suggestion that is accepted bills a stranger, a missing one costs a search: so
a score falls below `DEFAULT_MIN_SCORE` wherever a name fits two companies, or another tenant fits
the company better, however alike the names are.
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
_INITIALS, _INITIALS_LETTERS = 0.87, 4
_FEW_INITIALS, _FEW_LETTERS = 0.7, 3
_RIVAL_MARGIN, _BETTER_MARGIN = 0.08, 0.04
_RIVAL_FACTOR = 0.8
_SURE = 0.97
_WORTH_SHOWING, _MOST = 0.4, 5
_COMMON, _COMMON_SHARE = 50, 0.1
"""A word of more companies than this does not bring two names together where a rarer one does."""

_NOISE_WEIGHT, _PLACE_WEIGHT, _LEAST_WEIGHT = 0.2, 0.05, 0.05
_TYPO, _TYPO_LETTERS = 0.8, 4
"""Two words at least this alike may be one word with a slip in it."""
_SHORTENED, _SHORTENED_LETTERS = 0.85, 3
_ABBREVIATION, _ABBREVIATED_LETTERS = 0.75, 5
_NUMBER_LETTERS = 3
_FEWEST_NAMES = 200
"""In shorter lists rarity is judged as in one of this length: three of five names say nothing."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike two names are, from 0 to 1, and which words are not simply the same."""

    score: float
    unlike: tuple[tuple[str, str], ...] = ()
    """Words taken for one: a slip, or a shortened word."""
    missing: tuple[str, ...] = ()
    """Words that only one of the names has, and that say something."""

    @property
    def reason(self) -> str:
        """The same in words."""
        taken = ", ".join(f'"{a}" for "{b}"' for a, b in self.unlike)
        alone = ", ".join(f'"{word}"' for word in self.missing)
        said = "similar name" if taken or alone else "the same words"
        return (
            said
            + (f"; taking {taken}" if taken else "")
            + (f"; only one has {alone}" if alone else "")
        )


@lru_cache(maxsize=65536)
def word_similarity(one: str, other: str) -> float:
    """0 to 1: the same word, a typing slip, or a shortened word (`constr`, `svcs`)."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= _SHORTENED_LETTERS and short[0] == long[0] and not any(map(str.isdigit, long)):
        if long.startswith(short):
            return _SHORTENED
        # letters were left out, and many: `intl`, `mgmt`, `svcs`
        letters, much = iter(long), len(short) * 3 <= len(long) * 2
        if much and len(long) >= _ABBREVIATED_LETTERS and all(each in letters for each in short):
            return _ABBREVIATION
    if len(short) < _TYPO_LETTERS or any(map(str.isdigit, one + other)):
        return 0.0
    matcher = SequenceMatcher(None, short, long, autojunk=False)
    quick = matcher.real_quick_ratio() >= _TYPO and matcher.quick_ratio() >= _TYPO
    return ratio if quick and (ratio := matcher.ratio()) >= _TYPO else 0.0


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
    """A PSA company that a tenant may be, or a product that may bill an application.

    `score` is 0 to 1, `reason` also says what speaks against it.
    """

    id: str
    score: float
    reason: str
    category: Category = Category.ALL
    """Of a product: the one whose words its name has."""


def _rank(match: Suggestion) -> tuple[float, int, str]:
    return (-match.score, len(match.id), match.id)


def suggest_companies(
    tenants: Mapping[str, str], companies: Mapping[str, str]
) -> dict[str, tuple[Suggestion, ...]]:
    """For each tenant, in the order given, the companies that it may be, best first (or none).

    Both are ids to names. Equal scores are in the order of the companies' ids.
    """
    search = _Search(companies, tenants)
    found = {tenant: search.candidates(name) for tenant, name in search.tenants.items()}
    best: dict[str, tuple[float, str]] = {}  # for each company the tenant that fits it best
    for tenant, matches in found.items():
        for match in matches:
            best[match.id] = max(best.get(match.id, (0.0, "")), (match.score, tenant))
    return {
        tenant: tuple(
            replace(match, score=round(match.score, 2))
            for match in search.against_rivals(tenant, matches, best)[:_MOST]
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
        by: list[defaultdict[str, list[str]]] = [defaultdict(list) for _ in range(5)]
        self._by_word, self._by_compact, self._by_initials, self._by_pair, self._by_letter = by
        for id_, name in self._names.items():
            self._by_compact[_compact(name)].append(id_)
            self._by_initials["".join(word[0] for word in name.key.split())].append(id_)
            for word in set(name.words):
                self._by_word[word].append(id_)
        for word in self._by_word:
            self._by_letter[word[0]].append(word)
            for pair in _pairs(word):
                self._by_pair[pair].append(word)

    def candidates(self, name: Name) -> list[Suggestion]:
        likes = {like for word in set(name.words) for like in self._words_like(word)}
        rare = {like for like in likes if len(self._by_word[like]) <= self._common}
        near = {id_ for like in rare or likes for id_ in self._by_word[like]}
        matches = [self._match(name, id_) for id_ in near]
        matches += [
            Suggestion(id_, _SPLIT_OTHERWISE, "same letters, other spaces")
            for id_ in (self._by_compact[_compact(name)] if name.words else ())
        ]
        telling = name.key.split()
        if len(telling) == 1 and len(telling[0]) >= _FEW_LETTERS:
            score = _INITIALS if len(telling[0]) >= _INITIALS_LETTERS else _FEW_INITIALS
            matches += [
                Suggestion(id_, score, "the initials of this name")
                for id_ in self._by_initials[telling[0]]
            ]
        best: dict[str, Suggestion] = {}
        for match in sorted(matches, key=_rank):
            best.setdefault(match.id, match)
        return [match for match in best.values() if match.score >= _WORTH_SHOWING]

    def _words_like(self, word: str) -> set[str]:
        pairs = _pairs(word)
        shared = Counter(found for pair in pairs for found in self._by_pair[pair])
        near = {found for found, count in shared.items() if 3 * count >= len(pairs)}
        return {
            found for found in near.union(self._by_letter[word[0]]) if word_similarity(word, found)
        }

    def _match(self, name: Name, company: str) -> Suggestion:
        other = self._names[company]
        if name.key and name.key == other.key:
            return Suggestion(company, *_same(name, other))
        similarity = compare(name, other, self._weights)
        return Suggestion(company, min(similarity.score, _SPLIT_OTHERWISE), similarity.reason)

    def against_rivals(
        self, tenant: str, matches: list[Suggestion], best: Mapping[str, tuple[float, str]]
    ) -> list[Suggestion]:
        """The same matches with lower scores where something else fits as well, or better."""
        keys = Counter(self._names[match.id].key for match in matches)
        judged = []
        for match in matches:
            rival = next((other for other in matches[:2] if other is not match), None)
            near = rival is not None and match.score - rival.score < _RIVAL_MARGIN
            score, other = best[match.id]
            if keys[self._names[match.id].key] > 1 or (near and match.score < _SURE):
                why = "another company fits as well"
            elif match.score < _SURE and other != tenant and score - match.score > _BETTER_MARGIN:
                why = "another tenant fits this company better"
            else:
                judged.append(match)
                continue
            reason = f"{match.reason}; {why}"
            judged.append(replace(match, score=match.score * _RIVAL_FACTOR, reason=reason))
        return sorted(judged, key=_rank)


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
_PRODUCT_WORTH_SHOWING = 0.45


def suggest_products(application: str, products: Mapping[str, str]) -> tuple[Suggestion, ...]:
    """The products whose names are like the application's, best first.

    `products` are ids to names (identifier and description, as a person knows it).
    """
    own = _words_of(application)
    parsed = {id_: _product(name, own) for id_, name in products.items()}
    weights = Weights([name for name, _ in parsed.values()])
    found = []
    for id_, (name, category) in parsed.items():
        alike = compare(Name(application, own, frozenset()), name, weights)
        if alike.score >= _PRODUCT_WORTH_SHOWING:
            part = "" if category is Category.ALL else f"; its name speaks of {category.value}"
            found.append(Suggestion(id_, round(alike.score, 2), alike.reason + part, category))
    return tuple(sorted(found, key=_rank))


def _words_of(text: str) -> tuple[str, ...]:
    joined = re.sub(r"(?i)\bnon[\s-]+win(dows)?\b", "nonwindows", text.replace("_", " "))
    words = re.findall(r"[^\W_]+", fold(joined))
    return tuple(dict.fromkeys(word for word in words if word not in _EMPTY_WORDS))


def _product(text: str, application: tuple[str, ...]) -> tuple[Name, Category]:
    """A product's words, initials (`KESB`) written out, and the category its name speaks of."""
    words = _words_of(text)
    own = set(application)
    spoken = [
        category for category, its in _CATEGORY_WORDS.items() if its.intersection(words) - own
    ]
    telling = frozenset().union(*_CATEGORY_WORDS.values()) - own
    full = [
        part for word in words if word not in telling for part in _written_out(word, application)
    ]
    category = spoken[0] if len(spoken) == 1 else Category.ALL
    return Name(text, tuple(dict.fromkeys(full)), frozenset()), category


def _written_out(word: str, application: tuple[str, ...]) -> tuple[str, ...]:
    """The application's words that `word` stands for: its initials, or a shortened word."""
    size = len(word)
    shortened = [full for full in application if full.startswith(word)]
    if shortened and size >= _SHORTENED_LETTERS:
        return (shortened[0],)
    for start in range(len(application) - size + 1 if size >= _FEWEST_INITIALS else 0):
        run = application[start : start + size]
        if "".join(part[0] for part in run) == word:
            return run
    return (word,)
