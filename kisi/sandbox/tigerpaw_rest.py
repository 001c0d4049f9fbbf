"""The REST interface of the simulated Tigerpaw: the reads of single records and the searches.

It follows API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger), with the signature of
the vendor's page "REST Examples" (https://api.paulsonsav.com/gettingstarted/restexamples). It has
the part of it that kisi asks for; anything else is a violation.

Criteria of a search with one `SearchType` are OR-ed and different types AND-ed; `MatchType` is
`StartsWith` unless the request names another; letters are compared without regard to case. What a
type compares that the sandbox keeps nothing of (addresses, contacts), nothing matches. The search
types of agreements are not documented; they are named here like the vendor's other searches.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from kisi.sandbox.http import Exchange
from kisi.sandbox.tigerpaw_records import Database

Record = dict[str, Any]
_Texts = Mapping[str, Sequence[str]]
_Criterion = tuple[str, str, str]

_LARGEST_SKEW = timedelta(minutes=15)
_PAGE_SIZE = 50
_LARGEST = 2**31 - 1
_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
    "Contains": str.__contains__,
}


class BadRequest(Exception):
    """The request is answered with status 400."""


def read(database: Database, exchange: Exchange) -> None:
    """Answer one request to the REST interface."""
    if not _signed(database, exchange):
        denied = {"Message": "Authorization has been denied for this request."}
        exchange.respond(HTTPStatus.UNAUTHORIZED, denied)
        return
    try:
        _route(database, exchange)
    except BadRequest as refusal:
        exchange.respond(HTTPStatus.BAD_REQUEST, {"Message": str(refusal)})


def _signed(database: Database, exchange: Exchange) -> bool:
    """Whether the request carries the signature of our keys, made within 15 minutes."""
    date_text = exchange.headers.get("X-TSI-Date") or exchange.headers.get("Date") or ""
    text = f"{exchange.method}|{exchange.target.partition('?')[0]}|{date_text}".lower()
    digest = hmac.digest(database.keys[1].encode(), text.encode(), "sha256")
    expected = f"{database.keys[0]}:{b64encode(digest).decode()}"
    scheme, _, token = (exchange.headers.get("Authorization") or "").partition(" ")
    try:
        moment = parsedate_to_datetime(date_text)
        given = b64decode(token, validate=True).decode()
    except (ValueError, OverflowError):
        return False
    fresh = moment.tzinfo is not None and abs(database.now() - moment) <= _LARGEST_SKEW
    return scheme == "TSI" and given == expected and fresh


def _route(database: Database, exchange: Exchange) -> None:
    for method, pattern, answer in _ROUTES:
        found = re.fullmatch(pattern, exchange.path)
        if found and method == exchange.method:
            content = answer(database, exchange, *found.groups())
            if content is not None:
                exchange.respond(HTTPStatus.OK, content)
            elif database.soft_errors:
                missing = {"Success": False, "Message": "The record was not found."}
                exchange.respond(HTTPStatus.OK, missing)
            else:
                exchange.respond(HTTPStatus.NOT_FOUND)
            return
    database.violations.append(f"There is no {exchange.method} {exchange.path}.")
    nothing = {"Message": "No HTTP resource was found that matches the request URI."}
    exchange.respond(HTTPStatus.NOT_FOUND, nothing)


# --- single records -------------------------------------------------------------------------------


def _validate_user(_: Database, __: Exchange) -> Record:
    return {"Success": True, "Message": "Valid"}


def _product_information(_: Database, __: Exchange) -> Record:
    return {"HasValidLicense": True, "IsArchivedDatabase": False, "DatabaseVersion": "18.2.1"}


def _master_table(database: Database, _: Exchange) -> list[Record]:
    names = ("Backup Vendor", database.external_product)
    return [
        {"ExternalProductId": index, "Product": name, "SystemEntry": False, "Active": True}
        for index, name in enumerate(names, start=1)
    ]


def _cross_references(database: Database, _: Exchange, number: str) -> list[Record] | None:
    account = database.accounts.get(int(number))
    return account.cross_references() if account else None


def _agreements_of_account(database: Database, exchange: Exchange, number: str) -> Record | None:
    """All of them on one page, or those that are active today."""
    if int(number) not in database.accounts:
        return None
    active_only = exchange.query.get("activeOnly", "false").lower()
    if active_only not in {"true", "false"}:
        raise BadRequest("activeOnly is true or false.")
    found = [
        agreement.record(len(database.charges(agreement)))
        for agreement in database.agreements.values()
        if agreement.account.number == int(number)
        and (active_only == "false" or agreement.active(database.today))
    ]
    return _page(database, "Agreements", found, max(len(found), 1), database.first_row)


def _agreement(database: Database, _: Exchange, number: str) -> Record | None:
    agreement = database.agreements.get(int(number))
    return agreement.record(len(database.charges(agreement))) if agreement else None


def _charges(database: Database, _: Exchange, number: str) -> list[Record] | None:
    if int(number) not in database.agreements:
        return None
    charges = [charge.record() for charge in database.charges(int(number))]
    return charges[: database.page_cap]


def _charge(database: Database, _: Exchange, number: str, detail: str) -> Record | None:
    charge = database.lines.get(int(detail))
    return charge.record() if charge and charge.agreement == int(number) else None


def _item(database: Database, exchange: Exchange) -> Record | None:
    item = database.items.get(exchange.query.get("itemId", ""))
    return item.details() if item else None


# --- searches -------------------------------------------------------------------------------------


def _search(database: Database, exchange: Exchange, table: str) -> Record:
    """One page of a search by criteria.

    Raises:
        BadRequest: The body is no such request.
    """
    try:
        request = exchange.json()
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(request, dict):
        raise BadRequest("The request is not an object.")
    elements = request.get("Criteria")
    if not isinstance(elements, list) or not elements:
        raise BadRequest("The request has no Criteria.")
    name, rows, types = _TABLES[table]
    by_type: dict[str, list[_Criterion]] = {}
    for criterion in map(_criterion, elements):
        if criterion[0] not in types.split():
            raise BadRequest(f"There is no such SearchType for {table}.")
        by_type.setdefault(criterion[0], []).append(criterion)
    found = [
        record
        for texts, record in rows(database)
        if all(any(_fits(texts, one) for one in alike) for alike in by_type.values())
    ]
    size = _number(request, "PageSize", _PAGE_SIZE, least=1)
    return _page(database, name, found, size, _number(request, "StartRow", database.first_row))


def _page(database: Database, name: str, found: list[Record], size: int, start: int) -> Record:
    """A page of what was found; `NextRow` is the number of the row after it."""
    first = start - database.first_row
    end = first + min(size, database.page_cap)
    return {
        name: found[max(first, 0) : max(end, 0)],
        "PageSize": size,
        "NextRow": min(end, len(found)) + database.first_row,
        "TotalCount": len(found),
        "Success": True,
        "Message": "",
    }


def _fits(texts: _Texts, criterion: _Criterion) -> bool:
    search_type, match, wanted = criterion
    return any(_MATCHES[match](text.lower(), wanted.lower()) for text in texts.get(search_type, ()))


def _criterion(element: object) -> _Criterion:
    given = element if isinstance(element, dict) else {}
    search_type, wanted = given.get("SearchType"), given.get("Criteria")
    match = given.get("MatchType") or "StartsWith"
    if not isinstance(search_type, str) or not isinstance(wanted, str):
        raise BadRequest("A criterion needs SearchType and Criteria.")
    if not isinstance(match, str) or match not in _MATCHES:
        raise BadRequest("There is no such MatchType.")
    # The vendor's documentation spells it so.
    return "ExternalProduct" if search_type == "ExteralProduct" else search_type, match, wanted


def _number(request: Mapping[str, object], name: str, default: int, *, least: int = 0) -> int:
    value = request.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
        raise BadRequest(f"{name} is not a number of rows.")
    return value


def _account_rows(database: Database) -> Iterable[tuple[_Texts, Record]]:
    for account in database.accounts.values():
        own = [one for one in database.agreements.values() if one.account is account]
        record = account.record()
        texts = {
            "AccountName": [account.name],
            "AccountNumber": [str(account.number)],
            "AccountId": [record["Account"]["AccountId"]],
            "ExternalId": [one["ExternalId"] for one in account.cross_references()],
            "ExternalProduct": account.external_products,
            "Agreement": [str(agreement.number) for agreement in own],
        }
        yield texts, record


def _agreement_rows(database: Database) -> Iterable[tuple[_Texts, Record]]:
    for agreement in database.agreements.values():
        texts = {
            "AgreementNumber": [str(agreement.number)],
            "AgreementType": [agreement.kind],
            "ExternalProduct": [agreement.external_product],
        }
        yield texts, agreement.record(len(database.charges(agreement)))


def _item_rows(database: Database) -> Iterable[tuple[_Texts, Record]]:
    for item in database.items.values():
        yield {"ItemId": [item.id], "ItemDescription": [item.description]}, item.record()


_NOT_KEPT = "Address PostalCode Email PhoneNumber ContactName CustomField"
_Rows = Callable[[Database], Iterable[tuple[_Texts, Record]]]
_TABLES: dict[str, tuple[str, _Rows, str]] = {
    "accounts": (
        "Accounts",
        _account_rows,
        f"AccountName AccountNumber AccountId ExternalId ExternalProduct Agreement {_NOT_KEPT}",
    ),
    "agreements": ("Agreements", _agreement_rows, "AgreementNumber AgreementType ExternalProduct"),
    "pricebook/items": ("PriceBookItems", _item_rows, "ItemId ItemDescription"),
}
"""What can be searched: the list's name in the answer, its rows, and its search types."""

_NUMBER = "([0-9]{1,9})"
_ROUTES: tuple[tuple[str, str, Callable[..., object]], ...] = (
    ("GET", "/api/diagnostics/validate/user", _validate_user),
    ("GET", "/api/diagnostics/productInformation", _product_information),
    ("GET", "/api/mastertables/externalproducts", _master_table),
    ("GET", f"/api/accounts/{_NUMBER}/service/externalproducts", _cross_references),
    ("GET", f"/api/agreements/account/{_NUMBER}", _agreements_of_account),
    ("GET", f"/api/agreements/{_NUMBER}", _agreement),
    ("GET", f"/api/agreements/{_NUMBER}/additionalcharges", _charges),
    ("GET", f"/api/agreements/{_NUMBER}/additionalcharges/{_NUMBER}", _charge),
    ("GET", "/api/pricebook/items/details", _item),
    ("POST", "/api/(accounts|agreements|pricebook/items)/search", _search),
)
