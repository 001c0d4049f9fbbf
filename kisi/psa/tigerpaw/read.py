"""What kisi reads of Tigerpaw, and whether an account and an agreement are fit to bill.

`Reads` takes one request a method unless it says otherwise; `validate_agreement` is pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from kisi.errors import PsaError
from kisi.model import Agreement, AgreementRef, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.common import move, move_by_hand
from kisi.psa.tigerpaw.records import (
    AgreementRecord,
    Charge,
    names_product,
    proven_of,
    read_account,
    read_agreement,
    read_agreements,
    read_charges,
    read_item,
)
from kisi.psa.tigerpaw.rest import NotFound, Rest


class Reads:
    """Account, agreement, charges and items of one Tigerpaw.

    Every method raises `PsaError` for what could not be read whole, and `Unusable` where no other
    read could succeed either.

    Args:
        rest: What sends the requests.
        external_product: The External Product that accounts must be cross-referenced to.
        item_field: The field of a charge that holds the price book `ItemId`.
    """

    def __init__(self, rest: Rest, *, external_product: str, item_field: str) -> None:
        self._rest = rest
        self._external_product = external_product
        self._item_field = item_field
        self._items: dict[str, PsaProduct | None] = {}

    def cross_referenced(self, account: str) -> bool | None:
        """Whether the account has our External Product; None: there is no such account."""
        path = f"/api/accounts/{account}/service/externalproducts"
        try:
            answer = self._rest.get(path)
        except NotFound:
            return None
        records = self._rest.parse(_records, answer, path)
        return any(names_product(record, self._external_product) for record in records)

    def agreement(self, number: str) -> AgreementRecord | None:
        """The agreement of this number; None: there is none."""
        path = f"/api/agreements/{number}"
        try:
            answer = self._rest.get(path)
        except NotFound:
            return None
        return self._rest.parse(read_agreement, answer, path) if answer else None

    def agreements_of(self, account: str) -> tuple[AgreementRecord, ...]:
        """Every agreement of an account, also ended ones; none where there is no such account."""
        path = f"/api/agreements/account/{account}"
        try:
            answer = self._rest.get(path, {"activeOnly": "false"})
        except NotFound:
            return ()
        return self._rest.parse(lambda page: read_agreements(page, account), answer, path)

    def charges(self, agreement: str) -> tuple[Charge, ...]:
        """All additional charges of one agreement."""
        path = f"/api/agreements/{agreement}/additionalcharges"
        return self._charges(self._rest.get(path), agreement, path)

    def charge(self, agreement: str, number: str) -> Charge | None:
        """The additional charge of this number; None: the agreement has none."""
        path = f"/api/agreements/{agreement}/additionalcharges/{number}"
        try:
            answer = self._rest.get(path)
        except NotFound:
            return None
        if answer is None:
            return None
        (found,) = self._charges([answer], agreement, path)
        if found.id != number:
            raise PsaError(
                f"{self._rest.label} was asked for {path} and gave charge {found.id:.40}. Nothing "
                "of its answer was used.",
                remedy="Try again.",
            )
        return found

    def _charges(self, answer: object, agreement: str, path: str) -> tuple[Charge, ...]:
        def read(rows: object) -> tuple[Charge, ...]:
            return proven_of(agreement, read_charges(rows, self._item_field))

        return self._rest.parse(read, answer, path)

    def items(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """Those of the named price book items that exist; each is asked for once in a run."""
        for item in ids:
            if item not in self._items:
                self._items[item] = self._item(item)
        found = {item: self._items[item] for item in ids}
        return {item: product for item, product in found.items() if product}

    def _item(self, item: str) -> PsaProduct | None:
        path = "/api/pricebook/items/details"
        try:
            answer = self._rest.get(path, {"itemId": item})
        except NotFound:
            return None
        product = self._rest.parse(read_item, answer, path) if answer else None
        return product if product and product.id == item else None

    def all_accounts(self) -> tuple[PsaCompany, ...]:
        """Every account; one request for each 100."""
        return tuple(self._rest.search("/api/accounts/search", "AccountName", read_account))

    def all_agreements(self, today: date) -> tuple[PsaAgreement, ...]:
        """Every agreement; one request for each 100."""
        found = self._rest.search("/api/agreements/search", "AgreementNumber", read_agreement)
        return tuple(record.as_psa_agreement(today) for record in found)

    def all_items(self) -> tuple[PsaProduct, ...]:
        """Every price book item; one request for each 100."""
        return tuple(self._rest.search("/api/pricebook/items/search", "ItemId", read_item))


def _records(answer: object) -> list[object]:
    if not isinstance(answer, list):
        raise ValueError("it is not a list")  # noqa: TRY004
    return answer


def validate_agreement(
    ref: AgreementRef,
    agreement: AgreementRecord | None,
    *,
    cross_referenced: bool | None,
    external_product: str,
    today: date,
) -> Agreement:
    """An agreement, compared with the client that is mapped to it.

    Args:
        ref: The mapped account and agreement.
        agreement: What Tigerpaw has under that number; None: nothing.
        cross_referenced: Whether the account has a cross reference to `external_product`; None:
            Tigerpaw knows no such account.
        external_product: The External Product that the API user is bound to.
        today: The day in the billing time zone.
    """
    if cross_referenced is None:
        not_billable: NotBillable | None = _no_account(ref)
    elif agreement is None:
        not_billable = _no_agreement(ref)
    elif agreement.number != ref.agreement:
        not_billable = _of_another_number(ref, agreement)
    elif agreement.account != ref.company:
        not_billable = _of_another_account(ref, agreement)
    elif not cross_referenced:
        not_billable = _not_cross_referenced(ref, agreement, external_product)
    else:
        not_billable = _out_of_term(ref, agreement, today)
    return Agreement(
        ref=ref,
        name=agreement.kind if agreement else "",
        not_billable=not_billable,
        bill_start=agreement.starts if agreement else None,
        ends=agreement.ends if agreement else None,
        gone=agreement is None or not agreement.active(today),
    )


def is_number(text: str) -> bool:
    """Whether an account, agreement or charge can have this number."""
    return text.isascii() and text.isdigit()


def not_a_number(ref: AgreementRef) -> Agreement | None:
    """What ids that Tigerpaw cannot have make of it, so that nothing need be asked; else None."""
    for guard, value in (("account", ref.company), ("agreement", ref.agreement)):
        if not is_number(value):
            not_billable = NotBillable(
                guard,
                f'"{value:.40}" is not a Tigerpaw {guard} number.',
                f"Correct the {guard} in mapping.toml; `kisi map list` shows the numbers.",
            )
            return Agreement(ref=ref, not_billable=not_billable)
    return None


def _no_account(ref: AgreementRef) -> NotBillable:
    return NotBillable(
        "account",
        f"Tigerpaw has no account {ref.company}.",
        "Correct company in mapping.toml: it is Tigerpaw's account number, not its account id.",
    )


def _no_agreement(ref: AgreementRef) -> NotBillable:
    return NotBillable(
        "agreement",
        f"Tigerpaw has no agreement {ref.agreement}.",
        f"If another one takes its place: {move(ref)}.",
    )


def _of_another_number(ref: AgreementRef, agreement: AgreementRecord) -> NotBillable:
    return NotBillable(
        "agreement",
        f"Tigerpaw calls agreement {ref.agreement} {agreement.number:.40}.",
        f'Write "{agreement.number:.40}" in mapping.toml, so that no agreement has two names.',
    )


def _of_another_account(ref: AgreementRef, agreement: AgreementRecord) -> NotBillable:
    owner = f"{agreement.account} ({agreement.account_name})" if agreement.account_name else ""
    return NotBillable(
        "agreement",
        f"Agreement {ref.agreement} belongs to account {owner or agreement.account}, not to "
        f"account {ref.company}.",
        "Correct company or agreement in mapping.toml.",
    )


def _not_cross_referenced(
    ref: AgreementRef, agreement: AgreementRecord, external_product: str
) -> NotBillable:
    account = f"{ref.company} ({agreement.account_name})" if agreement.account_name else ref.company
    return NotBillable(
        "account",
        f'Account {account} is not cross-referenced to the External Product "{external_product}", '
        "so its agreements cannot be billed by the API user.",
        f"In Tigerpaw open the account, choose Assign External Products to an Account, and add "
        f'"{external_product}" with any External ID. If the list does not offer it, make it first '
        "in Edit > Master Tables > Account > External Products > New.",
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
