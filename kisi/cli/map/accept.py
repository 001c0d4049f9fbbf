"""`kisi map accept`: the suggestions that a person has looked through become rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.map.editing import Offline


def map_accept(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `kisi map suggest` wrote (CSV or JSON); - is stdin."
        ),
    ],
    config: options.Config = None,
    offline: Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Add suggestions to mapping.toml: all that say yes, or none.

    Clients are added with billing off unless their `billing` says yes; they go live one by one with
    `kisi map billing`. Two tenants on one agreement become one client.
    """
    from kisi.cli.map.editing import open_mapping
    from kisi.cli.map.table import read_table
    from kisi.mapping.accept import accept
    from kisi.mapping.proposals_file import read_proposals

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    text = read_table(file)
    with open_mapping(config, voice, offline=offline) as editing:
        proposals = read_proposals(text, name=file.name)
        editing.carry_out(accept(editing.editor, proposals, editing.sources))
    quiet_rows = [row for row in proposals.clients if row.accept and not row.billing]
    if quiet_rows:
        voice.say(
            f"{len(quiet_rows)} are not billed yet. One by one, or by a glob on names: "
            "kisi map billing CLIENT on"
        )
