"""Whatever a client sends, a simulated vendor refuses in its own words: no request is a bug here.

The vendors are called without sockets, so that what one fails to foresee is raised in the test.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from email.message import Message
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.psa.tigerpaw.wire import envelope, signed_headers
from kisi.sandbox.connectwise import ConnectWise
from kisi.sandbox.http import Exchange, Reply
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.tigerpaw import SOAP_PATH, Tigerpaw
from kisi.sandbox.world import World
from tests.unit.sandbox.conftest import NOW

ODD = [
    *(float("nan"), float("inf"), "NaN", "Infinity", 1e308, 10**400, -1, 0, 2.5, True, None),
    *("", "x", "7", "9" * 5000, "\ud800", "2026-13-11T14:32:00Z", "0000-01-01T00:00:00Z", [], {}),
    *([None], [{}], {"type": "params"}, {"id": []}, {"value": {"Name": 1}}, [{"op": []}]),
]
VALUES = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
BODIES = (
    b"",
    b"{",
    b"\xff\xfe\xff",
    b"[" * 100_000,
    b'{"a":' * 9_000,
    b"9" * 9_000,
    b"NaN",
    b"[1e999]",
    b"0",
)


class NoWire:
    """A connection on which nothing is sent."""

    close_connection = False
    request = None

    def __init__(self) -> None:
        self.memory: dict[str, Any] = {}

    def date_time_string(self) -> str:
        return ""

    def put(self, data: bytes) -> None:
        raise AssertionError(data)

    def reset_on_close(self) -> None:
        raise AssertionError

    def wait(self, seconds: float) -> bool:
        raise AssertionError(seconds)


def exchange(method: str, target: str, headers: Mapping[str, str], body: object) -> Exchange:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange(method, target, message, sent, NoWire())


def strict(reply: Reply | None) -> Any:
    """The answer's JSON; NaN and Infinity are none."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert reply is not None
    return json.loads(reply.body, parse_constant=refuse) if reply.body else None


# --- ConnectWise ------------------------------------------------------------------------------

CW_FIELDS = [
    *("product", "quantity", "lessIncluded", "unitPrice", "billCustomer", "effectiveDate"),
    *("cancelledDate", "description", "serialNumber", "sequenceNumber", "taxableFlag"),
    *("customFields", "opportunity", "uom", "agreementStatus", "nothing", "company/id"),
]
CW_QUERIES = [
    *("page=0", f"page={'9' * 5000}", "pageId=x", "pageSize=-1", "fields=id,company,company/id/x"),
    *("orderBy=sequenceNumber", "orderBy=,,%20,id%20x%20y", f"conditions={'(' * 5000}"),
    *("conditions=quantity>[2026-01-01]", "conditions=description%20like%20'[z-a]*'"),
]


def connectwise(method: str, path: str, body: object = b"") -> Reply:
    world = World(lambda: NOW)
    world.product("KES-WS", 4.5)
    world.add_line(world.client("Contoso").agreement_id, 1201, 5).other["sequenceNumber"] = 1
    cw = ConnectWise(world)
    member = f"{cw.company}+{cw.public_key}:{cw.private_key}".encode()
    headers = {
        "Authorization": f"Basic {base64.b64encode(member).decode()}",
        "clientId": cw.client_id,
        "Content-Type": "application/json",
    }
    asked = exchange(method, f"/v4_6_release/apis/3.0/finance/agreements{path}", headers, body)
    cw.handle(asked)
    assert asked.reply is not None
    assert asked.reply.status < 500
    strict(asked.reply)
    return asked.reply


@given(st.dictionaries(st.sampled_from(CW_FIELDS), VALUES), st.booleans())
def test_connectwise_refuses_or_keeps_any_addition(fields: dict[str, Any], complete: bool):
    required = {"product": {"id": 1201}, "billCustomer": "Billable"} if complete else {}
    connectwise("POST", "/1042/additions", required | fields)
    connectwise("PUT", "/1042/additions/90001", required | fields)


@given(st.sampled_from(CW_FIELDS) | VALUES, VALUES, st.sampled_from(["replace", "remove", [], 1]))
def test_connectwise_refuses_or_carries_out_any_operation(path: object, value: object, op: object):
    operation = {"op": op, "path": path, "value": value}
    connectwise("PATCH", "/1042/additions/90001", [operation])
    connectwise("PATCH", "/1042/additions/90001", value)


