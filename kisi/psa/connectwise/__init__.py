"""ConnectWise Manage (ConnectWise PSA): lines are Agreement Additions.

Here is its section of kisi.toml, `adapter.ConnectWise` is the `kisi.psa.Psa`. `docs/connectwise.md`
says what is assumed about ConnectWise, and how to prove it on one's own system.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ValidationInfo, field_validator

from kisi.config.settings import SecretRef, Section, ServerUrl, Workers

_CLOUD = (".myconnectwise.net", ".connectwisedev.com")
"""ConnectWise's own hosts. Their API answers only under the prefix `api-` (Developer Guide, `Cloud
URL Formatting`); a server of one's own has no prefix."""


_FORMS = {
    "company": ("[^: +]+", "a login company id, as it stands on ConnectWise's login page"),
    "codebase": ("v[0-9A-Za-z_]{1,40}", "a codebase, such as v4_6_release or v2026_1"),
    "api_version": (r"20[0-9]{2}\.[0-9]{1,2}", "a release of ConnectWise, such as 2026.4"),
}
"""What a key must fit, and what it is then."""


def _api_host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.path:
        raise ValueError(f"The address must end after the host: {parts.scheme}://{parts.netloc}.")
    if host.endswith(_CLOUD) and not host.startswith("api-"):
        raise ValueError(f"ConnectWise's cloud has another host for its API: https://api-{host}.")
    return url


class ConnectWiseSettings(Section):
    """Where ConnectWise Manage is, and who kisi is there."""

    kind: Literal["connectwise"]
    url: Annotated[ServerUrl, AfterValidator(_api_host)]
    """The API's host, `https://api-eu.myconnectwise.net`; http only on a loopback address."""
    company: str
    """The login company id, as on ConnectWise's login page."""
    public_key: SecretRef = None
    private_key: SecretRef = None
    client_id: SecretRef = None
    """The MSP's own clientId of developer.connectwise.com."""
    workers: Workers = 4
    """ConnectWise documents no limit to requests at once, and advises few."""
    codebase: str = "v4_6_release"
    """The part of the address that selects the server's release: `v4_6_release` leads to the
    current one, in the cloud and on a server of one's own."""
    api_version: str = "2026.4"
    """The release whose record shapes kisi asks for. Additions are the same since 2022.1."""

    @field_validator(*_FORMS)
    @classmethod
    def _has_its_form(cls, text: str, info: ValidationInfo) -> str:
        pattern, what = _FORMS[info.field_name or ""]
        if not (re.fullmatch(pattern, text) and text.isprintable()):
            raise ValueError(f"This is not {what}.")
        return text
