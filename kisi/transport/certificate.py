"""What certificate does a server present, and until when? For people to compare and to renew."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from kisi.errors import NotSent
from kisi.secrets import fingerprint
from kisi.transport.clock import Clock, SystemClock
from kisi.transport.connection import Attempt, Connection
from kisi.transport.policy import Limits
from kisi.transport.trust import chain_context, unverified

_LOG = logging.getLogger(__name__)
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate.

    Args:
        fingerprint: `sha256:` and 64 hex digits.
        expires: When it ends (aware, UTC); None if that cannot be told.
        expired: It has ended, or is not valid yet.
    """

    fingerprint: str
    expires: datetime | None = None
    expired: bool = False


def certificate_of(host: str, port: int) -> Certificate:
    """The certificate that a server presents. Nothing is trusted, no request is sent.

    The standard library tells the dates only of certificates that it verifies, so the presented one
    is made the only trusted one of a second handshake.

    Raises:
        NotSent: The server cannot be reached, or does not speak TLS.
    """
    fingerprint, der = fingerprint_of(host, port)
    context = chain_context()
    try:
        context.load_verify_locations(cadata=der)
        with (
            socket.create_connection((host, port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = (secure.getpeercert() or {}).get("notAfter")
    except ssl.SSLCertVerificationError as error:
        return Certificate(fingerprint, expired=error.verify_code in _NOT_NOW)
    except OSError:
        return Certificate(fingerprint)
    return Certificate(fingerprint, _instant(ends))


def fingerprint_of(host: str, port: int) -> tuple[str, bytes]:
    """The fingerprint (`sha256:...`) and the certificate (DER) that a server presents.

    Nothing is trusted and no request is sent: this is for showing a person what to compare.

    Raises:
        NotSent: The server cannot be reached, or does not speak TLS.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    attempt = fetch_certificate(f"https://{where}", Limits(), SystemClock())
    if not attempt.presented:
        raise NotSent(f"{where} presented no certificate: it cannot be reached or speaks no TLS.")
    return fingerprint(attempt.presented), attempt.presented


def fetch_certificate(url: str, limits: Limits, clock: Clock) -> Attempt:
    """Connects with a method that accepts no certificate, so that nothing can be sent.

    The attempt then holds the certificate that the server presented, if it did.
    """
    now = clock.monotonic()
    attempt = Attempt(clock, ends=now + limits.connect, read=limits.connect)
    connection = Connection(url)
    try:
        connection.send(requests.Request("GET", url).prepare(), unverified(()), attempt, limits)
    except Exception as error:  # noqa: BLE001  # whatever a server does, it showed one or none
        _LOG.debug("Looking at a certificate: %s", type(error).__name__)
    finally:
        connection.close()
    return attempt


def _instant(ends: object) -> datetime | None:
    """When a certificate's `notAfter` is; None for what is no date."""
    try:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


_NOT_YET_VALID, _HAS_EXPIRED = 9, 10
_NOT_NOW = (_NOT_YET_VALID, _HAS_EXPIRED)
