"""Tigerpaw as a `kisi.psa.Psa`: two reads and a judgement a client, one read of its charges.

What is public says neither whether a submit changes one charge or replaces the agreement's whole
list, nor whether a repeat is safe. So `kisi.apply` compares all charges after each write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from functools import partial
from typing import TypeVar

from kisi.errors import ConfigError, KisiError, PsaError
from kisi.model import (
    Agreement,
    AgreementRef,
    Hold,
    Line,
    NotBillable,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.psa import ProbeStep, PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.interface import Agreements, ByCompany
from kisi.psa.tigerpaw import records
from kisi.psa.tigerpaw.checks import Checks, probe_steps
from kisi.psa.tigerpaw.wire import KeysRefused, NotFound, Unusable, charge_values

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")


class Tigerpaw(Checks):
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
