"""A client leaves: its lines go to 0 once a person agrees, and who follows it is billed then."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import NOW, Operator

TODAY = NOW.date()


def row(name: str, agreement: int, *tenants: str, company: int = 250, more: str = "") -> str:
    return (
        f"[[company]]\nname = {json.dumps(name)}\ntenants = {json.dumps(tenants)}\n"
        f"company = {company}\nagreement = {agreement}\n{more}\n"
    )


class Desk:
    """An operator with Contoso (6 workstations) and Lab, which has none, in one mapping."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.product = operator.bill_as_one()
        self.contoso = operator.client("Contoso", workstations=6)
        self.lab = operator.client("Lab", mapped=False)
        self.old, self.new = self.contoso.agreement_id, self.lab.agreement_id
        self.tenant = f"hq:{self.contoso.tenant}"
        operator.by_hand()

    def maps(self, *rows: str) -> None:
        head = (
            f'[[application]]\nname = "{APPLICATION}"\n'
            f'[[product]]\napplication = "{APPLICATION}"\nall = {self.product}\n'
        )
        self.file.write_text("\n".join([head, *rows]), encoding="utf-8")

    @property
    def file(self):
        return self.operator.folder / "mapping.toml"

    def contoso_row(self, until: date | None = None) -> str:
        more = f"until = {until}" if until else ""
        return row("Contoso", self.old, self.tenant, more=more)

    def lab_row(self, *tenants: str) -> str:
        tenants = tenants or (self.tenant,)
        return row("Lab", self.new, *tenants, company=self.lab.company_id)

    @property
    def ours(self) -> str:
        """Lab's own tenant is nobody's."""
        return f'[[tenant]]\nid = "hq:{self.lab.tenant}"\nbill = false\n'

    def billed(self, *agreements: int) -> list[list[float]]:
        world = self.operator.world
        return [
            [x.quantity for x in world.additions(a)] for a in agreements or (self.old, self.new)
        ]

    def plan_id(self, name: str) -> str:
        return self.operator.preview().company(name)["plan_id"]


@pytest.fixture
def desk(operator: Operator) -> Desk:
    desk = Desk(operator)
    desk.maps(desk.contoso_row())
    assert operator.sync().code == 0
    return desk


def test_it_leaves_and_who_follows_is_billed_in_the_run_that_releases_it(desk: Desk):
    operator, last = desk.operator, TODAY + timedelta(days=1)
    done = operator.run("map", "leave", "Contoso", "--on", str(last))
    assert done.code == 0
    assert f"until = {last}" in desk.file.read_text(encoding="utf-8")
    added = operator.run(
        *("map", "company", "--tenant", desk.tenant, "--company", str(desk.lab.company_id)),
        *("--agreement", str(desk.new), "--billing", "on"),
    )
    assert added.code == 0, added.err

    for _ in range(2):  # today, and on its last day
        result = operator.sync()
        assert (result.code, desk.billed()) == (0, [[6], []])
        assert result.company("Lab")["status"] == "off"
        operator.next_night()
    for _ in range(3):  # nobody releases it
        result = operator.sync()
        assert (result.code, desk.billed()) == (6, [[6], []])
        assert set(result.holds("Contoso").values()) == {"left"}
        assert set(result.holds("Lab").values()) == {"with"}
        operator.next_night()
    plan_id = desk.plan_id("Contoso")
    assert f"kisi sync --accept {plan_id}" in operator.run("preview").out

    result = operator.sync("--accept", plan_id)
    assert (result.code, desk.billed()) == (0, [[0], [6]])
    assert [one.method for one in result.writes] == ["PATCH", "POST"]

    operator.next_night()
    assert (operator.sync().code, desk.billed()) == (0, [[0], [6]])
    listed = operator.run("map", "list")
    assert f"kisi map remove cw:{desk.old}" in listed.out
    assert operator.run("map", "remove", f"cw:{desk.old}").code == 0
    leads = json.loads(operator.run("map", "list", "--unmapped", "--json").out)
    assert "Contoso" not in {one["name"] for one in leads["unmapped"]["accounts"]}
    assert (operator.sync().code, desk.billed()) == (0, [[0], [6]])
    assert operator.run("status", "--ready").code == 0


