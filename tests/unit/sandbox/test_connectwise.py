from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
import requests

from kisi.sandbox import Sandbox
from kisi.sandbox.connectwise_lists import Gateway
from tests.specs import interface_description
from tests.unit.sandbox.conftest import Clock, CwClient

TODAY = "2026-11-21T00:00:00Z"


@pytest.fixture
def contoso(sandbox: Sandbox):
    sandbox.world.product("KES-WS", 4.5)
    return sandbox.world.client("Contoso", workstations=1)


def errors(answer) -> tuple[int, str, str, str]:
    body = answer.json()
    assert body["message"] == "Addition object is invalid"
    first = body["errors"][0]
    return answer.status_code, body["code"], first["code"], first["field"]


# --- the door ---------------------------------------------------------------------------------


def test_wrong_credentials_are_401_or_404_as_the_cloud_likes_it(sandbox, cw):
    cw.http.auth = ("acme+SandboxPublicKey", "wrong")

    assert cw.get("finance/agreements/count").status_code == 401
    sandbox.cw.hides_bad_logins = True
    assert cw.get("finance/agreements/count").status_code == 404


def test_a_missing_client_id_is_a_matter_of_security(cw):
    del cw.http.headers["clientId"]

    answer = cw.get("finance/agreements")

    assert (answer.status_code, answer.json()["code"]) == (403, "Security")


def test_a_read_only_member_reads_but_does_not_write(sandbox, cw, contoso):
    sandbox.cw.read_only()

    refused = cw.post(contoso.agreement_id, product={"id": 1201}, billCustomer="Billable")

    assert cw.get("finance/agreements/count").json() == {"count": 1}
    assert refused.status_code == 403
    assert refused.json() == {
        "code": "Security",
        "message": "You do not have security permission to perform this action.",
        "errors": None,
    }
    assert contoso.additions == []


def test_system_info_proves_nothing_because_it_needs_no_login(cw):
    cw.http.auth = None

    assert cw.get("system/info").json()["version"].startswith("v2026.4")


def test_the_codebase_is_told_without_login_and_other_ones_are_not_found(sandbox, cw):
    def get(path: str):
        return cw.http.get(f"{cw.url}/{path}", timeout=10)

    assert get("login/companyinfo/ACME").json()["Codebase"] == "v2026_4/"
    assert get("login/companyinfo/other").json() is None
    assert get("v2026_4/apis/3.0/finance/agreements/count/").json() == {"count": 0}
    assert get("v2017_3/apis/3.0/finance/agreements/count").status_code == 404
    assert get("finance/agreements").status_code == 404


def test_the_pinned_version_comes_back_and_every_answer_has_a_request_id(cw):
    accept = {"Accept": "application/vnd.connectwise.com+json; version=2022.1"}

    pinned = cw.send("GET", "finance/agreements", headers=accept)
    newest = cw.get("finance/agreements")

    assert pinned.headers["Content-Type"] == (
        "application/vnd.connectwise.com+json; version=2022.1"
    )
    assert newest.headers["Content-Type"].startswith("application/json")
    assert pinned.headers["x-cw-request-id"] != newest.headers["x-cw-request-id"]


def test_unknown_resources_records_and_methods_have_their_own_status(cw, contoso):
    additions = f"finance/agreements/{contoso.agreement_id}/additions"

    assert cw.get("service/tickets").status_code == 404
    assert cw.get("finance/invoices").status_code == 404
    assert cw.get("finance/agreements/9/additions").status_code == 404
    assert cw.get(f"{additions}/9").status_code == 404
    assert cw.send("DELETE", f"{additions}/9").status_code == 404
    assert cw.send("POST", "finance/agreements", json={}).status_code == 405
    assert cw.send("PATCH", additions, json=[]).status_code == 405
    assert cw.send("POST", additions, data="x").status_code == 415
    json_type = {"Content-Type": "application/json"}
    assert cw.send("POST", additions, data="{", headers=json_type).status_code == 400


