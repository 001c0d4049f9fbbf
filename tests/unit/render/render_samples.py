"""A realistic run: six clients, each with something else to say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from kisi.errors import ExitCode
from kisi.journal import (
    Billing,
    ClientRecord,
    HeldPlan,
    LineHistory,
    Operation,
    QuantityRange,
    Run,
    RunState,
    UsageRecord,
)
from kisi.model import (
    Action,
    ApplicationUsage,
    Category,
    Company,
    CompanyPlan,
    DeviceClass,
    Evidence,
    Failure,
    Hold,
    KeyEvidence,
    LeftLine,
    Line,
    Outcome,
    Outlook,
    OutlookKind,
    Plan,
    PlannedLine,
    Status,
    Tenant,
    TenantRef,
    TenantUsage,
    Terms,
    Unit,
    UnmappedUse,
)
from kisi.reconcile.summary import exit_code, last_line
from kisi.render.explain import ExplainView
from kisi.render.status import Client, StatusView
from kisi.run.document import plan_document
from kisi.run.result import Mode, RunResult

KES = "Kaspersky Endpoint Security for Business Advanced"
CLOUD = "Kaspersky Endpoint Security Cloud Plus"
NOW = datetime(2026, 11, 3, 5, 12, 44, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1), "CET")


def company(name: str, agreement: str, psa: str = "cw") -> Company:
    return Company(
        name, (TenantRef("hq", f"VSRV-{agreement}"),), psa, company="250", agreement=agreement
    )


def line(
    before: str | None,
    after: int,
    category: Category = Category.WINDOWS_WORKSTATIONS,
    *,
    application: str = KES,
    psa: str = "cw",
    agreement: str = "1042",
    product: str = "1201",
    line_id: str | None = "9001",
    price: str | None = "4.50",
    **more: object,
) -> PlannedLine:
    held = None if before is None else Decimal(before)
    action = Action.CREATE if held is None else Action.NONE if held == after else Action.UPDATE
    return PlannedLine(
        psa=psa,
        company="250",
        agreement=agreement,
        application=application,
        categories=(category,),
        product=product,
        line_id=None if held is None else line_id,
        action=action,
        before=held,
        after=after,
        unit_price=None if price is None else Decimal(price),
        cycle="Monthly",
        **more,  # type: ignore[arg-type]
    )


def hold(guard: str, reason: str, plan_id: str) -> Hold:
    return Hold(guard, reason, f"If that is right: kisi sync --accept {plan_id}")


def contoso(outcome: Outcome | None = None) -> CompanyPlan:
    """Two updates and a create, all free."""
    return CompanyPlan(
        company("Contoso", "1042"),
        Status.READY,
        lines=(
            line("90", 92, outcome=outcome),
            line("10", 12, Category.WINDOWS_SERVERS, product="1202", outcome=outcome),
            line("12", 12, Category.NON_WINDOWS, product="1203"),
            line(None, 25, Category.ALL, application=CLOUD, price="3.20", outcome=outcome),
        ),
        others=(
            Line("7001", "1042", "88", Decimal(1), "Managed Firewall", Decimal("120.00")),
            Line("7002", "1042", "91", Decimal("2.5"), "Backup per TB", Decimal("19.90")),
        ),
        agreement_name="Managed Security 2026",
        plan_id="77b0e1c2",
    )


def fabrikam() -> CompanyPlan:
    """Held: reclassified devices, with the line held along, and a drift elsewhere."""
    plan_id = "a3f90b11"
    return CompanyPlan(
        company("Fabrikam Maschinenbau GmbH & Co. KG", "2044"),
        Status.HELD,
        lines=(
            line(
                "10",
                0,
                Category.WINDOWS_SERVERS,
                hold=hold("to-zero", "it would go from 10 to 0", plan_id),
            ),
            line(
                "90",
                100,
                hold=hold(
                    "with",
                    "held together with line 9001 (windows_servers: to-zero), so that nothing is "
                    "billed twice or not at all",
                    plan_id,
                ),
            ),
            line(
                "25",
                31,
                Category.ALL,
                application=CLOUD,
                price="3.20",
                hold=Hold(
                    "drift",
                    "the PSA holds 25, kisi last confirmed 28: a person changed it",
                    f"To write kisi's number: kisi sync --accept {plan_id}; to keep the person's: "
                    "`bill = false` for this application in a [[company.product]] of the client",
                ),
            ),
        ),
        agreement_name="All-in Care",
        plan_id=plan_id,
    )


def nordwind() -> CompanyPlan:
    """An agreement that changed in the mapping."""
    plan_id = "0c44d8e9"
    return CompanyPlan(
        company("Nordwind Traders", "3100"),
        Status.HELD,
        lines=(
            line(
                "40",
                0,
                orphaned=True,
                agreement="2999",
                line_id="812",
                hold=Hold(
                    "orphaned",
                    "kisi wrote this line of product 1201 on agreement 2999, and the mapping no "
                    "longer bills it there; it would go to 0 so that nothing is billed twice",
                    f"To set it to 0 and bill as mapped now: kisi sync --accept {plan_id}",
                ),
            ),
            line(
                None,
                40,
                agreement="3100",
                hold=Hold(
                    "with",
                    f"held together with line 9002 ({KES}: orphaned), so that nothing is billed "
                    "twice or not at all",
                    f"To set it to 0 and bill as mapped now: kisi sync --accept {plan_id}",
                ),
            ),
        ),
        left=(line("5", 5, Category.ALL, application="Kaspersky Security for Mail Server"),),
        agreement_name="Workplace 2027",
        plan_id=plan_id,
    )


def tailspin() -> CompanyPlan:
    """Unmapped usage, and a line that is not billable, on an agreement that does not prorate."""
    name = "Tailspin Toys"
    return CompanyPlan(
        company(name, "4001", psa="tp"),
        Status.READY,
        lines=(line("7", 8, Category.ALL, psa="tp", price=None, billable=False, prorated=False),),
        unmapped=(
            UnmappedUse(name, "Kaspersky Security for Mail Server", 12),
            UnmappedUse(name, KES, 3, estimated=False, category=Category.NON_WINDOWS),
        ),
        notes=(
            (
                "Tailspin: Key 2B1A-0001 (Kaspersky Total Security, 4 in use) is not in the server's "
                "own storage, so it is not counted."
            ),
        ),
        plan_id="5e5e0101",
    )


def wingtip() -> CompanyPlan:
    """Failed."""
    failure = Failure(
        "source-incomplete",
        "hq: the list of devices of VSRV-5000 ended after 40 of 112. The lines of this client stay "
        "as they are.",
        "Run it again; if it keeps happening, look at the Administration Server's load.",
        ExitCode.SOURCE,
    )
    return CompanyPlan(company("Wingtip", "5000"), Status.FAILED, failure=failure)


def quiet_client() -> CompanyPlan:
    """Nothing to say."""
    return CompanyPlan(
        company("Adventure Works", "6000"),
        Status.READY,
        lines=(line("33", 33), line("4", 4, Category.WINDOWS_SERVERS)),
        agreement_name="Care",
        plan_id="11112222",
    )


def left(name: str = "Old Client", **more: object) -> LeftLine:
    values = {
        "psa": "cw",
        "company": "9",
        "agreement": "77",
        "line_id": "4711",
        "product": "1201",
        "application": KES,
        "categories": (Category.ALL,),
        "is_off": False,
        "quantity": Decimal(6),
        "terms": Terms(Decimal("4.50"), cycle="Monthly"),
        **more,
    }
    return LeftLine(name=name, **values)  # type: ignore[arg-type]


def view(plan: Plan, mode: Mode = Mode.PREVIEW, **more: object) -> RunResult:
    return RunResult(
        plan=plan,
        mode=mode,
        exit_code=exit_code(plan),
        last_line=last_line(plan),
        generated_at=NOW,
        version="1.0.0",
        zone=BERLIN,
        **more,  # type: ignore[arg-type]
    )


def six_clients() -> Plan:
    return Plan(
        companies=(contoso(), fabrikam(), nordwind(), tailspin(), wingtip(), quiet_client()),
        unmapped_tenants=(
            Tenant(TenantRef("hq", "VSRVa80a675f-40d1-4f50-aec8-ff79bd8793d4"), "Fourth Coffee"),
            Tenant(TenantRef("hub", "Proseware Inc"), "Proseware Inc", enabled=False),
        ),
        plan_id="4f2a91c0d3e7",
    )


def sync_view() -> RunResult:
    """What became of each line, what was settled, and what is nobody's."""
    lines = (
        line("90", 92, outcome=Outcome.APPLIED),
        line(
            "10",
            12,
            Category.WINDOWS_SERVERS,
            outcome=Outcome.FAILED,
            detail="not sent: the PSA refused our credentials",
        ),
        line(
            "1",
            2,
            Category.NON_WINDOWS,
            outcome=Outcome.UNKNOWN,
            detail="the answer was lost; the PSA shows 7",
        ),
        line("5", 6, Category.ALL, detail="not tried: the run was interrupted"),
    )
    plan = replace(
        six_clients(),
        companies=(replace(contoso(), lines=lines, others=()), tailspin(), wingtip()),
        failures=(Failure("source-incomplete", "hub: no file", "Export it.", ExitCode.SOURCE),),
        unmapped_uses=(UnmappedUse("Fourth Coffee", KES, 9),),
        notes=("Prices of cw could not be read.",),
    )
    return view(
        plan,
        Mode.SYNC,
        run=43,
        accepted=("a3f90b11",),
        earlier=(earlier(), earlier(None)),
        left=(left(),),
    )


