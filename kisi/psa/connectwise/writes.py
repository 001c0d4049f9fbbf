"""Writing one line: which request, and which effective date.

ConnectWise refuses an addition that starts before the agreement's billing start or, unless the
agreement prorates, in a period that is invoiced already
(https://support.sync365.app/portal/en/kb/articles/addition-object-is-invalid). kisi bills from
today on and, only where ConnectWise refuses that, from the next invoice on. A changed quantity has
no date: it holds for the whole period that is not invoiced yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from http import HTTPStatus

from kisi.errors import TransportError
from kisi.model import Agreement, PlannedLine, WriteResult, WriteStatus
from kisi.psa.connectwise.changes import Change, create, update
from kisi.psa.connectwise.receipts import Reply, classify
from kisi.psa.connectwise.refusals import read_refusal
from kisi.psa.connectwise.values import as_id
from kisi.psa.connectwise.wire import Wire


def write(wire: Wire, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
    """Sends one create or update and classifies the answer. Raises nothing for a refusal."""
    number, product = as_id(line.agreement), as_id(line.product)
    if number is None or product is None:
        return _not_ids(f"agreement {line.agreement!r} or product {line.product!r}")
    if line.line_id is None:
        starting = partial(create, number, product, line.after)
        return _create(wire, starting, agreement, today)
    addition = as_id(line.line_id)
    if addition is None:
        return _not_ids(f"addition {line.line_id!r}")
    result, _ = _send(wire, update(number, addition, product, line.after))
    return result


def _create(
    wire: Wire, starting: Callable[[date], Change], agreement: Agreement, today: date
) -> WriteResult:
    """Creates an addition that starts today or, where that is invoiced, with the next invoice."""
    first = max(today, agreement.bill_start or today)
    result, is_invoiced = _send(wire, starting(first))
    if not is_invoiced:
        return _dated(result, f"It is billed from {first} on.")
    later = agreement.next_invoice
    ends = agreement.ends
    if later is None or later <= first or (ends is not None and later > ends):
        known = f"is {later}" if later else "is not known"
        known += f", and it ends on {ends}" if later and ends and later > ends else ""
        return replace(
            result,
            message=f"{result.message} The agreement's Next Invoice Date {known}, so there is no"
            " later date to try: let the agreement prorate, or bill the invoiced period by hand.",
        )
    result, _ = _send(wire, starting(later))
    return _dated(
        result,
        f"It is billed from {later} on, the next invoice: the period of {first} is invoiced"
        " already, and the agreement does not prorate.",
    )


def _send(wire: Wire, change: Change) -> tuple[WriteResult, bool]:
    """Sends `change` exactly once; says also whether its period was refused as invoiced already."""
    reply: Reply
    try:
        reply = wire.send(change.method, change.path, change.body)
    except TransportError as error:
        reply = error
    is_invoiced = (
        not isinstance(reply, TransportError)
        and reply.status == HTTPStatus.BAD_REQUEST
        and read_refusal(reply).of_invoiced_period
    )
    return classify(reply, change, wire.name), is_invoiced


def _dated(result: WriteResult, sentence: str) -> WriteResult:
    applied = result.status is WriteStatus.APPLIED
    return replace(result, message=sentence) if applied else result


def _not_ids(what: str) -> WriteResult:
    said = f"ConnectWise cannot know {what}: its ids are whole numbers. Nothing was sent."
    return WriteResult(WriteStatus.REJECTED, f"{said} Correct mapping.toml.")
