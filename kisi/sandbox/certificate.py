"""Certificates as a freshly installed server has them: self-signed, with a name nobody uses."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate with its private key.

    Kaspersky Security Center makes its own at installation, and the name in it often does not
    match the address it is reached by. `Certificate.make()` does the same; give `names` to get one
    that an ordinary client accepts once its PEM is in the client's bundle of authorities.
    """

    der: bytes
    """The certificate, DER."""
    pem: str
    """The certificate, PEM: what an administrator copies off the server as `klserver.cer`."""
    key_pem: str
    """The private key, PEM (PKCS #8), not encrypted."""
    not_after: datetime
    """When it ends, UTC."""

    @classmethod
    def make(
        cls,
        *,
        names: Sequence[str] = (),
        common_name: str = "KLServer",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        """Make a new key and a certificate for it.

        Args:
            names: Host names and IP addresses it is valid for; none is the usual case.
            common_name: The subject's and issuer's name.
            not_before: Start of validity; default: ten days ago.
            not_after: End of validity; default: in a year. A past date makes an expired one.
        """
        start = not_before or datetime.now(UTC) - timedelta(days=10)
        end = not_after or datetime.now(UTC) + timedelta(days=365)
        start = min(start, end - timedelta(days=1))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS_ITSELF, critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
        signed = builder.sign(key, hashes.SHA256())
        return cls(
            der=signed.public_bytes(serialization.Encoding.DER),
            pem=signed.public_bytes(serialization.Encoding.PEM).decode("ascii"),
            key_pem=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode("ascii"),
            not_after=signed.not_valid_after_utc,
        )

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the 64 hex digits of the DER form's hash: what `fingerprints` pins."""
        return "sha256:" + hashlib.sha256(self.der).hexdigest()

    def server_context(self) -> ssl.SSLContext:
        """A TLS context that presents this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory(prefix="kisi-") as folder:  # load_cert_chain takes only files
            file = Path(folder, "server.pem")
            file.touch(mode=0o600)
            file.write_text(self.key_pem + self.pem, encoding="ascii")
            context.load_cert_chain(file)
        return context


_SIGNS_ITSELF = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
