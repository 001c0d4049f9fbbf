"""What kisi reads of ConnectWise: agreements, their additions, the catalog, companies.

Agreements are read in chunks of ids, and each is validated against the client that is mapped to it.
Additions take one request an agreement, and all come, also cancelled ones; one that names another
agreement than the one asked for is part of another answer. Records: `Agreement`, `Addition`,
`CatalogItem` and `Company` of ConnectWise's OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal

from kisi.errors import AccessRefused, KisiError, PsaError
from kisi.model import Agreement, AgreementRef, Line, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.common import move, move_by_hand
from kisi.psa.connectwise.values import (
    Row,
    as_id,
    day,
    day_or_none,
    flag,
    name,
    number,
    number_or_none,
    part,
    row_id,
    shown,
    text,
)
from kisi.psa.connectwise.wire import AGREEMENTS, CATALOG, COMPANIES, Wire, additions
from kisi.redaction import remote_text

_DEAD = frozenset({"cancelled", "expired"})
"""`agreementStatus` of an addition that is over. `Inactive` is not among them: nobody documents
whether ConnectWise says it of additions that start later, and taking one for dead would add a
second one."""
_PLACES = 6
"""No product is counted finer; what a double shows behind them nobody has entered."""


class Reads:
    """What `ConnectWise` reads: agreements, additions, the catalog, companies.

    What each method promises is said in `kisi.psa.Psa`.

    Args:
        wire: Where requests go.
    """

    def __init__(self, wire: Wire) -> None:
        self.name = wire.name
        self._wire = wire

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        """Each of `refs`, validated on `today`; one request for about 150 of them.

        One more for about 150 parents, of agreements that are not invoiced by themselves. A chunk
        that cannot be read is that error for each of its refs.

        Raises:
            AccessRefused: The login, the right or the address was refused.
            PsaError: No chunk could be read.
        """
        found: dict[AgreementRef, Agreement | KisiError] = {}
        wanted: dict[int, list[AgreementRef]] = {}
        for ref in refs:
            number = as_id(ref.agreement)
            if number is None:
                found[ref] = _not_an_id(ref)
            else:
                wanted.setdefault(number, []).append(ref)
        rows, failed = self._agreement_rows(wanted)
        if failed and len(failed) == len(wanted):
            raise next(iter(failed.values()))
        asked = {number: parent for number, row in rows.items() if (parent := _invoiced_by(row))}
        parents, unread = self._agreement_rows(set(asked.values()) - rows.keys())
        for number, of_it in wanted.items():
            row, parent = rows.get(number), asked.get(number, 0)
            error = failed.get(number) or unread.get(parent)
            above = rows.get(parent) or parents.get(parent)
            found |= {ref: error or validate_agreement(ref, row, today, above) for ref in of_it}
        return found

    def _agreement_rows(
        self, numbers: Collection[int]
    ) -> tuple[dict[int, Row], dict[int, PsaError]]:
        """Agreements by id, as ConnectWise sent them, and why others could not be read."""
        rows: dict[int, Row] = {}
        failed: dict[int, PsaError] = {}
        for chunk in self._wire.chunks(AGREEMENTS, "id", numbers):
            try:
                rows |= {row_id(row): row for row in self._wire.rows(AGREEMENTS, chunk)}
            except AccessRefused:
                raise
            except PsaError as error:
                failed |= dict.fromkeys(chunk.ids, error)
        return rows, failed

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """The agreements of each of `companies` that run on `today`; one request for about 150.

        One that cannot be validated is among them, as not_billable: it may bill.
        """
        numbers = {number: one for one in companies if (number := as_id(one)) is not None}
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for row in self._wire.rows_among(AGREEMENTS, "company/id", numbers):
            company = numbers[row_id(part(row, "company"))]
            ref = AgreementRef(self.name, company, str(row_id(row)))
            agreement = validate_agreement(ref, row, today)  # gone or not: no parent decides that
            if isinstance(agreement, PsaError):
                not_billable = NotBillable("agreement", agreement.message, agreement.remedy)
                agreement = Agreement(ref, name=name(row, "name"), not_billable=not_billable)
            if not agreement.gone:
                found[company] += (agreement,)
        return found

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additions of one agreement, or those of `products`; one request for each 1,000.

        A list of `products` proves that no other addition of them exists, also where nothing but
        its length says where it ends.
        """
        place = additions(_number(ref))
        if products is None:
            rows: Iterable[Row] = self._wire.rows(place)
        else:
            ids = {number for one in products if (number := as_id(one)) is not None}
            rows = self._wire.rows_among(place, "product/id", ids)
        return tuple(_line(row, ref) for row in rows)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One addition by its id; None where ConnectWise says that the agreement has no such."""
        number = as_id(line_id)
        row = None if number is None else self._wire.record(additions(_number(ref)), number)
        return None if row is None else _line(row, ref)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        numbers = {number for one in ids if (number := as_id(one)) is not None}
        items = map(_product, self._wire.rows_among(CATALOG, "id", numbers))
        return {item.id: item for item in items}

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company. Those in the recycle bin come as inactive: a mapping may name one."""
        return tuple(
            PsaCompany(
                id=str(row_id(row)),
                name=name(row, "name") or name(row, "identifier"),
                active=not flag(row, "deletedFlag"),
            )
            for row in self._wire.rows(COMPANIES)
        )

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, those that are cancelled or expired as inactive."""
        return tuple(map(_listed, self._wire.rows(AGREEMENTS)))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every catalog item; inactive ones and bundles, which cannot be additions, as inactive."""
        return tuple(map(_product, self._wire.rows(CATALOG)))


