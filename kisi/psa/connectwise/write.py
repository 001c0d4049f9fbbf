"""Writing one line: which request, which effective date, and what the answer means.

ConnectWise refuses an addition that starts before the agreement's billing start or, unless the
agreement prorates, in a period that is invoiced already
(https://support.sync365.app/portal/en/kb/articles/addition-object-is-invalid). kisi bills from
today on and, only where ConnectWise refuses that, from the next invoice on. A changed quantity has
no date: it holds for the whole period that is not invoiced yet. Quantities are whole numbers,
because devices and mailboxes are.

ConnectWise has no idempotency key and no version check, and answers some patches that it ignored
with 200. So a write counts only if the answer's record shows it, a refusal counts only if
ConnectWise cannot have written, and everything else is unknown: `kisi.apply` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from http import HTTPStatus

from kisi.errors import BadAnswer, NotSent, TransportError
from kisi.model import Agreement, PlannedLine, WriteResult, WriteStatus
from kisi.psa.connectwise.errors import (
    Refusal,
    login_remedy,
    read_refusal,
    request_id,
    support,
    transport_remedy,
)
from kisi.psa.connectwise.read import product_of, quantity_of
from kisi.psa.connectwise.values import as_id, row_id
from kisi.psa.connectwise.wire import Wire, additions
from kisi.redaction import remote_text
from kisi.transport import Answer, retry_after


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


DEFAULT_WAIT = 10.0
"""Seconds to wait where a rate limit comes without `Retry-After`."""

_STALE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


Reply = Answer | TransportError
"""What came of one request: an answer, or why there is none."""


def classify(reply: Reply, change: Change, name: str) -> WriteResult:
    """A result for whatever came of `change`.

    Args:
        reply: What ConnectWise sent, or why nothing came.
        change: What it was asked for.
        name: The section name of `[psa.NAME]`, for advice.
    """
    if isinstance(reply, TransportError):
        return _unanswered(reply, change)
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return _confirmed(reply, change)
    refusal = read_refusal(reply)
    wait = retry_after(reply.headers)
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS or (
        refusal.status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None
    ):
        seconds = DEFAULT_WAIT if wait is None else wait
        said = "ConnectWise asks to wait and wrote nothing"
        return replace(_refused(WriteStatus.THROTTLED, said, refusal), wait=seconds)
    if refusal.status in _STALE:
        said = f"ConnectWise did not {change.verb}, because something changed since it was read"
        return _refused(WriteStatus.STALE, said, refusal)
    if _is_final(refusal.status):
        result = _refused(WriteStatus.REJECTED, f"ConnectWise refused to {change.verb}", refusal)
        advice = _advice(refusal, change, name)
        message = f"{result.message} {advice}" if advice else result.message
        return replace(result, message=message, denied=refusal.of_login)
    said = f"ConnectWise gave no clear answer when asked to {change.verb}"
    return _refused(WriteStatus.UNKNOWN, said, refusal)


def _unanswered(error: TransportError, change: Change) -> WriteResult:
    """A result for a write without a usable answer."""
    status = WriteStatus.NOT_SENT if isinstance(error, NotSent) else WriteStatus.UNKNOWN
    said = f"kisi asked ConnectWise to {change.verb}: {error.message}"
    return WriteResult(status, f"{said} {transport_remedy(error)}".rstrip())


def _is_final(status: int) -> bool:
    """A 4xx refuses before anything is written, but for a request that timed out (408)."""
    return (
        HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        and status != HTTPStatus.REQUEST_TIMEOUT
    )


def _confirmed(answer: Answer, change: Change) -> WriteResult:
    """A 2xx: applied if the record in it is the change's, with its quantity."""
    said = f"ConnectWise answered {answer.status} when asked to {change.verb}, but its answer"
    identity = request_id(answer)
    try:
        row = answer.json()
        if not isinstance(row, dict):
            raise ValueError("it holds no record")  # noqa: TRY004, TRY301
        addition, product, quantity = row_id(row), product_of(row), quantity_of(row)
    except (BadAnswer, ValueError) as error:
        message = f"{said} does not show the result: {str(error).rstrip('.')}."
        return WriteResult(WriteStatus.UNKNOWN, message, request_id=identity)
    expected = {
        "addition": (addition, addition if change.addition is None else change.addition),
        "agreement": (row.get("agreementId", change.agreement), change.agreement),
        "product": (product, str(change.product)),
        "quantity": (quantity, change.quantity),
    }
    wrong = [
        f"{what} {remote_text(str(has), 40)} instead of {asked}"
        for what, (has, asked) in expected.items()
        if has != asked
    ]
    status = WriteStatus.UNKNOWN if wrong else WriteStatus.APPLIED
    message = f"{said} shows {', '.join(wrong)}." if wrong else ""
    return WriteResult(status, message, str(addition), quantity, request_id=identity)


def _refused(status: WriteStatus, said: str, refusal: Refusal) -> WriteResult:
    message = f"{said}. It answered {refusal.sentence}{support(refusal)}"
    return WriteResult(status, message, request_id=refusal.request_id)


def _advice(refusal: Refusal, change: Change, name: str) -> str:
    """What to do about a refusal that has a known cause; else empty."""
    if refusal.of_permission:
        right = "Add" if change.addition is None else "Edit"
        return f"Give the API member's security role the right Finance > Agreements, {right} = All."
    if refusal.of_login:
        return login_remedy(name, refusal)
    if refusal.of_invoiced_period and change.addition is not None:
        return (
            "ConnectWise checks the whole addition again on every change: correct its effective"
            " date there, or let the agreement prorate."
        )
    return ""
