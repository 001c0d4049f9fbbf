"""Company names: reduced to what identifies the company, searched, and how alike they are.

`Müller & Söhne GmbH & Co. KG`, `Mueller und Soehne` and `MULLER SOHNE` are one name here. Names are
decoration, ids decide; this suggests and ranks: which company a tenant may be, which product may
bill an application. A person binds.

Names are alike by the words they share, weighed by how telling each word is. A wrong suggestion
that is accepted bills a stranger, a missing one costs a search: so a score falls below
`DEFAULT_MIN_SCORE` wherever a name fits two companies, or another tenant fits the company better,
however alike the names are.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TypeVar

from kisi.model import Category, plain_letters

Item = TypeVar("Item")

_UMLAUT_AS_TWO = re.compile(r"(?<=[aou])e|(?<=a)a")
"""Müller is also written Mueller, Århus Aarhus: both ways give one spelling."""
_SINGLE_LETTERS = re.compile(r"(?<![^\W_])(?:[^\W\d_][./]\s?){1,4}[^\W\d_](?![^\W_])\.?")
"""S.r.l., A/S, B. V.: single letters with a dot or slash between are one word."""
_PART = re.compile(r"[,;:()\[\]{}|]|\s[-\u2010-\u2015/]+\s|\s-|-\s")
"""What divides a name into the company and an addition: `Contoso GmbH - HQ`, `Contoso (old)`."""
_HUMP = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])")
"""Where a name without spaces begins a new word: `ContosoLogistics`."""
_SIGNS = str.maketrans({"&": " ", "+": " ", "'": None, "\u2019": None})
_LONGEST = 200
"""Letters of a name that are looked at; hostile ones go on for pages."""
_EAST_ASIAN_FORMS = re.compile("株式会社|有限会社|合同会社|股份有限公司|有限公司|주식회사|[(]株[)]")
_WORD = re.compile(r"[^\W_]+")
_CONNECTIVES = frozenset({"and", "und", "et", "og", "och", "of", "for", "fur"})


def fold(text: str) -> str:
    """`text` in lower case without diacritics; `ö` and `oe` become one."""
    return _UMLAUT_AS_TWO.sub("", plain_letters(text))


def _folded(words: str) -> frozenset[str]:
    return frozenset(map(str.strip, fold(words).split(",")))


_CYRILLIC = "ооо, зао, оао, пао, ао, ип, тов"  # noqa: RUF001
_FORMS = _folded(f"""
    gmbh, mbh, ag, kg, kgaa, ohg, ug, gbr, ek, ev, eg, gmbh co kg, ug haftungsbeschrankt,
    haftungsbeschrankt, ges mbh, gesmbh, partg, partgmbb, se co kgaa, co kg, co ohg,
    ltd, limited, inc, incorporated, llc, llp, lp, plc, corp, corporation, co, company, pty,
    pty ltd, pte, pte ltd, pvt, pvt ltd, private limited, pllc, cic, cyf, bhd, sdn bhd,
    sa, sarl, sas, sasu, eurl, scop, snc, sci, srl, srls, spa, sapa, sl, slu, sau, slp, sc,
    sa de cv, sapi de cv, s de rl de cv, de cv, lda, ltda, unipessoal, unipessoal lda, eireli, epp,
    cia, coop,
    bv, nv, bvba, cvba, vof, vzw, asbl, srl bv, ab, hb, as, asa, aps, ks, oy, oyj, ab oy, ehf, hf,
    amba,
    sp zoo, sp z oo, sp k, sp j, sp zoo sp k, sp z oo sp k, spolka zoo, sro, spol sro, spol s ro,
    vos, kft, zrt, nyrt, bt, doo, dd, jdoo, ood, eood, ad, ead, uab, sia, ou, ooo, zao, oao, pao,
    ao, tov, epe, ae, ike,
    kk, gk, ltd sti, anonim sirketi, sti, pt, tbk, pt tbk, cv, jsc, fze, fzco, fz llc, wll, co ltd,
    co inc, co llc, se, sce, eeig, {_CYRILLIC}
""")
"""Legal forms: German, English, Romance, of Benelux and the north, of the east, and others."""
_LEGAL_FORMS = frozenset(tuple(form.split()) for form in _FORMS)
_FORM_SIZES = sorted(set(map(len, _LEGAL_FORMS)), reverse=True)
_LEGAL_WORDS = frozenset(word for form in _LEGAL_FORMS for word in form)
_LEGAL_BEFORE = _folded(f"""
    ooo, zao, oao, pao, ao, ip, tov, uab, sia, pt, cv, ou, soc, firma, {_CYRILLIC}
