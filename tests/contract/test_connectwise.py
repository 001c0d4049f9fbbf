"""ConnectWise Manage keeps the contract of a PSA, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kisi.model import AgreementRef, Outcome
from kisi.run.setup import PSAS
from kisi.sandbox.connectwise import ConnectWise
from kisi.sandbox.connectwise_lists import Gateway
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.world import World
from kisi.transport import Limits
from tests.contract.psa import Held, PsaContract, create
from tests.unit.build import TODAY
from tests.unit.fakes import FakeClock

_WRITES = ("POST */additions", "PATCH */additions/*")


class ConnectWiseStand:
    """The simulated ConnectWise Manage and kisi's PSA in front of it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock.now)
        self.server_side = ConnectWise(self.world)
        self.faults = Faults()
        self.log: list[Logged] = []
        self._server = self.server_side.serve(faults=self.faults, log=self.log)
        stack.enter_context(self._server)
        cw = self.server_side
        kind = PSAS["connectwise"]
        settings = {"kind": "connectwise", "url": self._server.url, "company": cw.company}
        self.psa = kind.open(
            "cw",
            kind.settings.model_validate(settings),
            {
                "public_key": cw.public_key,
                "private_key": cw.private_key,
                "client_id": cw.client_id,
            },
            base=folder,
            clock=self.clock,
            limits=Limits(read=2.0),
        )
        stack.callback(self.psa.close)

    def client(self, name: str = "Contoso") -> AgreementRef:
        company = self.world.company(name)
        agreement = self.world.agreement(company)
        return AgreementRef("cw", str(company.id), str(agreement.id))

    def sibling(self, ref: AgreementRef) -> AgreementRef:
        agreement = self.world.agreement(self.world.companies[int(ref.company)], "Another")
        return AgreementRef("cw", ref.company, str(agreement.id))

    def product(self, name: str = "KES", price: float = 3.0) -> str:
        return str(self.world.product(name, price).id)

    def line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        return str(self.world.add_line(int(ref.agreement), int(product), quantity).id)

    def dead_line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        line = self.world.add_line(int(ref.agreement), int(product), quantity)
        line.cancelled_date = datetime(2026, 10, 31, tzinfo=UTC)
        return str(line.id)

    def change(self, line_id: str, quantity: int) -> None:
        self.world.lines[int(line_id)].quantity = quantity

    def remove(self, line_id: str) -> None:
        del self.world.lines[int(line_id)]

    def held(self, ref: AgreementRef) -> list[Held]:
        lines = self.world.additions(int(ref.agreement))
        return [Held(str(one.id), str(one.product_id), one.quantity) for one in lines]

    def end(self, ref: AgreementRef) -> None:
        agreement = self.world.agreements[int(ref.agreement)]
        agreement.end_date = self.world.today - timedelta(days=1)

    def delete(self, ref: AgreementRef) -> None:
        del self.world.agreements[int(ref.agreement)]

    def rename(self, ref: AgreementRef, name: str) -> None:
        self.world.companies[int(ref.company)].name = name
        self.world.agreements[int(ref.agreement)].name = name

    def rename_product(self, product: str, name: str) -> None:
        item = self.world.catalog[int(product)]
        item.identifier = item.description = name

    def lose_answers(self, times: int = 1) -> None:
        self._strike("lost", times)

    def drop_writes(self, times: int = 1) -> None:
        self._strike("reset_before", times)

    def throttle_writes(self, seconds: int, times: int = 1) -> None:
        self._strike("status", times, code=429, headers={"Retry-After": str(seconds)})

    def refuse_writes(self) -> None:
        self.server_side.read_only()

    def break_lines(self, ref: AgreementRef) -> None:
        match = f"GET */agreements/{ref.agreement}/additions*"
        self.faults.add("truncate", match=match, times=None)

    def break_login(self) -> None:
        self.server_side.private_key = "another"

    def close_server(self) -> None:
        self._server.close()

    def writes(self) -> int:
        return sum(logged.method in {"POST", "PATCH"} for logged in self.log)

    def _strike(self, kind: str, times: int, **options: object) -> None:
        for match in _WRITES:
            self.faults.add(kind, match=match, times=times, **options)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[ConnectWiseStand]:
    with ExitStack() as stack:
        yield ConnectWiseStand(stack, tmp_path)


GATEWAYS = {
    "link": Gateway(page_cap=2),
    "page numbers": Gateway(page_cap=2, drops_paging=True),
    "no link": Gateway(page_cap=2, strips_link=True),
}


class TestConnectWise(PsaContract):
    """Every rule, on the simulated ConnectWise Manage."""

    @pytest.mark.parametrize("gateway", GATEWAYS.values(), ids=GATEWAYS)
    def test_what_proves_that_a_line_does_not_exist_is_whole_behind_any_gateway(
        self, stand, ref, kes, gateway
    ):
        ids = {stand.line(ref, kes, n + 1) for n in range(5)}
        siblings = {ref, *(stand.sibling(ref) for _ in range(4))}
        stand.server_side.gateway = gateway
        assert {line.id for line in stand.psa.lines(ref, [kes])} == ids
        assert {one.ref for one in stand.psa.agreements_of([ref.company], TODAY)[ref.company]} == (
            siblings
        )
        judged = stand.psa.agreements(siblings, TODAY)
        assert [one.not_billable for one in judged.values()] == [None] * 5
        assert all(stand.psa.line(ref, one) for one in ids)

    @pytest.mark.parametrize("gateway", [GATEWAYS["link"], GATEWAYS["page numbers"]])
    def test_every_list_is_whole_where_a_gateway_shortens_pages_and_says_so(
        self, stand, ref, kes, gateway
    ):
        ids = {stand.line(ref, kes, n + 1) for n in range(5)}
        products = {kes, *(stand.product(f"P{n}") for n in range(4))}
        companies = {ref.company, *(stand.client(f"C{n}").company for n in range(4))}
        stand.server_side.gateway = gateway
        psa = stand.psa
        assert {line.id for line in psa.lines(ref)} == ids
        assert {one.id for one in psa.all_companies()} == companies
        assert len(psa.all_agreements()) == 5
        assert {one.id for one in psa.all_products()} == products
        assert set(psa.products(products)) == products

    @pytest.mark.parametrize("lost", [False, True])
    def test_a_create_that_is_shown_late_is_not_created_again(self, stand, ref, kes, lost):
        stand.server_side.lag(seconds=3)
        if lost:
            stand.lose_answers()
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.APPLIED
        assert [line.quantity for line in stand.held(ref)] == [90]
        assert stand.writes() == 1

    def test_a_quantity_that_the_server_rounds_is_never_called_applied(self, stand, ref, kes):
        stand.server_side.writer.keep_quantity = lambda wanted: wanted // 10 * 10
        assert self.bring(stand, create(ref, kes, 94)) is Outcome.UNKNOWN
        assert [line.quantity for line in stand.held(ref)] == [90]
        assert stand.writes() == 1
