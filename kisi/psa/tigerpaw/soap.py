"""Writing over Tigerpaw's SOAP service: one operation, its envelope, and what its answer means.

`SubmitAgreementAdditionalCharges` "creates, updates or deletes additional charge line items for a
Tigerpaw agreement with the provided data. No billing or credit card processing occurs."
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges). The two
namespaces differ by a slash at the end; the service takes only these.

What goes inside `<Params>` is a file with placeholders (`ChargeTemplate`), because its schema is
not public: the page of the operation shows `<Params>xml</Params>` and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Protocol
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.errors import ConfigError, NotSent, TransportError
from kisi.redaction import remote_text
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


class SoapStatus(StrEnum):
    """What the service answered. What became of the charge, only reading it again tells."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DENIED = "denied"
    """Refused because of the user or password."""
    BUSY = "busy"
    NOTHING = "nothing"
    """No answer, or an unreadable one."""
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class SoapAnswer:
    """The answer to one submit."""

    status: SoapStatus
    message: str
    """A sentence for the operator, with what the service gave as its reason."""
    wait: float = 0.0
    """Seconds to wait (`BUSY`)."""


class Submits(Protocol):
    """What can submit the XML of a charge."""

    def submit(self, params: str) -> SoapAnswer:
        """Send it once."""


class Soap:
    """The SOAP service of one Tigerpaw API server.

    Args:
        client: The connection; its base is the API server's address.
        path: The service's path.
        label: How messages call this PSA.
        user: The user made with `tsiWS Users.exe`.
        password: The user's password.
        escaped: Send the inner XML as escaped text instead of as elements.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        user: str,
        password: str,
        *,
        label: str,
        escaped: bool = False,
    ) -> None:
        self._client = client
        self._label = label
        self._path = path
        self._login = (user, password)
        self._escaped = escaped

    def submit(self, params: str) -> SoapAnswer:
        """Send one submit, once. Never raises for an answer or for the lack of one."""
        text = envelope(*self._login, escape(params) if self._escaped else params)
        try:
            answer = self._client.send(
                "POST", self._path, body=text.encode(), headers=_HEADERS, retry=Retry.NEVER
            )
        except NotSent as error:
            return SoapAnswer(SoapStatus.NOT_SENT, error.message)
        except TransportError as error:
            return SoapAnswer(SoapStatus.NOTHING, error.message)
        return read_answer(answer, self._label)


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


def read_answer(answer: Answer, label: str) -> SoapAnswer:
    """What an HTTP answer of the service says: status, SOAP fault, or result."""
    said, message, wait = SoapStatus.NOTHING, f"status {answer.status}: {answer.excerpt()}", 0.0
    asked = retry_after(answer.headers)
    unavailable = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or unavailable:
        said, wait = SoapStatus.BUSY, asked or 0.0
    elif answer.status in _DENIED:
        said = SoapStatus.DENIED
    else:
        try:
            said, message = _read_envelope(_parse(answer.body))
        except ValueError:
            message = f"status {answer.status} without a readable result: {answer.excerpt()}"
    return SoapAnswer(said, f"{label} answered the submit with {message.rstrip('. ')}.", wait)


def _read_envelope(root: Element) -> tuple[SoapStatus, str]:
    """What an envelope says: a fault, or the result, as elements or as escaped text.

    Raises:
        ValueError: Neither, or the result does not say whether it succeeded.
    """
    if root.find("./{*}Body/{*}Fault") is not None:
        return _refusal(f"a SOAP fault: {_text(root, 'faultstring') or 'no reason'}")
    result = root.find(f".//{{{BODY_NAMESPACE}}}{OPERATION}Result")
    if result is None:
        raise ValueError("there is no result")
    if len(result) == 0 and (result.text or "").lstrip().startswith("<"):
        result = _parse((result.text or "").strip().encode())
    success, message = _text(result, "Success").lower(), _text(result, "Message")
    if success == "true":
        return SoapStatus.ACCEPTED, f"Success: true, {message or 'no message'}"
    if success == "false":
        return _refusal(f"Success: false, {message or 'no message'}")
    raise ValueError("the result does not say whether it succeeded")


def _refusal(message: str) -> tuple[SoapStatus, str]:
    return (SoapStatus.DENIED if _OF_LOGIN.search(message) else SoapStatus.REFUSED), message


def _parse(body: bytes) -> Element:
    """Reads XML.

    Raises:
        ValueError: It is too large, or the parser refuses it for whatever reason. An encoding that
            Python does not know is a `LookupError` there, for example.
    """
    if len(body) > _LARGEST_ANSWER:
        raise ValueError("the answer is too large")
    try:
        return fromstring(body, forbid_dtd=True)
    except Exception as error:
        raise ValueError("the answer is no XML that can be read") from error


def _text(root: Element, name: str) -> str:
    """The text of the first element of this name in any namespace, on one line, cut to a size."""
    found = root.find(f".//{{*}}{name}")
    return "" if found is None else remote_text(found.text or "", _LONGEST_TEXT)


PLACEHOLDERS = frozenset(
    {
        "agreement_number",
        "account_number",
        "detail_id",
        "item_id",
        "description",
        "quantity",
        "price",
        "print_when_quantity_zero",
    }
)
"""What a template may contain, each with a `$` before it."""

REQUIRED = ("agreement_number", "item_id", "quantity")
"""Without these a charge cannot be told from another."""

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_REMEDY = "Correct the file, or remove soap_template from kisi.toml to use the packaged one."


@dataclass(frozen=True, slots=True)
class ChargeValues:
    """One charge as it is to be submitted."""

    agreement_number: str
    account_number: str
    item_id: str
    quantity: int
    detail_id: str = ""
    """Empty: a new charge."""
    description: str = ""
    price: str = ""
    """Empty: Tigerpaw's own price of the item."""
    print_when_quantity_zero: bool = False


@dataclass(frozen=True, slots=True)
class ChargeTemplate:
    """A template that has been checked: well-formed, and with known placeholders only."""

    text: str
    """Without comments and XML declaration."""

    def render(self, charge: ChargeValues) -> str:
        """The XML of one charge. Values are escaped; characters that XML forbids are dropped."""
        values = {name: getattr(charge, name) for name in PLACEHOLDERS}
        return Template(self.text).substitute({name: _xml(values[name]) for name in values})


def load_template(path: Path | None, *, place: str = "") -> ChargeTemplate:
    """Read and check a template; None reads the packaged one. Problems begin with `place`.

    Raises:
        ConfigError: It cannot be read, is no XML, or lacks a placeholder; all problems at once.
    """
    name = str(path) if path else "the packaged template"
    try:
        source = path or files("kisi.psa.tigerpaw").joinpath("charges.xml")
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{place}The Tigerpaw template {name} cannot be read: {why}.", remedy=_REMEDY
        ) from error
    bare = _DECLARATION.sub("", _COMMENT.sub("", text)).strip()
    problems = [f"{place}The Tigerpaw template {name} {problem}." for problem in _problems(bare)]
    if problems:
        raise ConfigError(problems, remedy=_REMEDY)
    return ChargeTemplate(bare)


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
    problems += [f"lacks the placeholder ${name}" for name in REQUIRED if name not in found]
    problems += [
        f"holds the unknown placeholder ${name} (known: {', '.join(sorted(PLACEHOLDERS))})"
        for name in sorted(found - PLACEHOLDERS)
    ]
    return problems


def _xml(value: str | int) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return escape(_NOT_XML.sub("", text), _QUOTES)
