from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import requests

from kisi.psa.tigerpaw.wire import envelope, load_template, render, signed_headers
from kisi.sandbox.configuration import write
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Server
from kisi.sandbox.tigerpaw import SOAP_PATH, Tigerpaw, company_row, product_row
from tests.conftest import WINDOWS
from tests.specs import interface_description

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
ACTION = '"http://www.tigerpawsoftware.com/SubmitAgreementAdditionalCharges"'


class Bench:
    """A simulated Tigerpaw, its server, and a client of one's own."""

    def __init__(self) -> None:
        self.world = Tigerpaw(now=lambda: NOW)
        self.faults = Faults()
        self.server: Server = self.world.serve(faults=self.faults)
        self.session = requests.Session()
        self.session.trust_env = False

    def read(self, path, *, method="GET", at=NOW, keys=None, **options):
        headers = signed_headers(*(keys or self.world.keys), method, path, at)
        return self.session.request(
            method, self.server.url + path, headers=headers, timeout=5, **options
        )

    def submit(self, text, **headers):
        given = {"SOAPAction": ACTION, "Content-Type": "text/xml; charset=utf-8", **headers}
        url = self.server.url + SOAP_PATH
        return self.session.post(url, data=text.encode(), headers=given, timeout=5)

    def charge(self, **values):
        names = ("detail_id", "item_id", "description", "quantity", "price")
        charge = {
            **dict.fromkeys(names, ""),
            "agreement_number": "7001",
            "account_number": "500",
            "print_when_quantity_zero": "false",
            **values,
        }
        inner = render(load_template(None), charge)
        return self.submit(envelope(*self.world.soap_login, inner))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    with bench.server, bench.session:
        yield bench


@pytest.fixture
def agreement(bench):
    bench.world.item("KES-WS", 4.5)
    bench.world.item("OLD", inactive=True)
    agreement = bench.world.agreement(bench.world.account("Contoso"))
    bench.world.charge(agreement, "BACKUP", 5, price=9.0)
    return agreement


def test_a_signed_read_within_a_quarter_of_an_hour_is_answered(bench, agreement):
    path = f"/api/agreements/{agreement.number}/additionalcharges"
    (charge,) = bench.read(path, at=NOW - timedelta(minutes=15)).json()
    assert (charge["SpecialItemId"], charge["Quantity"]) == ("BACKUP", 5)
    assert bench.read(path, params={"x": "not signed"}).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"at": NOW + timedelta(minutes=16)},
        {"at": NOW - timedelta(minutes=16)},
        {"keys": ("11111111-2222-3333-4444-555555555555", "wrong")},
        {"keys": ("wrong", "66666666-7777-8888-9999-000000000000")},
    ],
)
def test_a_wrong_signature_or_an_old_one_is_refused(bench, options):
    assert bench.read("/api/diagnostics/validate/user", **options).status_code == 401


def test_a_request_without_any_signature_is_refused(bench):
    url = bench.server.url + "/api/diagnostics/validate/user"
    endless = "Sat, 21 Nov 2026 20:00:00 +99999999999999"
    for headers in ({}, *({"Authorization": "TSI ?", "X-TSI-Date": at} for at in ("x", endless))):
        assert bench.session.get(url, headers=headers, timeout=5).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/agreements/9999",
        "/api/agreements/9999/additionalcharges",
        "/api/accounts/9999/service/externalproducts",
        "/api/agreements/9999/additionalcharges/30001",
        "/api/agreements/account/9999",
        "/api/pricebook/items/details",
    ],
)
def test_missing_records_are_told_in_either_of_two_ways(bench, path):
    assert bench.read(path).status_code == 404
    bench.world.soft_errors = True
    answer = bench.read(path)
    assert (answer.status_code, answer.json()["Success"]) == (200, False)


def test_what_the_interface_does_not_have_is_a_violation(bench):
    assert bench.read("/api/agreements/1/additionalcharges", method="POST").status_code == 404
    assert bench.world.violations == ["There is no POST /api/agreements/1/additionalcharges."]


def test_single_records_are_read_by_their_numbers(bench, agreement):
    (charge,) = bench.world.charges(agreement)
    item = bench.world.items["KES-WS"]
    path = f"/api/agreements/{agreement.number}/additionalcharges"

    assert bench.read(f"{path}/{charge.id}").json() == charge.record()
    assert bench.read(path).json() == [charge.record()]
    assert bench.read("/api/agreements/9/additionalcharges/30001").status_code == 404
    path = "/api/pricebook/items/details"
    assert bench.read(path, params={"itemId": item.id}).json() == item.details()


