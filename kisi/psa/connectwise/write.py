"""Writing one line: which request, which effective date, and what the answer means.

ConnectWise refuses an addition that starts before the agreement's billing start or, unless the
agreement prorates, in a period that is invoiced already
(https://support.sync365.app/portal/en/kb/articles/addition-object-is-invalid). A changed quantity
has no date: it holds for the whole period that is not invoiced yet.

ConnectWise has no idempotency key and no version check, and answers some patches that it ignored
with 200. So a write counts only if the answer's record shows it, a refusal only if ConnectWise
cannot have written, and everything else is unknown: `kisi.apply` reads it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from http import HTTPStatus

from kisi.errors import AccessRefused, BadAnswer, NotSent, PsaError, TransportError
from kisi.model import Agreement, PlannedLine, WriteResult, WriteStatus
from kisi.planning import is_live
from kisi.psa.connectwise import errors
from kisi.psa.connectwise.records import addition_line, as_id, product_of, quantity_of, row_id
from kisi.psa.connectwise.wire import Among, Wire, additions
from kisi.redaction import remote_text
from kisi.transport import Answer, retry_after

DEFAULT_WAIT = 10.0
"""Seconds to wait where a rate limit comes without `Retry-After`."""
_STALE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


def write(wire: Wire, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
    """See `kisi.psa.Psa.write`."""
    number, product = as_id(line.agreement), as_id(line.product)
    if number is None or product is None:
        return _not_ids(f"agreement {line.agreement!r} or product {line.product!r}")
    if line.line_id is not None:
        addition = as_id(line.line_id)
        if addition is None:
            return _not_ids(f"addition {line.line_id!r}")
        return _send(wire, Change(number, product, line.after, addition))[0]
    # A new addition starts today or, where that is invoiced, with the next invoice.
    first = max(today, agreement.bill_start or today)
    new = Change(number, product, line.after, starts=first)
    result, is_invoiced = _send(wire, new, f"It is billed from {first} on.")
    if not is_invoiced:
        return result
    later, ends = agreement.next_invoice, agreement.ends
    if later is None or later <= first or (ends is not None and later > ends):
        known = f"is {later}" if later else "is not known"
        known += f", and it ends on {ends}" if later and ends and later > ends else ""
        return replace(
            result,
            message=f"{result.message} The agreement's Next Invoice Date {known}, so there is no"
            " later date to try: let the agreement prorate, or bill the invoiced period by hand.",
        )
    sentence = (
        f"It is billed from {later} on, the next invoice: the period of {first} is invoiced"
        " already, and the agreement does not prorate."
    )
    obstacle = _made_already(wire, new, line, result, today)
    return obstacle or _send(wire, replace(new, starts=later), sentence)[0]


def _made_already(
    wire: Wire, new: Change, line: PlannedLine, refused: WriteResult, today: date
) -> WriteResult | None:
    """Why a refused addition is not sent once more; None: the agreement has none of its product.

    A refusal is no proof: what was carried out all the same must not be made a second time.
    """
    try:
        rows = wire.rows(additions(new.agreement), Among("product/id", (new.product,)))
        made = [one.id for row in rows if is_live(one := addition_line(row, line.ref), today)]
    except PsaError as error:
        said = f"{refused.message} Before it is sent for the next invoice: {error.message}"
        denied = isinstance(error, AccessRefused)
        return WriteResult(WriteStatus.NOT_SENT, said, denied=denied)
    said = f"{refused.message} It shows a line of this product now ({', '.join(made)})."
    return replace(refused, status=WriteStatus.STALE, message=said) if made else None


def _send(wire: Wire, change: Change, applied: str = "") -> tuple[WriteResult, bool]:
    """Sends `change` once; says also whether its period was refused as invoiced already.

    Price, description and taxes of a new addition are the catalog item's. `applied` is the message.
    """
    method, path = "POST", additions(change.agreement).path
    body: object = {
        "product": {"id": change.product},
        "quantity": change.quantity,
        "billCustomer": "Billable",
        "effectiveDate": f"{change.starts}T00:00:00Z",
    }
    if change.addition is not None:
        method, path = "PATCH", f"{path}/{change.addition}"
        body = [{"op": "replace", "path": "quantity", "value": change.quantity}]
    try:
        answer = wire.send(method, path, body)
    except TransportError as error:
        return classify(error, change, wire.name), False
    result = classify(answer, change, wire.name)
    if result.status is WriteStatus.APPLIED:
        result = replace(result, message=applied)
    refused = answer.status == HTTPStatus.BAD_REQUEST
    return result, refused and errors.read_refusal(answer).of_invoiced_period


def _not_ids(what: str) -> WriteResult:
    said = f"ConnectWise cannot know {what}: its ids are whole numbers. Nothing was sent."
    return WriteResult(WriteStatus.REJECTED, f"{said} Correct mapping.toml.")


@dataclass(frozen=True, slots=True)
class Change:
    """What one request asks for, and what an answer must show to confirm it."""

    agreement: int
    product: int
    quantity: int
    addition: int | None = None
    """The addition to change; None to create one."""
    starts: date | None = None
    """From when on a new one is billed."""

    @property
    def verb(self) -> str:
        """For sentences."""
        return f"change addition {self.addition}" if self.addition else "create the addition"


def classify(reply: Answer | TransportError, change: Change, name: str) -> WriteResult:
    """A result for whatever came of `change` in `[psa.NAME]`: an answer, or why there is none."""
    if isinstance(reply, TransportError):
        status = WriteStatus.NOT_SENT if isinstance(reply, NotSent) else WriteStatus.UNKNOWN
        said = f"kisi asked ConnectWise to {change.verb}: {reply.message}"
        return WriteResult(status, f"{said} {errors.transport_remedy(reply)}".rstrip())
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return _confirmed(reply, change)
    refusal = errors.read_refusal(reply)
    asked = retry_after(reply.headers)
    wait, advice, denied = 0.0, "", False
    # A gateway may answer 503 after ConnectWise wrote: of an update a second one does no harm.
    unavailable = refusal.status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS or (unavailable and change.addition):
        status, said = WriteStatus.THROTTLED, "ConnectWise asks to wait and wrote nothing"
        wait = DEFAULT_WAIT if asked is None else asked
    elif refusal.status in _STALE:
        status = WriteStatus.STALE
        said = f"ConnectWise did not {change.verb}, because something changed since it was read"
    elif (
        HTTPStatus.BAD_REQUEST <= refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR
        and refusal.status != HTTPStatus.REQUEST_TIMEOUT
    ):
        # A 4xx refuses before anything is written, but for a request that timed out (408).
        status, said = WriteStatus.REJECTED, f"ConnectWise refused to {change.verb}"
        advice, denied = _advice(refusal, change, name), refusal.of_login
    else:
        status = WriteStatus.UNKNOWN
        said = f"ConnectWise gave no clear answer when asked to {change.verb}"
    message = f"{said}. It answered {refusal.sentence}{refusal.support} {advice}".rstrip()
    return WriteResult(status, message, wait=wait, denied=denied, request_id=refusal.request_id)


def _confirmed(answer: Answer, change: Change) -> WriteResult:
    """A 2xx: applied if the record in it is the change's, with its quantity."""
    said = f"ConnectWise answered {answer.status} when asked to {change.verb}, but its answer"
    identity = errors.request_id(answer)
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


def _advice(refusal: errors.Refusal, change: Change, name: str) -> str:
    """What to do about a refusal that has a known cause; else empty."""
    if refusal.of_permission:
        right = "Add" if change.addition is None else "Edit"
        return f"Give the API member's security role the right Finance > Agreements, {right} = All."
    if refusal.of_login:
        return errors.login_remedy(name, refusal)
    if refusal.of_invoiced_period and change.addition is not None:
        return (
            "ConnectWise checks the whole addition again on every change: correct its effective"
            " date there, or let the agreement prorate."
        )
    return ""
