"""A simulated Tigerpaw: the server, and the one SOAP write that billing needs.

Envelope, header, namespaces and action of `SubmitAgreementAdditionalCharges` are enforced as shown
on the operation's page. What goes inside `<Params>` is not public: here it is the elements of
kisi's packaged template, or the same as escaped text. A charge with a `DetailId` is updated, one
without is made; prices stay unless given. Numbers that are none are a fault, as in every ASMX
service, and nothing of such a request is done. The twists known here, on `POST SOAP_PATH`:

* `replace=True`: the submit replaces all charges of the agreement;
* `refuse="text"`: the result says `Success: false`; `fault="text"`: a SOAP fault;
* `ignore=True`: it says `Success: true` and does nothing; `double=True`: it creates twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.sandbox import configuration
from kisi.sandbox.configuration import Part, literal, table
from kisi.sandbox.faults import Vendor
from kisi.sandbox.http import Exchange, Server
from kisi.sandbox.tigerpaw_records import Agreement, Charge, Database, Item
from kisi.sandbox.tigerpaw_rest import read

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_AUTH = "http://www.tigerpawsoftware.com/"
_BODY = "http://www.tigerpawsoftware.com"
_OPERATION = "SubmitAgreementAdditionalCharges"
_UNREADABLE = (
    "Server was unable to read request. ---> There is an error in XML document. ---> Input string "
    "was not in a correct format."
)


class Fault(Exception):
    """The service answers with a SOAP fault."""


class Refusal(Exception):
    """The result says `Success: false`."""


def submit(database: Database, exchange: Exchange) -> None:
    """Answer one request to the SOAP service."""
    try:
        charges, agreement = _request(database, exchange)
        detail = _carry_out(database, exchange, agreement, charges)
    except Fault as fault:
        exchange.respond(HTTPStatus.INTERNAL_SERVER_ERROR, _fault(str(fault)), content_type=_XML)
    except Refusal as refusal:
        exchange.respond(HTTPStatus.OK, _result("false", str(refusal), ""), content_type=_XML)
    else:
        exchange.respond(HTTPStatus.OK, _result("true", "", str(detail)), content_type=_XML)


_XML = "text/xml; charset=utf-8"


def _request(database: Database, exchange: Exchange) -> tuple[list[Element], int]:
    """The charges of the request and the number of their agreement."""
    action = (exchange.headers.get("SOAPAction") or "").strip('"')
    if exchange.method != "POST" or action != f"{_BODY}/{_OPERATION}":
        raise Fault(f"Server did not recognize the value of HTTP Header SOAPAction: {action}.")
    if (exchange.headers.get("Content-Type") or "").partition(";")[0] != "text/xml":
        raise Fault("The content type is not text/xml.")
    root = _parse(exchange.body)
    header = root.find(f"./{{{_ENVELOPE}}}Header/{{{_AUTH}}}AuthHeader")
    login = ("", "")
    if header is not None:
        login = (_text(header, "UserName", _AUTH), _text(header, "Password", _AUTH))
    if login != database.soap_login:
        raise Fault("The user name or password is incorrect.")
    params = root.find(f"./{{{_ENVELOPE}}}Body/{{{_BODY}}}{_OPERATION}/{{{_BODY}}}Params")
    if params is None:
        raise Fault("Object reference not set to an instance of an object.")
    inner = params[0] if len(params) else _parse((params.text or "").encode())
    charges = inner.findall("./{*}AdditionalCharge")
    number = _text(inner, "AgreementNumber")
    if not charges or not number:
        raise Refusal("The request holds no agreement number or no charge.")
    return charges, _whole(number)


def _carry_out(
    database: Database, exchange: Exchange, agreement: int, charges: list[Element]
) -> int:
    """Update or make the charges; returns the last one's id."""
    twists = exchange.twists
    if "fault" in twists:
        raise Fault(str(twists["fault"]))
    if "refuse" in twists:
        raise Refusal(str(twists["refuse"]))
    known = database.agreements.get(agreement)
    if known is None:
        raise Refusal(f"Agreement {agreement} was not found.")
    if database.external_product not in known.account.external_products:
        raise Refusal(f"Account {known.account.number} is not cross-referenced.")
    submitted = [_read(database, agreement, element) for element in charges]
    # Only now, when nothing can be wrong with any of them, is the first one carried out.
    database.submits += 1
    if twists.get("ignore"):
        return 0
    kept = [_commit(database, agreement, one) for one in submitted]
    if twists.get("double"):
        kept += [_commit(database, agreement, one) for one in submitted]
    if database.replace or twists.get("replace"):
        for charge in database.charges(agreement):
            if charge not in kept:
                del database.lines[charge.id]
    return kept[-1].id


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A charge as it is to become."""

    known: Charge | None
    """The one that is updated; None: a new one is made."""
    item: str
    description: str
    quantity: int
    price: float | None
    one_time: bool
    print_when_quantity_zero: bool


def _read(database: Database, agreement: int, element: Element) -> _Submitted:
    item, detail = _text(element, "ItemId"), _text(element, "DetailId")
    charge = _Submitted(
        known=database.lines.get(_whole(detail)) if detail else None,
        item=item,
        description=_text(element, "ItemDescription"),
        quantity=_whole(_text(element, "Quantity")),
        price=_price(_text(element, "Price")),
        one_time=_flag(_text(element, "DeleteAfterInvoicing")),
        print_when_quantity_zero=_flag(_text(element, "PrintWhenQuantityZero")),
    )
    if not detail and (item not in database.items or database.items[item].inactive):
        raise Refusal(f"Item {item} was not found.")
    if detail and (charge.known is None or charge.known.agreement != agreement):
        raise Refusal(f"Charge {detail} was not found.")
    return charge


def _commit(database: Database, agreement: int, submitted: _Submitted) -> Charge:
    charge = submitted.known
    if charge is None:
        charge = database.charge(agreement, submitted.item, 0, source="API")
        charge.description = submitted.description or charge.description
    charge.quantity = submitted.quantity
    if submitted.price is not None:
        charge.price = submitted.price
    charge.one_time = submitted.one_time
    charge.print_when_quantity_zero = submitted.print_when_quantity_zero
    return charge


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise Fault(_UNREADABLE)
    return int(text)


def _price(text: str) -> float | None:
    """An amount; where there is none, the price stays."""
    if text and not re.fullmatch(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?", text):
        raise Fault(_UNREADABLE)
    return float(text) if text else None


def _flag(text: str) -> bool:
    if text not in {"true", "1", "false", "0", ""}:
        raise Fault(_UNREADABLE)
    return text in {"true", "1"}


def _parse(text: bytes) -> Element:
    try:
        return fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise Fault(f"Server was unable to read request. {error}") from error


def _text(element: Element, name: str, namespace: str = "*") -> str:
    return (element.findtext(f"./{{{namespace}}}{name}") or "").strip()


def _envelope(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{_ENVELOPE}"><soap:Body>{body}</soap:Body></soap:Envelope>'
    )


def _fault(reason: str) -> str:
    reason = "".join(filter(str.isprintable, reason))  # a header may hold what XML may not
    return _envelope(
        "<soap:Fault><faultcode>soap:Server</faultcode>"
        f"<faultstring>{escape(reason)}</faultstring><detail /></soap:Fault>"
    )


def _result(success: str, message: str, detail: str) -> str:
    return _envelope(
        f'<{_OPERATION}Response xmlns="{_BODY}"><{_OPERATION}Result>'
        f"<AgreementAdditionalChargesResult><Success>{success}</Success>"
        f"<Message>{escape(message)}</Message><DetailId>{detail}</DetailId>"
        f"</AgreementAdditionalChargesResult></{_OPERATION}Result></{_OPERATION}Response>"
    )


SOAP_PATH = "/api/rmm/tsiWS.asmx"


class Tigerpaw(Database, Vendor):
    """A simulated Tigerpaw and comfortable ways to fill it; its data as in `Database`."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        Database.__init__(self, now)
        Vendor.__init__(self, "tigerpaw", self.now)

    def part(self, server: Server, *, write: str = "soap", mapping: str = "") -> Part:
        """What `Sandbox.add` takes: the section `[psa.tp]` and its secrets.

        Args:
            server: What `serve` made.
            write: `soap` (with a template that counts as proven) or `report`.
            mapping: Rows of `mapping.toml`, for example of `company_row`.
        """
        config = f"""\
[psa.tp]                              # Tigerpaw; plain http is allowed on loopback alone
kind = "tigerpaw"
url = "{server.url}"
public_key = "file:secrets/tp-public-key"
private_key = "file:secrets/tp-private-key"
soap_user = "file:secrets/tp-soap-user"
soap_password = "file:secrets/tp-soap-password"
external_product = {literal(self.external_product)}
write = {literal(write)}
soap_template_verified = {literal(write == "soap")}
"""
        names = ("public-key", "private-key", "soap-user", "soap-password")
        values = (*self.keys, *self.soap_login)
        secrets = {f"tp-{name}": value for name, value in zip(names, values, strict=True)}
        return Part("tigerpaw", server, config, secrets, mapping=mapping)

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        with self.lock:
            if exchange.path == SOAP_PATH:
                submit(self, exchange)
            else:
                read(self, exchange)


def product_row(application: str, **products: Item) -> str:
    """A row of `mapping.toml`: an application that is billed by `all=`, or by category."""
    ids = {category: item.id for category, item in products.items()}
    return table("[[product]]", {"application": application, "psa": "tp", **ids})


def company_row(
    name: str,
    tenants: Sequence[str],
    agreement: Agreement,
    exceptions: Iterable[Mapping[str, str | int | bool]] = (),
) -> str:
    """A row of `mapping.toml`: a client that is billed on an agreement of Tigerpaw."""
    return configuration.company_row(
        name,
        tenants,
        psa="tp",
        company=agreement.account.number,
        agreement=agreement.number,
        exceptions=exceptions,
    )
