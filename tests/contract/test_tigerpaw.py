"""Tigerpaw, writing over SOAP, keeps the contract of a PSA, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kisi.apply.write import OtherLines
from kisi.errors import ForeignChange, PsaError
from kisi.journal import Journal
from kisi.model import AgreementRef, WriteStatus
from kisi.planning import is_live
from kisi.run.setup import PSAS
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.tigerpaw import SOAP_PATH, Tigerpaw
from kisi.transport import Limits
from tests.contract.psa import Held, PsaContract, create, patient
from tests.unit.build import COMPANY, TODAY
from tests.unit.fakes import FakeClock

_SUBMIT = f"POST {SOAP_PATH}"


class TigerpawStand:
    """The simulated Tigerpaw and kisi's PSA in front of it, its template proven."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.clock = FakeClock()
        self.world = Tigerpaw(self.clock.now)
        self.faults = Faults()
        self.log: list[Logged] = []
        self._server = self.world.serve(faults=self.faults, log=self.log)
        stack.enter_context(self._server)
        kind = PSAS["tigerpaw"]
        settings = {
            "kind": "tigerpaw",
            "url": self._server.url,
            "write": "soap",
            "soap_template_verified": True,
        }
        self.psa = kind.open(
            "tp",
            kind.settings.model_validate(settings),
            {
                "public_key": self.world.keys[0],
                "private_key": self.world.keys[1],
                "soap_user": self.world.soap_login[0],
                "soap_password": self.world.soap_login[1],
            },
            base=folder,
            clock=self.clock,
            limits=Limits(read=2.0),
        )
        stack.callback(self.psa.close)
        self.journal = stack.enter_context(Journal.open(folder / "state"))

    def client(self, name: str = "Contoso") -> AgreementRef:
        account = self.world.account(name)
        agreement = self.world.agreement(account)
        return AgreementRef("tp", str(account.number), str(agreement.number))

    def sibling(self, ref: AgreementRef) -> AgreementRef:
        agreement = self.world.agreement(self.world.accounts[int(ref.company)])
        return AgreementRef("tp", ref.company, str(agreement.number))

    def product(self, name: str = "KES", price: float = 3.0) -> str:
        return self.world.item(name, price).id

    def line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        return str(self.world.charge(int(ref.agreement), product, quantity).id)

    def dead_line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        charge = self.world.charge(int(ref.agreement), product, quantity, one_time=True)
        return str(charge.id)

    def change(self, line_id: str, quantity: int) -> None:
        self.world.lines[int(line_id)].quantity = quantity

    def remove(self, line_id: str) -> None:
        del self.world.lines[int(line_id)]

    def held(self, ref: AgreementRef) -> list[Held]:
        charges = self.world.charges(int(ref.agreement))
        return [Held(str(one.id), one.item, one.quantity) for one in charges]

    def end(self, ref: AgreementRef) -> None:
        self.world.agreements[int(ref.agreement)].ends = self.world.today - timedelta(days=1)

    def delete(self, ref: AgreementRef) -> None:
        del self.world.agreements[int(ref.agreement)]

    def rename(self, ref: AgreementRef, name: str) -> None:
        self.world.accounts[int(ref.company)].name = name
        self.world.agreements[int(ref.agreement)].kind = name

    def rename_product(self, product: str, name: str) -> None:
        self.world.items[product].description = name

    def lose_answers(self, times: int = 1) -> None:
        self.faults.add("lost", match=_SUBMIT, times=times)

    def drop_writes(self, times: int = 1) -> None:
        self.faults.add("reset_before", match=_SUBMIT, times=times)

    def throttle_writes(self, seconds: int, times: int = 1) -> None:
        headers = {"Retry-After": str(seconds)}
        self.faults.add("status", match=_SUBMIT, times=times, code=429, headers=headers)

    def refuse_writes(self) -> None:
        self.world.soap_login = ("kisi", "another")

    def break_lines(self, ref: AgreementRef) -> None:
        match = f"GET */agreements/{ref.agreement}/additionalcharges*"
        self.faults.add("truncate", match=match, times=None)

    def break_login(self) -> None:
        self.world.keys = (self.world.keys[0], "another")

    def close_server(self) -> None:
        self._server.close()

    def writes(self) -> int:
        return sum(logged.path == SOAP_PATH for logged in self.log)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[TigerpawStand]:
    with ExitStack() as stack:
        yield TigerpawStand(stack, tmp_path)


class TestTigerpaw(PsaContract):
    """Every rule, on the simulated Tigerpaw."""

    def send(self, stand, line):
        """No answer of Tigerpaw is believed: what it says is what its list shows then."""
        receipt = super().send(stand, line)
        if receipt.status is not WriteStatus.UNKNOWN:
            return receipt
        listed = stand.psa.lines(line.ref)
        (shown,) = (one for one in listed if line.line_id in (None, one.id) and is_live(one, TODAY))
        assert shown.quantity == line.after
        return replace(
            receipt, status=WriteStatus.APPLIED, line_id=shown.id, quantity=shown.quantity
        )

    def bring(self, stand, line):
        """The whole way of a change, with the look at all other charges."""
        now, journal = stand.clock.now, stand.journal
        run = journal.begin_run(now(), version="1", command="sync", config_hash="")
        operation = journal.intent(run, now(), line, COMPANY)
        writer = replace(
            patient(stand.psa, stand.clock), others=OtherLines(stand.psa, journal, now)
        )
        outcome = writer.write(line, self.agreement(stand, line.ref), operation)
        assert (journal.unproven(), outcome.denied) == ((), False)
        return outcome.outcome

    def test_every_list_is_whole_where_pages_are_shorter_than_asked(self, stand, ref, kes):
        companies = {ref.company, *(stand.client(f"C{n}").company for n in range(4))}
        stand.world.page_cap = 2
        assert {one.id for one in stand.psa.all_companies()} == companies
        assert len(stand.psa.all_agreements()) == 5
        assert [one.id for one in stand.psa.all_products()] == [kes]

    def test_lists_that_end_early_are_errors(self, stand, ref, kes):
        stand.sibling(ref)
        for quantity in (1, 2):
            stand.line(ref, kes, quantity)
        stand.world.page_cap = 1
        with pytest.raises(PsaError, match="says that there are 2 agreements and gave 1"):
            stand.psa.agreements_of([ref.company], TODAY)
        with pytest.raises(PsaError, match="has 2 additional charges and gave 1 of them"):
            stand.psa.lines(ref, [kes])

    def test_a_refused_soap_login_is_a_refusal_of_credentials(self, stand, ref, kes):
        stand.refuse_writes()
        receipt = self.send(stand, create(ref, kes, 3))
        assert (receipt.status, receipt.denied) == (WriteStatus.REJECTED, True)
        assert stand.held(ref) == []

    def test_a_submit_that_touches_another_charge_is_a_foreign_change(self, stand, ref, kes):
        stand.line(ref, stand.product("BACKUP"), 3)
        stand.world.replace = True
        with pytest.raises(ForeignChange):
            self.bring(stand, create(ref, kes, 3))
        (found,) = stand.journal.foreign_changes()
        assert (found.psa, found.agreement) == ("tp", ref.agreement)
        assert stand.writes() == 1