def test_an_account_s_agreements_are_all_of_them_or_those_active_today(bench, agreement):
    bench.world.agreement(agreement.account, ends=date(2026, 11, 20))
    bench.world.agreement(agreement.account, starts=date(2026, 11, 22))
    path = "/api/agreements/account/500"

    def numbers(answer):
        return [one["AgreementNumber"] for one in answer.json()["Agreements"]]

    assert numbers(bench.read(path)) == [7001, 7002, 7003]
    assert numbers(bench.read(path, params={"activeOnly": "True"})) == [7001]
    assert bench.read(path).json()["TotalCount"] == 3
    assert bench.read(path, params={"activeOnly": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ([("AccountName", None, "wood")], ["Woodgrove Bank"]),
        ([("AccountName", "EndsWith", "wood")], []),
        ([("AccountName", "EndsWith", "BANK")], ["Woodgrove Bank", "Bank"]),
        ([("AccountName", None, "bank")], ["Bank"]),
        ([("AccountNumber", "Contains", "501")], ["Contoso"]),
        ([("Agreement", None, "7001")], ["Woodgrove Bank"]),
        ([("ExternalId", None, "502-1")], ["Bank"]),
        ([("ExteralProduct", None, "Kasp")], ["Woodgrove Bank", "Contoso"]),
        ([("Email", "Contains", "")], []),
        ([("AccountName", None, "con"), ("AccountName", None, "bank")], ["Contoso", "Bank"]),
        ([("AccountName", "Contains", "bank"), ("AccountNumber", None, "502")], ["Bank"]),
    ],
)
def test_criteria_of_one_type_widen_a_search_and_other_types_narrow_it(bench, criteria, found):
    bench.world.agreement(bench.world.account("Woodgrove Bank"))
    bench.world.account("Contoso")
    bench.world.account("Bank", cross_referenced=False)
    body = {
        "Criteria": [
            {"SearchType": kind, "Criteria": text} | ({"MatchType": match} if match else {})
            for kind, match, text in criteria
        ]
    }
    page = bench.read("/api/accounts/search", method="POST", json=body).json()
    assert [one["Account"]["Name"] for one in page["Accounts"]] == found


@pytest.mark.parametrize(
    "change",
    [{"SearchType": "Colour"}, {"MatchType": "Sounds"}, {"Criteria": 1}, {"SearchType": None}],
)
def test_a_criterion_that_the_interface_does_not_know_is_refused(bench, change):
    criterion = {"SearchType": "AccountName", "Criteria": "x"} | change
    answer = bench.read("/api/accounts/search", method="POST", json={"Criteria": [criterion]})
    assert answer.status_code == 400
    assert answer.json()["Message"]


def test_a_search_gives_pages_of_what_contains_the_text(bench):
    for name in ("Contoso", "Fabrikam", "Conway"):
        bench.world.account(name)
    body = {
        "Criteria": [{"SearchType": "AccountName", "MatchType": "Contains", "Criteria": "con"}],
        "PageSize": 1,
        "StartRow": 2,
    }
    page = bench.read("/api/accounts/search", method="POST", json=body).json()
    assert [one["Account"]["Name"] for one in page["Accounts"]] == ["Conway"]
    assert (page["NextRow"], page["TotalCount"], page["Success"]) == (3, 2, True)


def test_a_submit_makes_a_charge_and_then_updates_it_by_its_id(bench, agreement):
    assert "<Success>true</Success>" in bench.charge(item_id="KES-WS", quantity=90).text
    backup, made = bench.world.charges(agreement)
    assert (made.quantity, made.price, made.source) == (90, 4.5, "API")
    bench.charge(item_id="KES-WS", quantity=80, detail_id=str(made.id), price="4.0")
    assert (made.quantity, made.price, backup.quantity) == (80, 4.0, 5)
    assert bench.world.submits == 2


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"item_id": "NONE", "quantity": 1}, "Item NONE was not found."),
        ({"item_id": "OLD", "quantity": 1}, "Item OLD was not found."),
        ({"item_id": "KES-WS", "quantity": 1, "detail_id": "9"}, "Charge 9 was not found."),
        (
            {"item_id": "KES-WS", "quantity": 1, "agreement_number": "9"},
            "Agreement 9 was not found.",
        ),
        ({"item_id": "KES-WS", "quantity": 1, "agreement_number": ""}, "no agreement number"),
    ],
)
def test_a_submit_that_cannot_be_carried_out_is_refused_in_the_result(
    bench, agreement, values, reason
):
    answer = bench.charge(**values)
    assert answer.status_code == 200
    assert "<Success>false</Success>" in answer.text
    assert reason in answer.text
    assert len(bench.world.charges(agreement)) == 1


