"""What a section of `kisi.toml` is made of: the base class, and types that several sections share.

A source or PSA declares its settings as a subclass of `Section`, one field a key. The `ValueError`s
of the types here are sentences for the operator that never repeat the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from kisi.secrets import SecretReference, default_reference, is_loopback


class Table(BaseModel):
    """A table of `kisi.toml`: frozen, and without room for keys that are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Section(Table):
    """Settings of one `[sources.NAME]` or `[psa.NAME]`, told apart by `kind`."""

    global_tenant_ids: ClassVar[bool] = False
    """For a source: whether a tenant's id is its own in every source of such a kind."""

    kind: str

    def secrets(self, name: str) -> dict[str, str]:
        """The references of all secrets that this section needs, by field.

        A field that was left out has its default, the environment variable
        `KISI_<SECTION NAME>_<KEY>` (`name` is `hq` of `[sources.hq]`). A subclass may leave out
        what its settings do not need.
        """
        return {
            field: getattr(self, field) or default_reference(name, field)
            for field in secret_fields(type(self))
        }

    def files_read(self, base: Path) -> Iterator[Path]:
        """The files of this machine that are read because this section names them."""
        yield from (path for _, path in self.files_named(base))

    def files_named(self, base: Path) -> Iterator[tuple[str, Path]]:
        """The files that this section names one by one, each with its key."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path):
                    yield key, base / path


_MARK = "reference to a secret"


def secret_fields(table: type[BaseModel]) -> tuple[str, ...]:
    """The fields of `table` that are a `SecretRef`."""
    return tuple(name for name, field in table.model_fields.items() if _MARK in field.metadata)


def _reference(text: str | None) -> str | None:
    return None if text is None else str(SecretReference.parse(text))


SecretRef = Annotated[str | None, AfterValidator(_reference), _MARK]
"""A reference to a secret (`env:NAME` and so on), never the secret; None: the section's default."""
SecretRefs = Annotated[tuple[Annotated[str, AfterValidator(_reference)], ...], _MARK]
"""Several of them."""


def _server_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"https", "http"} or re.search(r"[\s\x00-\x1f]", text):
        raise ValueError("This is not the address of a server, such as https://server.example.com.")
    if "@" in parts.netloc:
        raise ValueError(
            "The address must hold no user and no password; they have keys of their own."
        )
    if parts.query or parts.fragment:
        raise ValueError("The address must end before any ? or #.")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            "The address must begin with https://, because passwords are sent there "
            "(http:// only on a loopback address, such as 127.0.0.1)."
        )
    return text.rstrip("/")


ServerUrl = Annotated[
    str, AfterValidator(_server_url), Field(examples=["https://server.example.com"])
]
"""An address to which secrets may be sent: https, or http on a loopback address."""


def _local_path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip() or "\0" in value:
        raise ValueError("This is not a path.")
    base = (info.context or {}).get("base", Path())
    try:
        return str(base / Path(value).expanduser())
    except RuntimeError:
        raise ValueError("There is no home folder that ~ could stand for; write it out.") from None


LocalPath = Annotated[Path, BeforeValidator(_local_path)]
"""A path, or a glob of paths: relative ones are relative to the file's folder, `~` is known."""


def _day(_text: object, info: ValidationInfo) -> date:
    value = (info.context or {})["data"][info.field_name]  # in JSON, which is read here, it is text
    if type(value) is not date:
        raise ValueError("This must be a day, without quotes: 2026-11-30.")
    return value


Day = Annotated[date | None, BeforeValidator(_day)]
"""A day, as TOML has them."""

Workers = Annotated[int, Field(ge=1, le=16)]
"""How many requests a source or PSA is sent at once."""

Hours = Annotated[float, Field(gt=0, le=999_999, allow_inf_nan=False)]
"""A length of time, up to a century."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("This must be text in quotes, not empty text.")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
"""Text that must not be empty."""
