"""What Tigerpaw's answers say, as values, and whether an agreement is fit to bill. Pure.

Names are those of the models of API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger),
in which every property is optional. So each reader demands what a number on an invoice rests on,
and nothing else; what it demands and does not find is a `ValueError` that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kisi.model import Agreement, AgreementRef, Line, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.records import Row, day, exact_number, move, move_by_hand, name, part, text, whole
from kisi.redaction import remote_name, remote_text


def read_charges(answer: object, item_field: str, agreement: str) -> tuple[Line, ...]:
    """The additional charges of one agreement, whole, as lines without dates.

    `item_field` holds a charge's price book `ItemId`. `Line.raw` is the charge as it was received,
    without our secrets. API 18.2.1 documents no field with which a charge names its agreement.
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
    number = str(whole(record, "DetailId", f"DetailId of an additional charge ({shown})"))
    flat = record.get("UseFlatPrice") is True  # the price is the whole line's
    return Line(
        id=number,
        agreement=agreement,
        product=str(item),
        quantity=Decimal(
            whole(record, "Quantity", f"Quantity of additional charge {number} ({shown})")
        ),
        description=name(record, "ItemDescription"),
        unit_price=None if flat else money(record.get("Price")),
        one_time=record.get("DeleteAfterInvoicing") is True,
        raw={
            name: remote_name(value) if isinstance(value, str) else value
            for name, value in record.items()
        },
    )


