"""What `kisi explain` shows: each quantity down to the devices."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import StringIO

import pytest
import render_samples as samples

from kisi.json_text import dumps
from kisi.model import Status, Tenant, TenantRef, Unit
from kisi.render.explain import (
    ExplainView,
    device_changes,
    explain_report,
    of_application,
    other_keys,
)
from kisi.render.export import explain_csv, explain_document
from kisi.render.terminal import cells, lay_out
from kisi.run.document import FoundLine


def shown(view: ExplainView, width: int = 120, **more: bool) -> str:
    return lay_out(explain_report(view, **more), width)


def test_a_long_list_of_changes_is_shortened_unless_devices_are_asked_for():
    now = samples.tenant_usage(samples.usage(tuple(samples.evidence(n) for n in range(30))))
    before = samples.tenant_usage(samples.usage(()))
    tenant = samples.usage_record(now, previous=before, previous_run=42)
    view = samples.explain_view(tenants=(tenant,))
    assert "and 10 more; --devices lists them all" in shown(view)
    assert "more" not in shown(view, devices=True)


def test_without_an_earlier_reading_or_a_change_nothing_came_or_went():
    tenant = samples.explain_view().tenants[0]
    first = replace(tenant, previous=None, previous_run=None)
    same = replace(tenant, previous=tenant.usage)
    for one in (first, same):
        assert "Added and removed" not in shown(samples.explain_view(tenants=(one,)))


def test_a_tenant_that_was_not_read_says_so():
    tenant = replace(samples.explain_view().tenants[0], read=False)
    assert "not in this run" in shown(samples.explain_view(tenants=(tenant,)))


def test_a_client_without_readings_or_lines_says_so():
    report = shown(samples.explain_view(tenants=(), lines=()))
    assert "kisi keeps no line of this client." in report
    assert "No reading of this client is in the journal." in report


def test_a_figure_without_devices_shows_what_there_is():
    usage = samples.usage(
        (),
        rows=12,
        counted_rows=12,
        unit=Unit.MAILBOX,
        keys=(),
        quantities={samples.Category.ALL: 12},
    )
    bare = replace(samples.tenant_usage(usage, notes=(), unmapped=()), keys=())
    report = shown(samples.explain_view(tenants=(samples.usage_record(bare),)), devices=True)
    assert "12 mailboxes" in report
    assert "12 rows = 12 counted\n" in report
    assert "Counted:" not in report
    assert "Also there" not in report


def test_the_view_can_be_narrowed_to_one_application():
    view = of_application(samples.explain_view(), "*cloud*")
    assert [line.application for line in view.lines] == [samples.CLOUD]
    assert [one.application for one in view.tenants[0].usage.applications] == [samples.CLOUD]
    assert view.tenants[0].usage.unmapped == ()
    assert other_keys(view.tenants[0].usage) == []


@pytest.mark.parametrize("width", [20, 80, 120])
def test_the_explanation_fits_the_terminal(width):
    report = shown(samples.explain_view(), width, devices=True)
    assert all(cells(line) <= width for line in report.splitlines())


def test_the_json_has_the_whole_evidence():
    document = json.loads(dumps(explain_document(samples.explain_view())))
    tenant = document["tenants"][0]
    first, second = tenant["applications"]
    assert first["conservation"] == "6 rows = 4 counted + 1 expired on the device + 1 reserve key"
    assert first["quantities"] == {"windows_workstations": 4}
    assert (first["came"], first["went"]) == (["dev-3", "dev-7"], ["dev-2", "dev-6"])
    assert [one["counted"] for one in first["devices"]] == [True, False, True, False, True, True]
    assert first["keys"][0]["expires"] == "2027-02-01T05:12:44Z"
    assert second["unit"] == "user"
    assert [key["serial"] for key in tenant["other_keys"]] == ["0FFF-1"]
    assert document["lines"][0]["quantity"] == 4
    tenant = replace(samples.explain_view().tenants[0], previous=None)
    bare = explain_document(samples.explain_view(tenants=(tenant,)))
    assert bare["tenants"][0]["applications"][0]["came"] is None


def test_the_csv_has_a_row_for_each_device_and_each_quantity():
    rows = list(csv.DictReader(StringIO(explain_csv(samples.explain_view()), newline="")))
    first = [row for row in rows if row["application"] == samples.KES]
    assert [(row["kind"], row["device"], row["counted"], row["change"]) for row in first] == [
        ("quantity", "", "", ""),
        ("device", "dev-1", "true", ""),
        ("device", "dev-2", "false", "went"),
        ("device", "dev-3", "true", "came"),
        ("device", "dev-4", "false", ""),
        ("device", "dev-5", "true", ""),
        ("device", "dev-7", "true", "came"),
        ("went", "dev-6", "false", "went"),
    ]
    assert (first[0]["category"], first[0]["quantity"]) == ("windows_workstations", "4")


def test_the_csv_of_a_first_reading_calls_nothing_new():
    tenant = replace(samples.explain_view().tenants[0], previous=None)
    rows = csv.DictReader(
        StringIO(explain_csv(samples.explain_view(tenants=(tenant,))), newline="")
    )
    assert {row["change"] for row in rows} == {""}


def test_changes_compare_counted_devices_only():
    tenant = samples.explain_view().tenants[0]
    added, removed = device_changes(tenant, tenant.usage.applications[0])
    assert [one.device for one in added] == ["dev-3", "dev-7"]
    assert [(one.device, why) for one, why in removed] == [
        ("dev-2", "expired on the device"),
        ("dev-6", "no longer listed with its key 1C2D-000451-5D6E7F80"),
    ]


def test_a_device_that_another_application_counts_now_has_moved_there():
    one, two = samples.evidence(1), samples.evidence(2)

    def reading(first, second):
        return samples.tenant_usage(
            samples.usage(first), samples.usage(second, application=samples.CLOUD)
        )

    before = reading((one, two), (two,))  # the second device is counted for both
    tenant = samples.usage_record(reading((), (one, two)), previous=before, previous_run=42)
    _, removed = device_changes(tenant, tenant.usage.applications[0])
    assert [why for _, why in removed] == [
        f"now counted for {samples.CLOUD}",
        "no longer listed with its key 1C2D-000451-5D6E7F80",
    ]


KEY = samples.KeyEvidence("1C2D-000451-5D6E7F80", samples.KES, True, "subscription", 1)


@pytest.mark.parametrize(
    ("keys", "of_application", "reason"),
    [
        (
            [replace(KEY, counted=False, reason="expired")],
            True,
            "its key 1C2D-000451-5D6E7F80 does not count any more: expired",
        ),
        (
            [replace(KEY, counted=False, reason="not in the server's own storage")],
            True,
            "its key 1C2D-000451-5D6E7F80 does not count any more: not in the server's own storage",
        ),
        (
            [replace(KEY, name="Next EDR")],
            False,
            "its key 1C2D-000451-5D6E7F80 is of no billed application now (Next EDR)",
        ),
        (
            [replace(KEY, serial="2F00", name="Next EDR")],
            False,
            "its key 1C2D-000451-5D6E7F80 is not on the server any more; new there: 2F00 (Next EDR)",
        ),
        ([], False, "its key 1C2D-000451-5D6E7F80 is not on the server any more"),
        ([KEY], True, "no longer listed with its key 1C2D-000451-5D6E7F80"),
    ],
)
def test_why_devices_left_is_told_by_what_became_of_their_key(keys, of_application, reason):
    before = replace(samples.tenant_usage(samples.usage((samples.evidence(1),))), keys=(KEY,))
    usages = (samples.usage((), keys=tuple(keys)),) if of_application else ()
    now = replace(samples.tenant_usage(*usages), keys=tuple(keys))
    tenant = samples.usage_record(now, previous=before, previous_run=42)
    report = " ".join(shown(samples.explain_view(tenants=(tenant,))).split())
    assert "0 devices" in report
    assert f"- PC-01: {reason}" in report


def test_a_device_that_was_installed_anew_is_not_said_to_have_left():
    old, new = (replace(samples.evidence(n), name=f"PC-X{end}") for n, end in ((1, ""), (2, "~~7")))
    before, now = (samples.tenant_usage(samples.usage((one,))) for one in (old, new))
    tenant = samples.usage_record(now, previous=before, previous_run=42)
    report = shown(samples.explain_view(tenants=(tenant,)))
    assert "-  PC-X: installed anew: now counted as another device, PC-X~~7\n" in report
    assert "Counted twice?" not in report


def test_a_device_that_is_counted_beside_its_old_record_is_pointed_out():
    twice = tuple(
        replace(samples.evidence(n), name=f"PC-X{end}") for n, end in ((1, ""), (2, "~~7"))
    )
    alone = replace(samples.evidence(3), name="PC-Y~~1")
    usage = samples.tenant_usage(samples.usage((*twice, alone)))
    seen = {twice[0].device: date(2026, 6, 1)}
    tenant = replace(samples.usage_record(usage), last_seen=seen)
    view = samples.explain_view(tenants=(tenant,))
    report = shown(view, devices=True)
    assert "Counted twice? PC-X and PC-X~~7: installed anew, and the old record was left." in report
    assert report.count("workstation, twice?\n") == 2
    assert "2026-06-01  1C2D-000451-5D6E7F80  workstation, twice?" in report
    (application,) = explain_document(view)["tenants"][0]["applications"]
    assert application["doubles"] == [one.device for one in twice]
    assert [one["last_seen"] for one in application["devices"]] == ["2026-06-01", None, None]


def test_what_stands_between_the_count_and_the_bill_is_under_its_line():
    hold = samples.hold("decrease", "it would fall", "22f5d1b7")
    view = samples.explain_view(
        held=(
            samples.line("44", 14, hold=hold),
            samples.line(None, 3, product="1400", hold=replace(hold, remedy="Set the clock.")),
            samples.line("7", 0, agreement="900", line_id="8", orphaned=True, hold=hold),
        )
    )
    report = " ".join(shown(view).split())
    assert "! billed 44, counted 14: on hold (decrease), kisi sync --accept 22f5d1b7 =" in report
    assert "! billed 0, counted 3: on hold (decrease), Set the clock." in report
    assert "900)" in report
    assert "! billed 7, mapped no more: on hold (decrease), kisi sync --accept" in report


def test_a_failed_client_and_what_the_psa_holds_otherwise_are_told():
    view = samples.explain_view()
    one, two = view.lines
    failed = replace(view.client, status=Status.FAILED, guard="psa", reason="no", last_run=43)
    found = {
        one.line_id: FoundLine(Decimal(9), Decimal(4), by_hand=False, why="failed: refused"),
        two.line_id: FoundLine(Decimal(6), Decimal(6), by_hand=True, why=""),
    }
    report = shown(replace(view, client=failed, found=found))
    assert "✗ Run 43 wrote nothing: psa: no" in report
    assert "9 (product 1201, line 9001, kisi confirmed 4 on 2026-11-03)" in report
    assert "! billed 9, counted 4: failed: refused\n" in report
    assert "6 (product 1300, line 9002, managed by hand)" in report


def test_a_device_in_two_tenants_of_a_client_is_named_where_it_is_not_billed_again():
    both, alone = samples.evidence(1), samples.evidence(2)
    users = samples.usage((both,), application=samples.CLOUD, unit=Unit.USER)

    def tenant(name: str, source: str = "hq") -> samples.UsageRecord:
        usage = samples.tenant_usage(
            samples.usage((both, alone) if name == "first" else (both,)),
            users,
            tenant=Tenant(TenantRef(source, name), name),
        )
        return samples.usage_record(usage)

    view = samples.explain_view(tenants=(tenant("first"), tenant("second"), tenant("x", "branch")))
    report = shown(view)
    assert report.count("In a tenant above too") == 1
    assert "  In a tenant above too, and billed once (1): PC-01\n" in report
    told = [
        [one["shared"] for one in tenant["applications"]]
        for tenant in explain_document(view)["tenants"]
    ]
    assert told == [[[], []], [["dev-1"], []], [[], []]]
