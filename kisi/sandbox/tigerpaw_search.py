"""Searches of the simulated Tigerpaw: by several criteria, or by one text.

Criteria of one `SearchType` are OR-ed and different types AND-ed; `MatchType` is `StartsWith`
unless the request names another; letters are compared without regard to case. What a type compares
that the sandbox keeps nothing of (addresses, contacts), nothing matches. The search types of
agreements are not documented; they are named here like the searches by one text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kisi.sandbox.exchange import Exchange

if TYPE_CHECKING:
    from kisi.sandbox.tigerpaw import Tigerpaw

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


def advanced(world: Tigerpaw, exchange: Exchange, table: str) -> Record:
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
    start = _number(request.get("StartRow"), world.first_row, "StartRow")
    return page(world, table, _found(world, table, criteria), size, start)


def simple(
    world: Tigerpaw, exchange: Exchange, table: str, by: str, active_only: str = "false"
) -> Record:
    """One page of a search by one text, which what is searched for starts with.

    Raises:
        BadRequest: The body is no text, or the page no number.
    """
    text = _body(exchange)
    if not isinstance(text, str):
        raise BadRequest("The request is not a string.")
    size = _number(_asked(exchange, "pageSize"), _PAGE_SIZE, "pageSize", least=1)
    start = _number(_asked(exchange, "startRow"), world.first_row, "startRow")
    found = _found(world, table, [(SIMPLE[table][by], "StartsWith", text)])
    if active_only == "true":
        found = [record for record in found if not record["Item"]["Inactive"]]
    return page(world, table, found, size, start)


def page(world: Tigerpaw, table: str, found: Sequence[Record], size: int, start: int) -> Record:
    """A page of what was found; `NextRow` is the number of the row after it."""
    first = start - world.first_row
    end = first + min(size, world.page_cap)
    return {
        _LISTS[table]: list(found[max(first, 0) : max(end, 0)]),
        "PageSize": size,
        "NextRow": min(end, len(found)) + world.first_row,
        "TotalCount": len(found),
        "Success": True,
        "Message": "",
    }


def _found(world: Tigerpaw, table: str, criteria: Iterable[_Criterion]) -> list[Record]:
    rows = list(_TABLES[table](world))
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


def _accounts(world: Tigerpaw) -> Iterable[tuple[_Texts, Record]]:
    for account in world.accounts.values():
        own = [one for one in world.agreements.values() if one.account is account]
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


def _agreements(world: Tigerpaw) -> Iterable[tuple[_Texts, Record]]:
    for agreement in world.agreements.values():
        texts = {
            "AgreementNumber": [str(agreement.number)],
            "AgreementType": [agreement.kind],
            "ExternalProduct": [agreement.external_product],
        }
        yield texts, agreement.record(len(world.charges(agreement)))


def _price_book(world: Tigerpaw) -> Iterable[tuple[_Texts, Record]]:
    for item in world.items.values():
        yield {"ItemId": [item.id], "ItemDescription": [item.description]}, item.record()


_TABLES = {"accounts": _accounts, "agreements": _agreements, "pricebook": _price_book}
_TYPES = {table: frozenset(types.values()) for table, types in SIMPLE.items()}
_TYPES["accounts"] |= {"ExternalProduct", "Address", "PostalCode", "Email", "PhoneNumber"}
_TYPES["accounts"] |= {"ContactName", "CustomField"}