def money(value: object) -> Decimal | None:
    """A price, or None where there is none."""
    return exact_number(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class AgreementRecord(PsaAgreement):
    """What an `AgreementSummary` says about one agreement, seen on one day."""

    owner: str = ""
    """The account's name, in brackets, to stand after its number; empty if there is none."""
    external_product: str = ""
    cycle: str = ""
    charges: int | None = None
    """How many additional charges it has; None: it does not say."""


def read_agreement(record: object, today: date) -> AgreementRecord:
    """One `AgreementSummary` or `AgreementDetail`, with its number, account and readable dates."""
    outer = _object(record)
    inner = part(outer, "Agreement")
    number, account = _number(outer.get("AgreementNumber")), _number(inner.get("AccountNumber"))
    if not number:
        raise ValueError("an agreement does not say its AgreementNumber")
    if not account:
        raise ValueError(f"agreement {number} does not say its AccountNumber")
    owner = name(outer, "AccountName")
    kind = name(inner, "Type")
    starts, ends = day(inner, "StartDate"), day(inner, "EndDate")
    return AgreementRecord(
        id=number,
        company=account,
        name=kind or f"Agreement {number}",
        kind=kind,
        active=(starts is None or starts <= today) and (ends is None or ends >= today),
        starts=starts,
        ends=ends,
        owner=f" ({owner})" if owner else "",
        external_product=text(inner, "ExternalProduct"),
        cycle=name(inner, "BillingPeriodDescription"),
        charges=_count(outer.get("AdditionalCharges")),
    )


def read_agreements(answer: object, account: str, today: date) -> tuple[AgreementRecord, ...]:
    """All agreements of one account, from an `AgreementSearchResult`: as many as it says."""
    listed, total = _object(answer).get("Agreements"), _object(answer).get("TotalCount")
    known = listed if isinstance(listed, list) else []
    records = tuple(read_agreement(one, today) for one in known)
    if _count(total) is None or len(records) != total:
        shown = remote_text(repr(total), 40)
        raise ValueError(f"it says that there are {shown} agreements and gave {len(records)}")
    others = sorted({record.company for record in records} - {account})
    if others:
        raise ValueError(f"asked for account {account}, it gave agreements of {', '.join(others)}")
    return records


def read_account(record: object) -> PsaCompany:
    """One `AccountSummary`, for `kisi map`."""
    number = _number(_object(record).get("AccountNumber"))
    if not number:
        raise ValueError("an account does not say its AccountNumber")
    called = name(part(_object(record), "Account"), "Name")
    return PsaCompany(id=number, name=called or f"Account {number}")


def read_item(record: object) -> PsaProduct:
    """One `PriceBookItemSummary` or `PriceBookItemDetail`.

    Its price is known only where all levels agree: kisi does not read which an account has.
    """
    outer = _object(record)
    number, details = outer.get("ItemId"), part(outer, "Item")
    if not isinstance(number, str) or not number:
        raise ValueError("a price book item does not say its ItemId")
    levels = [level for level in outer.get("Pricing") or () if isinstance(level, dict)]
    prices = {money(level.get("SellingPrice")) for level in levels}
    return PsaProduct(
        id=number,
        name=name(details, "ItemDescription") or remote_name(number),
        active=details.get("Inactive") is not True,
        price=prices.pop() if len(prices) == 1 else None,
    )


def names_product(record: object, product: str) -> bool:
    """Whether an (`Account`)`ExternalProduct` is called `product`, in any case."""
    fields = _object(record)
    name = fields.get("ExternalProduct") or fields.get("Product") or ""
    return str(name).strip().casefold() == product.strip().casefold()


def _object(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    """A number of records; a summary counts its charges, details list them."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> str:
    """An account or agreement number; empty if it is none (0 is the schema's default)."""
    return str(_count(value) or "")


def validate_agreement(
    ref: AgreementRef,
    record: AgreementRecord | None,
    today: date,
    *,
    cross: bool | None,
    product: str,
) -> Agreement:
    """An agreement (None: there is none), compared with the client that is mapped to it.

    `cross`: whether the account has our External `product`; None: there is no such account.
    """
    guard, agreement, why, remedy = "agreement", f"Agreement {ref.agreement}", "", ""
    if cross is None:
        guard, why = "account", f"Tigerpaw has no account {ref.company}"
        remedy = (
            "Correct company in mapping.toml: it is Tigerpaw's account number, not its account id"
        )
    elif record is None:
        why = f"Tigerpaw has no agreement {ref.agreement}"
        remedy = f"If another one takes its place: {move(ref)}"
    elif record.id != ref.agreement:
        why = f"Tigerpaw calls agreement {ref.agreement} {record.id:.40}"
        remedy = f'Write "{record.id:.40}" in mapping.toml, so that no agreement has two names'
    elif record.company != ref.company:
        owner = record.company + record.owner
        why = f"{agreement} belongs to account {owner}, not to account {ref.company}"
        remedy = (
            f"If the accounts were merged: kisi map company {ref.psa}:{ref.agreement} --company "
            f"{record.company}. Otherwise correct company or agreement in mapping.toml"
        )
    elif not cross:
        guard, account = "account", ref.company + record.owner
        why = (
            f'Account {account} is not cross-referenced to the External Product "{product}", so '
            "its agreements cannot be billed by the API user"
        )
        remedy = (
            "In Tigerpaw open the account, choose Assign External Products to an Account, and add "
            f'"{product}" with any External ID. If the list does not offer it, make it first in '
            "Edit > Master Tables > Account > External Products > New"
        )
    elif record.starts and record.starts > today:
        why = f"{agreement} starts on {record.starts}"
        remedy = (
            "Nothing to do if it is to be billed from then on; otherwise name the agreement that "
            f"is active today: {move_by_hand(ref)}"
        )
    elif record.ends and record.ends < today:
        why = f"{agreement} ended on {record.ends}"
        remedy = f"Extend it in Tigerpaw. If another one follows it: {move(ref)}"
    return Agreement(
        ref=ref,
        name=record.kind if record else "",
        not_billable=NotBillable(guard, f"{why}.", f"{remedy}.") if why else None,
        bill_start=record.starts if record else None,
        ends=record.ends if record else None,
        gone=record is None or not record.active,
        cycle=record.cycle if record else "",
    )
