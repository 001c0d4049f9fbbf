"""Which PSA company a tenant may be, by name. Suggestions only: a person binds, and ids decide.

A wrong suggestion that is accepted bills a stranger, a missing one costs a search. So a score falls
below `DEFAULT_MIN_SCORE` wherever a name fits two companies, or another tenant fits the company
better, however alike the names are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kisi.mapping.likeness import Likeness, Weights, WordIndex, compare
from kisi.mapping.names import Name, parse_name

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


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A PSA company that a tenant may be."""

    tenant: str
    """The tenant's id, as mapping.toml names it (`source:tenant`)."""
    company: str
    """The company's id in the PSA."""
    score: float
    """0 to 1, in two decimals."""
    reason: str
    """Why, in words; also what speaks against it."""


def suggest_companies(
    tenants: Mapping[str, str], companies: Mapping[str, str], *, limit: int = 5
) -> dict[str, tuple[Suggestion, ...]]:
    """For each tenant the companies that it may be, best first; equal scores by the company's id.

    Args:
        tenants: Tenant id to name.
        companies: Company id to name, of the PSA's active companies.
        limit: The most suggestions for one tenant.

    Returns:
        Every tenant id, in the order given; an empty tuple where no name is near.
    """
    search = _Search(companies, tenants)
    found = {tenant: search.candidates(name) for tenant, name in search.tenants.items()}
    best = _best_tenants(found)
    return {
        tenant: tuple(
            Suggestion(tenant, match.company, round(match.score, 2), match.reason)
            for match in _against_rivals(tenant, matches, best)[:limit]
        )
        for tenant, matches in found.items()
    }


@dataclass(frozen=True, slots=True)
class _Match:
    company: str
    score: float
    reason: str
    key: str


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
            self._by_initials[_initials(name)].append(id_)
            for word in set(name.words):
                self._by_word[word].append(id_)
        self._words = WordIndex(self._by_word)

    def candidates(self, name: Name) -> list[_Match]:
        """All companies worth showing for a tenant's name, best first."""
        likes = {like for word in set(name.words) for like in self._words.like(word)}
        rare = {like for like in likes if len(self._by_word[like]) <= self._common}
        near = {id_ for like in rare or likes for id_ in self._by_word[like]}
        matches = {id_: self._match(name, id_) for id_ in near}
        for id_ in self._by_compact[_compact(name)] if name.words else ():
            if id_ not in matches or matches[id_].score < _SPLIT_OTHERWISE:
                matches[id_] = self._as(id_, _SPLIT_OTHERWISE, "same letters, other spaces")
        for match in self._by_acronym(name):
            if match.company not in matches or matches[match.company].score < match.score:
                matches[match.company] = match
        worth = [match for match in matches.values() if match.score >= _WORTH_SHOWING]
        return sorted(worth, key=_rank)

    def _as(self, company: str, score: float, reason: str) -> _Match:
        return _Match(company, score, reason, self._names[company].key)

    def _match(self, name: Name, company: str) -> _Match:
        other = self._names[company]
        if name.key and name.key == other.key:
            return self._as(company, *_same(name, other))
        likeness = compare(name, other, self._weights)
        return self._as(company, min(likeness.score, _SPLIT_OTHERWISE), _reason(likeness))

    def _by_acronym(self, name: Name) -> Iterable[_Match]:
        telling = name.key.split()
        if len(telling) != 1 or len(telling[0]) < _FEW_LETTERS:
            return
        score = _INITIALS if len(telling[0]) >= _INITIALS_LETTERS else _FEW_INITIALS
        for company in self._by_initials[telling[0]]:
            yield self._as(company, score, "the initials of this name")


def _rank(match: _Match) -> tuple[float, int, str]:
    return (-match.score, len(match.company), match.company)


def _compact(name: Name) -> str:
    return name.key.replace(" ", "")


def _initials(name: Name) -> str:
    return "".join(word[0] for word in name.key.split())


def _same(name: Name, other: Name) -> tuple[float, str]:
    if name.text == other.text:
        return 1.0, "the same name"
    if name.forms and other.forms and name.forms != other.forms:
        return 0.97, "the same name, another legal form"
    if set(name.words) != set(other.words):
        return 0.98, "the same name but for words that tell sites apart"
    return 0.99, "the same name but for spelling and legal form"


def _reason(likeness: Likeness) -> str:
    parts = ["similar name" if likeness.unlike or likeness.missing else "the same words"]
    if likeness.unlike:
        parts.append("taking " + ", ".join(f'"{a}" for "{b}"' for a, b in likeness.unlike))
    if likeness.missing:
        parts.append("only one has " + ", ".join(f'"{word}"' for word in likeness.missing))
    return "; ".join(parts)


def _best_tenants(found: Mapping[str, list[_Match]]) -> dict[str, tuple[float, str]]:
    """For each company the tenant that fits it best, with its score."""
    best: dict[str, tuple[float, str]] = {}
    for tenant, matches in found.items():
        for match in matches:
            best[match.company] = max(best.get(match.company, (0.0, "")), (match.score, tenant))
    return best


def _against_rivals(
    tenant: str, matches: list[_Match], best: Mapping[str, tuple[float, str]]
) -> list[_Match]:
    """The same matches with lower scores where something else fits as well, or better."""
    keys = Counter(match.key for match in matches)
    judged = []
    for match in matches:
        rival = next((other for other in matches[:2] if other is not match), None)
        near = rival is not None and match.score - rival.score < _RIVAL_MARGIN
        if keys[match.key] > 1 or (near and match.score < _SURE):
            judged.append(_lowered(match, "another company fits as well"))
        elif match.score < _SURE and _fits_better(best[match.company], match, tenant):
            judged.append(_lowered(match, "another tenant fits this company better"))
        else:
            judged.append(match)
    return sorted(judged, key=_rank)


def _fits_better(best: tuple[float, str], match: _Match, tenant: str) -> bool:
    score, other = best
    return other != tenant and score - match.score > _BETTER_MARGIN


def _lowered(match: _Match, why: str) -> _Match:
    return replace(match, score=match.score * _RIVAL_FACTOR, reason=f"{match.reason}; {why}")
