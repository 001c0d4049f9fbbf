"""Are we ready to invoice, why is a quantity what it is, and is everything right?"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from kisi.journal import Journal
from kisi.sandbox.certificate import Certificate
from kisi.sandbox.ksc_records import EndDateType, KeyUse, stable_guid
from kisi.sandbox.world import APPLICATION, Client
from tests.conftest import WINDOWS
from tests.e2e.conftest import Operator, Result
from tests.e2e.contract import check_plan

Situation = Callable[[Operator, Client], object]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _ready(operator: Operator, *arguments: str) -> Result:
    result = operator.run("status", "--ready", *arguments)
    assert result.requests == ()
    return result


# --- ready to invoice ---------------------------------------------------------------------------


def _reclassify(_: Operator, contoso: Client) -> None:
    for device in contoso.devices("server"):
        device.system = contoso.devices("workstation")[0].system


def _to_one_product(operator: Operator, _: Client) -> None:
    operator.world.billing.applications.clear()
    operator.bill_as_one()


def _change_agreement(operator: Operator, contoso: Client) -> None:
    contoso.agreement = operator.world.agreement(contoso.company)


def _edit(_: Operator, contoso: Client) -> None:
    contoso.additions[0].quantity = 7


def _delete_line(operator: Operator, contoso: Client) -> None:
    del operator.world.lines[contoso.additions[0].id]


def _lose_state(operator: Operator, contoso: Client) -> None:
    shutil.rmtree(operator.state)
    contoso.add_devices()


def _rename_key(_: Operator, contoso: Client) -> None:
    contoso.first_key.name = "Kaspersky Next EDR Foundations"


def _use_an_unmapped_key(_: Operator, contoso: Client) -> None:
    contoso.key("Kaspersky Next EDR Foundations", devices=contoso.devices())


def _double(operator: Operator, contoso: Client) -> None:
    operator.world.add_line(contoso.agreement_id, contoso.additions[0].product_id, 5)


def _end_agreement(operator: Operator, contoso: Client) -> None:
    contoso.agreement.end_date = operator.world.today - timedelta(days=1)


def _deny(_: Operator, contoso: Client) -> None:
    contoso.server.readable = False


def _refuse_writes(operator: Operator, contoso: Client) -> None:
    contoso.add_devices()
    match = f"PATCH *agreements/{contoso.agreement_id}/*"
    operator.sandbox.faults.add("status", match=match, times=None, code=400)


def _hide_writes(operator: Operator, contoso: Client) -> None:
    """The write is applied, its answer is lost, and the agreement cannot be read afterwards."""
    contoso.add_devices()
    path = f"*agreements/{contoso.agreement_id}/additions"
    operator.sandbox.faults.add("lost", match=f"PATCH {path}/*", times=None)
    operator.sandbox.faults.add("status", match=f"GET {path}", times=None, after=1, code=500)


SITUATIONS: dict[str, tuple[Situation, int]] = {
    "to zero": (lambda _, contoso: contoso.remove_devices(100), 6),
    "decrease": (lambda _, contoso: contoso.remove_devices(49), 6),
    "servers taken for workstations": (_reclassify, 6),
    "categories changed to one product": (_to_one_product, 6),
    "agreement changed": (_change_agreement, 6),
    "edited by hand": (_edit, 6),
    "deleted": (_delete_line, 6),
    "state lost": (_lose_state, 6),
    "key renamed": (_rename_key, 6),
    "key unmapped": (_use_an_unmapped_key, 6),
    "two lines": (_double, 6),
    "agreement ended": (_end_agreement, 6),
    "source incomplete": (_deny, 4),
    "virtual server gone": (lambda operator, one: operator.world.servers.remove(one.server), 4),
    "write refused": (_refuse_writes, 7),
    "write of unknown outcome": (_hide_writes, 7),
}


@pytest.mark.parametrize(("situation", "code"), SITUATIONS.values(), ids=SITUATIONS)
def test_only_a_clean_run_is_ready_to_invoice(operator: Operator, situation: Situation, code: int):
    operator.bill_by_category()
    operator.client("Fabrikam", workstations=400)
    contoso = operator.client("Contoso", workstations=90, servers=10)
    operator.sync()
    clean = _ready(operator)
    assert clean.code == 0
    assert clean.out.startswith("Ready to invoice: 2 of 2 billed clients")

    operator.next_night()
    situation(operator, contoso)
    assert operator.sync().code == code

    answer = _ready(operator)
    assert answer.code == 6
    assert answer.out.startswith("NOT ready to invoice: ")
    assert "Contoso" in answer.out
    if situation is not _to_one_product:
        assert "Fabrikam" not in answer.out
    blockers = json.loads(_ready(operator, "--json").out)["ready"]["blockers"]
    assert [one["name"] for one in blockers].count("Contoso") == 1


def test_an_accepted_hold_makes_it_ready_again(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.sync()
    _edit(operator, contoso)
    held = operator.sync()
    assert _ready(operator).code == 6

    operator.sync("--accept", held.company("Contoso")["plan_id"])

    assert _ready(operator).code == 0


def test_before_the_first_run_nothing_is_ready(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)

    assert _ready(operator).code == 6
    assert not operator.state.exists()


def test_an_old_proof_is_no_proof(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()

    operator.next_night(2)

    stale = _ready(operator)
    assert stale.code == 6
    assert "Contoso (last confirmed 2026-10-14" in stale.out
    assert _ready(operator, "--max-age", "3d").code == 0
    operator.sync()
    assert _ready(operator).code == 0


def test_a_newer_run_that_broke_off_makes_older_proofs_doubtful_until_one_ends(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()
    with Journal.open(operator.state) as journal:  # what a kill -9 while it reads leaves
        killed = journal.begin_run(
            datetime.now(UTC), version="1", command="sync", config_hash="", plan_scope=""
        )

    doubtful = _ready(operator)
    assert doubtful.code == 6
    assert f"Contoso (run {killed} is newer and has not come to its end)" in doubtful.out
    operator.sync()
    assert _ready(operator).code == 0


def test_a_proof_from_the_future_is_no_proof(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.next_night(3)
    operator.sync()
    operator.next_night(-3)

    early = _ready(operator)
    assert early.code == 6
    assert "Contoso (confirmed in the future: 2026-10-17" in early.out
    assert "the clock was wrong)" in early.out
    operator.sync()
    assert _ready(operator).code == 0


def test_a_client_that_no_run_has_billed_yet_is_not_ready(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()
    operator.client("Fabrikam", workstations=5)

    answer = _ready(operator)

    assert answer.code == 6
    assert "Fabrikam (" in answer.out


def test_a_client_that_is_no_longer_billed_does_not_stand_in_the_way(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.client("Fabrikam", workstations=5)
    contoso.server.readable = False
    operator.sync()
    assert _ready(operator).code == 6

    contoso.billing = False
    operator.sync()

    assert _ready(operator).code == 0


def test_a_run_over_other_clients_proves_nothing_of_this_one(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.client("Fabrikam", workstations=5)
    _use_an_unmapped_key(operator, contoso)
    operator.sync()
    assert _ready(operator).code == 6

    assert operator.sync("--only", "Fabrikam").code == 0

    answer = _ready(operator)
    assert answer.code == 6
    assert "Contoso (" in answer.out


def test_ready_names_what_nobody_is_billed_for(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    off, gone = (operator.client(name, workstations=7) for name in ("Wingtip", "Tailspin"))
    operator.sync()
    off.billing = False
    gone.mapped = False
    operator.world.tenant("Empty")
    new = operator.world.tenant("Fourth Coffee", workstations=12)
    closed = operator.world.tenant("Closed", workstations=2)
    closed.readable = False

    assert operator.sync().code == 0, "what nobody is billed for fails nothing"

    answer = _ready(operator)
    assert answer.code == 6
    assert answer.out.startswith(
        "NOT ready to invoice: not mapped any more and still billed: Tailspin (7 units, 21.00 EUR "
        "a month); unmapped and in use: Tailspin (7 devices), Fourth Coffee (12 devices), Closed "
        "(what it uses could not be read); 1 of 1 billed clients are ready."
    )
    assert "Lines of clients with billing off 7 units, 21.00 EUR a month" in _flat(answer.out)
    ready = json.loads(_ready(operator, "--json").out)["ready"]
    assert [(one["name"], one["devices"]) for one in ready["unmapped_tenants"]] == [
        ("Tailspin", 7),
        ("Fourth Coffee", 12),
        ("Closed", None),
    ]
    (line,) = ready["unmapped_lines"]
    assert (line["name"], line["quantity"], line["money"]) == ("Tailspin", 7, 21)
    assert [one["name"] for one in ready["off_lines"]] == ["Wingtip"]

    gone.additions[0].cancelled_date = operator.world.now() - timedelta(days=1)
    for server in (gone.server, new, closed):
        operator.world.servers.remove(server)
    assert operator.sync().code == 0
    assert _ready(operator).code == 0


def test_a_run_over_some_clients_reads_nothing_that_nobody_is_billed_for(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=9)
    operator.client("Fabrikam", workstations=9).billing = False
    operator.world.tenant("Fourth Coffee", workstations=12)

    document = operator.sync("--only", "Contoso").document

    assert document["unmapped"] == {
        "tenants": [],
        "applications": [],
        "accounts": [],
    }  # nor does it concern them


# --- status -------------------------------------------------------------------------------------


def test_a_status_begins_with_the_age_of_the_last_complete_run(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()
    operator.next_night(9)
    operator.sync("--only", "Contoso", "--accept", "00000000")  # neither over all, nor complete

    old = operator.run("status")

    assert old.out.startswith("Last run 9 days ago: done")
    assert "No run over all clients has come to its end since" in _flat(old.out)
    assert "Clients 1 up to date" in _flat(old.out), "the later run confirmed it"
    operator.next_night(2)
    assert "Clients 1 out of date" in _flat(operator.run("status").out)
    assert "Clients 1 up to date" in _flat(operator.run("status", "--max-age", "3d").out)
    document = json.loads(operator.run("status", "--json").out)
    assert document["last_run"]["at"].startswith("2026-10-14T02:30")
    assert document["last_run"]["age_seconds"] // 86_400 == 11
    assert document["last_run"]["exit_code"] == 0
    assert document["clients"][0]["state"] == "out of date"
    assert "Contoso" in operator.run("status", "--failed").out


def test_a_refused_login_is_called_that_and_said_once(operator: Operator):
    operator.bill_as_one()
    for name in ("Contoso", "Fabrikam", "Litware", "Proseware"):
        operator.client(name, workstations=3)
    operator.by_hand()
    operator.sandbox.ksc.account.password = "changed"

    quiet = operator.run("sync", "--quiet")

    assert (quiet.code, quiet.out) == (4, "")
    assert quiet.err.startswith(
        "0 of 4 clients up to date; need attention: Contoso, Fabrikam, Litware and Proseware "
        "(login: Source hq, main server: the login was refused"
    )
    assert quiet.err.count("refused") == 1
    assert quiet.err.count("\n") == 1
    for command in ("preview", "status"):
        assert operator.run(command).out.count("login was") == 1


def test_a_line_managed_by_hand_is_shown_with_the_psas_own_number(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    operator.sync()
    contoso.exceptions.append({"application": APPLICATION, "bill": False})
    contoso.additions[0].quantity = 9
    operator.sync()

    assert "9 (managed by hand, 27.00 EUR a month)" in _flat(operator.run("status", "-v").out)
    told = _flat(operator.run("explain", "Contoso").out)
    assert "9 (product" in told
    assert ", managed by hand)" in told
    (line,) = json.loads(operator.run("status", "--json").out)["clients"][0]["lines"]
    assert (line["billed"], line["managed_by_hand"]) == (9, True)
    (line,) = _explained(operator)["lines"]
    assert (line["quantity"], line["billed"], line["managed_by_hand"]) == (6, 9, True)


def test_explain_says_that_people_bill_what_kisi_never_wrote(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.exceptions.append({"application": APPLICATION, "bill": False})
    operator.world.add_line(contoso.agreement_id, product, 9)
    operator.sync()

    told = _flat(operator.run("explain", "Contoso").out)
    assert f"{APPLICATION}: its lines are managed by hand (`bill = false`)" in told
    assert "keeps no line" not in told


def test_status_shows_runs_holds_and_the_command_that_releases_them(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.client("Fabrikam", workstations=5)
    operator.sync()
    operator.next_night()
    _edit(operator, contoso)
    held = operator.sync()

    table = operator.run("status")
    assert table.code == 0
    assert table.requests == ()
    assert f"kisi sync --accept {held.company('Contoso')['plan_id']}" in _flat(table.out)
    assert "the PSA holds 7, kisi last confirmed 90" in _flat(table.out)

    document = json.loads(operator.run("status", "--json").out)
    check_plan(document["last_run"])
    assert [run["exit_code"] for run in document["runs"]] == [6, 0]
    assert [hold["plan_id"] for hold in document["holds"]] == [held.company("Contoso")["plan_id"]]
    assert {one["name"]: one["status"] for one in document["clients"]} == {
        "Contoso": "held",
        "Fabrikam": "ready",
    }


def test_status_can_be_narrowed(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.client("Fabrikam", workstations=5)
    operator.sync()
    operator.next_night(3)
    contoso.server.readable = False
    operator.sync()

    def names(*arguments: str) -> set[str]:
        document = json.loads(operator.run("status", "--json", *arguments).out)
        return {client["name"] for client in document["clients"]}

    assert names() == {"Contoso", "Fabrikam"}
    assert names("--failed") == {"Contoso"}
    assert names("--company", "fab*") == {"Fabrikam"}
    runs = json.loads(operator.run("status", "--json", "--since", "1d").out)["runs"]
    assert [run["exit_code"] for run in runs] == [4]


def test_who_asks_for_clients_that_there_are_none_of_is_told_so(operator: Operator):
    operator.bill_as_one()
    assert "No run has seen a client yet." in operator.run("status", "--failed").out
    operator.client("Contoso", workstations=90)
    operator.sync()

    assert "No client failed or is held." in operator.run("status", "--failed").out
    told = operator.run("status", "--company", "zzz*").out
    assert 'No client with a name like "zzz*" is known.' in told
    assert "No run has seen" not in told


def test_status_shows_how_the_quantity_of_a_line_went(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    for _ in range(3):
        operator.sync()
        operator.next_night()
        contoso.add_devices(n=5)

    document = json.loads(operator.run("status", "--json", "--company", "Contoso").out)

    (line,) = document["clients"][0]["lines"]
    assert line["product"] == str(product)
    assert [point["quantity"] for point in line["quantities"]] == [90, 95, 100]


def test_status_warns_of_keys_that_end_within_a_month(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", kind="commercial", workstations=9)
    fabrikam = operator.client("Fabrikam", kind="commercial", workstations=9)
    contoso.first_key.limit_date = operator.world.now() + timedelta(days=20)
    fabrikam.first_key.limit_date = operator.world.now() + timedelta(days=40)
    operator.sync()

    document = json.loads(operator.run("status", "--json").out)

    assert [key["name"] for key in document["expiring_keys"]] == ["Contoso"]
    assert contoso.first_key.serial in operator.run("status").out


def test_status_shows_a_damaged_journal_and_exits_with_eight(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()
    for file in operator.state.glob("journal.db*"):
        file.write_bytes(b"\x00damaged" * 4096)

    assert operator.run("status").code == 8
    assert _ready(operator).code == 8


@pytest.mark.parametrize(
    ("table", "column"),
    [("line_quantity", "quantity"), ("line", "categories"), ("client", "confirmed_at")],
)
def test_a_value_that_cannot_be_read_is_said_in_a_sentence(
    operator: Operator, table: str, column: str
):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.sync()
    with closing(sqlite3.connect(operator.state / "journal.db")) as journal, journal:
        journal.execute(f"UPDATE {table} SET {column} = 'abc'")

    for command in ("status", "sync", "explain Contoso"):
        told = operator.run(*command.split())
        assert told.code == 8
        assert "is 'abc', which kisi cannot read" in _flat(told.err)
        assert "Restore the state folder from a backup." in _flat(told.err)
    assert len(operator.sandbox.writes) == 1, "the first run's alone"


# --- explain ------------------------------------------------------------------------------------


def _mixed(operator: Operator) -> Client:
    """A client with uses of every kind."""
    operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=5, servers=2, linux=1, unknown=1)
    reserve = contoso.key(kind="commercial", devices=contoso.devices("linux"))
    for device in contoso.devices("server"):
        reserve.use(device, current=False)
    contoso.first_key.uses[0].pending = True
    contoso.first_key.uses.append(KeyUse(stable_guid("elsewhere"), "ELSEWHERE"))
    contoso.key(kind="trial", devices=contoso.devices()[:3])
    operator.sync()
    return contoso


def _explained(operator: Operator, *arguments: str) -> dict:
    result = operator.run("explain", "Contoso", "--json", *arguments)
    assert (result.code, result.requests) == (0, ())
    return json.loads(result.out)


def test_explain_leads_every_quantity_back_to_its_devices(operator: Operator):
    contoso = _mixed(operator)

    (tenant,) = _explained(operator)["tenants"]
    (application,) = tenant["applications"]

    assert tenant["tenant"] == contoso.tenant
    assert application["quantities"] == {
        "windows_workstations": 4,
        "windows_servers": 2,
        "non_windows": 2,
    }
    counted = [device for device in application["devices"] if device["counted"]]
    assert len(counted) == application["quantity"] == 8
    assert application["left_out"] == {
        "activation pending": 1,
        "reserve key": 2,
        "the same device again": 1,
        "not a device of this server": 1,
    }
    assert application["rows"] == application["counted_rows"] + 5
    assert application["unknown_devices"] == ["UNKNOWN-0009"]
    left = {
        device["name"]: device["reason"]
        for device in application["devices"]
        if not device["counted"]
    }
    assert left["WORKSTATION-0001"] == "activation pending"
    assert left["ELSEWHERE"] == "not a device of this server"
    keys = {key["serial"]: key["reason"] for key in application["keys"]}
    assert keys[contoso.first_key.serial] == "subscription"
    assert "trial key" in keys.values()


def test_explain_says_the_same_in_words_and_as_csv(operator: Operator):
    contoso = _mixed(operator)

    table = operator.run("explain", "contoso", "--devices")
    assert table.code == 0
    for text in (
        "13 rows = 8 counted + 1 activation pending + 1 not a device of this server",
        "+ 2 reserve key + 1 the same device again",
        "activation pending",
        contoso.first_key.serial,
    ):
        assert text in _flat(table.out)
    rows = list(
        csv.DictReader(io.StringIO(operator.run("explain", "Contoso", "--format", "csv").out))
    )
    names = {value for row in rows for value in row.values()}
    assert {"WORKSTATION-0001", "SERVER-0006", "LINUX-0008", "ELSEWHERE"} <= names


def test_a_past_run_still_lists_devices_that_are_gone(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=40)
    operator.sync()
    gone = {device.name for device in contoso.remove_devices(4)}
    contoso.add_devices("linux", 2)
    operator.next_night(7)
    operator.sync()

    then, now = _explained(operator, "--run", "1"), _explained(operator)

    def names(document: dict) -> set[str]:
        (application,) = document["tenants"][0]["applications"]
        return {device["name"] for device in application["devices"] if device["counted"]}

    assert len(names(then)) == 40
    assert gone <= names(then)
    assert not gone & names(now)
    (application,) = now["tenants"][0]["applications"]
    assert (len(application["came"]), len(application["went"])) == (2, 4)
    table = operator.run("explain", "Contoso", "--run", "1", "--devices")
    assert all(name in table.out for name in gone)
    assert then["lines"][0]["quantity"] == 40
    assert now["lines"][0]["quantity"] == 38


def test_explain_shows_what_stands_between_the_count_and_the_bill(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=44)
    operator.sync()
    contoso.remove_devices(30)
    held = operator.sync()
    plan_id = held.company("Contoso")["plan_id"]

    now = _flat(operator.run("explain", "Contoso").out)

    assert f"! billed 44, counted 14: on hold (decrease), kisi sync --accept {plan_id}" in now
    assert [line["after"] for line in _explained(operator)["held"]] == [14]
    assert "on hold" not in operator.run("explain", "Contoso", "--run", "1").out
    operator.sync("--accept", plan_id)
    assert "on hold" not in operator.run("explain", "Contoso").out


def test_explain_answers_for_the_agreement_that_is_billed_now(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=9)
    operator.sync()
    before = contoso.agreement_id
    _change_agreement(operator, contoso)
    operator.next_night()
    operator.sync()

    now, then = _explained(operator), _explained(operator, "--run", "1")

    assert (now["agreement"], then["agreement"]) == (str(contoso.agreement_id), str(before))
    assert then["lines"][0]["quantity"] == 9
    told = _flat(operator.run("explain", "conto").out)
    assert f"on agreement {before})" in told
    assert "! billed 9, mapped no more: on hold (orphaned)," in told


def test_two_clients_of_one_name_are_still_two(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso North", workstations=9)
    operator.client("Contoso South", workstations=9)
    operator.sync()

    assert "2 clients match 'contoso'" in operator.run("explain", "contoso").err


def test_explain_says_why_devices_left_and_when_each_was_last_seen(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=3)
    fabrikam = operator.client("Fabrikam", workstations=3)
    first, second, _ = contoso.devices()
    first.last_visible = operator.world.now() - timedelta(days=40)
    operator.sync()
    second.name = f"{first.name}~~10281"
    fabrikam.first_key.end_date_type = EndDateType.LIMITED
    fabrikam.first_key.limit_date = operator.world.now() - timedelta(hours=1)
    operator.sync()

    told = _flat(operator.run("explain", "Contoso", "--devices").out)
    assert f"Counted twice? {first.name} and {second.name}: installed anew" in told
    assert "2026-09-04" in told
    (application,) = _explained(operator)["tenants"][0]["applications"]
    assert len(application["doubles"]) == 2
    assert "2026-09-04" in {one["last_seen"] for one in application["devices"]}
    gone = _flat(operator.run("explain", "Fabrikam").out)
    assert f"its key {fabrikam.first_key.serial} does not count any more: expired" in gone
    rows = csv.DictReader(
        io.StringIO(operator.run("explain", "Fabrikam", "--format", "csv").out, newline="")
    )
    assert {row["reason"] for row in rows if row["kind"] == "went"} == {
        f"its key {fabrikam.first_key.serial} does not count any more: expired"
    }


def test_before_the_first_run_explain_says_what_to_do(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    early = operator.run("explain", "Contoso")
    assert early.code == 3
    assert "The journal knows no client yet" in early.err
    assert "Run `kisi sync` first" in early.err


def test_explain_names_what_it_does_not_know(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=40)
    operator.sync()

    unknown = operator.run("explain", "Kontoso")
    assert unknown.code == 3
    assert "Did you mean Contoso?" in unknown.err
    later = operator.run("explain", "Contoso", "--run", "99")
    assert later.code == 3
    assert "99" in later.err


# --- check --------------------------------------------------------------------------------------


def test_check_finds_everything_that_is_wrong_at_once(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    good = operator.run("check")
    assert (good.code, good.requests) == (0, ())
    assert not operator.state.exists()

    operator.by_hand()
    (operator.folder / "secrets" / "ksc-password").chmod(0o644)
    with operator.config.open("a", encoding="utf-8") as file:
        file.write('[guards]\nadoption = "hold"\n')
    mapping = operator.folder / "mapping.toml"
    text = mapping.read_text(encoding="utf-8").replace("agreement =", "agreements =")
    mapping.write_text(text, encoding="utf-8")

    bad = operator.run("check")
    assert (bad.code, bad.requests) == (3, ())
    for words in ("[guards] adoption", "agreements", *(() if WINDOWS else ("chmod 600",))):
        assert words in _flat(bad.out + bad.err)


def test_check_online_of_a_good_installation_finds_nothing_and_writes_nothing(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)

    result = operator.run("check", "--online")

    assert result.code == 0
    assert operator.world.lines == {}
    assert not operator.state.exists()
    assert operator.sandbox.ksc_server.fingerprint in result.out.replace("\n", "").replace(" ", "")
    assert result.err.endswith(". Next: kisi preview\n")
    operator.by_hand()
    (operator.folder / "mapping.toml").unlink()
    assert operator.run("check").err.endswith(". Next: kisi check --online\n")
    assert operator.run("check", "--online").err.endswith(". Next: kisi map\n")


def test_check_online_asks_to_pin_only_a_certificate_that_is_not_trusted_yet(operator: Operator):
    operator.by_hand()
    assert ", which is pinned." in _flat(operator.run("check", "--online").out)
    old = operator.sandbox.ksc_server.fingerprint
    _rotate(operator, operator.client("Contoso"))
    result = operator.run("check", "--online")
    told = _flat(result.out)
    assert result.code == 4
    assert "which is pinned" not in told
    new = operator.sandbox.ksc_server.fingerprint
    assert f"another certificate than the one that is pinned: was {old}, is now {new}" in told
    assert "If it was not, somebody may be between: change nothing." in told
    assert told.count("klserver.cer") == 1


def test_a_new_server_gets_one_line_to_paste_that_makes_it_trusted(operator: Operator, monkeypatch):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    operator.by_hand()
    monkeypatch.setenv("COLUMNS", "80")
    file = operator.folder / "kisi.toml"
    pinned = file.read_text(encoding="utf-8")
    line = f'fingerprints = ["{operator.sandbox.ksc_server.fingerprint}"]'
    file.write_text(pinned.replace(line, "# no pin"), encoding="utf-8")

    result = operator.run("check", "--online")

    assert result.code == 4
    (shown,) = (x.strip() for x in result.out.splitlines() if x.strip().startswith("fingerprints"))
    told = _flat(result.out)
    assert "is not trusted yet. Nothing was sent, no password either." in told
    assert told.count("klserver.cer") == told.count("put this line into [sources.hq]") == 1
    file.write_text(pinned.replace(line, shown), encoding="utf-8")
    assert operator.run("check", "--online").code == 0


def _break_password(operator: Operator, _: Client) -> None:
    operator.sandbox.ksc.account.password = "changed"


def _rotate(operator: Operator, _: Client) -> None:
    operator.sandbox.ksc_server.present(Certificate.make())


def _disable(_: Operator, contoso: Client) -> None:
    contoso.server.enabled = False


def _take_rights(operator: Operator, _: Client) -> None:
    operator.sandbox.cw.rights.clear()


def _delete_agreement(operator: Operator, contoso: Client) -> None:
    del operator.world.agreements[contoso.agreement_id]


def _delete_product(operator: Operator, _: Client) -> None:
    operator.world.catalog.clear()


def _deactivate_product(operator: Operator, _: Client) -> None:
    for item in operator.world.catalog.values():
        item.inactive = True


def _give_away(operator: Operator, contoso: Client) -> None:
    contoso.agreement.company_id = operator.world.company("Somebody Else").id


CHECKS: dict[str, tuple[Situation, int, str]] = {
    "password changed": (_break_password, 4, "login was refused"),
    "certificate changed": (_rotate, 4, "sha256:"),
    "tenant gone": (lambda operator, one: operator.world.servers.remove(one.server), 4, "Contoso"),
    "tenant disabled": (_disable, 4, "disabled"),
    "no rights in ConnectWise": (_take_rights, 5, "permission"),
    "agreement gone": (_delete_agreement, 6, "does not exist"),
    "agreement of another company": (_give_away, 6, "Somebody Else"),
    "product gone": (_delete_product, 6, "1201"),
}


@pytest.mark.parametrize(("spoil", "code", "words"), CHECKS.values(), ids=CHECKS)
def test_check_online_says_what_a_run_would_stumble_over(
    operator: Operator, spoil: Situation, code: int, words: str
):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=3)
    operator.client("Fabrikam", workstations=3)
    operator.by_hand()
    spoil(operator, contoso)

    before = dict(operator.world.lines)
    result = operator.run("check", "--online")

    assert result.code == code
    assert words in _flat(result.out)
    assert operator.world.lines == before


def _store_elsewhere(_: Operator, contoso: Client) -> None:
    contoso.first_key.installed = False


def _end_soon(operator: Operator, contoso: Client) -> None:
    contoso.agreement.end_date = operator.world.today + timedelta(days=50)


def _expire_soon(operator: Operator, contoso: Client) -> None:
    contoso.first_key.end_date_type = EndDateType.LIMITED
    contoso.first_key.limit_date = operator.world.now() + timedelta(days=9)


WARNINGS: dict[str, tuple[Situation, str]] = {
    "key on the main server": (_store_elsewhere, "reported_keys"),
    "agreement that ends soon": (_end_soon, "2026-12-03"),
}


@pytest.mark.parametrize(("arrange", "words"), WARNINGS.values(), ids=WARNINGS)
def test_check_online_warns_of_what_will_bill_too_little(
    operator: Operator, arrange: Situation, words: str
):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=3)
    arrange(operator, contoso)

    result = operator.run("check", "--online")

    assert result.code == 0
    assert words in _flat(result.out)


def test_check_online_measures_the_clocks(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    real = operator.world.now
    operator.sandbox.ksc_server._sockets.now = lambda: real() + timedelta(minutes=20, seconds=30)

    result = operator.run("check", "--online")

    assert result.code == 4
    assert "clock is 20 minutes behind that of sources.hq" in _flat(result.out)


def test_check_prints_the_schema_of_kisi_toml(operator: Operator):
    result = operator.run_bare("check", "--schema")

    schema = json.loads(result.out)
    assert result.code == 0
    assert {"sources", "psa", "counting", "guards", "notify"} <= set(schema["properties"])
    assert APPLICATION not in result.out


def test_a_held_day_that_nobody_accepted_before_the_next_one_stays_a_gap(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=20)
    contoso.exceptions.append({"application": APPLICATION, "count": "average"})
    for devices in (20, 5, 20):
        contoso.remove_devices(len(contoso.devices()) - devices)
        contoso.add_devices(n=max(devices - len(contoso.devices()), 0))
        operator.sync()
        operator.next_night()
    days = "14: 20 · 15: not {} · 16: 20"
    explained = " ".join(operator.run("explain", "Contoso").out.split())
    assert days.format("read") in explained
    assert days.format("known") in " ".join(operator.run("statement", "Contoso").out.split())
    (line,) = json.loads(operator.run("statement", "Contoso", "--json").out)["lines"]
    shown = {one["date"]: one["quantity"] for one in line["days"]}
    assert [shown[f"2026-10-{day}"] for day in (14, 15, 16)] == [20, None, 20]
    assert [*contoso.quantities.values()] == [20]
