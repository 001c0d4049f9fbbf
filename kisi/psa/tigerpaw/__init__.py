"""Tigerpaw: lines are the Additional Charges of an agreement.

Here is its section of kisi.toml. Of its two APIs REST is used to read, SOAP to write.
`docs/tigerpaw.md` says what is assumed about Tigerpaw and how to prove it.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from kisi.config.settings import LocalPath, SecretRef, Section, ServerUrl, Text

_PATH = r"^/[^\s?#]+$"


class TigerpawSettings(Section):
    """How one Tigerpaw is reached, and whether kisi may write to it.

    The last four have defaults that rest on no public statement of the vendor; they are here so
    that a server that differs needs no new version of kisi.
    """

    kind: Literal["tigerpaw"]
    url: ServerUrl
    """The API server: what comes before `/api/`. Each MSP has its own."""
    public_key: SecretRef = None
    private_key: SecretRef = None
    soap_user: SecretRef = None
    soap_password: SecretRef = None
    external_product: Text = "Kaspersky"
    """The External Product that the SOAP user is bound to, as Tigerpaw's master table calls it."""
    write: Literal["report", "soap"] = "report"
    """`report`: every change is shown and held. `soap`: changes are written."""
    soap_template: LocalPath | None = None
    """The file with the XML of a charge; None: the packaged one."""
    soap_template_verified: bool = False
    """A person has proven the template with `kisi check --probe-tigerpaw`."""
    soap_path: str = Field(default="/api/rmm/tsiWS.asmx", json_schema_extra={"pattern": _PATH})
    soap_escaped: bool = False
    """Send the XML of a charge as escaped text inside `<Params>` instead of as elements."""
    item_field: Text = "SpecialItemId"
    """The field of a charge that holds the price book `ItemId`."""
    first_row: int = Field(default=1, ge=0, le=1)
    """The number of a search's first row."""
    charges_counted: bool = True
    """`AdditionalCharges` of an agreement counts the charges of its list: a shorter one failed."""

    @field_validator("url")
    @classmethod
    def _ends_after_the_host(cls, url: str) -> str:
        if urlsplit(url).path:
            raise ValueError("The address must end after the host: kisi adds /api/ itself.")
        return url

    @field_validator("soap_path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if not re.search(_PATH, path):
            raise ValueError(
                "This must be the path of the SOAP service: it begins with / and holds no spaces, "
                "no ? and no #."
            )
        return path

    def secrets(self, name: str) -> dict[str, str]:
        """The references of the secrets that are needed: the SOAP login's only with `soap`."""
        references = super().secrets(name)
        if self.write == "soap":
            return references
        return {key: references[key] for key in ("public_key", "private_key")}
