"""Count policies at the command line: what the PSA holds, night by night, against a count apart."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import NOW, Operator

FIRST = NOW.date()
"""2026-10-14: the invoice period has begun on the 1st, before kisi did."""


def billed_by(operator: Operator, policy: str, n: int = 90, **more: Any) -> Client:
    client = operator.client(more.pop("name", policy.replace(":", " ")), workstations=n, **more)
    client.exceptions.append({"application": APPLICATION, "count": policy})
    return client


def units(client: Client) -> float | None:
    return next(iter(client.quantities.values()), None)


def set_devices(client: Client, n: int) -> None:
    now = len(client.devices())
    if n > now:
        client.add_devices(n=n - now)
    elif n < now:
        client.remove_devices(now - n)


def line_of(operator: Operator, client: Client, *arguments: str) -> Mapping[str, Any]:
    (line,) = operator.preview(*arguments).company(client.name)["lines"]
    return dict(line)


def count_apart(
    policy: str, seen: Mapping[date, int], begins: date, ends: date, held: float | None
) -> float:
    """What a person with a sheet of paper bills in the last night of `seen`."""
    mine = [(day, number) for day, number in seen.items() if day >= begins]
    within = [number for day, number in mine if day < ends]
    if policy == "today":
        return mine[-1][1]
    if policy == "peak":
        return max(within)
    if policy == "average":
        whole, rest = divmod(sum(within), len(within))
        return whole + (1 if 2 * rest >= len(within) else 0)
    wanted = begins
    while wanted.day != int(policy[4:]):
        wanted += timedelta(days=1)
    for day, number in mine:
        if day >= wanted:
            return number
    return mine[-1][1] if held is None else held


POLICIES = ("today", "peak", "average", "day:20")


@pytest.mark.slow
def test_five_weeks_night_by_night_under_each_policy(operator: Operator):
    """Through the end of summer time and an invoice made five days late; one month is 15/15.

    Two nights have no run, in one the server of one client does not answer.
    """
    operator.bill_as_one()
    clients = {policy: billed_by(operator, policy, 60) for policy in POLICIES}
    clients["peak "] = billed_by(operator, "peak", 60, name="Mid-month")
    clients["peak "].agreement.next_invoice_date = date(2026, 11, 15)
    seen: dict[str, dict[date, int]] = {key: {} for key in clients}
    wobble, today = random.Random(16), FIRST
    for _ in range(37):
        skipped, failing = today in {date(2026, 10, 20), date(2026, 11, 3)}, today.day == 27
        if today == date(2026, 11, 6):  # five days late
            for key, client in clients.items():
                if key != "peak ":
                    client.agreement.next_invoice_date = date(2026, 12, 1)
        if today == date(2026, 11, 15):
            clients["peak "].agreement.next_invoice_date = date(2026, 12, 15)
        for key, client in clients.items():
            set_devices(client, 60 + wobble.randint(-4, 4))
            client.server.enabled = not (failing and key == "average")
        if not skipped:
            before = {key: units(client) for key, client in clients.items()}
            result = operator.sync()
            assert result.code == (4 if failing else 0), result.err
            for key, client in clients.items():
                if client.server.enabled:
                    seen[key][today] = len(client.devices())
                    turned, first = today >= date(2026, 11, 6), 1
                    if key == "peak ":
                        turned, first = today >= date(2026, 11, 15), 15
                    month = 11 if turned else 10
                    begins, ends = date(2026, month, first), date(2026, month + 1, first)
                    begins = min(begins, today)
                    wanted = count_apart(key.strip(), seen[key], begins, ends, before[key])
                else:
                    wanted = before[key] or 0
                assert units(client) == wanted, (today, key)
        operator.next_night()
        today += timedelta(days=1)


def test_a_peak_is_billed_until_the_psa_shows_the_next_period(operator: Operator):
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 90)
    operator.sync()
    set_devices(contoso, 95)
    operator.next_night()
    operator.sync()
    set_devices(contoso, 91)
    operator.next_night()

    line = line_of(operator, contoso)

    assert [line[x] for x in ("action", "before", "after", "policy", "counted")] == [
        *("none", 95, 95, "peak", 91)
    ]
    assert (line["period_begins"], line["first_read"]) == ("2026-10-01", "2026-10-14")
    days = {one["date"]: one["quantity"] for one in line["days"]}
    assert [*days.values()] == [None] * 13 + [90, 95, 91]
    text = operator.run("preview", "-v").out
    assert "peak since 2026-10-01" in text
    assert "14: 90" in text
    assert "counted today: 91" in " ".join(text.split())
    assert "no day before 2026-10-14 counts: not all of its tenants had a reading" in " ".join(
        text.split()
    )
    assert operator.sync().code == 0
    operator.next_night(20)
    contoso.agreement.next_invoice_date = date(2026, 12, 1)
    assert operator.sync().code == 0
    assert units(contoso) == 91


def test_an_invoice_that_is_not_made_yet_is_told_wherever_its_number_is(operator: Operator):
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 90)
    operator.move_to(datetime(2026, 10, 31, 6, tzinfo=UTC))
    operator.sync()
    operator.next_night(3)  # its next invoice is that of 2026-11-01
    set_devices(contoso, 95)

    result = operator.sync()

    said = (
        "the invoice of 2026-11-01 has not been made in the PSA; readings since then count for the "
        "next one"
    )
    assert (result.code, units(contoso)) == (0, 90)
    assert result.document["notes"] == [f"peak: {said}."]
    days = {one["date"]: one["quantity"] for one in line_of(operator, contoso)["days"]}
    assert [day for day, number in days.items() if number is not None] == ["2026-10-31"]
    for command in ("preview", "preview -v", "explain peak", "status"):
        assert said in " ".join(operator.run(*command.split()).out.split()), command
    statement = json.loads(operator.run("statement", "peak", "--json").out)["lines"][0]
    assert [statement[x] for x in ("quantity", "period_begins")] == [90, "2026-10-01"]
    assert statement["days"][-1] == {"date": "2026-11-03", "quantity": 95}
    page = " ".join(operator.run("statement", "peak").out.split())
    assert "since the invoice period began (2026-10-01), until the next one (2026-11-01)" in page
    contoso.agreement.next_invoice_date = date(2026, 12, 1)
    operator.next_night()
    result = operator.sync()
    assert (result.code, units(contoso), result.document["notes"]) == (0, 95, [])


def test_a_count_that_falls_is_held_although_the_peak_stays_and_accepted_once(operator: Operator):
    """Guards judge the reading. Accepted, it is no more asked about, not when the period turns."""
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 90)
    operator.sync()
    operator.next_night()
    set_devices(contoso, 20)

    held = operator.sync()

    assert (held.code, units(contoso)) == (6, 90)
    (line,) = held.company(contoso.name)["lines"]
    assert (line["action"], line["counted"], line["after"]) == ("none", 20, 90)
    assert line["hold"]["guard"] == "decrease"
    assert "its count fell by 70 (78 %) from 90" in line["hold"]["reason"]
    ready = operator.run("status", "--ready")
    assert ready.code == 6
    plan_id = held.company(contoso.name)["plan_id"]
    operator.next_night()
    assert operator.preview().company(contoso.name)["plan_id"] == plan_id
    accepted = operator.sync("--accept", plan_id)
    assert (accepted.code, units(contoso)) == (0, 90), accepted.err
    again = operator.sync("--accept", plan_id)
    assert again.code == 6
    assert "was accepted before" in again.err
    operator.next_night()
    assert operator.sync().code == 0
    operator.next_night(20)
    contoso.agreement.next_invoice_date = date(2026, 12, 1)
    assert operator.sync().code == 0
    assert units(contoso) == 20


def test_one_wrong_night_never_poisons_a_period(operator: Operator):
    operator.bill_as_one()
    clients = {policy: billed_by(operator, policy, 40) for policy in POLICIES}
    operator.sync()
    for number in (400, 40):
        operator.next_night()
        for client in clients.values():
            set_devices(client, number)
        assert operator.sync().code == (6 if number == 400 else 0)
    assert {policy: units(client) for policy, client in clients.items()} == dict.fromkeys(
        POLICIES, 40
    )
    days = line_of(operator, clients["average"])["days"]
    assert [one["quantity"] for one in days][-3:] == [40, None, 40]


def test_before_its_day_another_quantity_is_drift(operator: Operator):
    operator.bill_as_one()
    contoso = billed_by(operator, "day:20", 40)
    operator.sync()
    assert units(contoso) == 40
    operator.next_night()
    set_devices(contoso, 44)
    operator.sync()
    assert units(contoso) == 40
    contoso.additions[0].quantity = 55.0
    operator.next_night()

    held = operator.sync()

    (line,) = held.company(contoso.name)["lines"]
    assert (line["after"], line["counted"], line["hold"]["guard"]) == (40, 44, "drift")
    assert held.code == 6


@pytest.mark.parametrize("policy", POLICIES)
def test_a_tenant_that_moves_takes_its_days_along(operator: Operator, policy: str):
    operator.bill_as_one()
    old, new = billed_by(operator, policy, 50, name="Old"), billed_by(operator, policy, 60)
    plant = operator.world.tenant("Plant", workstations=10)
    old.more_tenants.append(f"hq:{plant.uid}")
    operator.sync()
    assert (units(old), units(new)) == (60, 60)
    operator.next_night()
    old.more_tenants, new.more_tenants = [], old.more_tenants

    operator.sync()

    assert (units(old), units(new)) == (50, 70)


def test_a_changed_policy_holds_nothing(operator: Operator):
    """A peak of long ago is no baseline for a count that has been lower for weeks."""
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 90)
    operator.sync()
    for number in (78, 66, 60, 60):
        operator.next_night(2)
        set_devices(contoso, number)
        result = operator.sync()
        if result.code:
            operator.sync("--accept", result.company(contoso.name)["plan_id"])
    assert units(contoso) == 90
    contoso.exceptions[0]["count"] = "today"
    operator.next_night()
    result = operator.sync()
    assert (result.code, units(contoso)) == (0, 60), result.err
    contoso.exceptions[0]["count"] = "average"
    operator.next_night()
    assert operator.sync().code == 0
    assert units(contoso) == 68  # (90 + 78 + 66 + 60 + 60 + 60 + 60) / 7 = 67.7


NEXT = "Kaspersky Next EDR Optimum"


def test_a_key_that_comes_late_in_the_period(operator: Operator):
    """Nights without it are nights with 0 of it: a mean is over the whole period since kisi came."""
    operator.bill_as_one()
    operator.bill_as_one(NEXT)
    clients = {policy: billed_by(operator, policy, 30) for policy in (*POLICIES, "day:17")}
    for policy, client in clients.items():
        client.exceptions.append({"application": NEXT, "count": policy})
    operator.sync()
    operator.next_night(4)
    for client in clients.values():
        client.key(NEXT, devices=client.devices()[:10])
    assert operator.sync().code == 0
    operator.next_night()
    assert operator.sync().code == 0
    found = {policy: list(client.quantities.values()) for policy, client in clients.items()}
    assert found == {
        "today": [30, 10],
        "peak": [30, 10],
        "average": [30, 7],  # (0 + 10 + 10) / 3
        "day:17": [30, 10],
        "day:20": [30, 10],  # a client without a line is billed today
    }


def test_a_day_is_the_billing_zones_also_when_its_clocks_change(operator: Operator):
    """Berlin's 2026-10-25 has 25 hours, from 22:00 UTC of the day before to 23:00 UTC."""
    operator.bill_as_one()
    contoso = billed_by(operator, "average", 60)
    operator.by_hand()
    text = operator.config.read_text(encoding="utf-8")
    zone = re.sub("^timezone .*$", 'timezone = "Europe/Berlin"', text, flags=re.MULTILINE)
    operator.config.write_text(zone, encoding="utf-8")
    for at, devices, billed in (
        ("2026-10-24T21:30", 60, 60),
        ("2026-10-24T22:30", 62, 61),
        ("2026-10-25T00:30", 63, 62),  # 02:30, and an hour later 02:30 once more: the same day
        ("2026-10-25T01:30", 64, 62),
        ("2026-10-25T22:30", 66, 63),  # 23:30; an hour off, it would be a third day
        ("2026-10-25T23:30", 67, 64),  # (60 + 66 + 67) / 3 = 64.3
    ):
        operator.move_to(datetime.fromisoformat(at).replace(tzinfo=UTC))
        set_devices(contoso, devices)
        result = operator.sync()
        assert (result.code, units(contoso)) == (0, billed), (at, result.err)


