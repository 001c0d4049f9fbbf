"""What the simulated Tigerpaw holds: accounts, agreements, charges, price book items.

Plain mutable records; other vendors and people can do to them what they like, and tests play those.
`record` of each is its JSON in the form of API 18.2.1
(https://api2.tigerpawsoftware.com/docs/18.2.1/swagger).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
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

    def details(self, charges: list[dict[str, Any]]) -> dict[str, Any]:
        """An `AgreementDetail`, which lists them."""
        return {
            "AgreementNumber": self.number,
            "Account": self.account.record()["Account"],
            "Agreement": self._terms(),
            "AdditionalCharges": charges,
            "CoveredAssetTypes": [],
            "CustomerAssetTypes": [],
            "Invoices": 0,
        }

    def _terms(self) -> dict[str, Any]:
        return {
            "AccountNumber": self.account.number,
            "ExternalProduct": self.external_product,
            "StartDate": _date_time(self.starts),
            "EndDate": _date_time(self.ends),
            "Type": self.kind,
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


def _date_time(day: date | None) -> str | None:
    return f"{day.isoformat()}T00:00:00" if day else None
