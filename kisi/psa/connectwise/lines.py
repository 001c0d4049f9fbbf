"""Agreement Additions as lines: one request an agreement, every addition, also cancelled ones.

Record: `Addition` of ConnectWise's OpenAPI document, `GET /finance/agreements/{id}/additions`. An
addition that names another agreement than the one asked for is part of another answer.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from kisi.errors import PsaError
from kisi.model import AgreementRef, Line
from kisi.psa.connectwise.endpoints import additions
from kisi.psa.connectwise.values import (
    Row,
    as_id,
    day,
    day_or_none,
    name,
    number,
    number_or_none,
    part,
    row_id,
    shown,
    text,
)
from kisi.psa.connectwise.wire import Wire

FIELDS = (
    "id,product/id,product/identifier,description,quantity,unitPrice,billCustomer,effectiveDate,"
    "cancelledDate,agreementStatus,agreementId"
)

_DEAD = frozenset({"cancelled", "expired"})
"""`agreementStatus` of an addition that is over. `Inactive` is not among them: nobody documents
whether ConnectWise says it of additions that start later, and taking one for dead would add a
second one."""
_PLACES = 6
"""No product is counted finer; what a double shows behind them nobody has entered."""


def read_lines(
    wire: Wire, ref: AgreementRef, products: Collection[str] | None = None
) -> tuple[Line, ...]:
    """All additions of one agreement, or those of `products` alone.

    A list of `products` proves that no other addition of them exists, also where nothing but its
    length says where it ends.

    Raises:
        PsaError: The list did not arrive whole, is another agreement's, or one of its additions
            cannot be read.
    """
    place = additions(_number(ref))
    if products is None:
        rows = wire.rows(place, FIELDS)
    else:
        ids = sorted({number for one in products if (number := as_id(one)) is not None})
        chunks = wire.chunks(place, FIELDS, "product/id", ids)
        rows = [row for one in chunks for row in wire.rows(place, FIELDS, one)]
    return tuple(_line(row, ref) for row in rows)


def read_line(wire: Wire, ref: AgreementRef, line_id: str) -> Line | None:
    """One addition by its id; None where ConnectWise says that the agreement has no such one.

    Raises:
        PsaError: It could not be read.
    """
    number = as_id(line_id)
    row = None if number is None else wire.record(additions(_number(ref)), number, FIELDS)
    return None if row is None else _line(row, ref)


def _number(ref: AgreementRef) -> int:
    agreement = as_id(ref.agreement)
    if agreement is None:
        raise PsaError(
            f"{ref.agreement!r} is not an agreement id of ConnectWise: those are whole numbers.",
            remedy="Correct `agreement` of the client in mapping.toml.",
        )
    return agreement


def quantity_of(row: Row) -> Decimal:
    """The quantity of an addition: a double, of which the noise behind the sixth place is cut off.

    Raises:
        ValueError: It is absent or no number. Absent is not zero: nobody has said so.
    """
    quantity = number(row, "quantity")
    if quantity is None:
        raise ValueError("quantity is missing")
    exact = round(quantity, _PLACES)
    return quantity if quantity == exact else exact


def product_of(row: Row) -> str:
    """The catalog item's id of an addition.

    Raises:
        ValueError: It is absent.
    """
    try:
        return str(row_id(part(row, "product")))
    except ValueError as error:
        raise ValueError(f"product/{error}") from error


def _line(row: Row, ref: AgreementRef) -> Line:
    """One addition, proven to be of the agreement that was asked for.

    What cannot be read of it matters only if it is the one that kisi would write: an agreement also
    holds additions of other vendors and of people. Without an id or a product nobody can tell.
    """
    owner = row.get("agreementId", int(ref.agreement))
    if str(owner) != ref.agreement:
        raise PsaError(
            f"Asked for the additions of agreement {ref.agreement} (psa.{ref.psa}), ConnectWise"
            f" answered with one of agreement {shown(owner)}. Nothing of the answer was used.",
            remedy="Run kisi again; if it keeps happening, something between kisi and ConnectWise"
            " mixes answers up.",
        )
    try:
        line, product = str(row_id(row)), product_of(row)
    except ValueError as error:
        raise PsaError(
            f"Addition {row_id(row)} of agreement {ref.agreement} (psa.{ref.psa}) could not be"
            f" read: {error}. The agreement's lines are not known, so none of them was written.",
            remedy="Correct the addition in ConnectWise.",
        ) from error
    try:
        cancelled = day(row, "cancelledDate")
        return Line(
            id=line,
            agreement=ref.agreement,
            product=product,
            quantity=quantity_of(row),
            description=name(row, "description") or name(part(row, "product"), "identifier"),
            unit_price=number_or_none(row, "unitPrice"),
            billable=text(row, "billCustomer").casefold() in ("", "billable"),
            starts=day(row, "effectiveDate"),
            cancelled=cancelled,
            dead=cancelled is None and text(row, "agreementStatus").casefold() in _DEAD,
        )
    except ValueError as error:
        over = day_or_none(row, "cancelledDate")
        return Line(line, ref.agreement, product, Decimal(0), cancelled=over, problem=str(error))