def validate_agreement(
    ref: AgreementRef, row: Row | None, today: date, parent: Row | None = None
) -> Agreement | PsaError:
    """One agreement as ConnectWise sent it; `row` is None if ConnectWise knows no such id.

    `parent` is the agreement that `_invoiced_by` names; None: nothing is known of it.
    """
    if row is None:
        missing = NotBillable(
            "agreement",
            f"Agreement {ref.agreement} does not exist in ConnectWise, or the API member may not"
            " see it.",
            f"If another one takes its place: {move(ref)}.",
        )
        return Agreement(ref, not_billable=missing, gone=True)
    try:
        idle = _idle(ref, row, today)
        return Agreement(
            ref,
            name=name(row, "name"),
            not_billable=_foreign(ref, row) or idle or _not_invoiced(ref, row, today, parent),
            bill_start=day(row, "billStartDate"),
            next_invoice=day_or_none(row, "nextInvoiceDate"),  # documented as a plain string
            ends=_end(row),
            prorated=flag(row, "prorateFlag"),
            gone=idle is not None,
        )
    except ValueError as error:
        return PsaError(
            f"Agreement {ref.agreement} of psa.{ref.psa} could not be read: {error}. Nothing of it"
            " was written.",
            remedy="Correct the agreement in ConnectWise.",
        )


def _listed(row: Row) -> PsaAgreement:
    """An agreement for `kisi map`; active as far as its status and flag say, whatever the day."""
    return PsaAgreement(
        id=str(row_id(row)),
        company=str(part(row, "company").get("id", "")),
        name=name(row, "name"),
        kind=name(part(row, "type"), "name"),
        active=not flag(row, "cancelledFlag") and _status(row) in ("", "active"),
        starts=day_or_none(row, "startDate"),
        ends=None if flag(row, "noEndingDateFlag") else day_or_none(row, "endDate"),
    )


def _not_an_id(ref: AgreementRef) -> Agreement:
    not_billable = NotBillable(
        "agreement",
        f"{ref.agreement!r} is not an agreement id of ConnectWise: those are whole numbers.",
        "Correct `agreement` of the client in mapping.toml; `kisi map list` shows the ids.",
    )
    return Agreement(ref, not_billable=not_billable, gone=True)


