"""One write to Tigerpaw: snapshot, submit, read again, and only then an opinion.

What is public says neither whether a submit changes one charge or replaces the agreement's whole
list, nor whether a repeat is safe. So no answer is believed: a write is what the charges show
afterwards, and anything else that changed meanwhile stops every further write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kisi.errors import ForeignChange, PsaError
from kisi.model import PlannedLine, WriteResult, WriteStatus
from kisi.psa.tigerpaw.kept import Kept
from kisi.psa.tigerpaw.records import Charge
from kisi.psa.tigerpaw.rest import KeysRefused
from kisi.psa.tigerpaw.snapshot import Snapshot
from kisi.psa.tigerpaw.snapshots import Snapshots
from kisi.psa.tigerpaw.soap import ChargeTemplate, ChargeValues, SoapAnswer, SoapStatus, Submits
from kisi.transport import Clock

_STATUSES = {
    SoapStatus.ACCEPTED: WriteStatus.UNKNOWN,
    SoapStatus.NOTHING: WriteStatus.UNKNOWN,
    SoapStatus.REFUSED: WriteStatus.REJECTED,
    SoapStatus.DENIED: WriteStatus.REJECTED,
    SoapStatus.BUSY: WriteStatus.THROTTLED,
    SoapStatus.NOT_SENT: WriteStatus.NOT_SENT,
}
"""What an answer means where the charges are as they were before it."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submit that went out, and what was said to it."""

    kept: Kept
    answer: SoapAnswer


class Writer:
    """Writes charges of one Tigerpaw, one at a time.

    Args:
        read: Reads all charges of an agreement.
        soap: What submits.
        template: The XML of a charge.
        snapshots: Keeps the charges from before a submit until it is proven.
        clock: When a snapshot was taken.
    """

    def __init__(
        self,
        *,
        read: Callable[[str], tuple[Charge, ...]],
        soap: Submits,
        template: ChargeTemplate,
        snapshots: Snapshots,
        clock: Clock,
    ) -> None:
        self._read = read
        self._soap = soap
        self._template = template
        self._snapshots = snapshots
        self._clock = clock

    def write(self, line: PlannedLine, description: str) -> WriteResult:
        """Bring one line to its quantity, or say why that did not happen.

        Args:
            line: The change.
            description: The text of a new charge; an existing one keeps its own.

        Raises:
            ForeignChange: Something else on an agreement changed with a submit, this or an earlier
                one. Every further write raises it again.
        """
        try:
            self._prove_earlier_submits()
            before = self.snapshot(line.agreement)
        except ForeignChange:
            raise
        except KeysRefused as error:
            return WriteResult(
                WriteStatus.REJECTED, f"{error.message} Nothing was sent.", denied=True
            )
        except PsaError as error:
            return WriteResult(WriteStatus.NOT_SENT, f"{error.message} Nothing was sent.")
        values = to_submit(line, before, description)
        if isinstance(values, WriteResult):
            return values
        try:
            submitted = self.submit(values, before)
        except OSError as error:
            return WriteResult(
                WriteStatus.REJECTED,
                f"The charges of agreement {line.agreement} could not be saved under "
                f"{self._snapshots.folder} ({error.strerror}). Without that nothing is sent.",
            )
        return self._result(submitted)

    def snapshot(self, agreement: str) -> Snapshot:
        """All charges of an agreement, now.

        Raises:
            PsaError: They could not be read.
        """
        return Snapshot(agreement, self._clock.now(), self._read(agreement))

    def _prove_earlier_submits(self) -> None:
        """Never send anything while it is not known what an earlier submit did, in whichever run.

        Raises:
            ForeignChange: One of them changed something else.
            PsaError: The charges of an agreement could not be read.
        """
        for agreement in self._snapshots.open_agreements():
            try:
                self.prove(agreement)
            except ForeignChange:
                raise
            except PsaError as error:
                raise type(error)(
                    f"{error.message} So what an earlier submit to agreement {agreement} did is "
                    "not known. If it cannot be read any more, compare it by hand with its file in "
                    f"{self._snapshots.folder}, and delete that.",
                    remedy=error.remedy,
                ) from error

    def submit(self, values: ChargeValues, before: Snapshot) -> Submitted:
        """Keep the state before, then send one charge, once.

        Raises:
            OSError: The state before could not be kept; nothing was sent.
        """
        kept = self._snapshots.keep(before, values)
        answer = self._soap.submit(self._template.render(values))
        if answer.status is SoapStatus.NOT_SENT:
            self._snapshots.remove(kept.path)
        return Submitted(kept, answer)

    def prove(self, agreement: str) -> Snapshot:
        """Read an agreement's charges again: nothing but our own one may have changed.

        Raises:
            ForeignChange: Something else did. Every further write raises it again.
            PsaError: The charges could not be read. The next write starts with this proof.
        """
        after = self.snapshot(agreement)
        self._snapshots.compare(after, settle=True)
        return after

    def _result(self, submitted: Submitted) -> WriteResult:
        answer, kept = submitted.answer, submitted.kept
        if answer.status is SoapStatus.NOT_SENT:
            return WriteResult(WriteStatus.NOT_SENT, answer.message)
        try:
            after = self.prove(kept.before.agreement)
        except ForeignChange:
            raise
        except PsaError as error:
            return WriteResult(
                WriteStatus.UNKNOWN,
                f"{error.message} So what the submit did is not known; the charges from "
                f"before the write are in {kept.path}.",
            )
        return self._judge(submitted, kept.ours(after))

    def _judge(self, submitted: Submitted, ours: Charge | None) -> WriteResult:
        """What became of our own charge, once everything else is known to be as it was."""
        values, answer = submitted.kept.values, submitted.answer
        old = submitted.kept.before.get(values.detail_id)
        if ours and ours.quantity == values.quantity:
            message = f"{answer.message} The charge shows the quantity."
            if answer.status is SoapStatus.ACCEPTED:
                message = ""
            return WriteResult(WriteStatus.APPLIED, message, ours.id, Decimal(ours.quantity))
        if ours and not (old and ours.quantity == old.quantity):
            return WriteResult(
                WriteStatus.UNKNOWN,
                f"{answer.message} The charge shows {ours.quantity} instead of {values.quantity}.",
                ours.id,
                Decimal(ours.quantity),
            )
        shown = "The charge is as it was." if values.detail_id else "No new charge of it is shown."
        return WriteResult(
            _STATUSES[answer.status],
            f"{answer.message} {shown}",
            ours.id if ours else None,
            Decimal(ours.quantity) if ours else None,
            wait=answer.wait,
            denied=answer.status is SoapStatus.DENIED,
        )


