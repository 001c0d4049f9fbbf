"""The contract's JSON: its names, its numbers, and that nothing of the plan is lost in it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import render_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from kisi.errors import ExitCode
from kisi.formats import described
from kisi.json_text import dumps, plain
from kisi.model import (
    Action,
    Category,
    Company,
    CompanyPlan,
    Failure,
    Hold,
    Line,
    Outcome,
    Plan,
    PlannedLine,
    Status,
    Tenant,
    TenantRef,
    UnmappedUse,
)
from kisi.run.document import plan_document, read_tenant, read_use
from kisi.run.result import Mode

NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["[/]", "\x1b[2J", "\u202eabc", "=cmd", 'a"b', "a\nb", "東京", "\ud800", " x "]
    ),
)
MONEY = st.one_of(st.none(), st.decimals(0, 10**6, places=2))
QUANTITIES = st.decimals(0, 10**6, places=3)


def lines() -> st.SearchStrategy[PlannedLine]:
    return st.builds(
        PlannedLine,
        psa=NAMES,
        company=NAMES,
        agreement=NAMES,
        application=NAMES,
        categories=st.lists(st.sampled_from(Category), min_size=1, unique=True).map(tuple),
        product=NAMES,
        line_id=st.none() | NAMES,
        action=st.sampled_from(Action),
        before=st.none() | QUANTITIES,
        after=st.integers(0, 10**9),
        unit_price=MONEY,
        description=NAMES,
        adopt=st.booleans(),
        orphaned=st.booleans(),
        billable=st.booleans(),
        hold=st.none() | st.builds(Hold, NAMES, NAMES, NAMES),
        outcome=st.none() | st.sampled_from(Outcome),
        detail=NAMES,
    )


def companies() -> st.SearchStrategy[CompanyPlan]:
    return st.builds(
        CompanyPlan,
        company=st.builds(Company, NAMES, st.just(()), psa=NAMES, company=NAMES, agreement=NAMES),
        status=st.sampled_from(Status),
        lines=st.lists(lines(), max_size=3).map(tuple),
        failure=st.none() | st.builds(Failure, NAMES, NAMES, NAMES, st.sampled_from(ExitCode)),
        others=st.lists(
            st.builds(
                Line,
                id=NAMES,
                agreement=st.just(""),
                product=NAMES,
                quantity=QUANTITIES,
                description=NAMES,
                unit_price=MONEY,
                billable=st.booleans(),
            ),
            max_size=2,
        ).map(tuple),
        left=st.lists(lines(), max_size=1).map(tuple),
        notes=st.lists(NAMES, max_size=2).map(tuple),
        plan_id=NAMES,
        agreement_name=NAMES,
    )


PLANS = st.builds(
    Plan,
    companies=st.lists(companies(), max_size=3).map(tuple),
    unmapped_tenants=st.lists(
        st.builds(Tenant, st.builds(TenantRef, NAMES, NAMES), NAMES, st.booleans()), max_size=2
    ).map(tuple),
    unmapped_uses=st.lists(
        st.builds(
            UnmappedUse,
            NAMES,
            NAMES,
            st.integers(0, 999),
            st.booleans(),
            st.none() | st.builds(TenantRef, NAMES, NAMES),
            st.none() | st.sampled_from(Category),
        ),
        max_size=2,
    ).map(tuple),
    failures=st.lists(
        st.builds(Failure, NAMES, NAMES, NAMES, st.sampled_from(ExitCode)), max_size=1
    ).map(tuple),
    notes=st.lists(NAMES, max_size=1).map(tuple),
    plan_id=NAMES,
)


def number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def parsed_line(data: dict[str, Any]) -> PlannedLine:
    plain = {key: data[key] for key in ("psa", "company", "agreement", "application", "product")}
    return PlannedLine(
        **plain,
        categories=tuple(Category(one) for one in data["category"].split("+")),
        line_id=data["line_id"],
        action=Action(data["action"]),
        before=number(data["before"]),
        after=data["after"],
        unit_price=number(data["unit_price"]),
        description=data["description"],
        adopt=data["adopt"],
        orphaned=data["orphaned"],
        billable=data["billable"],
        prorated=data["prorated"],
        hold=Hold(**data["hold"]) if data["hold"] else None,
        outcome=Outcome(data["outcome"]) if data["outcome"] else None,
        detail=data["detail"] or "",
    )


def parsed_failure(data: dict[str, Any]) -> Failure:
    return Failure(**{**data, "exit_code": ExitCode(data["exit_code"])})


def parsed_company(data: dict[str, Any]) -> CompanyPlan:
    company = Company(
        data["name"], (), psa=data["psa"], company=data["company"], agreement=data["agreement"]
    )
    others = tuple(
        Line(
            one["line_id"],
            "",
            one["product"],
            Decimal(str(one["quantity"])),
            one["description"],
            number(one["unit_price"]),
            one["billable"],
        )
        for one in data["others"]
    )
    return CompanyPlan(
        company,
        Status(data["status"]),
        lines=tuple(map(parsed_line, data["lines"])),
        failure=parsed_failure(data["failure"]) if data["failure"] else None,
        others=others,
        left=tuple(map(parsed_line, data["left"])),
        notes=tuple(data["notes"]),
        plan_id=data["plan_id"],
        agreement_name=data["agreement_name"],
    )


def parsed(text: str) -> Plan:
    data = json.loads(text)
    return Plan(
        companies=tuple(map(parsed_company, data["companies"])),
        unmapped_tenants=tuple(
            Tenant(TenantRef(one["source"], one["tenant"]), one["name"], one["enabled"])
            for one in data["unmapped"]["tenants"]
        ),
        unmapped_uses=tuple(
            UnmappedUse(
                one["company"],
                one["application"],
                one["quantity"],
                one["estimated"],
                None if one["source"] is None else TenantRef(one["source"], one["tenant"]),
                Category(one["category"]) if one["category"] else None,
            )
            for one in data["unmapped"]["applications"]
        ),
        failures=tuple(map(parsed_failure, data["failures"])),
        notes=tuple(data["notes"]),
        plan_id=data["plan_id"],
    )


@settings(max_examples=60)
@given(PLANS)
def test_the_json_holds_the_whole_plan(plan):
    text = dumps(plan_document(samples.view(plan)))
    assert text.isascii()
    assert parsed(text) == plan


def test_the_contract_names_are_all_there_and_quantities_are_numbers(preview):
    document = json.loads(dumps(plan_document(preview)))
    assert (document["format_version"], document["plan_id"], document["exit_code"]) == (
        1,
        "4f2a91c0d3e7",
        4,
    )
    contoso = document["companies"][0]
    wanted = {"name", "psa", "company", "agreement", "plan_id", "status", "reason", "lines"}
    assert wanted <= contoso.keys()
    create = contoso["lines"][3]
    assert {key: create[key] for key in ("action", "before", "after", "unit_price", "line_id")} == {
        "action": "create",
        "before": None,
        "after": 25,
        "unit_price": 3.2,
        "line_id": None,
    }
    assert {"adopt", "hold", "outcome", "category", "product", "application"} <= create.keys()
    assert document["summary"] == {
        "create": 1,
        "update": 3,
        "unchanged": 3,
        "held": 5,
        "failed": 1,
        "applied": 0,
    }


def test_a_clients_reason_is_the_sentence_of_its_failure_or_first_hold(preview):
    reasons = {one["name"]: one["reason"] for one in plan_document(preview)["companies"]}
    assert reasons["Contoso"] is None
    assert reasons["Fabrikam Maschinenbau GmbH & Co. KG"] == "it would go from 10 to 0"
    assert reasons["Wingtip"].startswith("hq: the list of devices")


def test_unmapped_collects_tenants_and_the_uses_of_every_client(preview):
    unmapped = plan_document(preview)["unmapped"]
    assert [one["name"] for one in unmapped["tenants"]] == ["Fourth Coffee", "Proseware Inc"]
    assert [
        (one["company"], one["quantity"], one["estimated"]) for one in unmapped["applications"]
    ] == [
        ("Tailspin Toys", 12, True),
        ("Tailspin Toys", 3, False),
    ]
    assert unmapped["accounts"] == []


def test_totals_tell_what_is_billed_apart_from_what_is_held(preview):
    cw = plan_document(preview)["totals"]["cw"]
    assert (cw["billed"]["before"], cw["billed"]["after"]) == (149, 178)
    assert (cw["held"]["money_before"], cw["held"]["money_after"]) == (710, 729.2)


def test_a_sync_names_its_run_its_accepts_and_what_it_settled():
    view = samples.view(
        samples.six_clients(),
        Mode.SYNC,
        run=43,
        accepted=("a3f90b11",),
        earlier=(samples.earlier(), samples.earlier(None)),
        left=(samples.left(),),
    )
    document = plan_document(view)
    assert (document["mode"], document["run"], document["accepted"]) == ("sync", 43, ["a3f90b11"])
    assert document["generated_at"] == "2026-11-03T05:12:44Z"
    assert [one["outcome"] for one in document["earlier_writes"]] == ["applied", None]
    assert document["left"][0]["quantity"] == 6


@given(
    st.builds(Tenant, st.builds(TenantRef, NAMES, NAMES), NAMES, st.booleans()),
    st.integers(0, 999),
    st.none() | st.sampled_from(Category),
    st.booleans(),
)
def test_a_stored_document_is_read_back(tenant, quantity, category, named):
    ref = TenantRef("hq", "V1") if named else None
    use = UnmappedUse("Contoso", samples.KES, quantity, named, ref, category)
    stored = json.loads(
        dumps(plain({"tenant": described("tenant", tenant), "use": described("use", use)}))
    )
    assert read_tenant(stored["tenant"]) == tenant
    assert read_use(stored["use"]) == use


def test_a_document_of_the_first_release_is_read_too():
    tenant = {"source": "hq", "tenant": "V1", "name": "Contoso"}
    use = {"company": "Contoso", "application": samples.KES, "quantity": 3}
    assert read_tenant(tenant) == Tenant(TenantRef("hq", "V1"), "Contoso")
    assert read_use(use) == UnmappedUse("Contoso", samples.KES, 3)
