"""What a write changed beside its own line: the lines from before it against those after. Pure.

Only for a PSA with `Psa.if_others_change`. `kisi.apply` reads both and stops at a difference,
`kisi.reconcile` makes the comparison that a killed run could not.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal

from kisi.errors import ForeignChange
from kisi.model import Line, PlannedLine
from kisi.psa.interface import Psa
from kisi.redaction import remote_text

_NAMED_AT_MOST = 10
_BILLS = ("product", "unit_price", "one_time")
"""What a write must leave alone on its own line: kisi sets quantities, never prices."""
_SHOWN = {
    "quantity": "quantity",
    "unit_price": "price",
    "product": "item",
    "description": "description",
    "one_time": "one-time flag",
}


def foreign_change(
    psa: Psa, written: PlannedLine, at: datetime, before: Collection[Line], after: Collection[Line]
) -> ForeignChange | None:
    """The error for a write, sent `at`, after which more differs than its own line's quantity.

    `before` and `after` are all lines of its agreement, read just before it and any time since.
    """
    changes = foreign_changes(written, before, after)
    if not changes:
        return None
    more = len(changes) - _NAMED_AT_MOST
    return ForeignChange(
        f"psa.{psa.name}: with the write of {when(at)} for item {written.product} on agreement "
        f"{written.agreement} something else changed: {'; '.join(changes[:_NAMED_AT_MOST])}"
        f"{f' and {more} more' if more > 0 else ''}. kisi writes nothing more there.",
        remedy=psa.if_others_change,
    )


def when(at: datetime) -> str:
    """An instant, for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def own_line(
    written: PlannedLine, before: Collection[Line], after: Collection[Line]
) -> Line | None:
    """The written line among `after`: by its id, or the one new recurring line of its product."""
    if written.line_id is not None:
        return next((line for line in after if line.id == written.line_id), None)
    known = {line.id for line in before}
    new = [
        line
        for line in after
        if line.id not in known and line.product == written.product and not line.one_time
    ]
    found = [line for line in new if line.quantity == written.after] or new
    return found[0] if len(found) == 1 else None


def foreign_changes(
    written: PlannedLine, before: Collection[Line], after: Collection[Line]
) -> tuple[str, ...]:
    """Each difference in words, beside the quantity of the line that was written."""
    own = own_line(written, before, after)
    now = {line.id: line for line in after}
    found = []
    for line in before:
        shown = now.pop(line.id, None)
        if shown is None:
            found.append(f"{_named(line)} with quantity {line.quantity:f} is gone")
        elif shown is own:
            if any(getattr(line, name) != getattr(shown, name) for name in _BILLS):
                found.append(_difference(line, shown, "more than its quantity changed"))
        elif shown != line:
            found.append(_difference(line, shown, "changed"))
    found += [
        f"{_named(line)} with quantity {line.quantity:f} is new"
        for line in now.values()
        if line is not own
    ]
    return tuple(found)


def _named(line: Line) -> str:
    called = remote_text(line.product or line.description or "no item", 80)
    return f"line {line.id} ({called})"


def _difference(before: Line, after: Line, otherwise: str) -> str:
    pairs = [(word, getattr(before, name), getattr(after, name)) for name, word in _SHOWN.items()]
    differences = [
        f"{word} {_shown(was)} to {_shown(now)}" for word, was, now in pairs if was != now
    ]
    return f"{_named(before)}: {', '.join(differences) or otherwise}"


def _shown(value: object) -> str:
    return remote_text(f"{value.normalize():f}" if isinstance(value, Decimal) else str(value), 40)
