from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import responses

from kisi.model import Action, Agreement, AgreementRef, Category, PlannedLine
from kisi.psa.connectwise import ConnectWiseSettings
from kisi.psa.connectwise.adapter import ConnectWise
from kisi.transport import Limits
from tests.unit.fakes import FakeClock

HOST = "https://api-eu.myconnectwise.net"
API = f"{HOST}/v4_6_release/apis/3.0"
AGREEMENTS = f"{API}/finance/agreements"
ADDITIONS = f"{AGREEMENTS}/1042/additions"
TODAY = date(2026, 11, 21)
NIGHT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
SECRETS = {"public_key": "PUB", "private_key": "PRIV", "client_id": "a-client-id"}
REF = AgreementRef("cw", "250", "1042")
AGREEMENT = Agreement(REF, name="Managed Security")
NO_RIGHT = {
    "code": "Security",
    "message": "You do not have security permission to perform this action.",
}
INVOICED = {
    "code": "InvalidObject",
    "message": "Addition object is invalid",
    "errors": [
        {
            "code": "InvalidObject",
            "message": "Since this period has already been invoiced there will not be an invoice"
            " generated for additional products for this period. Please prorate the agreement or"
            " update the start date to on or after the Next Invoice Date.",
            "resource": "Addition",
            "field": "effectiveDate",
        }
    ],
}


def connect(url: str = HOST, *, clock: FakeClock | None = None, **changes: object) -> ConnectWise:
    settings = ConnectWiseSettings(kind="connectwise", url=url, company="acme", **changes)
    return ConnectWise(
        "cw", settings, SECRETS, base=Path(), clock=clock or FakeClock(NIGHT), limits=Limits()
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NIGHT)


@pytest.fixture
def psa(clock: FakeClock) -> Iterator[ConnectWise]:
    opened = connect(clock=clock)
    yield opened
    opened.close()


class Api(responses.RequestsMock):
    """Answers reads as ConnectWise does: with `Link`, which names no next page if nobody says."""

    def get(self, url: str, **answer: object) -> responses.BaseResponse:
        return super().get(url, **{"headers": {"Link": ""}, **answer})


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    with Api(assert_all_requests_are_fired=True) as mock:
        yield mock


def agreement_row(**changes: object) -> dict[str, object]:
    """An agreement as ConnectWise sends it: null fields are left out."""
    row: dict[str, object] = {
        "id": 1042,
        "name": "Managed Security",
        "type": {"name": "Managed Services"},
        "company": {"id": 250, "name": "Contoso"},
        "agreementStatus": "Active",
        "cancelledFlag": False,
        "startDate": "2025-01-01T00:00:00Z",
        "noEndingDateFlag": True,
        "prorateFlag": False,
        **changes,
    }
    return {key: value for key, value in row.items() if value is not None}


def addition_row(**changes: object) -> dict[str, object]:
    """An addition as ConnectWise sends it: null fields are left out."""
    row: dict[str, object] = {
        "id": 301,
        "product": {"id": 1201, "identifier": "KES-WKS"},
        "quantity": 90.0,
        "unitPrice": 4.5,
        "billCustomer": "Billable",
        "effectiveDate": "2026-01-01T00:00:00Z",
        "agreementStatus": "Active",
        "agreementId": 1042,
        **changes,
    }
    return {key: value for key, value in row.items() if value is not None}


def planned(after: int = 90, *, line_id: str | None = None, product: str = "1201") -> PlannedLine:
    """A create, or with `line_id` an update."""
    return PlannedLine(
        psa="cw",
        company="250",
        agreement="1042",
        application="KES Advanced",
        categories=(Category.WINDOWS_WORKSTATIONS,),
        product=product,
        line_id=line_id,
        action=Action.CREATE if line_id is None else Action.UPDATE,
        before=None,
        after=after,
    )


def sent(api: responses.RequestsMock) -> list[object]:
    """The JSON bodies of all writes."""
    return [json.loads(call.request.body) for call in api.calls if call.request.method != "GET"]


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
