"""Records of the simulated ConnectWise Manage as its REST interface shows them, without nulls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from kisi.sandbox.agreements import Addition, Agreement, CatalogItem, PsaCompany
from kisi.sandbox.world import World

Json = dict[str, Any]

FIELDS: Mapping[str, frozenset[str]] = {
    "agreements": frozenset(
        [
            "id",
            "name",
            "type",
            "type/id",
            "type/name",
            "company",
            "company/id",
            "company/identifier",
            "company/name",
            "parentAgreement",
            "parentAgreement/id",
            "agreementStatus",
            "cancelledFlag",
            "dateCancelled",
            "noEndingDateFlag",
            "startDate",
            "endDate",
            "billStartDate",
            "nextInvoiceDate",
            "prorateFlag",
        ]
    ),
    "additions": frozenset(
        [
            "id",
            "agreementId",
            "product",
            "product/id",
            "product/identifier",
            "quantity",
            "lessIncluded",
            "unitPrice",
            "unitCost",
            "billCustomer",
            "effectiveDate",
            "cancelledDate",
            "agreementStatus",
            "description",
            "serialNumber",
            "invoiceDescription",
            "taxableFlag",
            "billedQuantity",
            "extPrice",
            "extCost",
        ]
    ),
    "companies": frozenset(["id", "identifier", "name", "deletedFlag"]),
    "catalog": frozenset(
        [
            "id",
            "identifier",
            "description",
            "price",
            "cost",
            "productClass",
            "inactiveFlag",
            "recurringFlag",
        ]
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


def of_agreement(agreement: Agreement, world: World) -> Json:
    """An Agreement."""
    company = world.companies[agreement.company_id]
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
            "billingCycle": {"id": 2, "name": "Monthly"},
            "periodType": "Current",
            "agreementStatus": agreement.status(world.today),
            "_info": {"lastUpdated": instant(agreement.start_date), "updatedBy": "admin"},
        }
    )


def of_addition(line: Addition, world: World) -> Json:
    """An Addition, with what the server computes."""
    item = world.catalog[line.product_id]
    billed = (line.quantity or 0.0) - line.less_included
    price, cost = billed * line.unit_price, billed * line.unit_cost
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
            "agreementStatus": line.status(world.agreements[line.agreement_id], world.today),
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