# --- lists ------------------------------------------------------------------------------------


def test_a_page_has_25_records_unless_asked_and_1000_at_most(sandbox, cw):
    for number in range(1010):
        sandbox.world.company(f"Company {number}")

    assert len(cw.get("company/companies").json()) == 25
    assert len(cw.get("company/companies", pagesize=5000).json()) == 1000
    assert len(cw.get("company/companies", PageSize=500, page=3).json()) == 10
    assert cw.get("company/companies", page=99, pageSize=500).json() == []
    assert cw.get("company/companies", page="two").status_code == 400


def test_navigable_lists_link_to_their_neighbours_but_not_beyond_the_ends(sandbox, cw):
    for number in range(30):
        sandbox.world.company(f"Company {number}")
    asked = {"pageSize": 10, "conditions": "deletedFlag=false"}

    first, middle, last = (cw.get("company/companies", page=n, **asked) for n in (1, 2, 3))

    assert set(first.links) == {"first", "next", "last"}
    assert set(middle.links) == {"first", "prev", "next", "last"}
    assert set(last.links) == {"first", "prev", "last"}
    assert cw.http.get(middle.links["next"]["url"], timeout=10).json() == last.json()


def test_a_gateway_shortens_pages_and_takes_headers_away(sandbox, cw):
    ids = [sandbox.world.company(f"Company {number}").id for number in range(3)]
    cw.http.headers["pagination-type"] = "forward-only"

    sandbox.cw.gateway = Gateway(page_cap=2)
    capped = cw.get("company/companies", pageSize=1000)
    sandbox.cw.gateway = Gateway(page_cap=2, strips_link=True)
    stripped = cw.get("company/companies", pageSize=1000)
    sandbox.cw.gateway = Gateway(page_cap=2, drops_paging=True)
    numbered = cw.get("company/companies", pageSize=1000)

    for answer in (capped, stripped, numbered):
        assert [row["id"] for row in answer.json()] == ids[:2]
    assert f"pageId={ids[1]}" in capped.links["next"]["url"]
    assert "Link" not in stripped.headers
    assert "page=2" in numbered.links["next"]["url"]


@pytest.mark.parametrize("link_at_end", [False, True])
def test_forward_only_lists_go_on_after_an_id_in_the_order_of_ids(sandbox, cw, link_at_end):
    ids = [sandbox.world.company(f"Company {number}").id for number in range(5)]
    sandbox.cw.gateway = Gateway(link_at_end=link_at_end)
    cw.http.headers["pagination-type"] = "Forward-Only"

    first = cw.get("company/companies", pageSize=3, orderBy="id desc", page=2)
    second = cw.get("company/companies", pageSize=3, pageId=first.json()[-1]["id"])

    assert [row["id"] for row in first.json() + second.json()] == ids
    assert f"pageId={ids[2]}" in first.links["next"]["url"].replace("pageid", "pageId")
    assert ("next" in second.links) is link_at_end
    assert "Link" in second.headers


def test_lists_are_ordered_as_asked(sandbox, cw):
    for name in ("B", "C", "A"):
        sandbox.world.company(name)
    sandbox.world.product("cheap", 1)
    sandbox.world.product("dear", 10)
    sandbox.world.product("middle", 2)

    companies = cw.get("company/companies", orderby="deletedFlag asc, name desc").json()
    catalog = cw.get("procurement/catalog", orderBy="price DESC").json()

    assert [row["name"] for row in companies] == ["C", "B", "A"]
    assert [row["identifier"] for row in catalog] == ["dear", "middle", "cheap"]


def test_chosen_fields_come_alone_and_info_only_if_it_is_named(cw, contoso):
    path = f"finance/agreements/{contoso.agreement_id}"

    assert "_info" in cw.get(path).json()
    chosen = cw.get(path, fields="id,company/id, company/name,endDate,nothing").json()
    assert chosen == {"id": 1042, "company": {"id": 250, "name": "Contoso"}}
    assert "_info" in cw.get("finance/agreements", fields="id,_info").json()[0]


