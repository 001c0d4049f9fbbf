"""The REST interface of the simulated Tigerpaw: reads of single records, and searches.

It follows API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger), with the signature of
the vendor's page "REST Examples" (https://api.paulsonsav.com/gettingstarted/restexamples).

Criteria of a search with one `SearchType` are OR-ed and different types AND-ed; `MatchType` is
`StartsWith` unless the request names another; letters are compared without regard to case. What a
type compares that the sandbox keeps nothing of (addresses, contacts), nothing matches. The search
types of agreements are not documented; they are named here like the searches by one text.
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

_LISTS = {"accounts": "Accounts", "agreements": "Agreements", "pricebook": "PriceBookItems"}
_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
    "Contains": str.__contains__,
}
_PAGE_SIZE = 50
_LARGEST = 2**31 - 1

SIMPLE: dict[str, dict[str, str]] = {
    "accounts": {
        "name": "AccountName",
        "accountnumber": "AccountNumber",
        "accountid": "AccountId",
        "externalid": "ExternalId",
        "agreement": "Agreement",
    },
    "agreements": {
        "agreementnumber": "AgreementNumber",
        "agreementtype": "AgreementType",
        "externalproduct": "ExternalProduct",
    },
    "pricebook": {"itemid": "ItemId", "itemdescription": "ItemDescription"},
}
"""The searches by one text: last part of the path to search type."""


class BadRequest(Exception):
    """The request is answered with status 400."""


def advanced(database: Database, exchange: Exchange, table: str) -> Record:
    """One page of a search by several criteria.

    Raises:
        BadRequest: The body is no such request.
    """
    request = _body(exchange)
    if not isinstance(request, dict):
        raise BadRequest("The request is not an object.")
    elements = request.get("Criteria")
    if not isinstance(elements, list) or not elements:
        raise BadRequest("The request has no Criteria.")
    criteria = [_criterion(element) for element in elements]
    size = _number(request.get("PageSize"), _PAGE_SIZE, "PageSize", least=1)
    start = _number(request.get("StartRow"), database.first_row, "StartRow")
    return page(database, table, _found(database, table, criteria), size, start)


def simple(
    database: Database, exchange: Exchange, table: str, by: str, active_only: str = "false"
) -> Record:
    """One page of a search by one text, which what is searched for starts with.

    Raises:
        BadRequest: The body is no text, or the page no number.
    """
    text = _body(exchange)
    if not isinstance(text, str):
        raise BadRequest("The request is not a string.")
    size = _number(_asked(exchange, "pageSize"), _PAGE_SIZE, "pageSize", least=1)
    start = _number(_asked(exchange, "startRow"), database.first_row, "startRow")
    found = _found(database, table, [(SIMPLE[table][by], "StartsWith", text)])
    if active_only == "true":
        found = [record for record in found if not record["Item"]["Inactive"]]
    return page(database, table, found, size, start)


def page(database: Database, table: str, found: Sequence[Record], size: int, start: int) -> Record:
    """A page of what was found; `NextRow` is the number of the row after it."""
    first = start - database.first_row
    end = first + min(size, database.page_cap)
    return {
        _LISTS[table]: list(found[max(first, 0) : max(end, 0)]),
        "PageSize": size,
        "NextRow": min(end, len(found)) + database.first_row,
        "TotalCount": len(found),
        "Success": True,
        "Message": "",
    }


def _found(database: Database, table: str, criteria: Iterable[_Criterion]) -> list[Record]:
    rows = list(_TABLES[table](database))
    by_type: dict[str, list[_Criterion]] = {}
    for criterion in criteria:
        if criterion[0] not in _TYPES[table]:
            raise BadRequest(f"There is no such SearchType for {table}.")
        by_type.setdefault(criterion[0], []).append(criterion)
    return [
        record
        for texts, record in rows
        if all(any(_fits(texts, one) for one in alike) for alike in by_type.values())
    ]


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
    return _MISSPELT.get(search_type, search_type), match, wanted


_MISSPELT = {"ExteralProduct": "ExternalProduct"}
"""The vendor's documentation spells it so."""


def _body(exchange: Exchange) -> object:
    try:
        return exchange.json()
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error


def _asked(exchange: Exchange, name: str) -> int | str | None:
    text = exchange.query.get(f"pageRequest.{name}") or exchange.query.get(name)
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else text


def _number(value: object, default: int, name: str, *, least: int = 0) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
        raise BadRequest(f"{name} is not a number of rows.")
    return value


def _accounts(database: Database) -> Iterable[tuple[_Texts, Record]]:
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


def _agreements(database: Database) -> Iterable[tuple[_Texts, Record]]:
    for agreement in database.agreements.values():
        texts = {
            "AgreementNumber": [str(agreement.number)],
            "AgreementType": [agreement.kind],
            "ExternalProduct": [agreement.external_product],
        }
        yield texts, agreement.record(len(database.charges(agreement)))


def _price_book(database: Database) -> Iterable[tuple[_Texts, Record]]:
    for item in database.items.values():
        yield {"ItemId": [item.id], "ItemDescription": [item.description]}, item.record()