@pytest.mark.parametrize("days", [40, -31])
def test_a_wrong_clock_hands_no_tenant_on_nor_back(desk: Desk, days: int):
    """Ahead, its last day has not come yet; behind, it has left and somebody else is billed."""
    operator, cw = desk.operator, desk.operator.sandbox.cw_server._sockets
    desk.maps(desk.contoso_row(TODAY + timedelta(days=1)), desk.lab_row())
    if days < 0:
        operator.next_night(2)
        operator.sync()
        assert operator.sync("--accept", desk.plan_id("Contoso")).code == 0
    before = desk.billed()
    assert before == ([[6], []] if days > 0 else [[0], [6]])
    operator.next_night(days)
    cw.now = lambda: datetime.now(UTC) - timedelta(days=days)

    result = operator.sync()

    assert (result.code, desk.billed()) == (6, before)
    assert set(result.holds("Contoso").values()) == {"clock"}
    assert set(result.holds("Lab").values()) <= {"clock"}
    said = " ".join(operator.run("preview").out.split())
    assert "an `until` that decides who has its tenants is between the dates" in said
    assert "--accept" not in said
    assert "Orphaned" not in said
    cw.now = operator.world.now
    operator.next_night(-days)
    assert (operator.sync().code, desk.billed()) == (0, before)


def test_without_anybody_who_follows_its_tenant_is_not_read_and_may_be_gone(desk: Desk):
    desk.maps(desk.contoso_row(TODAY - timedelta(days=1)), desk.lab_row(*_other(desk)))
    desk.contoso.server.enabled = False
    result = desk.operator.sync()
    assert (result.code, desk.billed()) == (6, [[6], [2]])
    assert set(result.holds("Contoso").values()) == {"left"}
    unmapped = {one["name"] for one in result.document["unmapped"]["tenants"]}
    assert unmapped == {"Lab"}  # and not Contoso's, which has left
    result = desk.operator.sync("--accept", result.company("Contoso")["plan_id"])
    assert (result.code, desk.billed()) == (0, [[0], [2]])


def _other(desk: Desk) -> tuple[str]:
    """Another tenant, with two devices."""
    return (f"hq:{desk.operator.client('Third', mapped=False, workstations=2).tenant}",)


def test_a_client_that_left_and_goes_on_using_licences_is_named_until_it_does_not(desk: Desk):
    (other,) = _other(desk)
    third = desk.operator.world.clients[-1]
    billed = row("Third", third.agreement_id, other, company=third.company_id)
    desk.maps(desk.contoso_row(TODAY - timedelta(days=1)), billed, desk.ours)
    result = desk.operator.sync()
    result = desk.operator.sync("--accept", result.company("Contoso")["plan_id"])

    assert (result.code, desk.billed(desk.old)) == (0, [[0]])
    assert result.last_line.endswith("; left and still in use: Contoso.")
    (tenant,) = result.document["unmapped"]["tenants"]
    assert (tenant["client"], tenant["until"]) == ("Contoso", str(TODAY - timedelta(days=1)))
    ready = desk.operator.run("status", "--ready")
    assert ready.code == 6
    assert "left and still in use: Contoso (6 devices); 2 of 2" in " ".join(ready.out.split())
    answer = json.loads(desk.operator.run("status", "--ready", "--json").out)["ready"]
    (told,) = answer["unmapped_tenants"]
    assert (answer["ready"], told["client"], told["devices"]) == (False, "Contoso", 6)
    assert "Contoso" in desk.operator.run("status").out
    leads = json.loads(desk.operator.run("map", "list", "--unmapped", "--json").out)["unmapped"]
    assert leads["tenants"] == []  # it is no sales lead

    desk.contoso.server.enabled = False
    result = desk.operator.sync()
    assert (result.code, result.document["unmapped"]["tenants"]) == (0, [])
    assert desk.operator.run("status", "--ready").code == 0


