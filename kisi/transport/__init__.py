"""The one place where kisi talks HTTP: who is trusted, how long it takes, what is sent twice.

A `Client` belongs to one server. Its promises:

* A certificate that is not trusted ends the call before any byte of a request, password included.
* No redirect is followed, and nothing of the environment changes trust or authentication.
* A call ends within its time, also where the server drips one byte a second, and its body is
  bounded, also where it is a compressed bomb. An answer that did not arrive whole is never one.
* A request is repeated only as far as its caller allows (`Retry`), with the waits that the
  server asks for. What may have been applied raises `AnswerLost`; what was not sent, `NotSent`.
"""

from kisi.transport.answer import Answer
from kisi.transport.certificate import Certificate, certificate_of, fingerprint_of
from kisi.transport.client import Client, Sign
from kisi.transport.clock import LARGEST_SKEW, Clock, SystemClock, clock_finding, clock_skew
from kisi.transport.policy import Limits, Retry, retry_after
from kisi.transport.trust import Trust

__all__ = [
    "LARGEST_SKEW",
    "Answer",
    "Certificate",
    "Client",
    "Clock",
    "Limits",
    "Retry",
    "Sign",
    "SystemClock",
    "Trust",
    "certificate_of",
    "clock_finding",
    "clock_skew",
    "fingerprint_of",
    "retry_after",
]
