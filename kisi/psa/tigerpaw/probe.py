"""Proof that a template does what it should, on a scratch agreement and step by step.

`kisi check --probe-tigerpaw AGREEMENT` runs it, only on a terminal and only after a person agreed.
It is the one place that writes with a template that nobody has verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kisi.errors import ForeignChange, PsaError
from kisi.psa import ProbeStep
from kisi.psa.tigerpaw.records import Charge
from kisi.psa.tigerpaw.snapshot import Snapshot, raw
from kisi.psa.tigerpaw.soap import ChargeValues
from kisi.psa.tigerpaw.write import Writer


class Failed(Exception):
    """A step did not show what it must show. Never leaves this module."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of one template.

    It needs a scratch agreement that holds at least one recurring charge which a person made, and
    no charge of the item it uses.
    """

    writer: Writer
    account: str
    """The account that the agreement belongs to."""
    agreement: str
    item: str
    """The price book `ItemId` that the probe's charge is made of."""
    confirm: Callable[[str], bool]
    """Asks a person before the first write."""

    def run(self) -> Iterator[ProbeStep]:
        """Create with quantity 1, set to 2, submit the same again, set to 0; look after each.

        Each step is handed over as soon as it is done. The first that fails is the last. All have
        passed if the last says so (`ProbeStep.passed`); the charge itself stays, with quantity 0.
        """
        try:
            yield from self._steps()
        except Failed as failure:
            yield ProbeStep(passed=False, message=str(failure))
        except (PsaError, OSError) as error:
            yield ProbeStep(passed=False, message=str(error))

    def _steps(self) -> Iterator[ProbeStep]:
        before = self._look()
        others = len(before.charges)
        yield ProbeStep(passed=True, message=f"Agreement {self.agreement} holds {others} charges.")
        question = (
            f"Submit a charge of item {self.item} with quantity 1 to agreement {self.agreement}? "
            "Nothing on it may be worth keeping."
        )
        if not self.confirm(question):
            raise Failed("You did not agree, and nothing was sent.")
        before, ours = self._submit(before, None, 1)
        yield ProbeStep(
            passed=True, message=f"A new charge {ours.id} came, all others are unchanged."
        )
        before, ours = self._submit(before, ours, 2)
        yield ProbeStep(passed=True, message="Its quantity went to 2, all others are unchanged.")
        again, ours = self._submit(before, ours, 2)
        if raw(again.charges) != raw(before.charges):
            raise Failed(f"Submitting the same again changed charge {ours.id}.")
        yield ProbeStep(passed=True, message="Submitting the same again changed nothing.")
        _, ours = self._submit(again, ours, 0)
        yield ProbeStep(
            passed=True,
            message="Its quantity went to 0, all others are unchanged. The template is proven: "
            f"set soap_template_verified = true, and remove charge {ours.id} by hand.",
        )

    def _look(self) -> Snapshot:
        before = self.writer.snapshot(self.agreement)
        if before.recurring(self.item):
            raise Failed(
                f"Agreement {self.agreement} has a charge of item {self.item} already. Remove it, "
                "or choose another agreement."
            )
        if not any(not charge.one_time and charge.quantity for charge in before.charges):
            raise Failed(
                f"Agreement {self.agreement} has no recurring charge with a quantity. Add one by "
                "hand: the probe must see that it stays as it is."
            )
        return before

    def _submit(
        self, before: Snapshot, ours: Charge | None, quantity: int
    ) -> tuple[Snapshot, Charge]:
        """Submit our charge, look again, demand exactly the quantity."""
        values = ChargeValues(
            agreement_number=self.agreement,
            account_number=self.account,
            item_id=self.item,
            quantity=quantity,
            detail_id=ours.id if ours else "",
            description=ours.description if ours else "kisi probe",
            price=f"{ours.price:f}" if ours and ours.price is not None else "",
            print_when_quantity_zero=bool(ours and ours.print_when_quantity_zero),
        )
        submitted = self.writer.submit(values, before)
        after = self._prove()
        found = submitted.kept.ours(after)
        if found is None or found.quantity != quantity:
            seen = f"shows {found.quantity}" if found else "is not there"
            raise Failed(
                f"After a submit of quantity {quantity} the charge {seen}. "
                f"{submitted.answer.message}"
            )
        return after, found

    def _prove(self) -> Snapshot:
        try:
            return self.writer.prove(self.agreement)
        except ForeignChange as error:
            raise Failed(
                f"{error.message} This template must not be used: it does not leave other charges "
                "alone."
            ) from error