def earlier(outcome: Outcome | None = Outcome.APPLIED) -> Operation:
    return Operation(
        1, "", 41, NOW, "Contoso", (), line("90", 92), outcome=outcome, detail="the PSA shows 92"
    )


def journal_run(
    number: int = 1,
    hours: float = 0,
    state: RunState = RunState.FINISHED,
    code: int | None = 0,
    message: str = "",
    scope: str = "",
    **counts: int,
) -> Run:
    at = NOW - timedelta(hours=hours)
    ended = at + timedelta(seconds=131) if state is not RunState.CRASHED else None
    return Run(number, at, "1.0.0", "sync", "", scope, state, ended, code, message, counts)


def quantity(text: str, days: float) -> QuantityRange:
    at = NOW - timedelta(days=days)
    return QuantityRange(Decimal(text), 1, at, 43, NOW)


def history(
    *quantities: QuantityRange,
    category: Category = Category.WINDOWS_WORKSTATIONS,
    application: str = KES,
    product: str = "1201",
    line_id: str = "9001",
) -> LineHistory:
    line = ("cw", "1042", line_id, product, application, (category,))
    return LineHistory(*line, True, quantities)


def client(
    name: str = "Contoso",
    agreement: str = "1042",
    lines: tuple[LineHistory, ...] = (),
    **more: object,
) -> Client:
    values = {
        "billing": Billing.ON,
        "tenants": (),
        "status": Status.READY,
        "since_at": NOW - timedelta(days=33),
        "confirmed_at": NOW,
        **more,
    }
    return Client(ClientRecord(name, "cw", "250", agreement, **values), lines)


