"""Writing over Tigerpaw's SOAP service: one operation, its envelope, and what its answer means.

`SubmitAgreementAdditionalCharges` "creates, updates or deletes additional charge line items for a
Tigerpaw agreement with the provided data. No billing or credit card processing occurs."
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges). The two
namespaces differ by a slash at the end; the service takes only these.

What goes inside `<Params>` is a file with placeholders (`load_template`), because its schema is
not public: the page of the operation shows `<Params>xml</Params>` and no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from string import Template
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.errors import ConfigError, NotSent, TransportError
from kisi.model import Line, PlannedLine, WriteResult, WriteStatus
from kisi.psa.tigerpaw.records import money
from kisi.redaction import remote_text, remote_words
from kisi.rights import why_not_used
from kisi.transport import Answer, Client, Retry, retry_after

AUTH_NAMESPACE = "http://www.tigerpawsoftware.com/"
BODY_NAMESPACE = "http://www.tigerpawsoftware.com"
ENVELOPE_NAMESPACE = "http://schemas.xmlsoap.org/soap/envelope/"
OPERATION = "SubmitAgreementAdditionalCharges"

_HEADERS = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": f'"{BODY_NAMESPACE}/{OPERATION}"',
}
_LARGEST_ANSWER = 2**20
_LONGEST_TEXT = 200
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LOGIN = r"(?:log|sign)[ -]?[io]n"
_NO = r"(?:fail\w*|invalid|incorrect|wrong|denied|refused|rejected|required|expired)"
_OF_LOGIN = re.compile(
    r"password|user ?name|authenticat|credential|\b(?:not |un)authori[sz]ed\b"
    r"|\baccess (?:is |was |has been )?(?:denied|refused)\b|\b(?:denied|refused) access\b"
    rf"|\b(?:{_NO}|unknown|bad|unable to|cannot|could not) (?:\w+ )?{_LOGIN}\b"
    rf"|\b{_LOGIN} (?:\w+ ){{0,2}}(?:{_NO}|not (?:valid|allowed|permitted|accepted))\b",
    re.IGNORECASE,
)
"""Found in a refusal it makes it one of our login, which is not tried again in this run.

A login or access must be what failed: a charge that is denied, or an item called Login, is not it.
"""


@dataclass(frozen=True, slots=True)
class Soap:
    """The SOAP service of one Tigerpaw API server, behind `client`."""

    client: Client
    path: str
    login: tuple[str, str] = field(repr=False)
    """User and password, made with `tsiWS Users.exe`."""
    label: str
    """How messages call this PSA."""
    template: Template
    """The XML of a charge."""
    escaped: bool
    """Send it as escaped text instead of as elements."""

    def submit(self, charge: Mapping[str, object]) -> WriteResult:
        """Sends one charge, once. Never raises for an answer or for the lack of one.

        What became of the charge, only reading it again tells: a success is `UNKNOWN` too.
        """
        params = render(self.template, charge)
        text = envelope(*self.login, escape(params) if self.escaped else params)
        try:
            answer = self.client.send(
                "POST", self.path, body=text.encode(), headers=_HEADERS, retry=Retry.NEVER
            )
        except NotSent as error:
            return WriteResult(WriteStatus.NOT_SENT, error.message)
        except TransportError as error:
            return WriteResult(WriteStatus.UNKNOWN, error.message)
        return read_answer(answer, self.label, creates=not charge["detail_id"])


def envelope(user: str, password: str, params: str) -> str:
    """The SOAP 1.1 envelope; `params` goes in as it is."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<soap:Envelope xmlns:soap="{ENVELOPE_NAMESPACE}"><soap:Header>'
        f'<AuthHeader xmlns="{AUTH_NAMESPACE}"><UserName>{escape(user)}</UserName>'
        f"<Password>{escape(password)}</Password></AuthHeader></soap:Header><soap:Body>"
        f'<{OPERATION} xmlns="{BODY_NAMESPACE}"><Params>{params}</Params></{OPERATION}>'
        "</soap:Body></soap:Envelope>"
    )


def read_answer(answer: Answer, label: str, *, creates: bool = False) -> WriteResult:
    """What an HTTP answer of the service says: status, SOAP fault, or result.

    A gateway may answer 503 after Tigerpaw wrote, so where a submit `creates` that is unclear.
    """
    status, message = WriteStatus.UNKNOWN, f"status {answer.status}: {answer.excerpt()}"
    wait, denied, asked = 0.0, False, retry_after(answer.headers)
    unavailable = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (unavailable and not creates):
        status, wait = WriteStatus.THROTTLED, asked or 0.0
    elif answer.status in _DENIED:
        status, denied = WriteStatus.REJECTED, True
    else:
        try:
            success, what, said = _read_envelope(_parse(answer.body))
            message = what + remote_words(said, _LONGEST_TEXT)
        except ValueError:
            message = f"status {answer.status} without a readable result: {answer.excerpt()}"
        else:
            status = WriteStatus.UNKNOWN if success else WriteStatus.REJECTED
            denied = not success and bool(_OF_LOGIN.search(said))
    message = f"{label} answered the submit with {message.rstrip('. ')}."
    return WriteResult(status, message, wait=wait, denied=denied)