def to_submit(line: PlannedLine, before: Snapshot, description: str) -> ChargeValues | WriteResult:
    """The charge to submit; a result where the agreement is no longer what was planned for.

    Args:
        line: The change.
        before: The charges of the agreement, read just now.
        description: The text of a new charge; an existing one keeps its own.
    """
    return _update(line, before) if line.line_id else _create(line, before, description)


def _create(line: PlannedLine, before: Snapshot, description: str) -> ChargeValues | WriteResult:
    there = before.recurring(line.product)
    if there:
        return WriteResult(
            WriteStatus.STALE,
            f"Agreement {line.agreement} has a charge of item {line.product} by now, with quantity "
            f"{there[0].quantity}. Nothing was sent.",
        )
    return ChargeValues(
        agreement_number=line.agreement,
        account_number=line.company,
        item_id=line.product,
        quantity=line.after,
        description=description,
    )


def _update(line: PlannedLine, before: Snapshot) -> ChargeValues | WriteResult:
    charge = before.get(line.line_id)
    if charge is None or charge.one_time or charge.item != line.product:
        return WriteResult(
            WriteStatus.STALE,
            f"Charge {line.line_id} of agreement {line.agreement} is no longer there for item "
            f"{line.product}. Nothing was sent.",
        )
    quantity = Decimal(charge.quantity)
    if quantity == line.after:
        return WriteResult(
            WriteStatus.APPLIED, "The charge shows the quantity already.", charge.id, quantity
        )
    if quantity != line.before:
        return WriteResult(
            WriteStatus.STALE,
            f"Charge {charge.id} of agreement {line.agreement} shows {quantity} by now, not "
            f"{line.before}. Nothing was sent.",
            charge.id,
            quantity,
        )
    return ChargeValues(
        agreement_number=line.agreement,
        account_number=line.company,
        item_id=charge.item,
        quantity=line.after,
        detail_id=charge.id,
        description=charge.description,
        price="" if charge.price is None else f"{charge.price:f}",
        print_when_quantity_zero=charge.print_when_quantity_zero,
    )
