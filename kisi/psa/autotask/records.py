"""Autotask's records, read, and what a service's period rows say. Pure.

Entities: `Contracts`, `ContractServices`, `ContractServiceUnits`, `Services` and `Companies` of
Autotask's REST API (https://autotask.net/help/developerhelp). Its specification writes field names
in Pascal case and its answers in camel case, so names are compared in any case (`folded`).

A contract's service holds no quantity. `ContractServiceUnits` has one row for each of its billing
periods up to the end of the contract, and an adjustment changes the rows from its date on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from requests.structures import CaseInsensitiveDict

from kisi.model import Agreement, AgreementRef, Line, NotBillable
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.autotask import ACTIVE, Effective
from kisi.psa.records import Row, day, exact_number, move, move_by_hand, name, whole

RECURRING = 7
"""`contractType` of a Recurring Service contract."""


def folded(record: object) -> Row:
    """A record whose fields are found in any case; `ValueError` if it is none."""
    if not isinstance(record, dict):
        raise ValueError("a record is not an object")  # noqa: TRY004  # one kind for all
    return CaseInsensitiveDict(record)


class Period(NamedTuple):
    """How many units of a contract's service one billing period has; both days are in it."""

    start: date
    end: date
    units: int
    posted: bool
    """It is approved and posted: its invoice is made."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a contract, with its periods that are not over, in order."""

    id: int
    service: int
    name: str
    price: Decimal | None
    periods: tuple[Period, ...] = ()
    last: Period | None = None
    """The latest period that is over and has units; known only where there is no later one."""

    def current(self, today: date) -> Period | None:
        """The one period that `today` is in; `ValueError` if there are several."""
        found = [one for one in self.periods if one.start <= today <= one.end]
        if len(found) > 1:
            raise ValueError(f"{len(found)} of its periods cover {today}")
        return found[0] if found else None

    def following(self, today: date) -> Period | None:
        """The first period that begins after `today`."""
        return min((p for p in self.periods if p.start > today), default=None)

    def agreed(self, today: date, effective: Effective) -> int:
        """The units from the date on at which a decrease counts: what a new quantity replaces."""
        current, following = self.current(today), self.following(today)
        last = (current or following) if effective is Effective.DAY else (following or current)
        return last.units if last else 0


def read_service(row: Row) -> Service:
    """One `ContractServices` record, without its periods."""
    return Service(
        id=whole(row, "id"),
        service=whole(row, "serviceID"),
        name=name(row, "invoiceDescription"),
        price=exact_number(row.get("unitPrice")),
    )


def service_line(service: Service, ref: AgreementRef, today: date, effective: Effective) -> Line:
    """A service as a line, whose quantity is what is agreed for the next effective date."""
    line, product = str(service.id), str(service.service)
    try:
        current, following = service.current(today), service.following(today)
        quantity = service.agreed(today, effective)
        over = service.last if not service.periods else None
    except ValueError as error:
        return Line(line, ref.agreement, product, Decimal(0), problem=str(error))
    pending = ""
    if current and following and current.units != following.units:
        pending = f"{current.units} → {following.units} from {following.start}"
    return Line(
        id=line,
        agreement=ref.agreement,
        product=product,
        quantity=Decimal(over.units if over else quantity),
        description=service.name,
        pending=pending,
        unit_price=service.price,
        starts=following.start if following and not current else None,
        # It neither bills nor will: it is ready for a first quantity.
        empty=service.last is None and not any(period.units for period in service.periods),
        cancelled=over.end + timedelta(days=1) if over else None,
    )


def effective_dates(
    service: Service, after: int, today: date, effective: Effective
) -> tuple[list[date], str]:
    """The days from which `after` units may count, the best first; else why there is none.

    A decrease never counts before the next period, unless `effective` is `day`: the running one is
    invoiced in advance, and Autotask makes credits of it.
    """
    current, following = service.current(today), service.following(today)
    if effective is Effective.DAY or current is None:
        return [today if current or not following else following.start], ""
    later = [following.start] if following else []
    ends = f"the contract's last period runs until {current.end}, and there is no next one"
    if after < service.agreed(today, effective) or effective is Effective.NEXT_PERIOD:
        return later, "" if later else ends
    if following and current.units != following.units:
        if after <= current.units:
            return later, ""
        return [], (
            f"it is to change from {current.units} to {following.units} on {following.start}, and "
            "one adjustment cannot raise both periods to one number"
        )
    # Two adjustments on one day are refused, so a second one within a period counts from today on.
    now = [] if current.posted else list(dict.fromkeys([current.start, today]))
    return now + later, "" if now + later else ends


