"""Shell completion of clients' names, from mapping.toml alone.

It runs at every press of Tab: it sends nothing, resolves no secret, loads neither settings nor
sources, and stays silent whatever is wrong.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import typer

_BYTE_ORDER_MARK = "\ufeff"


def client_names(context: typer.Context, incomplete: str) -> list[str]:
    """The clients whose names begin with what was typed, or else hold it; case does not matter.

    Names that a shell could not show on one line are left out.
    """
    try:
        names = _names(_mapping_path(context.params.get("config")))
    except (OSError, ValueError):  # a half-typed line is no place for an error message
        return []
    typed = incomplete.casefold()
    begin = [name for name in names if name.casefold().startswith(typed)]
    return begin or [name for name in names if typed in name.casefold()]


def _mapping_path(given: Path | str | None) -> Path:
    """The mapping file of the kisi.toml that the command would read."""
    config = _config_path(given)
    named = _read(config).get("mapping", "mapping.toml")
    return config.parent / (named if isinstance(named, str) else "mapping.toml")


def _config_path(given: Path | str | None) -> Path:
    path = given or os.environ.get("KISI_CONFIG") or "kisi.toml"
    if given is None and not Path(path).exists():
        from platformdirs import user_config_path

        return user_config_path("kisi", appauthor=False) / "kisi.toml"
    return Path(path).expanduser()


def _names(path: Path) -> list[str]:
    companies = _read(path).get("company", [])
    rows = companies if isinstance(companies, list) else []
    names = (row.get("name") for row in rows if isinstance(row, dict))
    return sorted({name for name in names if isinstance(name, str) and name.isprintable()})


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8").removeprefix(_BYTE_ORDER_MARK))