def replaced(operator: Operator, *policies: str) -> Mapping[str, Client]:
    """Clients whose 30 devices change their application in the second night, all accepted."""
    operator.bill_as_one()
    operator.bill_as_one(NEXT)
    clients = {policy: billed_by(operator, policy, 30) for policy in policies}
    for policy, client in clients.items():
        client.exceptions.append({"application": NEXT, "count": policy})
    operator.sync()
    operator.next_night()
    for client in clients.values():
        client.first_key.uses.clear()
        client.key(NEXT, devices=client.devices())
    result = operator.sync()
    assert result.code == 6
    operator.sync("--accept", result.document["plan_id"])
    return clients


def total(client: Client) -> float:
    return sum(x or 0 for x in client.quantities.values())


def test_a_replaced_application_is_on_two_lines_under_peak_until_the_turn(operator: Operator):
    clients = replaced(operator, "peak", "average")
    assert {policy: total(client) for policy, client in clients.items()} == {
        "peak": 60,
        "average": 30,
    }
    operator.next_night(20)
    for client in clients.values():
        client.agreement.next_invoice_date = date(2026, 12, 1)
    assert operator.sync().code == 0
    assert {total(client) for client in clients.values()} == {30}


def test_a_replaced_application_waits_while_the_old_line_keeps_its_day(operator: Operator):
    """The id that accepts the fall does not bill the devices twice; it is written by itself."""
    (client,) = replaced(operator, "day:20").values()
    assert total(client) == 30
    for _ in range(2):
        operator.next_night()
        held = operator.sync()
        (hold,) = operator.preview().holds(client.name).values()
        assert (held.code, hold, total(client)) == (6, "lasting", 30)
    operator.next_night(4)
    assert operator.sync().code == 0
    assert sorted(client.quantities.values()) == [0, 30]  # type: ignore[type-var]


