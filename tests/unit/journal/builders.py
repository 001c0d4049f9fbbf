"""A small fleet for the journal's tests: clients, their lines, their usage, and the days of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from kisi.journal import ConfirmedLine, Journal, Operation, OperationOutcome
from kisi.model import (
    SPLIT,
    Action,
    ApplicationUsage,
    Category,
    Company,
    DeviceClass,
    Evidence,
    Hold,
    KeyEvidence,
    Outcome,
    PlannedLine,
    Tenant,
    TenantRef,
    TenantUsage,
    Unit,
)

DAY_ONE = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)


def day(number: int) -> datetime:
    """When the nightly run of a day starts; days count from 1."""
    return DAY_ONE + timedelta(days=number - 1)


def company(number: int = 1, **changes: object) -> Company:
    values: dict[str, object] = {
        "name": f"Client {number}",
        "tenants": (TenantRef("hq", f"VSRV{number:08d}-40d1-4f50-aec8-ff79bd8793d4"),),
        "psa": "cw",
        "company": str(200 + number),
        "agreement": str(1000 + number),
    }
    return Company(**(values | changes))  # type: ignore[arg-type]


def line(of: Company | None = None, **changes: object) -> PlannedLine:
    client = of or company()
    values: dict[str, object] = {
        "psa": client.psa,
        "company": client.company,
        "agreement": client.agreement,
        "application": "KES Advanced",
        "categories": (Category.WINDOWS_WORKSTATIONS,),
        "product": "1201",
        "line_id": "7",
        "action": Action.UPDATE,
        "before": Decimal(90),
        "after": 100,
    }
    return PlannedLine(**(values | changes))  # type: ignore[arg-type]


def create(of: Company | None = None, **changes: object) -> PlannedLine:
    return line(of, **{"line_id": None, "action": Action.CREATE, "before": None, **changes})


def held(of: Company | None = None, **changes: object) -> PlannedLine:
    return line(of, hold=Hold("decrease", "fewer by half", "accept it"), **changes)


def confirmed(quantity: int | str, of: Company | None = None, **changes: object) -> ConfirmedLine:
    client = of or company()
    return ConfirmedLine(line(client, **changes), client.name, client.tenants, Decimal(quantity))


def usage(of: Company | None = None, devices: int = 5, at: datetime = DAY_ONE) -> TenantUsage:
    client = of or company()
    serial = "1BCD-000451-12345678"
    key = KeyEvidence(serial, "KES Advanced - 10", counted=True, reason="active", used=devices)
    evidence = tuple(
        Evidence(
            device=f"{client.agreement}-{number:04d}-7c0de11e",
            name=f"PC-{number:04d}",
            os_name="Microsoft Windows 11",
            device_class=DeviceClass.WINDOWS_WORKSTATION,
            counted=True,
            serial=serial,
            reason="active key",
        )
        for number in range(devices)
    )
    application = ApplicationUsage(
        application="KES Advanced",
        unit=Unit.DEVICE,
        quantities=dict.fromkeys(SPLIT, 0) | {Category.WINDOWS_WORKSTATIONS: devices},
        rows=devices,
        counted_rows=devices,
        left_out={},
        evidence=evidence,
        keys=(key,),
    )
    tenant = Tenant(client.tenants[0], f"{client.name} (virtual server)")
    return TenantUsage(tenant, at, applications=(application,), keys=(key,))


def begin(journal: Journal, number: int = 1) -> int:
    return journal.begin_run(day(number), version="1.0", command="sync", config_hash="c0ffee")


def end(journal: Journal, run_id: int, number: int = 1, exit_code: int = 0) -> None:
    journal.end_run(
        run_id, day(number), exit_code=exit_code, summary={"create": 0}, message="1 of 1 proven"
    )


def outcome(
    journal: Journal, operation: Operation, at: datetime, found: Outcome, **more: object
) -> None:
    """What became of an operation in its own run."""
    result = OperationOutcome(found, **more)  # type: ignore[arg-type]
    journal.settle(operation, operation.run_id, at, result)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
