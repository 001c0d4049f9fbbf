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

from dataclasses import replace
from datetime import date
from http import HTTPStatus

from kisi.errors import AccessRefused, BadAnswer, PsaError, TransportError
from kisi.model import Agreement, PlannedLine, WriteResult, WriteStatus
from kisi.planning import is_live
from kisi.psa.connectwise import errors
from kisi.psa.connectwise.records import addition_line, product_of, quantity_of
from kisi.psa.connectwise.wire import Among, Wire, additions
from kisi.psa.http import asked_to_wait, not_answered, transport_remedy, wrote_nothing
from kisi.psa.records import as_id, whole
from kisi.redaction import remote_text
from kisi.transport import Answer

_STALE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


def write(wire: Wire, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
    """See `kisi.psa.Psa.write`."""
    if as_id(line.agreement) is None or as_id(line.product) is None:
        return _not_ids(f"agreement {line.agreement!r} or product {line.product!r}")
    if line.line_id is not None:
        if as_id(line.line_id) is None:
            return _not_ids(f"addition {line.line_id!r}")
        return _send(wire, line)[0]
    # A new addition starts today or, where that is invoiced, with the next invoice.
    first = max(today, agreement.bill_start or today)
    result, is_invoiced = _send(wire, line, first, f"It is billed from {first} on.")
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
    obstacle = _made_already(wire, line, result, today)
    return obstacle or _send(wire, line, later, sentence)[0]


def _made_already(
    wire: Wire, line: PlannedLine, refused: WriteResult, today: date
) -> WriteResult | None:
    """Why a refused addition is not sent once more; None: the agreement has none of its product.

    A refusal is no proof: what was carried out all the same must not be made a second time.
    """
    try:
        mine = Among("product/id", (int(line.product),))
        rows = wire.rows(additions(int(line.agreement)), mine)
        made = [one.id for row in rows if is_live(one := addition_line(row, line.ref), today)]
    except PsaError as error:
        said = f"{refused.message} Before it is sent for the next invoice: {error.message}"
        denied = isinstance(error, AccessRefused)
        return WriteResult(WriteStatus.NOT_SENT, said, denied=denied)
    said = f"{refused.message} It shows a line of this product now ({', '.join(made)})."
    return replace(refused, status=WriteStatus.STALE, message=said) if made else None


def _send(
    wire: Wire, line: PlannedLine, starts: date | None = None, applied: str = ""
) -> tuple[WriteResult, bool]:
    """Sends a change once; says also whether its period was refused as invoiced already.

    Price, description and taxes of a new addition are the catalog item's. `applied` is the message.
    """
    method, path = "POST", additions(int(line.agreement)).path
    body: object = {
        "product": {"id": int(line.product)},
        "quantity": line.after,
        "billCustomer": "Billable",
        "effectiveDate": f"{starts}T00:00:00Z",
    }
    if line.line_id is not None:
        method, path = "PATCH", f"{path}/{line.line_id}"
        body = [{"op": "replace", "path": "quantity", "value": line.after}]
    try:
        answer = wire.send(method, path, body)
    except TransportError as error:
        return classify(error, line), False
    result = classify(answer, line)
    if result.status is WriteStatus.APPLIED:
        result = replace(result, message=applied)
    refused = answer.status == HTTPStatus.BAD_REQUEST
    return result, refused and errors.read_refusal(answer).of_invoiced_period


def _not_ids(what: str) -> WriteResult:
    said = f"ConnectWise cannot know {what}: its ids are whole numbers. Nothing was sent."
    return WriteResult(WriteStatus.REJECTED, f"{said} Correct mapping.toml.")


def classify(reply: Answer | TransportError, line: PlannedLine) -> WriteResult:
    """A result for whatever came of a change: an answer, or why there is none."""
    asked = f"change addition {line.line_id}" if line.line_id else "create the addition"
    if isinstance(reply, TransportError):
        said = f"kisi asked ConnectWise to {asked}: {reply.message}"
        return not_answered(reply, f"{said} {transport_remedy('ConnectWise', reply)}")
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return _confirmed(reply, line, asked)
    refusal = errors.read_refusal(reply)
    wait, advice, denied = asked_to_wait(reply, creates=line.line_id is None), "", False
    if wait is not None:
        status, said = WriteStatus.THROTTLED, "ConnectWise asks to wait and wrote nothing"
    elif refusal.status in _STALE:
        status = WriteStatus.STALE
        said = f"ConnectWise did not {asked}, because something changed since it was read"
    elif wrote_nothing(refusal.status):
        status, said = WriteStatus.REJECTED, f"ConnectWise refused to {asked}"
        advice, denied = _advice(refusal, line), refusal.of_login
    else:
        status = WriteStatus.UNKNOWN
        said = f"ConnectWise gave no clear answer when asked to {asked}"
    message = f"{said}. It answered {refusal.sentence}{refusal.support} {advice}".rstrip()
    return WriteResult(
        status, message, wait=wait or 0.0, denied=denied, request_id=refusal.request_id
    )


def _confirmed(answer: Answer, line: PlannedLine, asked: str) -> WriteResult:
    """A 2xx: applied if the record in it is the change's, with its quantity."""
    said = f"ConnectWise answered {answer.status} when asked to {asked}, but its answer"
    identity = errors.request_id(answer)
    try:
        row = answer.json()
        if not isinstance(row, dict):
            raise ValueError("it holds no record")  # noqa: TRY004, TRY301
        addition, product, quantity = str(whole(row, "id")), product_of(row), quantity_of(row)
    except (BadAnswer, ValueError) as error:
        message = f"{said} does not show the result: {str(error).rstrip('.')}."
        return WriteResult(WriteStatus.UNKNOWN, message, request_id=identity)
    expected = {
        "addition": (addition, line.line_id or addition),
        "agreement": (row.get("agreementId", int(line.agreement)), int(line.agreement)),
        "product": (product, line.product),
        "quantity": (quantity, line.after),
    }
    wrong = [
        f"{what} {remote_text(str(has), 40)} instead of {wanted}"
        for what, (has, wanted) in expected.items()
        if has != wanted
    ]
    status = WriteStatus.UNKNOWN if wrong else WriteStatus.APPLIED
    message = f"{said} shows {', '.join(wrong)}." if wrong else ""
    return WriteResult(status, message, addition, quantity, request_id=identity)


def _advice(refusal: errors.Refusal, line: PlannedLine) -> str:
    """What to do about a refusal that has a known cause; else empty."""
    if refusal.of_permission:
        right = "Add" if line.line_id is None else "Edit"
        return f"Give the API member's security role the right Finance > Agreements, {right} = All."
    if refusal.of_login:
        return errors.login_remedy(line.psa, refusal)
    if refusal.of_invoiced_period and line.line_id is not None:
        return (
            "ConnectWise checks the whole addition again on every change: correct its effective"
            " date there, or let the agreement prorate."
        )
    return ""