def test_a_device_that_went_to_another_client_is_not_on_both_peaks(operator: Operator):
    operator.bill_as_one()
    old, new = billed_by(operator, "peak", 20, name="Old"), billed_by(operator, "peak", 10)
    operator.sync()
    operator.next_night()
    (laptop,) = old.remove_devices(1)
    new.server.devices.append(laptop)
    new.first_key.use(laptop)
    for _ in range(3):
        held = operator.sync()
        assert (held.code, units(old), units(new)) == (6, 20, 10)
        assert list(held.holds(new.name).values()) == ["elsewhere"]
        remedies = [x["hold"]["remedy"] for x in held.company(new.name)["lines"] if x["hold"]]
        assert "wait: this one is written once it comes down" in remedies[0]
        operator.next_night()
    operator.next_night(20)
    for client in (old, new):
        client.agreement.next_invoice_date = date(2026, 12, 1)
    assert operator.sync().code == 0
    assert (units(old), units(new)) == (19, 11)


def test_whoever_takes_over_a_tenant_waits_while_the_one_that_left_keeps_its_number(
    operator: Operator,
):
    operator.bill_as_one()
    old, new = billed_by(operator, "peak", 20, name="Old"), billed_by(operator, "today", 100)
    operator.sync()
    operator.by_hand()
    text = (operator.folder / "mapping.toml").read_text(encoding="utf-8")
    tenant = f"hq:{old.tenant}"
    text = text.replace('name = "Old"\n', 'name = "Old"\nuntil = 2026-10-15\n')
    own = f'"hq:{new.tenant}"'
    (operator.folder / "mapping.toml").write_text(
        text.replace(f"[{own}]", f'[{own}, "{tenant}"]'), encoding="utf-8"
    )
    operator.next_night(2)
    held = operator.sync()
    assert (held.code, units(old), units(new)) == (6, 20, 100)
    operator.next_night(20)
    for client in (old, new):
        client.agreement.next_invoice_date = date(2026, 12, 1)
    held = operator.sync()
    assert (units(old), units(new)) == (20, 100)
    plan_id = held.company("Old")["plan_id"]
    operator.sync("--accept", plan_id)
    assert (units(old), units(new)) == (0, 120)


