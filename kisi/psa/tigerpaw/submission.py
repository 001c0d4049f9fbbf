"""What to submit for a planned line, or why nothing is: pure, from the charges of this moment."""

from __future__ import annotations

from decimal import Decimal

from kisi.model import PlannedLine, WriteResult, WriteStatus
from kisi.psa.tigerpaw.snapshot import Snapshot
from kisi.psa.tigerpaw.template import ChargeValues


def to_submit(line: PlannedLine, before: Snapshot, description: str) -> ChargeValues | WriteResult:
    """The charge to submit; a result where the agreement is no longer what was planned for.

    Args:
        line: The change.
        before: The charges of the agreement, read just now.
        description: The text of a new charge; an existing one keeps its own.
    """
    return _update(line, before) if line.line_id else _create(line, before, description)


def _create(line: PlannedLine, before: Snapshot, description: str) -> ChargeValues | WriteResult:
    there = before.recurring(line.product)
    if there:
        return WriteResult(
            WriteStatus.STALE,
            f"Agreement {line.agreement} has a charge of item {line.product} by now, with quantity "
            f"{there[0].quantity}. Nothing was sent.",
        )
    return ChargeValues(
        agreement_number=line.agreement,
        account_number=line.company,
        item_id=line.product,
        quantity=line.after,
        description=description,
    )


def _update(line: PlannedLine, before: Snapshot) -> ChargeValues | WriteResult:
    charge = before.get(line.line_id)
    if charge is None or charge.one_time or charge.item != line.product:
        return WriteResult(
            WriteStatus.STALE,
            f"Charge {line.line_id} of agreement {line.agreement} is no longer there for item "
            f"{line.product}. Nothing was sent.",
        )
    quantity = Decimal(charge.quantity)
    if quantity == line.after:
        return WriteResult(
            WriteStatus.APPLIED, "The charge shows the quantity already.", charge.id, quantity
        )
    if quantity != line.before:
        return WriteResult(
            WriteStatus.STALE,
            f"Charge {charge.id} of agreement {line.agreement} shows {quantity} by now, not "
            f"{line.before}. Nothing was sent.",
            charge.id,
            quantity,
        )
    return ChargeValues(
        agreement_number=line.agreement,
        account_number=line.company,
        item_id=charge.item,
        quantity=line.after,
        detail_id=charge.id,
        description=charge.description,
        price="" if charge.price is None else f"{charge.price:f}",
        print_when_quantity_zero=charge.print_when_quantity_zero,
    )
