"""What the operator reads of a run on a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
import render_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from kisi.errors import ExitCode
from kisi.model import (
    Category,
    CompanyPlan,
    Failure,
    Hold,
    Outcome,
    Plan,
    Status,
    Tenant,
    TenantRef,
    UnmappedUse,
)
from kisi.render.plan_report import plan_report
from kisi.render.terminal import cells, lay_out
from kisi.run.result import Mode, RunResult

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(view: RunResult, width: int = 80, encoding: str = "utf-8", **more: bool) -> str:
    return lay_out(plan_report(view, **more), width, encoding)


def colored(view: RunResult, width: int = 80, encoding: str = "utf-8") -> str:
    return lay_out(plan_report(view), width, encoding, color=True)


def text(plan: Plan, mode: Mode = Mode.PREVIEW, width: int = 120, **more: bool) -> str:
    return page(samples.view(plan, mode), width, **more)


def part(report: str, title: str) -> str:
    """The section of a client."""
    return next(one for one in report.split("\n\n") if one.startswith(title))


def test_a_hold_tells_its_guard_its_reason_and_the_command_on_its_own_line(preview):
    lines = part(page(preview, 120), "Fabrikam").splitlines()
    assert lines[0].endswith("cw · All-in Care (2044) · plan a3f90b11")
    assert lines[1].startswith("  ! Kaspersky Endpoint Security for Business Advanced, servers")
    assert lines[2:7] == [
        "      to-zero: it would go from 10 to 0",
        lines[3],
        lines[4],
        "      If that is right:",
        "        kisi sync --accept a3f90b11",
    ]
    assert lines[4].startswith("      held together with line 9001 (windows_servers: to-zero), so")
    assert lines[8:12] == [
        "      drift: the PSA holds 25, kisi last confirmed 28: a person changed it",
        "      To write kisi's number:",
        "        kisi sync --accept a3f90b11",
        (
            "      To keep the person's: `bill = false` for this application in a [[company.product]]"
            " of the client"
        ),
    ]
    assert lines[-1] == "  Plan a3f90b11 releases all 3 held lines of this client at once."


def test_failures_and_unmapped_tenants_say_what_to_do(preview):
    report = page(preview, 120)
    assert "✗ source-incomplete: hq: the list of devices" in part(report, "Wingtip")
    assert "Run it again; if it keeps" in part(report, "Wingtip")
    tenants = part(report, "2 unmapped tenants")
    assert "Fourth Coffee (hq:VSRVa80a675f-40d1-4f50-aec8-ff79bd8793d4)" in tenants
    assert "Proseware Inc (hub:Proseware Inc), disabled" in tenants


def test_money_of_unknown_prices_is_left_out_and_said_so():
    one = replace(samples.contoso(), lines=(samples.line("1", 2, price=None),))
    report = text(Plan((one,)))
    assert "(+1)" in report
    assert "The money leaves out 1 line of unknown price." in report
    mixed = replace(one, lines=(*one.lines, samples.line("1", 3)))
    assert "4.50 → 13.50  +9.00" in text(Plan((mixed,)))


def test_trouble_comes_last_next_to_the_last_line(preview):
    report = page(preview)
    order = ["Contoso", "Tailspin", "Fabrikam", "Nordwind", "Wingtip", "2 unmapped", "Totals"]
    # Unmapped usage withholds a client like a hold does, in the order of the mapping.
    order = [order[0], *order[2:4], order[1], *order[4:]]
    assert (
        sorted(order, key=lambda title: report.index("\n\n" + title) if title != "Contoso" else 0)
        == order
    )


def test_a_quiet_day_is_empty_unless_asked_for():
    plan = Plan((samples.quiet_client(), CompanyPlan(samples.company("Off", "9"), Status.OFF)))
    assert text(plan) == ""
    assert colored(samples.view(plan)) == ""
    assert page(samples.view(plan), verbose=True)
    told = text(plan, verbose=True)
    assert re.search(
        r"= Kaspersky Endpoint Security for Business Advanced, servers +4 +\(18.00 a month\)\n",
        told,
    )
    assert "Off   cw · agreement 9 · billing off" in told


@pytest.mark.parametrize(
    "loud",
    [
        {"unmapped_tenants": (Tenant(TenantRef("hq", "x"), "New"),)},
        {"unmapped_uses": (UnmappedUse("New", "Kaspersky", 3),)},
        {"failures": (Failure("source-incomplete", "hub: no file", "", ExitCode.SOURCE),)},
        {"notes": ("Prices of cw could not be read.",)},
    ],
)
def test_a_day_is_not_quiet_if_anything_needs_a_person(loud):
    assert next(iter(loud.values()))
    assert text(Plan((samples.quiet_client(),), **loud)) != ""


def test_a_day_on_which_an_earlier_write_was_settled_is_not_quiet():
    plan = Plan((samples.quiet_client(),))
    view = samples.view(plan, Mode.SYNC, run=42, earlier=(samples.earlier(), samples.earlier(None)))
    report = page(view, 120)
    assert "~ Contoso: Kaspersky Endpoint Security for Business Advanced, workstations" in report
    assert "sent 2026-11-03 06:12 in run 41" in report
    assert "applied" in report
    assert "unknown" in report


def test_a_sync_tells_what_became_of_each_line():
    lines = (
        samples.line("90", 92, outcome=Outcome.APPLIED),
        samples.line(
            "10",
            12,
            Category.WINDOWS_SERVERS,
            outcome=Outcome.FAILED,
            detail="not sent: the PSA refused our credentials",
        ),
        samples.line(
            "1",
            2,
            Category.NON_WINDOWS,
            outcome=Outcome.UNKNOWN,
            detail="the answer was lost; the PSA shows 7",
        ),
        samples.line("5", 6, Category.ALL, detail="not tried: the run was interrupted"),
    )
    plan = Plan((replace(samples.contoso(), lines=lines, others=()),))
    report = page(samples.view(plan, Mode.SYNC, accepted=("77b0e1c2",)), 120)
    assert "(+2, +9.00 a month) applied\n" in report
    assert re.search(r"✗ .*, servers .* failed\n      not sent: the PSA refused", report)
    assert re.search(r"\? .*, non-Windows .* unknown\n      the answer was lost", report)
    assert "      not tried: the run was interrupted\n" in report
    assert "not written" in part(report, "Totals")
    assert "billed" in part(report, "Totals")
    assert "Accepted in this run: 77b0e1c2\n" in report


def test_what_is_said_of_several_lines_is_said_once_below_the_last():
    lines = tuple(
        samples.line("1", after, detail=detail)
        for after, detail in ((2, "billed from 2026-12-01"), (3, "billed from 2026-12-01"), (4, ""))
    )
    report = text(Plan((replace(samples.contoso(), lines=lines),)))
    assert report.count("billed from 2026-12-01") == 1
    assert re.search(r"1 → 3 .*\n      billed from 2026-12-01\n.*1 → 4", report)


def test_clients_that_fail_alike_are_told_once():
    failure = Failure("source-incomplete", "hq cannot be reached", "Look at hq.", ExitCode.SOURCE)
    failed = [
        CompanyPlan(samples.company(name, name), Status.FAILED, failure=failure)
        for name in ("Adatum", "Litware", "Trey")
    ]
    odd = replace(failed[2], unmapped=samples.tailspin().unmapped)
    report = text(Plan((failed[0], failed[1], odd)))
    assert part(report, "2 clients failed") == (
        "2 clients failed\n  ✗ source-incomplete: hq cannot be reached\n"
        "      Adatum, Litware\n      Look at hq."
    )
    assert part(report, "Trey").startswith("Trey   cw · agreement Trey\n  ✗ source-incomplete")


def test_a_hold_that_no_id_releases_is_explained_once_for_all_clients():
    hold = Hold("report", "tp is set to report", 'Set write = "soap" in [psa.tp].')
    held = [
        CompanyPlan(
            samples.company(name, name, psa="tp"),
            Status.HELD,
            lines=(samples.line("1", 2, psa="tp", hold=hold),),
            plan_id=f"{name}0000",
        )
        for name in ("Adatum", "Litware")
    ]
    report = text(Plan(tuple(held), plan_id="4f2a"))
    assert part(report, "Adatum").endswith("\n      report (see below)")
    assert "--accept" not in report
    assert "plan Adatum0000" not in report
    assert part(report, "Held: report") == (
        'Held: report\n  tp is set to report\n  Set write = "soap" in [psa.tp].'
    )
    alone = text(Plan((held[0],)))
    assert '      report: tp is set to report\n      Set write = "soap"' in alone


def test_a_change_that_no_id_releases_names_its_line_for_whoever_makes_it_by_hand():
    hold = Hold("report", "tp is set to report", "Make it by hand.")
    lines = (
        samples.line("88", 90, psa="tp", product="KES-WS", line_id="30001", hold=hold),
        samples.line(None, 10, psa="tp", product="KES-SRV", line_id=None, hold=hold),
    )
    held = CompanyPlan(samples.company("Contoso", "7001", psa="tp"), Status.HELD, lines=lines)
    report = text(Plan((held,)))
    assert "\n      line 30001 of product KES-WS\n" in report
    assert "\n      a new line of product KES-SRV\n" in report


def test_what_failed_without_a_client_and_what_belongs_to_nobody_is_shown():
    plan = Plan(
        (samples.quiet_client(),),
        failures=(
            Failure("source-incomplete", "hub: no file is newer than 72 h", "", ExitCode.SOURCE),
        ),
        notes=("Prices of cw could not be read.",),
    )
    report = page(samples.view(plan, left=(samples.left(),)), 120, verbose=True)
    assert "Not read\n  ✗ source-incomplete: hub: no file" in report
    assert (
        "6  Old Client: Kaspersky Endpoint Security for Business Advanced, 27.00 a month (cw, agree"
        in report
    )
    assert "Notes\n  Prices of cw" in report


def test_a_command_with_the_ids_of_several_clients_is_one_line():
    command = "kisi sync --accept 77b0e1c2" + " --accept 22f5d1b7" * 6
    held = samples.line(
        "20", 5, hold=Hold("decrease", "it would fall", f"If so: {command}; or not.")
    )
    client = CompanyPlan(samples.company("Moved", "1042"), Status.HELD, (held,), plan_id="77b0e1c2")
    lines = [line.strip() for line in text(Plan((client,), plan_id="4f2a91c0d3e7")).splitlines()]
    assert lines[lines.index(command) - 1 : lines.index(command) + 2] == [
        "If so:",
        command,
        "Or not",
    ]


@pytest.mark.parametrize("width", [10, 20, 40, 46, 80, 100, 120, 200])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_nothing_but_a_command_is_wider_than_the_terminal(preview, width, encoding):
    report = page(preview, width, encoding, verbose=True)
    report.encode(encoding)
    long = [line for line in report.splitlines() if cells(line) > width]
    assert all(re.search(r"(^ *|`)kisi [a-z]+", line) for line in long)


@pytest.mark.parametrize("width", [20, 80, 120])
def test_colours_change_nothing_but_colours(preview, width):
    shown, bright = page(preview, width), colored(preview, width)
    assert ANSI.sub("", bright) == shown
    assert "\x1b[" in bright
    assert "\x1b" not in shown


HOSTILE = (
    "[/]",
    "[link=http://x]y[/link]",
    "\x1b[2J",
    "\u202egnp",
    "a\nb",
    "x" * 300,
    "",
    "  ",
    "東" * 60,
    "e\u0301",
)


@settings(max_examples=40)
@given(
    st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE)),
    st.sampled_from([20, 80]),
    st.sampled_from(["ascii", "utf-8"]),
)
def test_no_name_can_break_the_report_or_act_on_the_terminal(name, width, encoding):
    plan = samples.six_clients()
    company = replace(plan.companies[0].company, name=name)
    lines = tuple(replace(line, application=name) for line in plan.companies[0].lines)
    first = replace(
        plan.companies[0], company=company, lines=lines, agreement_name=name, notes=(name,)
    )
    view = samples.view(replace(plan, companies=(first, *plan.companies[1:])))
    shown = page(view, width, encoding)
    shown.encode(encoding)
    assert all(line.isprintable() for line in shown.splitlines())
    assert ANSI.sub("", colored(view, width, encoding)) == shown
    if name.strip() and name.isascii() and name.isprintable() and " " not in name:
        assert name in shown.replace("\n", "").replace(" ", "")


def test_a_huge_quantity_cannot_break_the_report():
    huge = replace(samples.contoso(), lines=(samples.line("1E+300", 2),))
    assert "Contoso" in page(samples.view(Plan((huge,))), 80)
    assert Decimal("1E+300") == huge.lines[0].before