def held_plan(plan: CompanyPlan) -> HeldPlan:
    company, at = plan.company, NOW - timedelta(days=2)
    place = (company.name, company.psa, company.company, company.agreement)
    return HeldPlan(plan.plan_id, *place, plan.lines, 41, at, 43, NOW)


def announced(name: str, tenant: str, serial: str, key: str, expires: datetime) -> Outlook:
    known = (name, TenantRef("hq", tenant), key, serial, key, OutlookKind.ENDS)
    return Outlook(*known, 92, 100, 92, expires, expires.date(), "commercial")


_LAST_LINE = (
    "298 of 300 clients up to date; need attention: Fabrikam (held: to-zero), Wingtip (...)."
)


def status_view(**more: object) -> StatusView:
    fab = fabrikam()
    values = {
        "at": NOW + timedelta(hours=2),
        "version": "1.0.0",
        "zone": BERLIN,
        "runs": (
            journal_run(
                43,
                0,
                code=6,
                message=_LAST_LINE,
                current=298,
                billed=300,
                applied=12,
                held=3,
                failed=1,
            ),
            journal_run(
                42, 24, message=_LAST_LINE, current=300, billed=300, applied=0, held=0, failed=0
            ),
            journal_run(41, 48, RunState.CRASHED, None, _LAST_LINE),
            journal_run(
                40,
                72,
                RunState.INTERRUPTED,
                130,
                _LAST_LINE,
                current=120,
                billed=300,
                applied=4,
                held=0,
                failed=0,
            ),
        ),
        "clients": (
            client(
                "Contoso",
                "1042",
                lines=(
                    history(
                        quantity("86", 200),
                        quantity("88", 90),
                        quantity("89", 60),
                        quantity("90", 33),
                        quantity("91", 8),
                        quantity("92", 0),
                    ),
                    history(
                        quantity("10", 200), quantity("12", 0), category=Category.WINDOWS_SERVERS
                    ),
                ),
            ),
            client(
                fab.company.name,
                "2044",
                status=Status.HELD,
                guard="to-zero",
                reason="it would go from 10 to 0",
                remedy="If that is right: kisi sync --accept a3f90b11",
                since_at=NOW - timedelta(days=2),
                confirmed_at=NOW - timedelta(days=2),
                lines=(history(quantity("90", 300)),),
            ),
            client(
                "Wingtip",
                "5000",
                status=Status.FAILED,
                guard="source-incomplete",
                reason="hq: the list of devices of VSRV-5000 ended after 40 of 112. The lines of this client stay as they are.",
                since_at=NOW,
                confirmed_at=NOW - timedelta(days=1),
            ),
            client("Lamna Healthcare", "5100", status=None, since_at=None, confirmed_at=None),
            client("Internal", "5200", billing=Billing.OFF),
        ),
        "holds": (held_plan(fab),),
        "unmapped": tailspin().unmapped,
        "unmapped_tenants": six_clients().unmapped_tenants,
        "outlook": (
            announced("Tailspin", "VSRV-4001", "0B1C-000451-5D6E7F11", CLOUD, NOW + timedelta(3)),
            announced("Contoso", "VSRV-1042", "1C2D-000451-5D6E7F80", KES, NOW + timedelta(12)),
        ),
        "certificates": ((NOW + timedelta(days=20), "hq"),),
        "unsettled": (earlier(None),),
        "last_run": plan_document(view(six_clients(), Mode.SYNC, run=43)),
    }
    return StatusView(**{**values, **more})