def test_where_it_has_another_row_its_tenant_is_that_ones(desk: Desk):
    gone = desk.contoso_row(TODAY - timedelta(days=1))
    desk.maps(gone, desk.lab_row() + "billing = false\n", desk.ours)
    result = desk.operator.sync()
    result = desk.operator.sync("--accept", result.company("Contoso")["plan_id"])
    assert (result.code, result.document["unmapped"]["tenants"]) == (0, [])


def test_a_line_that_kisi_never_wrote_is_brought_to_0_too(desk: Desk):
    other = desk.operator.client("Third", mapped=False, workstations=2)
    desk.operator.world.add_line(other.agreement_id, desk.product, 5)
    tenant = f"hq:{other.tenant}"
    gone = f"until = {TODAY - timedelta(days=1)}"
    desk.maps(
        desk.contoso_row(),
        row("Third", other.agreement_id, tenant, company=other.company_id, more=gone),
        desk.lab_row(tenant),
    )
    result = desk.operator.sync()
    assert (result.code, desk.billed(other.agreement_id, desk.new)) == (6, [[5], []])
    assert set(result.holds("Third").values()) == {"left"}
    result = desk.operator.sync("--accept", result.document["plan_id"])
    assert (result.code, desk.billed(other.agreement_id, desk.new)) == (0, [[0], [2]])


def test_where_its_agreement_has_ended_it_is_done_and_who_follows_waits_for_nothing(desk: Desk):
    desk.operator.world.agreements[desk.old].end_date = TODAY - timedelta(days=1)
    desk.maps(desk.contoso_row(TODAY - timedelta(days=1)), desk.lab_row())
    result = desk.operator.sync()
    assert (result.code, desk.billed()) == (0, [[6], [6]])  # the 6 of an agreement that has ended
    assert result.company("Contoso")["lines"] == []
    assert f"kisi map remove cw:{desk.old}" in desk.operator.run("map", "list").out


def test_in_a_run_of_its_own_who_follows_waits_for_the_line_of_who_left(desk: Desk):
    desk.maps(desk.contoso_row(TODAY - timedelta(days=1)), desk.lab_row())
    result = desk.operator.sync("--only", "Lab")
    assert (result.code, desk.billed()) == (6, [[6], []])
    assert set(result.holds("Lab").values()) == {"elsewhere"}
    result = desk.operator.sync("--only", "Contoso")
    plan_id = result.company("Contoso")["plan_id"]
    result = desk.operator.sync("--only", "Contoso", "--accept", plan_id)
    assert (result.code, desk.billed()) == (0, [[0], []])
    assert (desk.operator.sync("--only", "Lab").code, desk.billed()) == (0, [[0], [6]])


def test_where_its_line_cannot_be_written_nothing_is_billed_twice(desk: Desk):
    desk.maps(desk.contoso_row(TODAY - timedelta(days=1)), desk.lab_row())
    desk.operator.sandbox.faults.add("status", match="PATCH *", code=400)
    plan_id = desk.plan_id("Contoso")
    assert (desk.operator.sync("--accept", plan_id).code, desk.billed()) == (7, [[6], []])
    assert (desk.operator.sync().code, desk.billed()) == (0, [[0], [6]])


def test_of_two_clients_with_a_tenant_one_must_leave_and_not_on_the_same_day(desk: Desk):
    last = TODAY + timedelta(days=3)
    desk.maps(desk.contoso_row(), desk.lab_row())
    assert desk.operator.sync().code == 3
    both = desk.lab_row() + f"until = {last}\n"
    desk.maps(desk.contoso_row(last), both)
    assert desk.operator.sync().code == 3
    desk.maps(desk.contoso_row(last - timedelta(days=1)), both)
    assert desk.operator.sync().code == 0
    assert desk.billed() == [[6], []]


def test_the_status_says_from_which_day_on_a_prepared_row_is_billed(desk: Desk):
    last = TODAY + timedelta(days=3)
    desk.maps(desk.contoso_row(last), desk.lab_row())
    begins = f"billed from {last + timedelta(days=1)} on"
    for before in (True, False):
        told = desk.operator.run("status", "--format", "json").out
        states = {one["name"]: one["state"] for one in json.loads(told)["clients"]}
        assert states == {"Contoso": "up to date", "Lab": begins}, f"before a run: {before}"
        assert desk.operator.sync().code == 0
    assert begins in desk.operator.run("status", "-v").out