_TABLES = {"accounts": _accounts, "agreements": _agreements, "pricebook": _price_book}
_TYPES = {table: frozenset(types.values()) for table, types in SIMPLE.items()}
_TYPES["accounts"] |= {"ExternalProduct", "Address", "PostalCode", "Email", "PhoneNumber"}
_TYPES["accounts"] |= {"ContactName", "CustomField"}


_LARGEST_SKEW = timedelta(minutes=15)
_VERSION = "18.2.1"


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
            content = answer(database, exchange, *filter(None, found.groups()))
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


def _validate_user(_: Database, __: Exchange) -> Any:  # noqa: ANN401
    return {"Success": True, "Message": "Valid"}


def _product_information(_: Database, __: Exchange) -> Any:  # noqa: ANN401
    return {"HasValidLicense": True, "IsArchivedDatabase": False, "DatabaseVersion": _VERSION}


def _database_version(_: Database, __: Exchange) -> Any:  # noqa: ANN401
    return {"Success": True, "Message": _VERSION}


def _master_table(database: Database, _: Exchange) -> Any:  # noqa: ANN401
    names = ("Backup Vendor", database.external_product)
    return [
        {"ExternalProductId": index, "Product": name, "SystemEntry": False, "Active": True}
        for index, name in enumerate(names, start=1)
    ]


def _account(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    account = database.accounts.get(int(number))
    return account and account.record()


def _agreements_of_account(
    database: Database, exchange: Exchange, number: str, active_only: str = ""
) -> Any:  # noqa: ANN401
    """All of them on one page, or those that are active today."""
    if int(number) not in database.accounts:
        return None
    active_only = (active_only or exchange.query.get("activeOnly") or "false").lower()
    if active_only not in {"true", "false"}:
        raise BadRequest("activeOnly is true or false.")
    found = [
        agreement.record(len(database.charges(agreement)))
        for agreement in database.agreements.values()
        if agreement.account.number == int(number)
        and (active_only == "false" or agreement.active(database.today))
    ]
    return page(database, "agreements", found, max(len(found), 1), database.first_row)


def _cross_references(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    account = database.accounts.get(int(number))
    return account and account.cross_references()


def _agreement(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    agreement = database.agreements.get(int(number))
    return agreement and agreement.record(len(database.charges(agreement)))


def _charges(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    if int(number) not in database.agreements:
        return None
    charges = [charge.record() for charge in database.charges(int(number))]
    return charges[: database.page_cap]


def _agreement_details(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    agreement = database.agreements.get(int(number))
    return agreement and agreement.details([one.record() for one in database.charges(agreement)])


def _charge(database: Database, _: Exchange, number: str, detail: str) -> Any:  # noqa: ANN401
    charge = database.lines.get(int(detail))
    return charge.record() if charge and charge.agreement == int(number) else None


def _item(database: Database, exchange: Exchange) -> Any:  # noqa: ANN401
    item = database.items.get(exchange.query.get("itemId", ""))
    return item and item.record()


def _item_details(database: Database, exchange: Exchange) -> Any:  # noqa: ANN401
    item = database.items.get(exchange.query.get("itemId", ""))
    return item and item.details()


def _item_by_number(database: Database, _: Exchange, number: str) -> Any:  # noqa: ANN401
    return next(
        (one.record() for one in database.items.values() if one.number == int(number)), None
    )


_NUMBER = "([0-9]{1,9})"
_BY = {table: "|".join(types) for table, types in SIMPLE.items()}
_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "/api/diagnostics/validate/user", _validate_user),
    ("GET", "/api/diagnostics/productInformation", _product_information),
    ("GET", "/api/diagnostics/database/version", _database_version),
    ("GET", "/api/mastertables/externalproducts", _master_table),
    ("GET", f"/api/accounts/{_NUMBER}", _account),
    ("GET", f"/api/accounts/{_NUMBER}/service/externalproducts", _cross_references),
    ("GET", f"/api/agreements/account/{_NUMBER}(?:/(true|false))?", _agreements_of_account),
    ("GET", f"/api/agreements/{_NUMBER}", _agreement),
    ("GET", f"/api/agreements/{_NUMBER}/details", _agreement_details),
    ("GET", f"/api/agreements/{_NUMBER}/additionalcharges", _charges),
    ("GET", f"/api/agreements/{_NUMBER}/additionalcharges/{_NUMBER}", _charge),
    ("GET", "/api/pricebook/items", _item),
    ("GET", f"/api/pricebook/items/{_NUMBER}", _item_by_number),
    ("GET", "/api/pricebook/items/details", _item_details),
    ("POST", "/api/(accounts|agreements)/search", advanced),
    ("POST", "/api/(pricebook)/items/search", advanced),
    ("POST", f"/api/(accounts)/search/({_BY['accounts']})", simple),
    ("POST", f"/api/(agreements)/search/({_BY['agreements']})", simple),
    ("POST", "/api/(pricebook)/items/search/(itemid)/(true|false)", simple),
    ("POST", "/api/(pricebook)/items/search/(itemdescription)", simple),
)
