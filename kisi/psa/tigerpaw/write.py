"""One write to Tigerpaw: snapshot, submit, read again, and only then an opinion.

What is public says neither whether a submit changes one charge or replaces the agreement's whole
list, nor whether a repeat is safe. So no answer is believed: a write is what the charges show
afterwards, and anything else that changed meanwhile stops every further write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from kisi.errors import ForeignChange, PsaError
from kisi.model import PlannedLine, Receipt, Verdict
from kisi.psa.tigerpaw.records import Charge
from kisi.psa.tigerpaw.rest import KeysRefused
from kisi.psa.tigerpaw.snapshot import Snapshot, foreign_changes, save
from kisi.psa.tigerpaw.soap import Said, SoapAnswer, Submits
from kisi.psa.tigerpaw.submission import to_submit
from kisi.psa.tigerpaw.template import ChargeTemplate, ChargeValues
from kisi.transport import Clock

_VERDICTS = {
    Said.DONE: Verdict.UNKNOWN,
    Said.NOTHING: Verdict.UNKNOWN,
    Said.REFUSED: Verdict.REJECTED,
    Said.DENIED: Verdict.REJECTED,
    Said.BUSY: Verdict.THROTTLED,
    Said.NOT_SENT: Verdict.NOT_SENT,
}
"""What an answer means where the charges are as they were before it."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submit that went out, until reading again has shown what it did."""

    values: ChargeValues
    before: Snapshot
    kept: Path
    """The file with `before`; removed once nothing else is seen to have changed."""
    answer: SoapAnswer

    def ours(self, after: Snapshot) -> Charge | None:
        """Our charge among `after`: by id, or the one new recurring charge of our item."""
        if self.values.detail_id:
            return after.get(self.values.detail_id)
        new = [
            charge
            for charge in after.new_since(self.before)
            if charge.item == self.values.item_id and not charge.one_time
        ]
        exact = [charge for charge in new if charge.quantity == self.values.quantity]
        found = exact or new
        return found[0] if len(found) == 1 else None


class Writer:
    """Writes charges of one Tigerpaw, one at a time.

    Args:
        label: How messages call this PSA.
        name: Its section name, for the snapshot files.
        read: Reads all charges of an agreement.
        soap: What submits.
        template: The XML of a charge.
        snapshots: The folder for the state before a write.
        clock: When a snapshot was taken.
    """

    def __init__(
        self,
        label: str,
        name: str,
        *,
        read: Callable[[str], tuple[Charge, ...]],
        soap: Submits,
        template: ChargeTemplate,
        snapshots: Path,
        clock: Clock,
    ) -> None:
        self._label = label
        self._name = name
        self._read = read
        self._soap = soap
        self._template = template
        self._snapshots = snapshots
        self._clock = clock
        self._unproven: Submitted | None = None

    def write(self, line: PlannedLine, description: str) -> Receipt:
        """Bring one line to its quantity, or say why that did not happen.

        Args:
            line: The change.
            description: The text of a new charge; an existing one keeps its own.

        Raises:
            ForeignChange: Something else on an agreement changed with a submit.
        """
        try:
            if self._unproven:
                self.prove(self._unproven)
            before = self.snapshot(line.agreement)
        except ForeignChange:
            raise
        except KeysRefused as error:
            return Receipt(Verdict.REJECTED, f"{error.message} Nothing was sent.", denied=True)
        except PsaError as error:
            return Receipt(Verdict.NOT_SENT, f"{error.message} Nothing was sent.")
        values = to_submit(line, before, description)
        if isinstance(values, Receipt):
            return values
        try:
            submitted = self.submit(values, before)
        except OSError as error:
            return Receipt(
                Verdict.REJECTED,
                f"The charges of agreement {line.agreement} could not be saved under "
                f"{self._snapshots} ({error.strerror}). Without that nothing is sent.",
            )
        return self._receipt(submitted)

    def snapshot(self, agreement: str) -> Snapshot:
        """All charges of an agreement, now.

        Raises:
            PsaError: They could not be read.
        """
        return Snapshot(agreement, self._clock.now(), self._read(agreement))

    def submit(self, values: ChargeValues, before: Snapshot) -> Submitted:
        """Keep the state before, then send one charge, once.

        Raises:
            OSError: The state before could not be kept; nothing was sent.
        """
        kept = save(before, self._snapshots, self._name)
        answer = self._soap.submit(self._template.render(values))
        submitted = Submitted(values, before, kept, answer)
        if answer.said is Said.NOT_SENT:
            kept.unlink()
        else:
            self._unproven = submitted
        return submitted

    def prove(self, submitted: Submitted) -> Snapshot:
        """Read again, and make sure that nothing but our charge changed.

        Raises:
            ForeignChange: Something else did. Every further write raises it again.
            PsaError: The charges could not be read. The next write starts with this proof.
        """
        after = self.snapshot(submitted.before.agreement)
        self._compare(submitted, after)
        return after

    def seen(self, agreement: str, charges: tuple[Charge, ...]) -> None:
        """Take charges that were read for another reason as the proof that is still missing.

        Raises:
            ForeignChange: They show that something else changed.
        """
        if self._unproven and self._unproven.before.agreement == agreement:
            self._compare(self._unproven, Snapshot(agreement, self._clock.now(), charges))

    def _compare(self, submitted: Submitted, after: Snapshot) -> None:
        ours = submitted.ours(after)
        changes = foreign_changes(submitted.before, after, ours.id if ours else None)
        if changes:
            raise ForeignChange(
                f"{self._label}: with the submit for item {submitted.values.item_id} on agreement "
                f"{after.agreement} something else changed: {'; '.join(changes[:10])}"
                f"{f' and {len(changes) - 10} more' if len(changes) > 10 else ''}. "
                f"kisi writes nothing more there. The charges as they were before are in "
                f"{submitted.kept}.",
                remedy="Restore the charges in Tigerpaw from that file. If nobody edited the "
                "agreement at that moment, the template does not do what it should: set "
                "soap_template_verified = false and compare it with the vendor's SOAP guide.",
            )
        submitted.kept.unlink(missing_ok=True)
        self._unproven = None

    def _receipt(self, submitted: Submitted) -> Receipt:
        answer = submitted.answer
        if answer.said is Said.NOT_SENT:
            return Receipt(Verdict.NOT_SENT, answer.message)
        try:
            after = self.prove(submitted)
        except ForeignChange:
            raise
        except PsaError as error:
            return Receipt(
                Verdict.UNKNOWN,
                f"{error.message} So what the submit did is not known; the charges of before are "
                f"in {submitted.kept}.",
            )
        return self._judge(submitted, submitted.ours(after))

    def _judge(self, submitted: Submitted, ours: Charge | None) -> Receipt:
        """What became of our own charge, once everything else is known to be as it was."""
        values, answer = submitted.values, submitted.answer
        old = submitted.before.get(values.detail_id)
        if ours and ours.quantity == values.quantity:
            message = f"{answer.message} The charge shows the quantity."
            if answer.said is Said.DONE:
                message = ""
            return Receipt(Verdict.APPLIED, message, ours.id, Decimal(ours.quantity))
        if ours and not (old and ours.quantity == old.quantity):
            return Receipt(
                Verdict.UNKNOWN,
                f"{answer.message} The charge shows {ours.quantity} instead of {values.quantity}.",
                ours.id,
                Decimal(ours.quantity),
            )
        return Receipt(
            _VERDICTS[answer.said],
            f"{answer.message} The charge is as it was.",
            ours.id if ours else None,
            Decimal(ours.quantity) if ours else None,
            wait=answer.wait,
            denied=answer.said is Said.DENIED,
        )
