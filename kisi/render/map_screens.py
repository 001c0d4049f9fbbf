"""What `kisi map` shows on a terminal before each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kisi.mapping.inventory import CompanyEntry, KeyNameEntry, ProductEntry, TenantEntry
from kisi.mapping.similarity import ProductSuggestion, Suggestion
from kisi.mapping.suggestions import KeyNameGroup
from kisi.model import Company, Line
from kisi.psa import PsaAgreement
from kisi.render.formatting import money, quantity
from kisi.render.map_lists import agreement_words
from kisi.render.report import Cell, Entry, Grid, Item, Remark, Report, Section, Tone, row

_MOST_KEY_NAMES = 6
_MOST_LINES = 4
MOST_CHOICES = 12
"""A longer list is cut: more of the name finds the one that is meant."""


@dataclass(frozen=True, slots=True)
class MappingProgress:
    """How many of each side are mapped."""

    tenants: int
    tenants_open: int
    applications_open: int
    companies: int
    companies_open: int
    stale: int


def overview_screen(progress: MappingProgress, parts: Sequence[str]) -> Report:
    """What is unmapped on each side, and the numbered parts that can be mapped now."""
    grid = Grid(
        ("", ""),
        (
            row("tenants", f"{progress.tenants_open} of {progress.tenants} belong to no client"),
            row("applications", f"{progress.applications_open} have no row or no product"),
            row(
                "companies", f"{progress.companies_open} of {progress.companies} have no Kaspersky"
            ),
        ),
        flexible=frozenset({1}),
    )
    count = "1 mapping is" if progress.stale == 1 else f"{progress.stale} mappings are"
    stale = f"{count} stale: kisi map list --stale"
    items: list[Item] = [grid, *([Remark(stale, Tone.HELD)] if progress.stale else [])]
    sections = [Section("Not mapped yet", items=tuple(items))]
    if parts:
        choices = tuple(row(str(number), part) for number, part in enumerate(parts, 1))
        sections.append(Section("To map", items=(Grid(("", ""), choices),)))
    return Report("kisi map", tuple(sections))


def tenant_screen(
    entry: TenantEntry,
    place: str,
    choices: Sequence[tuple[Suggestion, CompanyEntry]],
    owners: Mapping[tuple[str, str], Company],
) -> Report:
    """A tenant, what it uses, and the companies that it may be."""
    used = sorted(entry.uses, key=lambda use: (-use[1], use[0]))
    items: list[Item] = [
        Remark(f"{count} x {name}", Tone.DIM) for name, count in used[:_MOST_KEY_NAMES]
    ]
    if choices:
        rows = tuple(
            row(
                str(number),
                f"{suggestion.score:.2f}",
                _company(company, owners),
                Cell(suggestion.reason, Tone.DIM),
            )
            for number, (suggestion, company) in enumerate(choices, 1)
        )
        headers = ("", "score", "company", "why")
        items.append(Grid(headers, rows, frozenset({0}), frozenset({2, 3})))
    else:
        items.append(Remark("No company has a similar name. Type a part of its name.", Tone.HELD))
    tenant = entry.tenant
    facts = (place, str(tenant.ref), *([tenant.listed_as] if tenant.listed_as else []))
    return Report("Tenant", (Section(tenant.name, facts=facts, items=tuple(items)),))


def companies_screen(
    found: Sequence[CompanyEntry], owners: Mapping[tuple[str, str], Company]
) -> Report:
    """The companies that a search found."""
    rows = tuple(
        row(str(number), _company(entry, owners), f"{entry.psa}:{entry.company.id}")
        for number, entry in enumerate(found[:MOST_CHOICES], 1)
    )
    grid = Grid(("", "company", "id"), rows, frozenset({0}), frozenset({1}))
    return Report("Search", (Section("Found", items=(grid, *_more(len(found)))),))


def _company(entry: CompanyEntry, owners: Mapping[tuple[str, str], Company]) -> Cell:
    owner = owners.get((entry.psa, entry.company.id))
    if owner is None:
        return Cell(entry.company.name)
    known = "mapped" if owner.name == entry.company.name else f"mapped: {owner.name}"
    return Cell(f"{entry.company.name} ({known})")


def _more(count: int) -> tuple[Item, ...]:
    more = count - MOST_CHOICES
    return (Remark(f"and {more} more: type more of the name", Tone.DIM),) if more > 0 else ()


def agreements_screen(
    company: str,
    agreements: Sequence[PsaAgreement],
    bills: Mapping[str, str],
    owners: Mapping[str, Company],
) -> Report:
    """A company's running agreements, with what each bills already."""
    entries = []
    for number, agreement in enumerate(agreements, 1):
        remarks = [Remark(bills[agreement.id], Tone.DIM)] if bills.get(agreement.id) else []
        owner = owners.get(agreement.id)
        if owner is not None:
            remarks.append(Remark(f"mapped to {owner.name}: the tenant joins it", Tone.HELD))
        mark = f"{number} " if len(agreements) > 1 else "·"
        words = agreement_words(agreement)
        entries.append(Entry(mark, Tone.PLAIN, words, remarks=tuple(remarks)))
    title = "Agreements of" if len(entries) > 1 else "Agreement of"
    return Report("Agreements", (Section(f"{title} {company}", items=tuple(entries)),))


