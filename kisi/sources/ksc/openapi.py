"""The OpenAPI of an Administration Server: its JSON, its errors, logins and calls.

Inside containers and arrays, types that JSON cannot tell apart are wrapped as
`{"type": "long", "value": 5}`; the arguments of a call themselves are bare
(https://support.kaspersky.com/help/KSC/14/KSCAPI/index.html, "Data format").

A session is begun with `Session.StartSession` and named in `X-KSC-Session` from then on, so that it
survives a lost connection (KSC/16 a00608). It takes one call at a time and is ended in every case.
`Logins` keeps kisi from locking its own account.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from kisi.errors import AnswerLost, Incomplete, LoginRefused, NotSent, SourceError, TransportError
from kisi.redaction import remote_text, remote_words
from kisi.transport import Answer, Client, Clock, Limits, Retry, retry_after

_E = TypeVar("_E", bound=SourceError)
_LOG = logging.getLogger(__name__)
_START = "Session.StartSession"
HELD_AT_MOST = 8
"""How many lists are left to the end of their session, which frees them, and not given back."""
_PENDING_WAITS = (2.0, 4.0, 8.0)  # seconds between the tries of a call that is not available yet

Params = dict[str, Any]
"""A container, decoded: attribute to value. Attributes without a value are absent."""


def authorization(user: str, password: str, domain: str, *, internal: bool) -> str:
    """The value of `Authorization`, in the form of Kaspersky's own client (KlAkOAPI)."""
    return (
        f'KSCBasic user="{_encoded(user)}", pass="{_encoded(password)}", '
        f'domain="{domain}", internal="{int(internal)}"'
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


class Unreadable(NamedTuple):
    """What a wrapped value became that is not of the type that it claims."""

    value: object

    def __str__(self) -> str:
        return str(self.value)


_WRAPPED = {"type", "value"}


def unwrap(found: dict[str, Any]) -> Any:  # noqa: ANN401  any JSON value
    """What a JSON object stands for, for `Answer.unwrap`: itself, or a value that is wrapped in it.

    Instants become aware, in UTC; `""` becomes None. A value that cannot be read stays as
    `Unreadable`, so that who needs it can name it.
    """
    if len(found) != len(_WRAPPED) or found.keys() != _WRAPPED:
        return found
    kind, value = found["type"], found["value"]
    if kind not in ("long", "datetime", "params"):
        return found
    try:
        return _unwrapped(kind, value)
    except (ValueError, OverflowError):
        return Unreadable(value)


def _unwrapped(kind: str, value: object) -> object:
    if kind == "params" and isinstance(value, dict):
        return value
    if kind == "long" and (isinstance(value, str) or type(value) is int):
        return int(value)
    if kind == "datetime" and value in (None, ""):
        return None
    if kind == "datetime" and isinstance(value, str):
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    raise ValueError(kind)


_CHECK_LOGIN = (
    "Check `user`, the password behind `password`, and `internal_user` (true for a user of "
    "Security Center itself, false for one of Windows or a domain, with `domain`). Where two-step "
    "verification is required, exclude this account from it. Try the same login in the console "
    "before the next run."
)
_LATER = (
    "Run kisi again: most troubles of a server pass. If this one stays, `kisi check --online` and "
    "the server's own log say more."
)
_NOT_AGAIN = "kisi did not try again, because too many wrong passwords block the account."


class Vanished(Incomplete):
    """A session, key or iterator is gone: reading from the start may help, once."""


class Denied(SourceError):
    """A right is missing or the call is not known: asking again would give the same answer."""


class Unavailable(SourceError):
    """The server is too busy or not ready yet: waiting may help."""

    wait: float | None = None
    """Seconds after which it wants to be asked again, if it says so."""


class Unanswered(Incomplete):
    """The server's answer never came: it may have done what it was asked, or never have seen it."""


class PasswordRefused(LoginRefused):
    """The password itself is wrong or the account blocked: one more login could lock it."""


class ServerLabel(NamedTuple):
    """Where something happens: a source, and one of its virtual servers or the main server."""

    source: str
    server: str | None = None
    """The display name of the virtual server; None on the main server."""

    def __str__(self) -> str:
        if self.server is None:
            return f"Source {self.source}, main server"
        return f'Source {self.source}, virtual server "{remote_text(self.server, 80)}"'

    def error(self, kind: type[_E], what: str, remedy: str = "") -> _E:
        """An error of `kind`: where, what, what kisi does not do because of it, what to do now.

        Its `event` is where and what alone.
        """
        effect = "Its client's lines stay as they are."
        if self.server is None:
            effect = "Nothing of this source is billed: the lines of its clients stay as they are."
        event = f"{self}: {what}"
        error = kind(f"{event} {effect}", remedy=remedy or _LATER)
        error.event = event
        return error


_Meaning = tuple[type[SourceError], str, str]
"""The error, what happened (with places for `method` and `detail`), and what to do."""
_GONE: _Meaning = (Vanished, "what {method} asked for is gone ({detail}).", "")
_NO_RIGHT: _Meaning = (
    Denied,
    'the account lacks the right "Read" on it, which {method} needs ({detail}).',
    "Give the account a role with the right to read (General features: Basic functionality) there.",
)
_REFUSED = "the login was refused ({detail}). " + _NOT_AGAIN
_WRONG_LOGIN: _Meaning = (PasswordRefused, _REFUSED, _CHECK_LOGIN)
_MEANINGS: Mapping[int, _Meaning] = {
    1125: _GONE,  # KLPRSS NOT_EXIST
    1186: _GONE,  # KLSTD NOTFOUND
    1184: _NO_RIGHT,  # KLSTD NOACCESS
    1193: _NO_RIGHT,  # KLSTD NOTPERM
    1192: (Denied, "it did not understand {method} ({detail}).", ""),  # KLSTD BADFORMAT
    1194: (  # KLCONN GCR_NO_SUCH_CALL
        Denied,
        "this version of Security Center is too old: it does not know {method} ({detail}).",
        "Update Security Center; kisi needs version 13 or later.",
    ),
    1195: (Unavailable, "it is not available for {method} ({detail}).", ""),  # KLSTD UNAVAIL
    1453: _WRONG_LOGIN,  # KLWAT LOGON_IFAILED
    1454: _WRONG_LOGIN,  # KLWAT BA_WEB_TOKEN_FAILED
    2013: (  # SPL ACCOUNT_BLOCKED
        PasswordRefused,
        "the account is blocked after too many wrong passwords ({detail}). kisi did not try again.",
        "Unblock the account in Security Center. " + _CHECK_LOGIN,
    ),
}
_OTHER: _Meaning = (Incomplete, "{method} failed ({detail}).", "")


def problem_in(label: ServerLabel, method: str, document: Params) -> SourceError | None:
    """The error that a decoded answer reports, if it does, with HTTP status 200 (KSC/15 a00337)."""
    reported = document.get("PxgError")
    if reported is None:
        return None
    fields = reported if isinstance(reported, dict) else {"message": str(reported)}
    code = number if isinstance(number := fields.get("code"), int) else 0
    kind, what, remedy = _MEANINGS.get(code, _OTHER)
    module = remote_words(str(fields.get("module", "")), 20)
    message = remote_words(str(fields.get("message", "")), 200)
    who = f"{code or ''} {module}".strip()
    told = filter(None, (who, f'"{message}"' if message else ""))
    detail = ": ".join(told) or "it did not say why"
    return label.error(kind, what.format(method=method, detail=detail), remedy)


class Session:
    """A session on the main server, or on the virtual server that `label` names; logs in when made.

    Not thread-safe, because Security Center takes one call at a time on a session. `authorization`
    is the header that says who logs in. Once `stopped` is set, the session can only be ended. A
    `LoginRefused` is not to be tried again in this run.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        limits: Limits,
        authorization: str,
        label: ServerLabel,
        stopped: threading.Event,
    ) -> None:
        self._client, self._clock, self._limits = client, clock, limits
        self._stopped = stopped
        self._held: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._ended = False
        self._answers = self._bytes = 0
        self.label = label
        self.alive = True
        """False once the server no longer knows the session, or it was ended."""
        server = _encoded(label.server or "")
        self._headers = {"Authorization": authorization, "X-KSC-VServer": server}
        try:
            document = self._request(_START, {}, Retry.UNPROCESSED)
        except Unanswered as lost:  # no refusal, which alone must never be repeated
            _LOG.warning("The login is tried once more. %s", lost.event)
            clock.sleep(_PENDING_WAITS[0])
            document = self._request(_START, {}, Retry.UNPROCESSED)
        token = document.get("PxgRetVal")
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise label.error(Incomplete, f"{_START} gave no session.")
        self._headers = {"X-KSC-Session": token}

    def call(self, method: str, arguments: Mapping[str, Any], retry: Retry) -> Params:
        """The decoded answer. `Vanished`: an object is gone, or the session (not `alive` then)."""
        if self._stopped.is_set():
            raise self.label.error(SourceError, "the run was stopped while it was read.")
        return self._request(method, arguments, retry)

    def refuse_endless(self, rows: int, *, begins: bool = False) -> None:
        """`Incomplete` where a list has more `rows`, or is longer since it `begins`, than any."""
        if begins:
            self._answers = self._bytes = 0
        if over := self._limits.beyond(rows, self._answers, self._bytes):
            remedy = "See in the console what is listed there: no client has so much."
            raise self.label.error(Incomplete, f"a list was not read to its end: {over}.", remedy)

    def ends(self) -> float:
        """The instant of the clock at which something that begins now must be over."""
        return self._limits.ends(self._clock.monotonic())

    def wait_out(self, trouble: Unavailable, ends: float) -> bool:
        """Waits as long as the server asked for, if that is over before `ends`; whether it was."""
        # who asks for no wait, again and again, is not to be asked a thousand times
        wait = min(max(trouble.wait or 0.0, _PENDING_WAITS[0]), self._limits.retry_after_cap)
        if self._clock.monotonic() + wait >= ends:
            return False
        self._clock.sleep(wait)
        return True

    def release(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Gives something back: what was opened last, by the end of the session.

        A session's end frees what it holds (KSC/14 a00275), so that a request for each is saved
        where few are open. Where a session goes on, the oldest is given back first.
        """
        self._held.append((method, arguments))
        if len(self._held) > HELD_AT_MOST and self.alive and not self._stopped.is_set():
            self._try(*self._held.popleft())

    def end(self) -> None:
        """Ends the session, whatever the server says to it. Safe to call twice."""
        if not self._ended:
            self._ended = True
            self._try("Session.EndSession", {})
            self.alive = False

    def _try(self, method: str, arguments: Mapping[str, Any]) -> None:
        try:
            self._request(method, arguments, Retry.NEVER, best_effort=True)
        except SourceError as error:
            _LOG.info("%s failed, which changes nothing: %s", method, error.message)

    def _request(
        self, method: str, arguments: Mapping[str, Any], retry: Retry, *, best_effort: bool = False
    ) -> Params:
        """The decoded answer; waits while the server is not available."""
        waits = iter(() if retry is Retry.NEVER else _PENDING_WAITS)
        while True:
            try:
                answer = self._client.send(
                    "POST",
                    f"/api/v1.0/{method}",
                    json=arguments,
                    headers=self._headers,
                    retry=retry,
                    best_effort=best_effort,
                )
            except TransportError as error:
                lost = Unanswered if isinstance(error, AnswerLost) else Incomplete
                kind = SourceError if isinstance(error, NotSent) else lost
                raise self.label.error(kind, error.message, error.remedy) from error
            if answer.status != HTTPStatus.OK:
                raise self._refusal(method, answer)
            self._answers, self._bytes = self._answers + 1, self._bytes + len(answer.body)
            document = self._document(method, answer)
            failure = problem_in(self.label, method, document)
            if failure is None:
                return document
            wait = next(waits, None) if isinstance(failure, Unavailable) else None
            if wait is None:
                raise failure
            _LOG.info("%s: %s is not available yet. Again in %.0f s.", self.label, method, wait)
            self._clock.sleep(wait)

    def _document(self, method: str, answer: Answer) -> Params:
        try:
            document = answer.json()
        except TransportError as error:
            what = f"{method}: {error.message}"
        else:
            if isinstance(document, dict):
                return document
            what = f"the answer to {method} is no JSON object: {answer.excerpt()!r}."
        raise self.label.error(Incomplete, what)

    def _refusal(self, method: str, answer: Answer) -> SourceError:
        """What an HTTP status other than 200 means: login, session or protocol failed."""
        label, status = self.label, answer.status
        said = answer.header("X-KSC-ErrorMsg", 80) or answer.excerpt()
        detail = f"HTTP {status}: {said!r}"
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            if method != _START:
                self.alive = False
                return label.error(Vanished, f"the session ended before {method} ({detail}).")
            what = f"the login was refused ({detail})"
            if label.server is None:
                return label.error(LoginRefused, f"{what}. {_NOT_AGAIN}", _CHECK_LOGIN)
            return label.error(
                LoginRefused,
                f"{what}, though the main server accepts it. kisi did not try again.",
                "Give the account the right to log in to this virtual server and to read it.",
            )
        if status == HTTPStatus.NOT_FOUND:
            return label.error(
                Denied,
                f"there is no {method} ({detail}).",
                "Check `url`: it must be the address and port of the OpenAPI, usually 13299.",
            )
        if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
            busy = label.error(Unavailable, f"it is too busy for {method} ({detail}).")
            busy.wait = retry_after(answer.headers)
            return busy
        between = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # a proxy's
        kind = Unanswered if status in between else Incomplete
        return label.error(kind, f"it did not answer {method} ({detail}).")


# Refusals on virtual servers while the main server accepts the login: rights are missing there, or
# the account is about to be locked.
_TOLERATED = 2


class Logins:
    """Lets logins on virtual servers through, as long as that is safe. Thread-safe.

    A wrong password or a blocked account ends all further logins. Other refusals end them at the
    second one: no more logins are under way than may still be refused.
    """

    def __init__(self) -> None:
        self._slots = threading.Semaphore(_TOLERATED)
        self._refusals: list[LoginRefused] = []
        self._closed = ""

    @contextmanager
    def one_more(self, label: ServerLabel) -> Iterator[None]:
        """Around one login. Raises `SourceError`, which says why, if no further one is tried."""
        self._slots.acquire()
        refused = False
        try:
            if self._closed:
                what = f"kisi did not log in, to keep the account usable: {self._closed}"
                raise label.error(SourceError, what)
            yield
        except LoginRefused as refusal:
            refused = True
            self._refusals.append(refusal)
            number = len(self._refusals)
            if isinstance(refusal, PasswordRefused):
                self._closed = "the password was refused on another virtual server of this source."
            elif number >= _TOLERATED:
                self._closed = f"{number} virtual servers of this source have refused the login."
            raise
        finally:
            if self._closed or not refused:  # a refusal takes its slot away, but for the last one
                self._slots.release()
