"""Shell completion of clients' names, from mapping.toml alone.

It runs at every press of Tab: it loads and sends nothing else, and is silent whatever is wrong.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import typer

_COULD_ACT = re.compile("[\\\\`$\"'!\u2018-\u201f]")
"""What ends a quotation or is run inside one, in some shell; PowerShell takes curly quotes too."""


class _Completion(str):
    """A completion that Typer keeps though it is escaped, or in another case than was typed."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        """True: what fits was decided before."""
        return True


def client_names(context: typer.Context, incomplete: str) -> list[str]:
    """The clients whose names begin with what was typed, or else hold it; case does not matter.

    Names that no quotation holds in every shell are left out: zsh runs them through `eval`.
    """
    try:
        given = context.params.get("config")
        config = Path(given or os.environ.get("KISI_CONFIG") or "kisi.toml")
        if given is None and not config.exists():
            from platformdirs import user_config_path

            config = user_config_path("kisi", appauthor=False) / "kisi.toml"
        config = config.expanduser()
        named = _read(config).get("mapping", "mapping.toml")
        named = named if isinstance(named, str) else "mapping.toml"
        companies = _read(config.parent / named).get("company", [])
    except (OSError, ValueError):  # a half-typed line is no place for an error message
        return []
    rows = companies if isinstance(companies, list) else []
    every = {row.get("name") for row in rows if isinstance(row, dict)}
    names = sorted(x for x in every if isinstance(x, str) and x.isprintable())
    names = [name for name in names if not _COULD_ACT.search(name)]
    typed = incomplete.casefold()
    begin = [name for name in names if name.casefold().startswith(typed)]
    found = begin or [name for name in names if typed in name.casefold()]
    return [_Completion(_for_the_shell(name)) for name in found]


def _for_the_shell(name: str) -> str:
    """Bash and PowerShell take a completion as it stands: a space in it would end the word."""
    shell = os.environ.get("_KISI_COMPLETE", "").removeprefix("complete_")
    word = os.environ.get("COMP_WORDS", "").rpartition("\n")[2]
    if shell in {"powershell", "pwsh"} and not re.fullmatch(r"[\w./-]+", name):
        return f"'{name}'"
    if shell != "bash" or word.startswith(("'", '"')):
        return name
    return re.sub(r"([^\w.,:/@%+-])", r"\\\1", name)


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8").removeprefix("\ufeff"))
