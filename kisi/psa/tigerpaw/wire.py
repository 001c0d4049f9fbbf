"""Requests to Tigerpaw: REST to read, SOAP to write.

**REST**: API 18.2.1, https://api2.tigerpawsoftware.com/docs/18.2.1/swagger. It fails with an HTTP
status, and also with status 200 and `"Success": false`; lists without an envelope have only the
former. The signature is described on the page "REST Examples" of every API server, for example
https://api.paulsonsav.com/gettingstarted/restexamples.

**SOAP**: `SubmitAgreementAdditionalCharges` "creates, updates or deletes additional charge line
items for a Tigerpaw agreement with the provided data. No billing or credit card processing occurs."
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges). The two
namespaces differ by a slash at the end; the service takes only these. What goes inside `<Params>`
is a file with placeholders (`load_template`), because its schema is not public: the page of the
operation shows `<Params>xml</Params>` and no more.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.errors import AccessRefused, ConfigError, NotSent, PsaError, TransportError
from kisi.files import open_regular, why_not_used
from kisi.model import Line, PlannedLine, WriteResult, WriteStatus
from kisi.psa.http import HttpPsa, asked_to_wait, not_answered
from kisi.psa.tigerpaw import TigerpawSettings
from kisi.psa.tigerpaw.records import money
from kisi.redaction import remote_text, remote_words
from kisi.transport import Answer, Client, Retry

Read = TypeVar("Read")
Record = TypeVar("Record", bound=Hashable)

PAGE_SIZE = 100
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


class Unusable(PsaError):
    """Every further request would fail in the same way: no connection, or keys refused."""


class KeysRefused(Unusable, AccessRefused):
    """The REST keys were refused."""

    guard = "login"


class NotFound(PsaError):
    """The API answered 404, and it is Tigerpaw's API that did."""


