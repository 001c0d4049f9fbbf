"""What `kisi check` asks Tigerpaw, and the proof that a template does what it should.

`--online` asks for keys, clock, database and rights, and writes nothing. The SOAP login is not
among it: no operation of that service is known that would do nothing. `--probe-tigerpaw AGREEMENT`
writes, step by step, only on a terminal and only after a person agreed; it is the one place that
uses a template that nobody has verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kisi.errors import ForeignChange, PsaError
from kisi.model import Action, AgreementRef, Finding, Level, Line, PlannedLine
from kisi.psa import ProbeStep
from kisi.psa.foreign import foreign_changes, own_line
from kisi.psa.http import found
from kisi.psa.tigerpaw.records import AgreementRecord, names_product
from kisi.psa.tigerpaw.wire import Wire, charge_values
from kisi.redaction import remote_text

_RIGHTS = (
    ("/api/accounts/search", "AccountName", "Accounts"),
    ("/api/agreements/search", "AgreementNumber", "Recurring agreements"),
    ("/api/pricebook/items/search", "ItemId", "Price book items"),
)


class Checks(Wire):
    """What `kisi check --online` asks."""

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:  # noqa: ARG002
        """Keys, clock, database and rights; the first alone if nothing answers or keys are refused.

        Nothing here needs a mapped agreement.
        """
        try:
            self.get("/api/diagnostics/validate/user")
        except PsaError as error:
            return (Finding.of(error),)
        return (
            Finding(Level.OK, f"{self.label} accepted the REST keys."),
            self.clock_finding(),
            found(self._database),
            found(self._external_product),
            *(self._right_to_read(*right) for right in _RIGHTS),
            self._writes(),
        )

    def _database(self) -> Finding:
        answer = self.get("/api/diagnostics/productInformation")
        fields = answer if isinstance(answer, dict) else {}
        if fields.get("IsArchivedDatabase") is True:
            return Finding(
                Level.PROBLEM,
                f"{self.label} serves an archived database: nothing in it is invoiced any more.",
                "Correct url in kisi.toml.",
            )
        version = remote_text(str(fields.get("DatabaseVersion") or ""), 40)
        if not version:
            return Finding(Level.NOTE, f"{self.label} does not say which version it is.")
        return Finding(Level.OK, f"{self.label} runs database version {version}.")

    def _external_product(self) -> Finding:
        product, every = self._settings.external_product, {"excludeSystemEntries": "false"}
        answer = self.get("/api/mastertables/externalproducts", every)
        records = answer if isinstance(answer, list) else []
        named = [record for record in records if names_product(record, product)]
        if not named:
            return Finding(
                Level.PROBLEM,
                f'{self.label} has no External Product "{product}", so no account can be '
                "cross-referenced to it.",
                "Make it in Edit > Master Tables > Account > External Products > New, or correct "
                "external_product in kisi.toml.",
            )
        if all(record.get("Active") is False for record in named):
            return Finding(
                Level.PROBLEM,
                f'The External Product "{product}" of {self.label} is not active.',
                "Activate it in Edit > Master Tables > Account > External Products.",
            )
        return Finding(Level.OK, f'{self.label} has the External Product "{product}".')

    def _right_to_read(self, path: str, search_type: str, right: str) -> Finding:
        remedy = f'Give the rep\'s security role "{right}: get".'
        try:
            _, _, total = self.page(path, search_type, self._settings.first_row, size=1)
        except PsaError as error:
            return Finding(Level.PROBLEM, error.message, remedy)
        if not total:
            message = f"{self.label} shows no record at all of {right}."
            return Finding(Level.PROBLEM, message, remedy)
        return Finding(Level.OK, f"The rep may read {right} of {self.label} ({total}).")

    def _writes(self) -> Finding:
        if self._settings.write == "report":
            return Finding(Level.NOTE, f"{self.label} is set to report: kisi writes nothing there.")
        if self._settings.soap_template_verified:
            return Finding(Level.NOTE, f"The SOAP login of {self.label} shows only at a write.")
        return Finding(
            Level.PROBLEM,
            f"The SOAP template of {self.label} is not proven, so every write is held.",
            "Run `kisi check --probe-tigerpaw AGREEMENT` on a scratch agreement.",
        )


def probe_steps(
    psa: Wire, agreement: AgreementRecord, item: str, confirm: Callable[[str], bool]
) -> Iterator[ProbeStep]:
    """Create with quantity 1, set to 2, submit the same again, set to 0; look after each.

    Each step is handed over as soon as it is done; the first that fails is the last. The charge
    itself stays, with quantity 0.
    """
    ref = AgreementRef(psa.name, agreement.company, agreement.id)
    try:
        yield from _Probe(psa, ref, item).steps(confirm)
    except PsaError as error:
        yield ProbeStep(error.message, passed=False, foreign=isinstance(error, ForeignChange))


@dataclass(frozen=True, slots=True)
class _Probe:
    psa: Wire
    ref: AgreementRef
    item: str

    def steps(self, confirm: Callable[[str], bool]) -> Iterator[ProbeStep]:
        number, before = self.ref.agreement, self._look()
        yield ProbeStep(f"Agreement {number} holds {len(before)} charges.")
        question = f"Submit a charge of item {self.item} with quantity 1 to agreement {number}? "
        if not confirm(f"{question}Nothing on it may be worth keeping."):
            raise PsaError("You did not agree, and nothing was sent.")
        before, own = self._submit(before, None, 1)
        yield ProbeStep(f"A new charge {own.id} came, all others are unchanged.")
        before, own = self._submit(before, own, 2)
        yield ProbeStep("Its quantity went to 2, all others are unchanged.")
        again, own = self._submit(before, own, 2)
        if again != before:
            raise PsaError(f"Submitting the same again changed charge {own.id}.")
        yield ProbeStep("Submitting the same again changed nothing.")
        _, own = self._submit(again, own, 0)
        yield ProbeStep(
            "Its quantity went to 0, all others are unchanged. The template is proven: "
            f"set soap_template_verified = true, and remove charge {own.id} by hand.",
        )

    def _look(self) -> tuple[Line, ...]:
        charges, number = self.psa.lines(self.ref), self.ref.agreement
        recurring = [charge for charge in charges if not charge.one_time]
        if any(charge.product == self.item for charge in recurring):
            raise PsaError(
                f"Agreement {number} has a charge of item {self.item} already. Remove it, or "
                "choose another agreement."
            )
        if not any(charge.quantity for charge in recurring):
            raise PsaError(
                f"Agreement {number} has no recurring charge with a quantity. Add one by hand: the "
                "probe must see that it stays as it is."
            )
        return charges

    def _submit(
        self, before: tuple[Line, ...], own: Line | None, quantity: int
    ) -> tuple[tuple[Line, ...], Line]:
        """Submit our charge, look again, demand exactly the quantity."""
        ref = self.ref
        written = PlannedLine(
            psa=ref.psa,
            company=ref.company,
            agreement=ref.agreement,
            application="",
            categories=(),
            product=self.item,
            line_id=own.id if own else None,
            action=Action.UPDATE if own else Action.CREATE,
            before=own.quantity if own else None,
            after=quantity,
        )
        answer = self.psa.submit(charge_values(written, own, "kisi probe"))
        after = self.psa.lines(ref)
        changes = foreign_changes(written, before, after)
        if changes:
            raise ForeignChange(
                f"With a submit of quantity {quantity} something else changed: "
                f"{'; '.join(changes)}. This template must not be used: it does not leave other "
                "charges alone."
            )
        found = own_line(written, before, after)
        if found is None or found.quantity != quantity:
            seen = f"shows {found.quantity}" if found else "is not there"
            raise PsaError(
                f"After a submit of quantity {quantity} the charge {seen}. {answer.message}"
            )
        return after, found