@pytest.mark.parametrize("query", CW_QUERIES)
def test_connectwise_refuses_or_answers_any_query(query: str):
    connectwise("GET", f"/1042/additions?{query}")
    connectwise("GET", f"?{query}")


@pytest.mark.parametrize("body", BODIES)
def test_connectwise_refuses_what_is_no_json(body: bytes):
    assert connectwise("POST", "/1042/additions", body).status == 400
    assert connectwise("GET", f"/{'9' * 5000}").status == 404


# --- Kaspersky Security Center ----------------------------------------------------------------

LISTING = {"pFields": [], "pFieldsToOrder": [], "pOptions": {}, "lTimeoutSec": 900}
HOSTS = {"wstrFilter": "", "vecFieldsToReturn": [], "lMaxLifeTime": 60}
KSC_CALLS: dict[str, dict[str, Any]] = {
    "VServers.GetVServers": {"lParentGroup": -1},
    "HostGroup.GetStaticInfo": {"pValues": []},
    "LicenseKeys.EnumKeys": LISTING,
    "LicenseKeys.AcquireKeyHosts": {"pInData": {"KLLIC_SERIAL": ""}, **LISTING},
    "GroupSyncIterator.GetNextItems": {"szwIterator": "keys", "nCount": 1},
    "GroupSyncIterator.ReleaseIterator": {"szwIterator": ""},
    "HostGroup.FindHosts": {**HOSTS, "vecFieldsToOrder": [], "pParams": {}},
    "ChunkAccessor.GetItemsChunk": {"strAccessor": "hosts", "nStart": 0, "nCount": 1},
    "ChunkAccessor.Release": {"strAccessor": ""},
    "Session.Ping": {},
}


def ksc(method: str, body: object) -> dict[str, Any]:
    server = Ksc(World(lambda: NOW))
    server.world.client("Contoso", workstations=2)
    session = server.sessions.start(server.world.servers[0], NOW, {})
    headers = {"X-KSC-Session": session.token}

    def call(name: str, arguments: object) -> dict[str, Any]:
        asked = exchange("POST", f"/api/v1.0/{name}", headers, arguments)
        server.handle(asked)
        assert asked.reply is not None
        assert asked.reply.status == 200
        answer: dict[str, Any] = strict(asked.reply)
        return answer

    if isinstance(body, dict):
        opened = {
            "keys": call("LicenseKeys.EnumKeys", LISTING)["wstrIterator"],
            "hosts": call("HostGroup.FindHosts", HOSTS)["strAccessor"],
        }
        body = {
            name: opened.get(value, value) if isinstance(value, str) else value
            for name, value in body.items()
        }
    return call(method, body)


@given(st.data())
def test_the_administration_server_answers_any_argument(data: st.DataObject):
    method = data.draw(st.sampled_from(sorted(KSC_CALLS)))
    arguments = KSC_CALLS[method]
    wrong = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(arguments, VALUES)))
    assert isinstance(ksc(method, arguments | wrong), dict)


@pytest.mark.parametrize("name", ["X", {}, {"value": {}}, {"type": "params", "value": {"Name": 1}}])
def test_an_order_that_is_not_one_is_bad_format(name: object):
    answer = ksc("HostGroup.FindHosts", {**HOSTS, "vecFieldsToOrder": [name]})
    assert answer["PxgError"]["code"] == 1192


@pytest.mark.parametrize(
    "wrong",
    [{"nStart": -1}, {"nCount": -1}, {"nStart": 2**31}, {"nCount": 1.5}, {"strAccessor": None}],
)
def test_what_is_no_part_of_a_list_is_bad_format(wrong: dict[str, object]):
    arguments = KSC_CALLS["ChunkAccessor.GetItemsChunk"] | wrong
    assert ksc("ChunkAccessor.GetItemsChunk", arguments)["PxgError"]["code"] == 1192


@pytest.mark.parametrize("body", BODIES[1:])
def test_the_administration_server_calls_anything_else_bad_format(body: bytes):
    assert ksc("Session.Ping", body)["PxgError"]["code"] == 1192


# --- Tigerpaw ---------------------------------------------------------------------------------

SEARCHES = ["accounts/search", "agreements/search", "pricebook/items/search"]
CRITERION = {"SearchType": "AccountName", "MatchType": "Contains", "Criteria": "con"}


def tigerpaw() -> Tigerpaw:
    world = Tigerpaw(lambda: NOW)
    world.charge(world.agreement(world.account("Contoso")), world.item("KES-WS", 4.5), 5)
    return world