class Wire(HttpPsa):
    """The requests to one Tigerpaw; `ConfigError` where the template of a charge is unusable."""

    system = "Tigerpaw"
    workers = 1
    """Nothing is published about rate limits or parallel submits."""
    accounts_word = "account"
    if_skewed = "it may refuse the signatures"
    client: Client
    _settings: TigerpawSettings
    _known = False
    """Tigerpaw's API has answered."""
    _received = 0
    """Bytes of all answers."""

    def _set_up(self) -> None:
        self.label = f"Tigerpaw (psa.{self.name})"
        self.client = self._client_for(self._settings.url)
        own = self._settings.soap_template
        path = self._base / own if own else None
        self._template = load_template(path, place=f"kisi.toml: [psa.{self.name}] soap_template: ")

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        """One GET, decoded; see `send` and `decode`."""
        return self.decode("GET", path, self.send("GET", path, params=params))

    def search(self, path: str, search_type: str, read: Callable[[object], Record]) -> list[Record]:
        """All records of one advanced search (for what contains the empty text), whole.

        Pages follow `NextRow` for as long as it grows and a page brings something new, so a server
        that repeats itself ends the reading; the total that it names decides.
        """
        found: dict[Record, None] = {}
        row, pages, before = self._settings.first_row, 0, self._received
        while True:
            records, following, total = self.page(path, search_type, row)
            pages, known = pages + 1, len(found)
            self._refuse_endless(path, total, pages, self._received - before)
            found |= dict.fromkeys(self.parse(read, record, path) for record in records)
            if len(found) == known or len(found) >= total or following <= row:
                break
            row = following
        said = f"{self.label} says that {path} has {total} records and gave {len(found)}"
        if len(found) < total:
            raise PsaError(
                f"{said} of them.",
                remedy="Try again. If it keeps happening, set first_row = 0 in kisi.toml: some "
                "versions count rows from 0.",
            )
        if len(found) > total:
            raise PsaError(
                f"{said}, so it is not known how many there are.",
                remedy="Try again: somebody may have removed records meanwhile.",
            )
        return list(found)

    def page(
        self, path: str, search_type: str, row: int, size: int = PAGE_SIZE
    ) -> tuple[list[Any], int, int]:
        """One page of such a search: its records, `NextRow` and `TotalCount`."""
        body = {
            "Criteria": [{"SearchType": search_type, "MatchType": "Contains", "Criteria": ""}],
            "PageSize": size,
            "StartRow": row,
        }
        page = self.decode("POST", path, self.send("POST", path, json=body))
        fields = page if isinstance(page, dict) else {}
        lists = [value for value in fields.values() if isinstance(value, list)]
        following, total = fields.get("NextRow"), fields.get("TotalCount")
        if not isinstance(total, int) or len(lists) > 1 or (total and not lists):
            said = f"{self.label} answered POST {path}"
            raise PsaError(f"{said} with something that is not a page of results.")
        records = lists[0] if lists else []
        return records, following if isinstance(following, int) else 0, total

    def parse(self, read: Callable[[object], Read], value: object, path: str) -> Read:
        """Applies a reader of `records`; its `ValueError` is a `PsaError` about `path`."""
        try:
            return read(value)
        except ValueError as error:
            raise PsaError(
                f"{self.label} gave an unreadable answer to {path}: {error}.",
                remedy="Compare the answer with the API's own documentation at /docs/index of the "
                "API server: its version may be newer than 18.2.1.",
            ) from error

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
    ) -> Answer:
        """One signed read, whatever its status; `Unusable` if nothing could be sent."""
        try:
            return self.client.send(
                method,
                path,
                params=params,
                json=json,
                headers={"Accept": "application/json"},
                retry=Retry.READ,
                sign=self._sign,
            )
        except NotSent as error:
            raise Unusable(error.message, remedy=error.remedy) from error
        except TransportError as error:
            raise PsaError(error.message, remedy=error.remedy) from error

    def _sign(self, method: str, path: str) -> Mapping[str, str]:
        keys, now = self._secrets, self._clock.now()
        return signed_headers(keys["public_key"], keys["private_key"], method, path, now)

    def decode(self, method: str, path: str, answer: Answer) -> Any:  # noqa: ANN401
        """What an answer says; `PsaError` where it says no, in either way, or is not JSON."""
        said = f"{self.label} answered {method} {path}"
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise KeysRefused(
                f"{said} with {answer.status}: it refused the REST keys ({answer.excerpt()}).",
                remedy="Check both REST keys (Edit > Master Tables > Rep > Account Reps > the rep "
                "> Admin > REST API Security), the rep's rights, and this machine's clock: a "
                "signature that is minutes off is refused in the same way.",
            )
        if answer.status == HTTPStatus.FORBIDDEN:
            raise PsaError(
                f"{said} with 403: the rep of the REST keys may not read it ({answer.excerpt()}).",
                remedy="Check the rights of the rep's security role (docs/tigerpaw.md).",
            )
        if answer.status == HTTPStatus.NOT_FOUND:
            self._prove_api()
            raise NotFound(f"{said} with 404: {answer.excerpt()}")
        if answer.status != HTTPStatus.OK:
            raise PsaError(f"{said} with status {answer.status}: {answer.excerpt()}")
        try:
            content = answer.json()
        except TransportError as error:
            raise PsaError(f"{said}: {error.message}", remedy=error.remedy) from error
        self._received += len(answer.body)
        self._refuse_endless(path, len(content) if isinstance(content, list) else 0)
        if isinstance(content, dict) and content.get("Success") is False:
            message = remote_words(str(content.get("Message") or "no message"), 200)
            raise PsaError(f"{said} with Success: false, {message}")
        self._known = True
        return content

    def _refuse_endless(self, path: str, rows: int, pages: int = 1, size: int = 0) -> None:
        if over := self.client.limits.beyond(rows, pages, size):
            raise PsaError(
                f"{self.label} gave {path} without an end: {over}. None of it was used.",
                remedy="Try again. If it keeps happening, see in Tigerpaw how many there are.",
            )

    def _prove_api(self) -> None:
        """A wrong address answers everything with 404, as if each client's agreement were gone."""
        if self._known:
            return
        path = "/api/diagnostics/validate/user"
        if self.send("GET", path).status == HTTPStatus.NOT_FOUND:
            raise Unusable(
                f"{self.label} has no {path}: this is not the address of a Tigerpaw API.",
                remedy="Correct url in kisi.toml: it is what comes before /api/ in the address of "
                "your API server.",
            )
        self._known = True

    def submit(self, charge: Mapping[str, object]) -> WriteResult:
        """Sends one charge, once. Never raises for an answer or for the lack of one.

        What became of the charge, only reading it again tells: a success is `UNKNOWN` too.
        """
        params = render(self._template, charge)
        xml = escape(params) if self._settings.soap_escaped else params
        login = (self._secrets["soap_user"], self._secrets["soap_password"])
        body, path = envelope(*login, xml).encode(), self._settings.soap_path
        try:
            answer = self.client.send("POST", path, body=body, headers=_HEADERS, retry=Retry.NEVER)
        except TransportError as error:
            return not_answered(error, error.message)
        return read_answer(answer, self.label, creates=not charge["detail_id"])


