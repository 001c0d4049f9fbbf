"""What ConnectWise's answer to a write means.

ConnectWise has no idempotency key and no version check, and answers some patches that it ignored
with 200. So a write counts only if the answer's record shows it, a refusal counts only if
ConnectWise cannot have written, and everything else is unknown: `kisi.apply` reads it back.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from kisi.errors import BadAnswer, NotSent, TransportError
from kisi.model import WriteResult, WriteStatus
from kisi.psa.connectwise.changes import Change
from kisi.psa.connectwise.lines import product_of, quantity_of
from kisi.psa.connectwise.refusals import (
    Refusal,
    login_remedy,
    read_refusal,
    request_id,
    support,
    transport_remedy,
)
from kisi.psa.connectwise.values import row_id
from kisi.transport import Answer, retry_after

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
        f"{what} {has} instead of {asked}"
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
