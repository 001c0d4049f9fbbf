"""Which certificates a `Client` trusts, how each handshake is checked, and what a server presents.

Security Center creates its own certificate, whose name often is not the address that is used and
which lives about a year (https://support.kaspersky.com/KSC/12/en-US/3322.htm), so it is pinned: a
leaf by its bytes alone, whatever its expiry or name, an authority by the chain, without the name.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import certifi
import requests

from kisi.errors import ConfigError, NotSent
from kisi.files import open_regular, why_not_used
from kisi.secrets import fingerprint
from kisi.transport.connection import Attempt, Connection, TrustMethod, system_context
from kisi.transport.policy import Clock, Limits

_LOG = logging.getLogger(__name__)
_PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.+?)-----END", re.DOTALL)
_NOT_YET_VALID, _HAS_EXPIRED = 9, 10  # codes of OpenSSL
_SECONDS = 10.0


def trust_methods(
    ca_files: Collection[Path], fingerprints: Collection[str]
) -> tuple[TrustMethod, ...]:
    """The methods to be tried, in this order; the first that accepts the certificate decides.

    Exact leaves come first because OpenSSL verifies only chains: it would refuse a pinned leaf
    that has expired. `ConfigError` if a certificate file cannot be read.
    """
    pins = set(fingerprints)
    if not ca_files:
        return (_unverified(pins),) if pins else (_system(),)
    chain = _chain_context()
    for path in ca_files:
        try:
            for der in _certificates(path):
                chain.load_verify_locations(cadata=der)
                pins.add(fingerprint(der))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{path}: no certificate in PEM or DER form.") from error
        except OSError as error:
            raise ConfigError(
                f"{path}: the certificate file cannot be read: {error.strerror}."
            ) from error
    return _unverified(pins), TrustMethod(chain, None)


def _unverified(pins: Iterable[str]) -> TrustMethod:
    """A method that compares the leaf's fingerprint alone; without pins it accepts nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TrustMethod(context, frozenset(pins))


def _system() -> TrustMethod:
    """What this machine trusts, or only what a variable names: the same on every platform.

    OpenSSL would read `SSL_CERT_FILE` and `SSL_CERT_DIR` by itself, but beside the other's default,
    and on Windows beside the system's own store.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE", "")
    by_ssl = {"cafile": "SSL_CERT_FILE", "capath": "SSL_CERT_DIR"}
    named = {key: path for key, name in by_ssl.items() if (path := os.environ.get(name))}
    if bundle:
        named = {"capath" if Path(bundle).is_dir() else "cafile": bundle}
    try:
        context = system_context(**named)
        if not named:
            context.load_verify_locations(certifi.where())
    except OSError as error:
        variable = "REQUESTS_CA_BUNDLE" if bundle else "SSL_CERT_FILE"
        raise ConfigError(
            f"The certificate authorities in {named.get('cafile', '')!r} ({variable})"
            f" cannot be read: {error.strerror or 'not a certificate file'}."
        ) from error
    return TrustMethod(context, None, match_name=True)


def _chain_context() -> ssl.SSLContext:
    """A context that verifies the chain to what is loaded into it, and not the server's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Strict checking (the default of `create_default_context` from Python 3.13 on) refuses the
    # certificates of many private authorities; a partial chain lets an intermediate be the pin.
    flags = ssl.VerifyFlags
    context.verify_flags = flags.VERIFY_X509_TRUSTED_FIRST | flags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _certificates(path: Path) -> list[bytes]:
    """The certificates (DER) in a file, which may hold several as PEM."""
    with open_regular(path) as file:
        data = file.read()
    if foreign := why_not_used(path):
        raise ConfigError(foreign)
    blocks = ["".join(block.decode("ascii").split()) for block in _PEM.findall(data)]
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    return [ssl.PEM_cert_to_DER_cert(pem.format(block)) for block in blocks] or [data]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate, for people to compare and to renew."""

    fingerprint: str
    expires: datetime | None = None
    """When it ends (aware, UTC); None if that cannot be told."""
    expired: bool = False
    """It has ended, or is not valid yet."""


def certificate_of(host: str, port: int) -> Certificate:
    """The certificate that a server presents. Nothing is trusted, no request is sent.

    The standard library tells the dates only of certificates that it verifies, so the presented one
    is made the only trusted one of a second handshake. `NotSent` if there is none.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    der = presented_by(f"https://{where}", Limits(), Clock())
    if not der:
        raise NotSent(f"{where} presented no certificate: it cannot be reached or speaks no TLS.")
    shown = fingerprint(der)
    context = _chain_context()
    try:
        context.load_verify_locations(cadata=der)
        with (
            socket.create_connection((host, port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = (secure.getpeercert() or {}).get("notAfter")
        return Certificate(shown, datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC))
    except ssl.SSLCertVerificationError as error:
        return Certificate(shown, expired=error.verify_code in {_NOT_YET_VALID, _HAS_EXPIRED})
    except (OSError, ValueError, OverflowError):  # unreachable now, or its end is no date
        return Certificate(shown)


def presented_by(url: str, limits: Limits, clock: Clock) -> bytes:
    """The certificate (DER) that a server presents, or empty; nothing can be sent to it."""
    limits = replace(limits, read=limits.connect, stop=None)
    attempt = Attempt(clock, clock.monotonic() + limits.connect, limits)
    method = _unverified(())
    connection = Connection(url, method)
    try:
        connection.exchange(requests.Request("GET", url).prepare(), method, attempt)
    except Exception as error:  # noqa: BLE001  # whatever a server does, it showed one or none
        _LOG.debug("Looking at a certificate: %s", type(error).__name__)
    finally:
        connection.close()
    return attempt.presented