def lines_words(lines: Iterable[Line], products: Mapping[str, str]) -> str:
    """What an agreement bills already: `bills 12 x Backup, 3 x Firewall`."""
    names = [f"{quantity(line.quantity)} x {_product(line, products)}" for line in lines]
    if not names:
        return "bills nothing yet"
    more = f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else ""
    return "bills " + ", ".join(names[:_MOST_LINES]) + more


def _product(line: Line, products: Mapping[str, str]) -> str:
    return line.description or products.get(line.product, line.product)


def application_screen(
    group: KeyNameGroup,
    place: str,
    key_names: Sequence[KeyNameEntry],
    choices: Sequence[str],
) -> Report:
    """Key names that seem to be one application, and how it may be billed."""
    items: list[Item] = []
    if key_names:
        rows = tuple(
            row(entry.name, str(entry.used), str(entry.tenants))
            for entry in key_names[:_MOST_KEY_NAMES]
        )
        headers = ("key name", "in use", "tenants")
        items.append(Grid(headers, rows, frozenset({1, 2}), frozenset({0})))
    more = len(key_names) - _MOST_KEY_NAMES
    if more > 0:
        items.append(Remark(f"and {more} more key names", Tone.DIM))
    facts = (*([place] if place else []), group.doubt or f"counted per {group.application.unit}")
    numbered = tuple(row(str(number), words) for number, words in enumerate(choices, 1))
    grid = Grid(("", ""), numbered, flexible=frozenset({1}))
    return Report(
        "Application",
        (
            Section(group.application.name, facts=facts, items=tuple(items)),
            Section("How is it billed?" if place else "Which is it?", items=(grid,)),
        ),
    )


def products_screen(
    title: str, found: Sequence[tuple[ProductEntry, ProductSuggestion | None]]
) -> Report:
    """Products to choose from, suggested or found by a search."""
    rows = tuple(
        row(
            str(number),
            entry.product.name + _bills(entry),
            entry.product.id,
            money(entry.product.price) if entry.product.price is not None else "",
            f"{suggestion.score:.2f}" if suggestion else "",
            Cell(suggestion.reason if suggestion else "", Tone.DIM),
        )
        for number, (entry, suggestion) in enumerate(found[:MOST_CHOICES], 1)
    )
    headers = ("", "product", "id", "price", "score", "why")
    grid = Grid(headers, rows, frozenset({0, 3, 4}), frozenset({1, 5}))
    items: tuple[Item, ...] = (grid, *_more(len(found)))
    if not found:
        items = (Remark("No product has a similar name. Type a part of its name.", Tone.HELD),)
    return Report("Products", (Section(title, items=items),))


def _bills(entry: ProductEntry) -> str:
    return f" (bills {', '.join(entry.applications)})" if entry.applications else ""
