"""The REST interface of the simulated Tigerpaw.

It follows API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger), with the signature of
the vendor's page "REST Examples" (https://api.paulsonsav.com/gettingstarted/restexamples).
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kisi.sandbox.exchange import Exchange

if TYPE_CHECKING:
    from kisi.sandbox.tigerpaw import Tigerpaw

_LARGEST_SKEW = timedelta(minutes=15)
_KEY = {"accounts": "Accounts", "agreements": "Agreements", "pricebook": "PriceBookItems"}


def read(world: Tigerpaw, exchange: Exchange) -> None:
    """Answer one request to the REST interface."""
    if _signed(world, exchange):
        _route(world, exchange)
    else:
        denied = {"Message": "Authorization has been denied for this request."}
        exchange.respond(HTTPStatus.UNAUTHORIZED, denied)


def _signed(world: Tigerpaw, exchange: Exchange) -> bool:
    """Whether the request carries the signature of our keys, made within 15 minutes."""
    date_text = exchange.headers.get("X-TSI-Date") or exchange.headers.get("Date") or ""
    text = f"{exchange.method}|{exchange.target.partition('?')[0]}|{date_text}".lower()
    digest = hmac.digest(world.keys[1].encode(), text.encode(), "sha256")
    expected = f"{world.keys[0]}:{b64encode(digest).decode()}"
    scheme, _, token = (exchange.headers.get("Authorization") or "").partition(" ")
    try:
        moment = parsedate_to_datetime(date_text)
        given = b64decode(token, validate=True).decode()
    except ValueError:
        return False
    fresh = moment.tzinfo is not None and abs(world.now() - moment) <= _LARGEST_SKEW
    return scheme == "TSI" and given == expected and fresh


def _route(world: Tigerpaw, exchange: Exchange) -> None:
    for method, pattern, answer in _ROUTES:
        found = re.fullmatch(pattern, exchange.path)
        if found and method == exchange.method:
            content = answer(world, exchange, *found.groups())
            if content is not None:
                exchange.respond(HTTPStatus.OK, content)
            elif world.soft_errors:
                missing = {"Success": False, "Message": "The record was not found."}
                exchange.respond(HTTPStatus.OK, missing)
            else:
                exchange.respond(HTTPStatus.NOT_FOUND)
            return
    world.violations.append(f"There is no {exchange.method} {exchange.path}.")
    nothing = {"Message": "No HTTP resource was found that matches the request URI."}
    exchange.respond(HTTPStatus.NOT_FOUND, nothing)


def _validate_user(_: Tigerpaw, __: Exchange) -> Any:  # noqa: ANN401
    return {"Success": True, "Message": "Valid"}


def _product_information(_: Tigerpaw, __: Exchange) -> Any:  # noqa: ANN401
    return {"HasValidLicense": True, "IsArchivedDatabase": False, "DatabaseVersion": "18.2.1"}


def _master_table(world: Tigerpaw, _: Exchange) -> Any:  # noqa: ANN401
    names = ("Backup Vendor", world.external_product)
    return [
        {"ExternalProductId": index, "Product": name, "SystemEntry": False, "Active": True}
        for index, name in enumerate(names, start=1)
    ]


def _cross_references(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    account = world.accounts.get(int(number))
    return account and account.cross_references()


def _agreement(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    agreement = world.agreements.get(int(number))
    return agreement and agreement.record(len(world.charges(agreement)))


def _charges(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    if int(number) not in world.agreements:
        return None
    return [charge.record() for charge in world.charges(int(number))]


def _item(world: Tigerpaw, exchange: Exchange) -> Any:  # noqa: ANN401
    item = world.items.get(exchange.query.get("itemId", ""))
    return item and item.details()


def _search(world: Tigerpaw, exchange: Exchange, table: str) -> Any:  # noqa: ANN401
    """One page of an advanced search, criteria of one type OR-ed, `Contains` without case."""
    request = json.loads(exchange.body)
    wanted = [one["Criteria"].lower() for one in request["Criteria"]]
    rows: Iterable[tuple[str, dict[str, Any]]] = {
        "accounts": [(one.name, one.record()) for one in world.accounts.values()],
        "agreements": [
            (str(one.number), one.record(len(world.charges(one))))
            for one in world.agreements.values()
        ],
        "pricebook": [(one.id, one.record()) for one in world.items.values()],
    }[table]
    found = [record for text, record in rows if any(part in text.lower() for part in wanted)]
    start = request["StartRow"] - world.first_row
    end = start + request["PageSize"]
    return {
        _KEY[table]: found[max(start, 0) : end],
        "PageSize": request["PageSize"],
        "NextRow": min(end, len(found)) + world.first_row,
        "TotalCount": len(found),
        "Success": True,
        "Message": "",
    }


_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "/api/diagnostics/validate/user", _validate_user),
    ("GET", "/api/diagnostics/productInformation", _product_information),
    ("GET", "/api/mastertables/externalproducts", _master_table),
    ("GET", r"/api/accounts/(\d+)/service/externalproducts", _cross_references),
    ("GET", r"/api/agreements/(\d+)", _agreement),
    ("GET", r"/api/agreements/(\d+)/additionalcharges", _charges),
    ("GET", "/api/pricebook/items/details", _item),
    ("POST", "/api/(accounts|agreements)/search", _search),
    ("POST", "/api/(pricebook)/items/search", _search),
)
