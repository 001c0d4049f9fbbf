"""What ConnectWise says when it refuses, as sentences.

Three kinds of body occur: `{"code", "message", "errors": [{"code", "message", "field"}]}` for most
refusals (`ErrorResponseMessage` of ConnectWise's OpenAPI document), `{"error", "message"}` for a
rate limit (its Developer Guide, https://developer.connectwise.com/Products/ConnectWise_PSA), and
whatever a proxy in front of it sends: Cloudflare's HTML pages, plain text, nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses

from kisi.errors import BadAnswer
from kisi.redaction import NOT_QUOTED, REDACTOR, remote_text, remote_words
from kisi.transport import Answer

_LONGEST = 300
"""Characters of remote text that a sentence may hold."""
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_REQUEST_ID = re.compile(r"[^A-Za-z0-9._:-]")
_LOGIN_CODES = frozenset({"unauthorized", "usernotauthenticated"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not the success that was asked for."""

    status: int
    code: str
    """ConnectWise's own code (`InvalidObject`, `Security`, ...); empty if there is none."""
    message: str
    """All that the body says, on one line; may be empty."""
    request_id: str

    @property
    def of_login(self) -> bool:
        """Whether it refuses our credentials (or our host), so that nothing else can succeed.

        A 403 that speaks of a permission concerns one kind of action or record; any other 403
        (`SSL is required.`, a missing or disabled clientId, a firewall) concerns every request.
        """
        if self.status == HTTPStatus.UNAUTHORIZED:
            return True
        words = {self.code.lower(), self.message.lower()}
        return bool(words & _LOGIN_CODES) or (
            self.status == HTTPStatus.FORBIDDEN and not self.of_permission
        )

    @property
    def of_permission(self) -> bool:
        """Whether the security role of the API member lacks a right."""
        return self.status == HTTPStatus.FORBIDDEN and "permission" in self.message.lower()

    @property
    def of_invoiced_period(self) -> bool:
        """Whether an effective date was refused because its period is invoiced already.

        ConnectWise has no code for it, only a sentence: `Since this period has already been
        invoiced there will not be an invoice generated for additional products ...`.
        """
        return "already been invoiced" in self.message.lower()

    @property
    def sentence(self) -> str:
        """The end of a sentence: `400 InvalidObject: addition object is invalid: ....`."""
        # Cloudflare's own statuses (520 to 526) have no phrase.
        code = self.code if REDACTOR.quotes else ""
        spelled = f"{self.status} {code or responses.get(self.status, '')}".rstrip()
        if said := remote_words(self.message, len(self.message)):
            spelled += f": {said if len(said) <= _LONGEST else said[: _LONGEST - 3] + '...'}"
        return spelled if spelled.endswith((".", "!", "?")) else spelled + "."

    @property
    def support(self) -> str:
        """Where ConnectWise's support can look the request up; empty if it named no id."""
        return f" ConnectWise's request id: {self.request_id}." if self.request_id else ""


def read_refusal(answer: Answer) -> Refusal:
    """Reads any answer as a refusal; never fails, whatever the body is."""
    code, message = _from_body(answer)
    said = " ".join(REDACTOR.redact(message).split())
    return Refusal(answer.status, remote_text(code, 60), said, request_id(answer))


def request_id(answer: Answer) -> str:
    """ConnectWise's id of the request (`x-cw-request-id`), safe for a log line; may be empty."""
    if (said := answer.header("x-cw-request-id", 200)) == NOT_QUOTED:
        return ""
    # without what stood between them, letters could be a secret again
    return remote_text(_REQUEST_ID.sub("", said), 64)


def login_remedy(name: str, refusal: Refusal) -> str:
    """What to do when ConnectWise refused the login or the host."""
    if "ssl" in refusal.message.lower():
        return f"Put the API's host into url of [psa.{name}]: https://api-..."
    if refusal.status == HTTPStatus.FORBIDDEN:
        return (
            f"Check client_id of [psa.{name}]: it must be an active clientId of your own from"
            " developer.connectwise.com. If it is, a firewall in front of ConnectWise refused kisi."
        )
    return (
        f"Check company, public_key, private_key and client_id of [psa.{name}], and that the API"
        " member is active."
    )


def _from_body(answer: Answer) -> tuple[str, str]:
    try:
        body = answer.json()
    except BadAnswer:
        opening = answer.opening()
        title = _TITLE.search(opening)
        page = f"a web page, {title[1].strip()!r}" if title else "a web page"
        return "", page if "<" in opening else opening
    if not isinstance(body, dict):
        return "", answer.opening() if body else ""
    code, message = body.get("code") or body.get("error") or "", body.get("message") or ""
    errors = body.get("errors")
    listed = errors if isinstance(errors, list) else []
    details = [_detail(one) for one in listed if isinstance(one, dict)]
    return str(code), ": ".join(filter(None, (str(message).rstrip(" :"), "; ".join(details))))


def _detail(error: dict[str, object]) -> str:
    """One entry of `errors`, with the field it concerns unless the message names it."""
    message = str(error.get("message") or error.get("code") or "")
    field = str(error.get("field") or "")
    return f"{message} ({field})" if field and field not in message else message
