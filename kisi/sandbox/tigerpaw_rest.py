"""The REST interface of the simulated Tigerpaw.

It follows API 18.2.1 (https://api2.tigerpawsoftware.com/docs/18.2.1/swagger), with the signature of
the vendor's page "REST Examples" (https://api.paulsonsav.com/gettingstarted/restexamples).
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kisi.sandbox.exchange import Exchange
from kisi.sandbox.tigerpaw_search import SIMPLE, BadRequest, advanced, page, simple

if TYPE_CHECKING:
    from kisi.sandbox.tigerpaw import Tigerpaw

_LARGEST_SKEW = timedelta(minutes=15)
_VERSION = "18.2.1"


def read(world: Tigerpaw, exchange: Exchange) -> None:
    """Answer one request to the REST interface."""
    if not _signed(world, exchange):
        denied = {"Message": "Authorization has been denied for this request."}
        exchange.respond(HTTPStatus.UNAUTHORIZED, denied)
        return
    try:
        _route(world, exchange)
    except BadRequest as refusal:
        exchange.respond(HTTPStatus.BAD_REQUEST, {"Message": str(refusal)})


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
    except (ValueError, OverflowError):
        return False
    fresh = moment.tzinfo is not None and abs(world.now() - moment) <= _LARGEST_SKEW
    return scheme == "TSI" and given == expected and fresh


def _route(world: Tigerpaw, exchange: Exchange) -> None:
    for method, pattern, answer in _ROUTES:
        found = re.fullmatch(pattern, exchange.path)
        if found and method == exchange.method:
            content = answer(world, exchange, *filter(None, found.groups()))
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
    return {"HasValidLicense": True, "IsArchivedDatabase": False, "DatabaseVersion": _VERSION}


def _database_version(_: Tigerpaw, __: Exchange) -> Any:  # noqa: ANN401
    return {"Success": True, "Message": _VERSION}


def _master_table(world: Tigerpaw, _: Exchange) -> Any:  # noqa: ANN401
    names = ("Backup Vendor", world.external_product)
    return [
        {"ExternalProductId": index, "Product": name, "SystemEntry": False, "Active": True}
        for index, name in enumerate(names, start=1)
    ]


def _account(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    account = world.accounts.get(int(number))
    return account and account.record()


def _agreements_of_account(
    world: Tigerpaw, exchange: Exchange, number: str, active_only: str = ""
) -> Any:  # noqa: ANN401
    """All of them on one page, or those that are active today."""
    if int(number) not in world.accounts:
        return None
    active_only = (active_only or exchange.query.get("activeOnly") or "false").lower()
    if active_only not in {"true", "false"}:
        raise BadRequest("activeOnly is true or false.")
    found = [
        agreement.record(len(world.charges(agreement)))
        for agreement in world.agreements.values()
        if agreement.account.number == int(number)
        and (active_only == "false" or agreement.active(world.today))
    ]
    return page(world, "agreements", found, max(len(found), 1), world.first_row)


def _cross_references(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    account = world.accounts.get(int(number))
    return account and account.cross_references()


def _agreement(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    agreement = world.agreements.get(int(number))
    return agreement and agreement.record(len(world.charges(agreement)))


def _charges(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    if int(number) not in world.agreements:
        return None
    charges = [charge.record() for charge in world.charges(int(number))]
    return charges[: world.page_cap]


def _agreement_details(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    agreement = world.agreements.get(int(number))
    return agreement and agreement.details([one.record() for one in world.charges(agreement)])


def _charge(world: Tigerpaw, _: Exchange, number: str, detail: str) -> Any:  # noqa: ANN401
    charge = world.lines.get(int(detail))
    return charge.record() if charge and charge.agreement == int(number) else None


def _item(world: Tigerpaw, exchange: Exchange) -> Any:  # noqa: ANN401
    item = world.items.get(exchange.query.get("itemId", ""))
    return item and item.record()


def _item_details(world: Tigerpaw, exchange: Exchange) -> Any:  # noqa: ANN401
    item = world.items.get(exchange.query.get("itemId", ""))
    return item and item.details()


def _item_by_number(world: Tigerpaw, _: Exchange, number: str) -> Any:  # noqa: ANN401
    return next((one.record() for one in world.items.values() if one.number == int(number)), None)


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
