"""What kisi reads of Tigerpaw, and whether an account and an agreement are fit to bill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import partial
from typing import TypeVar

from kisi.errors import KisiError, PsaError
from kisi.model import Agreement, AgreementRef, Line, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.common import move, move_by_hand
from kisi.psa.tigerpaw.records import (
    AgreementRecord,
    names_product,
    read_account,
    read_agreement,
    read_agreements,
    read_charges,
    read_item,
)
from kisi.psa.tigerpaw.rest import NotFound, Rest, Unusable
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.transport import Clock

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")


class Reads:
    """The reading half of `kisi.psa.Psa`; a request each, unless a method says otherwise.

    Every method raises `PsaError` for what could not be read whole, and `Unusable` where no other
    read could succeed either.
    """

    def __init__(self, name: str, settings: TigerpawSettings, rest: Rest, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self._items: dict[str, PsaProduct | None] = {}
        self._counted: dict[str, int] = {}
        """How many charges an agreement says it has: its list must not be shorter."""
        self._charges: dict[str, tuple[Line, ...]] = {}
        """The charges of an agreement as they were read last."""

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
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
            _log.warning(
                "%s: on %d of the mapped agreements another External Product than %r is set: %s. "
                "What that means is not documented; they are billed as mapped.",
                self._rest.label,
                len(others),
                self._settings.external_product,
                ", ".join(others[:10]),
            )
        return found

    def _validated(
        self,
        ref: AgreementRef,
        today: date,
        accounts: dict[str, bool | None],
        others: list[str],
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
        record = self._agreement(ref.agreement)
        product = record.external_product if record else ""
        if product and not names_product({"Product": product}, self._settings.external_product):
            others.append(f"{ref.agreement} ({product:.40})")
        return self._validate(ref, record, cross=accounts[ref.company], today=today)

    def _validate(
        self, ref: AgreementRef, record: AgreementRecord | None, *, cross: bool | None, today: date
    ) -> Agreement:
        """An agreement, compared with the client that is mapped to it.

        `record` is None where Tigerpaw has none of that number, `cross` None where it has no such
        account, and else says whether the account is cross-referenced to our External Product.
        """
        not_billable: NotBillable | None
        if cross is None:
            not_billable = NotBillable(
                "account",
                f"Tigerpaw has no account {ref.company}.",
                "Correct company in mapping.toml: it is Tigerpaw's account number, not its account "
                "id.",
            )
        elif record is None:
            not_billable = NotBillable(
                "agreement",
                f"Tigerpaw has no agreement {ref.agreement}.",
                f"If another one takes its place: {move(ref)}.",
            )
        else:
            not_billable = _of_another(ref, record)
            if not_billable is None and not cross:
                not_billable = _not_cross_referenced(ref, record, self._settings.external_product)
            not_billable = not_billable or _out_of_term(ref, record, today)
        return Agreement(
            ref=ref,
            name=record.kind if record else "",
            not_billable=not_billable,
            bill_start=record.starts if record else None,
            ends=record.ends if record else None,
            gone=record is None or not record.active(today),
        )

    def _cross_referenced(self, account: str) -> bool | None:
        """Whether the account has our External Product; None: there is no such account."""

        def read(answer: object) -> bool:
            if not isinstance(answer, list):
                raise ValueError("it is not a list")  # noqa: TRY004
            return any(names_product(one, self._settings.external_product) for one in answer)

        return self._found(f"/api/accounts/{account}/service/externalproducts", read)

    def _agreement(self, number: str) -> AgreementRecord | None:
        """The agreement of this number; None: there is none."""
        record = self._found(f"/api/agreements/{number}", read_agreement, maybe_empty=True)
        if record is not None and record.number == number:
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
            answer = self._rest.get(path, params)
        except NotFound:
            return None
        return None if maybe_empty and not answer else self._rest.parse(read, answer, path)

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """The agreements of each account that are active on `today`; one request an account.

        Cross references are not asked for: what an agreement bills does not depend on them.
        """
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for account in filter(is_number, found):
            path, params = f"/api/agreements/account/{account}", {"activeOnly": "false"}
            known = self._found(path, partial(read_agreements, account=account), params)
            for record in known or ():
                self._count(record)
                ref = AgreementRef(self.name, account, record.number)
                validated = self._validate(ref, record, cross=True, today=today)
                if not validated.gone:
                    found[account] += (validated,)
        return found

    def _count(self, record: AgreementRecord) -> None:
        if record.charges is not None and self._settings.charges_counted:
            self._counted[record.number] = record.charges

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additional charges of one agreement, whatever `products` are: the API has no filter.

        Where the list is to prove that there is no charge of `products`, the agreement must have
        counted its charges in this run and since the last submit to it; if it did not, it is asked
        once more, which is a second request.

        Raises:
            PsaError: They could not be read, or are fewer than the agreement itself counted.
        """
        number = ref.agreement
        if products is not None and number not in self._counted and is_number(number):
            self._agreement(number)
        path = f"/api/agreements/{number}/additionalcharges"
        charges = self._read_charges(self._rest.get(path), number, path)
        counted = self._counted.get(number, 0)
        if len(charges) < counted:
            raise PsaError(
                f"{self._rest.label} says that agreement {number} has {counted} additional "
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
        try:
            answer = self._rest.get(path)
        except NotFound:
            answer = None
        if answer is None:
            return None
        (found,) = self._read_charges([answer], ref.agreement, path)
        if found.id != line_id:
            raise PsaError(
                f"{self._rest.label} was asked for {path} and gave charge {found.id:.40}. Nothing "
                "of its answer was used.",
                remedy="Try again.",
            )
        return found

    def _read_charges(self, answer: object, agreement: str, path: str) -> tuple[Line, ...]:
        field = self._settings.item_field
        return self._rest.parse(lambda rows: read_charges(rows, field, agreement), answer, path)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """Those of the named price book items that exist; each is asked for once in a run."""
        for item in ids:
            if item not in self._items:
                path, params = "/api/pricebook/items/details", {"itemId": item}
                found = self._found(path, read_item, params, maybe_empty=True)
                self._items[item] = found if found and found.id == item else None
        return {item: product for item in ids if (product := self._items[item]) is not None}

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every account; one request for each 100, as of the next two."""
        return tuple(self._rest.search("/api/accounts/search", "AccountName", read_account))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement."""
        today = self._clock.now().date()
        found = self._rest.search("/api/agreements/search", "AgreementNumber", read_agreement)
        return tuple(
            PsaAgreement(
                id=record.number,
                company=record.account,
                name=record.kind or f"Agreement {record.number}",
                kind=record.kind,
                active=record.active(today),
                starts=record.starts,
                ends=record.ends,
            )
            for record in found
        )

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every price book item."""
        return tuple(self._rest.search("/api/pricebook/items/search", "ItemId", read_item))


def is_number(text: str) -> bool:
    """Whether an account, agreement or charge can have this number."""
    return text.isascii() and text.isdigit()


def _of_another(ref: AgreementRef, agreement: AgreementRecord) -> NotBillable | None:
    if agreement.number != ref.agreement:
        return NotBillable(
            "agreement",
            f"Tigerpaw calls agreement {ref.agreement} {agreement.number:.40}.",
            f'Write "{agreement.number:.40}" in mapping.toml, so that no agreement has two names.',
        )
    if agreement.account != ref.company:
        return NotBillable(
            "agreement",
            f"Agreement {ref.agreement} belongs to account "
            f"{_named(agreement.account, agreement)}, not to account {ref.company}.",
            "Correct company or agreement in mapping.toml.",
        )
    return None


def _named(account: str, agreement: AgreementRecord) -> str:
    return f"{account} ({agreement.account_name})" if agreement.account_name else account


def _not_cross_referenced(ref: AgreementRef, agreement: AgreementRecord, ours: str) -> NotBillable:
    return NotBillable(
        "account",
        f"Account {_named(ref.company, agreement)} is not cross-referenced to the External Product "
        f'"{ours}", so its agreements cannot be billed by the API user.',
        "In Tigerpaw open the account, choose Assign External Products to an Account, and add "
        f'"{ours}" with any External ID. If the list does not offer it, make it first in Edit > '
        "Master Tables > Account > External Products > New.",
    )


def _out_of_term(ref: AgreementRef, agreement: AgreementRecord, today: date) -> NotBillable | None:
    if agreement.starts and agreement.starts > today:
        return NotBillable(
            "agreement",
            f"Agreement {ref.agreement} starts on {agreement.starts}.",
            "Nothing to do if it is to be billed from then on; otherwise name the agreement that "
            f"is active today: {move_by_hand(ref)}.",
        )
    if agreement.ends and agreement.ends < today:
        return NotBillable(
            "agreement",
            f"Agreement {ref.agreement} ended on {agreement.ends}.",
            f"Extend it in Tigerpaw. If another one follows it: {move(ref)}.",
        )
    return None