def test_nulls_are_left_out_and_status_follows_the_day(sandbox: Sandbox, cw: CwClient, contoso):
    agreement = contoso.agreement
    record = cw.get("finance/agreements/1042").json()
    assert "endDate" not in record
    assert record["noEndingDateFlag"] is True
    assert record["agreementStatus"] == "Active"
    assert record["nextInvoiceDate"] == "2026-12-01T00:00:00Z"

    agreement.end_date = date(2026, 11, 20)
    assert cw.get("finance/agreements/1042").json()["agreementStatus"] == "Expired"
    agreement.start_date, agreement.end_date = date(2026, 12, 1), None
    assert cw.get("finance/agreements/1042").json()["agreementStatus"] == "Inactive"
    agreement.cancelled, agreement.parent_id = True, 7
    record = cw.get("finance/agreements/1042").json()
    assert (record["agreementStatus"], record["parentAgreement"]) == ("Cancelled", {"id": 7})


def test_conditions_select_and_bad_ones_are_refused(sandbox, cw, contoso):
    sandbox.world.client("Fabrikam")
    asked = {"conditions": 'id in (1042, 7) and agreementStatus = "active"'}

    assert [row["id"] for row in cw.get("finance/agreements", **asked).json()] == [1042]
    assert cw.get("finance/agreements/count", **asked).json() == {"count": 1}
    for conditions in (
        "nothing=1",
        "id=",
        "id in (1",
        'id > "x" )',
        "startDate > [soon]",
        "id > [2026-01-01]",
    ):
        answer = cw.get("finance/agreements", conditions=conditions)
        assert (answer.status_code, answer.json()["code"]) == (400, "ConnectWiseApi")
    assert cw.get("finance/agreements", childConditions="id=1").status_code == 501
    assert cw.get("finance/agreements", recordType="x", childConditions="").status_code == 200


# --- additions --------------------------------------------------------------------------------


def test_a_created_addition_comes_back_with_what_the_server_computes(cw, contoso):
    answer = cw.post(
        contoso.agreement_id,
        product={"id": 1201},
        quantity="7.5",
        lessIncluded=1,
        billCustomer="Billable",
        effectiveDate=TODAY,
        serialNumber="x",
        extPrice=1000,
        unheardOf=1,
    )

    assert answer.status_code == 201
    made = answer.json()
    assert made["quantity"] == 7.5
    assert (made["billedQuantity"], made["extPrice"], made["unitPrice"]) == (6.5, 29.25, 4.5)
    assert made["agreementStatus"] == "Active"
    assert made["product"]["identifier"] == "KES-WS"
    assert (made["serialNumber"], made["_info"]["updatedBy"]) == ("x", "SandboxPublicKey")
    assert "cancelledDate" not in made
    assert contoso.quantities == {1201: 7.5}


