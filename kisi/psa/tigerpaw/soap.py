"""Writing over Tigerpaw's SOAP service: one operation, its envelope, and what its answer means.

`SubmitAgreementAdditionalCharges` "creates, updates or deletes additional charge line items for a
Tigerpaw agreement with the provided data. No billing or credit card processing occurs."
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges). The two
namespaces differ by a slash at the end; the service takes only these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from defusedxml.ElementTree import fromstring

from kisi.errors import NotSent, TransportError
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