def search(world: Tigerpaw, path: str, body: object) -> Reply:
    headers = signed_headers(*world.keys, "POST", f"/api/{path}", NOW)
    asked = exchange("POST", f"/api/{path}", headers, body)
    world.handle(asked)
    assert asked.reply is not None
    assert asked.reply.status in {200, 400}
    strict(asked.reply)
    return asked.reply


@given(
    st.sampled_from(SEARCHES),
    st.fixed_dictionaries(
        {"Criteria": VALUES | st.lists(st.just(CRITERION) | VALUES, max_size=2)},
        optional={"PageSize": VALUES, "StartRow": VALUES},
    ),
    st.dictionaries(st.sampled_from(sorted(CRITERION)), VALUES),
)
def test_tigerpaw_refuses_or_carries_out_any_search(
    path: str, body: dict[str, Any], wrong: dict[str, Any]
):
    search(tigerpaw(), path, body)
    search(tigerpaw(), path, {"Criteria": [CRITERION | wrong]})


@pytest.mark.parametrize("path", SEARCHES)
@pytest.mark.parametrize("body", [*BODIES, b"{}", b"[]", b'{"Criteria": []}'])
def test_tigerpaw_refuses_a_search_for_nothing(path: str, body: bytes):
    assert search(tigerpaw(), path, body).status == 400


CHARGE = {"DetailId": "", "ItemId": "KES-WS", "Quantity": "7", "Price": "4.5"}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9) | st.sampled_from(
    [*("2.5", "x", "NaN", "inf", "1e999", "²", "9" * 5000, "-1", "", "1_0", "30001", "true")]
)


def submit(world: Tigerpaw, *charges: Mapping[str, str], agreement: str = "7001") -> Reply:
    lines = "".join(
        "<AdditionalCharge>"
        + "".join(f"<{name}>{escape(text)}</{name}>" for name, text in charge.items())
        + "</AdditionalCharge>"
        for charge in charges
    )
    number = f"<AgreementNumber>{escape(agreement)}</AgreementNumber>"
    inner = f"<AgreementAdditionalCharges>{number}{lines}</AgreementAdditionalCharges>"
    return send(world, envelope(*world.soap_login, inner).encode())


def send(world: Tigerpaw, body: bytes) -> Reply:
    action = "http://www.tigerpawsoftware.com/SubmitAgreementAdditionalCharges"
    headers = {"SOAPAction": f'"{action}"', "Content-Type": "text/xml"}
    asked = exchange("POST", SOAP_PATH, headers, body)
    world.handle(asked)
    assert asked.reply is not None
    ET.fromstring(asked.reply.body)
    assert (asked.reply.status == 500) is (b"<soap:Fault>" in asked.reply.body)
    return asked.reply


@given(st.dictionaries(st.sampled_from([*CHARGE, "PrintWhenQuantityZero"]), TEXTS), TEXTS)
def test_a_submit_is_carried_out_whole_or_not_at_all(wrong: dict[str, str], agreement: str):
    world = tigerpaw()
    answer = submit(world, CHARGE, CHARGE | wrong)
    done = b"<Success>true</Success>" in answer.body
    updates = bool((CHARGE | wrong)["DetailId"].strip())
    assert world.submits == done
    assert len(world.lines) == 1 + (2 - updates) * done
    submit(world, CHARGE, agreement=agreement)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"Quantity": text} for text in ("2.5", "x", "")),
        *({"Price": text} for text in ("x", "NaN")),
        *({"DetailId": "x"}, {"DeleteAfterInvoicing": "x"}),
    ],
)
def test_a_submit_whose_numbers_are_none_is_a_fault_and_commits_nothing(wrong: dict[str, str]):
    world = tigerpaw()
    before = [charge.record() for charge in world.lines.values()]
    answer = submit(world, {**CHARGE, "DetailId": "30001"}, CHARGE | wrong)
    assert answer.status == 500
    assert b"Input string was not in a correct format" in answer.body
    assert [charge.record() for charge in world.lines.values()] == before


@pytest.mark.parametrize("encoding", ["none-such", "utf-16", "utf-32"])
def test_a_document_in_another_encoding_is_a_fault(encoding: str):
    body = f'<?xml version="1.0" encoding="{encoding}"?><a/>'.encode()
    assert send(tigerpaw(), body).status == 500
