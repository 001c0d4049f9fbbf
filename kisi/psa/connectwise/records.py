"""ConnectWise's records, read: leniently where it is harmless, never by guessing. Pure.

Record shapes: `Agreement`, `Addition`, `CatalogItem` and `Company` of ConnectWise's OpenAPI
document (https://developer.connectwise.com/Products/ConnectWise_PSA/REST). ConnectWise leaves null
fields out and adds fields between releases, so an absent field is no error here; one that cannot
be read is a `ValueError` that names it. A day is that day's midnight, `2026-11-21T00:00:00Z`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal

from kisi.errors import PsaError
from kisi.model import Agreement, AgreementRef, Line, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.records import (
    Row,
    as_id,
    day,
    exact_number,
    move,
    move_by_hand,
    name,
    part,
    shown,
    text,
    whole,
)
from kisi.redaction import remote_text

_DEAD = frozenset({"cancelled", "expired"})
"""`agreementStatus` of an addition that is over. `Inactive` is not among them: nobody documents
whether ConnectWise says it of additions that start later, and taking one for dead would add a
second one."""
_PLACES = 6
"""No product is counted finer; what a double shows behind them nobody has entered."""
_ONE_TIME = "is billed only one time"


def flag(row: Row, field: str) -> bool:
    """A boolean field; absent means false."""
    return row.get(field) is True


def day_or_none(row: Row, field: str) -> date | None:
    """As `day`, for dates that decide nothing: an unreadable one is none."""
    try:
        return day(row, field)
    except ValueError:
        return None


def quantity_of(row: Row) -> Decimal:
    """The quantity of an addition, a double without the noise behind its sixth place.

    Absent is not zero, but a `ValueError`: nobody has said so.
    """
    value = row.get("quantity")
    if value is None:
        raise ValueError("quantity is missing")
    quantity = exact_number(value)
    if quantity is None:
        raise ValueError(f"quantity is {shown(value)}")
    exact = round(quantity, _PLACES)
    return quantity if quantity == exact else exact


def product_of(row: Row) -> str:
    """The catalog item's id of an addition; `ValueError` if it is absent."""
    return str(whole(part(row, "product"), "id", "product/id"))


def addition_line(row: Row, ref: AgreementRef) -> Line:
    """One addition, proven to be of the agreement that was asked for (else `PsaError`).

    What else cannot be read than its product is its `problem`, and matters only if kisi would write
    it: an agreement also holds additions of other vendors and of people.
    """
    owner = row.get("agreementId", int(ref.agreement))
    if str(owner) != ref.agreement:
        raise PsaError(
            f"Asked for the additions of agreement {ref.agreement} (psa.{ref.psa}), ConnectWise"
            f" answered with one of agreement {shown(owner)}. Nothing of the answer was used.",
            remedy="Run kisi again; if it keeps happening, something between kisi and ConnectWise"
            " mixes answers up.",
        )
    line = str(whole(row, "id"))
    try:
        product = product_of(row)
    except ValueError as error:
        raise PsaError(
            f"Addition {line} of agreement {ref.agreement} (psa.{ref.psa}) could not be"
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
            unit_price=exact_number(row.get("unitPrice")),
            included=exact_number(row.get("lessIncluded") or 0),
            billable=text(row, "billCustomer").casefold() in ("", "billable"),
            starts=day(row, "effectiveDate"),
            cancelled=cancelled,
            dead=cancelled is None and _status(row) in _DEAD,
        )
    except ValueError as error:
        over = day_or_none(row, "cancelledDate")
        return Line(line, ref.agreement, product, Decimal(0), cancelled=over, problem=str(error))


def listed_product(row: Row) -> PsaProduct:
    """A catalog item. One of class Bundle cannot be an addition, so it is not active either."""
    names = (name(row, "identifier"), name(row, "description"))
    return PsaProduct(
        id=str(whole(row, "id")),
        name=": ".join(dict.fromkeys(filter(None, names))),
        active=not flag(row, "inactiveFlag") and text(row, "productClass") != "Bundle",
        price=exact_number(row.get("price")),
    )


def listed_company(row: Row) -> PsaCompany:
    """A company for `kisi map`; inactive in the recycle bin, where a mapping may name one."""
    called = name(row, "name") or name(row, "identifier")
    return PsaCompany(str(whole(row, "id")), called, active=not flag(row, "deletedFlag"))


def listed_agreement(row: Row) -> PsaAgreement:
    """An agreement for `kisi map`; active as far as its status and flag say, whatever the day."""
    return PsaAgreement(
        id=str(whole(row, "id")),
        company=str(part(row, "company").get("id", "")),
        name=name(row, "name"),
        kind=name(part(row, "type"), "name"),
        active=not flag(row, "cancelledFlag") and _status(row) in ("", "active"),
        starts=day_or_none(row, "startDate"),
        ends=None if flag(row, "noEndingDateFlag") else day_or_none(row, "endDate"),
    )


