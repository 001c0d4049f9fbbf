"""How alike two names are: the words they share, weighed by how telling each word is."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from kisi.mapping.names import NOISE, PLACES, Name

_NOISE_WEIGHT = 0.2
_PLACE_WEIGHT = 0.05
_LEAST_WEIGHT = 0.05
_TYPO = 0.8
"""Two words at least this alike may be one word with a slip in it."""
_TYPO_LETTERS = 4
_SHORTENED = 0.85
_SKELETON = 0.75
_SHORTENED_LETTERS = 3
_SKELETON_OF = 5
_NUMBER_LETTERS = 3
_FEWEST_NAMES = 200
"""In shorter lists rarity is judged as in one of this length: three of five names say nothing."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two names are, and which words are not simply the same."""

    score: float
    """0 to 1; 1 if both have the same words."""
    unlike: tuple[tuple[str, str], ...] = ()
    """Words taken for one: a slip, or a shortened word."""
    missing: tuple[str, ...] = ()
    """Words that only one of the names has, and that say something."""


@lru_cache(maxsize=65536)
def word_likeness(one: str, other: str) -> float:
    """0 to 1: the same word, a typing slip, or a shortened word (`constr`, `svcs`)."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= _SHORTENED_LETTERS and short[0] == long[0] and not any(map(str.isdigit, long)):
        if long.startswith(short):
            return _SHORTENED
        if len(long) >= _SKELETON_OF and _skeleton(short, long):
            return _SKELETON
    if len(short) < _TYPO_LETTERS or any(map(str.isdigit, one + other)):
        return 0.0
    matcher = SequenceMatcher(None, short, long, autojunk=False)
    if matcher.real_quick_ratio() < _TYPO or matcher.quick_ratio() < _TYPO:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= _TYPO else 0.0


def _skeleton(short: str, long: str) -> bool:
    """Whether `short` is `long` with letters left out, and much shorter: `intl`, `mgmt`, `svcs`."""
    letters = iter(long)
    return len(short) * 3 <= len(long) * 2 and all(letter in letters for letter in short)


class Weights:
    """How telling each word is: rare words identify a company, trades and towns do not.

    Args:
        names: All names of both lists.
    """

    def __init__(self, names: Iterable[Name]) -> None:
        names = list(names)
        self._counts = Counter(word for name in names for word in set(name.words))
        self._scale = math.log(max(len(names), _FEWEST_NAMES))

    def of(self, word: str) -> float:
        """0 to 1: 1 for a word that no other name has."""
        rarity = 1 - math.log(max(self._counts[word], 1)) / self._scale
        share = _PLACE_WEIGHT if word in PLACES else _NOISE_WEIGHT if word in NOISE else 1
        return max(rarity * share, _LEAST_WEIGHT)


def compare(one: Name, other: Name, weights: Weights) -> Likeness:
    """How alike two names are, whatever the order of their words."""
    pairs = sorted(
        (
            (likeness, weights.of(a), i, j)
            for i, a in enumerate(one.words)
            for j, b in enumerate(other.words)
            if (likeness := word_likeness(a, b))
        ),
        reverse=True,
    )
    left = dict(enumerate(one.words))
    right = dict(enumerate(other.words))
    shared = total = 0.0
    unlike = []
    for likeness, _, i, j in pairs:
        if i not in left or j not in right:
            continue
        a, b = left.pop(i), right.pop(j)
        weight = 2 * min(weights.of(a), weights.of(b))
        shared += likeness * weight
        total += weight
        if a != b:
            unlike.append((a, b))
    alone = _without_numbers(left.values(), other) + _without_numbers(right.values(), one)
    total += sum(map(weights.of, alone))
    telling = tuple(word for word in alone if word not in NOISE and word not in PLACES)
    return Likeness(shared / total if total else 0.0, tuple(unlike), telling)


def _without_numbers(words: Iterable[str], other: Name) -> list[str]:
    """`words` without customer numbers (`K1042`), which mean nothing to a name that has none."""
    if any(map(_is_number, other.words)):
        return list(words)
    return [word for word in words if not _is_number(word)]


def _is_number(word: str) -> bool:
    return len(word) >= _NUMBER_LETTERS and any(map(str.isdigit, word))


class WordIndex:
    """Finds the words of one list that a word of the other may stand for.

    Args:
        words: Every word of the list, once.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._by_pair: dict[str, list[str]] = defaultdict(list)
        self._by_letter: dict[str, list[str]] = defaultdict(list)
        for word in words:
            self._by_letter[word[0]].append(word)
            for pair in _pairs(word):
                self._by_pair[pair].append(word)

    def like(self, word: str) -> set[str]:
        """All words whose likeness to `word` is above 0."""
        pairs = _pairs(word)
        shared = Counter(found for pair in pairs for found in self._by_pair[pair])
        near = {found for found, count in shared.items() if 3 * count >= len(pairs)}
        return {
            found for found in near.union(self._by_letter[word[0]]) if word_likeness(word, found)
        }


def _pairs(word: str) -> set[str]:
    """The pairs of neighbouring letters, with the word's ends marked."""
    marked = f"^{word}$"
    return {marked[i : i + 2] for i in range(len(marked) - 1)}