""")
"""Legal forms that some countries write in front."""
_SITE_DIGITS = 2

NOISE = _folded("""
    the, group, gruppe, groupe, grupo, gruppo, groep, holding, holdings, company, companies, firma,
    der, die, das, le, la, les, el, los, il, de, del, della, di, du, des, da, do, van, von, y, e, i
""")
"""Words that say little: they weigh a fraction of what their rarity would give them."""

PLACES = _folded("""
    hq, headquarters, head, office, main, site, branch, zentrale, hauptsitz, filiale, niederlassung,
    standort, buro, siege, agence, sede, oficina, vestiging, kantoor, hauptstandort, server,
    servers, ksc, vserver, virtual, new, old, neu, alt, managed, client, customer, kunde, prod,
    production, kaspersky, msp, tenant, vs
""")
"""Words that tell one site or server of a company from another, not one company from another."""
_NOISE_OR_PLACES = NOISE | PLACES


@dataclass(frozen=True, slots=True)
class Name:
    """A company's name, taken apart."""

    text: str
    words: tuple[str, ...]
    """What identifies the company, in order; never empty unless the name has no letter or digit."""
    forms: frozenset[str]
    """The legal forms that were left out of `words`."""

    @property
    def key(self) -> str:
        """Equal for two names that differ only in spelling, legal form or noise."""
        telling = [word for word in self.words if word not in _NOISE_OR_PLACES]
        return " ".join(telling or self.words)


def parse_name(text: str) -> Name:
    """Takes a company's name apart.

    >>> parse_name("Müller & Söhne GmbH & Co. KG").words
    ('muller', 'sohne')
    >>> parse_name("Łódź Invest Sp. z o.o. - HQ").key
    'lodz invest'
    """
    spaced = text[:_LONGEST].translate(_SIGNS)
    if len(spaced.split()) == 1:
        spaced = _HUMP.sub(" ", spaced)
    folded = _EAST_ASIAN_FORMS.sub(" ", fold(spaced))
    joined = _SINGLE_LETTERS.sub(lambda match: re.sub(r"[./\s]", "", match[0]) + " ", folded)
    words: list[str] = []
    forms: set[str] = set()
    for part in _PART.split(joined):
        kept, dropped = _without_forms([w for w in _WORD.findall(part) if w not in _CONNECTIVES])
        words += kept
        forms |= dropped
    return Name(text, tuple(words or _WORD.findall(joined)), frozenset(forms))


def _without_forms(words: list[str]) -> tuple[list[str], set[str]]:
    """`words` without legal forms at the end and, where a country writes them so, in front.

    What tells sites apart may follow the form: `Contoso Ltd HQ`, `Contoso Ltd Standort 2`.
    """
    end = len(words)
    while end > 1 and _is_addition(words, end - 1):
        end -= 1
    body, additions = words[:end], words[end:]
    forms: set[str] = set()
    while size := next((n for n in _FORM_SIZES if tuple(body[-n:]) in _LEGAL_FORMS), 0):
        forms.add(" ".join(body[-size:]))
        body = body[:-size]
    while len(body) > 1 and body[0] in _LEGAL_BEFORE:
        forms.add(body[0])
        body = body[1:]
    return body + [word for word in additions if not word.isdigit()], forms


def _is_addition(words: list[str], at: int) -> bool:
    """Whether the word at this place tells a site or says little, as a number after it does."""
    word = words[at]
    if word in _LEGAL_WORDS:
        return False
    if word.isdigit():
        return at > 0 and len(word) <= _SITE_DIGITS and words[at - 1] in PLACES
    return word in _NOISE_OR_PLACES


def search(
    wanted: str, items: Iterable[Item], named: Callable[[Item], tuple[str, str]]
) -> list[Item]:
    """What has every typed part in its name, or is named by its id, likeliest first.

    `named` gives name and id. Case, diacritics and punctuation do not matter: `muller` finds
    `Müller & Söhne`. Names that begin with what was typed come first, then words that do.
    """
    parts = _plain(wanted).split()
    ranked = []
    for item in items if parts else ():
        name, ident = named(item)
        plain = _plain(name)
        joined = plain.replace(" ", "")
        if ident.casefold() == wanted.strip().casefold():
            ranked.append((0, name.casefold(), item))
        elif all(part in plain or part in joined for part in parts):
            inside = 2 if f" {parts[0]}" in plain else 3
            ranked.append((1 if plain.startswith(parts[0]) else inside, name.casefold(), item))
    return [item for _, _, item in sorted(ranked, key=lambda found: found[:2])]


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(fold(text))) or text.casefold().strip()


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
_NUMBER = re.compile(r"(?=.*\d)...")
_FEWEST_NAMES = 200
"""In shorter lists rarity is judged as in one of this length: three of five names say nothing."""


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


