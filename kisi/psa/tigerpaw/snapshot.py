"""The charges of an agreement at one moment, and how they differ from those at another: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kisi.psa.tigerpaw.records import Charge
from kisi.redaction import remote_text

_SHOWN = {
    "Quantity": "quantity",
    "Price": "price",
    "SpecialItemId": "item",
    "ItemDescription": "description",
    "DeleteAfterInvoicing": "one-time flag",
}
_BILLS = ("item", "price", "one_time", "flat")
"""What a submit must leave alone on our own charge: kisi sets quantities, never prices."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All charges of one agreement at one moment."""

    agreement: str
    taken: datetime
    charges: tuple[Charge, ...]

    def get(self, charge_id: str | None) -> Charge | None:
        """The charge with this id."""
        return next((charge for charge in self.charges if charge.id == charge_id), None)

    def recurring(self, item: str) -> tuple[Charge, ...]:
        """The charges of an item that come back with each invoice."""
        return tuple(one for one in self.charges if one.item == item and not one.one_time)

    def new_since(self, before: Snapshot) -> tuple[Charge, ...]:
        """The charges that `before` does not have."""
        known = {charge.id for charge in before.charges}
        return tuple(charge for charge in self.charges if charge.id not in known)


def foreign_changes(before: Snapshot, after: Snapshot, ours: str | None) -> tuple[str, ...]:
    """What differs between two snapshots, beside the quantity of our charge, in words.

    Args:
        before: The charges before a submit.
        after: The charges after it.
        ours: The id of our charge: in `before` too on an update, only in `after` on a create; None
            where there is none.
    """
    found = []
    for charge in before.charges:
        now = after.get(charge.id)
        if now is None:
            found.append(f"{_named(charge)} with quantity {charge.quantity} is gone")
        elif charge.id == ours:
            if any(getattr(charge, name) != getattr(now, name) for name in _BILLS):
                found.append(_change(charge, now, "more than its quantity changed"))
        elif charge.raw != now.raw:
            found.append(_change(charge, now, "changed"))
    found += [
        f"{_named(charge)} with quantity {charge.quantity} is new"
        for charge in after.new_since(before)
        if charge.id != ours
    ]
    return tuple(found)


def _named(charge: Charge) -> str:
    called = charge.item or charge.description or "no item"
    return f"charge {charge.id} ({remote_text(called, 80)})"


def _change(before: Charge, after: Charge, otherwise: str) -> str:
    names = [name for name in _SHOWN if before.raw.get(name) != after.raw.get(name)]
    differences = [
        f"{_SHOWN[name]} {_value(before, name)} to {_value(after, name)}" for name in names
    ]
    return f"{_named(before)}: {', '.join(differences) or otherwise}"


def _value(charge: Charge, name: str) -> str:
    return remote_text(str(charge.raw.get(name)), 40)


def raw(charges: Iterable[Charge]) -> Sequence[Mapping[str, object]]:
    """The charges as Tigerpaw gave them."""
    return [charge.raw for charge in charges]