@pytest.mark.parametrize("value", ['"2026-11-30"', "2026-11-30T10:00:00", "20261130", "true"])
def test_a_last_day_is_a_day(desk: Desk, value: str):
    desk.maps(row("Contoso", desk.old, desk.tenant, more=f"until = {value}"))
    result = desk.operator.run("check")
    assert (result.code, "until: This must be a day" in result.out + result.err) == (3, True)


def test_the_running_period_is_billed_to_its_end_if_that_is_said(desk: Desk):
    invoice = TODAY + timedelta(days=18)
    desk.operator.world.agreements[desk.old].next_invoice_date = invoice
    desk.operator.run("map", "leave", "Contoso", "--bill-period")
    end = invoice - timedelta(days=1)
    assert f"until = {end}" in desk.file.read_text(encoding="utf-8")
    said = desk.operator.run("map", "leave", "Contoso", "--on", str(TODAY))
    assert f"not to its end, {end}" in said.err
    assert f"until = {TODAY}" in desk.file.read_text(encoding="utf-8")
    assert desk.operator.run("map", "leave", "Contoso", "--undo").code == 0
    assert "until" not in desk.file.read_text(encoding="utf-8")


def test_what_is_switched_off_or_missing_leads_to_leaving_it(desk: Desk):
    here = f"kisi map leave cw:{desk.old}"
    desk.contoso.server.enabled = False
    assert here in desk.operator.run("preview").out
    assert here in desk.operator.run("map", "list", "--stale").out
    desk.contoso.server.enabled = True
    assert here in desk.operator.run("map", "billing", "Contoso", "off").err
    refused = desk.operator.run("map", "leave", "Contoso")
    assert refused.code == 3
    assert f"Set them to 0 on agreement {desk.old} in psa.cw" in refused.err
    desk.operator.run("map", "billing", "Contoso", "on")
    assert here in desk.operator.run("map", "remove", "Contoso").err


def test_two_companies_were_merged(desk: Desk):
    world = desk.operator.world
    del world.companies[desk.contoso.company_id]
    world.agreements[desk.old].company_id = desk.lab.company_id
    remedy = f"kisi map company cw:{desk.old} --company {desk.lab.company_id}"
    assert remedy in desk.operator.run("map", "list", "--stale").out
    assert (desk.operator.sync().code, desk.billed(desk.old)) == (6, [[6]])
    assert remedy in desk.operator.run("preview").out
    assert desk.operator.run(*remedy.split()[1:]).code == 0
    desk.contoso.add_devices(n=1)
    assert (desk.operator.sync().code, desk.billed(desk.old)) == (0, [[7]])


# --- never billed -----------------------------------------------------------------------------------


def test_a_tenant_that_is_never_billed_is_listed_and_not_reported(desk: Desk):
    ours = f"hq:{desk.lab.tenant}"
    assert "1 tenant unmapped" in desk.operator.sync().last_line
    assert ours in desk.operator.run("status").out
    ignored = desk.operator.run("map", "ignore", ours, "--note", "our own")
    assert (ignored.code, f'"{ours}" is never billed (our own)' in ignored.err) == (0, True)
    result = desk.operator.sync()
    assert (result.code, "unmapped" in result.last_line) == (0, False)
    assert result.document["unmapped"]["tenants"] == []
    assert "never billed: our own" in desk.operator.run("map", "list").out
    unmapped = desk.operator.run("map", "list", "--unmapped").out
    assert ours not in unmapped
    assert desk.operator.run("map", "ignore", ours, "--undo").code == 0
    assert "1 tenant unmapped" in desk.operator.sync().last_line
    assert desk.operator.run("map", "ignore", ours, "--undo").code == 3


