"""What `kisi check --online` asks Security Center: certificate, login, clock, release."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from kisi.errors import NotSent, SourceError
from kisi.model import Finding, Level
from kisi.transport import certificate_of, clock_finding

if TYPE_CHECKING:
    from kisi.sources.ksc.source import KscSource

_SOON = timedelta(days=30)
IF_SKEWED = "a key could be counted after its end, or not until it"


def check_online(server: KscSource) -> tuple[Finding, ...]:
    """All checks; those that need the login only if it was accepted."""
    return tuple(_check(server))


def _check(server: KscSource) -> Iterator[Finding]:
    label = f"sources.{server.name}"
    login = tuple(_login(server, label))  # first: only an answer proves an issuer
    address = server.address()
    if address is not None:
        yield from _certificate(server, label, *address)
    yield from login


def _login(server: KscSource, label: str) -> Iterator[Finding]:
    try:
        tenants = server.tenants()
        enabled = sum(tenant.enabled for tenant in tenants)
        yield Finding(
            Level.OK,
            f"{label} accepted the login; {enabled} of {len(tenants)} virtual servers are enabled.",
        )
        yield clock_finding(server.clock_skew(), label, IF_SKEWED)
        yield Finding(Level.OK, f"{label} runs Security Center {server.server_version()}.")
    except SourceError as error:
        yield Finding.of(error)


def _certificate(server: KscSource, label: str, host: str, port: int) -> Iterator[Finding]:
    try:
        certificate = certificate_of(host, port)
    except NotSent as error:
        yield Finding.of(error)
        return
    presents = f"{label} presents the certificate {certificate.fingerprint}"
    trusted = server.why_trusted(certificate.fingerprint)
    if trusted:
        yield Finding(Level.OK, f"{presents}, {trusted}.")
    else:
        yield Finding(
            Level.NOTE,
            f"{presents}.",
            "Compare it on the server itself (klserver.cer), then pin it with `fingerprints` or "
            "`ca_files` in kisi.toml.",
        )
    if certificate.expired:
        yield Finding(
            Level.PROBLEM,
            f"The certificate of {label} has expired, or is not valid yet.",
            "Renew it in Security Center, then pin the new one.",
        )
    elif certificate.expires is not None:
        left = certificate.expires - server.clock.now()
        level = Level.WARNING if left < _SOON else Level.OK
        yield Finding(
            level,
            f"The certificate of {label} ends on {certificate.expires:%Y-%m-%d}, "
            f"in {left.days} days.",
            "Pin the next one beside it before it is replaced." if level is Level.WARNING else "",
        )
