"""Additions of the simulated ConnectWise Manage: how they are written, refused, and read.

Refusals and their texts are those that users of ConnectWise report, for example at
https://support.sync365.app/portal/en/kb/articles/addition-object-is-invalid.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kisi.sandbox.connectwise_lists import CwError
from kisi.sandbox.connectwise_records import Addition, Agreement, CatalogItem, names
from kisi.sandbox.world import World

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_LARGEST_NUMBER = 1e12
"""So that prices and quantities can be multiplied."""
_LONGEST = {"serialNumber": 50, "invoiceDescription": 6000}


def invalid(code: str, field: str, message: str) -> CwError:
    """The refusal of an addition because of one field."""
    error = {"code": code, "message": message, "resource": "addition", "field": field}
    return CwError(400, "InvalidObject", "Addition object is invalid", [error])


def number(field: str, value: Any) -> float | None:  # noqa: ANN401 - JSON
    """A number; text that looks like one is taken for one.

    Raises:
        CwError: It is none, or none that is finite and of a sane size.
    """
    if value is None:
        return None
    wrong = invalid("InvalidValue", field, f"{field} must be a number.")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise wrong
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    try:
        found = float(value)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(found):
        raise wrong
    if abs(found) > _LARGEST_NUMBER:
        raise invalid("OutOfRange", field, f"{field} is too large.")
    return found


def date(field: str, value: Any) -> datetime | None:  # noqa: ANN401 - JSON
    """An instant of the form `2026-11-21T00:00:00Z`, and of no other.

    Raises:
        CwError: It is none, or no day of the calendar.
    """
    if value is None:
        return None
    wrong = invalid("UnsupportedFormat", field, f"Unsupported format applied to {field}")
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise wrong
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise wrong from None


def text(field: str, value: Any) -> str | None:  # noqa: ANN401 - JSON
    """Text that is not longer than the field may be.

    Raises:
        CwError: It is none, or too long.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid("InvalidValue", field, f"{field} must be a string.")
    longest = _LONGEST.get(field)
    if longest is not None and len(value) > longest:
        reason = f"The field {field} must be a string with a maximum length of {longest}."
        raise invalid("MaxLength", field, reason)
    return value


def _flag(field: str, value: Any) -> bool | None:  # noqa: ANN401 - JSON
    if value is None or isinstance(value, bool):
        return value
    raise invalid("InvalidValue", field, f"{field} must be true or false.")