def test_a_tenant_is_billed_or_never_billed(desk: Desk):
    before = desk.file.read_bytes()
    refused = desk.operator.run("map", "ignore", desk.tenant)
    assert (refused.code, "is never billed" in refused.err) == (3, True)
    assert desk.file.read_bytes() == before
    with desk.file.open("a", encoding="utf-8") as file:
        file.write(f'[[tenant]]\nid = "{desk.tenant}"\nbill = false\n')
    assert desk.operator.sync().code == 3
    assert desk.operator.run("map", "ignore", "hq:nobody").code == 3


def test_the_table_of_the_mapping_keeps_both(desk: Desk):
    (ours,) = _other(desk)
    desk.operator.run("map", "ignore", ours, "--note", "our own")
    desk.operator.run("map", "leave", "Contoso", "--on", "2026-12-31")
    table = desk.operator.folder / "mapping.csv"
    desk.operator.run("map", "export", "--output", str(table))
    before = desk.file.read_text(encoding="utf-8")
    desk.operator.run("map", "ignore", ours, "--undo")
    desk.operator.run("map", "leave", "Contoso", "--undo")
    assert desk.operator.run("map", "import", str(table)).code == 0
    assert desk.file.read_text(encoding="utf-8") == before


def test_lines_of_a_removed_client_are_not_those_of_who_is_given_its_tenant_and_is_off(desk: Desk):
    """Its units bill on, and nobody answers for them."""
    more = "billing = false"
    (other,) = _other(desk)
    third = desk.operator.world.clients[-1]
    desk.maps(
        row("Lab", desk.new, desk.tenant, company=desk.lab.company_id, more=more),
        row("Third", third.agreement_id, other, company=third.company_id),
    )

    assert desk.operator.sync().code == 0
    assert desk.billed() == [[6], []]
    ready = desk.operator.run("status", "--ready")
    assert ready.code == 6
    assert "not mapped any more and still billed: Contoso (6 units" in " ".join(ready.out.split())


def test_lines_of_a_removed_client_are_not_managed_by_hand_by_who_is_given_its_tenant(desk: Desk):
    (other,) = _other(desk)
    third = desk.operator.world.clients[-1]
    more = f'[[company.product]]\napplication = "{APPLICATION}"\nbill = false'
    desk.maps(
        row("Lab", desk.new, desk.tenant, company=desk.lab.company_id, more=more),
        row("Third", third.agreement_id, other, company=third.company_id),
    )

    result = desk.operator.sync()
    assert (result.code, desk.billed()) == (6, [[6], []])
    (line,) = result.company("Lab")["lines"]
    assert (line["agreement"], line["before"], line["after"]) == (str(desk.old), 6, 0)
    assert line["hold"]["guard"] == "orphaned"
    ready = desk.operator.run("status", "--ready")
    assert "Lab (held: orphaned, 6 units, 18.00 EUR a month)" in " ".join(ready.out.split())
    assert ready.code == 6
    assert "(-6, -18.00 EUR a month)" in desk.operator.run("status").out

    result = desk.operator.sync("--accept", result.company("Lab")["plan_id"])
    assert (result.code, desk.billed()) == (0, [[0], []])
    assert desk.operator.run("status", "--ready").code == 0


def test_a_client_that_is_off_on_another_agreement_of_its_company_answers_for_its_line(desk: Desk):
    (other,) = _other(desk)
    third = desk.operator.world.clients[-1]
    desk.maps(
        row("Contoso", desk.new, desk.tenant, more="billing = false"),
        row("Third", third.agreement_id, other, company=third.company_id),
    )

    assert desk.operator.sync().code == 0
    assert desk.billed() == [[6], []]
    assert desk.operator.run("status", "--ready").code == 0


def test_lines_of_a_row_that_begins_later_are_not_ready(desk: Desk):
    """Lab has Contoso's next tenant until then: Contoso's own line bills on meanwhile."""
    later = TODAY + timedelta(days=5)
    (other,) = _other(desk)
    until = f"until = {later}"
    desk.maps(
        row("Lab", desk.new, other, company=desk.lab.company_id, more=until),
        row("Contoso", desk.old, other),
    )
    desk.operator.sync()
    assert desk.billed(desk.old) == [[6]]
    assert desk.operator.run("status", "--ready").code == 6
