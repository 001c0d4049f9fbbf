"""What kisi reads of Tigerpaw, one request a method unless it says otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from kisi.errors import PsaError
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
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


def _whole_page(answer: object) -> tuple[AgreementRecord, ...]:
    fields = answer if isinstance(answer, dict) else {}
    records = _records(fields.get("Agreements"))
    if fields.get("TotalCount") != len(records):
        raise ValueError(f"it has {len(records)} of {fields.get('TotalCount')} agreements")
    return tuple(map(read_agreement, records))


def _records(answer: object) -> list[object]:
    if not isinstance(answer, list):
        raise ValueError("it is not a list")  # noqa: TRY004
    return answer
