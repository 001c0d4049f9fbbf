"""What the simulated Tigerpaw holds: accounts, agreements, charges, price book items.

Plain mutable records; other vendors and people can do to them what they like, and tests play those.
`record` of each is its JSON in the form of API 18.2.1
(https://api2.tigerpawsoftware.com/docs/18.2.1/swagger).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any


@dataclass(slots=True)
class Account:
    """A client as Tigerpaw knows it."""

    number: int
    name: str
    external_products: list[str] = field(default_factory=list)
    """The External Products it is cross-referenced to."""

    def record(self) -> dict[str, Any]:
        """An `AccountSummary`."""
        details = {
            "Name": self.name,
            "AccountId": f"A{self.number}",
            "AccountType": "Customer",
            "Status": "Active",
        }
        return {"AccountNumber": self.number, "Account": details}

    def cross_references(self) -> list[dict[str, Any]]:
        """Its `AccountExternalProduct`s."""
        return [
            {
                "AccountExternalProductId": self.number * 100 + index,
                "ExternalProductId": index,
                "ExternalProduct": product,
                "ExternalId": f"{self.number}-{index}",
            }
            for index, product in enumerate(self.external_products, start=1)
        ]


@dataclass(slots=True)
class Agreement:
    """What an account pays for regularly."""

    number: int
    account: Account
    kind: str
    starts: date | None
    ends: date | None
    external_product: str = ""
    period: str = "Monthly"

    def active(self, today: date) -> bool:
        """Whether it has begun and not ended."""
        begun = self.starts is None or self.starts <= today
        return begun and (self.ends is None or self.ends >= today)

    def record(self, charges: int) -> dict[str, Any]:
        """An `AgreementSummary`, in which charges are only counted."""
        return {
            "AgreementNumber": self.number,
            "AccountName": self.account.name,
            "Agreement": self._terms(),
            "AdditionalCharges": charges,
        }

    def _terms(self) -> dict[str, Any]:
        return {
            "AccountNumber": self.account.number,
            "ExternalProduct": self.external_product,
            "StartDate": _date_time(self.starts),
            "EndDate": _date_time(self.ends),
            "Type": self.kind,
            "BillingPeriodDescription": self.period,
        }


@dataclass(slots=True)
class Item:
    """A price book item."""

    id: str
    number: int
    description: str
    price: float
    inactive: bool = False

    def record(self) -> dict[str, Any]:
        """A `PriceBookItemSummary`."""
        details = {"ItemDescription": self.description, "Inactive": self.inactive}
        return {"ItemId": self.id, "PriceBookItemNumber": self.number, "Item": details}

    def details(self) -> dict[str, Any]:
        """A `PriceBookItemDetail`."""
        levels = [
            {"PriceLevel": level, "Description": name, "SellingPrice": self.price}
            for level, name in enumerate(("Retail", "Contract"), start=1)
        ]
        return {**self.record(), "Pricing": levels}


@dataclass(slots=True)
class Charge:
    """An additional charge of an agreement."""

    id: int
    agreement: int
    item: str
    quantity: int
    price: float
    description: str
    one_time: bool = False
    flat: bool = False
    print_when_quantity_zero: bool = False
    source: str = "Manual"
    """`Manual` or `API`."""

    def record(self) -> dict[str, Any]:
        """An `AgreementAdditionalCharge`."""
        return {
            "DetailId": self.id,
            "SpecialItemId": self.item,
            "ItemDescription": self.description,
            "Quantity": self.quantity,
            "Price": self.price,
            "SourceDescription": self.source,
            "PrintWhenQuantityZero": self.print_when_quantity_zero,
            "DeleteAfterInvoicing": self.one_time,
            "UseFlatPrice": self.flat,
        }


class Database:
    """All records, the switches of the server, and comfortable ways to fill it.

    Args:
        now: The clock of the server; an aware datetime. Default: the real one.

    Attributes:
        external_product: The External Product that the SOAP user is bound to.
        accounts: By number.
        agreements: By number.
        items: The price book by item id.
        lines: Every charge by id, in the order of creation.
        keys: The public and private key of the rep.
        soap_login: User and password of the SOAP service.
        replace: A submit replaces all charges of its agreement, as if twisted so for ever.
        soft_errors: Missing records are told with status 200 and `Success: false`.
        first_row: The number of a search's first row.
        page_cap: Records of a page, and charges of an agreement's list, that get through at most.
        submits: How many submits were carried out.
        violations: What clients did that the interface forbids, in words.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or (lambda: datetime.now(UTC))
        self.lock = threading.RLock()
        self.external_product = "Kaspersky"
        self.accounts: dict[int, Account] = {}
        self.agreements: dict[int, Agreement] = {}
        self.items: dict[str, Item] = {}
        self.lines: dict[int, Charge] = {}
        self.keys = ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000")
        self.soap_login = ("kisi", "sandbox-soap-password")
        self.replace = False
        self.soft_errors = False
        self.first_row = 1
        self.page_cap = 10_000
        self.submits = 0
        self.violations: list[str] = []
        self._charges_made = 0

    def account(self, name: str, *, cross_referenced: bool = True) -> Account:
        """Add an account, by default with the cross reference that billing needs."""
        products = ["Backup Vendor"] + [self.external_product] * cross_referenced
        account = Account(500 + len(self.accounts), name, products)
        self.accounts[account.number] = account
        return account

    def agreement(
        self, account: Account, *, starts: date | None = None, ends: date | None = None
    ) -> Agreement:
        """Add an agreement; by default it began a year ago and has no end."""
        start = starts or self.today - timedelta(days=365)
        agreement = Agreement(7001 + len(self.agreements), account, "Managed Services", start, ends)
        self.agreements[agreement.number] = agreement
        return agreement

    def item(
        self, item_id: str, price: float = 3.0, *, description: str = "", inactive: bool = False
    ) -> Item:
        """Add a price book item."""
        item = Item(item_id, 9001 + len(self.items), description or item_id, price, inactive)
        self.items[item_id] = item
        return item

    def charge(
        self,
        agreement: Agreement | int,
        item: Item | str,
        quantity: int,
        *,
        price: float | None = None,
        description: str = "",
        one_time: bool = False,
        source: str = "Manual",
    ) -> Charge:
        """Add a charge, as a person or another vendor does."""
        item_id = item if isinstance(item, str) else item.id
        known = self.items.get(item_id)
        self._charges_made += 1
        charge = Charge(
            id=30000 + self._charges_made,
            agreement=agreement if isinstance(agreement, int) else agreement.number,
            item=item_id,
            quantity=quantity,
            price=(known.price if known else 0.0) if price is None else price,
            description=description or (known.description if known else item_id),
            one_time=one_time,
            source=source,
        )
        self.lines[charge.id] = charge
        return charge

    def charges(self, agreement: Agreement | int) -> list[Charge]:
        """The charges of an agreement, by id."""
        number = agreement if isinstance(agreement, int) else agreement.number
        return [charge for charge in self.lines.values() if charge.agreement == number]

    @property
    def today(self) -> date:
        """The day it is, UTC."""
        return self.now().astimezone(UTC).date()


def _date_time(day: date | None) -> str | None:
    return f"{day.isoformat()}T00:00:00" if day else None
