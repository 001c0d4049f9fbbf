"""Company names as people type them, reduced to what identifies the company.

`Müller & Söhne GmbH & Co. KG`, `Mueller und Soehne` and `MULLER SOHNE` are one name here. What is
left is for comparing and ranking only: names are decoration, ids decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"}
    | {"\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)
"""Letters that Unicode does not take apart into a base letter and a mark."""
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
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return _UMLAUT_AS_TWO.sub("", plain.translate(_LETTERS))


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
        telling = [word for word in self.words if word not in NOISE and word not in PLACES]
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
    return word in PLACES or word in NOISE


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
