"""What `kisi status` shows, and whether invoices may be made."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO

import pytest
import render_samples as samples

from kisi.journal import Billing, RunState
from kisi.json_text import dumps
from kisi.model import Status, Tenant, TenantRef, Terms, UnmappedUse
from kisi.render.export import status_csv, status_document
from kisi.render.status import (
    Client,
    Readiness,
    StatusView,
    readiness,
    ready_report,
    ready_sentence,
    status_report,
    trend,
)
from kisi.render.terminal import cells, lay_out
from kisi.run.document import FoundLine, plan_document

DAY = timedelta(hours=26)


def shown(view: StatusView, width: int = 120, **more: bool) -> str:
    return lay_out(status_report(view, **more), width)


def client(name: str = "Contoso", **more: object) -> Client:
    return samples.client(name, **{"since_at": samples.NOW, **more})


def empty(**more: object) -> StatusView:
    return StatusView(at=samples.NOW, version="1.0.0", zone=samples.BERLIN, **more)


@pytest.mark.parametrize(
    ("run", "ending"),
    [
        ((RunState.RUNNING, None), "running"),
        ((RunState.FINISHED, 7), "7 a write failed"),
        ((RunState.FINISHED, 99), "99"),
    ],
)
def test_every_ending_is_told(run, ending):
    row = samples.journal_run(state=run[0], code=run[1], scope="--only Con*")
    assert f"sync --only Con*  {ending}\n" in shown(empty(runs=(row,)))


def test_an_empty_journal_says_what_to_do_next():
    report = shown(empty(problem="The journal is damaged."))
    assert report == (
        "Journal\n  The journal is damaged.\n\n"
        "Runs\n  No run is in the journal. Next: `kisi sync`\n\n"
        "Clients\n  No run has seen a client yet.\n"
    )


def test_clients_that_need_attention_are_named_with_since_when_and_why():
    report = shown(samples.status_view())
    assert "Clients   1 up to date · 1 held · 1 failed · 1 not yet run · 1 billing off\n" in report
    assert (
        "  ! Fabrikam Maschinenbau GmbH & Co. KG: held (to-zero) since 2026-11-01, last confirmed"
        " 2026-11-01 06:12\n      it would go from 10 to 0\n"
    ) in report
    assert "  ✗ Wingtip: failed (source-incomplete) since 2026-11-03" in report
    assert "  ! Lamna Healthcare: not yet run\n" in report
    assert "Internal" not in report


def test_the_first_words_are_how_old_everything_is():
    view = samples.status_view()
    assert shown(view).startswith(
        "Last run 2 hours ago: a source failed   2026-11-03 06:12 · 1 of 6 up to date then\n\nRuns\n"
    )
    for age, words in (
        (timedelta(minutes=3), "3 minutes"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(days=9, hours=3), "9 days"),
        (timedelta(0), "1 second"),
        (timedelta(seconds=40), "40 seconds"),
        (timedelta(minutes=-5), "1 second"),  # a clock that goes wrong
    ):
        assert shown(replace(view, at=samples.NOW + age)).startswith(f"Last run {words} ago: ")
    old = shown(replace(view, at=samples.NOW + timedelta(hours=27)))
    assert "No run over all clients has come to its end since" in old
    longer = replace(view, at=samples.NOW + timedelta(hours=27), max_age=timedelta(days=2))
    assert "has come to its end since" not in shown(longer)
    off = [one | {"status": Status.OFF} for one in view.last_run["companies"]]
    assert "  2026-11-03 06:12 · no client billed then\n" in shown(
        replace(view, last_run={**view.last_run, "companies": off})
    )


def test_clients_in_the_same_state_for_the_same_reason_are_told_once():
    failed = {"status": Status.FAILED, "guard": "login", "reason": "refused", "remedy": "Look."}
    clients = (
        client("A", **failed),
        client("B", **failed),
        client("C", **{**failed, "reason": "refused there"}),
        replace(client("D", since_at=None), is_outdated=True),
        replace(client("E"), is_outdated=True),
        client("F"),
    )
    report = shown(empty(clients=clients))
    assert report.count("Look.") == 1
    assert (
        "  ✗ A and B: failed (login) since 2026-11-03, last confirmed 2026-11-03 06:12\n" in report
    )
    assert "  ✗ C: failed (login) since" in report
    assert "  ! D and E: out of date, last confirmed 2026-11-03 06:12\n" in report
    assert "Clients   3 failed · 2 out of date · 1 up to date\n" in report


def test_a_line_shows_what_the_psa_holds_also_where_people_keep_it():
    line = samples.history(samples.quantity("6", 9))
    found = {"9001": FoundLine(Decimal(9), Decimal(9), by_hand=True, why="")}
    one = replace(client("Contoso", lines=(line,)), found=found)
    assert "9 (managed by hand)" in shown(empty(clients=(one,)), detailed=True)
    document = status_document(empty(clients=(one,)))["clients"][0]["lines"][0]
    assert (document["billed"], document["managed_by_hand"]) == (9, True)
    drifted = {"9001": FoundLine(Decimal(9), Decimal(6), by_hand=False, why="")}
    report = shown(empty(clients=(replace(one, found=drifted),)), detailed=True)
    assert "9 (kisi confirmed 6 on 2026-11-03)" in report


def nobodys_view() -> StatusView:
    """A billed client, an unmapped tenant of each kind, and a line of each kind."""
    used = Tenant(TenantRef("hq", "1"), "Contoso", in_use=True)
    return empty(
        clients=(client(),),
        left=(
            samples.left("Old"),
            samples.left("Off", is_off=True, quantity=Decimal(34), terms=Terms()),
        ),
        unmapped_uses=(UnmappedUse("Contoso", samples.KES, 12, tenant=used.ref),),
        unmapped_tenants=(
            used,
            Tenant(TenantRef("hq", "2"), "Empty", in_use=False),
            Tenant(TenantRef("hq", "3"), "Closed", listed_as="it could not be read"),
        ),
    )


def test_what_nobody_is_billed_for_is_in_the_way_of_invoicing_and_named():
    view = nobodys_view()
    answer = readiness(view, DAY)
    assert not answer.ready
    assert answer.blockers == ()
    assert ready_sentence(answer) == (
        "NOT ready to invoice: not mapped any more and still billed: Old (6 units, 27.00 a month); "
        "unmapped and in use: Contoso (12 devices), Closed (it could not be read); "
        "1 of 1 billed clients are ready."
    )
    report = lay_out(ready_report(view), 120)
    assert "  Contoso (hq:1)\n    12  Kaspersky" in report
    assert "Closed (hq:3): it could not be read" in report
    assert "Empty" not in report
    assert "any more   6 units, 27.00 a month\n    6  Old: Kaspersky" in report
    assert "Lines of clients with billing off   34 units, 1 line of unknown price\n" in report
    ready = status_document(view, answer)["ready"]
    assert [(x["name"], x["devices"]) for x in ready["unmapped_tenants"]] == [
        ("Contoso", 12),
        ("Closed", None),
    ]
    assert [x["name"] for x in ready["unmapped_lines"]] == ["Old"]
    assert [x["name"] for x in ready["off_lines"]] == ["Off"]


def test_lines_of_clients_with_billing_off_are_named_and_not_in_the_way():
    view = nobodys_view()
    view = replace(view, left=view.left[1:], unmapped_tenants=(), unmapped_uses=())
    assert readiness(view, DAY).ready
    assert "Off: Kaspersky Endpoint Security for Business Advanced (cw, agreement 77" in lay_out(
        ready_report(view), 120
    )


def test_open_holds_have_the_command_that_releases_them():
    report = shown(samples.status_view())
    assert "plan a3f90b11 · held since 2026-11-01\n" in report
    assert "\n        kisi sync --accept a3f90b11\n" in report


def test_the_invoice_of_a_hold_is_said_once_in_its_first_line():
    view = samples.status_view()
    (hold,) = view.holds
    lines = tuple(replace(line, invoice=date(2026, 12, 1)) for line in hold.lines)
    held = replace(hold, lines=lines)
    record = replace(view.clients[0].record, psa=hold.psa, agreement=hold.agreement)
    mine = replace(view.clients[0], record=record, next_invoice=date(2026, 12, 1))

    assert "This change is on the invoice" in shown(replace(view, holds=(held,), clients=()))
    report = shown(replace(view, holds=(held,), clients=(mine,)))
    assert "next invoice 2026-12-01 · plan a3f90b11" in report
    assert "This change is on the invoice" not in report


def test_a_certificate_that_has_ended_is_still_shown():
    ends = (
        (samples.NOW + timedelta(hours=1), "today"),
        (samples.NOW - timedelta(days=1), "late"),
    )
    report = shown(empty(certificates=ends))
    assert "2026-11-02, has ended  late\n" in report
    assert "2026-11-03, today  today\n" in report


def test_a_trend_names_the_year_again_where_it_changes():
    points = [samples.quantity("1", 0), samples.quantity("2", -90)]
    assert trend(points, samples.BERLIN) == "1 (2026-11-03) → 2 (2027-02-01)"


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (client(billing=Billing.UNMAPPED), "1 not mapped"),
        (client(confirmed_at=None), "1 not confirmed"),
        (client(status=Status.HELD), "1 held"),
    ],
)
def test_a_client_that_was_never_confirmed_is_not_called_up_to_date(row, state):
    assert f"Clients   {state}\n" in shown(empty(clients=(row,)))


@pytest.mark.parametrize("width", [20, 80])
@pytest.mark.parametrize("detailed", [False, True])
def test_the_status_fits_the_terminal(width, detailed):
    report = shown(samples.status_view(), width, detailed=detailed)
    long = [line for line in report.splitlines() if cells(line) > width]
    assert all(line.strip().startswith("kisi sync") for line in long)
    if width == 20:
        assert "command: sync\n" in report


def test_the_json_embeds_the_last_run_exactly_as_it_was_printed():
    document = json.loads(dumps(status_document(samples.status_view())))
    run = plan_document(samples.view(samples.six_clients(), samples.Mode.SYNC, run=43))
    age = {"at": "2026-11-03T05:12:44Z", "age_seconds": 7200}
    assert document["last_run"] == json.loads(dumps(run)) | age
    assert [one["state"] for one in document["runs"]] == [
        "finished",
        "finished",
        "crashed",
        "interrupted",
    ]
    contoso = document["clients"][0]
    assert contoso["lines"][1]["quantities"] == [
        {"quantity": 10, "since": "2026-04-17T05:12:44Z"},
        {"quantity": 12, "since": "2026-11-03T05:12:44Z"},
    ]
    assert document["holds"][0]["plan_id"] == "a3f90b11"
    assert len(document["expiring_keys"]) == 2
    assert document["expiring_certificates"][0]["server"] == "hq"
    assert document["unsettled"][0]["run"] == 41
    assert document["ready"] is None


def test_the_csv_has_a_row_for_each_line_and_each_client_without_lines():
    view = samples.status_view()
    lineless = replace(view.clients[0].lines[0], quantities=())
    view = replace(view, clients=(*view.clients, client("New", lines=(lineless,))))
    rows = list(csv.DictReader(StringIO(status_csv(view), newline="")))
    assert [(row["company"], row["quantity"], row["before"]) for row in rows] == [
        ("Contoso", "92", "91"),
        ("Contoso", "12", "10"),
        ("Fabrikam Maschinenbau GmbH & Co. KG", "90", ""),
        ("Wingtip", "", ""),
        ("Lamna Healthcare", "", ""),
        ("Internal", "", ""),
        ("New", "", ""),
    ]


def test_ready_is_one_clear_sentence():
    answer = readiness(empty(clients=(client(), client("Off", billing=Billing.OFF))), DAY)
    assert answer.ready
    assert ready_sentence(answer) == (
        "Ready to invoice: 1 of 1 billed clients were confirmed within 26 h and nothing is on hold."
    )
    assert "within 4 days" in ready_sentence(Readiness(1, (), timedelta(days=4)))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"status": None}, "not yet run"),
        ({"status": Status.FAILED, "guard": "source-incomplete"}, "failed: source-incomplete"),
        ({"status": Status.HELD, "guard": "drift"}, "held: drift"),
        ({"confirmed_at": None}, "never confirmed"),
        ({"confirmed_at": samples.NOW - timedelta(hours=27)}, "last confirmed 2026-11-02 03:12"),
        (
            {"confirmed_at": samples.NOW + timedelta(minutes=6)},
            "confirmed in the future: 2026-11-03 06:18, the clock was wrong",
        ),
        ({"missed_by": 43}, "run 43 is newer and has not come to its end"),
    ],
)
def test_a_client_in_any_trouble_is_in_the_way_of_invoicing(more, reason):
    answer = readiness(empty(clients=(client(**more), client("Good"))), DAY)
    assert not answer.ready
    assert ready_sentence(answer) == (
        f"NOT ready to invoice: Contoso ({reason}); 1 of 2 billed clients are ready."
    )


def test_a_clock_that_differs_by_minutes_is_no_trouble():
    ahead = samples.NOW + timedelta(minutes=5)
    assert readiness(empty(clients=(client(confirmed_at=ahead),)), DAY).ready


def test_holds_unmapped_usage_and_unsettled_writes_are_in_the_way_too():
    view = samples.status_view()
    hold = replace(view.holds[0], agreement="1042")
    write = samples.earlier(None)
    for more, reason in (
        ({"holds": (hold,)}, "held"),
        ({"unsettled": (write,)}, "a write of unknown outcome"),
        ({"unmapped": (UnmappedUse("Contoso", samples.KES, 3),)}, "unmapped usage"),
    ):
        answer = readiness(empty(clients=(client(),), **more), DAY)
        assert answer.blockers == (("Contoso", reason),)


def test_nobody_billed_is_not_ready_and_a_long_list_is_shortened():
    assert ready_sentence(readiness(empty(), DAY)) == "NOT ready to invoice: no client is billed."
    many = tuple(client(f"C{number}", confirmed_at=None) for number in range(23))
    sentence = ready_sentence(readiness(empty(clients=many), DAY))
    assert "C19 and 3 more (never confirmed); 0 of 23" in sentence


def test_the_json_answers_ready_where_it_was_asked():
    view = empty(clients=(client(confirmed_at=None),))
    document = status_document(view, readiness(view, DAY))
    assert document["ready"] == {
        "ready": False,
        "billed": 1,
        "max_age_seconds": 93600,
        "blockers": [{"name": "Contoso", "reason": "never confirmed"}],
        "unmapped_tenants": [],
        "unmapped_lines": [],
        "off_lines": [],
        "due": [],
    }
