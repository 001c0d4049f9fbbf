"""What the simulated ConnectWise Manage holds, and its records as the REST interface shows them.

Plain mutable records. Additions have no invariants here: people and programs of other vendors can
do to them what they like, and tests play those people. On the wire, nulls are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
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
    one_time: bool = False
    """It is billed once, and then never again."""
    billing_cycle: str | None = "Monthly"
    """None: it is not invoiced by itself; a child is, with its parent."""
    currency: str | None = "EUR"

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
    unit_price: float | None = 0.0
    unit_cost: float = 0.0
    description: str = ""
    other: dict[str, Any] = field(default_factory=dict)
    """Further fields as they were written, by their names on the wire."""
    updated_by: str = "admin"
    updated_at: datetime | None = None
    called: str = ""
    """`agreementStatus`, if a server says something else there than the dates do."""

    def status(self, agreement: Agreement, today: date) -> str:
        """`agreementStatus` of the line: its own by its dates, else its agreement's.

        That a line which begins later is Inactive is nowhere said; agreements are, and a client
        that looks for Active lines alone would add a second one.
        """
        if self.called:
            return self.called
        if self.cancelled_date is not None and self.cancelled_date.date() <= today:
            return "Cancelled"
        of_agreement = agreement.status(today)
        later = self.effective_date is not None and self.effective_date.date() > today
        return "Inactive" if later and of_agreement == "Active" else of_agreement


Json = dict[str, Any]


def names(text: str) -> frozenset[str]:
    """Names of fields, written one after the other."""
    return frozenset(text.split())


FIELDS: Mapping[str, frozenset[str]] = {
    "agreements": names(
        "id name type type/id type/name company company/id company/identifier company/name "
        "parentAgreement parentAgreement/id agreementStatus cancelledFlag dateCancelled "
        "noEndingDateFlag startDate endDate billStartDate nextInvoiceDate prorateFlag "
        "oneTimeFlag billOneTimeFlag billingCycle billingCycle/id"
    ),
    "additions": names(
        "id agreementId product product/id product/identifier quantity lessIncluded unitPrice "
        "unitCost billCustomer effectiveDate cancelledDate agreementStatus description "
        "serialNumber invoiceDescription taxableFlag billedQuantity extPrice extCost"
    ),
    "companies": names("id identifier name deletedFlag"),
    "catalog": names(
        "id identifier description price cost productClass inactiveFlag recurringFlag"
    ),
}
"""What `conditions` may compare, by kind of record."""


def instant(value: datetime | date | None) -> str | None:
    """An instant or a day as `2026-11-21T00:00:00Z`."""
    if value is None:
        return None
    if isinstance(value, datetime):
        plain = value.astimezone(UTC).replace(microsecond=0, tzinfo=None)
        return f"{plain.isoformat()}Z"  # strftime does not pad the year everywhere
    return f"{value.isoformat()}T00:00:00Z"


def of_agreement(agreement: Agreement, company: PsaCompany, today: date) -> Json:
    """An Agreement."""
    return _without_nulls(
        {
            "id": agreement.id,
            "name": agreement.name,
            "type": {"id": 7, "name": agreement.type_name},
            "company": {
                "id": company.id,
                "identifier": company.identifier,
                "name": company.name,
                "_info": {"company_href": f"company/companies/{company.id}"},
            },
            "contact": {"id": 1, "name": "Accounts Payable"},
            "parentAgreement": {"id": agreement.parent_id} if agreement.parent_id else None,
            "startDate": instant(agreement.start_date),
            "endDate": instant(agreement.end_date),
            "noEndingDateFlag": agreement.end_date is None,
            "cancelledFlag": agreement.cancelled,
            "dateCancelled": instant(agreement.date_cancelled),
            "billStartDate": instant(agreement.bill_start_date),
            "nextInvoiceDate": instant(agreement.next_invoice_date),
            "prorateFlag": agreement.prorate,
            "invoiceProratedAdditionsFlag": agreement.prorate,
            "oneTimeFlag": False,
            "billOneTimeFlag": agreement.one_time,
            "billingCycle": {"id": 2, "name": cycle}
            if (cycle := agreement.billing_cycle)
            else None,
            "currency": {"id": 1, "currencyCode": code} if (code := agreement.currency) else None,
            "periodType": "Current",
            "agreementStatus": agreement.status(today),
            "_info": {"lastUpdated": instant(agreement.start_date), "updatedBy": "admin"},
        }
    )


def of_addition(line: Addition, item: CatalogItem, agreement: Agreement, today: date) -> Json:
    """An Addition, with what the server computes."""
    billed = (line.quantity or 0.0) - line.less_included
    price, cost = billed * (line.unit_price or 0.0), billed * line.unit_cost
    return _without_nulls(
        {
            **line.other,
            "id": line.id,
            "agreementId": line.agreement_id,
            "product": {
                "id": item.id,
                "identifier": item.identifier,
                "_info": {"catalog_href": f"procurement/catalog/{item.id}"},
            },
            "quantity": line.quantity,
            "lessIncluded": line.less_included,
            "unitPrice": line.unit_price,
            "unitCost": line.unit_cost,
            "billCustomer": line.bill_customer,
            "effectiveDate": instant(line.effective_date),
            "cancelledDate": instant(line.cancelled_date),
            "description": line.description,
            "billedQuantity": billed,
            "extPrice": round(price, 2),
            "extCost": round(cost, 2),
            "margin": round(price - cost, 2),
            "agreementStatus": line.status(agreement, today),
            "_info": {"lastUpdated": instant(line.updated_at), "updatedBy": line.updated_by},
        }
    )


def of_company(company: PsaCompany) -> Json:
    """A Company."""
    return {
        "id": company.id,
        "identifier": company.identifier,
        "name": company.name,
        "status": {"id": 1, "name": "Active"},
        "deletedFlag": company.deleted,
        "_info": {"updatedBy": "admin"},
    }


def of_catalog_item(item: CatalogItem) -> Json:
    """A CatalogItem."""
    return {
        "id": item.id,
        "identifier": item.identifier,
        "description": item.description,
        "customerDescription": item.description,
        "subcategory": {"id": 3, "name": "Security"},
        "type": {"id": 4, "name": "Software"},
        "productClass": item.product_class,
        "price": item.price,
        "cost": item.cost,
        "inactiveFlag": item.inactive,
        "recurringFlag": True,
        "_info": {"updatedBy": "admin"},
    }


def _without_nulls(record: Json) -> Json:
    return {name: value for name, value in record.items() if value is not None}