def test_nothing_protects_an_agreement_from_doubled_lines(cw, contoso):
    for _ in range(2):
        cw.post(contoso.agreement_id, product={"identifier": "KES-WS"}, billCustomer="Billable")

    assert len(contoso.additions) == 2
    assert contoso.additions[0].effective_date == datetime(2026, 11, 21, tzinfo=UTC)
    with pytest.raises(AssertionError, match="two lines"):
        _ = contoso.quantities


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"billCustomer": "Billable"}, "MissingRequiredField", "product"),
        ({"product": {"id": 1201}}, "MissingRequiredField", "billCustomer"),
        ({"product": {"id": 1}, "billCustomer": "Billable"}, "InvalidReference", "product"),
        ({"product": {"id": 1202}, "billCustomer": "Billable"}, "InvalidValue", "product"),
        ({"product": {"id": 1201}, "billCustomer": "Yes"}, "InvalidValue", "billCustomer"),
        (
            {"product": {"id": 1201}, "billCustomer": "Billable", "quantity": True},
            "InvalidValue",
            "quantity",
        ),
        (
            {"product": {"id": 1201}, "billCustomer": "Billable", "quantity": "many"},
            "InvalidValue",
            "quantity",
        ),
    ],
)
def test_invalid_additions_are_refused_with_the_field(sandbox, cw, contoso, body, code, field):
    sandbox.world.product("BUNDLE", product_class="Bundle")

    answer = cw.post(contoso.agreement_id, **body)

    assert errors(answer) == (400, "InvalidObject", code, field)
    assert contoso.additions == []


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-21",
        "2026-11-21T00:00:00.000Z",
        "2026-11-21T00:00:00-04:00",
        "2026-13-11T14:32:00Z",
        20261121,
    ],
)
def test_dates_not_in_plain_utc_are_an_unsupported_format(cw, contoso, written):
    answer = cw.post(
        contoso.agreement_id,
        product={"id": 1201},
        billCustomer="Billable",
        effectiveDate=written,
    )

    assert errors(answer) == (400, "InvalidObject", "UnsupportedFormat", "effectiveDate")


def test_a_date_before_the_billing_start_is_refused_also_when_only_the_quantity_changes(
    sandbox, cw, contoso
):
    contoso.agreement.bill_start_date = date(2026, 11, 22)
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)

    created = cw.post(
        contoso.agreement_id, product={"id": 1201}, billCustomer="Billable", effectiveDate=TODAY
    )
    patched = cw.patch(contoso.agreement_id, line.id, ("quantity", 6))

    for answer in (created, patched):
        assert errors(answer)[3] == "effectiveDate"
        assert "billing start date" in answer.json()["errors"][0]["message"]
    assert line.quantity == 5


def test_a_date_in_an_invoiced_period_is_refused_unless_the_agreement_prorates(cw, contoso):
    contoso.agreement.invoiced_through = date(2026, 11, 30)
    body = {"product": {"id": 1201}, "billCustomer": "Billable", "effectiveDate": TODAY}

    assert cw.post(contoso.agreement_id, **body).status_code == 201
    contoso.agreement.prorate = False
    refused = cw.post(contoso.agreement_id, **body)
    later = cw.post(contoso.agreement_id, **body | {"effectiveDate": "2026-12-01T00:00:00Z"})

    assert "already been invoiced" in refused.json()["errors"][0]["message"]
    assert later.status_code == 201


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("quantity", "NaN", "InvalidValue"),
        ("quantity", "Infinity", "InvalidValue"),
        ("quantity", "1_0", "InvalidValue"),
        ("quantity", "1e999", "InvalidValue"),
        ("quantity", True, "InvalidValue"),
        ("quantity", "many", "InvalidValue"),
        ("quantity", 10**400, "InvalidValue"),
        ("quantity", 1e300, "OutOfRange"),
        ("billCustomer", [], "InvalidValue"),
        ("serialNumber", "x" * 51, "MaxLength"),
        ("serialNumber", 7, "InvalidValue"),
        ("taxableFlag", "yes", "InvalidValue"),
        ("customFields", {}, "InvalidValue"),
        ("opportunity", 7, "InvalidValue"),
    ],
)
def test_values_that_a_field_cannot_hold_are_refused_and_nothing_changes(
    sandbox, cw, contoso, field, value, code
):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)

    answer = cw.patch(contoso.agreement_id, line.id, ("description", "new"), (field, value))

    assert errors(answer) == (400, "InvalidObject", code, field)
    assert (line.quantity, line.description, line.other) == (5, "KES-WS", {})