def read_contract(
    ref: AgreementRef, row: Row | None, today: date, active: int = ACTIVE
) -> Agreement:
    """A contract as an agreement, judged against the client that is mapped to it."""
    if row is None:
        why = f"Contract {ref.agreement} does not exist in Autotask, or the API user may not see it"
        remedy = f"If another one takes its place: {move(ref)}."
        return Agreement(ref, not_billable=NotBillable("agreement", f"{why}.", remedy), gone=True)
    starts, ends, named = day(row, "startDate"), day(row, "endDate"), name(row, "contractName")
    company, kind = whole(row, "companyID"), whole(row, "contractType")
    over = ends is not None and ends < today
    why, remedy = "", ""
    if str(company) != ref.company:
        why = f"belongs to company {company}, and the client is mapped to company {ref.company}"
        remedy = "Correct `company` or `agreement` of the client in mapping.toml."
    elif kind != RECURRING:
        why = f"is of type {kind}, and only one of type {RECURRING} (Recurring Service) has units"
        remedy = f"Name a Recurring Service contract: {move_by_hand(ref)}."
    elif over:
        why = f"ended on {ends}: it may have been renewed as another contract"
        remedy = f"Renew it in Autotask, or name the one that follows it: {move(ref)}."
    elif starts is not None and starts > today:
        why, remedy = f"starts only on {starts}", f"Wait until then, or: {move_by_hand(ref)}."
    elif whole(row, "status") != active:
        why = "is not active. Autotask may go on invoicing it"
        remedy = f"Activate it in Autotask, or name another one: {move_by_hand(ref)}."
    called = f"Contract {ref.agreement}" + (f" {named!r}" if named else "")
    return Agreement(
        ref,
        name=named,
        not_billable=NotBillable("agreement", f"{called} {why}.", remedy) if why else None,
        bill_start=starts,
        ends=ends,
        gone=over or (starts is not None and starts > today),
    )


def listed_contract(row: Row, today: date, active: int = ACTIVE) -> PsaAgreement:
    """A contract, for `kisi map`."""
    ends = day(row, "endDate")
    return PsaAgreement(
        id=str(whole(row, "id")),
        company=str(row.get("companyID") or ""),
        name=name(row, "contractName"),
        kind="Recurring Service",
        active=row.get("status") == active and (ends is None or ends >= today),
        starts=day(row, "startDate"),
        ends=ends,
    )


def listed_company(row: Row) -> PsaCompany:
    """A company, for `kisi map`."""
    inactive = row.get("isActive") is False
    return PsaCompany(str(whole(row, "id")), name(row, "companyName"), active=not inactive)


def listed_service(row: Row) -> PsaProduct:
    """A service of the catalogue."""
    return PsaProduct(
        id=str(whole(row, "id")),
        name=name(row, "name"),
        active=row.get("isActive") is not False,
        price=exact_number(row.get("unitPrice")),
    )


def with_periods(
    services: Iterable[Service], units: Iterable[Row], today: date
) -> tuple[Service, ...]:
    """Services with their period rows; of those that are over, only the latest is known."""
    periods: dict[int, list[Period]] = {}
    for row in units:
        start, end, count = day(row, "startDate"), day(row, "endDate"), whole(row, "units")
        if start is None or end is None or end < start or count < 0:
            raise ValueError(f"a period has {count} units from {start} to {end}")
        period = Period(start, end, count, posted=day(row, "approveAndPostDate") is not None)
        periods.setdefault(whole(row, "contractServiceID"), []).append(period)
    found = []
    for one in services:
        mine = sorted(periods.get(one.id, ()))
        over = [period for period in mine if period.end < today]
        current = tuple(period for period in mine if period.end >= today)
        found.append(replace(one, periods=current, last=over[-1] if over else None))
    return tuple(found)