def compare(one: Name, other: Name, weights: Weights) -> tuple[float, str]:
    """How alike two names are, from 0 to 1, whatever the order of their words; and in words."""
    pairs = sorted(
        (
            (similarity, weights.of(a), i, j)
            for i, a in enumerate(one.words)
            for j, b in enumerate(other.words)
            if (similarity := word_similarity(a, b))
        ),
        reverse=True,
    )
    left, right = dict(enumerate(one.words)), dict(enumerate(other.words))
    shared = total = 0.0
    taken: list[str] = []
    for similarity, _, i, j in pairs:
        if i not in left or j not in right:
            continue
        a, b = left.pop(i), right.pop(j)
        weight = 2 * min(weights.of(a), weights.of(b))
        shared += similarity * weight
        total += weight
        if a != b:
            taken.append(f'"{a}" for "{b}"')
    alone = _without_numbers(left.values(), other) + _without_numbers(right.values(), one)
    total += sum(map(weights.of, alone))
    telling = [f'"{word}"' for word in alone if word not in _NOISE_OR_PLACES]
    reason = "similar name" if taken or telling else "the same words"
    reason += f"; taking {', '.join(taken)}" if taken else ""
    reason += f"; only one has {', '.join(telling)}" if telling else ""
    return shared / total if total else 0.0, reason


def _without_numbers(words: Iterable[str], other: Name) -> list[str]:
    """`words` without customer numbers (`K1042`), which mean nothing to a name that has none."""
    numbered = any(map(_NUMBER.match, other.words))
    return [word for word in words if numbered or not _NUMBER.match(word)]


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
            self._by_compact[name.key.replace(" ", "")].append(id_)
            self._by_initials["".join(word[0] for word in name.key.split())].append(id_)
            for word in set(name.words):
                self._by_word[word].append(id_)
        for word in self._by_word:
            self._by_letter[word[0]].append(word)
            for pair in _pairs(word):
                self._by_pair[pair].append(word)

    def candidates(self, name: Name) -> list[Suggestion]:
        likes: set[str] = set()
        for word in set(name.words):
            pairs = _pairs(word)
            shared = Counter(found for pair in pairs for found in self._by_pair[pair])
            same = {found for found, count in shared.items() if 3 * count >= len(pairs)}
            same.update(self._by_letter[word[0]])
            likes |= {found for found in same if word_similarity(word, found)}
        rare = {like for like in likes if len(self._by_word[like]) <= self._common}
        near = {id_ for like in rare or likes for id_ in self._by_word[like]}
        matches = []
        for id_ in near:
            other = self._names[id_]
            if name.key and name.key == other.key:
                matches.append(Suggestion(id_, *_same(name, other)))
            else:
                score, reason = compare(name, other, self._weights)
                matches.append(Suggestion(id_, min(score, _SPLIT_OTHERWISE), reason))
        matches += [
            Suggestion(id_, _SPLIT_OTHERWISE, "same letters, other spaces")
            for id_ in (self._by_compact[name.key.replace(" ", "")] if name.words else ())
        ]
        telling = name.key.split()
        if len(telling) == 1 and len(telling[0]) >= _FEW_LETTERS:
            score = _INITIALS if len(telling[0]) >= _INITIALS_LETTERS else _FEW_INITIALS
            by_initials, reason = self._by_initials[telling[0]], "the initials of this name"
            matches += [Suggestion(id_, score, reason) for id_ in by_initials]
        best: dict[str, Suggestion] = {}
        for match in sorted(matches, key=_rank):
            best.setdefault(match.id, match)
        return [match for match in best.values() if match.score >= _WORTH_SHOWING]

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
_FEWEST_INITIALS, _PRODUCT_WORTH_SHOWING = 2, 0.45


def suggest_products(application: str, products: Mapping[str, str]) -> tuple[Suggestion, ...]:
    """The products whose names are like the application's, best first.

    `products` are ids to names (identifier and description, as a person knows it).
    """
    own = _words_of(application)
    parsed = {id_: _product(name, own) for id_, name in products.items()}
    weights = Weights([name for name, _ in parsed.values()])
    found = []
    for id_, (name, category) in parsed.items():
        score, reason = compare(Name(application, own, frozenset()), name, weights)
        if score >= _PRODUCT_WORTH_SHOWING:
            part = "" if category is Category.ALL else f"; its name speaks of {category.value}"
            found.append(Suggestion(id_, round(score, 2), reason + part, category))
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
