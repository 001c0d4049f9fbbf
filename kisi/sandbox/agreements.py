"""The PSA side of the simulated world: companies, agreements, additions, catalog items.

Plain mutable records of what ConnectWise Manage holds. Additions have no invariants here: people
and programs of other vendors can do to them what they like, and tests play those people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any


@dataclass(slots=True)
class CatalogItem:
    """A product that agreements can carry."""

    id: int
    identifier: str
    description: str
    price: float
    cost: float = 0.0
    product_class: str = "Service"
    """Agreement, Bundle, Inventory, NonInventory or Service; a Bundle cannot be an addition."""
    inactive: bool = False


@dataclass(slots=True)
class PsaCompany:
    """A client as the PSA knows it."""

    id: int
    identifier: str
    name: str
    deleted: bool = False
    """It is in the recycle bin, and still appears in lists."""


@dataclass(slots=True)
class Agreement:
    """What a company pays for regularly."""

    id: int
    name: str
    company_id: int
    type_name: str = "Managed Services"
    start_date: date | None = None
    end_date: date | None = None
    """None: it has no ending date."""
    cancelled: bool = False
    date_cancelled: date | None = None
    bill_start_date: date | None = None
    next_invoice_date: date | None = None
    invoiced_through: date | None = None
    """Last day of the periods that are invoiced already."""
    prorate: bool = True
    parent_id: int | None = None

    def status(self, today: date) -> str:
        """`agreementStatus` on a day."""
        if self.cancelled:
            return "Cancelled"
        if self.end_date is not None and self.end_date < today:
            return "Expired"
        if self.start_date is not None and self.start_date > today:
            return "Inactive"
        return "Active"


@dataclass(slots=True)
class Addition:
    """A line of an agreement."""

    id: int
    agreement_id: int
    product_id: int
    quantity: float | None = 1.0
    bill_customer: str = "Billable"
    """Billable, DoNotBill or NoCharge."""
    effective_date: datetime | None = None
    cancelled_date: datetime | None = None
    less_included: float = 0.0
    unit_price: float = 0.0
    unit_cost: float = 0.0
    description: str = ""
    other: dict[str, Any] = field(default_factory=dict)
    """Further fields as they were written, by their names on the wire."""
    updated_by: str = "admin"
    updated_at: datetime | None = None

    def status(self, agreement: Agreement, today: date) -> str:
        """`agreementStatus` of the line: its own by its dates, else its agreement's.

        That a line which begins later is Inactive is nowhere said; agreements are, and a client
        that looks for Active lines alone would add a second one.
        """
        if self.cancelled_date is not None and self.cancelled_date.date() <= today:
            return "Cancelled"
        of_agreement = agreement.status(today)
        later = self.effective_date is not None and self.effective_date.date() > today
        return "Inactive" if later and of_agreement == "Active" else of_agreement