def validate_agreement(
    ref: AgreementRef, row: Row | None, today: date, parent: Row | None = None
) -> Agreement | PsaError:
    """One agreement; `row` is None if ConnectWise knows no such id, `parent` if there is none."""
    if row is None:
        why = (
            f"Agreement {ref.agreement} does not exist in ConnectWise, or the API member may not"
            " see it."
        )
        remedy = f"If another one takes its place: {move(ref)}."
        if as_id(ref.agreement) is None:
            why, remedy = no_agreement_id(ref), f"{CORRECT}; `kisi map list` shows the ids."
        return Agreement(ref, not_billable=NotBillable("agreement", why, remedy), gone=True)
    try:
        idle = _idle(ref, row, today)
        rows: tuple[Row, ...] = (row, parent or {})
        cycles = (name(part(one, "billingCycle"), "name") for one in rows)
        currencies = (name(part(one, "currency"), "currencyCode") for one in rows)
        return Agreement(
            ref,
            name=name(row, "name"),
            not_billable=_foreign(ref, row) or idle or _not_invoiced(ref, row, today, parent),
            bill_start=day(row, "billStartDate"),
            # documented as a plain string
            next_invoice=day_or_none(row, "nextInvoiceDate")
            or day_or_none(rows[1], "nextInvoiceDate"),
            ends=_end(row),
            prorated=flag(row, "prorateFlag"),
            gone=idle is not None,
            cycle=next((one for one in cycles if one.casefold() not in ("", "none")), ""),
            currency=next(filter(None, currencies), ""),
        )
    except ValueError as error:
        return PsaError(
            f"Agreement {ref.agreement} of psa.{ref.psa} could not be read: {error}. Nothing of it"
            " was written.",
            remedy="Correct the agreement in ConnectWise.",
        )


CORRECT = "Correct `agreement` of the client in mapping.toml"


def no_agreement_id(ref: AgreementRef) -> str:
    """Why no agreement can have this id."""
    return f"{ref.agreement!r} is not an agreement id of ConnectWise: those are whole numbers."


def _foreign(ref: AgreementRef, row: Row) -> NotBillable | None:
    """Why the agreement is not the mapped company's."""
    company = part(row, "company")
    if "id" not in company:
        raise ValueError("company/id is missing")
    if str(company["id"]) == ref.company:
        return None
    owner = f"company {shown(company['id'])} ({name(company, 'name') or 'no name'})"
    return NotBillable(
        "agreement",
        f"{_called(row)} belongs to {owner} in ConnectWise, and the client is mapped to company"
        f" {ref.company}.",
        f"If the companies were merged: kisi map company {ref.psa}:{ref.agreement} --company "
        f"{shown(company['id'])}. Otherwise correct the client's row in mapping.toml.",
    )


def _idle(ref: AgreementRef, row: Row, today: date) -> NotBillable | None:
    """Why the agreement bills nothing on `today`; None if it is active."""
    status, starts, ends = _status(row), day(row, "startDate"), _end(row)
    bills = day(row, "billStartDate")
    remedy = f"Renew it in ConnectWise. If that makes a new agreement: {move(ref)}."
    if flag(row, "cancelledFlag") or status == "cancelled":
        why = "is cancelled in ConnectWise"
    elif ends is not None and ends < today:
        why = f"ended on {ends}"
    elif starts is not None and starts > today:
        why = f"starts only on {starts}"
        remedy = f"Wait until then, or name the agreement that runs today: {move_by_hand(ref)}."
    elif ends is not None and bills is not None and bills > ends:
        why = f"ends on {ends}, before its billing starts on {bills}, so that it is never invoiced"
        remedy = f"Correct these dates in ConnectWise, or name another: {move_by_hand(ref)}."
    elif status not in ("", "active"):
        why = f"is not active: ConnectWise calls it {remote_text(text(row, 'agreementStatus'), 40)}"
    else:
        return None
    return NotBillable("agreement", f"{_called(row)} {why}.", remedy)


def _not_invoiced(
    ref: AgreementRef, row: Row, today: date, parent: Row | None
) -> NotBillable | None:
    """Why the agreement is never invoiced again; None if it is, or if no record says otherwise."""
    why = _without_invoices(row)
    if not why:
        return None
    if number := invoiced_by(row):
        above = _without_invoices(parent) if parent else ""
        with suppress(ValueError):
            above = "is not active" if parent and _idle(ref, parent, today) else above
        if not above:
            return None
        why += f", and its parent, agreement {number}, {above}"
    return NotBillable(
        "agreement",
        f"{_called(row)} {why}: ConnectWise will never invoice what is added to it.",
        "Let ConnectWise invoice it regularly (not one time, with a billing cycle and a next"
        f" invoice date), or name the agreement that is invoiced: {move_by_hand(ref)}.",
    )


def _without_invoices(row: Row) -> str:
    """What makes an agreement by itself one that is never invoiced again; empty if nothing does.

    ConnectWise leaves null fields out, so an absent cycle or date says something only where
    `billOneTimeFlag`, true or false, shows that the record's billing may be seen.
    """
    if flag(row, "oneTimeFlag") or flag(row, "billOneTimeFlag"):
        return _ONE_TIME
    told = isinstance(row.get("billOneTimeFlag"), bool)
    cycle = row.get("billingCycle")
    if isinstance(cycle, dict):
        cycle = cycle.get("name") or any(cycle.values())
    # The cycle `None` is none (https://support.meetgradient.com/connectwise-troubleshooting).
    has_cycle = cycle and str(cycle).strip().casefold() != "none"
    if (told or "billingCycle" in row) and not has_cycle:
        return "has no billing cycle"
    try:
        dated = day(row, "nextInvoiceDate") is not None
    except ValueError:
        dated = True  # it is documented as a plain string
    if (told or "nextInvoiceDate" in row) and not dated:
        return "has no next invoice date"
    return ""


def invoiced_by(row: Row) -> int:
    """The id of the parent that a child is invoiced with, if it is not invoiced by itself; or 0."""
    if _without_invoices(row) in ("", _ONE_TIME):
        return 0
    return as_id(str(part(row, "parentAgreement").get("id"))) or 0


def _called(row: Row) -> str:
    called = name(row, "name")
    return f"Agreement {whole(row, 'id')}" + (f" {called!r}" if called else "")


def _status(row: Row) -> str:
    return text(row, "agreementStatus").casefold()


def _end(row: Row) -> date | None:
    return None if flag(row, "noEndingDateFlag") else day(row, "endDate")
