"""What went wrong on the way, in words, and whether the request may have arrived."""

from __future__ import annotations

import socket
import ssl

import requests.exceptions as rq
import urllib3.exceptions as u3

from kisi.errors import AnswerLost, BadAnswer, NotSent, TransportError
from kisi.transport.connection import Attempt, Unasked

_BEFORE_SENDING = (
    rq.ConnectTimeout,
    rq.ProxyError,
    rq.SSLError,
    rq.InvalidURL,
    rq.InvalidSchema,
    rq.MissingSchema,
)
"""What `requests` raises before the first byte of a request, where no connection of ours tells."""


def translate(
    error: Exception, attempt: Attempt, *, label: str, where: str, request: str
) -> TransportError:
    """The error that a failed try of `request` means.

    What is not provably unsent counts as sent: the request may have been applied. That holds for
    every exception: a chunk size of `-2` is a bare `ValueError` of `http.client`, and no list of
    such exceptions is ever complete.

    Args:
        error: What was raised while the request was under way.
        attempt: What the connection knows.
        label: Whom we talk to, as the operator calls it.
        where: Host and port.
        request: Method and path.
    """
    reason = _reason(error)
    unsent = not attempt.sent if attempt.watched else isinstance(error, _BEFORE_SENDING)
    if unsent:
        return NotSent(
            f"{label}: {where} could not be reached: {reason}. {request} was not sent.",
            remedy="Check the address, the network and the proxy settings of this machine.",
        )
    if isinstance(error, u3.DecodeError):
        return BadAnswer(f"{label}: the answer of {where} to {request} cannot be decompressed.")
    return AnswerLost(f"{label}: {where} gave no whole answer to {request}: {reason}.")


def _reason(error: Exception) -> str:
    """Why, from the innermost cause that says more than a wrapper does. Never a remote text."""
    found = _causes(error)

    def is_there(*kinds: type[BaseException]) -> bool:
        return any(isinstance(item, kinds) for item in found)

    for kinds, words in _WORDS:
        if is_there(*kinds):
            return words
    return f"the connection failed ({type(found[-1]).__name__})"


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((rq.InvalidURL, rq.InvalidSchema, rq.MissingSchema), "the address or the proxy is not usable"),
    ((u3.ProxyError, rq.ProxyError), "the proxy did not open the way"),
    ((socket.gaierror, u3.NameResolutionError), "its name could not be resolved"),
    ((ConnectionRefusedError,), "it refused the connection"),
    ((Unasked,), "what it sent is no single answer to the request"),
    ((TimeoutError, u3.TimeoutError, rq.Timeout), "it did not answer in time"),
    ((ssl.SSLError, u3.SSLError), "the TLS connection failed"),
    ((u3.IncompleteRead, u3.InvalidChunkLength), "the body ended too early"),
    ((ConnectionError, u3.ProtocolError), "it broke the connection off"),
)


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and everything that it wraps, was raised from, or carries as its reason."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is seen for seen in found):
            found.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
