"""`kisi map suggest` as a person reads it: what seems to be whom, and why."""

from __future__ import annotations

from collections.abc import Sequence

from kisi.mapping.proposals import ApplicationProposal, ClientProposal, Proposals
from kisi.model import Tenant
from kisi.render.formatting import billed_as
from kisi.render.report import Entry, Grid, Item, Remark, Report, Section, Tone, row

_MOST_LISTED = 20


def proposals_report(proposals: Proposals, min_score: float) -> Report:
    """The proposals, and the tenants that none was found for; ids are in the CSV and JSON."""
    sections = [
        Section(
            "Clients",
            facts=(_count(proposals.clients),),
            items=tuple(_client(each) for each in proposals.clients),
        ),
        Section(
            "Applications",
            facts=(_count(proposals.applications),),
            items=tuple(_application(each) for each in proposals.applications),
        ),
        Section(
            "Tenants without a suggestion",
            facts=(f"{len(proposals.without)} below {min_score:g}",),
            items=_without(proposals.without),
        ),
    ]
    return Report("Suggestions", tuple(section for section in sections if section.items))


def _count(rows: Sequence[ClientProposal] | Sequence[ApplicationProposal]) -> str:
    sure = sum(row.accept for row in rows)
    return f"{sure} of {len(rows)} marked for acceptance"


def _client(client: ClientProposal) -> Entry:
    agreement = f"agreement {client.agreement}" if client.agreement else ""
    remark = "; ".join(filter(None, (client.reason, agreement)))
    label = f"{client.score:.2f}  {client.tenant_name} → {client.name}"
    return _entry(label, remark, accepted=client.accept)


def _application(application: ApplicationProposal) -> Entry:
    products = ", ".join(
        billed_as(product, (category,)) for category, product in application.products.items()
    )
    reason = application.reason
    remark = f"product {products}; {reason}" if products else reason
    label = f"{application.score:.2f}  {application.name}, per {application.unit}"
    return _entry(label, remark, accepted=application.accept)


def _entry(label: str, remark: str, *, accepted: bool) -> Entry:
    mark, tone = ("+", Tone.GOOD) if accepted else ("?", Tone.HELD)
    return Entry(mark, tone, label, remarks=(Remark(remark, Tone.DIM),))


def _without(tenants: Sequence[Tenant]) -> tuple[Item, ...]:
    if not tenants:
        return ()
    names = tuple(row(tenant.name) for tenant in tenants[:_MOST_LISTED])
    more = len(tenants) - _MOST_LISTED
    end = (Remark(f"and {more} more", Tone.DIM),) if more > 0 else ()
    return (Grid(("",), names, flexible=frozenset({0})), *end)