def _foreign(ref: AgreementRef, row: Row) -> NotBillable | None:
    """Why the agreement is not the mapped company's.

    Raises:
        ValueError: ConnectWise does not say whose it is.
    """
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
        "Correct `company` or `agreement` of the client in mapping.toml.",
    )


def _idle(ref: AgreementRef, row: Row, today: date) -> NotBillable | None:
    """Why the agreement bills nothing on `today`; None if it is active."""
    status, called = _status(row), _called(row)
    renew = f"Renew it in ConnectWise. If that makes a new agreement: {move(ref)}."
    starts, ends = day(row, "startDate"), _end(row)
    if flag(row, "cancelledFlag") or status == "cancelled":
        return NotBillable("agreement", f"{called} is cancelled in ConnectWise.", renew)
    if ends is not None and ends < today:
        return NotBillable("agreement", f"{called} ended on {ends}.", renew)
    if starts is not None and starts > today:
        return NotBillable(
            "agreement",
            f"{called} starts only on {starts}.",
            f"Wait until then, or name the agreement that runs today: {move_by_hand(ref)}.",
        )
    if status not in ("", "active"):
        said = remote_text(text(row, "agreementStatus"), 40)
        return NotBillable(
            "agreement", f"{called} is not active: ConnectWise calls it {said}.", renew
        )
    return None


def _not_invoiced(
    ref: AgreementRef, row: Row, today: date, parent: Row | None
) -> NotBillable | None:
    """Why the agreement is never invoiced again; None if it is, or if no record says otherwise."""
    why = _without_invoices(row)
    if not why:
        return None
    if number := _invoiced_by(row):
        above = _idle_or_without_invoices(ref, parent, today) if parent else ""
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

    ConnectWise leaves null fields out. So an absent cycle or date says something only where the
    record shows that its billing may be seen: `billOneTimeFlag`, true or false, is there.
    """
    if _one_time(row):
        return "is billed only one time"
    told = isinstance(row.get("billOneTimeFlag"), bool)
    cycle = row.get("billingCycle")
    if (told or "billingCycle" in row) and not (
        any(cycle.values()) if isinstance(cycle, dict) else cycle
    ):
        return "has no billing cycle"
    try:
        dated = day(row, "nextInvoiceDate") is not None
    except ValueError:
        dated = True  # it is documented as a plain string
    if (told or "nextInvoiceDate" in row) and not dated:
        return "has no next invoice date"
    return ""


def _one_time(row: Row) -> bool:
    return flag(row, "oneTimeFlag") or flag(row, "billOneTimeFlag")


def _invoiced_by(row: Row) -> int:
    """The id of the parent that a child is invoiced with, if it is not invoiced by itself; or 0."""
    if _one_time(row) or not _without_invoices(row):
        return 0
    return as_id(str(part(row, "parentAgreement").get("id"))) or 0


def _idle_or_without_invoices(ref: AgreementRef, parent: Row, today: date) -> str:
    """Why a parent does not invoice its children; empty if it does, or if no record denies it."""
    try:
        idle = _idle(ref, parent, today)
    except ValueError:
        idle = None
    return "is not active" if idle else _without_invoices(parent)


def _called(row: Row) -> str:
    called = name(row, "name")
    return f"Agreement {row_id(row)} {called!r}" if called else f"Agreement {row_id(row)}"


def _status(row: Row) -> str:
    return text(row, "agreementStatus").casefold()


def _end(row: Row) -> date | None:
    return None if flag(row, "noEndingDateFlag") else day(row, "endDate")


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


def _product(row: Row) -> PsaProduct:
    """A catalog item. One of class Bundle cannot be an addition, so it is not active either."""
    names = (name(row, "identifier"), name(row, "description"))
    return PsaProduct(
        id=str(row_id(row)),
        name=": ".join(dict.fromkeys(filter(None, names))),
        active=not flag(row, "inactiveFlag") and text(row, "productClass") != "Bundle",
        price=number_or_none(row, "price"),
    )