def test_references_are_kept_without_what_is_nested_in_them(sandbox, cw, contoso):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    written = {"id": 3, "name": "Spring", "_info": {"opportunity_href": "x"}}

    kept = cw.patch(
        contoso.agreement_id,
        line.id,
        ("opportunity", written),
        ("customFields", [{"id": 1, "value": "x"}]),
        ("serialNumber", "x" * 50),
        *((field, None) for field in ("taxableFlag", "uom", "invoiceGrouping")),
    ).json()

    assert kept["opportunity"] == {"id": 3, "name": "Spring"}
    assert (kept["customFields"], kept["serialNumber"]) == ([{"id": 1, "value": "x"}], "x" * 50)
    assert kept.keys().isdisjoint({"taxableFlag", "uom", "invoiceGrouping"})
    cleared = cw.patch(contoso.agreement_id, line.id, ("customFields", None)).json()
    assert "customFields" not in cleared


@pytest.mark.parametrize("path", ["quantity", "/quantity"])
def test_a_patch_sets_the_quantity_and_answers_with_the_whole_record(sandbox, cw, contoso, path):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)

    answer = cw.patch(contoso.agreement_id, line.id, (path, "9"), ("effectiveDate", None))

    assert (answer.status_code, answer.json()["quantity"]) == (200, 9.0)
    assert answer.json()["product"]["id"] == 1201
    assert "effectiveDate" not in answer.json()
    assert contoso.quantities == {1201: 9.0}


def test_a_patch_inside_a_reference_is_answered_with_200_and_does_nothing(sandbox, cw, contoso):
    other = sandbox.world.product("OTHER")
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)

    answer = cw.patch(contoso.agreement_id, line.id, ("product/id", other.id))

    assert (answer.status_code, answer.json()["product"]["id"]) == (200, 1201)


def test_fields_are_case_sensitive_and_a_refused_patch_changes_nothing(sandbox, cw, contoso):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    where = (contoso.agreement_id, line.id)

    assert errors(cw.patch(*where, ("quantity", 6), ("Quantity", 7)))[2:] == (
        "InvalidField",
        "Quantity",
    )
    assert cw.patch(*where, {"op": "move", "path": "quantity"}).status_code == 400
    path = "finance/agreements/{}/additions/{}".format(*where)
    assert cw.send("PATCH", path, json={"quantity": 7}).status_code == 400
    assert cw.send("PATCH", path, json=[{"op": "replace"}]).status_code == 400
    assert contoso.quantities == {1201: 5}
    assert cw.patch(*where, {"op": "remove", "path": "quantity"}).json()["billedQuantity"] == 0


