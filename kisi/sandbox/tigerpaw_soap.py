"""The SOAP service of the simulated Tigerpaw: `SubmitAgreementAdditionalCharges`.

Envelope, header, namespaces and action are enforced as shown on the operation's page
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges). What goes
inside `<Params>` is not public: here it is the elements of kisi's packaged template, or the same as
escaped text. A charge with a `DetailId` is updated, one without is made; prices stay unless given.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.sandbox.exchange import Exchange
from kisi.sandbox.tigerpaw_records import Charge

if TYPE_CHECKING:
    from kisi.sandbox.tigerpaw import Tigerpaw

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_AUTH = "http://www.tigerpawsoftware.com/"
_BODY = "http://www.tigerpawsoftware.com"
_OPERATION = "SubmitAgreementAdditionalCharges"


class Fault(Exception):
    """The service answers with a SOAP fault."""


class Refusal(Exception):
    """The result says `Success: false`."""


def submit(world: Tigerpaw, exchange: Exchange) -> None:
    """Answer one request to the SOAP service."""
    try:
        charges, agreement = _request(world, exchange)
        detail = _carry_out(world, exchange, agreement, charges)
    except Fault as fault:
        exchange.respond(HTTPStatus.INTERNAL_SERVER_ERROR, _fault(str(fault)), content_type=_XML)
    except Refusal as refusal:
        exchange.respond(HTTPStatus.OK, _result("false", str(refusal), ""), content_type=_XML)
    else:
        exchange.respond(HTTPStatus.OK, _result("true", "", str(detail)), content_type=_XML)


_XML = "text/xml; charset=utf-8"


def _request(world: Tigerpaw, exchange: Exchange) -> tuple[list[Element], int]:
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
    if login != world.soap_login:
        raise Fault("The user name or password is incorrect.")
    params = root.find(f"./{{{_ENVELOPE}}}Body/{{{_BODY}}}{_OPERATION}/{{{_BODY}}}Params")
    if params is None:
        raise Fault("Object reference not set to an instance of an object.")
    inner = params[0] if len(params) else _parse((params.text or "").encode())
    charges = inner.findall("./{*}AdditionalCharge")
    number = _text(inner, "AgreementNumber")
    if not charges or not number.isdigit():
        raise Refusal("The request holds no agreement number or no charge.")
    return charges, int(number)


def _carry_out(world: Tigerpaw, exchange: Exchange, agreement: int, charges: list[Element]) -> int:
    """Update or make the charges; returns the last one's id."""
    twists = exchange.twists
    if "fault" in twists:
        raise Fault(str(twists["fault"]))
    if "refuse" in twists:
        raise Refusal(str(twists["refuse"]))
    known = world.agreements.get(agreement)
    if known is None:
        raise Refusal(f"Agreement {agreement} was not found.")
    if world.external_product not in known.account.external_products:
        raise Refusal(f"Account {known.account.number} is not cross-referenced.")
    world.submits += 1
    if twists.get("ignore"):
        return 0
    kept = [_one(world, agreement, element) for element in charges]
    if twists.get("double"):
        kept += [_one(world, agreement, element) for element in charges]
    if world.replace or twists.get("replace"):
        for charge in world.charges(agreement):
            if charge not in kept:
                del world.lines[charge.id]
    return kept[-1].id


def _one(world: Tigerpaw, agreement: int, element: Element) -> Charge:
    item, detail = _text(element, "ItemId"), _text(element, "DetailId")
    if not detail:
        if item not in world.items or world.items[item].inactive:
            raise Refusal(f"Item {item} was not found.")
        charge = world.charge(agreement, item, 0, source="API")
        charge.description = _text(element, "ItemDescription") or charge.description
    else:
        found = world.lines.get(int(detail))
        if found is None or found.agreement != agreement:
            raise Refusal(f"Charge {detail} was not found.")
        charge = found
    charge.quantity = int(_text(element, "Quantity"))
    if price := _text(element, "Price"):
        charge.price = float(price)
    charge.one_time = _text(element, "DeleteAfterInvoicing") == "true"
    charge.print_when_quantity_zero = _text(element, "PrintWhenQuantityZero") == "true"
    return charge


def _parse(text: bytes) -> Element:
    try:
        return fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise Fault(f"Server was unable to read request. {error}") from error


def _text(element: Element, name: str, namespace: str = "*") -> str:
    return (element.findtext(f"./{{{namespace}}}{name}") or "").strip()


def _envelope(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{_ENVELOPE}"><soap:Body>{body}</soap:Body></soap:Envelope>'
    )


def _fault(reason: str) -> str:
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
