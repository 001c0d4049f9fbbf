"""Large, and often: what works once for two clients works for hundreds, and every night."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection, Iterator
from dataclasses import replace

import pytest

from kisi.journal import Journal
from kisi.model import (
    Action,
    Application,
    Category,
    Company,
    CountingRules,
    Finding,
    GuardRules,
    ProductRow,
    Reading,
    Rules,
    Tenant,
    TenantRef,
)
from kisi.reconcile.pipeline import JournalState, reconcile
from kisi.reconcile.summary import summarise
from kisi.sources import Select
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import TigerpawSide, submits
from tests.faults.conftest import Trial
from tests.unit.build import KES, NOW, TODAY, device, key, mapping, reading, row
from tests.unit.fakes import FakeClock, FakePsa

TENANTS, DEVICES, SOME = 400, 250, 10
MEGABYTE = 2**20
KINDS = ("Microsoft Windows 11", "Microsoft Windows Server 2022", "Linux")
MORE = ("Kaspersky EDR Optimum", "Kaspersky Security for Storage")
BY_CATEGORY = ProductRow(
    KES,
    "cw",
    {
        Category.WINDOWS_WORKSTATIONS: "1201",
        Category.WINDOWS_SERVERS: "1202",
        Category.NON_WINDOWS: "1203",
    },
)


class FleetSource:
    """400 tenants of 250 devices, of which some use more; readings are made as they are read."""

    name = "hq"

    def tenants(self) -> tuple[Tenant, ...]:
        return tuple(
            Tenant(TenantRef("hq", f"VSRV-{number}"), f"Client {number}")
            for number in range(TENANTS)
        )

    def read(
        self, tenants: Collection[Tenant], select: Select
    ) -> Iterator[tuple[TenantRef, Reading]]:
        keys = [key(f"K{number}", name) for number, name in enumerate((KES, *MORE))]
        chosen = [one for one in keys if select(one)]
        for tenant in tenants:
            name = tenant.ref.tenant
            devices = [
                device(f"{name}-{number}", KINDS[number % 5 % 3]) for number in range(DEVICES)
            ]
            rows = [
                row(one.id, each.serial)
                for each in chosen
                for one in (devices if each.name == KES else devices[:SOME])
            ]
            yield tenant.ref, reading(devices, rows, keys, of=tenant)

    def check_online(self) -> tuple[Finding, ...]:
        return ()

    def address(self) -> None:
        return None

    def clock_skew(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def fleet() -> tuple[Rules, FakePsa]:
    """400 clients with five lines each."""
    psa = FakePsa("cw")
    companies = []
    for number in range(TENANTS):
        psa.agreement(str(number), str(1000 + number))
        tenant = TenantRef("hq", f"VSRV-{number}")
        name, agreement = f"Client {number}", str(1000 + number)
        companies.append(Company(name, (tenant,), "cw", str(number), agreement))
    rows = [ProductRow(name, "cw", {Category.ALL: f"13{i}"}) for i, name in enumerate(MORE)]
    applications = [Application(name) for name in (KES, *MORE)]
    billed = mapping(BY_CATEGORY, *rows, applications=applications, companies=companies)
    guards = GuardRules(create_units=1000)
    return Rules(billed, CountingRules(), guards, NOW, TODAY), psa


@pytest.mark.fault(
    57,
    injection="400 tenants, 100,000 devices, 2,000 lines",
    outcome="counted and planned within 20 MB; one look at each agreement, one plan line each",
)
def test_a_large_fleet_is_counted_and_planned_in_little_memory():
    rules, psa = fleet()
    tracemalloc.start()
    try:
        found = reconcile(
            rules,
            {"hq": FleetSource()},
            {"cw": psa},
            JournalState(),
            rules.mapping.companies,
            lambda *_: None,
            FakeClock(),
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    lines = [line for company in found.plan.companies for line in company.lines]
    assert summarise(found.plan).create == len(lines) == 5 * TENANTS
    assert {line.action for line in lines} == {Action.CREATE}
    assert sum(line.after for line in lines) == TENANTS * (DEVICES + 2 * SOME)
    assert len(psa.looks) == len(psa.asked_agreements) == TENANTS
    kept = [
        sum(len(one.evidence) for one in packed.whole().applications)
        for packed in found.evidence.values()
    ]
    assert kept == [DEVICES + 2 * SOME] * TENANTS
    assert peak < 20 * MEGABYTE, f"{peak / MEGABYTE:.0f} MB"


@pytest.mark.fault(
    57,
    injection="the same fleet the next night, with one device more",
    outcome="one update among 2,000 lines",
)
def test_one_change_among_two_thousand_lines_is_one_update():
    rules, psa = fleet()
    quantities = {"1201": 100, "1202": 100, "1203": 50, "130": SOME, "131": SOME}
    for company in rules.mapping.companies:
        for product, quantity in quantities.items():
            psa.put(product, quantity, company.agreement)
    psa.put("1201", 99, "1007", psa.held("1007")[0].id)
    allowing = replace(rules, guards=replace(rules.guards, adopt="allow"))

    found = reconcile(
        allowing,
        {"hq": FleetSource()},
        {"cw": psa},
        JournalState(),
        rules.mapping.companies,
        lambda *_: None,
        FakeClock(),
    )

    summary = summarise(found.plan)
    assert (summary.update, summary.unchanged, summary.held) == (1, 5 * TENANTS - 1, 0)


@pytest.mark.fault(
    65,
    injection="`sync` runs twenty times, and nothing has changed",
    outcome="exit 0 and not one write each time; the journal grows by the runs alone",
)
def test_twenty_quiet_runs_write_nothing(billed: Trial):
    assert billed.sync().code == 0
    before = _rows(billed.operator)

    for _ in range(20):
        billed.operator.next_night()
        result = billed.sync()
        assert (result.code, result.writes) == (0, [])
        assert billed.sentence == "2 of 2 clients up to date."

    after = _rows(billed.operator)
    assert after.pop("run") == before.pop("run") + 20
    assert after == before


@pytest.mark.fault(
    65,
    injection="`sync` runs twenty times, and something waits for a person",
    outcome="exit 6 and not one write each time; the id to accept stays the same, and works",
)
def test_twenty_runs_with_a_hold_write_nothing_and_keep_its_id(billed: Trial):
    billed.contoso.add_devices(n=40)
    ids = set()
    for _ in range(20):
        billed.operator.next_night()
        result = billed.sync()
        assert (result.code, result.writes) == (6, [])
        ids.add(result.document["plan_id"])

    (plan_id,) = ids
    assert billed.sync("--accept", plan_id).code == 0
    assert billed.contoso.quantities == {billed.product: 48}
    billed.heals()


@pytest.mark.fault(
    65,
    injection="the same in Tigerpaw, where reading before and after belongs to every write",
    outcome="exit 0 and no submit",
)
def test_quiet_runs_submit_nothing_to_tigerpaw(operator: Operator):
    side = TigerpawSide(operator)
    item = side.bill_as_one()
    northwind = side.client("Northwind", workstations=6)
    assert operator.sync().code == 0

    for _ in range(5):
        operator.next_night()
        result = operator.sync()
        assert (result.code, submits(result)) == (0, [])
    assert northwind.quantities == {item: 6}


def _rows(operator: Operator) -> dict[str, int]:
    """How many rows each table of the journal has."""
    with Journal.open(operator.state, readonly=True) as journal:
        tables = journal._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name: journal._rows(f'SELECT count(*) FROM "{name}"')[0][0] for (name,) in tables}