@pytest.mark.usefixtures("agreement")
def test_an_account_without_cross_reference_cannot_be_billed(bench):
    bench.world.accounts[500].external_products.clear()
    assert "not cross-referenced" in bench.charge(item_id="KES-WS", quantity=1).text


@pytest.mark.parametrize(
    ("change", "headers", "reason"),
    [
        (("tigerpawsoftware.com/", "tigerpawsoftware.com"), {}, "user name or password"),
        (("", ""), {"SOAPAction": '"urn:x\x01"'}, "SOAPAction: urn:x."),
        (
            ('Charges xmlns="http://www.tigerpawsoftware.com"', 'Charges xmlns="urn:x"'),
            {},
            "Object",
        ),
        (("sandbox-soap-password", "wrong"), {}, "user name or password"),
        (("</soap:Envelope>", ""), {}, "unable to read"),
        (("", ""), {"Content-Type": "application/soap+xml"}, "content type"),
    ],
)
def test_envelope_namespaces_and_login_are_enforced(bench, change, headers, reason):
    text = envelope(*bench.world.soap_login, "<A/>").replace(*change)
    answer = bench.submit(text, **headers)
    assert answer.status_code == 500
    assert reason in answer.text


def test_an_envelope_without_login_or_charge_is_refused(bench):
    text = envelope(*bench.world.soap_login, "<A/>")
    start, end = text.index("<soap:Header>"), text.index("<soap:Body>")
    assert "user name or password" in bench.submit(text[:start] + text[end:]).text
    assert "no charge" in bench.submit(text).text


@pytest.mark.parametrize("switch", [True, False])
def test_a_submit_can_be_made_to_replace_all_charges(bench, agreement, switch):
    if switch:
        bench.world.replace = True
    else:
        bench.faults.add("twist", match=f"POST {SOAP_PATH}", replace=True)
    bench.charge(item_id="KES-WS", quantity=90)
    assert [charge.item for charge in bench.world.charges(agreement)] == ["KES-WS"]


def test_a_client_s_rows_and_section_make_a_configuration(bench, agreement, tmp_path):
    item = bench.world.items["KES-WS"]
    rows = product_row("KES", all=item) + company_row("Contoso", ["hq:VSRV1"], agreement)
    part = bench.world.part(bench.server, mapping=rows)
    config = tomllib.loads(write(tmp_path, [part], "").read_text(encoding="utf-8"))
    assert config["psa"]["tp"]["url"] == bench.server.url
    assert (config["psa"]["tp"]["write"], config["psa"]["tp"]["soap_template_verified"]) == (
        "soap",
        True,
    )
    secret = tmp_path / config["psa"]["tp"]["soap_password"].removeprefix("file:")
    assert secret.read_text() == bench.world.soap_login[1]
    assert stat.S_IMODE(secret.stat().st_mode) & 0o077 == 0 or WINDOWS
    mapping = tomllib.loads((tmp_path / "mapping.toml").read_text(encoding="utf-8"))
    assert mapping["product"] == [{"application": "KES", "psa": "tp", "all": "KES-WS"}]
    assert mapping["company"] == [
        {
            "name": "Contoso",
            "tenants": ["hq:VSRV1"],
            "psa": "tp",
            "company": 500,
            "agreement": 7001,
        }
    ]


def test_the_clock_is_the_real_one_unless_told_otherwise():
    agreement = (world := Tigerpaw()).agreement(world.account("Contoso"), ends=date(2030, 1, 1))
    assert agreement.starts == datetime.now(UTC).date() - timedelta(days=365)


def test_records_have_no_field_that_the_api_does_not_have(bench, agreement):
    models = interface_description("tigerpaw.swagger")["definitions"]
    world = bench.world
    for name, record in {
        "TsiWebAccountSummary": agreement.account.record(),
        "TsiWebAccountExternalProduct": agreement.account.cross_references()[0],
        "TsiWebAgreementSummary": agreement.record(1),
        "TsiWebAccount": agreement.account.record()["Account"],
        "TsiWebPriceBookItemSummary": world.items["OLD"].record(),
        "TsiWebResponse": bench.read("/api/diagnostics/validate/user").json(),
        "TsiWebAgreement": agreement.record(1)["Agreement"],
        "TsiWebAgreementAdditionalCharge": world.charges(agreement)[0].record(),
        "TsiWebPriceBookItemDetail": world.items["OLD"].details(),
        "TsiWebPricingDetail": world.items["OLD"].details()["Pricing"][0],
        "TsiWebExternalProduct": bench.read("/api/mastertables/externalproducts").json()[0],
        "TsiWebProductInformation": bench.read("/api/diagnostics/productInformation").json(),
    }.items():
        assert record.keys() <= models[name]["properties"].keys(), name