def _read_envelope(root: Element) -> tuple[bool, str, str]:
    """Whether the charge was accepted, how that is said, and the server's own words.

    `ValueError` if it does not say that.
    """
    if root.find("./{*}Body/{*}Fault") is not None:
        return False, "a SOAP fault: ", _text(root, "faultstring") or "no reason"
    result = root.find(f".//{{{BODY_NAMESPACE}}}{OPERATION}Result")
    if result is None:
        raise ValueError("there is no result")
    if len(result) == 0 and (result.text or "").lstrip().startswith("<"):
        result = _parse((result.text or "").strip().encode())
    success, message = _text(result, "Success").lower(), _text(result, "Message")
    if success not in {"true", "false"}:
        raise ValueError("the result does not say whether it succeeded")
    return success == "true", f"Success: {success}, ", message or "no message"


def _parse(body: bytes) -> Element:
    if len(body) > _LARGEST_ANSWER:
        raise ValueError("the answer is too large")
    try:
        return fromstring(body, forbid_dtd=True)
    except Exception as error:  # an encoding that Python does not know is a `LookupError`
        raise ValueError("the answer is no XML that can be read") from error


def _text(root: Element, name: str) -> str:
    """The text of the first element of this name in any namespace, on one line, cut to a size."""
    found = root.find(f".//{{*}}{name}")
    return "" if found is None else remote_text(found.text or "", _LONGEST_TEXT)


def charge_values(line: PlannedLine, own: Line | None, description: str) -> dict[str, object]:
    """What a template may contain, each name with a `$` before it.

    The charge that is changed, `own`, keeps its price, text and flag; a new one gets the item's
    price, because it names none.
    """
    price = money(own.raw.get("Price")) if own else None
    printed = own is not None and own.raw.get("PrintWhenQuantityZero") is True
    return {
        "agreement_number": line.agreement,
        "account_number": line.company,
        "detail_id": own.id if own else "",
        "item_id": line.product,
        "description": own.description if own else description,
        "quantity": line.after,
        "price": "" if price is None else f"{price:f}",
        "print_when_quantity_zero": "true" if printed else "false",
    }


_PLACEHOLDERS = frozenset(
    {"agreement_number", "account_number", "detail_id", "item_id"}
    | {"description", "quantity", "price", "print_when_quantity_zero"}
)
_REQUIRED = ("agreement_number", "item_id", "quantity")
"""Without these a charge cannot be told from another."""

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_REMEDY = "Correct the file, or remove soap_template from kisi.toml to use the packaged one."


def render(template: Template, charge: Mapping[str, object]) -> str:
    """The XML of one charge. Values are escaped; characters that XML forbids are dropped."""
    texts = {name: _NOT_XML.sub("", str(value)) for name, value in charge.items()}
    return template.substitute({name: escape(text, _QUOTES) for name, text in texts.items()})


def load_template(path: Path | None, *, place: str = "") -> Template:
    """Reads a template, by default the packaged one; `ConfigError` holds all its problems."""
    name = str(path) if path else "the packaged template"
    try:
        source = path or files("kisi.psa.tigerpaw").joinpath("charges.xml")
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{place}The Tigerpaw template {name} cannot be read: {why}.", remedy=_REMEDY
        ) from error
    if path and (foreign := why_not_used(path)):
        raise ConfigError(f"{place}{foreign}", remedy=_REMEDY)
    bare = _DECLARATION.sub("", _COMMENT.sub("", text)).strip()
    problems = [f"{place}The Tigerpaw template {name} {problem}." for problem in _problems(bare)]
    if problems:
        raise ConfigError(problems, remedy=_REMEDY)
    return Template(bare)


def _problems(text: str) -> list[str]:
    problems = []
    try:
        fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        problems.append(f"is not plain well-formed XML ({error})")
    if "<![CDATA[" in text:
        problems.append("holds a CDATA section, in which values cannot be escaped")
    template = Template(text)
    if not template.is_valid():
        problems.append("holds a $ that begins no placeholder (write $$ for a dollar sign)")
    found = set(template.get_identifiers())
    problems += [f"lacks the placeholder ${name}" for name in _REQUIRED if name not in found]
    problems += [
        f"holds the unknown placeholder ${name} (known: {', '.join(sorted(_PLACEHOLDERS))})"
        for name in sorted(found - _PLACEHOLDERS)
    ]
    return problems
