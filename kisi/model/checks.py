"""What `kisi check` found, and tenants that no client has."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from kisi.errors import KisiError
from kisi.model.billing import BillingMapping, Company, TenantRef
from kisi.model.usage import Tenant

_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"}
    | {"\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)
"""Letters that Unicode does not take apart into a base letter and a mark."""


class Level(StrEnum):
    """How a finding of `kisi check` ends."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, or it could not be proven."""
    WARNING = "warning"
    """It works, and someone should know."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: in whole sentences what is so, and what to do about it."""

    level: Level
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: KisiError) -> Self:
        """A problem: the error in its own words."""
        return cls(Level.PROBLEM, error.message, error.remedy)


def unmapped_tenants(mapping: BillingMapping, tenants: Iterable[Tenant]) -> tuple[Tenant, ...]:
    """The tenants that no row names, not even to ignore them, each with `Tenant.listed_as`.

    A virtual server that was restored on a second machine is listed by both with one id. Mapped
    under both, each of its devices would be billed twice. Those that a row names may be among the
    `tenants`.
    """
    listed = [(tenant, tenant.ref.identity(mapping.global_sources)) for tenant in tenants]
    owners = mapping.owners()
    mapped = {ref for company in mapping.everyone for ref in company.tenants}
    same: dict[TenantRef, list[TenantRef]] = defaultdict(list)
    for tenant, identity in listed:
        same[identity].append(tenant.ref)
    return tuple(
        replace(tenant, listed_as=_listed_as(tenant.ref, owners.get(identity), same[identity]))
        for tenant, identity in listed
        if tenant.ref not in mapped and not mapping.ignores(tenant.ref)
    )


def tenants_left_behind(mapping: BillingMapping, tenants: Iterable[Tenant]) -> tuple[Tenant, ...]:
    """The tenants of clients that have left and that nobody else has, each with its `client`."""
    known = mapping.global_sources
    gone = (one for one in mapping.companies if one.left and one.billing)
    had = {ref: one for one in gone for ref in one.tenants}
    has = {ref.identity(known) for one in mapping.everyone if not one.left for ref in one.tenants}
    return tuple(
        replace(tenant, client=had[tenant.ref].name, until=had[tenant.ref].until)
        for tenant in tenants
        if tenant.ref in had and tenant.ref.identity(known) not in has
    )


def look_alikes(ref: TenantRef, tenants: Iterable[Tenant]) -> str:
    """Which tenants of its source are a missing one but for case, accents and blanks; or empty.

    Names that look the same (`é` may be one character or two) are shown letter by letter.
    """
    ours, names = ref.tenant, [one.ref.tenant for one in tenants if one.ref.source == ref.source]
    found = [name for name in names if _bare(name) == _bare(ours) and name != ours]
    if not found:
        return ""
    hidden = any(_seen(name) == _seen(ours) for name in found)
    own, *theirs = (ascii(x)[:200] if hidden else f'"{x[:200]}"' for x in (ours, *found))
    differ = "they differ in case, accents or blanks alone"
    return f"It has {' and '.join(theirs)}, and the mapping {own}: {differ}."


def _seen(text: str) -> str:
    """A name as the eye has it: `é` may be one character or two, a space may not break lines."""
    visible = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", " ".join(visible.split()).casefold())


def _bare(text: str) -> str:
    """A name without what people and programs write in several ways."""
    return "".join(plain_letters(_seen(text)).split())


def plain_letters(text: str) -> str:
    """`text` in lower case and without marks on its letters: `Łódź` is `lodz`."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain.translate(_LETTERS)


def _listed_as(
    ref: TenantRef, owner: tuple[TenantRef, Company] | None, listed: Sequence[TenantRef]
) -> str:
    if owner is None:
        others = ", ".join(str(other) for other in listed if other != ref)
        return f"the same virtual server as {others}: map one of them only" if others else ""
    same = f"the same virtual server as {owner[0]}, which"
    if owner[1].billing:
        return f"{same} {owner[1].name} is billed for: do not map it too"
    return f"{same} is {owner[1].name}'s, with billing off"
