"""One thread's way to a server: a session, the adapter under it, and bodies read with a limit."""

from __future__ import annotations

import logging
from http.cookiejar import DefaultCookiePolicy

import requests

from kisi.errors import BadAnswer
from kisi.transport.answer import Answer
from kisi.transport.clock import Clock
from kisi.transport.connection import Adapter, Attempt, Unasked
from kisi.transport.policy import Limits
from kisi.transport.proxies import proxies_for
from kisi.transport.trust import Stage, unverified

_LOG = logging.getLogger(__name__)
_CHUNK = 65536


class _Session(requests.Session):
    """A session that is deaf to the environment, to redirects and to cookies."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get_redirect_target(self, _resp: requests.Response) -> None:
        """No redirect is looked at: `requests` would read its body without any limit."""


class Line:
    """One thread's session to the server at `url`, and the adapter that it talks through."""

    def __init__(self, url: str) -> None:
        self._proxies = proxies_for(url)
        self._session = _Session()
        self._adapter: Adapter | None = None
        self.last_used = 0.0
        """The instant of the clock at which the last try ended; its keeper sets it."""

    def send(
        self, prepared: requests.PreparedRequest, stage: Stage, attempt: Attempt, limits: Limits
    ) -> Answer:
        """Sends once and reads the whole answer.

        Raises:
            requests.RequestException: No answer came, or more than one.
        """
        adapter = self._talk_through(stage, attempt)
        patience = adapter.attempt.patience()
        response = self._session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            proxies=self._proxies,
            timeout=(min(limits.connect, patience), patience),
        )
        with response:
            answer = Answer(response.status_code, response.headers, _body(response, limits.body))
        if attempt.surplus:
            raise requests.ConnectionError(Unasked("more than one answer"))
        return answer

    def hang_up(self) -> None:
        """Closes idle connections; the next request opens a new one."""
        self._session.close()

    def _talk_through(self, stage: Stage, attempt: Attempt) -> Adapter:
        if self._adapter is None or self._adapter.stage is not stage:
            self.hang_up()
            self._adapter = Adapter(stage, attempt)
            self._session.mount("http://", self._adapter)
            self._session.mount("https://", self._adapter)
        self._adapter.attempt = attempt
        return self._adapter


def _body(response: requests.Response, limit: int) -> bytes:
    body = bytearray()
    while chunk := response.raw.read(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > limit:
            raise BadAnswer(f"The answer is larger than {limit} bytes and was not read further.")
    return bytes(body)


def look(url: str, limits: Limits, clock: Clock) -> Attempt:
    """Shakes hands under a stage in which no certificate is good, so that nothing can be sent."""
    now = clock.monotonic()
    attempt = Attempt(clock, ends=now + limits.connect, read=limits.connect)
    line = Line(url)
    try:
        line.send(requests.Request("GET", url).prepare(), unverified(()), attempt, limits)
    except (requests.RequestException, OSError) as error:
        _LOG.debug("Looking at a certificate: %s", type(error).__name__)
    finally:
        line.hang_up()
    return attempt