def signature(private_key: str, method: str, path: str, date: str) -> str:
    """HMAC-SHA256 over the lower-cased `METHOD|PATH|DATE`, in base64.

    The key is used as text (it looks like a GUID); `path` has neither host nor query.
    """
    to_sign = f"{method}|{path}|{date}".lower()
    return b64encode(hmac.digest(private_key.encode(), to_sign.encode(), "sha256")).decode()


def signed_headers(
    public_key: str, private_key: str, method: str, path: str, now: datetime
) -> Mapping[str, str]:
    """The headers that identify us. `X-TSI-Date` (RFC 1123, UTC) overrides `Date` on the server."""
    date = format_datetime(now.astimezone(UTC), usegmt=True)
    pair = f"{public_key}:{signature(private_key, method, path, date)}"
    return {"X-TSI-Date": date, "Authorization": f"TSI {b64encode(pair.encode()).decode()}"}


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
    """What an HTTP answer of the service says: status, SOAP fault, or result."""
    status, message = WriteStatus.UNKNOWN, f"status {answer.status}: {answer.excerpt()}"
    wait, denied = asked_to_wait(answer, creates=creates, unsaid=0.0), False
    if wait is not None:
        status = WriteStatus.THROTTLED
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
    return WriteResult(status, message, wait=wait or 0.0, denied=denied)


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
    called = str(path) if path else "the packaged template"
    try:
        own = files("kisi.psa.tigerpaw").joinpath("charges.xml")
        with open_regular(path) if path else own.open("rb") as source:
            text = source.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{place}The Tigerpaw template {called} cannot be read: {why}.", remedy=_REMEDY
        ) from error
    if path and (foreign := why_not_used(path)):
        raise ConfigError(f"{place}{foreign}", remedy=_REMEDY)
    bare = _DECLARATION.sub("", _COMMENT.sub("", text)).strip()
    template, problems = Template(bare), []
    try:
        fromstring(bare, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        problems.append(f"is not plain well-formed XML ({error})")
    if "<![CDATA[" in bare:
        problems.append("holds a CDATA section, in which values cannot be escaped")
    if not template.is_valid():
        problems.append("holds a $ that begins no placeholder (write $$ for a dollar sign)")
    found = set(template.get_identifiers())
    problems += [f"lacks the placeholder ${name}" for name in _REQUIRED if name not in found]
    problems += [
        f"holds the unknown placeholder ${name} (known: {', '.join(sorted(_PLACEHOLDERS))})"
        for name in sorted(found - _PLACEHOLDERS)
    ]
    if problems:
        told = [f"{place}The Tigerpaw template {called} {problem}." for problem in problems]
        raise ConfigError(told, remedy=_REMEDY)
    return template
