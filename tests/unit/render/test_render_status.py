"""What `kisi status` shows, and whether invoices may be made."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
import render_samples as samples

from kisi.journal import Billing, RunState
from kisi.json_text import dumps
from kisi.model import Status, UnmappedUse
from kisi.render.plan_json import plan_document
from kisi.render.readiness import Readiness, readiness, ready_sentence
from kisi.render.status_clients import trend
from kisi.render.status_csv import status_csv
from kisi.render.status_json import status_document
from kisi.render.status_report import status_report
from kisi.render.status_view import (
    CertificateExpiry,
    ClientRow,
    RunRow,
    StatusView,
    TrendPoint,
)
from kisi.render.terminal import Terminal, lay_out
from kisi.render.text import cells

DAY = timedelta(hours=26)


def shown(view: StatusView, width: int = 120, **more: bool) -> str:
    return lay_out(status_report(view, **more), Terminal(width)).plain


def client(name: str = "Contoso", **more: object) -> ClientRow:
    values = {"status": Status.READY, "confirmed_at": samples.NOW, "since": samples.NOW, **more}
    return ClientRow(name, "cw", "250", "1042", **values)


def empty(**more: object) -> StatusView:
    return StatusView(at=samples.NOW, version="1.0.0", zone=samples.BERLIN, **more)


def test_runs_tell_how_they_ended_and_what_they_came_to():
    report = shown(samples.status_view())
    assert report.startswith(
        "Runs\n"
        "  run  began             took  command  ended\n"
        "   43  2026-11-03 06:12  2:11  sync     6 withheld   298 of 300 current, 12 applied,"
        " 3 held, 1 failed\n"
        "   42  2026-11-02 06:12  2:11  sync     0 done       300 of 300 current\n"
        "   41  2026-11-01 06:12        sync     crashed\n"
        "   40  2026-10-31 06:12  2:11  sync     interrupted  120 of 300 current, 4 applied\n"
        "  Run 43: 298 of 300 clients"
    )


@pytest.mark.parametrize(
    ("run", "ending"),
    [
        ((RunState.RUNNING, None), "running"),
        ((RunState.FINISHED, 7), "7 a write failed"),
        ((RunState.FINISHED, 99), "99"),
    ],
)
def test_every_ending_is_told(run, ending):
    row = RunRow(1, "sync", samples.NOW, run[0], exit_code=run[1], scope="--only Con*")
    assert f"sync --only Con*  {ending}\n" in shown(empty(runs=(row,)))


def test_an_empty_journal_says_what_to_do_next():
    report = shown(empty(problem="The journal is damaged."))
    assert report == (
        "Journal\n  The journal is damaged.\n\n"
        "Runs\n  No run is in the journal. Next: `kisi sync`\n\n"
        "Clients\n  No run has seen a client yet.\n"
    )


def test_clients_that_are_not_current_are_named_with_since_when_and_why():
    report = shown(samples.status_view())
    assert "Clients   1 current · 1 held · 1 failed · 1 not judged yet · 1 billing off\n" in report
    assert (
        "  ! Fabrikam Maschinenbau GmbH & Co. KG: held (to-zero) since 2026-11-01, last confirmed"
        " 2026-11-01 06:12\n      it would go from 10 to 0\n"
    ) in report
    assert "  ✗ Wingtip: failed (source-incomplete) since 2026-11-03" in report
    assert "  ! Lamna Healthcare: not judged yet\n" in report
    assert "Internal" not in report


def test_open_holds_have_the_command_that_releases_them():
    report = shown(samples.status_view())
    assert "plan a3f90b11 · held since 2026-11-01\n" in report
    assert "\n        kisi sync --accept a3f90b11\n" in report


def test_unmapped_usage_unsettled_writes_and_what_expires_soon_are_shown():
    report = shown(samples.status_view())
    assert "12  Tailspin Toys: Kaspersky Security for Mail Server (the source's figure)" in report
    assert "Fourth Coffee (hq:VSRVa80a675f" in report
    assert "Writes of unknown outcome\n  ? Contoso: Kaspersky Endpoint" in report
    keys = report[report.index("Keys that end") : report.index("Certificates")]
    assert keys.splitlines()[1:3] == [
        (
            "     2026-11-06, in 2 days  Tailspin Toys: Kaspersky Endpoint Security Cloud Plus"
            " (0B1C-000451-5D6E7F11)"
        ),
        (
            "    2026-11-15, in 11 days  Contoso: Kaspersky Endpoint Security for Business Advanced"
            " (1C2D-000451-5D6E7F80, 92 in use)"
        ),
    ]
    assert "Far" not in keys
    assert "2026-11-23, in 19 days  hq" in report


def test_a_certificate_that_has_ended_is_still_shown():
    ends = (
        CertificateExpiry("today", samples.NOW + timedelta(hours=1)),
        CertificateExpiry("late", samples.NOW - timedelta(days=1)),
    )
    report = shown(empty(certificates=ends))
    assert "2026-11-02, has ended  late\n" in report
    assert "2026-11-03, today  today\n" in report


def test_in_detail_every_client_has_the_trend_of_its_lines():
    report = shown(samples.status_view(), detailed=True)
    assert (
        "Contoso   cw · agreement 1042 · current since 2026-10-01 · confirmed 2026-11-03 06:12"
        in report
    )
    assert (
        "92  (since 2026-11-03)\n      … → 88 (2026-08-05) → 89 (09-04) → 90 (10-01) → 91" in report
    )
    assert "Internal   cw · agreement 5200 · billing off since" in report
    assert "Lamna Healthcare   cw · agreement 5100 · not judged yet\n" in report


def test_a_trend_names_the_year_again_where_it_changes():
    points = [
        TrendPoint(Decimal(q), samples.NOW + timedelta(days=days)) for q, days in ((1, 0), (2, 90))
    ]
    assert trend(points, samples.BERLIN) == "1 (2026-11-03) → 2 (2027-02-01)"


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (client(billing=Billing.UNMAPPED), "1 not mapped"),
        (client(confirmed_at=None), "1 not proven"),
        (client(status=Status.HELD), "1 held"),
    ],
)
def test_a_client_that_is_not_proven_is_not_called_current(row, state):
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
    assert document["last_run"] == json.loads(dumps(run))
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
    lineless = replace(view.clients[0].lines[0], points=())
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
        "Ready to invoice: 1 of 1 billed clients were confirmed within 26 h and nothing is withheld."
    )
    assert "within 4 days" in ready_sentence(Readiness(1, (), timedelta(days=4)))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"status": None}, "no run has judged it yet"),
        ({"status": Status.FAILED, "guard": "source-incomplete"}, "failed: source-incomplete"),
        ({"status": Status.HELD, "guard": "drift"}, "held: drift"),
        ({"confirmed_at": None}, "never confirmed"),
        ({"confirmed_at": samples.NOW - timedelta(hours=27)}, "last confirmed 2026-11-02 03:12"),
    ],
)
def test_a_client_in_any_trouble_is_in_the_way_of_invoicing(more, reason):
    answer = readiness(empty(clients=(client(**more), client("Good"))), DAY)
    assert not answer.ready
    assert ready_sentence(answer) == (
        f"NOT ready to invoice: Contoso ({reason}); 1 of 2 billed clients are ready."
    )


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
        assert [one.reason for one in answer.blockers] == [reason]


def test_nobody_billed_is_not_ready_and_a_long_list_is_shortened():
    assert ready_sentence(readiness(empty(), DAY)) == "NOT ready to invoice: no client is billed."
    many = tuple(client(f"C{number}", confirmed_at=None) for number in range(23))
    sentence = ready_sentence(readiness(empty(clients=many), DAY))
    assert "C19 (never confirmed) and 3 more; 0 of 23" in sentence


def test_the_json_answers_ready_where_it_was_asked():
    view = empty(clients=(client(confirmed_at=None),))
    document = status_document(view, readiness(view, DAY))
    assert document["ready"] == {
        "ready": False,
        "billed": 1,
        "max_age_seconds": 93600,
        "blockers": [{"name": "Contoso", "reason": "never confirmed"}],
    }