def test_put_resets_what_is_not_sent_and_delete_leaves_nothing(sandbox, cw, contoso):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    line.less_included, line.cancelled_date = 2, sandbox.world.now()
    path = f"finance/agreements/{contoso.agreement_id}/additions/{line.id}"

    put = cw.send(
        "PUT",
        path,
        json={"product": {"id": 1201}, "billCustomer": "NoCharge", "description": "new"},
    ).json()
    assert (put["id"], put["quantity"], put["lessIncluded"]) == (line.id, 1.0, 0.0)
    assert (put["description"], put["billCustomer"]) == ("new", "NoCharge")
    assert "cancelledDate" not in put
    assert cw.send("PUT", path, json=[]).status_code == 400

    gone = cw.send("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert contoso.additions == []


def test_cancelled_additions_are_listed_and_say_so_from_their_day_on(sandbox, cw, contoso):
    gone = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    gone.cancelled_date = sandbox.world.now()
    later = sandbox.world.add_line(contoso.agreement_id, 1201, 6)
    later.cancelled_date = sandbox.world.now() + timedelta(days=3)
    path = f"finance/agreements/{contoso.agreement_id}/additions"

    rows = cw.get(path).json()
    live = cw.get(path, conditions="cancelledDate = null or cancelledDate > [2026-11-22]").json()

    assert [row["agreementStatus"] for row in rows] == ["Cancelled", "Active"]
    assert [row["id"] for row in live] == [later.id]
    assert cw.get(f"{path}/count", conditions='agreementStatus="Active"').json() == {"count": 1}


def test_an_addition_that_begins_later_is_inactive_until_its_day(sandbox, cw, contoso, clock):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    line.effective_date = sandbox.world.now() + timedelta(days=1)
    path = f"finance/agreements/{contoso.agreement_id}/additions/{line.id}"

    assert cw.get(path).json()["agreementStatus"] == "Inactive"
    contoso.agreement.cancelled = True
    assert cw.get(path).json()["agreementStatus"] == "Cancelled"
    contoso.agreement.cancelled = False
    clock.now += timedelta(days=1)
    assert cw.get(path).json()["agreementStatus"] == "Active"


def test_a_quantity_can_be_rounded_or_capped_by_the_server(sandbox, cw, contoso):
    sandbox.cw.writer.keep_quantity = lambda quantity: min(quantity, 50.0)

    answer = cw.post(
        contoso.agreement_id, product={"id": 1201}, billCustomer="Billable", quantity=90
    )

    assert answer.json()["quantity"] == 50


def test_reads_can_lag_behind_writes_for_some_reads(sandbox, cw, contoso):
    sandbox.cw.lag(reads=2)
    path = f"finance/agreements/{contoso.agreement_id}/additions"

    made = cw.post(contoso.agreement_id, product={"id": 1201}, billCustomer="Billable").json()
    single = cw.get(f"{path}/{made['id']}")
    counts = [len(cw.get(path).json()) for _ in range(2)]

    assert single.status_code == 404
    assert counts == [0, 1]


def test_reads_can_lag_behind_writes_for_some_time(
    sandbox: Sandbox, cw: CwClient, contoso, clock: Clock
):
    line = sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    sandbox.cw.lag(seconds=3)
    path = f"finance/agreements/{contoso.agreement_id}/additions/{line.id}"

    assert cw.patch(contoso.agreement_id, line.id, ("quantity", 6)).json()["quantity"] == 6
    assert cw.get(path).json()["quantity"] == 5
    clock.now += timedelta(seconds=3)
    assert cw.get(path).json()["quantity"] == 6


def test_reads_can_lag_behind_a_single_write_whose_answer_is_lost(
    sandbox: Sandbox, cw: CwClient, contoso, clock: Clock
):
    match = "POST */finance/agreements/*/additions"
    sandbox.faults.add("twist", match=match, lag=14)
    sandbox.faults.add("lost", match=match)
    path = f"finance/agreements/{contoso.agreement_id}/additions"

    with pytest.raises(requests.ConnectionError):
        cw.post(contoso.agreement_id, product={"id": 1201}, billCustomer="Billable")

    clock.now += timedelta(seconds=13)
    assert cw.get(path).json() == []
    clock.now += timedelta(seconds=1)
    assert [line["product"]["id"] for line in cw.get(path).json()] == [1201]


def test_a_lost_answer_leaves_the_addition_behind(sandbox, cw, contoso):
    sandbox.faults.add("lost", match="POST */finance/agreements/*/additions")

    with pytest.raises(requests.ConnectionError):
        cw.post(contoso.agreement_id, product={"id": 1201}, billCustomer="Billable")

    assert len(contoso.additions) == 1
    assert [logged.status for logged in sandbox.requests(method="POST")] == [None]


def test_every_field_is_one_of_the_interface_description(sandbox, cw, contoso):
    schemas = interface_description("connectwise.openapi")["components"]["schemas"]
    sandbox.world.add_line(contoso.agreement_id, 1201, 5)
    lists = {
        "Agreement": "finance/agreements",
        "Addition": f"finance/agreements/{contoso.agreement_id}/additions",
        "Company": "company/companies",
        "CatalogItem": "procurement/catalog",
    }

    for schema, path in lists.items():
        record = cw.get(path).json()[0]
        assert record.keys() <= schemas[schema]["properties"].keys()
        assert set(schemas[schema]["required"]) <= record.keys()
