"""`kisi.toml` and `mapping.toml` for a sandbox, as a person would write them for real servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w

from kisi import windows
from kisi.sandbox.http import Server
from kisi.sandbox.world import BilledApplication, Billing, Client

_HEAD = """\
# Made by the sandbox: every address below is a simulated server on this machine.
# The ports change with every start; the secrets beside this file open nothing else.
mapping   = "mapping.toml"
state_dir = "state"
timezone  = "UTC"
"""


_WRITTEN = ("kisi.toml", "mapping.toml", "secrets", "state", "exports")
"""What a sandbox writes into its folder, or what the runs on it do."""


def is_foreign(directory: Path) -> bool:
    """Says whether a folder holds a configuration, or parts of one, that no sandbox wrote.

    `write` replaces files: a person's mapping must never be among them.
    """
    try:
        head = (directory / "kisi.toml").read_text(encoding="utf-8")[: len(_HEAD)]
    except (OSError, ValueError):
        return any(os.path.lexists(directory / name) for name in _WRITTEN)
    return head.partition("\n")[0] != _HEAD.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Report:
    """A file that another program exports for kisi to read."""

    path: str
    """Relative to `kisi.toml`."""
    content: bytes
    modified: datetime


@dataclass(slots=True)
class Part:
    """Something that a sandbox simulates: a server, files, or both, and how kisi is told of it."""

    name: str
    server: Server | None = None
    config: str = ""
    """Its section of `kisi.toml`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Contents of secret files by name; the section refers to them as `file:secrets/NAME`."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by their path relative to `kisi.toml`."""
    mapping: str = ""
    """Further rows of `mapping.toml`."""
    reports: Callable[[], Iterable[Report]] = tuple
    """What is exported anew with every configuration, because the world behind it moves on."""


def write(directory: Path, parts: Sequence[Part], mapping: str | None) -> Path:
    """Write all files into a directory, secrets readable by the owner alone.

    Args:
        directory: Made if it does not exist; files in it are replaced.
        parts: What the sandbox simulates.
        mapping: The text of `mapping.toml`; None writes none.

    Returns:
        The path of `kisi.toml`.
    """
    secrets = directory / "secrets"
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in parts:
        for name, value in part.secrets.items():
            write_secret(secrets / name, value)
        for name, content in part.files.items():
            _put(directory / name, content)
        for report in part.reports():
            modified = report.modified.timestamp()
            os.utime(_put(directory / report.path, report.content), (modified, modified))
    path = directory / "kisi.toml"
    sections = [part.config for part in parts if part.config]
    path.write_text("\n".join([_HEAD, *sections]), encoding="utf-8")
    if mapping is not None:
        text = "\n".join([mapping, *(part.mapping for part in parts if part.mapping)])
        (directory / "mapping.toml").write_text(text, encoding="utf-8")
    return path


def write_secret(file: Path, value: str) -> None:
    """Write a file that the owner alone may read, wherever its folder lies."""
    file.touch(mode=0o600)
    if sys.platform == "win32":
        windows.make_private(file)
    else:
        file.chmod(0o600)
    file.write_text(value, encoding="utf-8")


def _put(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def mapping_text(billing: Billing, clients: Sequence[Client]) -> str:
    """`mapping.toml`: the applications, their products, the clients that are mapped."""
    rows = [_application(row) for row in billing.applications]
    rows += [_product(row) for row in billing.applications if row.products]
    rows += [_company(client) for client in clients if client.mapped]
    return "\n".join(rows)


def _application(row: BilledApplication) -> str:
    values: dict[str, Any] = {"name": row.name}
    if row.keys:
        values["keys"] = list(row.keys)
    if row.unit != "device":
        values["unit"] = row.unit
    if not row.products:
        values["bill"] = False
    return table("[[application]]", values)


def _product(row: BilledApplication) -> str:
    return table("[[product]]", {"application": row.name, "psa": row.psa, **row.products})


def _company(client: Client) -> str:
    return company_row(
        client.name,
        [f"hq:{client.tenant}", *client.more_tenants],
        psa="cw",
        company=client.company_id,
        agreement=client.agreement_id,
        alongside=client.alongside,
        billing=client.billing,
        exceptions=client.exceptions,
    )


def company_row(
    name: str,
    tenants: Sequence[str],
    *,
    psa: str,
    company: int,
    agreement: int,
    alongside: Sequence[int] = (),
    billing: bool = True,
    exceptions: Iterable[Mapping[str, str | int | bool]] = (),
) -> str:
    """A client's row of `mapping.toml`, with its exceptions.

    Args:
        name: What kisi calls it.
        tenants: Each as `source:tenant`.
        psa: The section's name.
        company: The PSA's number of the company or account.
        agreement: The PSA's number of the agreement.
        alongside: The numbers of others that bill the same products on purpose.
        billing: The toggle.
        exceptions: `[[company.product]]` rows.
    """
    values: dict[str, Any] = {
        "name": name,
        "tenants": list(tenants),
        "psa": psa,
        "company": company,
        "agreement": agreement,
    }
    if alongside:
        values["alongside"] = list(alongside)
    if not billing:
        values["billing"] = False
    rows = [table("[[company]]", values)]
    rows += [table("[[company.product]]", exception) for exception in exceptions]
    return "".join(rows)


def table(header: str, values: Mapping[str, Any]) -> str:
    """A TOML table, one key a line."""
    lines = [f"{name} = {literal(value)}" for name, value in values.items()]
    return "\n".join([header, *lines, ""])


def literal(value: str | float | Sequence[str | int]) -> str:
    """A TOML value on one line, whatever characters a text has."""
    if isinstance(value, str | int | float):
        return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()
    return "[" + ", ".join(literal(item) for item in value) + "]"
