"""Clients of ConnectWise that have nothing to do with kisi must find the sandbox faithful."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kisi.sandbox import Sandbox
from kisi.sandbox.certificate import Certificate
from kisi.sandbox.world import World

if TYPE_CHECKING:
    from kisi.sandbox.world import Client

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyconnectwise declares its models in a deprecated way
    from connectwise import ConnectWiseClient
    from pyconnectwise import ConnectWiseManageAPIClient

TODAY = "2026-11-21T00:00:00Z"


class PlainClient(ConnectWiseManageAPIClient):
    """pyconnectwise over plain HTTP, which it does not know."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._base = f"{sandbox.cw_server.url}/v4_6_release/apis/3.0"
        self.codebase = "v4_6_release/"  # its own constructor forgets the one it is given
        cw = sandbox.cw
        super().__init__(
            cw.company,
            "unused",
            cw.client_id,
            cw.public_key,
            cw.private_key,
            codebase="v4_6_release/",
        )

    def _get_url(self) -> str:
        return self._base


def contoso(world: World) -> Client:
    world.product("KES-WS", 4.5)
    client = world.client("Contoso", workstations=1)
    client.agreement.bill_start_date = None
    for number in range(29):
        world.client(f"Client {number}")
    return client


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def use_pyconnectwise(client: Any, agreement_id: int) -> None:
    asked = {"conditions": 'agreementStatus="Active"'}
    pages = client.finance.agreements.paginated(1, 10, asked)
    assert len(list(pages.all())) == 30

    additions = client.finance.agreements.id(agreement_id).additions
    made = additions.post(
        {
            "product": {"id": 1201},
            "billCustomer": "Billable",
            "quantity": 7,
            "effectiveDate": TODAY,
        }
    )
    assert (made.quantity, made.product.identifier) == (7, "KES-WS")
    patched = additions.id(made.id).patch([{"op": "replace", "path": "quantity", "value": 9}])
    assert patched.quantity == 9
    listed = additions.get(params={"pageSize": 1000})
    assert [(row.id, row.quantity, row.bill_customer) for row in listed] == [
        (made.id, 9, "Billable")
    ]
    assert additions.count.get().count == 1
    assert next(iter(client.company.companies.get())).name == "Contoso"


@pytest.mark.slow
def test_pyconnectwise_lists_creates_and_patches_over_https(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate.make(names=["localhost"])
    bundle = tmp_path / "ca.pem"
    bundle.write_text(certificate.pem, encoding="ascii")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    with Sandbox(cw_tls=certificate) as sandbox:
        client = contoso(sandbox.world)
        cw = sandbox.cw
        use_pyconnectwise(
            ConnectWiseManageAPIClient(
                company_name=cw.company,
                manage_url=f"localhost:{sandbox.cw_server.port}",
                client_id=cw.client_id,
                public_key=cw.public_key,
                private_key=cw.private_key,
            ),
            client.agreement_id,
        )

    assert client.quantities == {1201: 9}
    assert sandbox.log[0].path == "/login/companyinfo/acme"


def test_pyconnectwise_lists_creates_patches_and_deletes_over_http() -> None:
    with Sandbox() as sandbox:
        client = contoso(sandbox.world)
        plain = PlainClient(sandbox)
        use_pyconnectwise(plain, client.agreement_id)
        line = client.additions[0]
        plain.finance.agreements.id(client.agreement_id).additions.id(line.id).delete()

    assert client.additions == []


def test_connectpyse_manage_lists_creates_and_patches() -> None:
    with Sandbox() as sandbox:
        client = contoso(sandbox.world)
        cw = sandbox.cw
        other = ConnectWiseClient(
            base_url=sandbox.cw_server.url,
            client=cw.company,
            username=cw.public_key,
            password=cw.private_key,
            client_id=cw.client_id,
        )
        made = other.create_agreement_addition(client.agreement_id, 1201, 7, effective_date=TODAY)
        operations = [{"op": "replace", "path": "quantity", "value": 9}]
        path = f"finance/agreements/{client.agreement_id}/additions"
        other.patch(path, made.id, operations)
        rows = other.get_agreement_additions(client.agreement_id)

        assert [(row.id, row.product_identifier, row.quantity) for row in rows] == [
            (made.id, "KES-WS", 9)
        ]
        assert len(other.get_agreements()) == 30

    assert client.quantities == {1201: 9}


@pytest.mark.slow
def test_connectpyse_manage_doubles_a_line_whose_answer_was_lost() -> None:
    """Why a create is never simply sent again."""
    with Sandbox() as sandbox:
        client = contoso(sandbox.world)
        cw = sandbox.cw
        other = ConnectWiseClient(
            base_url=sandbox.cw_server.url,
            client=cw.company,
            username=cw.public_key,
            password=cw.private_key,
            client_id=cw.client_id,
            retry_backoff_base=0,
        )
        sandbox.faults.add("lost", match="POST */additions")
        other.create_agreement_addition(client.agreement_id, 1201, 7, effective_date=TODAY)

    assert [line.quantity for line in client.additions] == [7, 7]
