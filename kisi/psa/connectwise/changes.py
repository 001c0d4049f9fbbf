"""The two requests that kisi writes with.

`POST /finance/agreements/{id}/additions` and `PATCH .../additions/{id}` of ConnectWise's OpenAPI
document. Quantities are whole numbers, because devices and mailboxes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kisi.psa.connectwise.endpoints import additions


@dataclass(frozen=True, slots=True)
class Change:
    """What one request asks for, and what an answer must show to confirm it."""

    method: str
    path: str
    body: object
    agreement: int
    product: int
    quantity: int
    addition: int | None
    """The addition to change; None to create one."""

    @property
    def verb(self) -> str:
        """For sentences: `create the addition` or `change addition 301`."""
        created = self.addition is None
        return "create the addition" if created else f"change addition {self.addition}"


def create(agreement: int, product: int, quantity: int, effective: date) -> Change:
    """A new, billable addition; price, description and taxes are the catalog item's."""
    body = {
        "product": {"id": product},
        "quantity": quantity,
        "billCustomer": "Billable",
        "effectiveDate": f"{effective.isoformat()}T00:00:00Z",
    }
    return Change("POST", additions(agreement).path, body, agreement, product, quantity, None)


def update(agreement: int, addition: int, product: int, quantity: int) -> Change:
    """A new quantity for an addition that is there; nothing else of it is touched."""
    body = [{"op": "replace", "path": "quantity", "value": quantity}]
    path = f"{additions(agreement).path}/{addition}"
    return Change("PATCH", path, body, agreement, product, quantity, addition)
