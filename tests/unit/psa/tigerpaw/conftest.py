"""A simulated Tigerpaw on loopback, and kisi's PSA in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from kisi.apply.write import OtherLines, WriteOutcome, Writer
from kisi.journal import Journal
from kisi.model import Action, Agreement, AgreementRef, Category, PlannedLine, WriteResult
from kisi.psa.tigerpaw import TigerpawSettings
from kisi.psa.tigerpaw.adapter import Tigerpaw
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.tigerpaw import SOAP_PATH
from kisi.sandbox.tigerpaw import Tigerpaw as Simulated
from kisi.sandbox.tigerpaw_records import Agreement as SimulatedAgreement
from kisi.transport import Limits
from tests.unit.build import COMPANY
from tests.unit.fakes import FakeClock

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
TODAY = date(2026, 11, 21)
SUBMIT = f"POST {SOAP_PATH}"


@dataclass
class Scene:
    """One Tigerpaw, and what tests do with it."""

    world: Simulated
    faults: Faults
    url: str
    log: list[Logged]
    folder: Path
    clock: FakeClock
    open: Callable[..., Tigerpaw]
    journal: Journal

    def ref(self, agreement: SimulatedAgreement) -> AgreementRef:
        return AgreementRef("tp", str(agreement.account.number), str(agreement.number))

    def validated(self, agreement: SimulatedAgreement, **settings: object) -> Agreement:
        ref = self.ref(agreement)
        validated = self.open(**settings).agreements([ref], TODAY)[ref]
        assert isinstance(validated, Agreement)
        return validated

    def calls(self) -> list[str]:
        return [f"{logged.method} {logged.path}" for logged in self.log]

    def unproven(self) -> list[str]:
        """The agreements with a write after which nobody has seen what else changed."""
        return [one.line.agreement for one in self.journal.unproven()]

    def planned(
        self,
        agreement: SimulatedAgreement,
        product: str,
        after: int,
        *,
        line: int | None = None,
        before: int | None = None,
        description: str = "",
    ) -> PlannedLine:
        return PlannedLine(
            psa="tp",
            company=str(agreement.account.number),
            agreement=str(agreement.number),
            application="KES",
            categories=(Category.ALL,),
            product=product,
            line_id=None if line is None else str(line),
            action=Action.CREATE if line is None else Action.UPDATE,
            before=None if before is None else Decimal(before),
            after=after,
            description=description,
        )

    def submit(
        self, psa: Tigerpaw, agreement: SimulatedAgreement, product: str, after: int, **more: object
    ) -> WriteResult:
        """One request, as the PSA answers it."""
        planned = self.planned(agreement, product, after, **more)
        return psa.write(planned, Agreement(self.ref(agreement)), TODAY)

    def write(
        self, psa: Tigerpaw, agreement: SimulatedAgreement, product: str, after: int, **more: object
    ) -> WriteOutcome:
        """The whole way of a change, without a second try."""
        planned, now = self.planned(agreement, product, after, **more), self.clock.now
        run = self.journal.begin_run(now(), version="1", command="sync", config_hash="")
        operation = self.journal.intent(run, now(), planned, COMPANY)
        writer = Writer(
            psa, TODAY, lambda _: False, self.clock.sleep, OtherLines(psa, self.journal, now)
        )
        outcome = writer.write(planned, Agreement(self.ref(agreement)), operation)
        self.journal.settle(operation, run, now(), outcome)
        return outcome


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = FakeClock(NOW)
    world = Simulated(now=lambda: NOW)
    faults = Faults()
    log: list[Logged] = []
    with ExitStack() as stack:
        server = stack.enter_context(world.serve(faults=faults, log=log))

        def make(**settings: object) -> Tigerpaw:
            values = {"kind": "tigerpaw", "url": server.url, "write": "soap", **settings}
            values.setdefault("soap_template_verified", True)
            secrets = {
                "public_key": world.keys[0],
                "private_key": world.keys[1],
                "soap_user": world.soap_login[0],
                "soap_password": world.soap_login[1],
            }
            psa = Tigerpaw(
                "tp",
                TigerpawSettings.model_validate(values),
                secrets,
                base=tmp_path,
                clock=clock,
                limits=Limits(read=2.0),
            )
            stack.callback(psa.close)
            return psa

        journal = stack.enter_context(Journal.open(tmp_path / "state"))
        yield Scene(world, faults, server.url, log, tmp_path, clock, make, journal)
