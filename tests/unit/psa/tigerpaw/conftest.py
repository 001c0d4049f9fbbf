"""A simulated Tigerpaw on loopback, and kisi's PSA in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from kisi.model import Action, Agreement, AgreementRef, Category, PlannedLine, WriteResult
from kisi.psa.tigerpaw import Tigerpaw, TigerpawSettings, open_psa
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.tigerpaw import SOAP_PATH
from kisi.sandbox.tigerpaw import Tigerpaw as Simulated
from kisi.sandbox.tigerpaw_records import Agreement as SimulatedAgreement
from kisi.transport import Limits
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

    def ref(self, agreement: SimulatedAgreement) -> AgreementRef:
        return AgreementRef("tp", str(agreement.account.number), str(agreement.number))

    def validated(self, agreement: SimulatedAgreement, **settings: object) -> Agreement:
        ref = self.ref(agreement)
        validated = self.open(**settings).agreements([ref], TODAY)[ref]
        assert isinstance(validated, Agreement)
        return validated

    def calls(self) -> list[str]:
        return [f"{logged.method} {logged.path}" for logged in self.log]

    def kept(self) -> list[Path]:
        return sorted((self.folder / "snapshots").glob("*.json"))

    def write(
        self,
        psa: Tigerpaw,
        agreement: SimulatedAgreement,
        product: str,
        after: int,
        *,
        line: int | None = None,
        before: int | None = None,
        description: str = "",
    ) -> WriteResult:
        planned = PlannedLine(
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
        return psa.write(planned, Agreement(self.ref(agreement)), TODAY)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = FakeClock(NOW)
    world = Simulated(now=lambda: NOW)
    faults = Faults()
    log: list[Logged] = []
    with ExitStack() as stack:
        server = stack.enter_context(world.serve(faults=faults, log=log))

        def make(*, settles: bool = True, **settings: object) -> Tigerpaw:
            values = {"kind": "tigerpaw", "url": server.url, "write": "soap", **settings}
            values.setdefault("soap_template_verified", True)
            secrets = {
                "public_key": world.keys[0],
                "private_key": world.keys[1],
                "soap_user": world.soap_login[0],
                "soap_password": world.soap_login[1],
            }
            psa = open_psa(
                "tp",
                TigerpawSettings.model_validate(values),
                secrets,
                base=tmp_path,
                clock=clock,
                limits=Limits(read=2.0),
                settles=settles,
            )
            stack.callback(psa.close)
            return psa

        yield Scene(world, faults, server.url, log, tmp_path, clock, make)
