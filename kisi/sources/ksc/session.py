"""Logins and calls: sessions of an Administration Server over its OpenAPI.

A session is begun with `Session.StartSession` and named in `X-KSC-Session` from then on, so that it
survives a lost connection (KSC/16 a00608). It takes one call at a time and is ended in every case.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from kisi.errors import Incomplete, LoginRefused, NotSent, SourceError, TransportError
from kisi.redaction import remote_text
from kisi.sources.ksc import problems
from kisi.sources.ksc.problems import Denied, Place, Vanished, problem
from kisi.sources.ksc.wire import (
    Account,
    Params,
    decode,
    encode_arguments,
    encoded_name,
    error_in,
)
from kisi.transport import Answer, Client, Clock, Retry

_LOG = logging.getLogger(__name__)
_PREFIX = "/api/v1.0/"
_START = "Session.StartSession"
_PENDING_WAITS = (2.0, 4.0, 8.0)
"""Seconds between the tries of a call that Security Center calls temporarily unavailable."""


class OpenApi:
    """The OpenAPI of one Administration Server.

    Args:
        client: Talks to its address.
        account: Who logs in.
        clock: For waiting while the server is not ready.
    """

    def __init__(self, client: Client, account: Account, clock: Clock) -> None:
        self._client = client
        self._account = account
        self._clock = clock

    def start(self, place: Place, stopped: threading.Event | None = None) -> tuple[Session, Answer]:
        """Logs in to the main server, or to the virtual server that `place` names.

        Args:
            place: Which server.
            stopped: Once it is set, the session can only be ended.

        Raises:
            LoginRefused: Not to be tried again in this run.
            SourceError: No session was begun.
        """
        headers = {
            "Authorization": self._account.authorization(),
            "X-KSC-VServer": encoded_name(place.server or ""),
        }
        document, answer = self.request(place, _START, {}, headers, Retry.UNPROCESSED)
        token = document.get("PxgRetVal")
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise place.error(Incomplete, f"{_START} gave no session.")
        return Session(self, place, token, stopped or threading.Event()), answer

    def request(
        self,
        place: Place,
        method: str,
        arguments: Mapping[str, Any],
        headers: Mapping[str, str],
        retry: Retry,
        *,
        best_effort: bool = False,
    ) -> tuple[Params, Answer]:
        """Calls `method` and returns its decoded answer, without `PxgError`, and the raw one.

        A `best_effort` call is made also once the run is over, and and within seconds.

        Raises:
            SourceError: It failed; subclasses say what that means.
        """
        waits = iter(() if retry is Retry.NEVER else _PENDING_WAITS)
        while True:
            answer = self._send(place, method, arguments, headers, retry, best_effort=best_effort)
            document = _document(place, method, answer)
            error = error_in(document)
            if error is None:
                return document, answer
            wait = next(waits, None) if error.code == problems.UNAVAILABLE else None
            if wait is None:
                raise problem(place, method, error)
            _LOG.info("%s: %s is not available yet. Again in %.0f s.", place, method, wait)
            self._clock.sleep(wait)

    def _send(
        self,
        place: Place,
        method: str,
        arguments: Mapping[str, Any],
        headers: Mapping[str, str],
        retry: Retry,
        *,
        best_effort: bool,
    ) -> Answer:
        try:
            answer = self._client.send(
                "POST",
                _PREFIX + method,
                json=encode_arguments(arguments),
                headers=headers,
                retry=retry,
                best_effort=best_effort,
            )
        except NotSent as error:
            raise place.error(SourceError, error.message, error.remedy) from error
        except TransportError as error:
            raise place.error(Incomplete, error.message, error.remedy) from error
        if answer.status != HTTPStatus.OK:
            raise _refusal(place, method, answer)
        return answer


class Session:
    """One session; not thread-safe, because Security Center takes one call at a time on it."""

    def __init__(self, api: OpenApi, place: Place, token: str, stopped: threading.Event) -> None:
        self._api = api
        self._stopped = stopped
        self._headers = {"X-KSC-Session": token}
        self._ended = False
        self.place = place
        self.alive = True
        """False once the server no longer knows the session, or it was ended."""

    def call(self, method: str, arguments: Mapping[str, Any], retry: Retry) -> Params:
        """Calls a method; see `OpenApi.request`.

        Raises:
            Vanished: The session has died (`alive` is false then), or an object is gone.
            SourceError: It failed.
        """
        if self._stopped.is_set():
            raise self.place.error(SourceError, "the run was stopped while it was read.")
        return self._request(method, arguments, retry)

    def release(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Gives something back. That it fails harms nobody: it ends with the session."""
        if self.alive and not self._stopped.is_set():
            self._try(method, arguments)

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
        try:
            document, _ = self._api.request(
                self.place, method, arguments, self._headers, retry, best_effort=best_effort
            )
        except _SessionDied:
            self.alive = False
            raise
        return document


class _SessionDied(Vanished):
    """The server does not know the session any more."""


def _refusal(place: Place, method: str, answer: Answer) -> SourceError:
    """What an HTTP status other than 200 means: login, session or protocol failed."""
    said = remote_text(answer.headers.get("X-KSC-ErrorMsg", ""), 80) or answer.excerpt()
    detail = f"HTTP {answer.status}: {said!r}"
    status = answer.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        if method == _START:
            return _login_refused(place, detail)
        return place.error(_SessionDied, f"the session ended before {method} ({detail}).")
    if status == HTTPStatus.NOT_FOUND:
        return place.error(
            Denied,
            f"there is no {method} ({detail}).",
            "Check `url`: it must be the address and port of the OpenAPI, usually 13299.",
        )
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        return place.error(SourceError, f"it is too busy for {method} ({detail}).")
    return place.error(Incomplete, f"it did not answer {method} ({detail}).")


def _login_refused(place: Place, detail: str) -> LoginRefused:
    if place.server is None:
        return place.error(
            LoginRefused,
            f"the login was refused ({detail}). {problems.NOT_AGAIN}",
            problems.CHECK_LOGIN,
        )
    return place.error(
        LoginRefused,
        f"the login was refused ({detail}), though the main server accepts it. kisi did not try "
        "again.",
        "Give the account the right to log in to this virtual server and to read it.",
    )


def _document(place: Place, method: str, answer: Answer) -> Params:
    try:
        document = decode(answer.json())
    except TransportError as error:
        raise place.error(Incomplete, f"{method}: {error.message}") from error
    except (ValueError, RecursionError) as error:
        raise place.error(
            Incomplete, f"the answer to {method} has a value of a wrong type."
        ) from error
    if not isinstance(document, dict):
        raise place.error(
            Incomplete, f"the answer to {method} is no JSON object: {answer.excerpt()!r}."
        )
    return document
