"""What `kisi map` shows on a terminal before each question."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from kisi.mapping.inventory import CompanyEntry, KeyNameEntry, ProductEntry, TenantEntry
from kisi.mapping.similarity import Suggestion
from kisi.mapping.suggestions import KeyNameGroup
from kisi.model import Company, Line
from kisi.psa import PsaAgreement
from kisi.render.formatting import money, quantity
from kisi.render.map_lists import agreement_words
from kisi.render.report import Entry, Grid, Item, Report, Section, Span, Tone, remarks, row

_MOST_KEY_NAMES = 6
_MOST_LINES = 4
MOST_CHOICES = 12
"""A longer list is cut: more of the name finds the one that is meant."""


def overview_screen(unmapped: Mapping[str, str], stale: int, parts: Sequence[str]) -> Report:
    """What is unmapped on each side, and the numbered parts that can be mapped now."""
    rows = tuple(row(side, words) for side, words in unmapped.items())
    items: list[Item] = [Grid(("", ""), rows, flexible=(1,))]
    if stale:
        count = "1 mapping is" if stale == 1 else f"{stale} mappings are"
        items.append(Span(f"{count} stale: kisi map list --stale", Tone.HELD))
    open_now = Section("Not mapped yet", (), tuple(items))
    to_map = Section("To map", (), (_numbered(parts),))
    return Report("kisi map", (open_now, to_map) if parts else (open_now,))


def _numbered(choices: Sequence[str], flexible: Collection[int] = ()) -> Grid:
    rows = tuple(row(str(number), words) for number, words in enumerate(choices, 1))
    return Grid(("", ""), rows, flexible=flexible)


def tenant_screen(
    entry: TenantEntry,
    place: str,
    choices: Sequence[tuple[Suggestion, CompanyEntry]],
    owners: Mapping[tuple[str, str], Company],
) -> Report:
    """A tenant, what it uses, and the companies that it may be."""
    used = sorted(entry.uses, key=lambda use: (-use[1], use[0]))[:_MOST_KEY_NAMES]
    items: list[Item] = [*remarks(*(f"{count} x {name}" for name, count in used))]
    if choices:
        rows = tuple(
            row(
                str(number),
                f"{suggestion.score:.2f}",
                _company(company, owners),
                Span(suggestion.reason, Tone.DIM),
            )
            for number, (suggestion, company) in enumerate(choices, 1)
        )
        items.append(Grid(("", "score", "company", "why"), rows, (0,), (2, 3)))
    else:
        items.append(Span("No company has a similar name. Type a part of its name.", Tone.HELD))
    tenant = entry.tenant
    facts = (place, str(tenant.ref), *([tenant.listed_as] if tenant.listed_as else []))
    return Report("Tenant", (Section(tenant.name, facts, tuple(items)),))


def companies_screen(
    found: Sequence[CompanyEntry], owners: Mapping[tuple[str, str], Company]
) -> Report:
    """The companies that a search found."""
    rows = tuple(
        row(str(number), _company(entry, owners), f"{entry.psa}:{entry.company.id}")
        for number, entry in enumerate(found[:MOST_CHOICES], 1)
    )
    grid = Grid(("", "company", "id"), rows, (0,), (1,))
    return Report("Search", (Section("Found", (), (grid, *_more(len(found)))),))


def _company(entry: CompanyEntry, owners: Mapping[tuple[str, str], Company]) -> Span:
    owner = owners.get((entry.psa, entry.company.id))
    if owner is None:
        return Span(entry.company.name)
    known = "mapped" if owner.name == entry.company.name else f"mapped: {owner.name}"
    return Span(f"{entry.company.name} ({known})")


def _more(count: int) -> tuple[Item, ...]:
    more = count - MOST_CHOICES
    return remarks(f"and {more} more: type more of the name" if more > 0 else "")


def agreements_screen(
    company: str,
    agreements: Sequence[PsaAgreement],
    bills: Mapping[str, str],
    owners: Mapping[str, Company],
) -> Report:
    """A company's running agreements, with what each bills already."""
    entries = []
    for number, agreement in enumerate(agreements, 1):
        owner = owners.get(agreement.id)
        joins = f"mapped to {owner.name}: the tenant joins it" if owner else ""
        told = (*remarks(bills.get(agreement.id, "")), *remarks(joins, tone=Tone.HELD))
        mark = f"{number} " if len(agreements) > 1 else "·"
        entries.append(Entry(mark, Tone.PLAIN, agreement_words(agreement), remarks=told))
    title = "Agreements of" if len(entries) > 1 else "Agreement of"
    return Report("Agreements", (Section(f"{title} {company}", (), tuple(entries)),))


def lines_words(lines: Iterable[Line], products: Mapping[str, str]) -> str:
    """What an agreement bills already: `bills 12 x Backup, 3 x Firewall`."""
    names = [
        f"{quantity(x.quantity)} x {x.description or products.get(x.product, x.product)}"
        for x in lines
    ]
    if not names:
        return "bills nothing yet"
    more = f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else ""
    return "bills " + ", ".join(names[:_MOST_LINES]) + more


def application_screen(
    group: KeyNameGroup, place: str, key_names: Sequence[KeyNameEntry], choices: Sequence[str]
) -> Report:
    """Key names that seem to be one application, and how it may be billed."""
    items: list[Item] = []
    if key_names:
        first = key_names[:_MOST_KEY_NAMES]
        rows = tuple(row(entry.name, str(entry.used), str(entry.tenants)) for entry in first)
        items.append(Grid(("key name", "in use", "tenants"), rows, (1, 2), (0,)))
    more = len(key_names) - _MOST_KEY_NAMES
    items += remarks(f"and {more} more key names" if more > 0 else "")
    facts = (*([place] if place else []), group.doubt or f"counted per {group.application.unit}")
    question = "How is it billed?" if place else "Which is it?"
    known = Section(group.application.name, facts, tuple(items))
    return Report("Application", (known, Section(question, (), (_numbered(choices, (1,)),))))


def products_screen(title: str, found: Sequence[tuple[ProductEntry, Suggestion | None]]) -> Report:
    """Products to choose from, suggested or found by a search."""
    rows = tuple(
        row(
            str(number),
            entry.product.name
            + (f" (bills {', '.join(entry.applications)})" if entry.applications else ""),
            entry.product.id,
            money(entry.product.price) if entry.product.price is not None else "",
            f"{suggestion.score:.2f}" if suggestion else "",
            Span(suggestion.reason if suggestion else "", Tone.DIM),
        )
        for number, (entry, suggestion) in enumerate(found[:MOST_CHOICES], 1)
    )
    grid = Grid(("", "product", "id", "price", "score", "why"), rows, (0, 3, 4), (1, 5))
    nothing = Span("No product has a similar name. Type a part of its name.", Tone.HELD)
    items: tuple[Item, ...] = (grid, *_more(len(found))) if found else (nothing,)
    return Report("Products", (Section(title, (), items),))