def _reference(field: str, value: Any) -> dict[str, Any] | None:  # noqa: ANN401 - JSON
    """A reference to another record; what is nested in it, for example `_info`, is not kept."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("InvalidValue", field, f"{field} must be an object.")
    return {name: part for name, part in value.items() if not isinstance(part, dict | list)}


def _references(field: str, value: Any) -> list[dict[str, Any] | None] | None:  # noqa: ANN401
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid("InvalidValue", field, f"{field} must be an array.")
    return [_reference(field, part) for part in value]


OTHER: dict[str, Callable[[str, Any], object]] = {
    "serialNumber": text,
    "invoiceDescription": text,
    "taxableFlag": _flag,
    "purchaseItemFlag": _flag,
    "specialOrderFlag": _flag,
    "uom": text,
    "sequenceNumber": number,
    "opportunity": _reference,
    "invoiceGrouping": _reference,
    "prorateCurrentPeriodFlag": _flag,
    "customFields": _references,
}
"""Fields that are only kept, to what reads them."""


_BILL_CUSTOMER = frozenset({"Billable", "DoNotBill", "NoCharge"})
_NUMBERS = {"lessIncluded": "less_included", "unitPrice": "unit_price", "unitCost": "unit_cost"}
_DATES = {"effectiveDate": "effective_date", "cancelledDate": "cancelled_date"}
_COMPUTED = names(
    "id agreementId billedQuantity extPrice extCost margin prorateCost proratePrice "
    "extendedProrateCost extendedProratePrice agreementStatus _info"
)
_TOO_EARLY = "effectiveDate cannot be less than the agreement billing start date"
_INVOICED = (
    "Since this period has already been invoiced there will not be an invoice generated for "
    "additional products for this period. Please prorate the agreement or update the start date "
    "to on or after the Next Invoice Date."
)


@dataclass(slots=True)
class Writer:
    """Writes additions, and answers as ConnectWise does when it does not like one.

    Attributes:
        world: Where they are kept.
        member: Who is said to have changed them.
        keep_quantity: What becomes of a quantity that is written: rounding, a cap.
    """

    world: World
    member: str
    keep_quantity: Callable[[float], float] = float

    def create(self, agreement: Agreement, body: Any) -> Addition:  # noqa: ANN401 - JSON
        """POST: add an addition.

        Raises:
            CwError: It is refused.
        """
        return self._save(self._built(self.world.next_line_id(), agreement, body))

    def put(self, line: Addition, agreement: Agreement, body: Any) -> Addition:  # noqa: ANN401
        """PUT: replace an addition; what is not sent is reset.

        Raises:
            CwError: It is refused.
        """
        return self._save(self._built(line.id, agreement, body))

    def patch(self, line: Addition, operations: Any) -> Addition:  # noqa: ANN401 - JSON
        """PATCH: change fields, then validate the whole record, with what was stored long ago.

        Raises:
            CwError: It is refused.
        """
        if not isinstance(operations, list):
            raise CwError(400, "InvalidObject", "A JSON array of operations is expected.")
        changed = replace(line, other=dict(line.other))
        for operation in operations:
            self._operate(changed, operation)
        self._validate(changed)
        return self._save(changed)

    def _operate(self, line: Addition, operation: Any) -> None:  # noqa: ANN401 - JSON
        given = operation if isinstance(operation, dict) else {}
        verb, path = given.get("op"), given.get("path")
        if not isinstance(verb, str) or verb not in _OPERATIONS:
            raise CwError(400, "InvalidObject", "The operation must be add, replace or remove.")
        if not isinstance(path, str):
            raise CwError(400, "InvalidObject", "The operation needs a path.")
        path = path.removeprefix("/")
        if "/" in path:
            return  # inside a reference nothing happens, and the answer is 200 all the same
        if path not in _WRITABLE | _COMPUTED:
            raise invalid("InvalidField", path, f"There is no field {path}.")
        self._assign(line, path, None if verb == "remove" else given.get("value"))

    def _built(self, line_id: int, agreement: Agreement, body: Any) -> Addition:  # noqa: ANN401
        if not isinstance(body, dict):
            raise CwError(400, "InvalidObject", "A JSON object is expected.")
        for field in ("product", "billCustomer"):
            if body.get(field) is None:
                raise invalid("MissingRequiredField", field, f"The {field} field is required.")
        item = self._item(body["product"])
        line = Addition(
            id=line_id,
            agreement_id=agreement.id,
            product_id=item.id,
            effective_date=datetime.combine(self.world.today, datetime.min.time(), UTC),
            unit_price=item.price,
            unit_cost=item.cost,
            description=item.description,
        )
        for field, value in body.items():
            self._assign(line, field, value)
        self._validate(line)
        return line

    def _assign(self, line: Addition, field: str, value: Any) -> None:  # noqa: ANN401 - JSON
        if field == "product":
            line.product_id = self._item(value).id
        elif field == "quantity":
            quantity = number(field, value)
            line.quantity = None if quantity is None else self.keep_quantity(quantity)
        elif field in _NUMBERS:
            setattr(line, _NUMBERS[field], number(field, value) or 0.0)
        elif field in _DATES:
            setattr(line, _DATES[field], date(field, value))
        elif field == "billCustomer":
            if not isinstance(value, str) or value not in _BILL_CUSTOMER:
                raise invalid("InvalidValue", field, "There is no such value of billCustomer.")
            line.bill_customer = value
        elif field == "description":
            line.description = text(field, value) or ""
        elif field in OTHER:
            line.other[field] = OTHER[field](field, value)

    def _item(self, reference: Any) -> CatalogItem:  # noqa: ANN401 - JSON
        wanted = reference if isinstance(reference, dict) else {}
        for item in self.world.catalog.values():
            if item.id == wanted.get("id") or item.identifier == wanted.get("identifier"):
                if item.product_class == "Bundle":
                    raise invalid("InvalidValue", "product", "A bundle cannot be an addition.")
                return item
        raise invalid("InvalidReference", "product", "The product was not found.")

    def _validate(self, line: Addition) -> None:
        agreement = self.world.agreements[line.agreement_id]
        if line.effective_date is None:
            return
        day = line.effective_date.date()
        if agreement.bill_start_date and day < agreement.bill_start_date:
            raise invalid("InvalidValue", "effectiveDate", _TOO_EARLY)
        through = agreement.invoiced_through
        if through and not agreement.prorate and day <= through:
            raise invalid("InvalidValue", "effectiveDate", _INVOICED)

    def _save(self, line: Addition) -> Addition:
        line.updated_by = self.member
        line.updated_at = self.world.now()
        self.world.lines[line.id] = line
        return line


_OPERATIONS = frozenset({"add", "replace", "remove"})
_WRITABLE = (
    OTHER.keys()
    | _NUMBERS.keys()
    | _DATES.keys()
    | {"product", "quantity", "billCustomer", "description"}
)


@dataclass(slots=True)
class Stale:
    """What an agreement's additions were before a write, and how long readers still see that."""

    agreement_id: int
    lines: list[Addition]
    reads_left: int
    until: datetime


class Reader:
    """Reads additions, on request later than they were written (eventual consistency).

    Attributes:
        lag_reads: So many reads after a write still show the state before it.
        lag: For so long after a write reads still show the state before it.
    """

    def __init__(self, world: World) -> None:
        self.lag_reads = 0
        self.lag = timedelta(0)
        self._world = world
        self._stale: list[Stale] = []

    def before_write(self, agreement_id: int, seconds: float = 0) -> None:
        """Remember the present state for readers that lag behind, `seconds` after this write."""
        lag = timedelta(seconds=seconds) or self.lag
        if self.lag_reads or lag:
            lines = copy.deepcopy(self._world.additions(agreement_id))
            until = self._world.now() + lag
            self._stale.append(Stale(agreement_id, lines, self.lag_reads, until))

    def read(self, agreement_id: int) -> Sequence[Addition]:
        """The additions that a reader sees now."""
        now = self._world.now()
        self._stale = [old for old in self._stale if old.reads_left > 0 or old.until > now]
        seen = [old for old in self._stale if old.agreement_id == agreement_id]
        for old in seen:
            old.reads_left -= 1
        return seen[0].lines if seen else self._world.additions(agreement_id)
