"""Which certificates a `Client` trusts, and how each handshake is checked.

Security Center creates its own certificate, whose name often is not the address that is used and
which lives about a year (https://support.kaspersky.com/KSC/12/en-US/3322.htm), so it is pinned. A
pinned leaf is compared by its bytes alone: expiry, name and version of the certificate do not
matter. A certificate authority is verified by its chain, without the name.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import certifi

from kisi.errors import ConfigError
from kisi.secrets import fingerprint, normal_fingerprint

_PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.+?)-----END", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a server's certificate must match.

    Without pins the system's authorities and the name decide. Pins replace them: the certificate
    must have one of `fingerprints`, or be one of `ca_files`, or be issued by one of `ca_files`.
    """

    ca_files: tuple[Path, ...] = ()
    """PEM or DER."""
    fingerprints: tuple[str, ...] = ()
    """`sha256:` and 64 hex digits of the server's own certificate; colons may stand between."""


@dataclass(frozen=True, slots=True)
class TrustMethod:
    """One way to check a server's certificate."""

    context: ssl.SSLContext
    pins: frozenset[str] | None
    """Fingerprints of which the leaf must have one; None where the context itself has verified."""
    match_name: bool = False


def trust_methods(trust: Trust, environ: Mapping[str, str] = os.environ) -> tuple[TrustMethod, ...]:
    """The methods to be tried, in this order; the first that accepts the certificate decides.

    Exact leaves come first because OpenSSL verifies only chains: it would refuse a pinned leaf
    that has expired.

    Raises:
        ConfigError: A certificate file cannot be read, or a fingerprint is none.
    """
    try:
        pins = {normal_fingerprint(text) for text in trust.fingerprints}
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not trust.ca_files:
        return (unverified(pins),) if pins else (_system(environ),)
    certificates = [(path, der) for path in trust.ca_files for der in _certificates(path)]
    exact = unverified(pins.union(fingerprint(der) for _, der in certificates))
    return exact, TrustMethod(_chain(certificates), None)


def unverified(pins: Iterable[str]) -> TrustMethod:
    """A method that compares the leaf's fingerprint alone; without pins it accepts nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TrustMethod(context, frozenset(pins))


def _system(environ: Mapping[str, str]) -> TrustMethod:
    bundle = environ.get("REQUESTS_CA_BUNDLE", "")
    try:
        if bundle:
            is_folder = Path(bundle).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else bundle, capath=bundle if is_folder else None
            )
        else:
            context = ssl.create_default_context()
            if not environ.get("SSL_CERT_FILE"):
                context.load_verify_locations(certifi.where())
    except OSError as error:
        raise ConfigError(
            f"The certificate authorities in {bundle!r} (REQUESTS_CA_BUNDLE) cannot be read: "
            f"{error.strerror or 'not a certificate file'}."
        ) from error
    return TrustMethod(context, None, match_name=True)


def chain_context() -> ssl.SSLContext:
    """A context that verifies the chain to what is loaded into it, and not the server's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Strict checking (the default of `create_default_context` from Python 3.13 on) refuses the
    # certificates of many private authorities; a partial chain lets an intermediate be the pin.
    flags = ssl.VerifyFlags
    context.verify_flags = flags.VERIFY_X509_TRUSTED_FIRST | flags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _chain(certificates: Iterable[tuple[Path, bytes]]) -> ssl.SSLContext:
    context = chain_context()
    for path, der in certificates:
        try:
            context.load_verify_locations(cadata=der)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{path}: no certificate in PEM or DER form.") from error
    return context


def _certificates(path: Path) -> list[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: the certificate file cannot be read: {error.strerror}."
        ) from error
    blocks = _PEM.findall(data)
    try:
        return [_der(block) for block in blocks] if blocks else [data]
    except ValueError as error:
        raise ConfigError(f"{path}: no certificate in PEM or DER form.") from error


def _der(block: bytes) -> bytes:
    text = "".join(block.decode("ascii").split())
    return ssl.PEM_cert_to_DER_cert(
        f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    )