NOT_READ = "because not every tenant that the client has now was read then"


@pytest.mark.parametrize("policy", ["peak", "average", "day:14"])
def test_days_before_a_tenant_was_first_read_are_gaps_and_it_is_said_once(
    operator: Operator, policy: str
):
    """A branch is added to the row, and cannot be read at first: the line stays meanwhile."""
    operator.bill_as_one()
    contoso = billed_by(operator, policy, 21)
    operator.sync()
    set_devices(contoso, 19)
    branch = operator.world.tenant("Branch", workstations=5)
    branch.enabled = False
    contoso.more_tenants.append(f"hq:{branch.uid}")
    before = 21
    for _ in range(2):
        operator.next_night()
        assert (operator.sync().code, units(contoso)) == (4, before)
    branch.enabled = True
    operator.next_night()

    result = operator.sync()

    assert (result.code, units(contoso)) == (0, 24), result.err
    said = f"{contoso.name}: days before 2026-10-17 do not count for `{policy}`, {NOT_READ}."
    assert said in result.document["notes"]
    operator.next_night()
    result = operator.sync()
    assert (result.code, units(contoso)) == (0, 24), result.err
    assert said not in result.document["notes"]


def test_a_virtual_server_that_was_made_anew_takes_no_days_along_and_it_is_said(
    operator: Operator,
):
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 40)
    operator.sync()
    operator.next_night()
    set_devices(contoso, 35)
    operator.sync()
    assert units(contoso) == 40
    contoso.server.uid = "VSRV-RESTORED"
    operator.next_night()

    result = operator.sync()

    assert (result.code, units(contoso)) == (0, 35), result.err
    (note,) = [note for note in result.document["notes"] if NOT_READ in note]
    assert note == f"peak: days before 2026-10-16 do not count for `peak`, {NOT_READ}."


