"""Short ways to ask who waits for whom: clients, pools, and a plan arranged by them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from kisi.model import (
    Arrangement,
    BillingMapping,
    Category,
    Company,
    CompanyPlan,
    OwnedLine,
    Plan,
    PlannedLine,
    Pool,
    ProductRow,
    Status,
    TenantRef,
    TenantUsage,
)
from kisi.planning import GuardContext, Known, Moves, arrange, guard, guard_run
from tests.unit.build import fact, mapping


def refs(tenants: str) -> tuple[TenantRef, ...]:
    """Tenants of one source by their names: `t1 t2`."""
    return tuple(TenantRef("hq", tenant) for tenant in tenants.split())


def pools(tenants: str, *applications: str) -> frozenset[Pool]:
    """The pools of these applications in each of these tenants: `pools("t1 t2", "A")`."""
    return frozenset(Pool(ref, name) for ref in refs(tenants) for name in applications)


def client(name: str, tenants: str, agreement: str = "", **more: object) -> Company:
    """A client with an agreement of its own name, unless it is told."""
    return Company(name, refs(tenants), "cw", "250", agreement or name, **more)


def ready(company: Company, *lines: PlannedLine, **more: object) -> CompanyPlan:
    return CompanyPlan(company, Status.READY, lines, **more)


def owned(line: PlannedLine, tenants: str, application: str = "", **more: object) -> OwnedLine:
    """What the journal knows of a line that billed these tenants when it was last proven."""
    return fact(
        line.product,
        line.before or 0,
        line.line_id,
        agreement=line.agreement,
        application=application or line.application,
        categories=line.categories,
        tenants=refs(tenants),
        **more,
    )


def billing(*plans: CompanyPlan, apps: Collection[str] = (), more: Collection[Company] = ()):
    """A mapping with a row for each application of a line that is not orphaned, or for `apps`."""
    lines = [line for plan in plans for line in plan.lines if not line.orphaned]
    names = apps or dict.fromkeys(line.application for line in lines)
    rows = [ProductRow(name, "cw", {Category.ALL: name}) for name in names]
    return mapping(*rows, companies=(*(plan.company for plan in plans), *more))


def arrangement(
    *plans: CompanyPlan,
    facts: Collection[OwnedLine] = (),
    unknown: Collection[OwnedLine] = (),
    billed: Mapping[OwnedLine, Collection[Pool]] | None = None,
    moves: Moves | None = None,
    now: Mapping[TenantRef, TenantUsage] | None = None,
    by: BillingMapping | None = None,
) -> Arrangement:
    """Who has to do with whom, where a line billed all of its application unless it is told."""
    whole = {
        one: [Pool(tenant, one.application) for tenant in one.tenants] for one in (*facts, *unknown)
    }
    counted = {**whole, **(billed or {})}
    known = Known(
        mapping=by or billing(*plans),
        now=now or {},
        billed={one: dict.fromkeys(mine, 1) for one, mine in counted.items()},
        unknown=unknown,
        moves=moves or {},
    )
    return arrange(plans, known)


def arranged(*plans: CompanyPlan, **known: object) -> Plan:
    """A plan of these clients that knows who waits for whom."""
    return Plan(plans, arrangement=arrangement(*plans, **known))


def guarded(plan: Plan, context: GuardContext) -> Plan:
    """The plan with the holds of each client and of the whole run."""
    companies = tuple(guard(company, context) for company in plan.companies)
    return guard_run(replace(plan, companies=companies), context)
