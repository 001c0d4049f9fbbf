"""Writing one line: an adjustment by the difference to what is agreed, read just before it.

An adjustment is a delta with a date, cannot be read again, and is answered by `{"itemId": null}`.
So the difference is computed from the row of the very date at which it counts, and an adjustment
whose answer was lost is never sent again by itself: what it did is read, in this run or the next.
Source: `ContractServiceAdjustments` of Autotask's REST API help
(https://autotask.net/help/developerhelp).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from http import HTTPStatus

from kisi.errors import AccessRefused, NotSent, PsaError, TransportError
from kisi.model import PlannedLine, WriteResult, WriteStatus
from kisi.psa.autotask.records import Service, as_id, effective_dates
from kisi.psa.autotask.settings import Effective
from kisi.psa.autotask.wire import Filter, Wire, login_remedy, refusals, sentence
from kisi.transport import Answer, retry_after

_PATH = "ContractServiceAdjustments"
_WAIT = 10.0
"""Seconds to wait where a limit comes without `Retry-After`."""
_BUSY = "thread threshold"
_ANOTHER_DAY = ("duplicate data", "approved and posted")
"""Refusals of a day that another day may not meet: it has an adjustment already, or is invoiced."""
_ADVICE = {
    "between the start date and end date": "The contract has ended or was renewed: map the client "
    "to the one that runs.",
    "duplicate data": "Autotask takes one adjustment of a service on one day; the next run tries "
    "again.",
    "approved and posted": "That period is invoiced already; the next run tries the one after.",
    "permission": "Give the API user's security level the right to change contracts.",
    "negative": "Somebody changed the units meanwhile; the next run reads them again.",
}


@dataclass(slots=True)
class Writer:
    """Sends adjustments; `services` reads a contract's services anew."""

    wire: Wire
    effective: Effective
    services: Callable[..., tuple[Service, ...]]
    unclear: set[int] = field(default_factory=set)
    """Services of contracts for which an adjustment's answer was lost: none is sent after it."""

    def write(self, line: PlannedLine, today: date) -> WriteResult:
        """See `kisi.psa.Psa.write`."""
        contract, product = as_id(line.agreement), as_id(line.product)
        if contract is None or product is None:
            what = f"contract {line.agreement!r} or service {line.product!r}"
            return _refused(f"Autotask cannot know {what}: its ids are whole numbers")
        try:
            found = self.services(contract, Filter("eq", "serviceID", product))
        except PsaError as error:
            denied = isinstance(error, AccessRefused)
            status = WriteStatus.REJECTED if denied else WriteStatus.NOT_SENT
            said = f"{error.message} Nothing was sent. {error.remedy}"
            return WriteResult(status, said.rstrip(), denied=denied)
        mine = [one for one in found if line.line_id in (None, str(one.id))]
        if len(mine) == 1:
            return self._bring(mine[0], contract, line, today)
        if line.line_id is not None:
            return WriteResult(WriteStatus.STALE, "The service is not on the contract any more.")
        if mine:
            return _refused(f"Service {product} is on contract {contract} {len(mine)} times")
        return _refused(
            f"Service {product} is not on contract {contract}, and an adjustment must not make it: "
            "add it to the contract in Autotask, with 0 units and its price"
        )

    def _bring(
        self, service: Service, contract: int, line: PlannedLine, today: date
    ) -> WriteResult:
        agreed = service.agreed(today, self.effective)
        quantity, ident = Decimal(line.after), str(service.id)
        if agreed == line.after:
            said = "Autotask showed it already; nothing was sent."
            return WriteResult(WriteStatus.APPLIED, said, ident, quantity)
        if agreed != (line.before or 0):
            said = f"Autotask shows {agreed} units now, and {line.before or 0} were read before"
            return WriteResult(WriteStatus.STALE, f"Nothing was sent: {said}.")
        if service.id in self.unclear:
            said = "An earlier adjustment's answer was lost; none is sent after it in this run."
            return WriteResult(WriteStatus.UNKNOWN, said, ident)
        days, why = effective_dates(service, line.after, today, self.effective)
        if why:
            return _refused(f"The units stay at {agreed}: {why}")
        for number, day in enumerate(days):
            result, other_day = self._send(service, contract, line.after - _on(service, day), day)
            if not other_day or number == len(days) - 1:
                break
        if result.status is WriteStatus.UNKNOWN:
            self.unclear.add(service.id)
        if result.status is not WriteStatus.APPLIED:
            return result
        return WriteResult(WriteStatus.APPLIED, f"It counts from {day} on.", ident, quantity)

    def _send(
        self, service: Service, contract: int, change: int, day: date
    ) -> tuple[WriteResult, bool]:
        """Sends one adjustment; says also whether another day may be taken for it."""
        body = {
            "contractID": contract,
            "contractServiceID": service.id,
            "effectiveDate": day.isoformat(),
            "unitChange": change,
        }
        asked = f"kisi asked Autotask to change service {service.service} of contract {contract} "
        asked += f"by {change:+} units from {day} on"
        try:
            answer = self.wire.post(_PATH, body)
        except TransportError as error:
            unsent = isinstance(error, NotSent)
            status = WriteStatus.NOT_SENT if unsent else WriteStatus.UNKNOWN
            return WriteResult(status, f"{asked}: {error.message} {error.remedy}".rstrip()), False
        except PsaError as error:  # the look at the request limit was refused: it was not sent
            denied = error.guard == "login"
            return WriteResult(WriteStatus.NOT_SENT, error.message, denied=denied), False
        result = _classify(answer, asked, self.wire.name)
        words = " ".join(refusals(answer)).lower()
        return result, result.status is WriteStatus.REJECTED and any(
            one in words for one in _ANOTHER_DAY
        )


def _on(service: Service, day: date) -> int:
    """The units on a day, in the running period or a later one."""
    return next((one.units for one in service.periods if one.start <= day <= one.end), 0)


def _refused(why: str) -> WriteResult:
    return WriteResult(WriteStatus.REJECTED, f"{why}. Nothing was sent.")


def _classify(answer: Answer, asked: str, name: str) -> WriteResult:
    """What an answer means. A validation error has status 500, too; any other 500 is unclear."""
    errors = refusals(answer)
    words = " ".join(errors).lower()
    said = f"{asked}, and it answered {sentence(answer)}"
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES and not errors:
        return WriteResult(WriteStatus.APPLIED)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or _BUSY in words:
        asked_for = retry_after(answer.headers)
        wait = _WAIT if asked_for is None else asked_for
        return WriteResult(WriteStatus.THROTTLED, said, wait=wait)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        remedy = login_remedy(name)
        return WriteResult(WriteStatus.REJECTED, f"{said} {remedy}", denied=True)
    advice = next((advice for part, advice in _ADVICE.items() if part in words), "")
    by_client = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if advice or (by_client and answer.status != HTTPStatus.REQUEST_TIMEOUT):
        return WriteResult(WriteStatus.REJECTED, f"{said} {advice}".rstrip())
    return WriteResult(WriteStatus.UNKNOWN, said)
