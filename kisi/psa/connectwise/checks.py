"""What `kisi check --online` asks ConnectWise: login, clock, release, rights. Writes nothing."""

from __future__ import annotations

from http import HTTPStatus

from kisi.errors import PsaError, TransportError
from kisi.model import Finding, Level
from kisi.psa.connectwise.errors import login_remedy, read_refusal, transport_remedy
from kisi.psa.connectwise.records import LARGEST_ID, as_id
from kisi.psa.connectwise.wire import AGREEMENTS, CATALOG, COMPANIES, Collection, Wire, additions
from kisi.transport import Answer, Clock, clock_finding, clock_skew

_IF_SKEWED = "an addition could start on the wrong day"
_NO_ADDITION = LARGEST_ID  # no addition has it


def check_online(wire: Wire, clock: Clock, agreement: str | None) -> tuple[Finding, ...]:
    """All checks; the login's alone if it is refused. `agreement` is a mapped one, if there is."""
    try:
        answer = wire.get(AGREEMENTS, path=f"{AGREEMENTS.path}/count")
    except PsaError as error:
        return (Finding.of(error),)
    return (
        _login(wire, answer),
        clock_finding(clock_skew(answer, clock.now()), f"psa.{wire.name}", _IF_SKEWED),
        _release(wire, answer),
        _right_to_read(wire, COMPANIES),
        _right_to_read(wire, CATALOG),
        _right_to_write(wire, agreement),
    )


def _login(wire: Wire, answer: Answer) -> Finding:
    try:
        count = answer.json()["count"]
    except (TransportError, KeyError, TypeError):
        return Finding(
            Level.PROBLEM,
            f"What answers at url of [psa.{wire.name}] is not ConnectWise's API:"
            f" {answer.excerpt()!r}.",
            f"Check url of [psa.{wire.name}].",
        )
    if count == 0:
        return Finding(
            Level.PROBLEM,
            f"psa.{wire.name} accepted the login, and the API member sees no agreement.",
            f"Give its security role the right {AGREEMENTS.right}.",
        )
    return Finding(
        Level.OK,
        f"psa.{wire.name} accepted the login; the API member sees {count} "
        f"agreement{'' if count == 1 else 's'}.",
    )


def _release(wire: Wire, answer: Answer) -> Finding:
    release = answer.header("api-current-version", 40)
    if not release:
        return Finding(Level.NOTE, f"psa.{wire.name} does not say which release it runs.")
    return Finding(Level.OK, f"psa.{wire.name} runs ConnectWise {release}.")


def _right_to_read(wire: Wire, collection: Collection) -> Finding:
    try:
        wire.get(collection, params={"fields": "id", "pageSize": "1"})
    except PsaError as error:
        return Finding.of(error)
    return Finding(Level.OK, f"The API member may read the {collection.noun} of psa.{wire.name}.")


def _right_to_write(wire: Wire, agreement: str | None) -> Finding:
    """Sends a PATCH with no operations to an addition that cannot exist: it can change nothing.

    It rests on the assumption, which ConnectWise documents nowhere, that the right is checked
    before the record is looked for: 403 then means that it is missing, 404 that it is there. Any
    other answer proves nothing; the right to create (`Add`) only a real create would prove.
    """
    number = None if agreement is None else as_id(agreement)
    right = f"The right to change additions of psa.{wire.name} was not"
    needed = "Finance > Agreements, Add and Edit = All"
    if number is None:
        return Finding(Level.NOTE, f"{right} checked: no agreement is mapped.")
    try:
        answer = wire.send("PATCH", f"{additions(number).path}/{_NO_ADDITION}", [])
    except TransportError as error:
        return Finding(Level.NOTE, f"{right} proven: {error.message}", transport_remedy(error))
    refusal = read_refusal(answer)
    if refusal.of_permission:
        return Finding(
            Level.PROBLEM,
            f"The API member may not change additions of psa.{wire.name}: {refusal.sentence}",
            f"Give its security role the right {needed}.",
        )
    if refusal.of_login:
        return Finding(
            Level.PROBLEM,
            f"psa.{wire.name} lets kisi read and refuses writes: {refusal.sentence}",
            login_remedy(wire.name, refusal),
        )
    if refusal.status == HTTPStatus.NOT_FOUND:
        return Finding(Level.OK, f"The API member may change additions of psa.{wire.name}.")
    return Finding(
        Level.NOTE,
        f"{right} proven: ConnectWise answered {refusal.status} to a change of an addition that"
        " does not exist.",
        f"See that the API member's security role has the right {needed}.",
    )
