"""What Tigerpaw's answers say, as values: pure readers of decoded JSON.

Names are those of the models of API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger),
in which every property is optional. So each reader demands what a number on an invoice rests on,
and nothing else; what it demands and does not find is a `ValueError` that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kisi.model import Line
from kisi.psa import PsaCompany, PsaProduct
from kisi.psa.common import LARGEST, exact_number
from kisi.redaction import remote_name, remote_text

Record = Mapping[str, Any]
"""One JSON object."""


def read_charges(answer: object, item_field: str, agreement: str) -> tuple[Line, ...]:
    """The additional charges of one agreement, whole, as lines without dates.

    `item_field` holds a charge's price book `ItemId`. `Line.raw` is the charge as it was received,
    without our secrets.

    Raises:
        ValueError: It is no list, a charge lacks its id, item or quantity, an id is there twice, or
            a charge says that it is another agreement's. (API 18.2.1 documents no such field.)
    """
    if not isinstance(answer, list):
        raise ValueError("the additional charges did not come as a list")  # noqa: TRY004
    charges = tuple(_charge(one, item_field, agreement) for one in answer)
    if len({charge.id for charge in charges}) < len(charges):
        raise ValueError("two additional charges have the same DetailId")
    owners = {str(charge.raw.get("AgreementNumber") or agreement) for charge in charges}
    if not owners <= {agreement}:
        named = remote_text(", ".join(sorted(owners)), 40)
        raise ValueError(f"asked for agreement {agreement}, it gave additional charges of {named}")
    return charges


def _charge(record: object, item_field: str, agreement: str) -> Line:
    if not isinstance(record, dict):
        raise ValueError("an additional charge is not an object")  # noqa: TRY004
    item = record.get(item_field) or ""
    if not isinstance(item, str | int):
        raise ValueError(f"{item_field} of an additional charge is not a text")  # noqa: TRY004
    shown = remote_text(str(item), 40) or "without item"
    number = str(_whole(record, "DetailId", f"an additional charge ({shown})"))
    flat = record.get("UseFlatPrice") is True  # the price is the whole line's
    return Line(
        id=number,
        agreement=agreement,
        product=str(item),
        quantity=Decimal(_whole(record, "Quantity", f"additional charge {number} ({shown})")),
        description=remote_name(str(record.get("ItemDescription") or "")),
        unit_price=None if flat else money(record.get("Price")),
        one_time=record.get("DeleteAfterInvoicing") is True,
        raw={
            name: remote_name(value) if isinstance(value, str) else value
            for name, value in record.items()
        },
    )


def _whole(record: Record, name: str, whose: str) -> int:
    """A whole number; `5.0` is one, `true` and `"5"` are not."""
    value = record.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= LARGEST:
        shown = remote_text(repr(value), 40)
        raise ValueError(f"{name} of {whose} is {shown}, no whole number")
    return value


def money(value: object) -> Decimal | None:
    """A price, or None where there is none."""
    return exact_number(value) if isinstance(value, int | float) else None


def day(value: object) -> date | None:
    """The day of a .NET date-time such as `2026-01-31T00:00:00`; its minimum means no date.

    Raises:
        ValueError: It is a text, and no date.
    """
    if value is None or value == "":
        return None
    found = date.fromisoformat(str(value)[:10])
    return found if found.year > 1 else None


@dataclass(frozen=True, slots=True)
class AgreementRecord:
    """What an `AgreementSummary` says about one agreement."""

    number: str
    account: str
    account_name: str
    kind: str
    external_product: str
    starts: date | None
    ends: date | None
    charges: int | None = None
    """How many additional charges it has; None: it does not say."""

    def active(self, today: date) -> bool:
        """Whether it is in effect on that day."""
        begun = self.starts is None or self.starts <= today
        return begun and (self.ends is None or self.ends >= today)


def read_agreement(record: object) -> AgreementRecord:
    """One `AgreementSummary` or `AgreementDetail`.

    Raises:
        ValueError: It does not say its number or account, or a date is unreadable.
    """
    outer, inner = _object(record), _object(_object(record).get("Agreement"))
    number, account = _number(outer.get("AgreementNumber")), _number(inner.get("AccountNumber"))
    if not number:
        raise ValueError("an agreement does not say its AgreementNumber")
    if not account:
        raise ValueError(f"agreement {number} does not say its AccountNumber")
    return AgreementRecord(
        number=number,
        account=account,
        account_name=remote_name(str(outer.get("AccountName") or "")),
        kind=remote_name(str(inner.get("Type") or "")),
        external_product=str(inner.get("ExternalProduct") or ""),
        starts=day(inner.get("StartDate")),
        ends=day(inner.get("EndDate")),
        charges=_count(outer.get("AdditionalCharges")),
    )


def read_agreements(answer: object, account: str) -> tuple[AgreementRecord, ...]:
    """All agreements of one account, from an `AgreementSearchResult`.

    Raises:
        ValueError: It is none, an agreement is unreadable or of another account, or there are more
            or fewer of them than it says.
    """
    listed, total = _object(answer).get("Agreements"), _object(answer).get("TotalCount")
    records = tuple(read_agreement(one) for one in listed) if isinstance(listed, list) else ()
    if _count(total) is None or len(records) != total:
        shown = remote_text(repr(total), 40)
        raise ValueError(f"it says that there are {shown} agreements and gave {len(records)}")
    others = sorted({record.account for record in records} - {account})
    if others:
        raise ValueError(f"asked for account {account}, it gave agreements of {', '.join(others)}")
    return records


def read_account(record: object) -> PsaCompany:
    """One `AccountSummary`, for `kisi map`.

    Raises:
        ValueError: It does not say its number.
    """
    number = _number(_object(record).get("AccountNumber"))
    if not number:
        raise ValueError("an account does not say its AccountNumber")
    name = _object(_object(record).get("Account")).get("Name")
    return PsaCompany(id=number, name=remote_name(str(name or f"Account {number}")))


def read_item(record: object) -> PsaProduct:
    """One `PriceBookItemSummary` or `PriceBookItemDetail`.

    The price is known only where all price levels of the item agree: which level applies is the
    account's business, which kisi does not read.

    Raises:
        ValueError: It does not say its id.
    """
    outer = _object(record)
    number, details = outer.get("ItemId"), _object(outer.get("Item"))
    if not isinstance(number, str) or not number:
        raise ValueError("a price book item does not say its ItemId")
    levels = [level for level in outer.get("Pricing") or () if isinstance(level, dict)]
    prices = {money(level.get("SellingPrice")) for level in levels}
    return PsaProduct(
        id=number,
        name=remote_name(str(details.get("ItemDescription") or number)),
        active=details.get("Inactive") is not True,
        price=prices.pop() if len(prices) == 1 else None,
    )


def names_product(record: object, product: str) -> bool:
    """Whether an `AccountExternalProduct` or `ExternalProduct` is called `product`, in any case."""
    fields = _object(record)
    name = fields.get("ExternalProduct") or fields.get("Product") or ""
    return str(name).strip().casefold() == product.strip().casefold()


def _object(value: object) -> Record:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    """A number of records; a summary counts its charges, details list them."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> str:
    """An account or agreement number; empty if it is none (0 is the schema's default)."""
    return str(_count(value) or "")
