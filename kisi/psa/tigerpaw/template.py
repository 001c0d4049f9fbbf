"""The XML that goes inside `<Params>`: a file with placeholders, because its schema is not public.

The page of the operation shows `<Params>xml</Params>` and no more
(https://api.paulsonsav.com/api/rmm/tsiWS.asmx?op=SubmitAgreementAdditionalCharges).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kisi.errors import ConfigError

PLACEHOLDERS = frozenset(
    {
        "agreement_number",
        "account_number",
        "detail_id",
        "item_id",
        "description",
        "quantity",
        "price",
        "print_when_quantity_zero",
    }
)
"""What a template may contain, each with a `$` before it."""

REQUIRED = ("agreement_number", "item_id", "quantity")
"""Without these a charge cannot be told from another."""

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_REMEDY = "Correct the file, or remove soap_template from kisi.toml to use the packaged one."


@dataclass(frozen=True, slots=True)
class ChargeValues:
    """One charge as it is to be submitted."""

    agreement_number: str
    account_number: str
    item_id: str
    quantity: int
    detail_id: str = ""
    """Empty: a new charge."""
    description: str = ""
    price: str = ""
    """Empty: Tigerpaw's own price of the item."""
    print_when_quantity_zero: bool = False


@dataclass(frozen=True, slots=True)
class ChargeTemplate:
    """A template that has been checked: well-formed, and with known placeholders only."""

    text: str
    """Without comments and XML declaration."""

    def render(self, charge: ChargeValues) -> str:
        """The XML of one charge. Values are escaped; characters that XML forbids are dropped."""
        values = {name: getattr(charge, name) for name in PLACEHOLDERS}
        return Template(self.text).substitute({name: _xml(values[name]) for name in values})


def load_template(path: Path | None, *, place: str = "") -> ChargeTemplate:
    """Read and check a template; None reads the packaged one. Problems begin with `place`.

    Raises:
        ConfigError: It cannot be read, is no XML, or lacks a placeholder; all problems at once.
    """
    name = str(path) if path else "the packaged template"
    try:
        source = path or files("kisi.psa.tigerpaw").joinpath("charges.xml")
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{place}The Tigerpaw template {name} cannot be read: {why}.", remedy=_REMEDY
        ) from error
    bare = _DECLARATION.sub("", _COMMENT.sub("", text)).strip()
    problems = [f"{place}The Tigerpaw template {name} {problem}." for problem in _problems(bare)]
    if problems:
        raise ConfigError(problems, remedy=_REMEDY)
    return ChargeTemplate(bare)


def _problems(text: str) -> list[str]:
    problems = []
    try:
        fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        problems.append(f"is not plain well-formed XML ({error})")
    if "<![CDATA[" in text:
        problems.append("holds a CDATA section, in which values cannot be escaped")
    template = Template(text)
    if not template.is_valid():
        problems.append("holds a $ that begins no placeholder (write $$ for a dollar sign)")
    found = set(template.get_identifiers())
    problems += [f"lacks the placeholder ${name}" for name in REQUIRED if name not in found]
    problems += [
        f"holds the unknown placeholder ${name} (known: {', '.join(sorted(PLACEHOLDERS))})"
        for name in sorted(found - PLACEHOLDERS)
    ]
    return problems


def _xml(value: str | int) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return escape(_NOT_XML.sub("", text), _QUOTES)
