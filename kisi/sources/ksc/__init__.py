"""Kaspersky Security Center: usage of licence keys per virtual Administration Server.

Read over its OpenAPI (https://support.kaspersky.com/help/KSC/16/KSCAPI/): `openapi` has its JSON,
errors, logins and calls, `lists` lists that arrive whole or not at all and what they hold, `source`
the `kisi.sources.UsageSource` over all of them. Here is its section of kisi.toml.
Pages named `KSC/14 a00511` are `https://support.kaspersky.com/help/KSC/14/KSCAPI/a00511.html`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from kisi.config.settings import LocalPath, SecretRef, Section, ServerUrl, Text, Workers
from kisi.secrets import normal_fingerprint

Fingerprint = Annotated[str, AfterValidator(normal_fingerprint)]
"""The SHA-256 of a server's certificate: `sha256:` and 64 lower-case hexadecimal digits. Colons
between the digits and upper case are accepted, as `openssl x509 -fingerprint` prints them."""


class KscSettings(Section):
    """Settings of a Kaspersky Security Center Administration Server."""

    global_tenant_ids: ClassVar[bool] = True
    """`KLVSRV_UID` is made once, and stays where a server's backup is restored elsewhere."""

    kind: Literal["ksc"] = "ksc"
    url: ServerUrl
    """Address and port of the OpenAPI, `https://ksc.example.com:13299`."""
    user: Text
    password: SecretRef = None
    internal_user: bool = True
    """A user of Security Center itself; false: one of Windows or a domain."""
    domain: str = ""
    ca_files: tuple[LocalPath, ...] = ()
    """Pinned certificates, or authorities that issue the server's certificate. PEM or DER."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """Pinned certificates by their SHA-256."""
    workers: Workers = 8
    """How many virtual servers are read at once."""

    @model_validator(mode="after")
    def _domain_belongs_to_domain_users(self) -> Self:
        if self.domain and self.internal_user:
            raise ValueError("domain is for domain users: set internal_user = false, or leave it.")
        if not (self.domain.isascii() and self.domain.isprintable()) or '"' in self.domain:
            raise ValueError("domain must be printable ASCII without quotes.")
        return self
