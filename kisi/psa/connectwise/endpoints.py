"""The lists of ConnectWise that kisi reads, and the right that each takes.

Paths: ConnectWise's OpenAPI document (https://developer.connectwise.com/Products/ConnectWise_PSA/REST).
Rights: what other read-and-update integrations ask for, for example
https://kb.infimasec.com/tasks/integrations/connectwise-psa.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collection:
    """A list that ConnectWise serves."""

    path: str
    noun: str
    """What it holds, in the operator's words: `agreements`."""
    right: str
    """The right in the API member's security role that reading it takes."""
    nested: bool = False
    """Inside a record: a 404 then means that the record is gone, not that the address is wrong."""


AGREEMENTS = Collection("/finance/agreements", "agreements", "Finance > Agreements, Inquire = All")
COMPANIES = Collection(
    "/company/companies", "companies", "Companies > Company Maintenance, Inquire = All"
)
CATALOG = Collection(
    "/procurement/catalog", "product catalog", "Procurement > Product Catalog, Inquire = All"
)


def additions(agreement: int) -> Collection:
    """The additions of one agreement; there is no list of several agreements' additions."""
    return Collection(
        f"/finance/agreements/{agreement}/additions",
        f"additions of agreement {agreement}",
        AGREEMENTS.right,
        nested=True,
    )
