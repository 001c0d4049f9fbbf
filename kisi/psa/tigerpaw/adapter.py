"""Tigerpaw as a `kisi.psa.Psa`: two reads and a judgement a client, one read of its charges.

What is public says neither whether a submit changes one charge or replaces the agreement's whole
list, nor whether a repeat is safe. So `kisi.apply` compares all charges after each write.

`kisi check --online` does not ask for the SOAP login: no operation of that service is known that
would do nothing. `--probe-tigerpaw AGREEMENT` proves that a template does what it should. It
writes, step by step, only on a terminal and only after a person agreed; it is the one place that
uses a template that nobody has verified.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypeVar

from kisi.errors import ConfigError, ForeignChange, KisiError, PsaError
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Finding,
    Hold,
    Level,
    Line,
    NotBillable,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.psa import ProbeStep, PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.http import found
from kisi.psa.interface import Agreements, ByCompany, foreign_changes, own_line
from kisi.psa.tigerpaw import records
from kisi.psa.tigerpaw.wire import KeysRefused, NotFound, Unusable, Wire, charge_values
from kisi.redaction import remote_text

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")
_RIGHTS = (
    ("/api/accounts/search", "AccountName", "Accounts"),
    ("/api/agreements/search", "AgreementNumber", "Recurring agreements"),
    ("/api/pricebook/items/search", "ItemId", "Price book items"),
)


class Tigerpaw(Wire):
    """One Tigerpaw.

    A method is one request, unless it says otherwise; `Unusable` says that none can succeed.
    """

    if_others_change = (
        "Compare the charges in Tigerpaw with what `kisi check` shows from before, and restore "
        "them. If nobody edited the agreement at that moment, the template does not do what it "
        "should: set soap_template_verified = false and compare it with the vendor's SOAP guide. "
        "Then run `kisi check --repair`: until then kisi sends nothing to this Tigerpaw."
    )

    def _set_up(self) -> None:
        super()._set_up()
        self._items: dict[str, PsaProduct | None] = {}
        self._counted: dict[str, int] = {}
        """How many charges an agreement says it has: its list must not be shorter."""
        self._charges: dict[str, tuple[Line, ...]] = {}
        """The charges of an agreement as they were read last."""

    def withheld(self) -> Hold | None:
        """Every write is held in report mode, and without a proven template."""
        if self._settings.write == "report":
            return Hold(
                "report",
                f"{self.label} is set to report: kisi shows the exact change and sends nothing.",
                'Make the change in Tigerpaw by hand, or let kisi write: write = "soap" in '
                f"[psa.{self.name}] (docs/tigerpaw.md says what to prove first).",
            )
        if not self._settings.soap_template_verified:
            return Hold(
                "template",
                f"Nobody has proven yet that the SOAP template of {self.label} changes one "
                "charge and leaves all others alone, so kisi sends nothing.",
                "Run `kisi check --probe-tigerpaw AGREEMENT` on a scratch agreement; if it "
                f"passes, set soap_template_verified = true in [psa.{self.name}].",
            )
        return None

    def agreements(self, refs: Collection[AgreementRef], today: date) -> Agreements:
        """Two requests for each, one where its account was read before.

        Once the API as a whole cannot be used, the remaining agreements get that error unasked.
        """
        found: dict[AgreementRef, Agreement | KisiError] = {}
        accounts: dict[str, bool | None] = {}
        others: list[str] = []
        ended: Unusable | None = None
        for ref in refs:
            try:
                found[ref] = ended or self._validated(ref, today, accounts, others)
            except Unusable as error:
                if not found:
                    raise
                found[ref] = ended = error
            except PsaError as error:
                found[ref] = error
        if others:
            ours, named = self._settings.external_product, ", ".join(others[:10])
            _log.warning(
                "%s: on %d of the mapped agreements another External Product than %r is set: %s. "
                "What that means is not documented; they are billed as mapped.",
                *(self.label, len(others), ours, named),
            )
        return found

    def _validated(
        self, ref: AgreementRef, today: date, accounts: dict[str, bool | None], others: list[str]
    ) -> Agreement:
        for guard, value in (("account", ref.company), ("agreement", ref.agreement)):
            if not is_number(value):
                not_billable = NotBillable(
                    guard,
                    f'"{value:.40}" is not a Tigerpaw {guard} number.',
                    f"Correct the {guard} in mapping.toml; `kisi map list` shows the numbers.",
                )
                return Agreement(ref=ref, not_billable=not_billable)
        if ref.company not in accounts:
            accounts[ref.company] = self._cross_referenced(ref.company)
        record = self._agreement(ref.agreement, today)
        product, ours = record.external_product if record else "", self._settings.external_product
        if product and not records.names_product({"Product": product}, ours):
            others.append(f"{ref.agreement} ({product:.40})")
        cross = accounts[ref.company]
        return records.validate_agreement(ref, record, today, cross=cross, product=ours)

    def _cross_referenced(self, account: str) -> bool | None:
        """Whether the account has our External Product; None: there is no such account."""

        def read(answer: object) -> bool:
            if not isinstance(answer, list):
                raise ValueError("it is not a list")  # noqa: TRY004
            ours = self._settings.external_product
            return any(records.names_product(one, ours) for one in answer)

        return self._found(f"/api/accounts/{account}/service/externalproducts", read)

    def _agreement(self, number: str, today: date | None = None) -> records.AgreementRecord | None:
        """The agreement of this number; None: there is none."""
        read = partial(records.read_agreement, today=today or self._clock.now().date())
        record = self._found(f"/api/agreements/{number}", read, maybe_empty=True)
        if record is not None and record.id == number:
            self._count(record)
        return record

    def _found(
        self,
        path: str,
        read: Callable[[object], _Read],
        params: Mapping[str, str] | None = None,
        *,
        maybe_empty: bool = False,
    ) -> _Read | None:
        """What `read` makes of one answer; None for a 404, or for one that says nothing."""
        try:
            answer = self.get(path, params)
        except NotFound:
            return None
        return None if maybe_empty and not answer else self.parse(read, answer, path)

    def agreements_of(self, companies: Collection[str], today: date) -> ByCompany:
        """One request an account.

        Cross references are not asked for: what an agreement bills does not depend on them.
        """
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for account in filter(is_number, found):
            path, params = f"/api/agreements/account/{account}", {"activeOnly": "false"}
            read = partial(records.read_agreements, account=account, today=today)
            known = self._found(path, read, params)
            for record in known or ():
                self._count(record)
                ref = AgreementRef(self.name, account, record.id)
                validated = records.validate_agreement(ref, record, today, cross=True, product="")
                if not validated.gone:
                    found[account] += (validated,)
        return found

    def _count(self, record: records.AgreementRecord) -> None:
        if record.charges is not None and self._settings.charges_counted:
            self._counted[record.id] = record.charges

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additional charges of one agreement, whatever `products` are: the API has no filter.

        They must not be fewer than the agreement itself counts. Where the list is to prove that
        there is no charge of `products`, it must have counted since the last submit, or is asked.
        """
        number = ref.agreement
        if products is not None and number not in self._counted and is_number(number):
            self._agreement(number)
        path = f"/api/agreements/{number}/additionalcharges"
        charges = self.parse(partial(self._charges_in, agreement=number), self.get(path), path)
        counted = self._counted.get(number, 0)
        if len(charges) < counted:
            raise PsaError(
                f"{self.label} says that agreement {number} has {counted} additional "
                f"charges and gave {len(charges)} of them.",
                remedy="Try again. If it keeps happening, compare AdditionalCharges of "
                f"/api/agreements/{number} with the list of its additional charges; if it "
                f"counts something else, set `charges_counted = false` in [psa.{self.name}].",
            )
        self._charges[number] = charges
        return charges

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One additional charge by its number."""
        if not (is_number(ref.agreement) and is_number(line_id)):
            return None
        path = f"/api/agreements/{ref.agreement}/additionalcharges/{line_id}"
        read = partial(self._charges_in, agreement=ref.agreement)
        found = self._found(path, lambda one: None if one is None else read([one])[0])
        if found is None:
            return None
        if found.id != line_id:
            raise PsaError(
                f"{self.label} was asked for {path} and gave charge {found.id:.40}. Nothing "
                "of its answer was used.",
                remedy="Try again.",
            )
        return found

    def _charges_in(self, answer: object, agreement: str) -> tuple[Line, ...]:
        return records.read_charges(answer, self._settings.item_field, agreement)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """Those of the named price book items that exist; each is asked for once in a run."""
        for item in ids:
            if item not in self._items:
                path, params = "/api/pricebook/items/details", {"itemId": item}
                found = self._found(path, records.read_item, params, maybe_empty=True)
                self._items[item] = found if found and found.id == item else None
        return {item: product for item in ids if (product := self._items[item]) is not None}

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every account; one request for each 100, as of the next two."""
        return tuple(self.search("/api/accounts/search", "AccountName", records.read_account))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement."""
        read = partial(records.read_agreement, today=self._clock.now().date())
        return tuple(self.search("/api/agreements/search", "AgreementNumber", read))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every price book item."""
        return tuple(self.search("/api/pricebook/items/search", "ItemId", records.read_item))

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:  # noqa: ARG002
        """Submits one charge. A new one is refused unsent if its item is missing or inactive.

        There is no date to give: the quantity counts for whatever Tigerpaw bills next. A charge
        keeps what it had when `lines` read it last.
        """
        hold = self.withheld()
        if hold:
            return WriteResult(WriteStatus.REJECTED, hold.reason)
        try:
            charge = self._to_submit(line)
        except KeysRefused as error:
            message = f"{error.message} Nothing was sent."
            return WriteResult(WriteStatus.REJECTED, message, denied=True)
        except PsaError as error:
            return WriteResult(WriteStatus.NOT_SENT, f"{error.message} Nothing was sent.")
        if isinstance(charge, WriteResult):
            return charge
        self._counted.pop(line.agreement, None)
        return self.submit(charge)

    def _to_submit(self, line: PlannedLine) -> dict[str, object] | WriteResult:
        if line.line_id is None:
            item = self.products([line.product]).get(line.product)
            if item is not None and item.active:
                return charge_values(line, None, line.description or item.name)
            state = "is inactive in the price book" if item else "is not in the price book"
            return WriteResult(
                WriteStatus.REJECTED,
                f"Item {line.product} {state} of {self.label}. Nothing was sent: a new "
                "charge needs an active item (Tigerpaw's ItemId, in the same case).",
            )
        known = self._charges.get(line.agreement)
        listed = self.lines(line.ref) if known is None else known
        own = next((charge for charge in listed if charge.id == line.line_id), None)
        if own is None:
            said = f"Charge {line.line_id} of agreement {line.agreement} is no longer there."
            return WriteResult(WriteStatus.STALE, f"{said} Nothing was sent.")
        return charge_values(line, own, "")

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
            raise PsaError(
                f"{self.label} serves an archived database: nothing in it is invoiced any more.",
                remedy="Correct url in kisi.toml.",
            )
        version = remote_text(str(fields.get("DatabaseVersion") or ""), 40)
        if not version:
            return Finding(Level.NOTE, f"{self.label} does not say which version it is.")
        return Finding(Level.OK, f"{self.label} runs database version {version}.")

    def _external_product(self) -> str:
        product, every = self._settings.external_product, {"excludeSystemEntries": "false"}
        answer = self.get("/api/mastertables/externalproducts", every)
        known = answer if isinstance(answer, list) else []
        named = [record for record in known if records.names_product(record, product)]
        if not named:
            raise PsaError(
                f'{self.label} has no External Product "{product}", so no account can be '
                "cross-referenced to it.",
                remedy="Make it in Edit > Master Tables > Account > External Products > New, or "
                "correct external_product in kisi.toml.",
            )
        if all(record.get("Active") is False for record in named):
            raise PsaError(
                f'The External Product "{product}" of {self.label} is not active.',
                remedy="Activate it in Edit > Master Tables > Account > External Products.",
            )
        return f'{self.label} has the External Product "{product}".'

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

    def probe(
        self, agreement: str, item: str, confirm: Callable[[str], bool]
    ) -> Iterator[ProbeStep]:
        """Proves the SOAP template; `item` is the price book `ItemId` to make a charge of."""
        if self._settings.write == "report":
            raise ConfigError(
                f"The probe of {self.label} needs the SOAP login, which kisi has only with "
                'write = "soap".',
                remedy=f'Set write = "soap" in [psa.{self.name}] and leave soap_template_verified '
                "= false: nothing is written but the probe.",
            )
        record = self._agreement(agreement) if agreement.isdigit() else None
        if record is None:
            raise PsaError(f"{self.label} has no agreement {agreement:.40}.")
        self._counted.clear()
        return probe_steps(self, record, item, confirm)


def is_number(text: str) -> bool:
    """Whether an account, agreement or charge can have this number."""
    return text.isascii() and text.isdigit()


def probe_steps(
    psa: Wire, agreement: records.AgreementRecord, item: str, confirm: Callable[[str], bool]
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
