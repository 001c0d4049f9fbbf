"""What `kisi status` shows, and whether invoices may be made."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
import render_samples as samples

from kisi.journal import Billing, RunState
from kisi.json_text import dumps
from kisi.model import Status, UnmappedUse
from kisi.render.export import status_csv, status_document
from kisi.render.status import (
    Client,
    Readiness,
    StatusView,
    readiness,
    ready_sentence,
    status_report,
    trend,
)
from kisi.render.terminal import cells, lay_out
from kisi.run.document import plan_document

DAY = timedelta(hours=26)


def shown(view: StatusView, width: int = 120, **more: bool) -> str:
    return lay_out(status_report(view, **more), width).plain


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


def test_open_holds_have_the_command_that_releases_them():
    report = shown(samples.status_view())
    assert "plan a3f90b11 · held since 2026-11-01\n" in report
    assert "\n        kisi sync --accept a3f90b11\n" in report


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