def test_a_tenant_that_comes_after_the_end_of_a_period_changes_nothing_of_it(operator: Operator):
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 40)
    operator.sync()
    operator.next_night()
    set_devices(contoso, 35)
    operator.sync()
    operator.next_night(19)
    branch = operator.world.tenant("Branch", workstations=2)
    contoso.more_tenants.append(f"hq:{branch.uid}")
    for _ in range(2):
        result = operator.sync()
        assert (result.code, units(contoso)) == (0, 40), result.err
        operator.next_night()
    contoso.agreement.next_invoice_date = date(2026, 12, 1)
    assert (operator.sync().code, units(contoso)) == (0, 37)


def test_explain_and_statement_show_the_policy_and_its_days(operator: Operator):
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 90)
    billed_by(operator, "average", 5)
    operator.sync()
    contoso.additions[0].unit_price = 2.0
    set_devices(contoso, 95)
    operator.next_night()
    operator.sync()
    set_devices(contoso, 91)
    operator.next_night()
    operator.sync()

    explained = operator.run("explain", "peak")
    told = json.loads(operator.run("explain", "peak", "--json").out)["lines"][0]
    first = json.loads(operator.run("explain", "peak", "--run", "1", "--json").out)["lines"][0]
    statement = json.loads(operator.run("statement", "peak", "--json").out)["lines"][0]
    page = operator.run("statement", "peak").out

    assert "peak since 2026-10-01" in explained.out
    assert (told["policy"], told["counted"], told["quantity"]) == ("peak", 91, 95)
    assert [one["quantity"] for one in told["days"]][-3:] == [90, 95, 91]
    assert (first["counted"], [one["quantity"] for one in first["days"]][-1]) == (90, 90)
    assert (statement["policy"], statement["quantity"], statement["amount"]) == ("peak", 95, 190)
    assert statement["period_begins"] == "2026-10-01"
    assert [one["quantity"] for one in statement["days"]][-3:] == [90, 95, 91]
    assert "the highest number since the invoice period began (2026-10-01)" in page
    assert re.search(r" 14 to 16$", page, re.MULTILINE)
    assert re.search(r"11 +15$", page, re.MULTILINE)  # there on one day
    average = " ".join(operator.run("statement", "average").out.split())
    assert "the mean, rounded half up, of the days since the invoice period began (2026" in average


def test_a_statement_has_what_the_psa_held_at_the_end_whatever_the_policy(operator: Operator):
    """Somebody's number is invoiced; once the line is kisi's again, or was not read, the peak."""
    operator.bill_as_one()
    contoso = billed_by(operator, "peak", 95)
    operator.sync()
    set_devices(contoso, 93)
    contoso.additions[0].quantity = 70.0
    operator.next_night()
    held = operator.sync()

    def told() -> list[Any]:
        line = json.loads(operator.run("statement", "peak", "--json").out)["lines"][0]
        return [line["quantity"], line["policy"], line["period_begins"]]

    assert told() == [70, "today", None]
    assert operator.sync("--accept", held.company("peak")["plan_id"]).code == 0
    operator.next_night()
    contoso.server.enabled = False
    operator.sync()
    assert told() == [95, "peak", "2026-10-01"]
