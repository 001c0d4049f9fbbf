"""The one place where kisi talks HTTP: who is trusted, how long it takes, what is sent twice.

A `Client` belongs to one server. Its promises:

* A certificate that is not trusted ends the call before any byte of a request, password included.
* No redirect is followed, and nothing of the environment changes trust or authentication.
* A call ends within its time, also where the server drips one byte a second, and its body is
  bounded, also where it is a compressed bomb. An answer that did not arrive whole is never one.
* A request is repeated only as far as its caller allows (`Retry`), with the waits that the
  server asks for. What may have been applied raises `AnswerLost`; what was not sent, `NotSent`.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names
from kisi.transport.answer import Answer, clock_finding, retry_after, skew_words
from kisi.transport.policy import Clock, Limits, Retry

if TYPE_CHECKING:
    from kisi.transport.client import Client
    from kisi.transport.trust import Certificate, certificate_of

__all__ = [
    "Answer",
    "Certificate",
    "Client",
    "Clock",
    "Limits",
    "Retry",
    "certificate_of",
    "clock_finding",
    "retry_after",
    "skew_words",
]
__getattr__ = lazy_names(__name__, {"client": "Client", "trust": "Certificate certificate_of"})