def evidence(
    number: int,
    counted: bool = True,
    reason: str = "active key",
    device_class: DeviceClass = DeviceClass.WINDOWS_WORKSTATION,
    os_name: str = "Microsoft Windows 11",
) -> Evidence:
    return Evidence(
        f"dev-{number}",
        f"PC-{number:02d}",
        os_name,
        device_class,
        counted,
        "1C2D-000451-5D6E7F80",
        reason,
    )


def usage(devices: tuple[Evidence, ...], **more: object) -> ApplicationUsage:
    counted = [one for one in devices if one.counted]
    left = Counter(one.reason for one in devices if not one.counted)
    values = {
        "application": KES,
        "unit": Unit.DEVICE,
        "quantities": {Category.WINDOWS_WORKSTATIONS: len(counted)},
        "rows": len(devices),
        "counted_rows": len(counted),
        "left_out": dict(left),
        "evidence": devices,
        "keys": (
            KeyEvidence(
                "1C2D-000451-5D6E7F80",
                f"{KES} 100-149 Node",
                True,
                "subscription",
                6,
                120,
                NOW + timedelta(days=90),
            ),
            KeyEvidence("2B1A-000451-00000001", f"{KES} Trial", False, "trial key", None),
        ),
    }
    return ApplicationUsage(**{**values, **more})


def tenant_usage(*applications: ApplicationUsage, **more: object) -> TenantUsage:
    keys = (
        *(key for one in applications for key in one.keys),
        KeyEvidence("0FFF-1", "Kaspersky Mail", True, "commercial", 12),
    )
    values = {
        "tenant": Tenant(TenantRef("hq", "VSRVa80a675f"), "Contoso HQ"),
        "at": NOW,
        "applications": applications,
        "keys": keys,
        "unmapped": tailspin().unmapped[:1],
        "notes": ("Key 2B1A is odd.",),
    }
    return TenantUsage(**{**values, **more})


def explain_view(**more: object) -> ExplainView:
    before = tenant_usage(usage((evidence(1), evidence(2), evidence(5), evidence(6))))
    now = tenant_usage(
        usage(
            (
                evidence(1),
                evidence(2, False, "expired on the device"),
                evidence(3),
                evidence(4, False, "reserve key"),
                evidence(5),
                evidence(7, device_class=DeviceClass.UNKNOWN, os_name=""),
            ),
            unknown_devices=("PC-07",),
        ),
        usage(
            (evidence(1), evidence(8, device_class=DeviceClass.MOBILE, os_name="Android 14")),
            application=CLOUD,
            unit=Unit.USER,
            quantities={Category.ALL: 1},
            keys=(),
        ),
    )
    values = {
        "client": client().record,
        "run": journal_run(43),
        "zone": BERLIN,
        "lines": (
            history(quantity("4", 0)),
            history(
                quantity("1", 0),
                category=Category.ALL,
                application=CLOUD,
                product="1300",
                line_id="9002",
            ),
        ),
        "tenants": (usage_record(now, days=3, previous=before, previous_run=40),),
    }
    return ExplainView(**{**values, **more})


def usage_record(usage: TenantUsage, days: float = 0, **more: object) -> UsageRecord:
    at = NOW - timedelta(days=days)
    values = {"read": True, **more}
    return UsageRecord("Contoso", "cw", "1042", usage, 40, at, 43, NOW, **values)
